package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

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

func (b *box) EventCallers(context.Context) ([]string, error) { return nil, nil }

func (b *box) Claim(context.Context, string, int, time.Duration) ([]payout.Event, error) {
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
	var told []Outcome
	r, err := New(Options{Outbox: b, Targets: []Target{{Caller: "casino", URL: backend.URL, Secret: secret}}, Observe: func(o Outcome) { told = append(told, o) }})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := r.once(context.Background(), r.targets[0]); err != nil {
			t.Fatal(err)
		}
	}
	if b.sent != 1 {
		t.Fatalf("marked sent %d times, want once after the second try", b.sent)
	}
	if fmt.Sprint(told) != "[failed relayed]" {
		t.Errorf("told %v", told)
	}
	if got.Type != "payout.executed" || got.Version != 2 || got.ID != b.event.ID || string(got.Data) != `{"id":"p1"}` {
		t.Errorf("the backend read %+v", got)
	}
}

func TestEventNobodyTakesEnds(t *testing.T) {
	backend := httptest.NewServer(http.RedirectHandler("/elsewhere", http.StatusFound))
	defer backend.Close()
	for name, c := range map[string]struct {
		age   time.Duration
		tries int
		again bool
	}{
		"a redirect is not followed, tried again":   {0, 0, true},
		"given up after EVENTS_RETRY_FOR":           {73 * time.Hour, 400, false},
		"tried all the time of EVENTS_RETRY_FOR":    {71 * time.Hour, 400, true},
		"old when its target came, tried all right": {73 * time.Hour, 0, true},
		"old when its target came, given up":        {73 * time.Hour, leastTries - 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(c.age)
			b.event.Tries = c.tries
			told := Outcome("")
			r, err := New(Options{Outbox: b, Targets: []Target{{URL: backend.URL, Secret: secret}}, Observe: func(o Outcome) { told = o }})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.once(context.Background(), r.targets[0]); err != nil {
				t.Fatal(err)
			}
			if want := map[bool]Outcome{true: OutcomeFailed, false: OutcomeGivenUp}[c.again]; told != want {
				t.Errorf("told %q, want %q", told, want)
			}
			if b.again.IsZero() == c.again || !strings.Contains(b.why, "302") || b.sent != 0 {
				t.Errorf("again at %v because %q, sent %d", b.again, b.why, b.sent)
			}
		})
	}
}

// shelf is an outbox of many callers.
type shelf struct {
	mu     sync.Mutex
	events []payout.Event
	sent   map[string]int // by caller
	left   map[string]int // claimed and not taken, by caller
}

func newShelf(callers map[string]int) *shelf {
	s := &shelf{sent: map[string]int{}, left: map[string]int{}}
	for _, caller := range slices.Sorted(maps.Keys(callers)) {
		for i := range callers[caller] {
			s.events = append(s.events, payout.Event{ID: fmt.Sprint(caller, "/", i), Caller: caller, Type: "payout.executed", OccurredAt: time.Now(), Data: []byte("{}")})
		}
	}
	return s
}

func (s *shelf) Claim(_ context.Context, caller string, limit int, _ time.Duration) (claimed []payout.Event, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = slices.DeleteFunc(s.events, func(e payout.Event) bool {
		takes := len(claimed) < limit && (caller == "" || caller == e.Caller)
		if takes {
			claimed = append(claimed, e)
		}
		return takes
	})
	return claimed, nil
}

func (s *shelf) EventCallers(context.Context) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	callers := map[string]bool{}
	for _, e := range s.events {
		callers[e.Caller] = true
	}
	return slices.Sorted(maps.Keys(callers)), nil
}

func (s *shelf) mark(in map[string]int, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	caller, _, _ := strings.Cut(id, "/")
	in[caller]++
	return nil
}

func (s *shelf) Sent(_ context.Context, id string) error { return s.mark(s.sent, id) }
func (s *shelf) NotSent(_ context.Context, id string, _ time.Time, _ string) error {
	return s.mark(s.left, id)
}

func (s *shelf) count(in map[string]int, caller string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return in[caller]
}

// eventually waits for what must come true.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for limit := time.Now().Add(5 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("not within 5 s: %s", what)
		}
	}
}

// A backend that never answers takes only its own time, and not more than its
// own connections.
func TestDeadBackendHoldsUpOnlyItsOwn(t *testing.T) {
	var busy, most atomic.Int64
	dead := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		now := busy.Add(1)
		for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
		}
		_, _ = io.Copy(io.Discard, r.Body) // only then is a hang-up heard
		<-r.Context().Done()
	}))
	defer dead.Close()
	well := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer well.Close()
	s := newShelf(map[string]int{"dead": 3 * page, "well": 2*page + 1})
	r, err := New(Options{Outbox: s, Targets: []Target{{"dead", dead.URL, secret}, {"well", well.URL, secret}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { r.Run(ctx); close(ended) }()
	eventually(t, "the dead backend is asked", func() bool { return busy.Load() >= parallel })
	eventually(t, "the other one has its events", func() bool { return s.count(s.sent, "well") == 2*page+1 })
	stop()
	<-ended
	if most.Load() > parallel {
		t.Errorf("%d deliveries at once to one backend, want at most %d", most.Load(), parallel)
	}
	if s.count(s.left, "dead") != 0 || s.count(s.sent, "dead") != 0 {
		t.Errorf("of the dead backend's events %d were sent, and %d counted as tried when the worker stopped", s.count(s.sent, "dead"), s.count(s.left, "dead"))
	}
}

// Events of a caller without a target are not touched, and someone is told so.
func TestEventsAreKeptForATarget(t *testing.T) {
	well := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer well.Close()
	for name, c := range map[string]struct {
		targets []Target
		kept    []string
	}{
		"no target at all":       {nil, []string{"casino", "poker"}},
		"a target for another":   {[]Target{{"poker", well.URL, secret}}, []string{"casino"}},
		"a target for every one": {[]Target{{"", well.URL, secret}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShelf(map[string]int{"casino": 2, "poker": 2})
			core, told := observer.New(zap.WarnLevel)
			r, err := New(Options{Outbox: s, Targets: c.targets, Logger: zap.New(core)})
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { r.Run(ctx); close(ended) }()
			for _, caller := range []string{"casino", "poker"} {
				if !slices.Contains(c.kept, caller) {
					eventually(t, "events of "+caller+" are sent", func() bool { return s.count(s.sent, caller) == 2 })
				}
			}
			eventually(t, "the rest is told of", func() bool { return told.Len() >= len(c.kept) })
			stop()
			<-ended
			var callers []string
			for _, line := range told.All() {
				callers = append(callers, fmt.Sprint(line.ContextMap()["caller"]))
			}
			if slices.Sort(callers); !slices.Equal(callers, c.kept) {
				t.Errorf("told of %v, want %v", callers, c.kept)
			}
			if kept, _ := s.EventCallers(t.Context()); !slices.Equal(kept, c.kept) || len(s.left) != 0 {
				t.Errorf("kept events of %v, want %v; tried %v", kept, c.kept, s.left)
			}
		})
	}
}

func TestKeptEventsAreToldOfOnce(t *testing.T) {
	core, told := observer.New(zap.WarnLevel)
	r, err := New(Options{Outbox: newShelf(map[string]int{"casino": 2, "poker": 1}), Logger: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"poker": true}
	for range 3 {
		r.tellOfKept(t.Context(), known)
	}
	if told.Len() != 1 || told.All()[0].ContextMap()["caller"] != "casino" {
		t.Errorf("told %v, want casino once", told.All())
	}
}

func TestTargetForEveryCallerStandsAlone(t *testing.T) {
	_, err := New(Options{Outbox: newBox(0), Targets: []Target{{"", "http://127.0.0.1:1", secret}, {"casino", "http://127.0.0.1:1", secret}}})
	if err == nil {
		t.Error("New takes a target for every caller beside another: events would go to either")
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
