package simulator

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
)

// try sends a create that may get no answer.
func (h *house) try(key, body string) (answer, error) {
	h.t.Helper()
	req := h.request("POST", "/v3/payouts", key, body)
	req.Close = true
	req.GetBody = nil // or net/http would resend by itself, because of the key
	client := &http.Client{
		Timeout:       300 * time.Millisecond,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	a := answer{status: res.StatusCode, text: string(text), header: res.Header}
	_ = json.Unmarshal(text, &a.body)
	return a, err
}

func TestAcceptedButTheAnswerIsLost(t *testing.T) {
	for kind, lost := range map[string]func(answer, error) bool{
		AnswerAcceptThenTimeout: func(_ answer, err error) bool {
			var timeout interface{ Timeout() bool }
			return errors.As(err, &timeout) && timeout.Timeout()
		},
		AnswerAcceptThenReset:   func(_ answer, err error) bool { return errors.Is(err, syscall.ECONNRESET) },
		AnswerAcceptThenCut:     func(a answer, err error) bool { return a.status == 202 && errors.Is(err, io.ErrUnexpectedEOF) },
		AnswerAcceptThen5xx:     func(a answer, err error) bool { return err == nil && a.status == 502 },
		AnswerAcceptThenGarbled: func(a answer, err error) bool { return err == nil && a.status == 202 && a.body == nil },
		AnswerAcceptThenEmpty:   func(a answer, err error) bool { return err == nil && a.status == 202 && a.text == "" },
		AnswerAcceptThenTrickle: func(a answer, err error) bool { return a.status == 202 && err != nil && len(a.text) < 10 },
	} {
		t.Run(kind, func(t *testing.T) {
			h := open(t)
			h.script(Rule{Create: &Answer{Kind: kind, Times: 2}})
			body := payoutBody(100, "R")
			for range 2 {
				if a, err := h.try("k", body); !lost(a, err) {
					t.Fatalf("got %d %s, %v", a.status, a.text, err)
				}
			}
			a, err := h.try("k", body)
			if err != nil || a.status != 202 {
				t.Fatalf("third: %d %s, %v", a.status, a.text, err)
			}
			id := a.body["id"].(string)
			if all := h.sim.Payouts(); len(all) != 1 || all[0].ID != id {
				t.Fatalf("payouts: %+v", all)
			}
			h.sim.Advance(time.Minute)
			if h.status(id) != StatusExecuted || h.sim.Balance(gbpAccount) != 99_900 {
				t.Errorf("%s, balance %d", h.status(id), h.sim.Balance(gbpAccount))
			}

			// The journal says what was heard, and what truly happened.
			var shapes []string
			for _, r := range h.sim.Journal().Requests {
				if r.Path == "/v3/payouts" {
					shapes = append(shapes, r.Shape)
					if r.TransferID != id || r.IdempotencyKey != "k" || r.Body != body || len(r.BodySHA256) != 64 {
						t.Errorf("journal: %+v", r)
					}
				}
			}
			if !slices.Equal(shapes, []string{kind, kind, AnswerNormal}) {
				t.Errorf("shapes: %v", shapes)
			}
			if facts := h.facts(id); !slices.Equal(facts, []string{FactAccepted, FactExecuted}) {
				t.Errorf("facts: %v", facts)
			}
		})
	}
}

func TestRefusedBeforeStoring(t *testing.T) {
	for name, c := range map[string]struct {
		answer Answer
		status int
		title  string
	}{
		"400":           {Answer{Kind: AnswerRefuse, Errors: map[string][]string{"beneficiary": {"no"}}}, 400, "Invalid Parameters"},
		"403":           {Answer{Kind: AnswerRefuse, Status: 403}, 403, "Forbidden"},
		"409 in flight": {Answer{Kind: AnswerRefuse, Status: 409}, 409, "Idempotency-Key Concurrency Conflict"},
		"409 other":     {Answer{Kind: AnswerRefuse, Status: 409, Type: "conflict", Title: "Conflict"}, 409, "Conflict"},
		"422":           {Answer{Kind: AnswerRefuse, Status: 422}, 422, "Idempotency-Key Reuse"},
		"429":           {Answer{Kind: AnswerRefuse, Status: 429, RetryAfter: "soon", ShouldRetry: "true"}, 429, "Rate Limit Exceeded"},
		"500":           {Answer{Kind: AnswerRefuse, Status: 500}, 500, "Unknown Error"},
		"503":           {Answer{Kind: AnswerRefuse, Status: 503}, 503, "Service Unavailable"},
		"empty":         {Answer{Kind: AnswerEmpty, Status: 400}, 400, ""},
		"redirect":      {Answer{Kind: AnswerRefuse, Status: 307, Header: map[string]string{"Location": "/elsewhere"}}, 307, "Temporary Redirect"},
		"reset":         {Answer{Kind: AnswerReset}, 0, ""},
		"timeout":       {Answer{Kind: AnswerTimeout}, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t)
			c.answer.Times = 1
			h.script(Rule{Create: &c.answer})
			a, err := h.try("k", payoutBody(100, "R"))
			title, _ := a.body["title"].(string)
			if a.status != c.status || title != c.title || (err != nil) != (c.status == 0) {
				t.Errorf("got %d %s, %v", a.status, a.text, err)
			}
			if c.status > 0 && (a.header.Get("Retry-After") != c.answer.RetryAfter || a.header.Get("Tl-Should-Retry") != c.answer.ShouldRetry) {
				t.Errorf("headers %v", a.header)
			}
			if n := len(h.sim.Payouts()); n != 0 {
				t.Errorf("%d payouts", n)
			}
			if a, err := h.try("k", payoutBody(100, "R")); err != nil || a.status != 202 {
				t.Errorf("the same key again: %d %s, %v", a.status, a.text, err)
			}
		})
	}
	t.Run("remembered", func(t *testing.T) {
		h := open(t)
		h.script(Rule{Create: &Answer{Kind: AnswerRefuse, Status: 500, Times: 1, Remember: true}})
		h.post("/v3/payouts", "k", payoutBody(100, "R"))
		if a := h.post("/v3/payouts", "k", payoutBody(100, "R")); a.status != 500 {
			t.Errorf("got %d %s", a.status, a.text)
		}
	})
}

// A client that gives up while its create is being worked on learns nothing,
// and the payout comes to be all the same.
func TestWorkGoesOnWhenTheClientIsGone(t *testing.T) {
	h := open(t)
	h.script(Rule{Create: &Answer{Delay: Duration(time.Second), Times: 1}})
	body := payoutBody(100, "R")
	if _, err := h.try("k", body); err == nil {
		t.Fatal("the answer came in time")
	}
	if a := h.post("/v3/payouts", "k", body); a.status != 409 {
		t.Errorf("while it is worked on: %d %s", a.status, a.text)
	}
	if n := len(h.sim.Payouts()); n != 0 {
		t.Errorf("%d payouts before the work is done", n)
	}
	until(t, "the payout", func() bool { return len(h.sim.Payouts()) == 1 })
	if a := h.post("/v3/payouts", "k", body); a.status != 202 || a.body["id"] != h.sim.Payouts()[0].ID {
		t.Errorf("afterwards: %d %s", a.status, a.text)
	}
}

func TestTheAnswerComesLate(t *testing.T) {
	h := open(t)
	h.script(Rule{Create: &Answer{AnswerAfter: Duration(time.Minute), Times: 1}})
	if _, err := h.try("k", payoutBody(100, "R")); err == nil {
		t.Fatal("the answer came in time")
	}
	if a, err := h.try("k", payoutBody(100, "R")); err != nil || a.status != 202 || len(h.sim.Payouts()) != 1 {
		t.Errorf("the same key again: %d %s, %v; %d payouts", a.status, a.text, err, len(h.sim.Payouts()))
	}
}

func TestHugeAnswer(t *testing.T) {
	h := open(t)
	if _, err := h.sim.AddFault(Fault{Path: "/v3/*", Answer: Answer{Kind: AnswerGarbled, Body: "{}", Pad: 1_000_000}}); err != nil {
		t.Fatal(err)
	}
	if a := h.get("/v3/merchant-accounts"); len(a.text) != 1_000_002 || a.body == nil {
		t.Errorf("%d bytes", len(a.text))
	}
	if _, err := h.sim.AddFault(Fault{Path: "*", Answer: Answer{Kind: AnswerRefuse, Pad: 1}}); err == nil {
		t.Error("a padded refusal was taken")
	}
}

func TestPathsAndReasons(t *testing.T) {
	second := Duration(time.Second)
	for name, c := range map[string]struct {
		rule     Rule
		statuses []string
		reason   string
		facts    []string
		balance  int64
		events   []string
	}{
		"fails from pending": {Rule{Fail: &Fail{Reason: "blocked"}}, []string{"pending", "failed"}, "blocked",
			[]string{"accepted", "failed"}, 100_000, []string{"payout_failed"}},
		"fails from authorized, invented reason": {Rule{Fail: &Fail{Stage: "authorized", Reason: "moon_phase"}}, []string{"pending", "authorized", "failed"}, "moon_phase",
			[]string{"accepted", "failed"}, 100_000, []string{"payout_failed"}},
		"fails after executed": {Rule{Fail: &Fail{Stage: "executed", Reason: "returned"}}, []string{"pending", "authorized", "executed", "failed"}, "returned",
			[]string{"accepted", "executed", "returned"}, 100_000, []string{"payout_executed", "payout_failed"}},
		"returned": {Rule{Return: &Step{After: second}}, []string{"pending", "authorized", "executed", "failed"}, "returned",
			[]string{"accepted", "executed", "returned"}, 100_000, []string{"payout_executed", "payout_failed"}},
		"returned, says the webhook only": {Rule{Return: &Step{After: second, Show: ShowWebhook}}, []string{"pending", "authorized", "executed"}, "",
			[]string{"accepted", "executed"}, 99_000, []string{"payout_executed", "payout_failed"}},
		"returned, says the statement only": {Rule{Return: &Step{After: second, Show: ShowStatement}}, []string{"pending", "authorized", "executed"}, "",
			[]string{"accepted", "executed", "returned"}, 100_000, []string{"payout_executed"}},
		"returned before it left": {Rule{Path: []Step{{Status: "failed", Show: ShowStatement}, {Status: "failed", Reason: "blocked"}}}, []string{"pending", "failed"}, "blocked",
			[]string{"accepted", "failed"}, 100_000, []string{"payout_failed"}},
		"flaps": {Rule{Path: []Step{{Status: "authorized"}, {Status: "pending", After: second}, {Status: "authorized", After: second}, {Status: "executed", After: second}}},
			[]string{"pending", "authorized", "pending", "authorized", "executed"}, "", []string{"accepted", "executed"}, 99_000, []string{"payout_executed"}},
		"unheard-of status": {Rule{Path: []Step{{Status: "meditating"}}}, []string{"pending", "meditating"}, "", []string{"accepted"}, 100_000, nil},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t)
			h.script(c.rule)
			id := h.pay(1000, "R")
			h.sim.Advance(time.Minute)
			p, _ := h.sim.Payout(id)
			var statuses []string
			for _, m := range p.History {
				statuses = append(statuses, m.Status)
			}
			if !slices.Equal(statuses, c.statuses) || p.FailureReason() != c.reason {
				t.Errorf("history %v, reason %q", statuses, p.FailureReason())
			}
			if facts := h.facts(id); !slices.Equal(facts, c.facts) {
				t.Errorf("facts %v", facts)
			}
			if b := h.sim.Accounts()[0]; b.CurrentBalanceInMinor != c.balance || (name != "unheard-of status" && b.AvailableBalanceInMinor != c.balance) {
				t.Errorf("balances %+v", b)
			}
			var events []string
			for _, n := range h.inbox.wait(t, len(c.events)) {
				events = append(events, n.body["type"].(string))
			}
			slices.Sort(events) // two may overtake each other
			if !slices.Equal(events, c.events) {
				t.Errorf("events %v", events)
			}
		})
	}
}

func TestWhichPayoutsARuleIsFor(t *testing.T) {
	h := open(t)
	fail := func(reason string) *Fail { return &Fail{Reason: reason} }
	h.script(Rule{Match: Match{Reference: "A"}, Fail: fail("by_reference")})
	h.script(Rule{Match: Match{AmountInMinor: 777}, Skip: 1, Times: 1, Fail: fail("by_amount")})
	h.script(Rule{Match: Match{Metadata: map[string]string{"payout_id": "ours-1"}, Kind: KindPayout, UserID: "user-1"}, Times: 2, Fail: fail("next_two")})
	h.script(Rule{Match: Match{Currency: "EUR"}, Fail: fail("never")})
	var reasons []string
	for _, c := range []struct {
		minor     int64
		reference string
	}{{1, "A"}, {777, "B"}, {777, "B"}, {777, "B"}, {1, "B"}, {1, "A"}} {
		id := h.pay(c.minor, c.reference)
		h.sim.Advance(time.Minute)
		p, _ := h.sim.Payout(id)
		reasons = append(reasons, p.FailureReason())
	}
	want := []string{"by_reference", "next_two", "by_amount", "next_two", "", "by_reference"}
	if !slices.Equal(reasons, want) {
		t.Errorf("got %q, want %q", reasons, want)
	}
	h.sim.RemoveRules()
	id := h.pay(1, "A")
	h.sim.Advance(time.Minute)
	if h.status(id) != StatusExecuted || len(h.sim.Rules()) != 0 {
		t.Errorf("after removing: %s, %v", h.status(id), h.sim.Rules())
	}
	if _, err := h.sim.Script(Rule{Create: &Answer{Kind: "sulk"}, Fail: &Fail{Stage: "later"}}); err == nil || !strings.Contains(err.Error(), "sulk") || !strings.Contains(err.Error(), "later") {
		t.Errorf("a bad rule: %v", err)
	}
}

func TestGetCanLie(t *testing.T) {
	h := open(t)
	h.script(Rule{Match: Match{Reference: "echo"}, Echo: map[string]any{
		"amount_in_minor": 1, "currency": "EUR", "id": "other", "beneficiary": map[string]any{"user_id": "thief"}, "metadata": nil}})
	h.script(Rule{Match: Match{Reference: "late"}, Get: &Answer{Kind: AnswerRefuse, Status: 404, Times: 2}})
	h.script(Rule{Match: Match{Reference: "lag"}, Lag: Duration(5 * time.Second)})

	p := h.get("/v3/payouts/" + h.pay(100, "echo")).body
	b := p["beneficiary"].(map[string]any)
	if p["amount_in_minor"] != 1.0 || p["currency"] != "EUR" || p["id"] != "other" || b["user_id"] != "thief" || b["reference"] != "echo" || p["metadata"] != nil {
		t.Errorf("echo: %v", p)
	}
	late := h.pay(100, "late")
	var statuses []int
	for range 3 {
		statuses = append(statuses, h.get("/v3/payouts/"+late).status)
	}
	if !slices.Equal(statuses, []int{404, 404, 200}) {
		t.Errorf("visible late: %v", statuses)
	}
	lag := h.pay(100, "lag")
	h.sim.Advance(3 * time.Second)
	if p := h.get("/v3/payouts/" + lag).body; h.status(lag) != StatusExecuted || p["status"] != "pending" || p["executed_at"] != nil {
		t.Errorf("lagging: %v", p)
	}
	h.sim.Advance(4 * time.Second)
	if p := h.get("/v3/payouts/" + lag).body; p["status"] != "executed" {
		t.Errorf("caught up: %v", p)
	}
}

func TestFaults(t *testing.T) {
	h := open(t)
	id, err := h.sim.AddFault(Fault{Method: "GET", Path: "/v3/merchant-accounts*", Answer: Answer{Kind: AnswerRefuse, Status: 429, RetryAfter: "7", Times: 2}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.sim.AddFault(Fault{Path: "/.well-known/jwks", Answer: Answer{Kind: AnswerGarbled, Status: 503}}); err != nil {
		t.Fatal(err)
	}
	if a := h.get("/v3/merchant-accounts"); a.status != 429 || a.header.Get("Retry-After") != "7" {
		t.Errorf("got %d %v", a.status, a.header)
	}
	if a := h.get("/v3/merchant-accounts/" + gbpAccount); a.status != 429 {
		t.Errorf("got %d", a.status)
	}
	if a := h.get("/v3/merchant-accounts"); a.status != 200 {
		t.Errorf("used up: %d", a.status)
	}
	if a := h.get("/.well-known/jwks"); a.status != 503 || a.text != html {
		t.Errorf("got %d %s", a.status, a.text)
	}
	h.sim.RemoveFaults()
	if a := h.get("/.well-known/jwks"); a.status != 200 {
		t.Errorf("removed: %d", a.status)
	}
	if _, err := h.sim.AddFault(Fault{ID: id, Path: "*", Answer: Answer{Kind: AnswerAcceptThenReset}}); err == nil {
		t.Error("a fault that accepts was taken")
	}
	if _, err := h.sim.AddFault(Fault{Path: "*", Answer: Answer{AnswerAfter: 1}}); err == nil {
		t.Error("a fault that holds back an honest answer was taken")
	}
}

func TestControlAPI(t *testing.T) {
	h := open(t)
	control := func(method, path, body string) answer {
		req, err := http.NewRequest(method, h.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		return h.do(req)
	}
	must := func(method, path, body string) map[string]any {
		t.Helper()
		a := control(method, path, body)
		if a.status != 200 {
			t.Fatalf("%s %s: %d %s", method, path, a.status, a.text)
		}
		return a.body
	}
	rule := must("POST", "/control/rules", `{"match":{"reference":"X"},"times":1,"create":{"kind":"accept_then_5xx","times":1},"fail":{"reason":"scheme_error","after":"3s"}}`)
	if a := h.post("/v3/payouts", "k", payoutBody(100, "X")); a.status != 502 {
		t.Errorf("scripted create: %d", a.status)
	}
	must("POST", "/control/clock/advance", `{"by":"3s"}`)
	payout := must("GET", "/control/payouts", "")["items"].([]any)[0].(map[string]any)
	history := payout["history"].([]any)
	if last := history[len(history)-1].(map[string]any); last["reason"] != "scheme_error" {
		t.Errorf("history %v", history)
	}
	if used := must("GET", "/control/rules", "")["items"].([]any)[0].(map[string]any); used["id"] != rule["id"] || used["used"] != 1.0 {
		t.Errorf("rules: %v", used)
	}
	must("DELETE", "/control/rules/"+rule["id"].(string), "")
	must("DELETE", "/control/rules", "")
	must("DELETE", "/control/faults", "")
	if s := must("PATCH", "/control/settings", `{"webhooks_off":true,"execute_after":"1h"}`); s["webhooks_off"] != true || s["execute_after"] != "1h0m0s" || s["authorize_after"] != "200ms" {
		t.Errorf("settings: %v", s)
	}
	user := uuid.NewString()
	paid := must("POST", "/control/payins", `{"currency":"EUR","amount_in_minor":500,"user_id":"`+user+`","metadata":{"player_id":"p1"}}`)
	if paid["payment_id"] == "" || paid["payment_source_id"] == "" || paid["user_id"] != user {
		t.Errorf("pay-in: %v", paid)
	}
	if b := must("POST", "/control/merchant-accounts/"+eurAccount+"/top-up", `{"amount_in_minor":-100}`); b["current_balance_in_minor"] != 100_400.0 {
		t.Errorf("swept: %v", b)
	}
	must("POST", "/control/merchant-accounts", `{"id":"`+uuid.NewString()+`","currency":"PLN","opening_balance_in_minor":5}`)
	must("POST", "/control/tokens/revoke", "")
	must("POST", "/control/client-keys", string(encode(map[string]string{"kid": "k2", "pem": publicPEM(t, testKey())})))
	j := must("GET", "/control/journal", "")
	for _, list := range []string{"requests", "money", "webhooks"} {
		if len(j[list].([]any)) == 0 {
			t.Errorf("journal: no %s", list)
		}
	}
	if all := must("GET", "/control/", "")["items"].([]any); len(all) != len(controls) {
		t.Errorf("list: %v", all)
	}
	for name, c := range map[string][3]string{
		"unknown field": {"POST", "/control/rules", `{"creat":{}}`},
		"bad duration":  {"POST", "/control/clock/advance", `{"by":3}`},
		"bad settings":  {"PATCH", "/control/settings", `{"webhook_url":"here"}`},
		"no account":    {"POST", "/control/payins", `{"currency":"SEK","amount_in_minor":1}`},
		"bad after":     {"GET", "/control/journal?after=x", ""},
	} {
		if a := control(c[0], c[1], c[2]); a.status != 400 || a.body["error"] == nil {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
}
