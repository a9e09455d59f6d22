package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// ReadyCheck is one thing a process needs to be safe to use.
type ReadyCheck struct {
	Name string // what it is, such as "database"
	Ask  func(ctx context.Context) error
}

// readyWithin bounds all checks of one /readyz together.
const readyWithin = 3 * time.Second

// notReady is one line of /readyz.
type notReady struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// IsReady asks the door for machines at addr whether its process is safe to use.
func IsReady(ctx context.Context, addr string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// NewAdmin is the door for machines that watch: /healthz says that the
// process lives, /readyz that it is safe to use, or what is missing, and
// /metrics counts. It knows no tokens: keep it off the internet.
func NewAdmin(metrics prometheus.Gatherer, checks ...ReadyCheck) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("alive\n")) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyWithin)
		defer cancel()
		missing := []notReady{}
		for _, c := range checks {
			if err := c.Ask(ctx); err != nil {
				missing = append(missing, notReady{c.Name, err.Error()})
			}
		}
		w.Header().Set("Content-Type", "application/json")
		if len(missing) > 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"ready": len(missing) == 0, "not_ready": missing})
	})
	// One metric that cannot be told must not take all others with it.
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	return mux
}
