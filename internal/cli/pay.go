package cli

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"payouts/internal/httpapi"
	"payouts/internal/payout"
)

// asking is what pay and refund take.
type asking struct {
	output
	keyed
	Amount
	Wait bool `help:"Follow it until it is final, a line for each thing that happens."`
}

// ask asks for a payout or a refund, and follows it where that is wanted.
func (c *asking) ask(ctx context.Context, t Terminal, api *api, path string, body any) error {
	var l life
	raw, err := api.call(ctx, http.MethodPost, path, c.use(t), body, &l)
	if err != nil {
		return c.lost(t, err)
	}
	if !c.JSON {
		fmt.Fprintf(t.Out, "%s %s: %s to %s is %s\n", l.kind(), l.ID, l.money(), l.PlayerID, l.Status)
	}
	if !c.Wait {
		c.show(t, raw, func() { fmt.Fprintf(t.Out, "follow it: starter show %s\n", l.ID) })
		return nil
	}
	return follow(ctx, t, api, path+"/"+l.ID, c.output)
}

type payCommand struct {
	asking
	Player    string            `arg:"" help:"Your id of the player."`
	Source    string            `placeholder:"ID" help:"The account that paid in (payment_source_id). Without it the player's only bound account in this currency."`
	User      string            `placeholder:"ID" help:"The provider's user that paid in. Without it the user the account is bound with."`
	Reference string            `required:"" placeholder:"TEXT" help:"What the player sees on the bank statement: 1 to 18 of A-Z a-z 0-9 space . -"`
	Metadata  map[string]string `placeholder:"NAME=VALUE" help:"Your own pairs, carried along."`
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
	return c.ask(ctx, t, api, "/v1/payouts", httpapi.PayoutRequest{
		PlayerID: c.Player, Amount: money.Minor, Currency: string(money.Currency), Metadata: c.Metadata,
		Beneficiary: httpapi.Beneficiary{UserID: c.User, PaymentSourceID: c.Source, Reference: c.Reference},
	})
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
