package simulator

import (
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// Statuses the provider is known to use.
const (
	StatusPending    = "pending"
	StatusAuthorized = "authorized"
	StatusExecuted   = "executed"
	StatusFailed     = "failed"

	// Before pending, of payouts that a user has to confirm.
	StatusAuthorizationRequired = "authorization_required"
	StatusAuthorizing           = "authorizing"
)

// Kinds of transfer.
const (
	KindPayout = "payout"
	KindRefund = "refund"
)

// Transfer is a payout or a refund as it truly is; what a client is shown can
// be scripted to differ.
type Transfer struct {
	ID                string            `json:"id"`
	Kind              string            `json:"kind"`
	IdempotencyKey    string            `json:"idempotency_key"`
	MerchantAccountID string            `json:"merchant_account_id"`
	PaymentID         string            `json:"payment_id,omitempty"` // refunds
	AmountInMinor     int64             `json:"amount_in_minor"`
	Currency          string            `json:"currency"`
	Reference         string            `json:"reference"`
	PaymentSourceID   string            `json:"payment_source_id,omitempty"`
	UserID            string            `json:"user_id,omitempty"`
	Metadata          map[string]string `json:"metadata,omitempty"`
	Beneficiary       json.RawMessage   `json:"beneficiary,omitempty"` // as requested
	SchemeSelection   json.RawMessage   `json:"scheme_selection,omitempty"`

	FirstStatus string `json:"first_status,omitempty"` // default pending

	History []Moment  `json:"history"` // never empty; the last is now
	Plan    []Step    `json:"plan,omitempty"`
	NextAt  time.Time `json:"next_at"` // of the plan's first step

	HeldAside  bool   `json:"held_aside"` // its amount is out of the available balance
	Executions int    `json:"executions"` // times its money left: 0 or 1
	ReturnedBy string `json:"returned_by,omitempty"`
}

// Moment is a transfer's state from a time on.
type Moment struct {
	At       time.Time `json:"at"`
	Status   string    `json:"status"`
	Reason   string    `json:"reason,omitempty"`
	SchemeID string    `json:"scheme_id"`
}

// Status is the true status now.
func (t Transfer) Status() string { return t.History[len(t.History)-1].Status }

// FailureReason is the true reason now; empty unless failed.
func (t Transfer) FailureReason() string { return t.History[len(t.History)-1].Reason }

// reached is when the transfer last came to a status, seen from a history.
func reached(history []Moment, status string) (time.Time, bool) {
	for _, m := range slices.Backward(history) {
		if m.Status == status {
			return m.At, true
		}
	}
	return time.Time{}, false
}

// asOf is the history up to a time; its first moment always.
func (t *Transfer) asOf(when time.Time) []Moment {
	n := 1
	for n < len(t.History) && !t.History[n].At.After(when) {
		n++
	}
	return t.History[:n]
}

func (t *Transfer) clone() Transfer {
	c := *t
	c.History, c.Plan, c.Metadata = slices.Clone(t.History), slices.Clone(t.Plan), maps.Clone(t.Metadata)
	return c
}

// Payouts returns all payouts, oldest first.
func (s *Simulator) Payouts() []Transfer { return s.transfersOf(KindPayout) }

// Refunds returns all refunds, oldest first.
func (s *Simulator) Refunds() []Transfer { return s.transfersOf(KindRefund) }

func (s *Simulator) transfersOf(kind string) []Transfer {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []Transfer{}
	for _, t := range s.st.Transfers {
		if t.Kind == kind {
			out = append(out, t.clone())
		}
	}
	return out
}

// Payout returns one payout.
func (s *Simulator) Payout(id string) (Transfer, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.st.transfers[id]
	if !ok || t.Kind != KindPayout {
		return Transfer{}, false
	}
	return t.clone(), true
}

// stamp writes a time as the provider does: UTC, up to nine digits.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// stampMilli is what the provider's executed_at looks like.
func stampMilli(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// view is the get call's body for a transfer with this history.
func (s *Simulator) view(t *Transfer, history []Moment) map[string]any {
	last := history[len(history)-1]
	v := map[string]any{
		"id": t.ID, "amount_in_minor": t.AmountInMinor, "currency": t.Currency,
		"status": last.Status, "created_at": stamp(t.History[0].At),
	}
	if at, ok := reached(history, StatusAuthorized); ok && t.Kind == KindPayout {
		v["authorized_at"] = stamp(at)
	}
	if at, ok := reached(history, StatusExecuted); ok {
		v["executed_at"] = stampMilli(at)
	}
	if last.Status == StatusFailed {
		v["failed_at"] = stamp(last.At)
		v["failure_reason"] = last.Reason
	}
	if len(t.Metadata) > 0 {
		v["metadata"] = toAny(t.Metadata)
	}
	if t.Kind == KindRefund {
		v["reference"] = t.Reference
		return v
	}
	v["merchant_account_id"] = t.MerchantAccountID
	v["scheme_id"] = last.SchemeID
	v["beneficiary"] = s.beneficiary(t)
	if t.FirstStatus != "" {
		v["user"] = map[string]any{"id": t.UserID}
	}
	return v
}

// beneficiary is as requested, with the holder's name and account_identifiers
// (an array here, a single account_identifier in the request).
func (s *Simulator) beneficiary(t *Transfer) map[string]any {
	b := map[string]any{}
	_ = json.Unmarshal(t.Beneficiary, &b)
	switch b["type"] {
	case "payment_source":
		source := s.st.sources[t.PaymentSourceID]
		b["account_holder_name"] = source.AccountHolderName
		b["account_identifiers"] = source.AccountIdentifiers
	case "external_account":
		b["account_identifiers"] = []any{b["account_identifier"]}
		delete(b, "account_identifier")
		delete(b, "address")
		delete(b, "date_of_birth")
	case "verified_external_account", typeUserDetermined:
		delete(b, "user")
		delete(b, "verification")
		delete(b, "provider_selection")
		b["account_holder_name"] = mockHolder
		b["account_identifiers"] = mockIdentifiers(t.Currency, "00003211")
	case "business_account":
		b["account_holder_name"] = "SIMULATED MERCHANT"
		b["account_identifiers"] = mockIdentifiers(t.Currency, "00003210")
	}
	return b
}

func toAny(m map[string]string) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}
