package truelayer

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"payouts/internal/payout"
)

// Payment is a pay-in, as far as paying back needs it: UserID and
// PaymentSourceID are what a closed-loop payout goes to.
type Payment struct {
	ID                string
	Status            string // the provider's own word: authorized, executed, settled, failed and others
	Money             payout.Money
	MerchantAccountID string // the account of ours it was paid into
	UserID            string
	PaymentSourceID   string // empty before the payment is settled
	Metadata          map[string]string
	SettledAt         time.Time // the provider's clock; zero before
	AskedAt           time.Time // our clock, before the request left
	Raw               []byte    // the body as received; holds account numbers
}

// GetPayment asks about a pay-in.
//
//	Repeats: safe
//	Errors:  ErrNotFound; else worth another try
//	Clock:   AskedAt is ours, before the request left
//	Source:  docs/truelayer.md, "Payments"
func (c *Client) GetPayment(ctx context.Context, paymentID string) (Payment, error) {
	const op = "get payment"
	if !askable(paymentID) {
		return Payment{}, fmt.Errorf("%s: %.40q is no id of theirs", op, paymentID)
	}
	body, asked, err := c.read(ctx, question{op: op, path: "/v3/payments/" + url.PathEscape(paymentID)})
	if err != nil {
		return Payment{}, err
	}
	p, err := readPayment(body)
	if err != nil {
		return Payment{}, unreadable(op, err)
	}
	p.AskedAt = asked
	return p, nil
}

func readPayment(body []byte) (Payment, error) {
	o, err := readObject(body)
	if err != nil {
		return Payment{}, err
	}
	f := &fields{object: o}
	user := &fields{object: o.inner("user")}
	source := &fields{object: o.inner("payment_source")}
	to := &fields{object: o.inner("payment_method").inner("beneficiary")}
	p := Payment{
		ID: f.must("id"), Status: f.must("status"), Money: f.money("amount_in_minor"),
		MerchantAccountID: to.text("merchant_account_id"), UserID: user.text("id"), PaymentSourceID: source.text("id"),
		Metadata: o.inner("metadata").strings(), SettledAt: f.when("settled_at"), Raw: body,
	}
	if p.UserID == "" { // where their events have it
		p.UserID = f.text("user_id")
	}
	return p, errors.Join(f.err(), user.err(), source.err(), to.err())
}

// GetRefund asks what became of a refund of a pay-in. The word has neither
// merchant account nor beneficiary: they show none.
//
//	Repeats: safe
//	Errors:  ErrNotFound (for a time after a create: not visible yet), payout.ErrNoID; else worth another try
//	Clock:   AskedAt is ours, before the request left
//	Source:  docs/truelayer.md, "Refunds"
func (c *Client) GetRefund(ctx context.Context, paymentID, refundID string) (payout.Word, error) {
	const op = "get refund"
	for _, id := range []string{paymentID, refundID} {
		if !askable(id) {
			return payout.Word{}, fmt.Errorf("%s: %.40q is %w", op, id, payout.ErrNoID)
		}
	}
	return c.word(ctx, question{op: op, path: "/v3/payments/" + url.PathEscape(paymentID) + "/refunds/" + url.PathEscape(refundID)})
}

// Refunds lists all refunds of a pay-in: where a create whose answer was lost
// is found again, by its metadata.
//
//	Repeats: safe
//	Errors:  ErrNotFound: no such pay-in; else worth another try. Never a part of the list
//	Clock:   AskedAt is ours, before the request left
//	Source:  docs/truelayer.md, "Refunds"
func (c *Client) Refunds(ctx context.Context, paymentID string) ([]payout.Word, error) {
	const op = "refunds"
	if !askable(paymentID) {
		return nil, fmt.Errorf("%s: %.40q is no id of theirs", op, paymentID)
	}
	body, asked, err := c.read(ctx, question{op: op, path: "/v3/payments/" + url.PathEscape(paymentID) + "/refunds"})
	if err != nil {
		return nil, err
	}
	words, err := readWords(body)
	if err != nil {
		return nil, unreadable(op, err)
	}
	for i := range words {
		words[i].AskedAt = asked
	}
	return words, nil
}

func readWords(body []byte) (words []payout.Word, err error) {
	err = items(body, func(item object, raw []byte) error {
		w, err := item.word(raw)
		words = append(words, w)
		return err
	})
	return words, err
}
