package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"payouts/internal/httpapi"
	"payouts/internal/payout"
)

// bound is what a decision is bound to: the version its maker looked at.
type bound struct {
	Version int `placeholder:"N" help:"The version of the case that you looked at. Without it the case is read and shown now, and that version is used."`

	questions int // how much the case asked then; 0: not known
}

type resolveCommand struct {
	output
	bound
	Case             string `arg:"" help:"The case's id."`
	Action           string `arg:"" help:"One of the actions that the case shows."`
	Reason           string `required:"" placeholder:"TEXT" help:"Why, for those who read it later."`
	ProviderPayoutID string `placeholder:"ID" help:"With created_as and not_ours: the provider's id of the payout."`
	Ticket           string `placeholder:"NUMBER" help:"The provider's ticket that says so."`
}

func (c *resolveCommand) Run(ctx context.Context, t Terminal) error {
	api, err := newAPI(t)
	if err != nil {
		return err
	}
	if c.Version == 0 {
		found, _, err := api.readCase(ctx, c.Case)
		if err != nil {
			return err
		}
		c.bind(t, found, c.Action)
	}
	var r httpapi.Resolution
	raw, err := api.call(ctx, http.MethodPost, casePath(c.Case)+"/resolutions", "", httpapi.ResolutionRequest{
		Action: c.Action, ProviderPayoutID: c.ProviderPayoutID, ProviderTicket: c.Ticket, Reason: c.Reason, Version: c.Version, Questions: c.questions}, &r)
	if err != nil {
		return undecided(t, c.Case, err)
	}
	c.show(t, raw, func() {
		fmt.Fprintf(t.Out, "proposal %d of case %s: %s waits for another person\nnext: starter approve %s %d\n", r.Number, c.Case, r.Action, c.Case, r.Number)
	})
	return nil
}

type approveCommand struct {
	output
	bound
	Case   string `arg:"" help:"The case's id."`
	Number int    `arg:"" help:"The proposal's number."`
	Reject bool   `help:"Refuse it instead."`
}

func (c *approveCommand) Run(ctx context.Context, t Terminal) error {
	api, err := newAPI(t)
	if err != nil {
		return err
	}
	if c.Version == 0 {
		found, _, err := api.readCase(ctx, c.Case)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(found.Resolutions, func(r httpapi.Resolution) bool { return r.Number == c.Number })
		if at < 0 {
			return fmt.Errorf("case %s has no proposal %d; starter case %s shows those it has", c.Case, c.Number, c.Case)
		}
		fmt.Fprintf(t.Err, "%d: %s\n", c.Number, proposal(found.Resolutions[at]))
		c.bind(t, found, found.Resolutions[at].Action)
	}
	decision := "approve"
	if c.Reject {
		decision = "reject"
	}
	var r httpapi.Resolution
	raw, err := api.call(ctx, http.MethodPost, fmt.Sprintf("%s/resolutions/%d/approvals", casePath(c.Case), c.Number), "",
		httpapi.ApprovalRequest{Decision: decision, Version: c.Version, Questions: c.questions}, &r)
	if err != nil {
		return undecided(t, c.Case, err)
	}
	c.show(t, raw, func() {
		fmt.Fprintf(t.Out, "proposal %d of case %s is %s", r.Number, c.Case, r.Status)
		if r.Outcome != nil {
			fmt.Fprintf(t.Out, ": %s", *r.Outcome)
		}
		fmt.Fprintln(t.Out)
		if r.Status == httpapi.ResolutionApproved {
			fmt.Fprintf(t.Out, "it is being carried out; look with: starter case %s\n", c.Case)
		}
	})
	return nil
}

// bind takes the version of a case that was just read, and shows what the
// decision is bound to, before it is sent.
func (b *bound) bind(t Terminal, c httpapi.Case, action string) {
	b.Version, b.questions = c.Version, c.Questions
	about := "about no payout"
	if c.PayoutID != nil {
		about = fmt.Sprintf("%s of %s, %s %s", caseMoney(c), text(c.PlayerID, "nobody"), text(c.PayoutKind, ""), *c.PayoutID)
	}
	fmt.Fprintf(t.Err, "case %s, %s, %s, at version %d\n%s\n", c.ID, c.Kind, about, c.Version, c.Why)
	if at := slices.IndexFunc(payout.Offers(payout.CaseKind(c.Kind)), func(o payout.Offer) bool { return string(o.Action) == action }); at >= 0 {
		fmt.Fprintf(t.Err, "if it is wrong: %s\n", payout.Offers(payout.CaseKind(c.Kind))[at].Risk)
	}
}

// undecided says how to find out what became of a decision without an answer.
func undecided(t Terminal, id string, err error) error {
	var unseen *unreachable
	var no *refused
	if errors.As(err, &unseen) || (errors.As(err, &no) && no.Status >= 500) {
		fmt.Fprintf(t.Err, "It may have been taken all the same: starter case %s shows it.\n", id)
	}
	return err
}
