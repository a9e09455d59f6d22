package app

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"payouts/internal/simulator"
)

// The real starter and gateway, on one database: a settled pay-in that names
// its player is all it takes to be paid out to the account that paid in.
func TestPayInBindsItsSource(t *testing.T) {
	_, public := signingKey()
	sim, err := simulator.New(simulator.Options{
		ClientID: "client", ClientSecret: "secret", ClientKeys: map[string]string{signingKID: string(public)},
		MerchantAccounts: []simulator.MerchantAccount{{ID: merchantAccount, Currency: "GBP"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	provider := httptest.NewServer(sim.Handler())
	t.Cleanup(func() { _ = sim.Close(); provider.Close() })
	environment := rightly(t)
	environment["TEMPORAL_ADDRESS"], environment["TRUELAYER_JWKS_URL"] = "127.0.0.1:1", provider.URL+"/.well-known/jwks"
	begin := func(p Program) Config {
		c, err := load(environment, p)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	starter := running(t, begin(Starter), RunStarter)
	gateway := running(t, begin(Gateway), RunGateway)
	if err := sim.Configure(func(g *simulator.Settings) {
		g.PublicURL, g.WebhookURL = provider.URL, "http://"+gateway.GatewayAddr+"/webhooks/truelayer"
	}); err != nil {
		t.Fatal(err)
	}
	call := func(method, path, key, body string) (int, string) {
		t.Helper()
		return ask(t, method, "http://"+starter.StarterAddr+path, body,
			http.Header{"Authorization": {"Bearer secret"}, "Content-Type": {"application/json"}, "Idempotency-Key": {key}})
	}
	credit := func(player string) {
		t.Helper()
		if status, answer := call("POST", "/v1/players/"+player+"/credits", "win-"+player, `{"amount_in_minor":1000,"currency":"GBP","reason":"won"}`); status != http.StatusCreated {
			t.Fatalf("credit answers %d %s", status, answer)
		}
	}
	payOut := func(player, key string, to simulator.Payment) (int, string) {
		t.Helper()
		return call("POST", "/v1/payouts", key, `{"player_id":"`+player+`","amount_in_minor":500,"currency":"GBP",
			"beneficiary":{"user_id":"`+to.UserID+`","payment_source_id":"`+to.PaymentSourceID+`","reference":"WIN 1"}}`)
	}
	payIn := func(player string) simulator.Payment {
		t.Helper()
		paid, err := sim.AddPayIn(simulator.PayIn{Currency: "GBP", AmountInMinor: 5000, Metadata: map[string]string{"player_id": player}})
		if err != nil {
			t.Fatal(err)
		}
		return paid
	}
	s := &stage{t: t, sim: sim}
	delivered := func(n int) {
		t.Helper()
		s.until("the event is taken", func() bool {
			taken := 0
			for _, w := range sim.Journal().Webhooks {
				if w.Status/100 == 2 {
					taken++
				}
			}
			return taken == n
		})
	}

	// A player who is known.
	credit("ann")
	paid := payIn("ann")
	delivered(1)
	if status, answer := payOut("ann", "k1", paid); status != http.StatusCreated {
		t.Errorf("to the account that paid in: answers %d %s", status, answer)
	}
	credit("eve")
	if status, answer := payOut("eve", "k2", paid); status != http.StatusUnprocessableEntity || !strings.Contains(answer, "is not this player's") {
		t.Errorf("to an account that another player paid in from: answers %d %s", status, answer)
	}
	// A player who pays in before the game names him here.
	paid = payIn("bob")
	delivered(2)
	if status, answer := call("GET", "/v1/players/bob/payment-sources", "", ""); status != http.StatusOK || strings.Contains(answer, paid.PaymentSourceID) {
		t.Errorf("of a player nobody has named: answers %d %s", status, answer)
	}
	credit("bob")
	if status, answer := payOut("bob", "k3", paid); status != http.StatusCreated {
		t.Errorf("to an account that paid in before its player was named: answers %d %s", status, answer)
	}
}
