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
	const endpoint = "payouts"
	if req.Metadata == nil {
		req.Metadata = map[string]string{}
	}
	letter, err := json.Marshal(req.Metadata)
	if err != nil {
		return p, false, err
	}
	id := req.ID()
	err = l.inTx(ctx, "accept", func(t tx) error {
		before, err := t.remembered(ctx, req.Caller, endpoint, req.IdempotencyKey, req)
		if err != nil {
			return err
		}
		if replayed = before != ""; replayed {
			p, err = scanView(t.row(ctx, "SELECT "+viewColumns+" FROM payouts WHERE id = ?", before))
			return err
		}
		if err := t.acceptable(ctx, req, bindFirstUse); err != nil {
			return err
		}
		r := &row{
			t: t, l: l, id: id, kind: payout.KindPayout, caller: req.Caller, key: req.IdempotencyKey, player: req.PlayerID, money: req.Money,
			merchant: merchantAccountID, user: req.Beneficiary.UserID, source: req.Beneficiary.PaymentSourceID, reference: req.Beneficiary.Reference,
			letter: string(letter), status: payout.StatusAccepted, moneyAt: payout.MoneyHeld, attempt: 1, step: payout.StepCreate, version: 1, created: t.now,
		}
		if err := r.insert(ctx); err != nil {
			return err
		}
		if err := r.begin(ctx, 1); err != nil {
			return err
		}
		if err := t.book(ctx, entry{kind: KindReserve, payoutID: id, attempt: 1, slot: "hold", money: req.Money,
			from: playerAccount(req.PlayerID, "available"), to: playerAccount(req.PlayerID, "held")}); err != nil {
			return err
		}
		if err := t.remember(ctx, req.Caller, endpoint, req.IdempotencyKey, req, string(id)); err != nil {
			return err
		}
		if err := r.note(ctx, "", "held %s of player %s", req.Money, req.PlayerID); err != nil {
			return err
		}
		p = r.view()
		return r.tell(ctx)
	})
	return p, replayed, err
}

// acceptable checks the source and takes the amount from available to held,
// check and change in one statement.
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
	if err := t.bound(ctx, source, "beneficiary."); err != nil {
		return err
	}
	n, err := t.exec(ctx, "UPDATE balances SET available = available - ?, held = held + ? WHERE player_id = ? AND currency = ? AND available >= ?",
		req.Money.Minor, req.Money.Minor, req.PlayerID, string(req.Money.Currency), req.Money.Minor)
	if err == nil && n == 0 {
		err = payout.ErrBalanceTooLow
	}
	return err
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
	_, err := r.t.exec(ctx, `INSERT INTO payouts (id, kind, caller, idempotency_key, player_id, amount_in_minor, currency, merchant_account_id, user_id,
		payment_source_id, reference, metadata, status, money, attempt, step, due_at, version, created_at, updated_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		string(r.id), string(r.kind), r.caller, r.key, r.player, r.money.Minor, string(r.money.Currency), r.merchant, r.user,
		r.source, r.reference, r.letter, string(r.status), string(r.moneyAt), r.attempt, string(r.step), r.dueAt(), r.version, stored(r.t.now), stored(r.t.now))
	if err != nil {
		return fmt.Errorf("insert payout: %w", err)
	}
	return nil
}

// view is the row as doors show it, without attempts and timeline.
func (r *row) view() Payout {
	return Payout{
		ID: r.id, Kind: r.kind, Caller: r.caller, IdempotencyKey: r.key, PlayerID: r.player, Money: r.money,
		Beneficiary:       payout.Beneficiary{UserID: r.user, PaymentSourceID: r.source, Reference: r.reference},
		MerchantAccountID: r.merchant, Metadata: r.metadata(), Status: r.status, MoneyAt: r.moneyAt, Reason: r.reason,
		ProviderStatus: r.providerStatus, Step: r.step, NextStepAt: r.nextStepAt, Version: r.version, CreatedAt: r.created, UpdatedAt: r.t.now,
	}
}
