package app

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"payouts/internal/payout"
	"payouts/internal/simulator"
	"payouts/internal/truelayer"
)

// A refund lives the same life as a payout: by GET, in the list of its
// pay-in, by its event and on the statement.
func TestProviderRefundPaths(t *testing.T) {
	for name, c := range map[string]struct {
		rule   simulator.Rule
		status string
		reason payout.Reason
		events []string // sorted
		money  truth
	}{
		"executed": {simulator.Rule{}, "executed", "", []string{"refund_executed"}, truth{exist: 1, executed: 1}},
		"failed": {simulator.Rule{Match: simulator.Match{Kind: simulator.KindRefund}, Fail: &simulator.Fail{Reason: "invalid_iban"}}, "failed", "invalid_iban",
			[]string{"refund_failed"}, truth{exist: 1, failed: 1}},
		"returned": {simulator.Rule{Return: &simulator.Step{}}, "failed", "returned", []string{"refund_executed", "refund_failed"},
			truth{exist: 1, executed: 1, returned: 1}},
		"returned, statement line only": {simulator.Rule{Return: &simulator.Step{Show: simulator.ShowStatement}}, "executed", "", []string{"refund_executed"},
			truth{exist: 1, executed: 1, returned: 1}},
		"answer lost": {simulator.Rule{Create: &simulator.Answer{Kind: simulator.AnswerAcceptThenReset}}, "executed", "", []string{"refund_executed"},
			truth{exist: 1, executed: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			s := onStage(t)
			s.script(c.rule)
			in, send := s.wish(payout.KindRefund)
			got := s.create(send, long)
			if lost := c.rule.Create != nil; (got.Answer == payout.AnswerUnknown) != lost || (got.Answer == payout.AnswerCreated) == lost {
				t.Fatalf("%s: %v", got.Answer, got.Err)
			}
			s.sim.Advance(time.Minute)
			list, err := s.client.Refunds(t.Context(), send.PaymentID)
			if err != nil || len(list) != 1 {
				t.Fatalf("listed %d, %v", len(list), err)
			}
			w := s.wordOf(send, list[0].ProviderID)
			if got.ProviderID != "" && got.ProviderID != w.ProviderID || w.Status != c.status || w.Reason != c.reason || in.Mismatch(w) != "" ||
				list[0].Status != w.Status || in.Mismatch(list[0]) != "" {
				t.Errorf("word %+v, listed %+v", w, list[0])
			}
			s.until("the events", func() bool { return len(s.door.news()) >= len(c.events) })
			var events []string
			for _, n := range s.door.news() {
				events = append(events, n.Type)
				if n.ProviderID != w.ProviderID || n.PayoutID != in.ID {
					t.Errorf("news of another refund: %+v", n)
				}
			}
			if slices.Sort(events); !slices.Equal(events, c.events) {
				t.Errorf("events %v", events)
			}
			c.money.posts = 1
			if n := s.truth(send.Key); n != c.money {
				t.Errorf("in truth %+v", n)
			}
			var out, back int
			for line, err := range s.client.Statement(t.Context(), merchantAccount, s.sim.Now().Add(-time.Hour), s.sim.Now()) {
				if err != nil {
					t.Fatal(err)
				}
				if line.RefundID == w.ProviderID && line.PaymentID == send.PaymentID && !line.At.IsZero() {
					out++
				}
				if line.ReturnFor == w.ProviderID {
					back++
				}
			}
			if out != c.money.executed || back != c.money.returned {
				t.Errorf("the statement shows %d out and %d back", out, back)
			}
		})
	}
}

// Refunds of one pay-in are together never above it, and a pay-in says whom
// it came from.
func TestProviderRefundsOfOnePayment(t *testing.T) {
	s := onStage(t)
	paid, err := s.sim.AddPayIn(simulator.PayIn{Currency: "GBP", AmountInMinor: 2500, Metadata: map[string]string{"player_id": "player-1"}})
	if err != nil {
		t.Fatal(err)
	}
	var answers []payout.Answer
	for range 3 {
		_, send := s.refundOf(paid.ID)
		answers = append(answers, s.create(send, long).Answer)
	}
	if want := []payout.Answer{payout.AnswerCreated, payout.AnswerCreated, payout.AnswerRefused}; !slices.Equal(answers, want) {
		t.Errorf("thrice 1000 of 2500: %v", answers)
	}
	if list, err := s.client.Refunds(t.Context(), paid.ID); err != nil || len(list) != 2 {
		t.Errorf("listed %d, %v", len(list), err)
	}
	p, err := s.client.GetPayment(t.Context(), paid.ID)
	if err != nil || p.UserID != paid.UserID || p.PaymentSourceID != paid.PaymentSourceID || p.MerchantAccountID != merchantAccount ||
		p.Money != (payout.Money{Minor: 2500, Currency: "GBP"}) || p.Metadata["player_id"] != "player-1" || p.SettledAt.IsZero() {
		t.Errorf("payment %+v, %v", p, err)
	}
	nowhere := uuid.NewString()
	_, send := s.refundOf(nowhere)
	if got := s.create(send, long); got.Answer != payout.AnswerUnknown {
		t.Errorf("of a payment that is not there: %s", got.Answer)
	}
	if _, err := s.client.GetPayment(t.Context(), nowhere); !errors.Is(err, truelayer.ErrNotFound) {
		t.Errorf("a payment that is not there: %v", err)
	}
	if _, err := s.client.Refunds(t.Context(), nowhere); !errors.Is(err, truelayer.ErrNotFound) {
		t.Errorf("refunds of a payment that is not there: %v", err)
	}
	if _, err := s.client.GetRefund(t.Context(), paid.ID, nowhere); !errors.Is(err, truelayer.ErrNotFound) {
		t.Errorf("a refund that is not there: %v", err)
	}
}

// Lists and payments that go wrong on the way are errors, never short lists.
func TestProviderRefundReadFaults(t *testing.T) {
	for _, kind := range []string{simulator.AnswerRefuse, simulator.AnswerReset, simulator.AnswerCut, simulator.AnswerEmpty, simulator.AnswerTrickle, simulator.AnswerGarbled} {
		t.Run(kind, func(t *testing.T) {
			s := onStage(t)
			_, send := s.wish(payout.KindRefund)
			if got := s.create(send, long); got.Answer != payout.AnswerCreated {
				t.Fatalf("%s: %v", got.Answer, got.Err)
			}
			s.restartWith(soon)
			s.fault(simulator.Fault{Method: "GET", Path: "/v3/payments/*", Answer: simulator.Answer{Kind: kind}})
			if list, err := s.client.Refunds(t.Context(), send.PaymentID); err == nil {
				t.Errorf("read as %d refunds", len(list))
			}
			if p, err := s.client.GetPayment(t.Context(), send.PaymentID); err == nil {
				t.Errorf("read as %+v", p)
			}
		})
	}
}

// Every kind of beneficiary that the client can write is one the simulator
// reads, and the other way round.
func TestProviderTakesEveryBeneficiary(t *testing.T) {
	for name, c := range map[string]struct {
		to     truelayer.Beneficiary
		scheme truelayer.SchemeSelection
		first  string
	}{
		"payment source":   {to: truelayer.PaymentSource{UserID: "u", PaymentSourceID: "p", Reference: "R"}, first: "pending"},
		"external account": {to: truelayer.ExternalAccount{Reference: "R", AccountHolderName: "A", AccountIdentifier: truelayer.IBAN("GB33BUKB20201555555555")}, first: "pending"},
		"business account": {to: truelayer.BusinessAccount{Reference: "R"}, first: "pending"},
		"preselected":      {to: truelayer.BusinessAccount{Reference: "R"}, scheme: truelayer.SchemeSelection{Type: "preselected", SchemeID: "chaps"}, first: "pending"},
		"instant only":     {to: truelayer.BusinessAccount{Reference: "R"}, scheme: truelayer.SchemeSelection{Type: "instant_only"}, first: "pending"},
		"user determined":  {to: truelayer.UserDetermined{Reference: "R", User: truelayer.User{Name: "A", Email: "a@example.com"}}, first: "authorization_required"},
		"verified account": {to: truelayer.VerifiedExternalAccount{AccountHolderVerificationID: uuid.NewString()}, first: "pending"},
	} {
		t.Run(name, func(t *testing.T) {
			s := onStage(t)
			body, err := truelayer.PayoutRequest{
				MerchantAccountID: merchantAccount, Money: payout.Money{Minor: 5, Currency: "GBP"}, Beneficiary: c.to, SchemeSelection: c.scheme,
				SubMerchants: &truelayer.SubMerchants{UltimateCounterparty: truelayer.BusinessClient{TradingName: "Casino"}},
			}.Body()
			if err != nil {
				t.Fatal(err)
			}
			send := s.sendOf(newIntent())
			send.Body = body
			got := s.create(send, long)
			if got.Answer != payout.AnswerCreated {
				t.Fatalf("%s: %v", got.Answer, got.Err)
			}
			if w := s.word(got.ProviderID); w.Status != c.first {
				t.Errorf("at first %+v", w)
			}
			s.sim.Advance(time.Minute)
			w := s.word(got.ProviderID)
			if w.Status != payout.ProviderExecuted || c.scheme.SchemeID != "" && w.SchemeID != c.scheme.SchemeID {
				t.Errorf("in the end %+v", w)
			}
		})
	}
}
