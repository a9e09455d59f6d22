package truelayer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"payouts/internal/payout"
)

// auth is a token server that counts.
func auth(t *testing.T, h func(n int32, w http.ResponseWriter, r *http.Request)) (*httptest.Server, *atomic.Int32) {
	t.Helper()
	var n atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h(n.Add(1), w, r) }))
	t.Cleanup(s.Close)
	return s, &n
}

func giveToken(n int32, w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintf(w, `{"access_token":"token-%d","expires_in":3600,"token_type":"Bearer","scope":"payments","new_field":[1]}`, n) //nolint:errcheck
}

func TestTokenIsAskedForAsDocumented(t *testing.T) {
	server, _ := auth(t, func(n int32, w http.ResponseWriter, r *http.Request) {
		for name, want := range map[string]string{"grant_type": "client_credentials", "client_id": "client", "client_secret": "secret", "scope": "payments"} {
			if got := r.PostFormValue(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if r.Method != "POST" || r.URL.Path != "/connect/token" {
			t.Errorf("%s %s", r.Method, r.URL.Path)
		}
		giveToken(n, w, r)
	})
	clock := newClock()
	token, err := newClient(t, server.URL, func(o *Options) { o.Now = clock.now }).Token(context.Background())
	if err != nil || token.Value != "token-1" || !token.ExpiresAt.Equal(clock.now().Add(time.Hour)) {
		t.Errorf("%+v, %v", token, err)
	}
}

func TestTokenIsKeptAndRenewedInTime(t *testing.T) {
	server, n := auth(t, giveToken)
	clock := newClock()
	c := newClient(t, server.URL, func(o *Options) { o.Now = clock.now })
	for _, step := range []struct {
		pass time.Duration
		want string
	}{
		{0, "token-1"}, {57 * time.Minute, "token-1"}, {59 * time.Second, "token-1"}, {time.Second, "token-2"}, {0, "token-2"}, {2 * time.Hour, "token-3"},
	} {
		clock.add(step.pass)
		token, err := c.Token(context.Background())
		if err != nil || token.Value != step.want {
			t.Errorf("after %s: %q, want %q: %v", step.pass, token.Value, step.want, err)
		}
		if token.ExpiresAt.Sub(clock.now()) < time.Minute {
			t.Errorf("the token ends in %s, within one sending", token.ExpiresAt.Sub(clock.now()))
		}
	}
	if n.Load() != 3 {
		t.Errorf("%d requests, want 3", n.Load())
	}
}

// A hundred callers at once are one request, and the first to give up takes
// nobody along.
func TestTokenIsRenewedOnceForAll(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	server, n := auth(t, func(n int32, w http.ResponseWriter, r *http.Request) {
		if n == 1 {
			close(asked)
		}
		<-answer
		giveToken(n, w, r)
	})
	c := newClient(t, server.URL)
	hasty, giveUp := context.WithCancel(context.Background())
	gaveUp := make(chan error, 1)
	go func() { _, err := c.Token(hasty); gaveUp <- err }()
	<-asked
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if token, err := c.Token(context.Background()); err != nil || token.Value != "token-1" {
				t.Errorf("%q: %v", token.Value, err)
			}
		})
	}
	giveUp()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(answer)
	wg.Wait()
	if n.Load() != 1 {
		t.Errorf("%d requests, want 1", n.Load())
	}
}

// A fault that no retry heals is told as what it is, with what to change, and
// never with the secret.
func TestTokenFaults(t *testing.T) {
	for _, tc := range []struct {
		name   string
		status int
		body   string
		config string // what must be named; "" when it is no fault of configuration
	}{
		{"invalid_client", 400, `{"error":"invalid_client"}`, "TRUELAYER_CLIENT_SECRET_FILE"},
		{"invalid_client 401", 401, `{"error":"invalid_client"}`, "TRUELAYER_CLIENT_ID"},
		{"invalid_scope", 400, `{"error":"invalid_scope"}`, "Payments API"},
		{"unauthorized_client", 400, `{"error":"unauthorized_client"}`, "Console"},
		{"another scope granted", 200, `{"access_token":"t","expires_in":3600,"scope":"paydirect"}`, "Payments API"},
		{"503", 503, html, ""},
		{"html", 200, html, ""},
		{"empty", 200, "", ""},
		{"no token", 200, `{"expires_in":3600}`, ""},
		{"no life", 200, `{"access_token":"t"}`, ""},
		{"life as text", 200, `{"access_token":"t","expires_in":"3600"}`, ""},
		{"negative life", 200, `{"access_token":"t","expires_in":-1}`, ""},
		{"endless life", 200, `{"access_token":"t","expires_in":9223372036854775807}`, ""},
		{"another kind", 200, `{"access_token":"t","expires_in":3600,"token_type":"MAC"}`, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server, n := auth(t, func(_ int32, w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tc.status)
				fmt.Fprint(w, tc.body) //nolint:errcheck
			})
			c := newClient(t, server.URL, func(o *Options) { o.ClientSecret = "s3cr3t" })
			_, err := c.Token(context.Background())
			if err == nil || strings.Contains(err.Error(), "s3cr3t") {
				t.Fatalf("got %v", err)
			}
			var config *ConfigError
			if errors.As(err, &config) != (tc.config != "") || !strings.Contains(err.Error(), tc.config) {
				t.Errorf("got %v, want %q named", err, tc.config)
			}
			if c.Token(context.Background()); n.Load() != 2 { //nolint:errcheck
				t.Errorf("a fault was kept: %d requests", n.Load())
			}
		})
	}
}

// A rejected token is not used again; one that was renewed meanwhile is kept.
func TestRejectedTokenIsDropped(t *testing.T) {
	unauthenticated := document(401, "unauthenticated", "Unauthenticated")
	tokens := int32(0)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/connect/token" {
			tokens++
			giveToken(tokens, w, r)
			return
		}
		says(401, unauthenticated)(w, r)
	}))
	defer server.Close()
	c := newClient(t, server.URL)
	first, _ := c.Token(context.Background())
	if got := c.CreatePayout(context.Background(), first, testSend(5*time.Second)); got.Answer != payout.AnswerNotSent {
		t.Fatal(got.Detail)
	}
	second, _ := c.Token(context.Background())
	if second.Value != "token-2" {
		t.Errorf("the rejected token is used again: %s", second.Value)
	}
	c.CreatePayout(context.Background(), first, testSend(5*time.Second)) // an old sending, rejected late
	if again, _ := c.Token(context.Background()); again.Value != "token-2" {
		t.Errorf("a good token was dropped for an old one: %s", again.Value)
	}
}

// The owner's troubleshooting case: InvalidAudience.
func TestInvalidAudience(t *testing.T) {
	body := `{"type":"https://docs.truelayer.com/docs/error-types#unauthenticated","title":"Unauthenticated","status":401,` +
		`"detail":"Authorization: The JWT was not able to be validated: InvalidAudience","trace_id":"t-1"}`
	server := serve(t, says(401, body))
	c := newClient(t, server.URL)
	got := c.CreatePayout(context.Background(), testToken, testSend(5*time.Second))
	var config *ConfigError
	if got.Answer != payout.AnswerNotSent || !errors.As(got.Err, &config) || !strings.Contains(got.Detail, "TRUELAYER_AUTH_URL") {
		t.Errorf("create: %s: %s", got.Answer, got.Detail)
	}
	if _, err := c.GetPayout(context.Background(), "id"); !errors.As(err, &config) || !strings.Contains(err.Error(), "scope `payments`") {
		t.Errorf("get: %v", err)
	}
}
