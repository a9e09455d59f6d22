package truelayer

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"payouts/internal/payout"
)

// Every exchange is told once, creates by the table of answers.
func TestObserve(t *testing.T) {
	refusal := document(400, "invalid-parameters", "Invalid Parameters")
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		create payout.Answer
		read   payout.Answer
		status int
	}{
		"a yes":        {says(200, `{"id":"id-1","amount_in_minor":1,"currency":"GBP","status":"pending"}`), payout.AnswerCreated, AnswerOK, 200},
		"a refusal":    {says(400, refusal), payout.AnswerRefused, AnswerNo, 400},
		"a fault":      {says(503, "ill"), payout.AnswerUnknown, payout.AnswerUnknown, 503},
		"too fast":     {says(429, "slow down"), payout.AnswerUnknown, payout.AnswerUnknown, 429},
		"not answered": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, payout.AnswerUnknown, payout.AnswerUnknown, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var calls []Call
			server := serve(t, test.answer)
			c := newClient(t, server.URL, func(o *Options) { o.Observe = func(_ context.Context, c Call) { calls = append(calls, c) } })
			c.CreatePayout(context.Background(), testToken, testSend(5*time.Second))
			if len(calls) != 1 || calls[0].Op != "create payout" || calls[0].Answer != test.create || calls[0].Status != test.status || calls[0].Took <= 0 {
				t.Errorf("the create is told as %+v", calls)
			}
			calls = nil
			if test.status == 429 {
				return // the client rests
			}
			_, _ = c.GetPayout(context.Background(), "id-1") // only what is told of it
			if len(calls) != 2 || calls[0] != (Call{"access token", AnswerOK, 200, calls[0].Took}) || calls[1] != (Call{"get payout", test.read, test.status, calls[1].Took}) {
				t.Errorf("the read is told as %+v", calls)
			}
			for _, c := range calls {
				if !slices.Contains(CallAnswers(), c.Answer) {
					t.Errorf("%s is not listed", c.Answer)
				}
			}
		})
	}
}

// Where nothing left, it was not sent, whatever it was.
func TestObserveNotSent(t *testing.T) {
	server := serve(t, nil)
	address := server.URL
	server.Close()
	var calls []Call
	c := newClient(t, address, func(o *Options) { o.Observe = func(_ context.Context, c Call) { calls = append(calls, c) } })
	c.CreatePayout(context.Background(), testToken, testSend(5*time.Second))
	_, _ = c.Token(context.Background())
	for _, call := range calls {
		if call.Answer != payout.AnswerNotSent || call.Status != 0 {
			t.Errorf("told as %+v", call)
		}
	}
	if len(calls) != 2 {
		t.Errorf("told %d times, want 2", len(calls))
	}
}
