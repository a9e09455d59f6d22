package ledger

import (
	"context"

	"payouts/internal/payout"
)

// AcceptedBefore answers with the payout, as it is now, that Accept made of
// this request earlier, and with false when it made none. A door asks before
// it refuses a request for what is configured: that may have changed since.
//
//	Repeats: safe; nothing is written
//	Errors:  *payout.KeyConflict
func (l *Ledger) AcceptedBefore(ctx context.Context, req payout.Request) (Payout, bool, error) {
	return l.acceptedBefore(ctx, payout.KindPayout, req.Caller, req.IdempotencyKey, req)
}

// RefundAcceptedBefore is AcceptedBefore for a refund.
//
//	Repeats: safe; nothing is written
//	Errors:  *payout.KeyConflict
func (l *Ledger) RefundAcceptedBefore(ctx context.Context, req payout.RefundRequest) (Payout, bool, error) {
	return l.acceptedBefore(ctx, payout.KindRefund, req.Caller, req.IdempotencyKey, req)
}

func (l *Ledger) acceptedBefore(ctx context.Context, kind payout.Kind, caller, key string, request any) (p Payout, found bool, err error) {
	err = l.inTx(ctx, "accepted before", func(t tx) error {
		id, err := t.takenKey(ctx, caller, endpoints[kind], key, request)
		if found = id != ""; found {
			p, err = scanView(t.row(ctx, "SELECT "+viewColumns+" FROM payouts WHERE id = ?", id))
		}
		return err
	})
	return p, found, err
}

// BookedBefore is AcceptedBefore for a credit or debit.
//
//	Repeats: safe; nothing is written
//	Errors:  *payout.KeyConflict
func (l *Ledger) BookedBefore(ctx context.Context, kind TransactionKind, m payout.Movement) (done Transaction, found bool, err error) {
	endpoint := map[TransactionKind]string{KindCredit: "credits", KindDebit: "debits"}[kind]
	err = l.inTx(ctx, "booked before", func(t tx) error {
		id, err := t.takenKey(ctx, m.Caller, endpoint, m.IdempotencyKey, m)
		if found = id != ""; found {
			err = scanTransaction(t.row(ctx, "SELECT "+transactionColumns+" FROM transactions WHERE id = ?", id), &done)
		}
		return err
	})
	return done, found, err
}
