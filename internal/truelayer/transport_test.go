package truelayer

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"payouts/internal/payout"
)

// What leaves is what was asked for: the stored bytes, the stored key, a
// signature over both.
func TestCreateLeavesAsStored(t *testing.T) {
	key := newKey(t)
	var got *http.Request
	var body []byte
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got, body = r, nil
		body, _ = io.ReadAll(r.Body)
		says(202, createdBody)(w, r)
	})
	c := newClient(t, server.URL, func(o *Options) { o.SigningKeyPEM = keyPEM(t, key) })
	for kind, create := range creates {
		t.Run(kind, func(t *testing.T) {
			send := create.send(5 * time.Second)
			send.Body = []byte("{ \"amount_in_minor\" : 1000,\n\"x\":\"\\u003c&+\"}")
			if out := create.call(c, context.Background(), testToken, send); out.Answer != payout.AnswerCreated {
				t.Fatal(out.Detail)
			}
			if got.Method != "POST" || got.URL.Path != create.path || !bytes.Equal(body, send.Body) || got.ContentLength != int64(len(send.Body)) {
				t.Errorf("%s %s, %d bytes: %q", got.Method, got.URL.Path, got.ContentLength, body)
			}
			if got.Header.Get("Idempotency-Key") != send.Key || got.Header.Get("Authorization") != "Bearer token-1" || got.Header.Get("Content-Type") != "application/json" {
				t.Errorf("headers %v", got.Header)
			}
			sig, err := readSignature(got.Header.Get("Tl-Signature"))
			if err != nil {
				t.Fatal(err)
			}
			if err := sig.prove(&key.PublicKey, got.Method, []string{got.URL.Path}, got.Header, body, "Idempotency-Key"); err != nil || sig.kid != "kid-1" {
				t.Errorf("kid %s: %v", sig.kid, err)
			}
		})
	}
}

// Go's transport sends a request again by itself when a kept connection turns
// out to be closed and the request carries an Idempotency-Key. Neither our
// transport nor a foreign one may do that with a create.
func TestNoHiddenResend(t *testing.T) {
	for name, foreign := range map[string]http.RoundTripper{"ours": nil, "foreign": &http.Transport{}} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int32
			server := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if requests.Add(1) == 1 {
					says(202, createdBody)(w, r) // the connection may now be kept
					return
				}
				raw("")(w, r) // the second request is read, and the connection closed without a word
			})
			c := newClient(t, server.URL, func(o *Options) { o.Transport = foreign })
			if got := c.CreatePayout(context.Background(), testToken, testSend(5*time.Second)); got.Answer != payout.AnswerCreated {
				t.Fatal(got.Detail)
			}
			got := c.CreatePayout(context.Background(), testToken, testSend(5*time.Second))
			if got.Answer != payout.AnswerUnknown || requests.Load() != 2 {
				t.Errorf("%s after %d requests, want unknown after 2", got.Answer, requests.Load())
			}
		})
	}
}

// A redirect leads nowhere, neither for creates nor for questions.
func TestRedirectsAreNotFollowed(t *testing.T) {
	var strayed atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { strayed.Add(1) }))
	defer elsewhere.Close()
	server := serve(t, says(307, "", "Location", elsewhere.URL))
	c := newClient(t, server.URL)
	c.CreatePayout(context.Background(), testToken, testSend(5*time.Second))
	if _, err := c.GetPayout(context.Background(), "id"); err == nil {
		t.Error("a redirect was read as an answer")
	}
	if strayed.Load() != 0 {
		t.Errorf("%d requests went elsewhere", strayed.Load())
	}
}

// A process frozen between dialling and writing must not send after the
// deadline, although its timers have not run yet.
func TestFrozenBeforeTheFirstByte(t *testing.T) {
	var requests atomic.Int32
	handler := func(w http.ResponseWriter, r *http.Request) { requests.Add(1); says(202, createdBody)(w, r) }
	plain, encrypted := httptest.NewServer(http.HandlerFunc(handler)), httptest.NewTLSServer(http.HandlerFunc(handler))
	defer plain.Close()
	defer encrypted.Close()
	for name, server := range map[string]*httptest.Server{"plain": plain, "encrypted": encrypted} {
		t.Run(name, func(t *testing.T) {
			clock := newClock()
			c := newClient(t, server.URL, func(o *Options) { o.Now = clock.now })
			once := createTransport(serverTrust(server)).(*http.Transport)
			frozen := true
			for _, dial := range []*func(context.Context, string, string) (net.Conn, error){&once.DialContext, &once.DialTLSContext} {
				inner := *dial
				*dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
					conn, err := inner(ctx, network, addr)
					if frozen {
						clock.add(time.Minute)
					}
					return conn, err
				}
			}
			c.once = once
			send := testSend(30 * time.Second)
			send.Deadline = clock.now().Add(30 * time.Second)
			if got := c.CreatePayout(context.Background(), testToken, send); got.Answer != payout.AnswerNotSent || !errors.Is(got.Err, errTooLate) {
				t.Errorf("%s: %v", got.Answer, got.Err)
			}
			if requests.Load() != 0 {
				t.Error("the provider got the request")
			}
			frozen = false
			send.Deadline = clock.now().Add(30 * time.Second)
			if got := c.CreatePayout(context.Background(), testToken, send); got.Answer != payout.AnswerCreated {
				t.Errorf("thawed: %s", got.Detail)
			}
			requests.Store(0)
		})
	}
}

func serverTrust(s *httptest.Server) *tls.Config {
	if s.TLS == nil {
		return nil
	}
	return s.Client().Transport.(*http.Transport).TLSClientConfig
}

// Lost under TLS after the request was read: unknown, not "not sent".
func TestLostUnderTLS(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.ReadAll(r.Body) //nolint:errcheck
		panic(http.ErrAbortHandler)
	}))
	defer server.Close()
	c := newClient(t, server.URL)
	c.once = createTransport(serverTrust(server))
	if got := c.CreatePayout(context.Background(), testToken, testSend(5*time.Second)); got.Answer != payout.AnswerUnknown {
		t.Errorf("%s: %s", got.Answer, got.Detail)
	}
}

// The answer is waited for until the deadline and no longer, and a caller
// that gives up after the first byte leaves an unknown behind.
func TestGivenUpUnderWay(t *testing.T) {
	arrived := make(chan struct{}, 1)
	server := serve(t, func(w http.ResponseWriter, r *http.Request) { arrived <- struct{}{}; silent(w, r) })
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-arrived; cancel() }()
	if got := newClient(t, server.URL).CreatePayout(ctx, testToken, testSend(time.Minute)); got.Answer != payout.AnswerUnknown {
		t.Errorf("%s: %s", got.Answer, got.Detail)
	}
}

// A hundred megabytes are read to the bound and not a byte further.
func TestBodiesAreBounded(t *testing.T) {
	var sent atomic.Int64
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		chunk := bytes.Repeat([]byte(" "), 64<<10)
		for sent.Load() < 100<<20 {
			if n, err := w.Write(chunk); err != nil {
				return
			} else {
				sent.Add(int64(n))
			}
		}
	})
	c := newClient(t, server.URL)
	got := c.CreatePayout(context.Background(), testToken, testSend(5*time.Second))
	if got.Answer != payout.AnswerUnknown || len(got.Raw) > longestBody {
		t.Errorf("%s with %d bytes", got.Answer, len(got.Raw))
	}
	if _, err := c.GetPayout(context.Background(), "id"); err == nil {
		t.Error("a hundred megabytes were taken for a payout")
	}
	server.Close()
	if sent.Load() > 50<<20 {
		t.Errorf("%d bytes were taken", sent.Load())
	}
}

// Two creates at once each have their own trail.
func TestTrailsAreNotMixed(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) { says(202, createdBody)(w, r) })
	c := newClient(t, server.URL)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			send := testSend(10 * time.Second)
			want := payout.AnswerCreated
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if i%2 == 0 {
				cancel()
				want = payout.AnswerNotSent
			}
			if got := c.CreatePayout(ctx, testToken, send); got.Answer != want {
				t.Errorf("%s: %s", got.Answer, got.Detail)
			}
		})
	}
	wg.Wait()
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, " 7 ": 7 * time.Second, "600": LongestRetryAfter, "601": LongestRetryAfter,
		"9223372036854775807": LongestRetryAfter, "99999999999999999999999": LongestRetryAfter,
		"-1": 0, "1.5": 0, "soon": 0, "1e9": 0, "NaN": 0, "٣": 0,
		"Fri, 02 Jan 2026 03:04:35 GMT": 30 * time.Second, "Fri, 02 Jan 2026 03:04:00 GMT": 0, "Fri, 02 Jan 2099 03:04:00 GMT": LongestRetryAfter,
		"Friday": 0,
	} {
		if got := retryAfter(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// Every call is logged with the trace id their support asks for, wherever it
// stands, and with nothing secret or personal.
func TestTraceIDsAreLogged(t *testing.T) {
	for name, tc := range map[string]struct {
		does does
		want string
	}{
		"header":           {says(202, createdBody, "Tl-Trace-Id", "trace-1"), "trace-1"},
		"older header":     {says(500, html, "X-Tl-Correlation-Id", "trace-2"), "trace-2"},
		"document":         {says(400, refusedBody), "t-1"},
		"header first":     {says(400, refusedBody, "Tl-Trace-Id", "trace-3"), "trace-3"},
		"none":             {says(500, html), ""},
		"forged line":      {says(500, "", "Tl-Trace-Id", "a b"), ""},
		"line end in it":   {says(400, strings.Replace(refusedBody, "t-1", "t\\n1", 1)), "t1"},
		"endless":          {says(500, "", "Tl-Trace-Id", strings.Repeat("a", 1000)), ""},
		"no answer at all": {raw(""), ""},
	} {
		t.Run(name, func(t *testing.T) {
			core, logs := observer.New(zap.DebugLevel)
			c := newClient(t, serve(t, tc.does).URL, func(o *Options) { o.Logger = zap.New(core); o.ClientSecret = "s3cr3t" })
			got := c.CreateRefund(t.Context(), testToken, testRefund(5*time.Second))
			if tc.want != "" && got.Answer != payout.AnswerCreated && !strings.Contains(got.Detail, "trace id "+tc.want) {
				t.Errorf("detail %q", got.Detail)
			}
			c.Token(t.Context()) //nolint:errcheck // for its line
			lines := logs.All()
			if len(lines) != 2 {
				t.Fatalf("%d lines", len(lines))
			}
			fields := lines[0].ContextMap()
			for field, want := range map[string]any{"trace_id": tc.want, "op": "create refund", "payout_id": string(testID), "kind": "refund", "attempt": int64(1), "send": int64(1)} {
				if fields[field] != want {
					t.Errorf("%s is %v, want %v", field, fields[field], want)
				}
			}
			for _, line := range lines {
				if text := fmt.Sprint(line.Message, line.ContextMap()); strings.Contains(text, "s3cr3t") || strings.Contains(text, testToken.Value) {
					t.Errorf("a secret is logged: %s", text)
				}
			}
		})
	}
}
