package simulator

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"
)

// plan is the way a new transfer will go, by its rule and the settings.
func (s *Simulator) plan(t *Transfer, r *Rule) []Step {
	if len(r.Path) > 0 {
		return append([]Step(nil), r.Path...)
	}
	authorize, execute := s.settings.AuthorizeAfter, s.settings.ExecuteAfter
	if r.Delay != nil {
		authorize, execute = or(r.Delay.Authorize, authorize), or(r.Delay.Execute, execute)
	}
	way := []Step{{Status: StatusAuthorized, After: authorize}, {Status: StatusExecuted, After: execute}}
	var before []Step
	if t.FirstStatus == StatusAuthorizationRequired { // there is no hosted page here: the user confirms by himself
		before = []Step{{Status: StatusAuthorizing, After: authorize}, {Status: StatusPending, After: authorize}}
	}
	if r.Fail != nil {
		done := map[string]int{"": 0, StatusPending: 0, StatusAuthorized: 1, StatusExecuted: 2}[r.Fail.Stage]
		after := or(r.Fail.After, []Duration{authorize, execute, execute}[done])
		return append(before, append(way[:done:done], Step{Status: StatusFailed, After: after, Reason: r.Fail.Reason})...)
	}
	if r.Return != nil {
		back := *r.Return
		back.Status, back.Reason = or(back.Status, StatusFailed), or(back.Reason, "returned")
		way = append(way, back)
	}
	return append(before, way...)
}

// begin gives a new transfer its life. It needs the lock, as all below do.
func (s *Simulator) begin(t *Transfer) {
	rule, _ := s.st.ruleOf(t.IdempotencyKey)
	t.History = []Moment{{At: s.now(), Status: or(t.FirstStatus, StatusPending), SchemeID: "unknown"}}
	t.Plan = s.plan(t, rule)
	s.st.Transfers = append(s.st.Transfers, t)
	s.st.transfers[t.ID] = t
	s.factOf(t, FactAccepted, "")
	s.log.Debug("transfer accepted", zap.String("kind", t.Kind), zap.String("id", t.ID), zap.Int64("amount_in_minor", t.AmountInMinor))
	s.appoint(t)
	s.touch()
}

func (s *Simulator) appoint(t *Transfer) {
	if len(t.Plan) == 0 {
		return
	}
	t.NextAt = s.now().Add(time.Duration(t.Plan[0].After))
	s.at(t.NextAt, func() { s.step(t) })
}

// step takes the first step of the plan. Money leaves at most once, with the
// first execution; without funds the plan is given up.
func (s *Simulator) step(t *Transfer) {
	next := t.Plan[0]
	account := s.st.account(t.MerchantAccountID)

	if (next.Status == StatusAuthorized || next.Status == StatusExecuted) && !t.HeldAside && t.Executions == 0 {
		if account.AvailableBalanceInMinor < t.AmountInMinor {
			// The provider waits a while for funds before it gives up.
			if giveUp := t.History[0].At.Add(time.Duration(s.settings.InsufficientFundsAfter)); s.now().Before(giveUp) {
				t.NextAt = giveUp
				s.at(giveUp, func() { s.step(t) })
				return
			}
			t.Plan = nil
			s.reach(t, Step{Status: StatusFailed, Reason: "insufficient_funds"})
			return
		}
		account.AvailableBalanceInMinor -= t.AmountInMinor
		t.HeldAside = true
	}
	t.Plan = t.Plan[1:]
	switch next.Show {
	case ShowWebhook:
		s.announce(t, next)
	case ShowStatement:
		s.comeBack(t, next)
	default:
		s.reach(t, next)
	}
	s.appoint(t)
	s.touch()
}

// reach brings the transfer to a status, moves the money that goes with it,
// and tells the world.
func (s *Simulator) reach(t *Transfer, to Step) {
	account := s.st.account(t.MerchantAccountID)
	last := t.History[len(t.History)-1]
	m := Moment{At: s.now(), Status: to.Status, SchemeID: last.SchemeID}
	switch to.Status {
	case StatusAuthorized:
		m.SchemeID = t.scheme()
	case StatusExecuted:
		m.SchemeID = t.scheme()
		if t.Executions == 0 {
			account.CurrentBalanceInMinor -= t.AmountInMinor
			t.HeldAside = false
			t.Executions = 1
			s.factOf(t, FactExecuted, "")
		}
	case StatusFailed:
		m.Reason = to.Reason
		if t.Executions > 0 {
			s.comeBack(t, to)
		} else {
			if t.HeldAside {
				account.AvailableBalanceInMinor += t.AmountInMinor
				t.HeldAside = false
			}
			s.factOf(t, FactFailed, to.Reason)
		}
	}
	t.History = append(t.History, m)
	s.log.Debug("transfer moved", zap.String("kind", t.Kind), zap.String("id", t.ID), zap.String("to", to.Status), zap.String("failure_reason", to.Reason))
	s.announce(t, to)
	s.touch()
}

// comeBack books the money of an executed transfer that its bank sent back,
// once.
func (s *Simulator) comeBack(t *Transfer, step Step) {
	if t.Executions == 0 || t.ReturnedBy != "" {
		return
	}
	account := s.st.account(t.MerchantAccountID)
	account.AvailableBalanceInMinor += t.AmountInMinor
	account.CurrentBalanceInMinor += t.AmountInMinor
	back := &external{
		ID: uuid.NewString(), MerchantAccountID: account.ID, AmountInMinor: t.AmountInMinor, Currency: t.Currency, At: s.now(),
		Remitter: "JOHN SANDBRIDGE", Reference: t.Reference, ReturnFor: t.ID, ReturnUnknown: step.ReturnUnknown,
	}
	s.st.Externals = append(s.st.Externals, back)
	t.ReturnedBy = back.ID
	s.factOf(t, FactReturned, step.Reason)
}

func (s *Simulator) factOf(t *Transfer, kind, reason string) {
	account := s.st.account(t.MerchantAccountID)
	s.journal.fact(MoneyFact{
		At: s.now(), Kind: kind, TransferKind: t.Kind, TransferID: t.ID, PaymentID: t.PaymentID, IdempotencyKey: t.IdempotencyKey,
		MerchantAccountID: account.ID, AmountInMinor: t.AmountInMinor, Currency: t.Currency, Reason: reason,
		Metadata: t.Metadata, BalanceInMinor: account.CurrentBalanceInMinor,
	})
}

// scheme is how the money travels: as preselected, or inside the bank for payment sources of the
// sandbox, else by the currency's instant scheme.
func (t *Transfer) scheme() string {
	var selection struct {
		Type     string `json:"type"`
		SchemeID string `json:"scheme_id"`
	}
	_ = json.Unmarshal(t.SchemeSelection, &selection)
	switch {
	case selection.Type == "preselected":
		return selection.SchemeID
	case t.Kind == KindPayout && t.PaymentSourceID != "":
		return "internal_transfer"
	case t.Currency == "GBP":
		return "faster_payments_service"
	case t.Currency == "PLN":
		return "polish_domestic_express"
	default:
		return "sepa_credit_transfer_instant"
	}
}
