package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"payouts/internal/httpapi"
)

func TestPortInUse(t *testing.T) {
	first, err := httpapi.Open(t.Context(), "STARTER_ADDR", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	_, err = httpapi.Open(t.Context(), "STARTER_ADDR", first.Addr())
	want := "STARTER_ADDR: " + first.Addr() + " is in use; stop the other program or choose another address"
	if err == nil || err.Error() != want {
		t.Errorf("says %v; want %s", err, want)
	}
	if _, err := httpapi.Open(t.Context(), "GATEWAY_ADDR", "192.0.2.1:80"); err == nil || !strings.HasPrefix(err.Error(), "GATEWAY_ADDR: 192.0.2.1:80 is not an address of this machine") {
		t.Errorf("says %v of another machine's address", err)
	}
}

// A door that is told to close lets the request under way finish.
func TestDoorClosesCleanly(t *testing.T) {
	door, err := httpapi.Open(t.Context(), "STARTER_ADDR", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, closing := context.WithCancel(t.Context())
	inside, finish, served := make(chan bool), make(chan bool), make(chan error, 1)
	go func() {
		served <- door.Serve(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			inside <- true
			<-finish
			if r.Context().Err() != nil {
				t.Error("the request under way was cut off")
			}
			w.WriteHeader(204)
		}))
	}()
	answered := make(chan int, 1)
	go func() {
		r, err := http.Get("http://" + door.Addr())
		if err != nil {
			t.Error(err)
			answered <- 0
			return
		}
		r.Body.Close()
		answered <- r.StatusCode
	}()
	<-inside
	closing()
	for limit := time.Now().Add(5 * time.Second); ; { // closed for newcomers
		probe, err := httpapi.Open(t.Context(), "PROBE", door.Addr())
		if err == nil {
			probe.Close()
			break
		}
		if time.Now().After(limit) {
			t.Fatal("the door is still open")
		}
	}
	close(finish)
	if status := <-answered; status != 204 {
		t.Errorf("the request under way got %d; want 204", status)
	}
	if err := <-served; err != nil {
		t.Errorf("closing on demand is an error: %v", err)
	}
}

func TestAdmin(t *testing.T) {
	registry := prometheus.NewRegistry()
	httpapi.NewMetrics(registry)
	fault := errors.New("connection refused")
	admin := httpapi.NewAdmin(registry,
		httpapi.ReadyCheck{Name: "database", Ask: func(context.Context) error { return nil }},
		httpapi.ReadyCheck{Name: "temporal", Ask: func(ctx context.Context) error {
			if _, bounded := ctx.Deadline(); !bounded {
				t.Error("a check may take for ever")
			}
			return fault
		}})
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		admin.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w
	}
	if w := get("/healthz"); w.Code != 200 {
		t.Errorf("/healthz answers %d", w.Code)
	}
	var ready struct {
		Ready    bool
		NotReady []struct{ Name, Why string } `json:"not_ready"`
	}
	w := get("/readyz")
	if err := json.Unmarshal(w.Body.Bytes(), &ready); err != nil || w.Code != 503 || ready.Ready || len(ready.NotReady) != 1 || ready.NotReady[0].Name != "temporal" || ready.NotReady[0].Why != "connection refused" {
		t.Errorf("/readyz answers %d %s", w.Code, w.Body)
	}
	fault = nil
	if w := get("/readyz"); w.Code != 200 {
		t.Errorf("/readyz answers %d %s", w.Code, w.Body)
	}
	if w := get("/metrics"); w.Code != 200 || !strings.Contains(w.Body.String(), `payouts_webhooks_total{outcome="not_authentic"} 0`) {
		t.Errorf("/metrics answers %d %s", w.Code, w.Body)
	}
}
