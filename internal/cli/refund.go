package cli

import (
	"context"

	"payouts/internal/httpapi"
)

type refundCommand struct {
	asking
	Player    string `arg:"" help:"Your id of the player who paid in."`
	Payment   string `required:"" placeholder:"ID" help:"The provider's id of the pay-in (payment_id)."`
	Reference string `required:"" placeholder:"TEXT" help:"What the player sees on the bank statement: 1 to 18 of A-Z a-z 0-9 space . -"`
}

func (c *refundCommand) Run(ctx context.Context, t Terminal) error {
	money, err := c.money()
	if err != nil {
		return err
	}
	api, err := newAPI(t)
	if err != nil {
		return err
	}
	return c.ask(ctx, t, api, "/v1/refunds", httpapi.RefundRequest{
		PlayerID: c.Player, PaymentID: c.Payment, Amount: money.Minor, Currency: string(money.Currency), Reference: c.Reference})
}
