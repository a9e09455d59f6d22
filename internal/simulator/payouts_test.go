package simulator

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestToken(t *testing.T) {
	h := open(t)
	form := func(change url.Values) url.Values {
		v := url.Values{"grant_type": {"client_credentials"}, "client_id": {"client"}, "client_secret": {"secret"}, "scope": {"payments"}}
		for k := range change {
			v.Set(k, change.Get(k))
		}
		return v
	}
	for name, c := range map[string]struct {
		change url.Values
		status int
		code   string
	}{
		"good":          {nil, 200, ""},
		"wrong secret":  {url.Values{"client_secret": {"x"}}, 400, "invalid_client"},
		"wrong client":  {url.Values{"client_id": {"x"}}, 400, "invalid_client"},
		"unknown scope": {url.Values{"scope": {"payments everything"}}, 400, "invalid_scope"},
		"no scope":      {url.Values{"scope": {""}}, 400, "invalid_scope"},
		"other grant":   {url.Values{"grant_type": {"password"}}, 400, "unsupported_grant_type"},
	} {
		t.Run(name, func(t *testing.T) {
			res, err := http.PostForm(h.url+"/connect/token", form(c.change))
			if err != nil {
				t.Fatal(err)
			}
			a := readAnswer(t, res)
			code, _ := a.body["error"].(string)
			if a.status != c.status || code != c.code {
				t.Errorf("got %d %s", a.status, a.text)
			}
			if c.status == 200 && (a.body["expires_in"] != 3600.0 || a.body["token_type"] != "Bearer" || a.body["scope"] != "payments") {
				t.Errorf("got %s", a.text)
			}
		})
	}
	t.Run("json", func(t *testing.T) {
		res, err := http.Post(h.url+"/connect/token", "application/json",
			strings.NewReader(`{"grant_type":"client_credentials","client_id":"client","client_secret":"secret","scope":"payments"}`))
		if err != nil {
			t.Fatal(err)
		}
		if a := readAnswer(t, res); a.status != 200 {
			t.Errorf("got %d %s", a.status, a.text)
		}
	})
	h.get("/v3/merchant-accounts")
	for _, r := range h.sim.Journal().Requests {
		if strings.Contains(r.Body+r.Answer, "secret") || strings.Contains(r.Answer, "access_token") || strings.Contains(fmt.Sprint(r.Header), h.token) {
			t.Errorf("the journal holds a secret: %+v", r)
		}
	}
}

func TestTokenIsCheckedOnCalls(t *testing.T) {
	h := open(t)
	call := func() answer { return h.get("/v3/merchant-accounts") }
	if a := call(); a.status != 200 {
		t.Fatalf("good token: %d", a.status)
	}
	good := h.token
	h.token = h.getToken("paydirect")
	if a := call(); a.status != 401 || !strings.HasSuffix(a.body["detail"].(string), "InvalidAudience") {
		t.Errorf("other audience: %d %s", a.status, a.text)
	}
	h.token = h.getToken("verification")
	if a := call(); a.status != 403 {
		t.Errorf("other scope: %d %s", a.status, a.text)
	}
	h.token = good[:len(good)-2] + "xx"
	if a := call(); a.status != 401 {
		t.Errorf("changed token: %d", a.status)
	}
	h.token = good
	h.sim.Advance(time.Hour - time.Second)
	if a := call(); a.status != 200 {
		t.Errorf("just before expiry: %d", a.status)
	}
	h.sim.Advance(time.Second)
	if a := call(); a.status != 401 {
		t.Errorf("expired token: %d", a.status)
	}
	h.token = h.getToken("payments")
	h.sim.RevokeTokens()
	if a := call(); a.status != 401 {
		t.Errorf("revoked token: %d", a.status)
	}
}

func TestSignatureIsCheckedOnCreate(t *testing.T) {
	h := open(t)
	body := payoutBody(100, "R")
	for name, change := range map[string]func(*http.Request){
		"no signature": func(r *http.Request) { r.Header.Del("Tl-Signature") },
		"signed for another body": func(r *http.Request) {
			r.Header.Set("Tl-Signature", handSign(t, h.key, clientKid, "POST", "/v3/payouts", "k", body+" "))
		},
		"signed for another path": func(r *http.Request) {
			r.Header.Set("Tl-Signature", handSign(t, h.key, clientKid, "POST", "/payouts", "k", body))
		},
		"unknown kid": func(r *http.Request) {
			r.Header.Set("Tl-Signature", handSign(t, h.key, "other", "POST", "/v3/payouts", "k", body))
		},
		"another key": func(r *http.Request) { r.Header.Set("Idempotency-Key", "k2") },
		"key not signed": func(r *http.Request) {
			m := message{"POST", "/v3/payouts", nil, []byte(body)}
			signature, err := sign(h.key, joseHeader{Alg: "ES512", Kid: clientKid, TLVersion: "2"}, m)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Tl-Signature", signature)
		},
		"no key": func(r *http.Request) { r.Header.Del("Idempotency-Key") },
	} {
		t.Run(name, func(t *testing.T) {
			req := h.request("POST", "/v3/payouts", "k", body)
			change(req)
			if a := h.do(req); a.status != 401 || a.body["title"] != "Unauthenticated" || a.header.Get("Tl-Trace-Id") != a.body["trace_id"] {
				t.Errorf("got %d %s", a.status, a.text)
			}
		})
	}
	if n := len(h.sim.Payouts()); n != 0 {
		t.Errorf("%d payouts were made", n)
	}
	if a := h.post("/test-signature", "k", `{"nonce":1}`); a.status != 204 {
		t.Errorf("test-signature: %d %s", a.status, a.text)
	}
}

func TestCreateChecksTheBody(t *testing.T) {
	h := open(t)
	if _, err := h.sim.AddPayIn(PayIn{Currency: "GBP", AmountInMinor: 1, PaymentSourceID: "known", UserID: "user-9"}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ from, to, field string }{
		"no object":         {`{"merchant`, `["merchant`, "body"},
		"zero":              {`:100,`, `:0,`, "amount_in_minor"},
		"fraction":          {`:100,`, `:1.5,`, "amount_in_minor"},
		"text amount":       {`:100,`, `:"100",`, "amount_in_minor"},
		"too large":         {`:100,`, `:9223372036854775808,`, "amount_in_minor"},
		"other currency":    {`"GBP"`, `"EUR"`, "currency"},
		"unknown account":   {gbpAccount, uuid.NewString(), "merchant_account_id"},
		"no reference":      {`"reference":"R"`, `"reference":""`, "beneficiary.reference"},
		"no source":         {`"payment_source_id"`, `"x"`, "beneficiary.payment_source_id"},
		"unknown type":      {`"type":"payment_source"`, `"type":"pigeon"`, "beneficiary.type"},
		"another's source":  {`source-1`, `known`, "beneficiary.user_id"},
		"metadata null":     {`"ours-1"`, `null`, "metadata.payout_id"},
		"metadata too long": {`ours-1`, strings.Repeat("é", 501), "metadata.payout_id"},
		"metadata key":      {`payout_id":"ours`, strings.Repeat("k", 41) + `":"ours`, "metadata." + strings.Repeat("k", 41)},
	} {
		t.Run(name, func(t *testing.T) {
			body := strings.Replace(payoutBody(100, "R"), c.from, c.to, 1)
			a := h.post("/v3/payouts", uuid.NewString(), body)
			if a.status != 400 || a.body["type"] != problemTypes+"invalid-parameters" || a.header.Get("Content-Type") != "application/problem+json" {
				t.Fatalf("got %d %s", a.status, a.text)
			}
			if errors, _ := a.body["errors"].(map[string]any); errors[c.field] == nil {
				t.Errorf("%s is not named: %s", c.field, a.text)
			}
		})
	}
	if n := len(h.sim.Payouts()); n != 0 {
		t.Errorf("%d payouts were made", n)
	}
	if err := h.sim.Configure(func(g *Settings) { g.StrictSources = true }); err != nil {
		t.Fatal(err)
	}
	if a := h.post("/v3/payouts", "k", payoutBody(100, "R")); a.status != 400 {
		t.Errorf("unknown source, strict: %d", a.status)
	}
}

func TestEveryKindOfBeneficiary(t *testing.T) {
	h := open(t)
	for name, c := range map[string]struct {
		beneficiary, extra string
		refused            string // the field; empty: taken
		scheme             string
	}{
		"external account": {`{"type":"external_account","reference":"R","account_holder_name":"A","account_identifier":{"type":"iban","iban":"X"}}`, "", "", "faster_payments_service"},
		"business account": {`{"type":"business_account","reference":"R"}`, "", "", "faster_payments_service"},
		"verified account": {`{"type":"verified_external_account","account_holder_verification_id":"v"}`, "", "", "faster_payments_service"},
		"preselected": {`{"type":"business_account","reference":"R"}`,
			`,"scheme_selection":{"type":"preselected","scheme_id":"chaps"},"sub_merchants":{"ultimate_counterparty":{}}`, "", "chaps"},
		"user determined": {`{"type":"user_determined","reference":"R","user":{"name":"A"},"verification":{},"provider_selection":{}}`, "", "", "faster_payments_service"},
		"nobody verified": {`{"type":"verified_external_account"}`, "", "beneficiary.account_holder_verification_id", ""},
		"no user":         {`{"type":"user_determined","reference":"R","verification":{},"provider_selection":{}}`, "", "beneficiary.user.name", ""},
		"no scheme":       {`{"type":"business_account","reference":"R"}`, `,"scheme_selection":{"type":"preselected"}`, "scheme_selection.scheme_id", ""},
		"odd selection":   {`{"type":"business_account","reference":"R"}`, `,"scheme_selection":"fast"`, "scheme_selection.type", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := h.post("/v3/payouts", uuid.NewString(), fmt.Sprintf(`{"merchant_account_id":%q,"amount_in_minor":1,"currency":"GBP","beneficiary":%s%s}`, gbpAccount, c.beneficiary, c.extra))
			if c.refused != "" {
				if errors, _ := a.body["errors"].(map[string]any); a.status != 400 || errors[c.refused] == nil {
					t.Errorf("got %d %s", a.status, a.text)
				}
				return
			}
			if a.status != 202 {
				t.Fatalf("got %d %s", a.status, a.text)
			}
			first := "pending"
			if name == "user determined" {
				first = "authorization_required"
				if a.body["status"] != first || a.body["resource_token"] == "" || a.body["user"].(map[string]any)["id"] == "" {
					t.Errorf("created: %s", a.text)
				}
			}
			path := "/v3/payouts/" + a.body["id"].(string)
			if p := h.get(path).body; p["status"] != first {
				t.Errorf("at first: %v", p)
			}
			h.sim.Advance(time.Minute)
			way := []string{}
			p, _ := h.sim.Payout(a.body["id"].(string))
			for _, m := range p.History {
				way = append(way, m.Status)
			}
			want := []string{"pending", "authorized", "executed"}
			if first != "pending" {
				want = append([]string{"authorization_required", "authorizing"}, want...)
			}
			if !slices.Equal(way, want) {
				t.Errorf("it went %v", way)
			}
			if p := h.get(path).body; p["status"] != "executed" || p["scheme_id"] != c.scheme || p["beneficiary"].(map[string]any)["account_identifiers"] == nil {
				t.Errorf("in the end: %v", p)
			}
		})
	}
}

func TestPayoutLivesAndMovesMoneyOnce(t *testing.T) {
	h := open(t)
	id := h.pay(2_500, "PayOutRef")
	see := func() map[string]any { return h.get("/v3/payouts/" + id).body }

	if p := see(); p["status"] != "pending" || p["scheme_id"] != "unknown" || p["created_at"] != "2026-11-20T12:00:00.123456789Z" || p["authorized_at"] != nil {
		t.Errorf("new: %v", p)
	}
	h.sim.Advance(199 * time.Millisecond)
	if s := h.status(id); s != StatusPending {
		t.Errorf("after 199ms: %s", s)
	}
	h.sim.Advance(time.Millisecond)
	if p := see(); p["status"] != "authorized" || p["scheme_id"] != "internal_transfer" || p["authorized_at"] != "2026-11-20T12:00:00.323456789Z" {
		t.Errorf("after 200ms: %v", p)
	}
	if a := h.sim.Accounts()[0]; a.AvailableBalanceInMinor != 97_500 || a.CurrentBalanceInMinor != 100_000 {
		t.Errorf("authorized: %+v", a)
	}
	h.sim.Advance(time.Minute)
	p := see()
	if p["status"] != "executed" || p["executed_at"] != "2026-11-20T12:00:01.223Z" || p["failed_at"] != nil {
		t.Errorf("in the end: %v", p)
	}
	b := p["beneficiary"].(map[string]any)
	if b["type"] != "payment_source" || b["account_holder_name"] != mockHolder || len(b["account_identifiers"].([]any)) == 0 ||
		b["reference"] != "PayOutRef" || p["metadata"].(map[string]any)["payout_id"] != "ours-1" {
		t.Errorf("beneficiary and metadata: %v", p)
	}
	if a := h.sim.Accounts()[0]; a.AvailableBalanceInMinor != 97_500 || a.CurrentBalanceInMinor != 97_500 {
		t.Errorf("executed: %+v", a)
	}
	if facts := h.facts(id); !slices.Equal(facts, []string{FactAccepted, FactExecuted}) {
		t.Errorf("facts: %v", facts)
	}
	if a := h.get("/v3/payouts/" + uuid.NewString()); a.status != 404 || a.body["detail"] != "Payout could not be found." {
		t.Errorf("unknown: %d %s", a.status, a.text)
	}
}

func TestIdempotency(t *testing.T) {
	h := open(t)
	body := payoutBody(100, "R")
	first := h.post("/v3/payouts", "key-1", body)
	again := h.post("/v3/payouts", "key-1", body)
	if first.status != 202 || again.status != 202 || first.text != again.text {
		t.Errorf("same key, same bytes: %d %s, then %d %s", first.status, first.text, again.status, again.text)
	}
	if a := h.post("/v3/payouts", "key-1", body+" "); a.status != 422 || a.body["type"] != problemTypes+"idempotency-key-reuse" {
		t.Errorf("same key, other bytes: %d %s", a.status, a.text)
	}
	if a := h.post("/v3/payouts", "key-2", body); a.status != 202 || a.text == first.text {
		t.Errorf("other key: %d %s", a.status, a.text)
	}
	if n := len(h.sim.Payouts()); n != 2 {
		t.Errorf("%d payouts", n)
	}
	h.sim.Advance(30 * 24 * time.Hour)
	h.token = h.getToken("payments")
	if a := h.post("/v3/payouts", "key-1", body); a.text != first.text {
		t.Errorf("at the end of the key's life: %s", a.text)
	}
	h.sim.Advance(time.Second)
	if a := h.post("/v3/payouts", "key-1", body); a.status != 202 || a.text == first.text {
		t.Errorf("after the key's life: %d %s", a.status, a.text)
	}
}

func TestOneKeySentAtOnceMakesOnePayout(t *testing.T) {
	h := open(t)
	h.script(Rule{Create: &Answer{Kind: AnswerNormal, Delay: Duration(200 * time.Millisecond), Times: 1}})
	body := payoutBody(100, "R")
	var wg sync.WaitGroup
	answers := make([]answer, 8)
	for i := range answers {
		req := h.request("POST", "/v3/payouts", "same", body)
		wg.Go(func() { answers[i] = h.do(req) })
	}
	wg.Wait()
	count := map[int]int{}
	for _, a := range answers {
		count[a.status]++
		if a.status == 409 && a.body["type"] != problemTypes+"idempotency-key-concurrency-conflict" {
			t.Errorf("got %s", a.text)
		}
	}
	if count[202] < 1 || count[409] < 1 || count[202]+count[409] != 8 || len(h.sim.Payouts()) != 1 {
		t.Errorf("answers %v, %d payouts", count, len(h.sim.Payouts()))
	}
}

func TestInsufficientFunds(t *testing.T) {
	h := open(t)
	id := h.pay(100_001, "R")
	h.sim.Advance(999 * time.Millisecond)
	if s := h.status(id); s != StatusPending {
		t.Errorf("before the time: %s", s)
	}
	h.sim.Advance(time.Millisecond)
	p := h.get("/v3/payouts/" + id).body
	if p["status"] != "failed" || p["failure_reason"] != "insufficient_funds" || p["scheme_id"] != "unknown" || p["authorized_at"] != nil {
		t.Errorf("got %v", p)
	}
	if b := h.sim.Balance(gbpAccount); b != 100_000 {
		t.Errorf("balance %d", b)
	}
	n := h.inbox.wait(t, 1)[0]
	if n.body["type"] != "payout_failed" || n.body["failure_reason"] != "insufficient_funds" || n.body["scheme_id"] != nil {
		t.Errorf("got %s", n.text)
	}

	saved := h.pay(100_001, "R")
	h.sim.Advance(500 * time.Millisecond)
	if err := h.sim.TopUp(gbpAccount, 1); err != nil {
		t.Fatal(err)
	}
	h.sim.Advance(time.Minute)
	if s := h.status(saved); s != StatusExecuted || h.sim.Balance(gbpAccount) != 0 {
		t.Errorf("funds that came in time: %s, balance %d", s, h.sim.Balance(gbpAccount))
	}
}

func TestMoneyAddsUp(t *testing.T) {
	h := open(t)
	h.script(Rule{Match: Match{Reference: "fail"}, Fail: &Fail{Stage: StatusAuthorized, Reason: "blocked"}})
	h.script(Rule{Match: Match{Reference: "return"}, Return: &Step{After: Duration(time.Second)}})
	h.script(Rule{Match: Match{Reference: "flap"}, Path: []Step{
		{Status: StatusAuthorized}, {Status: StatusPending}, {Status: StatusAuthorized}, {Status: StatusExecuted}, {Status: StatusExecuted}}})
	for i := range 40 {
		h.pay(int64(1000+i), []string{"ok", "fail", "return", "flap"}[i%4])
	}
	h.sim.Advance(time.Hour)
	want := int64(0)
	for _, m := range h.sim.MoneyFacts("") {
		if m.MerchantAccountID != gbpAccount {
			continue
		}
		switch m.Kind {
		case FactTopUp, FactReturned:
			want += m.AmountInMinor
		case FactExecuted:
			want -= m.AmountInMinor
		}
	}
	a := h.sim.Accounts()[0]
	if a.CurrentBalanceInMinor != want || a.AvailableBalanceInMinor != want {
		t.Errorf("facts say %d, account says %+v", want, a)
	}
	if n := len(h.sim.MoneyFacts(FactExecuted)); n != 30 {
		t.Errorf("%d executions, want 30", n)
	}
	for _, p := range h.sim.Payouts() {
		if p.Executions > 1 {
			t.Errorf("%s was executed %d times", p.ID, p.Executions)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	h := open(t, func(o *Options) {
		o.Clock = nil
		o.Settings.AuthorizeAfter, o.Settings.ExecuteAfter = 1, 1
		o.StateFile = t.TempDir() + "/state.json"
	})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 5 {
				req := h.request("POST", "/v3/payouts", fmt.Sprint(i, "-", j), payoutBody(10, "R"))
				if a := h.do(req); a.status != 202 {
					t.Errorf("create: %d %s", a.status, a.text)
				}
				h.sim.Journal()
				h.sim.Payouts()
				h.sim.Advance(time.Millisecond)
			}
		})
	}
	wg.Wait()
	until(t, "40 executions", func() bool { return len(h.sim.MoneyFacts(FactExecuted)) == 40 })
	if b := h.sim.Balance(gbpAccount); b != 100_000-400 {
		t.Errorf("balance %d", b)
	}
}
