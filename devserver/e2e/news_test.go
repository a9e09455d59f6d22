package e2e

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"payouts/internal/simulator"
)

// far keeps polling out of a test that is about webhooks.
var far = map[string]string{"POLL_FIRST": "10m", "POLL_MAX": "1h"}

func TestExecutedByWebhook(t *testing.T) {
	t.Parallel()
	h := open(t, plan{env: far})
	winner := h.wins(10_00)
	id := h.pays(winner, 10_00, "by webhook")
	h.judge(winner, id, paidOut)
	if polls := h.gets(); polls != 1 {
		t.Errorf("the provider was asked %d times, want once, for the webhook", polls)
	}
}

func TestExecutedByPolling(t *testing.T) {
	t.Parallel()
	h := open(t, plan{settings: simulator.Settings{WebhooksOff: true}})
	winner := h.wins(15_00)
	id := h.pays(winner, 10_00, "by polling")
	want := paidOut
	want.player.Available = 5_00
	h.judge(winner, id, want)
	for _, try := range h.sim.Journal().Webhooks {
		if try.Try > 0 {
			t.Errorf("a webhook was sent: %+v", try)
		}
	}
}

// gets counts how often the provider was asked about payouts.
func (h *house) gets() int {
	n := 0
	for _, r := range h.sim.Journal().Requests {
		if r.Method == http.MethodGet && r.TransferID != "" {
			n++
		}
	}
	return n
}

// Events come in any number and order, and some are not the provider's.
func TestHostileWebhooks(t *testing.T) {
	t.Parallel()
	h := open(t, plan{settings: slowly})
	twice, early, late := h.wins(10_00), h.wins(10_00), h.wins(10_00)

	// Six times the same event.
	h.script(simulator.Rule{Match: simulator.Match{Reference: "six times"}, Webhooks: []simulator.Webhook{{Duplicates: 5}}})
	// The failure of attempt 1 is heard after attempt 2 was executed.
	h.script(simulator.Rule{Match: simulator.Match{Reference: "late"}, Times: 1, Fail: &simulator.Fail{Stage: simulator.StatusPending, Reason: "scheme_error", After: 1},
		Webhooks: []simulator.Webhook{{Event: "payout_failed", Late: simulator.Duration(time.Hour)}}})
	sixTimes, tooSoon, tooLate := h.waiting(twice, "six times"), h.waiting(early, "early"), h.pays(late, 10_00, "late")

	// Signed, but the provider itself does not say so yet.
	h.send(tooSoon, simulator.SignNormal, "payout_executed")
	// Not the provider's: it fails, whoever says so.
	for _, sign := range []string{simulator.SignForged, simulator.SignNone, simulator.SignTampered, simulator.SignUnknownKid, simulator.SignWrongJKU} {
		event := h.send(sixTimes, sign, "payout_failed")
		if status := h.taken(event); status != http.StatusUnauthorized {
			t.Errorf("an event signed as %q was answered %d, want 401", sign, status)
		}
	}
	h.awaitPayout(tooLate, "at attempt 2", soon, func(p payout) bool { return len(p.Attempts) == 2 && p.Attempts[1].ProviderPayoutID != nil })
	for _, p := range []player{twice, early, late} {
		if has := h.balance(p.id); has != (balance{Held: 10_00}) {
			t.Errorf("before the provider decided, the player has %+v, want all of it held", has)
		}
	}

	h.sim.Advance(later)
	h.judge(twice, sixTimes.ID, paidOut)
	h.judge(early, tooSoon.ID, paidOut)
	again := paidOut
	again.attempts, again.accepted = 2, 2
	h.judge(late, tooLate, again)

	h.sim.Advance(2 * time.Hour) // the late event is sent, and repeats of the forged
	await(t, soon, func() bool {
		for _, try := range h.sim.Journal().Webhooks {
			if try.Type == "payout_failed" && try.Sign == "" && try.Status == http.StatusOK {
				return true
			}
		}
		return false
	}, because("the late event was not taken"))
	h.judge(late, tooLate, again)
}

// The provider sends one event again and again, before and after the payout is
// over: the inbox counts, and Temporal hears of it once.
func TestRepeatedNews(t *testing.T) {
	t.Parallel()
	h := open(t, plan{settings: slowly})
	winner := h.wins(10_00)
	p := h.waiting(winner, "repeated")
	const times = 10_000
	again := h.overheard(func() { h.send(p, simulator.SignNormal, "payout_executed") }) // which the provider itself does not say yet
	began := time.Now()
	h.knock(again, times/2)
	h.sim.Advance(later)
	h.knock(again, times/2)
	t.Logf("%d events in %s", times, time.Since(began).Round(100*time.Millisecond))

	h.judge(winner, p.ID, paidOut)
	var inbox struct {
		Items []struct {
			Type    string `json:"type"`
			Repeats int    `json:"repeats"`
		}
	}
	if err := h.operator.read("/v1/inbox?payout_id="+p.ID, &inbox); err != nil {
		t.Fatal(err)
	}
	repeats := map[int]int{}
	for _, item := range inbox.Items {
		repeats[item.Repeats]++
	}
	if len(inbox.Items) != 2 || repeats[times-1] != 1 || repeats[0] != 1 { // this one, and that of the execution
		t.Errorf("the inbox has %+v, want two rows, one of them with %d repeats", inbox.Items, times-1)
	}
	const most = 500
	for _, workflow := range []string{p.WorkflowID, "payout-return/" + p.ID} {
		if _, err := h.run(workflow); closed(err) && workflow != p.WorkflowID {
			continue // nothing that is known already is late word
		}
		events := len(h.history(workflow, ""))
		t.Logf("%s has %d events", workflow, events)
		if events >= most {
			t.Errorf("%s has %d events, want fewer than %d", workflow, events, most)
		}
	}
}

// overheard is the request with which the provider delivers the event that
// tell makes it send.
func (h *house) overheard(tell func()) *http.Request {
	h.t.Helper()
	caught := make(chan *http.Request, 1)
	ear := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		caught <- r
	}))
	defer ear.Close()
	ours := h.sim.Settings().WebhookURL
	at := func(url string) {
		if err := h.sim.Configure(func(g *simulator.Settings) { g.WebhookURL = url }); err != nil {
			h.t.Fatal(err)
		}
	}
	at(ear.URL + "/webhooks/truelayer")
	defer at(ours)
	tell()
	select {
	case r := <-caught:
		return r
	case <-time.After(soon):
		h.t.Fatal("no event was sent")
		return nil
	}
}

// knock sends the same request to the gateway many times, over a few
// connections.
func (h *house) knock(r *http.Request, times int) {
	h.t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body)) // for the next time
	var sending sync.WaitGroup
	defer sending.Wait()
	const connections = 4
	for range connections {
		sending.Go(func() {
			for range times / connections {
				request, err := http.NewRequest(r.Method, "http://"+h.env["GATEWAY_ADDR"]+r.URL.Path, bytes.NewReader(body))
				if err != nil {
					h.t.Error(err)
					return
				}
				request.Header = r.Header
				response, err := wire.Do(request)
				if err != nil {
					h.t.Error(err)
					return
				}
				response.Body.Close()
				if response.StatusCode != http.StatusOK {
					h.t.Errorf("a repeated event was answered %s, want 200", response.Status)
					return
				}
			}
		})
	}
}

// send sends an event about a payout, and answers with the event's id.
func (h *house) send(p payout, sign, event string) string {
	h.t.Helper()
	body := map[string]any{"type": event, "payout_id": *p.Attempts[0].ProviderPayoutID, "merchant_account_id": merchant,
		"metadata": map[string]any{"payout_id": p.ID, "attempt": "1"}}
	switch event {
	case "payout_failed":
		body["failed_at"], body["failure_reason"] = time.Now().UTC(), "returned"
	case "payout_executed":
		body["executed_at"] = time.Now().UTC()
	}
	id, err := h.sim.SendWebhook(body, simulator.Webhook{Sign: sign})
	if err != nil {
		h.t.Fatal(err)
	}
	return id
}

// taken is how an event was answered.
func (h *house) taken(event string) (status int) {
	h.t.Helper()
	await(h.t, soon, func() bool {
		for _, try := range h.sim.Journal().Webhooks {
			if try.EventID == event && try.Status != 0 {
				status = try.Status
			}
		}
		return status != 0
	}, because("nobody answered event %s", event))
	return status
}
