package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"payouts/internal/payout"
)

func sortedKeys[V any](a, b map[string]V) []string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]V{}
	}
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

// Accept takes a payout on: balance check, hold, row, request, and attempt 1
// with its key and exact bytes, in one transaction. Nothing is sent here; the
// caller starts the run afterwards, and the sweeper does where it could not.
//
//	Units:   minor units
//	Repeats: safe; the same key answers with the payout as it is now, and true
//	Errors:  *payout.KeyConflict, payout.ErrBalanceTooLow, payout.Problems (the source), payout.ErrNotFound; nothing is written
func (l *Ledger) Accept(ctx context.Context, req payout.Request, merchantAccountID string, bindFirstUse bool) (p Payout, replayed bool, err error) {
	if req.Metadata == nil {
		req.Metadata = map[string]string{}
	}
	letter, err := json.Marshal(req.Metadata)
	if err != nil {
		return p, false, err
	}
	return l.accept(ctx, req, row{
		id: req.ID(), kind: payout.KindPayout, caller: req.Caller, key: req.IdempotencyKey, player: req.PlayerID, money: req.Money, merchant: merchantAccountID,
		user: req.Beneficiary.UserID, source: req.Beneficiary.PaymentSourceID, reference: req.Beneficiary.Reference, letter: string(letter),
	}, func(t tx) error { return t.acceptable(ctx, req, bindFirstUse) })
}

// AcceptRefund takes a refund of a pay-in on, as Accept does a payout.
//
//	Units:   minor units
//	Repeats: safe; the same key answers with the refund as it is now, and true
//	Errors:  *payout.KeyConflict, payout.ErrBalanceTooLow, payout.ErrNotFound; nothing is written
func (l *Ledger) AcceptRefund(ctx context.Context, req payout.RefundRequest, merchantAccountID string) (p Payout, replayed bool, err error) {
	return l.accept(ctx, req, row{
		id: req.ID(), kind: payout.KindRefund, caller: req.Caller, key: req.IdempotencyKey, player: req.PlayerID, money: req.Money, merchant: merchantAccountID,
		payment: req.PaymentID, reference: req.Reference, letter: "{}",
	}, func(t tx) error {
		known, err := t.own(ctx, req.PlayerID, req.Caller, false)
		if err == nil && !known {
			err = payout.ErrBalanceTooLow
		}
		return err
	})
}

// endpoints are where requests are remembered.
var endpoints = map[payout.Kind]string{payout.KindPayout: "payouts", payout.KindRefund: "refunds"}

// accept writes the row of what was asked for, when allowed does not refuse.
func (l *Ledger) accept(ctx context.Context, request any, begun row, allowed func(tx) error) (p Payout, replayed bool, err error) {
	endpoint := endpoints[begun.kind]
	err = l.inTx(ctx, "accept", func(t tx) error {
		t.ahead(callerOfPlayer, begun.player)
		if begun.source != "" {
			t.ahead(ownerOfSource, begun.source)
		}
		before, err := t.takeKey(ctx, begun.caller, endpoint, begun.key, request, string(begun.id))
		if err != nil {
			return err
		}
		if replayed = before != ""; replayed {
			p, err = scanView(t.row(ctx, "SELECT "+viewColumns+" FROM payouts WHERE id = ?", before))
			return err
		}
		if err := allowed(t); err != nil {
			return err
		}
		if err := t.hold(ctx, begun.player, begun.money); err != nil {
			return err
		}
		r := &begun
		r.t, r.l, r.status, r.moneyAt, r.attempt, r.step, r.version, r.created = t, l, payout.StatusAccepted, payout.MoneyHeld, 1, payout.StepCreate, 1, t.now
		if err := r.insert(ctx); err != nil {
			return err
		}
		if err := r.traced(ctx); err != nil {
			return err
		}
		if err := r.begin(ctx, 1); err != nil {
			return err
		}
		if err := t.book(ctx, entry{kind: KindReserve, payoutID: r.id, attempt: 1, slot: "hold", money: r.money,
			from: playerAccount(r.player, "available"), to: playerAccount(r.player, "held")}); err != nil {
			return err
		}
		if err := r.note(ctx, "", "held %s of player %s", r.money, r.player); err != nil {
			return err
		}
		p = r.view()
		r.moved()
		return r.tell(ctx)
	})
	return p, replayed, err
}

// hold takes the amount from available to held, check and change in one
// statement. That it is too much is nothing that the database should log as an
// error, as it would for must.
func (t tx) hold(ctx context.Context, player string, m payout.Money) error {
	n, err := t.exec(ctx, "UPDATE balances SET available = available - ?, held = held + ? WHERE player_id = ? AND currency = ? AND available >= ?",
		m.Minor, m.Minor, player, string(m.Currency), m.Minor)
	if err == nil && n == 0 {
		err = payout.ErrBalanceTooLow
	}
	return err
}

// acceptable checks the account that is paid to: one that the player paid in
// from.
func (t tx) acceptable(ctx context.Context, req payout.Request, bindFirstUse bool) error {
	known, err := t.own(ctx, req.PlayerID, req.Caller, false)
	if err != nil {
		return err
	}
	source := payout.Source{PlayerID: req.PlayerID, PaymentSourceID: req.Beneficiary.PaymentSourceID, UserID: req.Beneficiary.UserID, Currency: req.Money.Currency}
	if known && bindFirstUse {
		if _, err := t.bind(ctx, source, "first_use"); err != nil {
			return beneficiary(err)
		}
	}
	if !known && bindFirstUse {
		return payout.ErrBalanceTooLow
	}
	return t.bound(ctx, source, "beneficiary.")
}

// beneficiary puts the fields of a source where a payout request has them.
func beneficiary(err error) error {
	var problems payout.Problems
	if !errors.As(err, &problems) {
		return err
	}
	for i := range problems {
		if problems[i].Field != "currency" {
			problems[i].Field = "beneficiary." + problems[i].Field
		}
	}
	return problems
}

func (r *row) insert(ctx context.Context) error {
	err := r.t.write(ctx, `INSERT INTO payouts (id, kind, caller, idempotency_key, player_id, amount_in_minor, currency, merchant_account_id, user_id,
		payment_source_id, payment_id, reference, metadata, status, money, attempt, step, due_at, version, created_at, updated_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		string(r.id), string(r.kind), r.caller, r.key, r.player, r.money.Minor, string(r.money.Currency), r.merchant, r.user,
		r.source, r.payment, r.reference, r.letter, string(r.status), string(r.moneyAt), r.attempt, string(r.step), r.dueAt(), r.version, stored(r.t.now), stored(r.t.now))
	if err != nil {
		return fmt.Errorf("insert payout: %w", err)
	}
	return nil
}

// view is the row as doors show it, without attempts and timeline.
func (r *row) view() Payout {
	return Payout{
		ID: r.id, Kind: r.kind, Caller: r.caller, IdempotencyKey: r.key, PlayerID: r.player, Money: r.money,
		Beneficiary: payout.Beneficiary{UserID: r.user, PaymentSourceID: r.source, Reference: r.reference},
		PaymentID:   r.payment, MerchantAccountID: r.merchant, Metadata: r.metadata(), Status: r.status, MoneyAt: r.moneyAt, Reason: r.reason,
		ProviderStatus: r.providerStatus, Step: r.step, NextStepAt: r.nextStepAt, Version: r.version, CreatedAt: r.created, UpdatedAt: r.t.now,
	}
}
