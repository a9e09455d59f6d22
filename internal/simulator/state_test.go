package simulator

import (
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestStateOutlivesARestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "deep", "simulator.json")
	withFile := func(o *Options) { o.StateFile = file }
	h := open(t, withFile)
	h.inbox.refuse = 1
	h.script(Rule{Match: Match{Reference: "fails"}, Fail: &Fail{Stage: StatusAuthorized, Reason: "blocked"}})
	first := h.post("/v3/payouts", "key", payoutBody(1000, "R"))
	// What a crash would leave: the file as it was when the answer was given.
	left, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(left), first.body["id"].(string)) {
		t.Fatalf("the accepted payout is not on disk: %v", err)
	}
	failing := h.pay(500, "fails")
	h.sim.Advance(300 * time.Millisecond) // both authorized
	kid := h.sim.signingKey().Kid
	if err := h.sim.Close(); err != nil {
		t.Fatal(err)
	}

	again := open(t, withFile)
	if again.sim.signingKey().Kid != kid {
		t.Error("another webhook key")
	}
	if a := again.post("/v3/payouts", "key", payoutBody(1000, "R")); a.text != first.text {
		t.Errorf("same key after the restart: %s", a.text)
	}
	again.sim.Advance(2 * time.Second)
	id := first.body["id"].(string)
	if again.status(id) != StatusExecuted || again.status(failing) != StatusFailed || again.sim.Balance(gbpAccount) != 99_000 {
		t.Errorf("%s and %s, balance %d", again.status(id), again.status(failing), again.sim.Balance(gbpAccount))
	}
	if n := len(again.sim.MoneyFacts(FactTopUp)); n != 2 {
		t.Errorf("accounts were opened %d times", n)
	}
	again.inbox.wait(t, 2)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file: %v, %v", info, err)
	}
}

func TestUndeliveredWebhooksOutliveARestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "simulator.json")
	withFile := func(o *Options) { o.StateFile = file }
	h := open(t, withFile)
	h.inbox.refuse = 1
	h.pay(1000, "R")
	h.sim.Advance(2 * time.Second)
	until(t, "a refused try", func() bool { return len(h.sim.Journal().Webhooks) == 1 })
	if err := h.sim.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, withFile)
	again.sim.Advance(time.Second)
	if n := again.inbox.wait(t, 1)[0]; n.body["event_id"] != h.inbox.all()[0].body["event_id"] {
		t.Errorf("another event: %s", n.text)
	}
}

func TestBadStateFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "simulator.json")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{ClientID: "c", ClientSecret: "s", StateFile: file}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v", err)
	}
}

func TestNewReportsEveryMistake(t *testing.T) {
	_, err := New(Options{
		ClientKeys:       map[string]string{"k": "not pem"},
		MerchantAccounts: []MerchantAccount{{ID: "x"}},
		Settings:         Settings{WebhookURL: "here", TokenLife: -1},
	})
	for _, field := range []string{"ClientID", "ClientSecret", "ClientKeys[k]", "MerchantAccounts", "webhook_url", "token_life"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not named: %v", field, err)
		}
	}
}

func TestCloseLetsGo(t *testing.T) {
	h := open(t, func(o *Options) { o.Clock = nil; o.StateFile = filepath.Join(t.TempDir(), "s.json") })
	h.script(Rule{Create: &Answer{Kind: AnswerAcceptThenTimeout}})
	req := h.request("POST", "/v3/payouts", "k", payoutBody(10, "R"))
	req.GetBody = nil
	done := make(chan struct{})
	go func() {
		defer close(done)
		if res, err := http.DefaultClient.Do(req); err == nil {
			_ = res.Body.Close()
		}
	}()
	until(t, "the payout", func() bool { return len(h.sim.Payouts()) == 1 })
	for range 2 {
		if err := h.sim.Close(); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("a held request outlives Close")
	}
}

func TestCloseLeavesNoGoroutines(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 10 {
		sim, err := New(Options{
			ClientID: "c", ClientSecret: "s", StateFile: filepath.Join(t.TempDir(), "s.json"),
			MerchantAccounts: []MerchantAccount{{gbpAccount, "GBP", 1}},
			Settings:         Settings{WebhookURL: "http://127.0.0.1:9/nobody"},
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sim.AddPayIn(PayIn{Currency: "GBP", AmountInMinor: 1}); err != nil {
			t.Fatal(err)
		}
		until(t, "a try", func() bool { return len(sim.Journal().Webhooks) > 0 })
		if err := sim.Close(); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= before+2 })
}
