package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"payouts/internal/httpapi"
	"payouts/internal/ledger"
	"payouts/internal/payout"
)

// A first request is 201 with a Location, a repeat is 200 and says so, and
// both show the same payout; one run is started.
func TestPayoutIsAcceptedOnce(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	first := h.must(201, h.ask("POST", "/v1/payouts", "game-token", wish(`"currency"`, `"metadata":{"cup":"12"},"currency"`), "Idempotency-Key: k1"))
	var p httpapi.Payout
	first.read(t, &p)
	if got := first.header.Get("Location"); got != "/v1/payouts/"+p.ID {
		t.Errorf("Location is %q", got)
	}
	if first.header.Get("Idempotent-Replayed") != "" {
		t.Error("a first request is marked as a replay")
	}
	if p.ID != string(payout.NewID(payout.KindPayout, "game", "k1")) || p.Status != "accepted" || p.Money != "held" || p.WorkflowID != "payout/"+p.ID || p.Metadata["cup"] != "12" || p.PlayerMessage == "" {
		t.Errorf("accepted as %+v", p)
	}
	again := h.must(200, h.ask("POST", "/v1/payouts", "game-token", "\n "+wish(`"currency"`, `"metadata":{"cup":"12"},"currency"`), "Idempotency-Key: k1", "Content-Type: application/json; charset=UTF-8"))
	if again.header.Get("Idempotent-Replayed") != "true" || again.header.Get("Location") != first.header.Get("Location") {
		t.Errorf("a replay is marked %v", again.header)
	}
	if len(h.started) != 1 || string(h.started[0]) != p.ID {
		t.Errorf("started %v; want the payout once", h.started)
	}
	h.expectBalance("p1", 99000, 1000)

	one := h.must(200, h.ask("GET", "/v1/payouts/"+strings.ToUpper(p.ID), "game-token", ""))
	var whole httpapi.Payout
	one.read(t, &whole)
	if len(whole.Attempts) != 1 || whole.Attempts[0].Sends != 0 || len(whole.Timeline) == 0 {
		t.Errorf("read as %s", one.body)
	}
	if strings.Contains(string(one.body), "$schema") {
		t.Errorf("$schema leaks: %s", one.body)
	}
	var fields map[string]any
	one.read(t, &fields)
	for _, name := range strings.Fields("id player_id amount_in_minor currency beneficiary metadata status money failure_reason player_message provider_status provider_payout_id next_step next_step_at case_id version created_at updated_at workflow_id attempts timeline") {
		if _, ok := fields[name]; !ok {
			t.Errorf("field %s is missing in %s", name, one.body)
		}
	}
}

// What was taken is answered to a repeat whatever is configured since: a
// backend that is refused would take it for not done, and credit the player.
func TestReplayOutlivesConfiguration(t *testing.T) {
	for name, change := range map[string]func(*payout.Limits){
		"a lower limit":         func(l *payout.Limits) { l.MaxAmountInMinor = 10 },
		"a currency less":       func(l *payout.Limits) { l.MerchantAccounts = map[payout.Currency]string{"EUR": euros} },
		"another pattern":       func(l *payout.Limits) { l.Reference = regexp.MustCompile(`^PAY[0-9]+$`) },
		"all of it is the same": func(*payout.Limits) {},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.furnish()
			movement := `{"amount_in_minor":100,"currency":"GBP","reason":"won"}`
			requests := map[string]string{"/v1/payouts": wish(), "/v1/players/p1/credits": movement, "/v1/players/p1/debits": movement}
			first := map[string]answer{}
			for path, body := range requests {
				first[path] = h.must(201, h.ask("POST", path, "game-token", body, "Idempotency-Key: k"))
			}
			change(&h.with.Limits)
			h.serve()
			before := h.dump()
			for path, body := range requests {
				again := h.must(200, h.ask("POST", path, "game-token", body, "Idempotency-Key: k"))
				if again.header.Get("Idempotent-Replayed") != "true" || again.header.Get("Location") != first[path].header.Get("Location") || !bytes.Equal(again.body, first[path].body) {
					t.Errorf("%s: repeated as %v %s; want %s", path, again.header, again.body, first[path].body)
				}
				other := h.must(409, h.ask("POST", path, "game-token", strings.Replace(body, `in_minor":1`, `in_minor":2`, 1), "Idempotency-Key: k"))
				if got := fieldsOf(h.problem(other)); !slices.Equal(got, []string{"amount_in_minor"}) {
					t.Errorf("%s: another body under the key names %v", path, got)
				}
				h.must(400, h.ask("POST", path, "game-token", strings.Replace(body, `"GBP"`, `"GBP","more":1`, 1), "Idempotency-Key: k"))
			}
			if h.dump() != before || len(h.started) != 1 {
				t.Errorf("a repeat wrote, or started a run: %v", h.started)
			}
			if h.with.Limits.MaxAmountInMinor == 10 { // what is new obeys
				for path, body := range requests {
					h.must(400, h.ask("POST", path, "game-token", body, "Idempotency-Key: new"))
					h.must(400, h.ask("POST", path, "rival-token", body, "Idempotency-Key: k"))
				}
			}
		})
	}
}

func (h *house) expectBalance(player string, available, held int64) {
	h.t.Helper()
	var b httpapi.Balances
	h.must(200, h.ask("GET", "/v1/players/"+player+"/balances", "support-token", "")).read(h.t, &b)
	if len(b.Balances) != 1 || b.Balances[0].Available != available || b.Balances[0].Held != held {
		h.t.Errorf("%s has %+v; want %d available and %d held", player, b.Balances, available, held)
	}
}

// The run is a consequence: when it cannot be started, also not in time, the
// payout is accepted all the same.
func TestRunNotStarted(t *testing.T) {
	h := newHouse(t)
	h.refuse = errors.New("no Temporal")
	h.furnish()
	h.must(201, h.ask("POST", "/v1/payouts", "game-token", wish(), "Idempotency-Key: k1"))
	h.expectBalance("p1", 99000, 1000)
}

// A caller that hangs up just after the commit does not take the run's start
// with it; and the start is bounded.
func TestStartOutlivesTheCaller(t *testing.T) {
	ctx, hangUp := context.WithCancel(t.Context())
	var seen error
	var bounded bool
	h := newHouse(t, func(o *httpapi.Options) {
		o.Ledger = hangsUp{o.Ledger, hangUp}
		o.Start = func(ctx context.Context, _ ledger.Payout) error {
			_, bounded = ctx.Deadline()
			seen = ctx.Err()
			return nil
		}
	})
	h.furnish()
	r := httptest.NewRequestWithContext(ctx, "POST", "/v1/payouts", strings.NewReader(wish()))
	r.Header = http.Header{"Authorization": {"Bearer game-token"}, "Content-Type": {"application/json"}, "Idempotency-Key": {"k1"}}
	h.api.ServeHTTP(httptest.NewRecorder(), r)
	if ctx.Err() == nil || seen != nil || !bounded {
		t.Errorf("the start saw %v (bounded: %v) after the caller hung up (%v)", seen, bounded, ctx.Err())
	}
}

type hangsUp struct {
	httpapi.Ledger
	hangUp func()
}

func (h hangsUp) Accept(ctx context.Context, r payout.Request, account string, first bool) (ledger.Payout, bool, error) {
	defer h.hangUp()
	return h.Ledger.Accept(ctx, r, account, first)
}

func TestCreditAndDebit(t *testing.T) {
	h := newHouse(t)
	credit := `{"amount_in_minor":500,"currency":"EUR","reason":"won"}`
	var m httpapi.Movement
	h.must(201, h.ask("POST", "/v1/players/p1/credits", "game-token", credit, "Idempotency-Key: a")).read(t, &m)
	if m.Kind != "credit" || m.Amount != 500 || m.Currency != "EUR" || m.PlayerID != "p1" || m.ID == "" || m.BookedAt.IsZero() {
		t.Errorf("credited as %+v", m)
	}
	if a := h.must(200, h.ask("POST", "/v1/players/p1/credits", "game-token", credit, "Idempotency-Key: a")); a.header.Get("Idempotent-Replayed") != "true" {
		t.Error("a repeated credit is not marked")
	}
	// The key is per endpoint: the same one debits too.
	h.must(201, h.ask("POST", "/v1/players/p1/debits", "game-token", strings.Replace(credit, "500", "200", 1), "Idempotency-Key: a"))
	h.expectBalance("p1", 300, 0)

	var b httpapi.Balances
	unknown := h.must(200, h.ask("GET", "/v1/players/nobody/balances", "game-token", ""))
	if unknown.read(t, &b); b.Balances == nil || len(b.Balances) != 0 {
		t.Errorf("an unknown player has %s; want an empty list", unknown.body)
	}
}

func TestPaymentSources(t *testing.T) {
	h := newHouse(t)
	bind := func() answer {
		return h.ask("PUT", "/v1/players/p1/payment-sources/s1", "game-token", `{"user_id":"u1","currency":"GBP"}`)
	}
	h.must(201, bind())
	h.must(200, bind())
	var list httpapi.Sources
	h.must(200, h.ask("GET", "/v1/players/p1/payment-sources", "auditor-token", "")).read(t, &list)
	if want := []httpapi.Source{{PlayerID: "p1", PaymentSourceID: "s1", UserID: "u1", Currency: "GBP"}}; !slices.Equal(list.Items, want) {
		t.Errorf("listed %+v; want %+v", list.Items, want)
	}
}

func TestFirstUseBinds(t *testing.T) {
	h := newHouse(t, func(o *httpapi.Options) { o.BindFirstUse = true })
	h.furnish()
	h.must(201, h.ask("POST", "/v1/payouts", "game-token", wish("source-p1", "source-new"), "Idempotency-Key: k1"))
	h.must(422, h.ask("POST", "/v1/payouts", "game-token", wish("source-p1", "source-p2", "user-p1", "user-p2"), "Idempotency-Key: k2"))
}

// A backend sees its own only; people with a role see all.
func TestWhoSeesWhat(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	var mine, theirs httpapi.Payout
	h.must(201, h.ask("POST", "/v1/payouts", "game-token", wish(), "Idempotency-Key: k")).read(t, &mine)
	h.must(201, h.ask("POST", "/v1/payouts", "rival-token", wish("p1", "r1"), "Idempotency-Key: k")).read(t, &theirs)
	if mine.ID == theirs.ID {
		t.Fatal("two callers share a key")
	}
	for _, test := range []struct {
		token string
		want  []string
	}{
		{"game-token", []string{mine.ID}}, {"rival-token", []string{theirs.ID}},
		{"operator-token", []string{theirs.ID, mine.ID}}, {"support-token", []string{theirs.ID, mine.ID}}, {"auditor-token", []string{theirs.ID, mine.ID}},
	} {
		var page httpapi.PayoutList
		h.must(200, h.ask("GET", "/v1/payouts", test.token, "")).read(t, &page)
		var got []string
		for _, p := range page.Items {
			got = append(got, p.ID)
		}
		slices.Sort(got)
		if slices.Sort(test.want); !slices.Equal(got, test.want) {
			t.Errorf("%s lists %v; want %v", test.token, got, test.want)
		}
		for _, id := range []string{mine.ID, theirs.ID} {
			want := 404
			if slices.Contains(test.want, id) {
				want = 200
			}
			h.must(want, h.ask("GET", "/v1/payouts/"+id, test.token, ""))
		}
	}
}

func TestListPages(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	var want []string
	for i := range 5 {
		var p httpapi.Payout
		h.must(201, h.ask("POST", "/v1/payouts", "game-token", wish(), fmt.Sprint("Idempotency-Key: k", i))).read(t, &p)
		want = append([]string{p.ID}, want...)
	}
	var got []string
	for path, pages := "/v1/payouts?limit=2", 0; path != ""; pages++ {
		var page httpapi.PayoutList
		h.must(200, h.ask("GET", path, "game-token", "")).read(t, &page)
		for _, p := range page.Items {
			got = append(got, p.ID)
		}
		if path = ""; page.NextCursor != nil {
			path = "/v1/payouts?limit=2&cursor=" + *page.NextCursor
		}
		if pages > 5 {
			t.Fatal("the list has no end")
		}
	}
	slices.Sort(got) // five in one millisecond have no order in time
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Errorf("paged through %v; want %v", got, want)
	}
	for query, n := range map[string]int{"idempotency_key=k3": 1, "status=accepted&player_id=p1": 5, "status=executed": 0, "failure_reason=blocked": 0, "player_id=p2": 0} {
		var page httpapi.PayoutList
		h.must(200, h.ask("GET", "/v1/payouts?"+query, "game-token", "")).read(t, &page)
		if len(page.Items) != n {
			t.Errorf("%s lists %d; want %d", query, len(page.Items), n)
		}
	}
}

func TestBooks(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	h.must(201, h.ask("POST", "/v1/payouts", "game-token", wish(), "Idempotency-Key: k"))
	var check httpapi.Check
	h.must(200, h.ask("GET", "/v1/ledger/check", "auditor-token", "")).read(t, &check)
	if !check.OK || len(check.Invariants) == 0 {
		t.Errorf("check says %+v", check)
	}
	if _, err := h.ledger.SealPositions(t.Context(), 100); err != nil {
		t.Fatal(err)
	}
	var list httpapi.TransactionList
	var kinds []string
	h.must(200, h.ask("GET", "/v1/ledger/transactions?limit=3", "operator-token", "")).read(t, &list)
	if list.NextCursor == nil || *list.NextCursor != "3" {
		t.Fatalf("a full page has no next cursor: %+v", list)
	}
	var rest httpapi.TransactionList
	h.must(200, h.ask("GET", "/v1/ledger/transactions?limit=3&cursor="+*list.NextCursor, "operator-token", "")).read(t, &rest)
	for i, tx := range append(list.Items, rest.Items...) {
		kinds = append(kinds, tx.Kind)
		if tx.Position != int64(i+1) || len(tx.Postings) != 2 || tx.Postings[0].Amount != -tx.Postings[1].Amount {
			t.Errorf("transaction %d is %+v", i+1, tx)
		}
	}
	if want := []string{"credit", "credit", "credit", "reserve"}; !slices.Equal(kinds, want) {
		t.Errorf("booked %v; want %v", kinds, want)
	}
}

// 200 callers at once ask for 1,000 of 100,000: exactly 100 are accepted, the
// rest leave no trace.
func TestTwoHundredAtOnce(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	statuses := make([]int, 200)
	var wait sync.WaitGroup
	for i := range statuses {
		wait.Go(func() {
			a := h.ask("POST", "/v1/payouts", "game-token", wish(), fmt.Sprint("Idempotency-Key: many-", i))
			statuses[i] = a.status
		})
	}
	wait.Wait()
	count := map[int]int{}
	for _, status := range statuses {
		count[status]++
	}
	if count[201] != 100 || count[422] != 100 {
		t.Errorf("answered %v; want 100 times 201 and 100 times 422", count)
	}
	h.expectBalance("p1", 0, 100000)
	var page httpapi.PayoutList
	h.must(200, h.ask("GET", "/v1/payouts?limit=200", "game-token", "")).read(t, &page)
	if len(page.Items) != 100 {
		t.Errorf("%d payouts exist; want 100", len(page.Items))
	}
	var check httpapi.Check
	if h.must(200, h.ask("GET", "/v1/ledger/check", "auditor-token", "")).read(t, &check); !check.OK {
		t.Errorf("the books are broken: %+v", check.Invariants)
	}
}

// A fault of ours is a problem document too, tells nothing of its cause, and
// does not take the door down.
func TestOurFault(t *testing.T) {
	for name, fault := range map[string]func(){"error": nil, "panic": func() { panic("secret") }} {
		t.Run(name, func(t *testing.T) {
			registry := prometheus.NewRegistry()
			h := newHouse(t, func(o *httpapi.Options) {
				o.Ledger, o.Metrics = broken{Ledger: o.Ledger, fault: fault}, httpapi.NewMetrics(registry)
			})
			a := h.must(500, h.ask("GET", "/v1/players/p1/balances", "game-token", ""))
			if h.problem(a); strings.Contains(string(a.body), "secret") {
				t.Errorf("the cause leaks: %s", a.body)
			}
			h.must(200, h.ask("GET", "/openapi.json", "", ""))
			counted, err := registry.Gather()
			if err != nil || !strings.Contains(fmt.Sprint(counted), `value:"GET /v1/players/{player_id}/balances"`) || !strings.Contains(fmt.Sprint(counted), `value:"500"`) {
				t.Errorf("not counted: %v %v", counted, err)
			}
		})
	}
}

// One broken law is enough for ok to be false, wherever it stands.
func TestBrokenBooks(t *testing.T) {
	h := newHouse(t, func(o *httpapi.Options) { o.Ledger = broken{Ledger: o.Ledger} })
	var check httpapi.Check
	h.must(200, h.ask("GET", "/v1/ledger/check", "auditor-token", "")).read(t, &check)
	if check.OK || len(check.Invariants) != 3 || check.Invariants[1].Violations != 2 {
		t.Errorf("broken books check as %+v", check)
	}
}

func (broken) Check(context.Context) ([]ledger.Invariant, error) {
	return []ledger.Invariant{{ID: "a"}, {ID: "b", Violations: 2, Examples: []string{"x", "y"}}, {ID: "c"}}, nil
}

type broken struct {
	httpapi.Ledger
	fault func()
}

func (b broken) Balances(context.Context, string, string) ([]ledger.Balance, error) {
	if b.fault != nil {
		b.fault()
	}
	return nil, errors.New("secret")
}

// Whatever the caller accepts, it gets JSON: there is nothing else.
func TestAccept(t *testing.T) {
	h := newHouse(t)
	for _, accept := range []string{"*/*", "text/html", "application/yaml", "application/json;q=0.1, text/plain"} {
		a := h.must(200, h.ask("GET", "/v1/payouts", "game-token", "", "Accept: "+accept))
		if got := a.header.Get("Content-Type"); got != "application/json" || !json.Valid(a.body) {
			t.Errorf("Accept %s: answered %s %s", accept, got, a.body)
		}
	}
	if a := h.ask("DELETE", "/v1/payouts", "game-token", ""); a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != "GET, HEAD, POST" {
		t.Errorf("DELETE answers %d, Allow %q", a.status, a.header.Get("Allow"))
	}
	if a := h.ask("GET", "/v1/payouts", "", ""); a.header.Get("WWW-Authenticate") == "" {
		t.Error("401 without WWW-Authenticate")
	}
}
