package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"payouts/internal/httpapi"
	"payouts/internal/payout"
)

// life is a payout or a refund as the API shows it.
type life struct {
	httpapi.Transfer
	httpapi.Life
	Beneficiary httpapi.BeneficiaryView `json:"beneficiary"`
	PaymentID   string                  `json:"payment_id"` // of a refund only
	Reference   string                  `json:"reference"`  // of a refund only
}

func (l life) kind() payout.Kind {
	if l.PaymentID != "" {
		return payout.KindRefund
	}
	return payout.KindPayout
}

func (l life) money() string { return amount(l.Amount, payout.Currency(l.Currency)) }

// lifePath is where a payout or refund is read.
func lifePath(kind payout.Kind, id string) string {
	return "/v1/" + string(kind) + "s/" + url.PathEscape(id)
}

type showCommand struct {
	output
	ID string `arg:"" help:"The id of the payout or refund."`
}

func (c *showCommand) Run(ctx context.Context, t Terminal) error {
	api, err := newAPI(t)
	if err != nil {
		return err
	}
	l, raw, err := api.find(ctx, c.ID)
	if err != nil {
		return err
	}
	c.show(t, raw, func() {
		tell(t.Out, l, api.caseOf(ctx, l))
		tellTimeline(t.Out, l)
	})
	return nil
}

// find reads what has this id: a payout, or else a refund.
func (a *api) find(ctx context.Context, id string) (l life, raw []byte, err error) {
	for _, kind := range []payout.Kind{payout.KindPayout, payout.KindRefund} {
		raw, err = a.call(ctx, http.MethodGet, lifePath(kind, id), "", nil, &l)
		var no *refused
		if !errors.As(err, &no) || no.Status != http.StatusNotFound {
			break
		}
	}
	return l, raw, err
}

// caseOf reads the open case of a payout or refund. It is nil when there is
// none, and when it cannot be read: a backend's token may not.
func (a *api) caseOf(ctx context.Context, l life) *httpapi.Case {
	if l.CaseID == nil {
		return nil
	}
	c, _, err := a.readCase(ctx, *l.CaseID)
	if err != nil {
		return nil
	}
	return &c
}

type listCommand struct {
	output
	Refunds bool   `help:"List refunds instead of payouts."`
	Player  string `placeholder:"ID" help:"Only this player's."`
	Status  string `placeholder:"STATUS" help:"Only with this status, such as parked."`
	Reason  string `placeholder:"REASON" help:"Only with this failure reason."`
	Key     string `placeholder:"KEY" help:"Only what was asked for with this idempotency key."`
	paging
}

func (c *listCommand) Run(ctx context.Context, t Terminal) error {
	api, err := newAPI(t)
	if err != nil {
		return err
	}
	kind := payout.KindPayout
	if c.Refunds {
		kind = payout.KindRefund
	}
	var page httpapi.Page[life]
	raw, err := api.call(ctx, http.MethodGet, c.query("/v1/"+string(kind)+"s", map[string]string{
		"player_id": c.Player, "status": c.Status, "failure_reason": c.Reason, "idempotency_key": c.Key}), "", nil, &page)
	if err != nil {
		return err
	}
	c.show(t, raw, func() {
		if len(page.Items) == 0 {
			fmt.Fprintf(t.Out, "no %ss\n", kind)
			return
		}
		w := tabwriter.NewWriter(t.Out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tPLAYER\tAMOUNT\tSTATUS\tMONEY\tREASON\tCREATED")
		for _, l := range page.Items {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.ID, l.PlayerID, l.money(), l.Status, l.Money, text(l.FailureReason, "-"), when(l.CreatedAt))
		}
		w.Flush()
		more(t, page.NextCursor)
	})
	return nil
}

// paging is what every command that lists takes.
type paging struct {
	Limit  int    `default:"20" help:"How many, up to 200."`
	Cursor string `placeholder:"CURSOR" help:"Go on where the page before ended."`
}

// query is the path with the filters that are set.
func (p paging) query(path string, filters map[string]string) string {
	query := url.Values{"limit": {strconv.Itoa(p.Limit)}}
	if p.Cursor != "" {
		query.Set("cursor", p.Cursor)
	}
	for name, value := range filters {
		if value != "" {
			query.Set(name, value)
		}
	}
	return path + "?" + query.Encode()
}

func more(t Terminal, next *string) {
	if next != nil {
		fmt.Fprintf(t.Out, "more: add --cursor %s\n", *next)
	}
}

const (
	lookEvery = 300 * time.Millisecond
	lookMost  = 5 * time.Second // the longest pause between two looks
)

// follow prints each thing that happens to a payout or refund until it is
// final, or waits for a person, and is an error unless it was executed. It
// outlives restarts of the API.
func follow(ctx context.Context, t Terminal, api *api, path string, o output) error {
	shown, pause, away := 0, lookEvery, false
	id := path[strings.LastIndex(path, "/")+1:]
	for {
		var l life
		raw, err := api.call(ctx, http.MethodGet, path, "", nil, &l)
		var no *refused
		switch {
		case ctx.Err() != nil:
			return left(ctx, t, id)
		case errors.As(err, &no) && no.Status < 500:
			return err
		case err != nil:
			if !away {
				fmt.Fprintf(t.Err, "%v\nIt goes on; looking again until the API answers.\n", err)
			}
			away = true
		default:
			away = false
			for _, m := range l.Timeline[min(shown, len(l.Timeline)):] {
				if pause = lookEvery; !o.JSON {
					fmt.Fprintf(t.Out, "%s  %-10s  %s\n", when(m.At), m.Status, m.What)
				}
			}
			shown = len(l.Timeline)
			if status := payout.Status(l.Status); status.Final() || status == payout.StatusParked {
				o.show(t, raw, func() { fmt.Fprintln(t.Out, strings.TrimSpace(outcome(l))) })
				if status != payout.StatusExecuted {
					return said{fmt.Errorf("%s %s is %s", l.kind(), id, l.Status)}
				}
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return left(ctx, t, id)
		case <-time.After(pause):
			pause = min(pause*5/4, lookMost)
		}
	}
}

// left says that whoever followed a payout or refund went away, and it did not.
func left(ctx context.Context, t Terminal, id string) error {
	fmt.Fprintf(t.Err, "It goes on; look again with: starter show %s\n", id)
	return said{ctx.Err()}
}
