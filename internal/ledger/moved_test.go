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

// Whoever counts is told of each new status once, with its reason, the age it
// was reached at and how long the one before was kept, and of none that was given
// up.
func TestMoved(t *testing.T) {
	var story []string
	b := ledgertest.SQLite(t, func(o *ledger.Options) {
		o.Observe = func(a ledger.Attempted) {
			for _, m := range a.Moved {
				story = append(story, strings.Join(strings.Fields(fmt.Sprintf("%s %s %s after %s %s", m.Status, m.Age, m.Reason, m.Left, m.Stayed)), " "))
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
	p, _, err := b.Accept(t.Context(), ledgertest.NewPayout("first", 1000), ledgertest.Merchant, false)
	must(t, err)
	told("accepted", "accepted 0s after 0s")
	_, _, err = b.Accept(t.Context(), ledgertest.NewPayout("first", 1000), ledgertest.Merchant, false)
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
	told("created", "pending 1m0s after accepted 1m0s")
	b.Clock.Advance(time.Hour)
	must(t, say(t, b, p.ID, "failed", payout.ReasonInvalidIBAN, nil))
	must(t, say(t, b, p.ID, "failed", payout.ReasonInvalidIBAN, nil))
	told("the provider's no, twice", "")
	_, err = b.Release(t.Context(), p.ID)
	must(t, err)
	_, err = b.Release(t.Context(), p.ID)
	must(t, err)
	told("released, twice", "failed 1h1m0s invalid_iban after pending 1h0m0s")

	// What is left was reached before books kept when.
	id := paid(t, b, []byte("{}"))
	story = nil
	_, err = b.Rows.Exec("UPDATE payouts SET status_at = 0 WHERE id = '" + string(id) + "'")
	must(t, err)
	b.Clock.Advance(time.Hour)
	must(t, say(t, b, id, "failed", payout.ReasonReturned, nil))
	_, err = b.Return(t.Context(), id)
	must(t, err)
	told("returned", "returned 1h0m0s returned after 0s")
}
