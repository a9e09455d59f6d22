package ledger_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"payouts/internal/ledger"
	"payouts/internal/ledger/ledgertest"
	"payouts/internal/payout"
)

// Whoever counts is told of each new status once, with its reason and the age
// it was reached at, and of none that was given up.
func TestMoved(t *testing.T) {
	var story []string
	b := ledgertest.SQLite(t, func(o *ledger.Options) {
		o.Observe = func(a ledger.Attempted) {
			for _, m := range a.Moved {
				story = append(story, strings.TrimSpace(fmt.Sprintf("%s %s %s", m.Status, m.Age, m.Reason)))
			}
		}
	})
	told := func(what, want string) {
		t.Helper()
		if got := strings.Join(story, ", "); got != want {
			t.Errorf("%s: told %q, want %q", what, got, want)
		}
		story = nil
	}
	b.Fund(t, 1000)
	p, _, err := b.Accept(t.Context(), ledgertest.NewPayout("k", 1000), ledgertest.Merchant, false)
	must(t, err)
	told("accepted", "accepted 0s")
	_, _, err = b.Accept(t.Context(), ledgertest.NewPayout("k", 1000), ledgertest.Merchant, false)
	must(t, err)
	_, _, err = b.Accept(t.Context(), ledgertest.NewPayout("too much", 1000), ledgertest.Merchant, false)
	if err == nil {
		t.Fatal("a balance is spent twice")
	}
	told("a replay and a refusal", "")
	b.Clock.Advance(time.Minute)
	s, _, err := b.OpenSend(t.Context(), p.ID, b.Clock.Now().Add(time.Hour))
	must(t, err)
	_, err = b.CloseSend(t.Context(), s, payout.Created{Answer: payout.AnswerCreated, ProviderID: "their-" + string(p.ID), Raw: []byte("{}")})
	must(t, err)
	told("created", "pending 1m0s")
	b.Clock.Advance(time.Hour)
	must(t, say(t, b, p.ID, "failed", payout.ReasonInvalidIBAN, nil))
	must(t, say(t, b, p.ID, "failed", payout.ReasonInvalidIBAN, nil))
	told("the provider's no, twice", "")
	_, err = b.Release(t.Context(), p.ID)
	must(t, err)
	_, err = b.Release(t.Context(), p.ID)
	must(t, err)
	told("released, twice", "failed 1h1m0s invalid_iban")
}
