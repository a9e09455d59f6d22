package truelayer

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"
)

const (
	keysAge      = 15 * time.Minute // older keys are fetched again, behind the back of those who wait
	fetchWithin  = 10 * time.Second
	longestKeys  = 256 << 10 // bytes
	refetchAfter = 10 * time.Second
)

// keySet is the provider's webhook keys: fetched when a key is unknown or the
// set is old, at most once per gap, and the last good set is kept while their
// host is down.
type keySet struct {
	url    string
	client *http.Client
	gap    time.Duration
	log    *zap.Logger
	now    func() time.Time
	group  singleflight.Group

	mu    sync.Mutex
	keys  map[string]*ecdsa.PublicKey // nil before the first good fetch
	good  time.Time                   // when keys was fetched
	tried time.Time                   // when the last fetch ended
	err   error                       // of the last fetch
}

// find gives the key named kid. ErrNotAuthentic means that they do not have
// it, ErrKeysUnavailable that nobody can tell now.
func (k *keySet) find(ctx context.Context, kid string) (*ecdsa.PublicKey, error) {
	key, due, err := k.known(kid)
	if !due {
		return key, err
	}
	// The fetch belongs to all who wait, so none of them can cancel it.
	fetched := k.group.DoChan("", func() (any, error) {
		if _, due, _ := k.known(kid); due {
			k.fetch(context.WithoutCancel(ctx))
		}
		return nil, nil
	})
	if key != nil {
		return key, nil // old, but theirs; the fetch goes on
	}
	select {
	case <-fetched:
		key, _, err := k.known(kid)
		return key, err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrKeysUnavailable, context.Cause(ctx))
	}
}

// known looks kid up, says whether a fetch is due, and what the key's absence
// means.
func (k *keySet) known(kid string) (key *ecdsa.PublicKey, due bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key = k.keys[kid]
	rested := k.tried.IsZero() || k.now().Sub(k.tried) >= k.gap
	due = rested && (key == nil || k.now().Sub(k.good) >= keysAge)
	switch {
	case key != nil:
	case k.err != nil || k.keys == nil:
		err = fmt.Errorf("%w: %w", ErrKeysUnavailable, errors.Join(errors.New("key "+printable(kid)+" is not known here"), k.err))
	default:
		err = fmt.Errorf("%w: they have no key %.80q", ErrNotAuthentic, kid)
	}
	return key, due, err
}

func (k *keySet) fetch(ctx context.Context) {
	keys, err := k.get(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tried, k.err = k.now(), err
	if err != nil {
		k.log.Warn("webhook keys not fetched", zap.String("jwks_url", k.url), zap.Int("keys_kept", len(k.keys)), zap.Error(err))
		return
	}
	k.keys, k.good = keys, k.tried
	k.log.Info("webhook keys fetched", zap.String("jwks_url", k.url), zap.Int("keys", len(keys)))
}

func (k *keySet) get(ctx context.Context) (map[string]*ecdsa.PublicKey, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "payouts")
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end or given up
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("webhook keys: HTTP %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, longestKeys+1))
	if err != nil {
		return nil, fmt.Errorf("webhook keys: %w", err)
	}
	if len(body) > longestKeys {
		return nil, fmt.Errorf("webhook keys: longer than %d bytes", longestKeys)
	}
	return readKeys(body)
}

// readKeys reads the P-521 keys of a JWKS by their ids. Other keys, such as
// the RSA key of their older signature, are passed over; so is a broken one,
// for the sake of the others.
func readKeys(body []byte) (map[string]*ecdsa.PublicKey, error) {
	o, err := readObject(body)
	if err != nil {
		return nil, fmt.Errorf("webhook keys: %w", err)
	}
	keys, listed := map[string]*ecdsa.PublicKey{}, 0
	err = o.each("keys", func(item object, _ []byte) error {
		listed++
		if kid, key := readKey(item); key != nil {
			keys[kid] = key
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("webhook keys: %w", err)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("webhook keys: none of %d keys is on curve P-521", listed)
	}
	return keys, nil
}

func readKey(o object) (kid string, key *ecdsa.PublicKey) {
	text := func(name string) string {
		s, err := o.exact(name)
		if err != nil {
			return ""
		}
		return s
	}
	kid = text("kid")
	alg := text("alg")
	if kid == "" || text("kty") != "EC" || text("crv") != "P-521" || (alg != "" && alg != algorithm) {
		return "", nil
	}
	point := make([]byte, 1+2*coordinateSize)
	point[0] = 4 // uncompressed
	for i, name := range []string{"x", "y"} {
		raw, err := base64URL.DecodeString(text(name))
		if err != nil || len(raw) == 0 || len(raw) > coordinateSize {
			return "", nil
		}
		copy(point[1+(i+1)*coordinateSize-len(raw):], raw) // published keys drop leading zeros
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P521(), point)
	if err != nil {
		return "", nil
	}
	return kid, key
}
