package app

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"payouts/internal/httpapi"
	"payouts/internal/ledger"
	"payouts/internal/payout"
	"payouts/internal/truelayer"
)

// scrape is what Prometheus would read.
func scrape(t *testing.T, from prometheus.Gatherer) string {
	t.Helper()
	w := httptest.NewRecorder()
	httpapi.NewAdmin(from).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("/metrics answers %d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func holds(t *testing.T, metrics string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains("\n"+metrics, "\n"+line+"\n") {
			t.Errorf("not among the metrics: %s", line)
		}
	}
}

// What the provider wrote makes few labels, and short ones.
func TestBooksMetrics(t *testing.T) {
	at := time.Unix(1e9, 0)
	reads, fault := 0, error(nil)
	b := NewBooksMetrics(func(context.Context) (ledger.Stats, error) {
		reads++
		return ledger.Stats{At: at, Window: at.Add(time.Hour), Brake: at, Transactions: 7,
			Open: []ledger.OpenPayouts{
				{Kind: payout.KindPayout, Status: payout.StatusPending, Reason: "new one", Count: 2, Oldest: at.Add(-time.Minute), Within: []int{0, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2}},
				{Kind: payout.KindPayout, Status: payout.StatusPending, Reason: "new two", Count: 1, Oldest: at.Add(-time.Hour), Within: []int{0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1}},
				{Kind: payout.KindRefund, Status: payout.StatusParked, Count: 1, Oldest: at.Add(time.Second)}, // another program's clock
			},
			Cases:   map[payout.CaseKind]ledger.Waiting{payout.CaseBlocked: {Count: 3, Oldest: at.Add(-time.Minute)}},
			Drifted: map[string]int{"status": 5},
			Drift:   []ledger.Drift{{Field: "status", Value: "a b\n" + strings.Repeat("x", 99), Times: 3}, {Field: "status", Value: "a\"b\xff" + strings.Repeat("x", 99), Times: 2}},
		}, fault
	}, time.Hour, zap.NewNop())
	r := prometheus.NewRegistry()
	r.MustRegister(b)
	holds(t, scrape(t, r),
		`payouts_books_up 1`, `payouts_brake_shut 1`, `payouts_key_window_remaining_seconds 3600`, `payouts_ledger_transactions_total 7`,
		`payouts_open{kind="payout",reason="other",status="pending"} 3`, `payouts_open_oldest_seconds{kind="payout",reason="other",status="pending"} 3600`,
		`payouts_open{kind="refund",reason="none",status="parked"} 1`, `payouts_open_oldest_seconds{kind="refund",reason="none",status="parked"} 0`,
		`payouts_open{kind="payout",reason="none",status="accepted"} 0`,
		`payouts_open_within{kind="payout",le="1",reason="other",status="pending"} 0`, `payouts_open_within{kind="payout",le="5",reason="other",status="pending"} 1`,
		`payouts_open_within{kind="payout",le="300",reason="other",status="pending"} 2`, `payouts_open_within{kind="payout",le="604800",reason="other",status="pending"} 3`,
		`payouts_open_within{kind="payout",le="+Inf",reason="other",status="pending"} 3`, `payouts_open_within{kind="refund",le="+Inf",reason="none",status="accepted"} 0`,
		`payouts_cases_open{kind="blocked"} 3`, `payouts_case_oldest_seconds{kind="blocked"} 60`, `payouts_cases_open{kind="exposure"} 0`,
		`payouts_drift_total{field="status"} 5`, `payouts_drift_total{field="failure_reason"} 0`,
		`payouts_drift_values_total{field="status",value="a?b?`+strings.Repeat("x", 36)+`"} 5`)
	if scrape(t, r); reads != 1 {
		t.Errorf("the books were read %d times for two scrapes, want once", reads)
	}
	b.fresh, fault = 0, errors.New("no database")
	if got := scrape(t, r); strings.Contains(got, "payouts_open{") || !strings.Contains(got, "payouts_books_up 0") {
		t.Errorf("books that cannot be read tell %s", got)
	}
}

func TestCallMetrics(t *testing.T) {
	m := NewMetrics(time.Now)
	m.Work(NewBooksMetrics(func(context.Context) (ledger.Stats, error) { return ledger.Stats{}, nil }, 0, zap.NewNop()))
	for _, status := range []int{0, 200, 201, 404, 429, 503, 999} {
		m.Call(truelayer.Call{Op: "get payout", Answer: "ok", Status: status})
	}
	m.Transaction(ledger.Attempted{Op: "judge", Tries: 3})
	m.Transaction(ledger.Attempted{Op: "judge", Tries: 1, Err: errors.New("refused")})
	m.Transaction(ledger.Attempted{Op: "judge", Tries: 1, Moved: []ledger.Moved{
		{Kind: payout.KindPayout, Status: payout.StatusAccepted},
		{Kind: payout.KindPayout, Status: payout.StatusExecuted, Age: 2 * time.Hour, Left: payout.StatusPending, Stayed: time.Minute},
		{Kind: payout.KindPayout, Status: payout.StatusParked, Left: payout.StatusPending, Stayed: -time.Second}, // another program's clock
	}})
	holds(t, scrape(t, m), `payouts_provider_calls_total{answer="ok",class="none",op="get payout"} 1`, `payouts_provider_calls_total{answer="ok",class="2xx",op="get payout"} 2`,
		`payouts_provider_calls_total{answer="ok",class="4xx",op="get payout"} 1`, `payouts_provider_calls_total{answer="ok",class="429",op="get payout"} 1`,
		`payouts_provider_calls_total{answer="ok",class="5xx",op="get payout"} 1`, `payouts_provider_calls_total{answer="ok",class="other",op="get payout"} 1`,
		`payouts_ledger_commits_total{op="judge"} 2`, `payouts_ledger_rollbacks_total{op="judge"} 1`, `payouts_ledger_retries_total{op="judge"} 2`,
		`payouts_status_seconds_bucket{kind="payout",status="pending",le="15"} 1`, `payouts_status_seconds_bucket{kind="payout",status="pending",le="60"} 2`,
		`payouts_status_seconds_sum{kind="payout",status="pending"} 60`, `payouts_end_seconds_sum{kind="payout",status="executed"} 7200`)
	if strings.Contains(scrape(t, m), `payouts_status_seconds_count{kind="payout",status=""}`) {
		t.Error("what is new left a status")
	}
}

// The SDK uses one name with different labels, and asks for the same again
// and again.
func TestSDKMetrics(t *testing.T) {
	sdk := newSDKMetrics()
	r := prometheus.NewRegistry()
	r.MustRegister(sdk)
	base := sdk.handler().WithTags(map[string]string{"namespace": "n", "operation": "none"})
	base.Counter("temporal_request").Inc(2)
	called := base.WithTags(map[string]string{"operation": "Start", "more": "m"})
	called.Counter("temporal_request").Inc(1)
	called.Counter("temporal_request").Inc(1)
	base.Gauge("temporal_slots").Update(3.5)
	base.Timer("temporal_request_latency").Record(1500 * time.Millisecond)
	holds(t, scrape(t, r), `temporal_request_total{namespace="n",operation="none"} 2`, `temporal_request_total{more="m",namespace="n",operation="Start"} 2`,
		`temporal_slots{namespace="n",operation="none"} 3.5`, `temporal_request_latency_seconds_sum{namespace="n",operation="none"} 1.5`)
}
