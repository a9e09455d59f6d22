package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"payouts/internal/httpapi"
	"payouts/internal/payout"
)

func casePath(id string) string { return "/v1/cases/" + url.PathEscape(id) }

func (a *api) readCase(ctx context.Context, id string) (c httpapi.Case, raw []byte, err error) {
	raw, err = a.call(ctx, http.MethodGet, casePath(id), "", nil, &c)
	return c, raw, err
}

type casesCommand struct {
	output
	All    bool   `help:"Closed ones too."`
	Kind   string `placeholder:"KIND" help:"Only of this kind, such as blocked."`
	Payout string `placeholder:"ID" help:"Only about this payout or refund."`
	paging
}

func (c *casesCommand) Run(ctx context.Context, t Terminal) error {
	api, err := newAPI(t)
	if err != nil {
		return err
	}
	status := "open"
	if c.All {
		status = ""
	}
	var page httpapi.CaseList
	raw, err := api.call(ctx, http.MethodGet, c.query("/v1/cases", map[string]string{"status": status, "kind": c.Kind, "payout_id": c.Payout}), "", nil, &page)
	if err != nil {
		return err
	}
	c.show(t, raw, func() {
		if len(page.Items) == 0 {
			fmt.Fprintln(t.Out, "no cases")
			return
		}
		w := tabwriter.NewWriter(t.Out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tKIND\tSTATUS\tAGE\tACTS\tAMOUNT\tPLAYER\tWHY")
		for _, c := range page.Items {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.ID, c.Kind, c.Status, age(c.AgeSeconds), c.Team, or(caseMoney(c), "-"), text(c.PlayerID, "-"), inARow(c.Why))
		}
		w.Flush()
		more(t, page.NextCursor)
	})
	return nil
}

type caseCommand struct {
	output
	ID string `arg:"" help:"The case's id."`
}

func (c *caseCommand) Run(ctx context.Context, t Terminal) error {
	api, err := newAPI(t)
	if err != nil {
		return err
	}
	found, raw, err := api.readCase(ctx, c.ID)
	if err != nil {
		return err
	}
	if c.JSON {
		c.show(t, raw, nil)
		return nil
	}
	tellCase(t.Out, found)
	if found.PayoutID != nil {
		l, _, err := api.find(ctx, *found.PayoutID)
		if err != nil {
			return err
		}
		tell(t.Out, l, nil)
	}
	tellKnown(t.Out, found)
	return nil
}

// tellCase says what is asked, why, since when, and who acts.
func tellCase(w io.Writer, c httpapi.Case) {
	fmt.Fprintf(w, "case %s\n", c.ID)
	line(w, "asks", fmt.Sprintf("%s: %s", c.Kind, or(payout.CaseKind(c.Kind).InWords(), "see why")))
	line(w, "why", c.Why)
	line(w, "since", fmt.Sprintf("%s (%s), %s", when(c.OpenedAt), age(c.AgeSeconds), c.Status))
	if c.ClosedAt != nil {
		line(w, "closed", fmt.Sprintf("%s by %s", when(*c.ClosedAt), text(c.ClosedBy, "news")))
	}
	line(w, "acts", c.Team)
	line(w, "about", text(c.Subject, ""))
	line(w, "version", fmt.Sprint(c.Version))
}

// tellKnown shows what was heard, what may be decided and what was, and ends
// with the exact next command.
func tellKnown(w io.Writer, c httpapi.Case) {
	if len(c.Evidence) > 0 {
		fmt.Fprintln(w, "evidence, newest first")
	}
	for i := 0; i < len(c.Evidence); {
		same := i + 1
		for same < len(c.Evidence) && heardAs(c.Evidence[same]) == heardAs(c.Evidence[i]) {
			same++
		}
		fmt.Fprintf(w, "  %s  %s", when(heardAt(c.Evidence[i])), heardAs(c.Evidence[i]))
		if times := same - i; times > 1 {
			fmt.Fprintf(w, " (%d times since %s)", times, when(heardAt(c.Evidence[same-1])))
		}
		fmt.Fprintln(w)
		i = same
	}
	if len(c.Actions) > 0 {
		fmt.Fprintln(w, "what may be decided, and what is lost if it is wrong")
	}
	for _, o := range c.Actions {
		fmt.Fprintf(w, "  %-14s  %s\n", o.Action, o.Risk)
	}
	if len(c.NotNow) > 0 {
		fmt.Fprintln(w, "what would answer it, but not as things are")
	}
	for _, why := range c.NotNow {
		fmt.Fprintf(w, "  %s\n", typed(why))
	}
	if len(c.Resolutions) > 0 {
		fmt.Fprintln(w, "decisions")
	}
	for _, r := range c.Resolutions {
		fmt.Fprintf(w, "  %d  %s\n", r.Number, proposal(r))
		if r.DecidedBy != nil && r.DecidedAt != nil {
			fmt.Fprintf(w, "     decided by %s %s\n", *r.DecidedBy, when(*r.DecidedAt))
		}
		ended := r.Status
		if r.EndedAt != nil {
			ended += " " + when(*r.EndedAt)
		}
		if r.Outcome != nil {
			ended += ": " + *r.Outcome
		}
		if r.Status == httpapi.ResolutionProposed && c.Status != "open" {
			ended += ", and nobody decided: the case is closed"
		}
		fmt.Fprintf(w, "     %s\n", ended)
	}
	fmt.Fprintln(w, "next")
	for _, step := range onwards(c) {
		fmt.Fprintf(w, "  %s\n", step)
	}
}

// inARow is all that a case asks, as it fits a row of a list.
func inARow(why string) string { return strings.ReplaceAll(why, "\n", "; and: ") }

// heardAs is what was heard, without when: what is asked again and again is
// shown once.
func heardAs(e httpapi.Evidence) string {
	said := fmt.Sprintf("%-9s  attempt %d  %s", e.Kind, e.Attempt, text(e.ProviderStatus, "-"))
	if e.FailureReason != nil {
		said += ", " + *e.FailureReason
	}
	if e.ProviderPayoutID != nil {
		said += ", at the provider " + *e.ProviderPayoutID
	}
	return said
}

// heardAt is when we asked, or else when it came.
func heardAt(e httpapi.Evidence) time.Time {
	if e.AskedAt != nil {
		return *e.AskedAt
	}
	return e.StoredAt
}

// proposal says who wants what, and why.
func proposal(r httpapi.Resolution) string {
	said := r.Action
	if r.ProviderPayoutID != nil {
		said += " " + *r.ProviderPayoutID
	}
	if r.Amount != nil {
		said += ", " + amount(*r.Amount, payout.Currency(text(r.Currency, "")))
	}
	said += fmt.Sprintf(", proposed by %s %s at version %d: %q", r.ProposedBy, when(r.ProposedAt), r.Version, r.Reason)
	if r.ProviderTicket != nil {
		said += ", the provider's ticket " + *r.ProviderTicket
	}
	return said
}

// onwards is what a person can do about a case: the commands as they are typed.
func onwards(c httpapi.Case) []string {
	if c.Status != "open" {
		return []string{"nothing: it is closed"}
	}
	if at := slices.IndexFunc(c.Resolutions, func(r httpapi.Resolution) bool { return r.Status == httpapi.ResolutionProposed }); at >= 0 {
		r := c.Resolutions[at]
		if r.Stale {
			return []string{fmt.Sprintf("starter approve %s %d --reject   # by another person than %s; it was made before the payout moved on or the case asked more: then propose anew", c.ID, r.Number, r.ProposedBy)}
		}
		return []string{fmt.Sprintf("starter approve %s %d   # by another person than %s; --reject refuses it", c.ID, r.Number, r.ProposedBy)}
	}
	if slices.ContainsFunc(c.Resolutions, func(r httpapi.Resolution) bool { return r.Status == httpapi.ResolutionApproved }) {
		return []string{"it is being carried out; look again with: starter case " + c.ID}
	}
	var steps []string
	for _, o := range c.Actions {
		needs := ""
		if o.Needs != nil {
			needs = " " + word(flags, *o.Needs)
		}
		steps = append(steps, fmt.Sprintf("starter resolve %s %s%s --reason '…'", c.ID, o.Action, needs))
	}
	if steps == nil {
		return []string{or(closes[payout.CaseKind(c.Kind)], "nothing may be proposed just now; what the provider says may answer it")}
	}
	return steps
}

func caseMoney(c httpapi.Case) string {
	if c.Amount == nil {
		return ""
	}
	return amount(*c.Amount, payout.Currency(text(c.Currency, "")))
}

// age shows how old something is, in the unit that matters.
func age(seconds int64) string {
	switch d := time.Duration(seconds) * time.Second; {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", seconds)
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", seconds/60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", seconds/3600)
	}
	return fmt.Sprintf("%dd", seconds/86400)
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
