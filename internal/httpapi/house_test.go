package httpapi_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"payouts/internal/httpapi"
	"payouts/internal/ledger"
	"payouts/internal/payout"
	"payouts/internal/truelayer"
)

// house is the API on a real ledger in a file of its own.
type house struct {
	t      *testing.T
	api    http.Handler
	url    string
	ledger *ledger.Ledger
	file   string
	with   httpapi.Options

	ahead atomic.Int64 // how far the books' clock is ahead of ours

	mu      sync.Mutex
	started []payout.ID
	woken   []payout.Stored
	refuse  error // what starting or waking a run comes to
}

const (
	pounds = "0b1f9d3e-8c2a-4c36-9f0e-3f0b6f8a9c11" // merchant accounts
	euros  = "0b1f9d3e-8c2a-4c36-9f0e-3f0b6f8a9c12"
)

type callers map[string]httpapi.Caller

func (c callers) Find(token string) (httpapi.Caller, bool) { caller, ok := c[token]; return caller, ok }

var limits = payout.Limits{
	MaxAmountInMinor: payout.DefaultMaxAmountInMinor,
	Reference:        regexp.MustCompile(payout.DefaultReference),
	ReferenceText:    "1 to 18 characters of A-Z a-z 0-9 space . -",
	MerchantAccounts: map[payout.Currency]string{"GBP": pounds, "EUR": euros},
}

func newHouse(t *testing.T, change ...func(*httpapi.Options)) *house {
	t.Helper()
	h := &house{t: t, file: filepath.Join(t.TempDir(), "books.db")}
	seal, err := ledger.ReadSeal(strings.NewReader("k1 MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="))
	if err != nil {
		t.Fatal(err)
	}
	h.ledger, err = ledger.Open(t.Context(), ledger.Options{URL: "sqlite:" + h.file, Seal: seal, Encode: truelayer.Body, Now: h.now})
	if err != nil {
		t.Fatal(err)
	}
	o := httpapi.Options{
		Ledger: h.ledger, Limits: limits, Logger: zap.NewNop(), Now: h.now,
		Callers: callers{
			"game-token": {Name: "game", Role: httpapi.RoleBackend}, "rival-token": {Name: "rival", Role: httpapi.RoleBackend},
			"operator-token": {Name: "ann", Role: httpapi.RoleOperator}, "second-token": {Name: "bob", Role: httpapi.RoleOperator}, "support-token": {Name: "sue", Role: httpapi.RoleSupport},
			"auditor-token": {Name: "aud", Role: httpapi.RoleAuditor},
		},
		Start: func(_ context.Context, p ledger.Payout) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.started = append(h.started, p.ID)
			return h.refuse
		},
		Wake: func(_ context.Context, s payout.Stored) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.woken = append(h.woken, s)
			return h.refuse
		},
	}
	for _, f := range change {
		f(&o)
	}
	h.with = o
	t.Cleanup(func() { h.ledger.Close() })
	h.serve()
	return h
}

// now is the clock of the books.
func (h *house) now() time.Time { return time.Now().Add(time.Duration(h.ahead.Load())) }

// serve opens the API as it is configured. Called again, it is a new process
// on the same books.
func (h *house) serve() {
	h.api = httpapi.NewAPI(h.with)
	server := httptest.NewServer(h.api)
	h.url = server.URL
	h.t.Cleanup(server.Close)
}

// answer is what a request came to.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) read(t *testing.T, into any) {
	t.Helper()
	if err := json.Unmarshal(a.body, into); err != nil {
		t.Fatalf("read %s: %v", a.body, err)
	}
}

// ask sends a request. Headers are "Name: value"; a body without a
// Content-Type header is sent as JSON; token "" sends none.
func (h *house) ask(method, path, token, body string, headers ...string) answer {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), method, h.url+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		if name == "Content-Type" {
			r.Header.Del(name)
		}
		r.Header.Add(name, value)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		h.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, read}
}

func (h *house) must(want int, a answer) answer {
	h.t.Helper()
	if a.status != want {
		h.t.Fatalf("answered %d %s; want %d", a.status, a.body, want)
	}
	return a
}

// furnish credits and binds what the tests use: p1 and p2 of game, r1 of rival.
func (h *house) furnish() {
	h.t.Helper()
	for _, p := range []struct{ player, token string }{{"p1", "game-token"}, {"p2", "game-token"}, {"r1", "rival-token"}} {
		h.must(201, h.ask("POST", "/v1/players/"+p.player+"/credits", p.token, `{"amount_in_minor":100000,"currency":"GBP","reason":"won"}`, "Idempotency-Key: win-"+p.player))
		h.must(201, h.ask("PUT", "/v1/players/"+p.player+"/payment-sources/source-"+p.player, p.token, `{"user_id":"user-`+p.player+`","currency":"GBP"}`))
	}
}

// wish is a good payout of p1, with changes to its text.
func wish(changes ...string) string {
	body := `{"player_id":"p1","amount_in_minor":1000,"currency":"GBP","beneficiary":{"user_id":"user-p1","payment_source_id":"source-p1","reference":"WIN 1"}}`
	return strings.NewReplacer(changes...).Replace(body)
}

// refundWish is a good body for a refund of p1's pay-in.
func refundWish(changes ...string) string {
	body := `{"payment_id":"pay-in-1","amount_in_minor":1000,"currency":"GBP","player_id":"p1","reference":"BACK 1"}`
	return strings.NewReplacer(changes...).Replace(body)
}

// done stops the test at an error of the books.
func (h *house) done(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// blocked is a payout that a regulatory stop ended, and its open case.
func (h *house) blocked(key string) (httpapi.Payout, httpapi.Case) {
	h.t.Helper()
	var p httpapi.Payout
	h.must(201, h.ask("POST", "/v1/payouts", "game-token", wish(), "Idempotency-Key: "+key)).read(h.t, &p)
	id := payout.ID(p.ID)
	send, _, err := h.ledger.OpenSend(h.t.Context(), id, time.Now().Add(time.Hour))
	h.done(err)
	_, err = h.ledger.CloseSend(h.t.Context(), send, payout.Created{Answer: payout.AnswerCreated, ProviderID: "their-" + key, Raw: []byte("{}")})
	h.done(err)
	_, err = h.ledger.Judge(h.t.Context(), id, payout.Heard{By: "test", Words: []payout.Asked{{Attempt: 1, Word: payout.Word{
		ProviderID: "their-" + key, Status: "failed", Reason: payout.ReasonBlocked, Money: payout.Money{Minor: p.Amount, Currency: payout.Currency(p.Currency)},
		AskedAt: time.Now(), DecidedAt: time.Now(), Raw: []byte("{}")}}}})
	h.done(err)
	_, err = h.ledger.Freeze(h.t.Context(), id)
	h.done(err)
	h.must(200, h.ask("GET", "/v1/payouts/"+p.ID, "game-token", "")).read(h.t, &p)
	if p.CaseID == nil {
		h.t.Fatalf("blocked without a case: %+v", p)
	}
	return p, h.one(*p.CaseID)
}

// one reads a case.
func (h *house) one(id string) (c httpapi.Case) {
	h.t.Helper()
	h.must(200, h.ask("GET", "/v1/cases/"+id, "operator-token", "")).read(h.t, &c)
	return c
}

// stranger is an event about a payout nobody asked for, and the case it
// becomes.
func (h *house) stranger(providerID string) httpapi.Case {
	h.t.Helper()
	_, err := h.ledger.StoreNews(h.t.Context(), payout.News{EventID: "event-" + providerID, Type: "payout_executed", ProviderID: providerID, Status: "executed", Body: []byte(providerID)})
	h.done(err)
	h.ahead.Add(int64(time.Hour))
	_, err = h.ledger.OpenUnmatched(h.t.Context(), 10)
	h.done(err)
	var list httpapi.CaseList
	h.must(200, h.ask("GET", "/v1/cases?kind=unmatched_event&status=open", "operator-token", "")).read(h.t, &list)
	for _, c := range list.Items {
		if c.Subject != nil && *c.Subject == providerID {
			return h.one(c.ID)
		}
	}
	h.t.Fatalf("no case about %s: %+v", providerID, list)
	return httpapi.Case{}
}

// carriesOut is the step of the payout's run that an approval wakes.
func (h *house) carriesOut(id string) {
	h.t.Helper()
	asking, err := h.ledger.Read(h.t.Context(), payout.ID(id))
	h.done(err)
	_, err = h.ledger.Judge(h.t.Context(), payout.ID(id), payout.Heard{Inbox: asking.Inbox, Approved: asking.Approved, By: "ReconcilePayout"})
	h.done(err)
}

// dump is everything in the database, so that two are equal only when nothing
// at all was written between them.
func (h *house) dump() string {
	h.t.Helper()
	db, err := sql.Open("sqlite", "file:"+h.file+"?mode=ro")
	if err != nil {
		h.t.Fatal(err)
	}
	defer db.Close()
	var out bytes.Buffer
	for _, table := range h.rows(db, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name") {
		rows := h.rows(db, `SELECT * FROM "`+table+`"`)
		slices.Sort(rows)
		fmt.Fprintf(&out, "%s\n\t%s\n", table, strings.Join(rows, "\n\t"))
	}
	return out.String()
}

// tamper changes the books past the ledger.
func (h *house) tamper(command string) {
	h.t.Helper()
	db, err := sql.Open("sqlite", "file:"+h.file+"?_pragma=busy_timeout(10000)")
	h.done(err)
	defer db.Close()
	_, err = db.Exec(command)
	h.done(err)
}

func (h *house) rows(db *sql.DB, query string) []string {
	h.t.Helper()
	rows, err := db.QueryContext(h.t.Context(), query)
	if err != nil {
		h.t.Fatal(err)
	}
	defer rows.Close()
	columns, _ := rows.Columns()
	var list []string
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			h.t.Fatal(err)
		}
		list = append(list, strings.Trim(fmt.Sprint(values...), "[]"))
	}
	if err := rows.Err(); err != nil {
		h.t.Fatal(err)
	}
	return list
}

// problem reads a problem document and checks what all of them share.
func (h *house) problem(a answer) httpapi.Problem {
	h.t.Helper()
	var p httpapi.Problem
	a.read(h.t, &p)
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		h.t.Errorf("Content-Type is %q; want application/problem+json", got)
	}
	if p.Status != a.status || p.Title == "" || p.Detail == "" {
		h.t.Errorf("problem %s does not fit status %d", a.body, a.status)
	}
	if page := h.ask("GET", p.Type, "", ""); page.status != 200 || !strings.Contains(string(page.body), p.Title) {
		h.t.Errorf("type %s opens as %d %s; want its explanation", p.Type, page.status, page.body)
	}
	return p
}

func fieldsOf(p httpapi.Problem) []string {
	fields := []string{}
	for _, e := range p.Errors {
		fields = append(fields, e.Field)
	}
	slices.Sort(fields)
	return fields
}
