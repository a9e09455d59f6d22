package notify

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"payouts/internal/payout"
)

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// box is an outbox of one event.
type box struct {
	mu    sync.Mutex
	due   bool
	event payout.Event
	sent  int
	again time.Time
	why   string
}

func (b *box) Claim(context.Context, int, time.Duration) ([]payout.Event, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.due {
		return nil, nil
	}
	b.due = false
	return []payout.Event{b.event}, nil
}

func (b *box) Sent(context.Context, string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent++
	return nil
}

func (b *box) NotSent(_ context.Context, _ string, again time.Time, why string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.again, b.why, b.due = again, why, !again.IsZero()
	return nil
}

func newBox(age time.Duration) *box {
	return &box{due: true, event: payout.Event{ID: "8f14e45f-0000-5000-8000-000000000001", Caller: "casino", SubjectID: "p1", Version: 2,
		Type: "payout.executed", OccurredAt: time.Now().Add(-age), Data: []byte(`{"id":"p1"}`)}}
}

func TestEventReachesTheBackendSigned(t *testing.T) {
	verifier, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	var got body
	answers := []int{http.StatusInternalServerError, http.StatusOK} // the first try is lost
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		content, _ := io.ReadAll(r.Body)
		if err := verifier.Verify(content, r.Header); err != nil {
			t.Errorf("the backend cannot verify: %v", err)
		}
		if err := json.Unmarshal(content, &got); err != nil {
			t.Error(err)
		}
		w.WriteHeader(answers[0])
		answers = answers[1:]
	}))
	defer backend.Close()
	b := newBox(0)
	r, err := New(Options{Outbox: b, Targets: []Target{{Caller: "casino", URL: backend.URL, Secret: secret}}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := r.Once(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if b.sent != 1 {
		t.Fatalf("marked sent %d times, want once after the second try", b.sent)
	}
	if got.Type != "payout.executed" || got.Version != 2 || got.ID != b.event.ID || string(got.Data) != `{"id":"p1"}` {
		t.Errorf("the backend read %+v", got)
	}
}

func TestEventNobodyTakesEnds(t *testing.T) {
	backend := httptest.NewServer(http.RedirectHandler("/elsewhere", http.StatusFound))
	defer backend.Close()
	for name, c := range map[string]struct {
		targets []Target
		age     time.Duration
		again   bool
		why     string
	}{
		"a redirect is not followed, tried again": {[]Target{{URL: backend.URL, Secret: secret}}, 0, true, "302"},
		"given up after EVENTS_RETRY_FOR":         {[]Target{{URL: backend.URL, Secret: secret}}, 73 * time.Hour, false, "302"},
		"no target for this caller":               {[]Target{{Caller: "other", URL: backend.URL, Secret: secret}}, 0, false, "no EVENTS_URL"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(c.age)
			r, err := New(Options{Outbox: b, Targets: c.targets})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Once(context.Background()); err != nil {
				t.Fatal(err)
			}
			if b.again.IsZero() == c.again || !strings.Contains(b.why, c.why) || b.sent != 0 {
				t.Errorf("again at %v because %q, sent %d", b.again, b.why, b.sent)
			}
		})
	}
}

func TestBadSecretIsNamed(t *testing.T) {
	_, err := New(Options{Outbox: newBox(0), Targets: []Target{{Caller: "casino", URL: "http://127.0.0.1:1", Secret: "%%%"}}})
	if err == nil || !strings.Contains(err.Error(), `"casino"`) {
		t.Errorf("New says %v, want the caller named", err)
	}
}

func TestBackoffGrowsWithinBounds(t *testing.T) {
	for tries := range 40 {
		if d := backoff(tries); d < time.Second/2 || d > 10*time.Minute {
			t.Errorf("backoff(%d) = %s", tries, d)
		}
	}
}
