package httpapi_test

import (
	"net/http"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"payouts/internal/httpapi"
	"payouts/internal/payout"
)

// A fault of ours in a request about a payout says which in the log, also of
// one that nobody knows yet: its id follows from who asks, and the key.
func TestFaultsNameThePayout(t *testing.T) {
	core, seen := observer.New(zap.InfoLevel)
	h := newHouse(t, func(o *httpapi.Options) { o.Logger = zap.New(core) })
	if err := h.ledger.Close(); err != nil {
		t.Fatal(err)
	}
	const id = "0cd1b0f7-71bc-5d24-b209-95259dadcc20"
	request := `{"player_id":"p","amount_in_minor":100,"currency":"GBP","beneficiary":{"user_id":"u","payment_source_id":"s","reference":"WIN"}}`
	refund := `{"player_id":"p","amount_in_minor":100,"currency":"GBP","payment_id":"` + id + `","reference":"WIN"}`
	for name, test := range map[string]struct {
		method, path, body string
		want               payout.ID
	}{
		"a look":         {"GET", "/v1/payouts/" + id, "", id},
		"at a refund":    {"GET", "/v1/refunds/" + id, "", id},
		"a payout":       {"POST", "/v1/payouts", request, payout.Request{Caller: "game", IdempotencyKey: "k"}.ID()},
		"a refund":       {"POST", "/v1/refunds", refund, payout.RefundRequest{Caller: "game", IdempotencyKey: "k"}.ID()},
		"something else": {"POST", "/v1/players/p/credits", `{"amount_in_minor":100,"currency":"GBP","reason":"won"}`, ""},
		"a list":         {"GET", "/v1/payouts", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			seen.TakeAll()
			if a := h.ask(test.method, test.path, "game-token", test.body, "Idempotency-Key: k"); a.status != http.StatusInternalServerError {
				t.Fatalf("answered %d %s", a.status, a.body)
			}
			lines := seen.FilterMessage("request not served").All()
			if len(lines) != 1 {
				t.Fatalf("logged %v", lines)
			}
			if got, _ := lines[0].ContextMap()["payout_id"].(string); got != string(test.want) {
				t.Errorf("it is about %q, want %q", got, test.want)
			}
		})
	}
}
