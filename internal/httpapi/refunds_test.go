package httpapi_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"payouts/internal/httpapi"
	"payouts/internal/payout"
)

// A refund is accepted once, held, started, and read as what it is.
func TestRefundIsAcceptedOnce(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	first := h.must(201, h.ask("POST", "/v1/refunds", "game-token", refundWish(), "Idempotency-Key: k1"))
	var r httpapi.Refund
	first.read(t, &r)
	if got := first.header.Get("Location"); got != "/v1/refunds/"+r.ID {
		t.Errorf("Location is %q", got)
	}
	if r.ID != string(payout.NewID(payout.KindRefund, "game", "k1")) || r.PaymentID != "pay-in-1" || r.Reference != "BACK 1" || r.Status != "accepted" ||
		r.Money != "held" || r.Amount != 1000 || r.PlayerID != "p1" || r.WorkflowID != "refund/"+r.ID || r.PlayerMessage == "" {
		t.Errorf("accepted as %+v", r)
	}
	again := h.must(200, h.ask("POST", "/v1/refunds", "game-token", refundWish(), "Idempotency-Key: k1"))
	if again.header.Get("Idempotent-Replayed") != "true" || again.header.Get("Location") != first.header.Get("Location") || !bytes.Equal(again.body, first.body) {
		t.Errorf("a replay is %v %s; want %s", again.header, again.body, first.body)
	}
	// The key is per endpoint: a payout under it is another wish.
	h.must(201, h.ask("POST", "/v1/payouts", "game-token", wish(), "Idempotency-Key: k1"))
	if len(h.started) != 2 || string(h.started[0]) != r.ID {
		t.Errorf("started %v; want the refund once, then the payout", h.started)
	}
	h.expectBalance("p1", 98000, 2000)

	one := h.must(200, h.ask("GET", "/v1/refunds/"+strings.ToUpper(r.ID), "game-token", ""))
	var whole httpapi.Refund
	if one.read(t, &whole); len(whole.Attempts) != 1 || len(whole.Timeline) == 0 {
		t.Errorf("read as %s", one.body)
	}
	if strings.Contains(string(one.body), "beneficiary") {
		t.Errorf("a refund has no beneficiary: %s", one.body)
	}
	h.must(404, h.ask("GET", "/v1/payouts/"+r.ID, "game-token", ""))
	h.must(404, h.ask("GET", "/v1/refunds/"+r.ID, "rival-token", ""))
	for query, n := range map[string]int{"": 1, "?idempotency_key=k1": 1, "?player_id=p2": 0, "?status=accepted": 1, "?status=failed": 0} {
		var page httpapi.RefundList
		if h.must(200, h.ask("GET", "/v1/refunds"+query, "support-token", "")).read(t, &page); len(page.Items) != n || page.Items == nil {
			t.Errorf("%q lists %+v; want %d", query, page.Items, n)
		}
		for _, item := range page.Items {
			if item.ID != r.ID {
				t.Errorf("%q lists %+v, which is no refund", query, item)
			}
		}
		if h.must(200, h.ask("GET", "/v1/refunds"+query, "rival-token", "")).read(t, &page); len(page.Items) != 0 {
			t.Errorf("%q lists %+v to another caller", query, page.Items)
		}
	}
}

// What was taken is answered whatever is configured since.
func TestRefundReplayOutlivesConfiguration(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	first := h.must(201, h.ask("POST", "/v1/refunds", "game-token", refundWish(), "Idempotency-Key: k"))
	h.with.Limits.MaxAmountInMinor = 10
	h.serve()
	if again := h.must(200, h.ask("POST", "/v1/refunds", "game-token", refundWish(), "Idempotency-Key: k")); !bytes.Equal(again.body, first.body) {
		t.Errorf("repeated as %s; want %s", again.body, first.body)
	}
	h.must(400, h.ask("POST", "/v1/refunds", "game-token", refundWish(), "Idempotency-Key: new"))
	other := h.problem(h.must(409, h.ask("POST", "/v1/refunds", "game-token", refundWish("pay-in-1", "pay-in-2"), "Idempotency-Key: k")))
	if got := fieldsOf(other); !slices.Equal(got, []string{"payment_id"}) {
		t.Errorf("another body under the key names %v", got)
	}
}
