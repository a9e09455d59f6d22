package truelayer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"
)

var (
	// ErrNotAuthentic: the event is not theirs, or not as they sent it. Answer 401.
	ErrNotAuthentic = errors.New("not authentic")
	// ErrKeysUnavailable: their keys cannot be had now, so nobody can tell. Answer 5xx; they will send it again.
	ErrKeysUnavailable = errors.New("webhook keys unavailable")
)

const (
	signatureHeader = "Tl-Signature"
	timestampHeader = "X-Tl-Webhook-Timestamp"
	longestHeader   = 8 << 10 // bytes of a signature; theirs are below 600
)

// VerifierOptions is what NewVerifier needs. A zero field takes the default
// its comment names.
type VerifierOptions struct {
	JWKSURL      string           // required: where their webhook keys are; the one allowed jku
	Client       *http.Client     // default: our own; redirects are never followed
	RefetchAfter time.Duration    // the least pause between two fetches of the keys; default 10s
	Logger       *zap.Logger      // default: silent
	Now          func() time.Time // default: time.Now
}

// Verifier tells their events from anyone else's. It is safe for use by many
// goroutines.
type Verifier struct {
	jku  string
	keys *keySet
}

// NewVerifier checks the options and asks nobody yet.
func NewVerifier(o VerifierOptions) (*Verifier, error) {
	var errs []error
	if _, err := providerURL(o.JWKSURL); err != nil {
		errs = append(errs, fmt.Errorf("JWKSURL (TRUELAYER_JWKS_URL): %w", err))
	}
	if o.RefetchAfter < 0 {
		errs = append(errs, fmt.Errorf("RefetchAfter: %s: want a duration above 0", o.RefetchAfter))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	k := &keySet{url: o.JWKSURL, gap: o.RefetchAfter, log: o.Logger, now: o.Now}
	if k.gap == 0 {
		k.gap = refetchAfter
	}
	if k.log == nil {
		k.log = zap.NewNop()
	}
	if k.now == nil {
		k.now = time.Now
	}
	client := http.Client{Transport: readTransport(nil)}
	if o.Client != nil {
		client = *o.Client
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	k.client = &client
	return &Verifier{jku: o.JWKSURL, keys: k}, nil
}

// Verify proves that they sent this event as it is. target is the path as
// received, with or without its query (http.Request.RequestURI is right); body
// is the raw bytes, before any decoding.
//
//	Repeats: safe
//	Errors:  ErrNotAuthentic, ErrKeysUnavailable; never both
//	Clock:   none; the age of an event proves nothing, they repeat for days
//	Source:  docs/truelayer.md, "Signing", "Webhooks", "JWKS"
func (v *Verifier) Verify(ctx context.Context, method, target string, header http.Header, body []byte) (Event, error) {
	received := header.Get(signatureHeader)
	switch {
	case received == "":
		return Event{}, fmt.Errorf("%w: %s: is missing", ErrNotAuthentic, signatureHeader)
	case len(received) > longestHeader:
		return Event{}, fmt.Errorf("%w: %s: longer than %d bytes", ErrNotAuthentic, signatureHeader, longestHeader)
	}
	sig, err := readSignature(received)
	if err != nil {
		return Event{}, fmt.Errorf("%w: %s: %w", ErrNotAuthentic, signatureHeader, err)
	}
	if sig.jku != v.jku { // before anything is fetched: a stranger's address is never asked
		return Event{}, fmt.Errorf("%w: %s: jku %.200q is not the one allowed", ErrNotAuthentic, signatureHeader, sig.jku)
	}
	key, err := v.keys.find(ctx, sig.kid)
	if err != nil {
		return Event{}, err
	}
	// Whether the query of the configured address is signed is not documented.
	path, _, hasQuery := strings.Cut(target, "?")
	paths := []string{path}
	if hasQuery {
		paths = append(paths, target)
	}
	if err := sig.prove(key, method, paths, header, body, timestampHeader); err != nil {
		return Event{}, fmt.Errorf("%w: %w", ErrNotAuthentic, err)
	}
	return Event{body: bytes.Clone(body), signature: received, timestamp: header.Get(timestampHeader)}, nil
}
