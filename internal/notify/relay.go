// Package notify tells the game backend: it relays the outbox, at least once,
// signed as Standard Webhooks say. Order is by version, for who cares to sort.
package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"payouts/internal/payout"
)

// Outbox is what the relay needs of the ledger.
type Outbox interface {
	// Claim takes due events of a caller, or of every caller when it is empty.
	Claim(ctx context.Context, caller string, limit int, hold time.Duration) ([]payout.Event, error)
	EventCallers(ctx context.Context) ([]string, error)
	Sent(ctx context.Context, id string) error
	NotSent(ctx context.Context, id string, again time.Time, why string) error
}

// Target is where a caller takes events.
type Target struct {
	Caller string // empty: every caller; then there is no other target
	URL    string
	Secret string // as Standard Webhooks write it: base64, with or without "whsec_"
}

// Options is what New needs.
type Options struct {
	Outbox   Outbox        // required
	Targets  []Target      // events of callers without a target are kept until they have one
	RetryFor time.Duration // an event older than this is given up, once tried often enough; default 72h
	Logger   *zap.Logger   // nil: none
	Observe  func(Outcome) // told of each delivery when it has ended; nil: nobody

	// Trace begins a delivery in the trace of what it tells of: the traceparent
	// that goes with it, "" for none, and what is told the HTTP status of the
	// answer, 0 for none, when it has ended. nil: nobody traces.
	Trace func(context.Context, payout.Event) (traceparent string, ended func(status int))
}

// Outcome is what became of one delivery. Wire format: add, never rename.
type Outcome string

const (
	OutcomeRelayed Outcome = "relayed"  // the backend took it
	OutcomeFailed  Outcome = "failed"   // it is tried again
	OutcomeGivenUp Outcome = "given_up" // the backend did not take it for EVENTS_RETRY_FOR: it is never sent again
)

// Outcomes lists every outcome.
func Outcomes() []Outcome { return []Outcome{OutcomeRelayed, OutcomeFailed, OutcomeGivenUp} }

// Relay sends what the outbox holds.
type Relay struct {
	outbox   Outbox
	targets  []target
	retryFor time.Duration
	log      *zap.Logger
	observe  func(Outcome)
	trace    func(context.Context, payout.Event) (string, func(int))
	http     *http.Client
}

type target struct {
	caller string
	url    string
	signer *standardwebhooks.Webhook
}

// New checks every target and reports every mistake at once.
func New(o Options) (*Relay, error) {
	r := &Relay{outbox: o.Outbox, retryFor: o.RetryFor, log: o.Logger, observe: o.Observe, trace: o.Trace, http: &http.Client{
		Timeout:       sendFor,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // money news goes where it was told to
	}}
	if r.retryFor <= 0 {
		r.retryFor = 72 * time.Hour
	}
	if r.log == nil {
		r.log = zap.NewNop()
	}
	if r.observe == nil {
		r.observe = func(Outcome) {}
	}
	if r.trace == nil {
		r.trace = func(context.Context, payout.Event) (string, func(int)) { return "", func(int) {} }
	}
	var errs []error
	for _, t := range o.Targets {
		signer, err := standardwebhooks.NewWebhook(t.Secret)
		if err != nil {
			errs = append(errs, fmt.Errorf("events for caller %q: secret: want base64 as Standard Webhooks write it, such as whsec_…: %w", t.Caller, err))
		}
		if t.Caller == "" && len(o.Targets) > 1 {
			errs = append(errs, errors.New("events: a target for every caller stands beside others; keep it alone, or name its caller"))
		}
		r.targets = append(r.targets, target{t.Caller, t.URL, signer})
	}
	return r, errors.Join(errs...)
}

const (
	page      = 50
	parallel  = 8                // deliveries at once to one target
	sendFor   = 10 * time.Second // one delivery
	claimHold = 2 * time.Minute  // above page/parallel deliveries of sendFor each
	look      = 500 * time.Millisecond
	lookKept  = time.Minute // for callers without a target
	// leastTries take an event about a quarter of an hour, however old it was
	// when its target was configured.
	leastTries = 10
)

// Run relays until ctx ends: within a second of the commit, when the backend
// answers. Each target is served by itself, so that one that is slow or down
// keeps nothing from the others.
func (r *Relay) Run(ctx context.Context) {
	var all sync.WaitGroup
	known := map[string]bool{}
	for _, t := range r.targets {
		known[t.caller] = true
		all.Go(func() { r.serve(ctx, t) })
	}
	for ; ctx.Err() == nil && !known[""]; pause(ctx, lookKept) {
		r.tellOfKept(ctx, known)
	}
	all.Wait()
}

func (r *Relay) serve(ctx context.Context, t target) {
	for ctx.Err() == nil {
		n, err := r.once(ctx, t)
		if err != nil && ctx.Err() == nil {
			r.log.Error("outbox not relayed", zap.String("caller", t.caller), zap.Error(err))
		}
		if n == page && err == nil {
			continue // there is more
		}
		pause(ctx, look)
	}
}

// tellOfKept says, once for each caller that is not in known, that its events
// wait for a target.
func (r *Relay) tellOfKept(ctx context.Context, known map[string]bool) {
	callers, err := r.outbox.EventCallers(ctx)
	if err != nil && ctx.Err() == nil {
		r.log.Error("callers without a target not looked for", zap.Error(err))
	}
	for _, caller := range callers {
		if !known[caller] {
			r.log.Warn("events are kept and not sent: configure EVENTS_URL, or a line of EVENTS_FILE for this caller", zap.String("caller", caller))
			known[caller] = true
		}
	}
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// once relays one page of a target's due events and answers how many there
// were.
func (r *Relay) once(ctx context.Context, t target) (int, error) {
	events, err := r.outbox.Claim(ctx, t.caller, page, claimHold)
	if err != nil {
		return 0, err
	}
	var group errgroup.Group
	group.SetLimit(parallel)
	for _, e := range events {
		group.Go(func() error { return r.relay(ctx, t, e) })
	}
	return len(events), group.Wait()
}

func (r *Relay) relay(ctx context.Context, t target, e payout.Event) error {
	err := r.send(ctx, t, e)
	if err == nil {
		r.observe(OutcomeRelayed)
		return r.outbox.Sent(ctx, e.ID)
	}
	if ctx.Err() != nil {
		return ctx.Err() // the claim runs out and it is due again
	}
	log := r.log.With(zap.String("payout_id", e.SubjectID), zap.String("event_id", e.ID), zap.String("type", e.Type), zap.Error(err))
	if time.Since(e.OccurredAt) > r.retryFor && e.Tries+1 >= leastTries {
		r.observe(OutcomeGivenUp)
		log.Error("event given up: the backend did not take it")
		return r.outbox.NotSent(ctx, e.ID, time.Time{}, err.Error())
	}
	r.observe(OutcomeFailed)
	again := time.Now().Add(backoff(e.Tries))
	log.Warn("event not taken; tried again", zap.Time("again_at", again))
	return r.outbox.NotSent(ctx, e.ID, again, err.Error())
}

// backoff doubles from a second to ten minutes, with jitter of a half.
func backoff(tries int) time.Duration {
	d := min(time.Second<<min(tries, 10), 10*time.Minute)
	return d/2 + rand.N(d/2+1)
}

// body is an event as the backend reads it.
type body struct {
	ID         string          `json:"id"`
	Type       string          `json:"type"`
	Version    int             `json:"version"`
	OccurredAt time.Time       `json:"occurred_at"`
	Data       json.RawMessage `json:"data"`
}

func (r *Relay) send(ctx context.Context, t target, e payout.Event) error {
	content, err := json.Marshal(body{e.ID, e.Type, e.Version, e.OccurredAt, e.Data})
	if err != nil {
		return err
	}
	now := time.Now()
	signature, err := t.signer.Sign(e.ID, now, content)
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, bytes.NewReader(content))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set(standardwebhooks.HeaderWebhookID, e.ID)
	request.Header.Set(standardwebhooks.HeaderWebhookTimestamp, fmt.Sprint(now.Unix()))
	request.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	traceparent, ended := r.trace(ctx, e)
	if traceparent != "" { // beside the signature, which covers id, time and body
		request.Header.Set("traceparent", traceparent)
	}
	response, err := r.http.Do(request)
	if err != nil {
		ended(0)
		return err
	}
	defer response.Body.Close()
	defer ended(response.StatusCode)
	_, _ = io.CopyN(io.Discard, response.Body, 64<<10) // so that the connection serves again
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("the backend answered %s", response.Status)
	}
	return nil
}
