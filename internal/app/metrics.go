package app

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"

	"payouts/activities"
	"payouts/internal/ledger"
	"payouts/internal/notify"
	"payouts/internal/payout"
	"payouts/internal/truelayer"
	"payouts/workflows"
)

// The names of metrics are wire format: ops/alerts.yml, ops/dashboard.json and
// what others built hold them. Add, never rename.

const (
	// statsFresh is how long one reading of the books serves; Prometheus comes
	// every 15 s or so, and more than one of it may.
	statsFresh = 10 * time.Second
	// statsWithin is how long a scrape waits for the books.
	statsWithin = 5 * time.Second
)

// Metrics are those of one program. Nil fields of others' options stay nil:
// each program has the parts that it uses.
type Metrics struct {
	*prometheus.Registry
	now        func() time.Time
	calls      *prometheus.CounterVec
	callTook   *prometheus.HistogramVec
	commits    *prometheus.CounterVec
	rollbacks  *prometheus.CounterVec
	retries    *prometheus.CounterVec
	commitTook *prometheus.HistogramVec
	sweeps     prometheus.Counter
	swept      *prometheus.CounterVec
	lastSweep  prometheus.Gauge
	events     *prometheus.CounterVec
	temporal   prometheus.Gauge
	stuck      prometheus.Gauge
	moves      *prometheus.CounterVec
	ended      *prometheus.HistogramVec
	stayed     *prometheus.HistogramVec
	runs       *prometheus.CounterVec
	asked      string // on whose behalf this program starts runs
}

// Who asks for runs, as payouts_runs_total counts them.
const (
	askedByRequest = "request"
	askedBySweep   = "sweep" // the sweeper, and the watch for late word
)

// NewMetrics begins the metrics of one program with those of its process and
// of the books' transactions, which every program has. now is what timestamps
// are by: Prometheus compares them with its own, so the real time.
func NewMetrics(now func() time.Time) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	took := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	}
	lives := make([]float64, 0, len(ledger.Bounds()))
	for _, b := range ledger.Bounds() {
		lives = append(lives, b.Seconds())
	}
	m := &Metrics{
		Registry:   prometheus.NewRegistry(),
		now:        now,
		calls:      counter("payouts_provider_calls_total", "Calls to the provider by operation, what they came to, and the HTTP class of the answer (none: no answer).", "op", "answer", "class"),
		callTook:   took("payouts_provider_call_seconds", "How long calls to the provider took, by operation.", []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 20, 30, 40}, "op"),
		commits:    counter("payouts_ledger_commits_total", "Transactions of the books that committed, by what they were for.", "op"),
		rollbacks:  counter("payouts_ledger_rollbacks_total", "Transactions of the books that were given up by an error, by what they were for. Requests that are refused are among them.", "op"),
		retries:    counter("payouts_ledger_retries_total", "Transactions of the books begun once more, since others were at the same rows.", "op"),
		commitTook: took("payouts_ledger_commit_seconds", "How long committed transactions of the books took, with their retries.", []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 30}, "op"),
		sweeps:     prometheus.NewCounter(prometheus.CounterOpts{Name: "payouts_sweeps_total", Help: "Sweeps that came to their end."}),
		swept:      counter("payouts_swept_total", "What sweeps found: started (payouts due, their runs asserted), woken (news unread), late (runs for late word), slow and unmatched (cases opened).", "what"),
		lastSweep:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "payouts_last_sweep_timestamp_seconds", Help: "When this worker last swept, Unix time; until then, when it began. One worker of several sweeps at a time."}),
		events:     counter("payouts_events_total", "Deliveries of events to backends by what became of them.", "outcome"),
		temporal:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "payouts_temporal_ready", Help: "1 while this worker could make the Temporal namespace ready, as it tries each minute."}),
		stuck:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "payouts_runs_stuck", Help: "Open runs whose tasks fail again and again, as this worker counted them within the last minute: mostly, a build cannot go on with what another one began."}),
		moves:      counter("payouts_moves_total", "Payouts and refunds that came into a status, by failure reason (none: none; other: one this build does not list).", "kind", "status", "reason"),
		ended:      took("payouts_end_seconds", "Time from being accepted to a final status; a return counts as a further end.", lives, "kind", "status"),
		stayed:     took("payouts_status_seconds", "Time in a status, from coming into it to leaving it for another. What is still in one: payouts_open_within.", lives, "kind", "status"),
		runs:       counter("payouts_runs_total", "Runs that were asked for on behalf of a request or of the sweeper, by workflow and outcome: started, or found open. Those that the sweeper started are adoptions.", "asked", "workflow", "outcome"),
		asked:      askedByRequest,
	}
	for _, kind := range []payout.Kind{payout.KindPayout, payout.KindRefund} {
		for _, status := range payout.Statuses() {
			m.moves.WithLabelValues(string(kind), string(status), reasonLabel(""))
			if !status.Final() {
				m.stayed.WithLabelValues(string(kind), string(status))
			}
		}
		for _, reason := range payout.Reasons() {
			m.moves.WithLabelValues(string(kind), string(payout.StatusFailed), reasonLabel(reason))
		}
	}
	m.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.commits, m.rollbacks, m.retries, m.commitTook, m.moves, m.ended, m.stayed, m.runs)
	return m
}

// Work adds what only a worker has: its calls, sweeps and deliveries, and what
// the books hold. An alert on what never happened yet needs a zero.
func (m *Metrics) Work(books prometheus.Collector) {
	for _, what := range []string{sweptStarted, sweptWoken, sweptLate, sweptSlow, sweptUnmatched} {
		m.swept.WithLabelValues(what)
	}
	for _, o := range notify.Outcomes() {
		m.events.WithLabelValues(string(o))
	}
	m.asked = askedBySweep
	for _, workflow := range []string{workflows.PayoutWorkflow, workflows.RefundWorkflow, workflows.LateWordWorkflow} {
		m.runs.WithLabelValues(m.asked, workflow, runStarted)
	}
	m.lastSweep.Set(unix(m.now()))
	m.MustRegister(m.calls, m.callTook, m.sweeps, m.swept, m.lastSweep, m.events, m.temporal, m.stuck, books)
}

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// Call counts a call to the provider.
func (m *Metrics) Call(c truelayer.Call) {
	class := "none"
	switch {
	case c.Status == 429: // slow down: of interest by itself
		class = "429"
	case c.Status > 0 && c.Status < 600:
		class = string('0'+rune(c.Status/100)) + "xx"
	case c.Status > 0:
		class = "other"
	}
	m.calls.WithLabelValues(c.Op, string(c.Answer), class).Inc()
	m.callTook.WithLabelValues(c.Op).Observe(c.Took.Seconds())
}

// Transaction counts a transaction of the books.
func (m *Metrics) Transaction(a ledger.Attempted) {
	if a.Tries > 1 {
		m.retries.WithLabelValues(a.Op).Add(float64(a.Tries - 1))
	}
	if a.Err != nil {
		m.rollbacks.WithLabelValues(a.Op).Inc()
		return
	}
	m.commits.WithLabelValues(a.Op).Inc()
	m.commitTook.WithLabelValues(a.Op).Observe(a.Took.Seconds())
	for _, to := range a.Moved {
		m.moves.WithLabelValues(string(to.Kind), string(to.Status), reasonLabel(to.Reason)).Inc()
		if to.Status.Final() {
			m.ended.WithLabelValues(string(to.Kind), string(to.Status)).Observe(to.Age.Seconds())
		}
		if to.Left != "" {
			m.stayed.WithLabelValues(string(to.Kind), string(to.Left)).Observe(max(to.Stayed.Seconds(), 0)) // programs' clocks differ
		}
	}
}

// reasonLabel is a failure reason as a label, of which there are few.
func reasonLabel(r payout.Reason) string {
	switch {
	case r == "":
		return "none"
	case !r.Listed():
		return "other"
	}
	return string(r)
}

// What may become of a run that is asked for.
const (
	runStarted = "started"
	runFound   = "found" // there was one
)

// Run counts a run that was asked for.
func (m *Metrics) Run(workflow string, started bool) {
	outcome := runFound
	if started {
		outcome = runStarted
	}
	m.runs.WithLabelValues(m.asked, workflow, outcome).Inc()
}

// What a sweep may find, as payouts_swept_total counts it.
const (
	sweptStarted   = "started"
	sweptWoken     = "woken"
	sweptLate      = "late"
	sweptSlow      = "slow"
	sweptUnmatched = "unmatched"
)

// Swept counts a sweep.
func (m *Metrics) Swept(s activities.Swept) {
	m.sweeps.Inc()
	m.lastSweep.Set(unix(m.now()))
	for what, n := range map[string]int{sweptStarted: s.Started, sweptWoken: s.Woken, sweptSlow: s.Slow, sweptUnmatched: s.Unmatched} {
		m.swept.WithLabelValues(what).Add(float64(n))
	}
	m.Late(s.Late)
}

// Late counts runs that were started for late word, by a sweep or between two.
func (m *Metrics) Late(n int) { m.swept.WithLabelValues(sweptLate).Add(float64(n)) }

// TemporalReady notes whether the namespace could be made ready.
func (m *Metrics) TemporalReady(ready bool) {
	m.temporal.Set(0)
	if ready {
		m.temporal.Set(1)
	}
}

// Stuck notes how many runs no build goes on with.
func (m *Metrics) Stuck(runs int) { m.stuck.Set(float64(runs)) }

// Delivery counts what became of an event.
func (m *Metrics) Delivery(o notify.Outcome) { m.events.WithLabelValues(string(o)).Inc() }

// BooksMetrics is what the books hold open, read when Prometheus asks. Every
// worker tells the same, so queries take max over them, never sum.
type BooksMetrics struct {
	stats func(context.Context) (ledger.Stats, error)
	fresh time.Duration
	log   *zap.Logger

	mu   sync.Mutex
	last ledger.Stats
	err  error
	read time.Time // of last; zero: never
}

// NewBooksMetrics reads stats at most once in fresh.
func NewBooksMetrics(stats func(context.Context) (ledger.Stats, error), fresh time.Duration, log *zap.Logger) *BooksMetrics {
	return &BooksMetrics{stats: stats, fresh: fresh, log: log}
}

func books(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("payouts_"+name, help, labels, nil)
}

var (
	booksUp            = books("books_up", "1 while the books could be read for these metrics. While it is 0, those about the books are missing.")
	booksOpen          = books("open", "Payouts and refunds that are not final, by status and failure reason (none: none; other: one this build does not list).", "kind", "status", "reason")
	booksOpenAge       = books("open_oldest_seconds", "How long the one that is longest in this status is in it.", "kind", "status", "reason")
	booksOpenWithin    = books("open_within", "Those of payouts_open that are in this status for at most le seconds; +Inf: all of them. They come and go: never rate.", "kind", "status", "reason", "le")
	booksUnknown       = books("unknown_outcomes", "Payouts sent to the provider that may have arrived and were never answered.")
	booksUnknownAge    = books("unknown_outcome_oldest_seconds", "Time since the first send of the oldest of them; 0: none.")
	booksWindow        = books("key_window_remaining_seconds", "Time until the first key window ends among the unanswered that are still sent again; without any, no value.")
	booksCases         = books("cases_open", "Open cases by kind.", "kind")
	booksCasesAge      = books("case_oldest_seconds", "Age of the oldest open case of a kind; 0: none.", "kind")
	booksUnmatched     = books("unmatched_events", "Events of the provider that nobody here owns.")
	booksUnmatchedAge  = books("unmatched_event_oldest_seconds", "Age of the oldest of them; 0: none.")
	booksWebhook       = books("webhook_stored_timestamp_seconds", "When the last webhook was stored, Unix time; without any, no value.")
	booksUnread        = books("unread_news", "Events about payouts of ours that no step has read.")
	booksUnreadAge     = books("unread_news_oldest_seconds", "Age of the oldest of them; 0: none.")
	booksBrake         = books("brake_shut", "1 while the provider does not let us in and nobody asks it.")
	booksDrift         = books("drift_total", "Times the provider said a value that this build does not list, by field.", "field")
	booksDriftValues   = books("drift_values_total", "The same by value, for the most frequent 20.", "field", "value")
	booksUnsent        = books("outbox_unsent", "Events to backends that are neither delivered nor given up, counted up to 100000 of each caller.")
	booksUnsentAge     = books("outbox_oldest_seconds", "Age of the oldest of them; 0: none.")
	booksTransactions  = books("ledger_transactions_total", "Transactions of the ledger that have their position.")
	booksUnsealed      = books("ledger_unsealed", "Transactions of the ledger that wait for their position.")
	booksUnsealedAge   = books("ledger_unsealed_oldest_seconds", "Age of the oldest of them; 0: none.")
	booksExposure      = books("exposure_in_minor", "What was paid although it had been given back, and is not made good yet, in minor units.", "currency")
	booksDescriptions  = []*prometheus.Desc{booksUp, booksOpen, booksOpenAge, booksOpenWithin, booksUnknown, booksUnknownAge, booksWindow, booksCases, booksCasesAge, booksUnmatched, booksUnmatchedAge, booksWebhook, booksUnread, booksUnreadAge, booksBrake, booksDrift, booksDriftValues, booksUnsent, booksUnsentAge, booksTransactions, booksUnsealed, booksUnsealedAge, booksExposure}
	driftFields        = []string{"failure_reason", "status"}
	longestDriftLetter = 40 // bytes of a value that is shown
)

// Describe implements prometheus.Collector.
func (b *BooksMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range booksDescriptions {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (b *BooksMetrics) Collect(ch chan<- prometheus.Metric) {
	s, err := b.now()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	if err != nil {
		gauge(booksUp, 0)
		return
	}
	gauge(booksUp, 1)
	since := func(t time.Time) float64 {
		if t.IsZero() {
			return 0
		}
		return max(s.At.Sub(t).Seconds(), 0)
	}
	waiting := func(howMany, age *prometheus.Desc, w ledger.Waiting, labels ...string) {
		gauge(howMany, float64(w.Count), labels...)
		gauge(age, since(w.Oldest), labels...)
	}
	for at, o := range openPayouts(s.Open) {
		labels := []string{string(at.kind), string(at.status), at.reason}
		waiting(booksOpen, booksOpenAge, ledger.Waiting{Count: o.Count, Oldest: o.Oldest}, labels...)
		for i, b := range ledger.Bounds() {
			gauge(booksOpenWithin, float64(o.Within[i]), append(labels, strconv.FormatFloat(b.Seconds(), 'f', -1, 64))...)
		}
		gauge(booksOpenWithin, float64(o.Count), append(labels, "+Inf")...)
	}
	waiting(booksUnknown, booksUnknownAge, s.Unknown)
	if !s.Window.IsZero() {
		gauge(booksWindow, s.Window.Sub(s.At).Seconds())
	}
	for _, kind := range payout.CaseKinds() {
		waiting(booksCases, booksCasesAge, s.Cases[kind], string(kind))
	}
	waiting(booksUnmatched, booksUnmatchedAge, s.Unmatched)
	if !s.LastNews.IsZero() {
		gauge(booksWebhook, unix(s.LastNews))
	}
	waiting(booksUnread, booksUnreadAge, s.Unread)
	waiting(booksUnsent, booksUnsentAge, s.Unsent)
	waiting(booksUnsealed, booksUnsealedAge, s.Unsealed)
	count(booksTransactions, float64(s.Transactions))
	shut := 0.0
	if !s.Brake.IsZero() {
		shut = 1
	}
	gauge(booksBrake, shut)
	for _, field := range driftFields {
		count(booksDrift, float64(s.Drifted[field]), field)
	}
	for at, times := range driftValues(s.Drift) {
		count(booksDriftValues, times, at.field, at.value)
	}
	for _, m := range s.Exposure {
		gauge(booksExposure, float64(m.Minor), string(m.Currency))
	}
}

// now is the latest reading, or a new one where that is too old. Those who
// come while one reads wait for it. A fault is kept as long as a reading is:
// ill books are not asked more often than well ones.
func (b *BooksMetrics) now() (ledger.Stats, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.read.IsZero() && time.Since(b.read) < b.fresh {
		return b.last, b.err
	}
	ctx, cancel := context.WithTimeout(context.Background(), statsWithin)
	defer cancel()
	b.last, b.err = b.stats(ctx)
	b.read = time.Now()
	if b.err != nil && !errors.Is(b.err, context.Canceled) {
		b.log.Error("books not read for metrics", zap.Error(b.err))
	}
	return b.last, b.err
}

// place is where payouts stand, by labels of which there are few.
type place struct {
	kind   payout.Kind
	status payout.Status
	reason string
}

// openPayouts puts reasons that this build does not list together, and has a
// zero for each status that is not final.
func openPayouts(list []ledger.OpenPayouts) map[place]*ledger.OpenPayouts {
	places := map[place]*ledger.OpenPayouts{}
	at := func(p place) *ledger.OpenPayouts {
		if places[p] == nil {
			places[p] = &ledger.OpenPayouts{Within: make([]int, len(ledger.Bounds()))}
		}
		return places[p]
	}
	for _, kind := range []payout.Kind{payout.KindPayout, payout.KindRefund} {
		for _, status := range payout.Statuses() {
			if !status.Final() {
				at(place{kind, status, reasonLabel("")})
			}
		}
	}
	for _, o := range list {
		all := at(place{o.Kind, o.Status, reasonLabel(o.Reason)})
		if all.Count += o.Count; all.Oldest.IsZero() || o.Oldest.Before(all.Oldest) {
			all.Oldest = o.Oldest
		}
		for i, n := range o.Within {
			all.Within[i] += n
		}
	}
	return places
}

type drifted struct{ field, value string }

// driftValues makes labels of what the provider wrote: short, and of harmless
// characters. Values that look alike then are counted together.
func driftValues(list []ledger.Drift) map[drifted]float64 {
	values := map[drifted]float64{}
	for _, d := range list {
		value := strings.Map(func(r rune) rune {
			if r == '_' || r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
				return r
			}
			return '?'
		}, d.Value)
		values[drifted{d.Field, value[:min(len(value), longestDriftLetter)]}] += float64(d.Times)
	}
	return values
}
