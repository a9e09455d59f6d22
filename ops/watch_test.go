package ops

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

var promQL = parser.NewParser(parser.Options{})

// rules are those of alerts.yml, as Prometheus reads them.
func rules(t *testing.T) []rulefmt.Rule {
	t.Helper()
	text, err := os.ReadFile("alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	groups, errs := rulefmt.Parse(text, false, model.UTF8Validation, promQL, slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Error(err)
	}
	if t.Failed() {
		t.FailNow()
	}
	var list []rulefmt.Rule
	for _, g := range groups.Groups {
		list = append(list, g.Rules...)
	}
	return list
}

// watch is a Prometheus: it scrapes, remembers, and evaluates the rules, on a
// clock of the test's.
type watch struct {
	targets map[string]prometheus.Gatherer // by instance
	rules   []rulefmt.Rule
	series  map[string]*series
	since   map[string]time.Time // alert and labels → since when its expression holds
	firing  map[string]bool      // alert, and alert{labels}
	engine  *promql.Engine
}

func newWatch(t *testing.T) *watch {
	return &watch{targets: map[string]prometheus.Gatherer{}, rules: rules(t), series: map[string]*series{}, since: map[string]time.Time{},
		engine: promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute, Parser: promQL})}
}

// look is one scrape and one evaluation.
func (w *watch) look(t *testing.T, now time.Time) {
	t.Helper()
	w.scrape(t, now)
	w.firing = map[string]bool{}
	holds := map[string]bool{}
	for _, r := range w.rules {
		for _, sample := range w.ask(t, r.Expr, now) {
			key := r.Alert + sample.Metric.String()
			if holds[key] = true; w.since[key].IsZero() {
				w.since[key] = now
			}
			if now.Sub(w.since[key]) >= time.Duration(r.For) {
				w.firing[r.Alert], w.firing[key] = true, true
			}
		}
	}
	for key := range w.since {
		if !holds[key] {
			delete(w.since, key)
		}
	}
}

// ask evaluates an expression.
func (w *watch) ask(t *testing.T, expr string, now time.Time) promql.Vector {
	t.Helper()
	query, err := w.engine.NewInstantQuery(t.Context(), w, nil, expr, now)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	defer query.Close()
	result := query.Exec(t.Context())
	if result.Err != nil || len(result.Warnings) > 0 {
		t.Fatalf("%s: %v %v", expr, result.Err, result.Warnings)
	}
	vector, err := result.Vector()
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	return slices.Clone(vector)
}

func (w *watch) scrape(t *testing.T, now time.Time) {
	t.Helper()
	for instance, target := range w.targets {
		families, err := target.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				base := map[string]string{"instance": instance}
				for _, l := range m.GetLabel() {
					base[l.GetName()] = l.GetValue()
				}
				w.keep(f.GetName(), base, m, now)
			}
		}
	}
}

func (w *watch) keep(name string, base map[string]string, m *dto.Metric, now time.Time) {
	add := func(suffix, le string, v float64) {
		b := labels.NewBuilder(labels.FromMap(base)).Set(model.MetricNameLabel, name+suffix)
		if le != "" {
			b.Set("le", le)
		}
		lset := b.Labels()
		s := w.series[lset.String()]
		if s == nil {
			s = &series{lset: lset}
			w.series[lset.String()] = s
		}
		s.samples = append(s.samples, point{now.UnixMilli(), v})
	}
	switch {
	case m.Counter != nil:
		add("", "", m.Counter.GetValue())
	case m.Gauge != nil:
		add("", "", m.Gauge.GetValue())
	case m.Histogram != nil:
		for _, bucket := range m.Histogram.GetBucket() {
			add("_bucket", fmt.Sprint(bucket.GetUpperBound()), float64(bucket.GetCumulativeCount()))
		}
		add("_bucket", "+Inf", float64(m.Histogram.GetSampleCount()))
		add("_sum", "", m.Histogram.GetSampleSum())
		add("_count", "", float64(m.Histogram.GetSampleCount()))
	}
}

// names lists what was ever scraped: name → its labels.
func (w *watch) names() map[string]map[string]bool {
	names := map[string]map[string]bool{}
	for _, s := range w.series {
		name := s.lset.Get(model.MetricNameLabel)
		if names[name] == nil {
			names[name] = map[string]bool{}
		}
		s.lset.Range(func(l labels.Label) { names[name][l.Name] = true })
	}
	return names
}

// Querier implements storage.Queryable.
func (w *watch) Querier(from, to int64) (storage.Querier, error) { return querier{w, from, to}, nil }

type querier struct {
	*watch
	from, to int64
}

func (q querier) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	set := &seriesSet{at: -1}
	for _, s := range q.series {
		if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(s.lset.Get(m.Name)) }) {
			var within []chunks.Sample
			for _, p := range s.samples {
				if q.from <= p.t && p.t <= q.to {
					within = append(within, p)
				}
			}
			set.list = append(set.list, storage.NewListSeries(s.lset, within))
		}
	}
	slices.SortFunc(set.list, func(a, b storage.Series) int { return labels.Compare(a.Labels(), b.Labels()) })
	return set
}

func (querier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

func (querier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

func (querier) Close() error { return nil }

type series struct {
	lset    labels.Labels
	samples []point
}

type seriesSet struct {
	list []storage.Series
	at   int
}

func (s *seriesSet) Next() bool                        { s.at++; return s.at < len(s.list) }
func (s *seriesSet) At() storage.Series                { return s.list[s.at] }
func (s *seriesSet) Err() error                        { return nil }
func (s *seriesSet) Warnings() annotations.Annotations { return nil }

// point is one sample.
type point struct {
	t int64
	v float64
}

func (p point) T() int64                      { return p.t }
func (p point) ST() int64                     { return 0 }
func (p point) F() float64                    { return p.v }
func (p point) H() *histogram.Histogram       { return nil }
func (p point) FH() *histogram.FloatHistogram { return nil }
func (p point) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (p point) Copy() chunks.Sample           { return p }

// The watch itself: a rule holds for its time before it fires, and one that
// ends begins anew.
func TestWatch(t *testing.T) {
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "level"})
	registry := prometheus.NewRegistry()
	registry.MustRegister(gauge)
	w := newWatch(t)
	w.targets["a"] = registry
	w.rules = []rulefmt.Rule{{Alert: "High", Expr: "level > 1", For: model.Duration(2 * time.Minute)}}
	now, story := time.Unix(1e9, 0), ""
	for _, level := range []float64{1, 2, 2, 2, 1, 2, 2, math.NaN()} {
		gauge.Set(level)
		w.look(t, now)
		now = now.Add(time.Minute)
		story += map[bool]string{true: "!", false: "."}[w.firing["High"]]
	}
	if story != "...!...." {
		t.Errorf("it fires %q", story)
	}
}

func firing(w *watch) string {
	var list []string
	for name := range w.firing {
		list = append(list, name)
	}
	slices.SortFunc(list, func(a, b string) int { return cmp.Compare(a, b) })
	return strings.Join(list, " ")
}
