package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"payouts/internal/httpapi"
	"payouts/internal/payout"
)

type payCommand struct {
	output
	keyed
	Amount
	Player    string            `arg:"" help:"Your id of the player."`
	Source    string            `placeholder:"ID" help:"The account that paid in (payment_source_id). Without it the player's only bound account in this currency."`
	User      string            `placeholder:"ID" help:"The provider's user that paid in. Without it the user the account is bound with."`
	Reference string            `required:"" placeholder:"TEXT" help:"What the player sees on the bank statement: 1 to 18 of A-Z a-z 0-9 space . -"`
	Metadata  map[string]string `placeholder:"NAME=VALUE" help:"Your own pairs, carried along."`
	Wait      bool              `help:"Follow the payout until it is final, a line for each thing that happens."`
}

func (c *payCommand) Run(ctx context.Context, t Terminal) error {
	money, err := c.money()
	if err != nil {
		return err
	}
	api, err := newAPI(t)
	if err != nil {
		return err
	}
	if c.Source == "" || c.User == "" {
		if err := c.findSource(ctx, api, money.Currency); err != nil {
			return err
		}
	}
	var p httpapi.Payout
	raw, err := api.call(ctx, http.MethodPost, "/v1/payouts", c.use(t), httpapi.PayoutRequest{
		PlayerID: c.Player, Amount: money.Minor, Currency: string(money.Currency), Metadata: c.Metadata,
		Beneficiary: httpapi.Beneficiary{UserID: c.User, PaymentSourceID: c.Source, Reference: c.Reference},
	}, &p)
	if err != nil {
		return c.lost(t, err)
	}
	if !c.JSON {
		fmt.Fprintf(t.Out, "payout %s: %s to %s is %s\n", p.ID, money, c.Player, p.Status)
	}
	if !c.Wait {
		c.show(t, raw, func() { fmt.Fprintf(t.Out, "follow it: starter show %s\n", p.ID) })
		return nil
	}
	return follow(ctx, t, api, p.ID, c.output)
}

// findSource takes what is left open from the player's bound accounts, where
// only one can be meant.
func (c *payCommand) findSource(ctx context.Context, api *api, currency payout.Currency) error {
	var list httpapi.Sources
	if _, err := api.call(ctx, http.MethodGet, playerPath(c.Player, "payment-sources"), "", nil, &list); err != nil {
		return err
	}
	fits := slices.DeleteFunc(list.Items, func(s httpapi.Source) bool {
		return s.Currency != string(currency) || c.Source != "" && s.PaymentSourceID != c.Source || c.User != "" && s.UserID != c.User
	})
	switch {
	case len(fits) == 0:
		return usageError{fmt.Errorf("--source: no account of %s in %s is bound that fits; bind one with `starter source`", c.Player, currency)}
	case len(fits) > 1:
		names := make([]string, len(fits))
		for i, s := range fits {
			names[i] = fmt.Sprintf("--source %s --user %s", s.PaymentSourceID, s.UserID)
		}
		return usageError{fmt.Errorf("--source: %s has %d accounts in %s; name one:\n  %s", c.Player, len(fits), currency, strings.Join(names, "\n  "))}
	}
	c.Source, c.User = fits[0].PaymentSourceID, fits[0].UserID
	return nil
}

const (
	lookEvery = 300 * time.Millisecond
	lookMost  = 5 * time.Second // the longest pause between two looks
)

// follow prints each thing that happens to a payout until it is final, or
// waits for a person, and is an error unless it was executed. It outlives
// restarts of the API.
func follow(ctx context.Context, t Terminal, api *api, id string, o output) error {
	shown, pause, away := 0, lookEvery, false
	for {
		var p httpapi.Payout
		raw, err := api.call(ctx, http.MethodGet, payoutPath(id), "", nil, &p)
		var no *refused
		switch {
		case ctx.Err() != nil:
			return left(ctx, t, id)
		case errors.As(err, &no) && no.Status < 500:
			return err
		case err != nil:
			if !away {
				fmt.Fprintf(t.Err, "%v\nThe payout goes on; looking again until it answers.\n", err)
			}
			away = true
		default:
			away = false
			for _, m := range p.Timeline[min(shown, len(p.Timeline)):] {
				if pause = lookEvery; !o.JSON {
					fmt.Fprintf(t.Out, "%s  %-10s  %s\n", when(m.At), m.Status, m.What)
				}
			}
			shown = len(p.Timeline)
			if status := payout.Status(p.Status); status.Final() || status == payout.StatusParked {
				o.show(t, raw, func() { fmt.Fprintln(t.Out, strings.TrimSpace(outcome(p))) })
				if status != payout.StatusExecuted {
					return said{fmt.Errorf("payout %s is %s", id, p.Status)}
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

// left says that whoever followed a payout went away, and the payout did not.
func left(ctx context.Context, t Terminal, id string) error {
	fmt.Fprintf(t.Err, "The payout goes on; look again with: starter show %s\n", id)
	return said{ctx.Err()}
}
