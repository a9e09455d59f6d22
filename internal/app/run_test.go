package app

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"payouts/internal/httpapi"
)

// running runs a program on free ports until the test ends, when it must stop
// cleanly.
func running(t *testing.T, c Config, program func(context.Context, Config, *zap.Logger) error) Config {
	t.Helper()
	for _, addr := range []*string{&c.StarterAddr, &c.GatewayAddr, &c.AdminAddr} {
		door, err := httpapi.Open(t.Context(), "TEST", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		*addr = door.Addr()
		door.Close()
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- program(ctx, c, zap.NewNop()) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("it did not stop cleanly: %v", err)
		}
	})
	for limit := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		select {
		case err := <-ended:
			ended <- nil
			t.Fatalf("it ended: %v", err)
		default:
		}
		if status, _ := ask(t, "GET", "http://"+c.AdminAddr+"/readyz", "", nil); status == http.StatusOK {
			return c
		}
		if time.Now().After(limit) {
			t.Fatal("it does not get ready")
		}
	}
}

func ask(t *testing.T, method, url, body string, header http.Header) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		r.Header = header
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(read)
}

// nowhere is a configuration whose Temporal and provider are down.
func nowhere(t *testing.T, jwks string, p Program) Config {
	t.Helper()
	environment := rightly(t)
	environment["TEMPORAL_ADDRESS"], environment["TRUELAYER_JWKS_URL"] = "127.0.0.1:1", jwks
	c, err := load(environment, p)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The starter takes payouts while Temporal is down.
func TestRunStarter(t *testing.T) {
	c := running(t, nowhere(t, "http://127.0.0.1:1/jwks", Starter), RunStarter)
	write := func(method, path, body string) {
		t.Helper()
		status, answer := ask(t, method, "http://"+c.StarterAddr+path, body,
			http.Header{"Authorization": {"Bearer secret"}, "Content-Type": {"application/json"}, "Idempotency-Key": {"k"}})
		if status != http.StatusCreated {
			t.Fatalf("%s %s answers %d %s", method, path, status, answer)
		}
	}
	write("POST", "/v1/players/p1/credits", `{"amount_in_minor":1000,"currency":"GBP","reason":"won"}`)
	write("PUT", "/v1/players/p1/payment-sources/s1", `{"user_id":"u1","currency":"GBP"}`)
	write("POST", "/v1/payouts", `{"player_id":"p1","amount_in_minor":1000,"currency":"GBP","beneficiary":{"user_id":"u1","payment_source_id":"s1","reference":"WIN 1"}}`)
	if status, metrics := ask(t, "GET", "http://"+c.AdminAddr+"/metrics", "", nil); status != http.StatusOK ||
		!strings.Contains(metrics, `payouts_http_requests_total{door="api",route="POST /v1/payouts",status="201"} 1`) || !strings.Contains(metrics, "go_goroutines") {
		t.Errorf("/metrics answers %d %s", status, metrics)
	}
	if err := RunStarter(t.Context(), c, zap.NewNop()); err == nil || !strings.Contains(err.Error(), "STARTER_ADDR: "+c.StarterAddr+" is in use") {
		t.Errorf("a second starter says %v", err)
	}
}

// The gateway tells what is surely forged (401) from what it cannot tell now
// (503, so that it is sent again).
func TestRunGateway(t *testing.T) {
	keys := httptest.NewServer(http.NotFoundHandler()) // the keys' host is ill
	defer keys.Close()
	c := running(t, nowhere(t, keys.URL, Gateway), RunGateway)
	signature := func(jku string) http.Header {
		header, err := json.Marshal(map[string]string{"alg": "ES512", "kid": "k1", "tl_version": "2", "tl_headers": "X-Tl-Webhook-Timestamp", "jku": jku})
		if err != nil {
			t.Fatal(err)
		}
		return http.Header{"X-Tl-Webhook-Timestamp": {"2026-11-20T12:00:00Z"},
			"Tl-Signature": {fmt.Sprintf("%s..%s", base64.RawURLEncoding.EncodeToString(header), base64.RawURLEncoding.EncodeToString(make([]byte, 132)))}}
	}
	for name, test := range map[string]struct {
		header http.Header
		want   int
	}{
		"not signed":         {http.Header{}, http.StatusUnauthorized},
		"a stranger's keys":  {signature("https://example.com/jwks"), http.StatusUnauthorized},
		"keys not available": {signature(keys.URL), http.StatusServiceUnavailable},
	} {
		if status, answer := ask(t, "POST", "http://"+c.GatewayAddr+httpapi.WebhookPath, "{}", test.header); status != test.want {
			t.Errorf("%s: answers %d %s; want %d", name, status, answer, test.want)
		}
	}
}
