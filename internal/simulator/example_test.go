package simulator_test

import (
	"fmt"
	"net/http/httptest"
	"time"

	"payouts/internal/simulator"
)

// A test opens a simulator, scripts it, points its client at it, and in the
// end asks what truly happened.
func Example() {
	const account = "11111111-1111-4111-8111-111111111111"
	sim, err := simulator.New(simulator.Options{
		ClientID: "client", ClientSecret: "secret",
		MerchantAccounts: []simulator.MerchantAccount{{ID: account, Currency: "GBP", OpeningBalanceInMinor: 100_00}},
		Clock:            simulator.FrozenClock{At: time.Now()}, // leave it out for the real time
	})
	if err != nil {
		panic(err)
	}
	defer sim.Close()
	server := httptest.NewServer(sim.Handler())
	defer server.Close()
	_ = sim.Configure(func(s *simulator.Settings) { s.PublicURL = server.URL })

	// The next payout is accepted, but nobody hears so; then its bank refuses it.
	_, _ = sim.Script(simulator.Rule{
		Times:  1,
		Create: &simulator.Answer{Kind: simulator.AnswerAcceptThenReset, Times: 1},
		Fail:   &simulator.Fail{Stage: simulator.StatusAuthorized, Reason: "scheme_error"},
	})
	payIn, _ := sim.AddPayIn(simulator.PayIn{Currency: "GBP", AmountInMinor: 20_00, UserID: "user-1"})

	// … the client under test pays out to payIn.PaymentSourceID here …

	sim.Advance(time.Minute)
	fmt.Println(payIn.UserID, sim.Balance(account), len(sim.MoneyFacts(simulator.FactExecuted)))
	// Output: user-1 12000 0
}
