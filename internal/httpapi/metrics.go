package httpapi

import (
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Metrics counts what the doors see. Names are wire format: dashboards and
// alerts hold them.
type Metrics struct {
	Now func() time.Time // nil: time.Now

	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	webhooks *prometheus.CounterVec
	verified prometheus.Gauge
	registry prometheus.Registerer
}

// NewMetrics registers the counters of one process.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "payouts_http_requests_total", Help: "Requests by door, route and HTTP status."}, []string{"door", "route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "payouts_http_request_seconds", Help: "How long requests took, by door and route.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}}, []string{"door", "route"}),
		webhooks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "payouts_webhooks_total", Help: "Webhooks by what became of them."}, []string{"outcome"}),
		verified: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "payouts_webhook_verified_timestamp_seconds", Help: "When the last authentic webhook came, Unix time; until then, when this process began."}),
	}
	m.registry = r
	for _, o := range webhookOutcomes { // an alert on what never happened yet needs a zero
		m.webhooks.WithLabelValues(o)
	}
	r.MustRegister(m.requests, m.seconds, m.webhooks)
	return m
}

func (m *Metrics) request(door, route string, status int, took time.Duration) {
	if m == nil {
		return
	}
	m.requests.WithLabelValues(door, route, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(door, route).Observe(took.Seconds())
}

func (m *Metrics) webhook(outcome string) {
	if m != nil {
		m.webhooks.WithLabelValues(outcome).Inc()
	}
}

// awaitWebhooks begins the time without a webhook: only where there is a door
// for them, else a program without one would hide the silence of the others.
func (m *Metrics) awaitWebhooks() {
	if m != nil {
		m.registry.MustRegister(m.verified)
		m.noteVerified()
	}
}

// authentic notes that an event of the provider's came.
func (m *Metrics) authentic() {
	if m != nil {
		m.noteVerified()
	}
}

func (m *Metrics) noteVerified() {
	now := time.Now
	if m.Now != nil {
		now = m.Now
	}
	m.verified.Set(float64(now().UnixMilli()) / 1000)
}

// observe counts requests, and answers a panic like every other fault of ours
// so that one bad request never takes the door down.
func observe(m *Metrics, log *zap.Logger, door string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began, seen := time.Now(), &statusSeen{ResponseWriter: w}
		defer func() {
			if fault := recover(); fault != nil {
				log.Error("request panicked", zap.String("door", door), zap.String("route", r.Pattern), zap.Any("panic", fault), zap.ByteString("stack", debug.Stack()))
				if seen.status == 0 {
					writeProblem(seen, problemOf(nil))
				}
			}
			route := r.Pattern
			if route == "" {
				route = "none" // never the path: strangers would fill our memory with label values
			}
			m.request(door, route, seen.status, time.Since(began))
		}()
		next.ServeHTTP(seen, r)
	})
}

type statusSeen struct {
	http.ResponseWriter
	status int
}

func (s *statusSeen) WriteHeader(status int) {
	if s.status == 0 {
		s.status = status
	}
	s.ResponseWriter.WriteHeader(status)
}

func (s *statusSeen) Write(b []byte) (int, error) {
	if s.status == 0 {
		s.status = http.StatusOK
	}
	return s.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (s *statusSeen) Unwrap() http.ResponseWriter { return s.ResponseWriter }
