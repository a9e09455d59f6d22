package app

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.temporal.io/sdk/client"
)

// sdkMetrics gives the Temporal SDK's own metrics to Prometheus, under the
// names its documentation lists: counters end in _total, timers in _seconds.
// The SDK uses one name with different labels, which the vectors of the
// Prometheus client refuse, so each set of labels is a metric of its own here.
type sdkMetrics struct {
	mu    sync.RWMutex
	known map[sdkName]prometheus.Metric
}

// sdkName is a metric's name and, in one text, its labels and their values.
type sdkName struct{ name, labels string }

func newSDKMetrics() *sdkMetrics { return &sdkMetrics{known: map[sdkName]prometheus.Metric{}} }

// Describe says nothing: what there will be is the SDK's to know.
func (s *sdkMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (s *sdkMetrics) Collect(ch chan<- prometheus.Metric) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, m := range s.known {
		ch <- m
	}
}

// handler is what the SDK is given.
func (s *sdkMetrics) handler() client.MetricsHandler { return sdkTags{all: s} }

// sdkTags is the SDK's metrics with these labels.
type sdkTags struct {
	all    *sdkMetrics
	tags   prometheus.Labels
	labels string // the same in one text: it is made once, and looked up with each count
}

func (t sdkTags) WithTags(tags map[string]string) client.MetricsHandler {
	merged := maps.Clone(t.tags)
	if merged == nil {
		merged = prometheus.Labels{}
	}
	maps.Copy(merged, tags)
	var labels strings.Builder
	for _, label := range slices.Sorted(maps.Keys(merged)) {
		labels.WriteString(label + "\x00" + merged[label] + "\x00")
	}
	return sdkTags{t.all, merged, labels.String()}
}

// sdkMetric finds the metric, or makes it.
func sdkMetric[M prometheus.Metric](t sdkTags, name string, make func(prometheus.Opts) M) M {
	key := sdkName{name, t.labels}
	t.all.mu.RLock()
	m, known := t.all.known[key].(M)
	t.all.mu.RUnlock()
	if known {
		return m
	}
	t.all.mu.Lock()
	defer t.all.mu.Unlock()
	if m, known := t.all.known[key].(M); known {
		return m
	}
	m = make(prometheus.Opts{Name: name, Help: "Temporal SDK.", ConstLabels: t.tags})
	t.all.known[key] = m
	return m
}

func (t sdkTags) Counter(name string) client.MetricsCounter {
	c := sdkMetric(t, name+"_total", func(o prometheus.Opts) prometheus.Counter { return prometheus.NewCounter(prometheus.CounterOpts(o)) })
	return counted{c}
}

func (t sdkTags) Gauge(name string) client.MetricsGauge {
	return gauged{sdkMetric(t, name, func(o prometheus.Opts) prometheus.Gauge { return prometheus.NewGauge(prometheus.GaugeOpts(o)) })}
}

func (t sdkTags) Timer(name string) client.MetricsTimer {
	return timed{sdkMetric(t, name+"_seconds", func(o prometheus.Opts) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: o.Name, Help: o.Help, ConstLabels: o.ConstLabels,
			Buckets: []float64{.005, .025, .1, .5, 1, 5, 30, 60, 600, 3600, 86400}})
	})}
}

type counted struct{ prometheus.Counter }

func (c counted) Inc(n int64) { c.Add(float64(n)) }

type gauged struct{ prometheus.Gauge }

func (g gauged) Update(v float64) { g.Set(v) }

type timed struct{ prometheus.Histogram }

func (t timed) Record(d time.Duration) { t.Observe(d.Seconds()) }
