package httpapi_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// What examples/backend/README.md shows with curl is taken as it stands, beside
// the account that make run binds to its own player.
func TestTheExampleIsTaken(t *testing.T) {
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	demo := regexp.MustCompile(`demoSource = "([^"]+)"`).FindStringSubmatch(read("../../devserver/demo.go"))
	if demo == nil {
		t.Fatal("devserver/demo.go names no source")
	}
	h := newHouse(t)
	h.must(201, h.ask("PUT", "/v1/players/player-42/payment-sources/"+demo[1], "game-token", `{"user_id":"user-42","currency":"GBP"}`))
	calls := regexp.MustCompile(`(?s)api -X ([A-Z]+) \$STARTER_URL(\S+)(?: -H '(Idempotency-Key: [^']+)')?\s*\\\s+-d '([^']+)'`).
		FindAllStringSubmatch(read("../../examples/backend/README.md"), -1)
	if len(calls) != 4 {
		t.Fatalf("it shows %d calls; want 4", len(calls))
	}
	for _, call := range calls {
		body := strings.ReplaceAll(call[4], "<id of the pay-in>", "0cd1b0f7-71bc-4d24-b209-95259dadcc20")
		if strings.HasPrefix(call[2], "/v1/refunds") { // the payout before took all there was
			h.must(201, h.ask("POST", "/v1/players/player-11/credits", "game-token", `{"amount_in_minor":500,"currency":"GBP","reason":"more"}`, "Idempotency-Key: more"))
		}
		var headers []string
		if call[3] != "" {
			headers = append(headers, call[3])
		}
		if a := h.ask(call[1], call[2], "game-token", body, headers...); a.status != 201 {
			t.Errorf("%s %s is answered %d %s", call[1], call[2], a.status, a.body)
		}
	}
}
