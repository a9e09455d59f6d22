package truelayer

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// provider is a JWKS host that can go away, and the keys it signs with.
type provider struct {
	*httptest.Server
	mu      sync.Mutex
	keys    map[string]*ecdsa.PrivateKey
	broken  http.HandlerFunc // instead of the keys
	fetches atomic.Int32
}

func newProvider(t testing.TB, kids ...string) *provider {
	p := &provider{keys: map[string]*ecdsa.PrivateKey{}}
	for _, kid := range kids {
		p.keys[kid] = newKey(t)
	}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.fetches.Add(1)
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.broken != nil && r.URL.Path != "/good" {
			p.broken(w, r)
			return
		}
		w.Write(p.jwks()) //nolint:errcheck
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *provider) jwks() []byte {
	list := []map[string]string{{"kty": "RSA", "alg": "RS512", "kid": "rsa", "n": "AQAB", "e": "AQAB"}}
	for kid, key := range p.keys {
		raw, err := key.PublicKey.Bytes()
		if err != nil {
			panic(err)
		}
		short := func(b []byte) string {
			return base64.RawURLEncoding.EncodeToString([]byte(strings.TrimLeft(string(b), "\x00")))
		}
		list = append(list, map[string]string{"kty": "EC", "crv": "P-521", "alg": "ES512", "kid": kid, "x": short(raw[1:67]), "y": short(raw[67:])})
	}
	out, _ := json.Marshal(map[string]any{"keys": list})
	return out
}

func (p *provider) set(f func()) { p.mu.Lock(); defer p.mu.Unlock(); f() }

func (p *provider) jku() string { return p.URL + "/.well-known/jwks" }

func (p *provider) verifier(t testing.TB, now func() time.Time) *Verifier {
	t.Helper()
	v, err := NewVerifier(VerifierOptions{JWKSURL: p.jku(), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// event is one webhook as it arrives, and how it was signed.
type event struct {
	method, target string
	header         http.Header
	body           string

	jose   map[string]any // changes of the JOSE header; nil removes
	signed string         // the path as signed
	key    *ecdsa.PrivateKey
	kid    string
}

const (
	hook      = "/webhooks/truelayer"
	stamp     = "2026-01-02T03:04:05Z"
	eventBody = `{"type":"payout_executed","event_version":1,"event_id":"e-1","payout_id":"p-1"}`
)

func (p *provider) event(kid string) *event {
	return &event{method: "POST", target: hook, body: eventBody, signed: hook, kid: kid, key: p.keys[kid], jose: map[string]any{"jku": p.jku()},
		header: http.Header{"X-Tl-Webhook-Timestamp": {stamp}, "Content-Type": {"application/json"}}}
}

// sign puts the signature on what is signed now; later changes are forgeries.
func (e *event) sign() *event {
	jose := map[string]any{"alg": "ES512", "kid": e.kid, "tl_version": "2", "tl_headers": "x-tl-webhook-timestamp"}
	maps.Copy(jose, e.jose)
	maps.DeleteFunc(jose, func(_ string, v any) bool { return v == nil })
	head, _ := json.Marshal(jose)
	return e.signHeader(string(head))
}

func (e *event) signHeader(head string) *event {
	first := base64.RawURLEncoding.EncodeToString([]byte(head))
	var names struct {
		Headers string `json:"tl_headers"`
	}
	json.Unmarshal([]byte(head), &names) //nolint:errcheck
	payload := e.method + " " + e.signed + "\n"
	if names.Headers != "" {
		for _, name := range strings.Split(names.Headers, ",") {
			payload += name + ": " + e.header.Get(name) + "\n"
		}
	}
	r, s, err := ecdsa.Sign(rand.Reader, e.key, signingDigest(first, []byte(payload+e.body)))
	if err != nil {
		panic(err)
	}
	value := make([]byte, 132)
	r.FillBytes(value[:66])
	s.FillBytes(value[66:])
	e.header.Set("Tl-Signature", first+".."+base64.RawURLEncoding.EncodeToString(value))
	return e
}

func (e *event) verify(v *Verifier) (Event, error) {
	return v.Verify(context.Background(), e.method, e.target, e.header, []byte(e.body))
}

func TestVerify(t *testing.T) {
	p := newProvider(t, "k1", "k2")
	type edit = func(*event)
	for _, tc := range []struct {
		name   string
		before edit // before signing
		after  edit // after
		good   bool
	}{
		{"as sent", nil, nil, true},
		{"second key", func(e *event) { e.kid, e.key = "k2", p.keys["k2"] }, nil, true},
		{"more headers signed", func(e *event) { e.jose["tl_headers"] = "X-Tl-Webhook-Timestamp,Content-Type" }, nil, true},
		{"header in other case", nil, func(e *event) { e.method = "post" }, true},
		{"unsigned header changed", nil, func(e *event) { e.header.Set("Content-Type", "x") }, true},
		{"second value of a header", nil, func(e *event) { e.header.Add("X-Tl-Webhook-Timestamp", "x") }, true},
		{"slash more", nil, func(e *event) { e.target += "/" }, true},
		{"slash less", func(e *event) { e.signed += "/" }, nil, true},
		{"query not signed", nil, func(e *event) { e.target += "?k=v" }, true},
		{"query signed", func(e *event) { e.signed += "?k=v" }, func(e *event) { e.target += "?k=v" }, true},
		{"query signed, slash more", func(e *event) { e.signed += "?k=v" }, func(e *event) { e.target += "/?k=v" }, true},
		{"empty body", func(e *event) { e.body = "" }, nil, true},
		{"body that is no JSON", func(e *event) { e.body = "\xff\x00<html>" }, nil, true},

		{"no signature", nil, func(e *event) { e.header.Del("Tl-Signature") }, false},
		{"empty signature", nil, func(e *event) { e.header.Set("Tl-Signature", "") }, false},
		{"endless signature", nil, func(e *event) { e.header.Set("Tl-Signature", strings.Repeat("a", 1<<20)) }, false},
		{"body changed", nil, func(e *event) { e.body = strings.Replace(e.body, "p-1", "p-2", 1) }, false},
		{"body with a line end", nil, func(e *event) { e.body += "\n" }, false},
		{"method changed", nil, func(e *event) { e.method = "PUT" }, false},
		{"no method", nil, func(e *event) { e.method = "" }, false},
		{"path changed", nil, func(e *event) { e.target = "/webhooks/other" }, false},
		{"two slashes more", nil, func(e *event) { e.target += "//" }, false},
		{"whole URL for a path", nil, func(e *event) { e.target = "https://host" + hook }, false},
		{"other query signed", func(e *event) { e.signed += "?k=v" }, func(e *event) { e.target += "?k=w" }, false},
		{"timestamp changed", nil, func(e *event) { e.header.Set("X-Tl-Webhook-Timestamp", "2026-01-02T03:04:06Z") }, false},
		{"timestamp gone", nil, func(e *event) { e.header.Del("X-Tl-Webhook-Timestamp") }, false},
		{"timestamp not signed", func(e *event) { e.jose["tl_headers"] = "Content-Type" }, nil, false},
		{"nothing signed", func(e *event) { e.jose["tl_headers"] = "" }, nil, false},
		{"no tl_headers", func(e *event) { e.jose["tl_headers"] = nil }, nil, false},
		{"tl_headers as a list", func(e *event) { e.jose["tl_headers"] = []string{"x-tl-webhook-timestamp"} }, nil, false},
		{"signed header missing", func(e *event) { e.jose["tl_headers"] = "x-tl-webhook-timestamp,X-More" }, nil, false},
		{"alg none", func(e *event) { e.jose["alg"] = "none" }, nil, false},
		{"alg ES256", func(e *event) { e.jose["alg"] = "ES256" }, nil, false},
		{"alg es512", func(e *event) { e.jose["alg"] = "es512" }, nil, false},
		{"alg with a control character", func(e *event) { e.jose["alg"] = "ES\x01512" }, nil, false},
		{"no alg", func(e *event) { e.jose["alg"] = nil }, nil, false},
		{"tl_version 1", func(e *event) { e.jose["tl_version"] = "1" }, nil, false},
		{"tl_version a number", func(e *event) { e.jose["tl_version"] = 2 }, nil, false},
		{"tl_version 3", func(e *event) { e.jose["tl_version"] = "3" }, nil, false},
		{"no tl_version", func(e *event) { e.jose["tl_version"] = nil }, nil, false},
		{"crit", func(e *event) { e.jose["crit"] = []string{"x"} }, nil, false},
		{"no kid", func(e *event) { e.jose["kid"] = nil }, nil, false},
		{"unknown kid", func(e *event) { e.jose["kid"] = "k3" }, nil, false},
		{"kid of the RSA key", func(e *event) { e.jose["kid"] = "rsa" }, nil, false},
		{"another key of theirs", func(e *event) { e.kid = "k2" }, nil, false},
		{"a stranger's key", func(e *event) { e.key = newKey(t) }, nil, false},
		{"no jku", func(e *event) { e.jose["jku"] = nil }, nil, false},
		{"another jku", func(e *event) { e.jose["jku"] = "https://example.com/.well-known/jwks" }, nil, false},
		{"jku with a slash more", func(e *event) { e.jose["jku"] = p.jku() + "/" }, nil, false},
		{"jku in capitals", func(e *event) { e.jose["jku"] = strings.ToUpper(p.jku()) }, nil, false},
		{"jku with a query", func(e *event) { e.jose["jku"] = p.jku() + "?x" }, nil, false},
		{"two headers", nil, func(e *event) {
			e.signHeader(`{"alg":"none","alg":"ES512","kid":"k1","tl_version":"2","tl_headers":"x-tl-webhook-timestamp","jku":"` + p.jku() + `"}`)
		}, false},
		{"attached content", nil, func(e *event) {
			e.header.Set("Tl-Signature", strings.Replace(e.header.Get("Tl-Signature"), "..", ".e30.", 1))
		}, false},
		{"padded", nil, func(e *event) { e.header.Set("Tl-Signature", e.header.Get("Tl-Signature")+"=") }, false},
		{"line end inside", nil, func(e *event) { e.header.Set("Tl-Signature", e.header.Get("Tl-Signature")+"\n") }, false},
		{"more dots", nil, func(e *event) { e.header.Set("Tl-Signature", e.header.Get("Tl-Signature")+"....") }, false},
		{"131 bytes", nil, func(e *event) { stretch(e, func(r, s []byte) []byte { return append(r, s[1:]...) }) }, false},
		{"133 bytes", nil, func(e *event) { stretch(e, func(r, s []byte) []byte { return append(append(r, 0), s...) }) }, false},
		{"zeros", nil, func(e *event) { stretch(e, func(r, s []byte) []byte { return make([]byte, 132) }) }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := p.event("k1")
			if tc.before != nil {
				tc.before(e)
			}
			if e.sign(); tc.after != nil {
				tc.after(e)
			}
			got, err := e.verify(p.verifier(t, nil))
			if tc.good {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				if n := got.News(); string(n.Body) != e.body || n.Timestamp != stamp || n.Signature != e.header.Get("Tl-Signature") {
					t.Errorf("news %+v", n)
				}
				return
			}
			if !errors.Is(err, ErrNotAuthentic) || errors.Is(err, ErrKeysUnavailable) {
				t.Errorf("got %v, want %v", err, ErrNotAuthentic)
			}
			if got.body != nil || got.News().ProviderID != "" {
				t.Error("an event came with the refusal")
			}
		})
	}
}

// stretch rewrites the signature's value, choosing one whose s begins with a
// zero, so that a longer or shorter form is the same number.
func stretch(e *event, f func(r, s []byte) []byte) {
	for {
		first, last, _ := strings.Cut(e.header.Get("Tl-Signature"), "..")
		value, _ := base64.RawURLEncoding.DecodeString(last)
		if value[66] != 0 {
			e.sign()
			continue
		}
		e.header.Set("Tl-Signature", first+".."+base64.RawURLEncoding.EncodeToString(f(value[:66:66], value[66:])))
		return
	}
}

// A stranger's address is never asked, and ours only for what is worth it.
func TestOnlyOurKeysAreFetched(t *testing.T) {
	p, stranger := newProvider(t, "k1"), newProvider(t, "k1")
	v := p.verifier(t, nil)
	e := stranger.event("k1").sign()
	if _, err := e.verify(v); !errors.Is(err, ErrNotAuthentic) {
		t.Errorf("got %v", err)
	}
	if p.fetches.Load()+stranger.fetches.Load() != 0 {
		t.Errorf("fetched %d and %d times", p.fetches.Load(), stranger.fetches.Load())
	}
}

// The keys are fetched once for all, and not again for unknown kids within the
// gap, however many come.
func TestFetchesAreBounded(t *testing.T) {
	p, clock := newProvider(t, "k1"), newClock()
	v := p.verifier(t, clock.now)
	good := p.event("k1").sign()
	bad := p.event("k1")
	bad.jose["kid"] = "k9"
	bad.sign()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := good.verify(v); err != nil {
				t.Error(err)
			}
			if _, err := bad.verify(v); !errors.Is(err, ErrNotAuthentic) {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	if n := p.fetches.Load(); n != 1 {
		t.Errorf("%d fetches, want 1", n)
	}
	for range 3 {
		clock.add(refetchAfter)
		for range 5 {
			bad.verify(v) //nolint:errcheck
		}
	}
	if n := p.fetches.Load(); n != 4 {
		t.Errorf("%d fetches, want 4", n)
	}
}

// A new key is found, a withdrawn one is no longer believed.
func TestKeysRotate(t *testing.T) {
	p, clock := newProvider(t, "old"), newClock()
	v := p.verifier(t, clock.now)
	old := p.event("old").sign()
	if _, err := old.verify(v); err != nil {
		t.Fatal(err)
	}
	p.set(func() { delete(p.keys, "old"); p.keys["new"] = newKey(t) })
	fresh := p.event("new").sign()
	if _, err := fresh.verify(v); !errors.Is(err, ErrNotAuthentic) {
		t.Errorf("within the gap: %v", err)
	}
	clock.add(refetchAfter)
	if _, err := fresh.verify(v); err != nil {
		t.Errorf("after the gap: %v", err)
	}
	if _, err := old.verify(v); !errors.Is(err, ErrNotAuthentic) {
		t.Errorf("a withdrawn key is believed: %v", err)
	}
}

// An old set is renewed although every kid is known, behind the back of those
// who wait.
func TestOldKeysAreRenewed(t *testing.T) {
	p, clock := newProvider(t, "k1"), newClock()
	v := p.verifier(t, clock.now)
	e := p.event("k1").sign()
	e.verify(v) //nolint:errcheck
	p.set(func() { p.keys = map[string]*ecdsa.PrivateKey{"k2": newKey(t)} })
	clock.add(keysAge)
	limit := time.Now().Add(5 * time.Second)
	for {
		if _, err := e.verify(v); errors.Is(err, ErrNotAuthentic) {
			break
		}
		if time.Now().After(limit) {
			t.Fatal("a withdrawn key is believed for ever")
		}
	}
}

// While their host is down the last good keys hold, and for anything else
// nobody can tell: 5xx, never 401.
func TestKeysOutage(t *testing.T) {
	for name, broken := range map[string]http.HandlerFunc{
		"503":       says(503, ""),
		"html":      says(200, html),
		"empty":     says(200, ""),
		"no keys":   says(200, `{"keys":[]}`),
		"rsa only":  says(200, `{"keys":[{"kty":"RSA","kid":"k1","n":"AQAB","e":"AQAB"}]}`),
		"too short": says(200, `{"keys":[{"kty":"EC","crv":"P-521","kid":"k1","x":"AQAB","y":"AQAB"}]}`),
		"too long":  says(200, `{"keys":[`+strings.Repeat(" ", longestKeys)+`]}`),
		"redirect":  says(302, "", "Location", "/good"),
		"closed":    raw(""),
	} {
		t.Run(name, func(t *testing.T) {
			p, clock := newProvider(t, "k1"), newClock()
			p.broken = broken
			v := p.verifier(t, clock.now)
			e := p.event("k1").sign()
			if _, err := e.verify(v); !errors.Is(err, ErrKeysUnavailable) || errors.Is(err, ErrNotAuthentic) {
				t.Errorf("never fetched: %v", err)
			}
			p.set(func() { p.broken = nil })
			clock.add(refetchAfter)
			if _, err := e.verify(v); err != nil {
				t.Fatal(err)
			}
			p.set(func() { p.broken = broken })
			clock.add(24 * time.Hour)
			unknown := p.event("k1")
			unknown.jose["kid"] = "k2"
			if _, err := unknown.sign().verify(v); !errors.Is(err, ErrKeysUnavailable) {
				t.Errorf("unknown kid during an outage: %v", err)
			}
			if _, err := e.verify(v); err != nil {
				t.Errorf("the last good keys are lost: %v", err)
			}
		})
	}
}

// Who waits for the keys can give up.
func TestWaitingForKeysEnds(t *testing.T) {
	p := newProvider(t, "k1")
	release := make(chan struct{})
	p.broken = func(http.ResponseWriter, *http.Request) { <-release }
	defer close(release)
	e := p.event("k1").sign()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.verifier(t, nil).Verify(ctx, e.method, e.target, e.header, []byte(e.body)); !errors.Is(err, ErrKeysUnavailable) {
		t.Errorf("got %v", err)
	}
}

// Keys whose coordinates lost their leading zeros are keys.
func TestShortCoordinates(t *testing.T) {
	for range 200 {
		key := newKey(t)
		if raw, _ := key.PublicKey.Bytes(); raw[1] != 0 { // one key in two has an x of 65 bytes
			continue
		}
		keys, err := readKeys((&provider{keys: map[string]*ecdsa.PrivateKey{"k": key}}).jwks())
		if err != nil || !keys["k"].Equal(&key.PublicKey) {
			t.Fatalf("a short coordinate is refused: %v", err)
		}
		return
	}
	t.Error("no short coordinate came up")
}

// Only whole P-521 keys for ES512 are keys; one that is not leaves the others.
func TestReadKeysPassesOver(t *testing.T) {
	good := string((&provider{keys: map[string]*ecdsa.PrivateKey{"k": newKey(t)}}).jwks())
	for name, change := range map[string][2]string{
		"kty": {`"kty":"EC"`, `"kty":"RSA"`}, "crv": {`"crv":"P-521"`, `"crv":"P-256"`}, "alg": {`"alg":"ES512"`, `"alg":"ES256"`},
		"kid": {`"kid":"k"`, `"kid":""`}, "x": {`"x":"`, `"x":"A`}, "long x": {`"x":"`, `"x":"AAAAAAAA`},
	} {
		broken := strings.ReplaceAll(good, change[0], change[1])
		if keys, err := readKeys([]byte(broken)); err == nil {
			t.Errorf("%s: read %d keys", name, len(keys))
		}
		both := strings.TrimSuffix(good, "]}") + "," + strings.TrimPrefix(broken, `{"keys":[`)
		if keys, err := readKeys([]byte(both)); err != nil || len(keys) != 1 {
			t.Errorf("%s: a broken key takes the others along: %d, %v", name, len(keys), err)
		}
	}
}

func TestNewVerifierRefuses(t *testing.T) {
	for _, url := range []string{"", "webhooks.truelayer.com", "http://webhooks.truelayer.com/.well-known/jwks", "https://a:b@c/d"} {
		if _, err := NewVerifier(VerifierOptions{JWKSURL: url}); err == nil || !strings.Contains(err.Error(), "TRUELAYER_JWKS_URL") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	p := newProvider(f, "k1")
	v := p.verifier(f, nil)
	good := p.event("k1").sign()
	if _, err := good.verify(v); err != nil {
		f.Fatal(err)
	}
	text := good.header.Get("Tl-Signature")
	f.Add(text, good.body, hook)
	first, last, _ := strings.Cut(text, "..")
	for _, signature := range []string{"", "..", "a..b", first, first + ".." + strings.Repeat("A", 176), first + "." + first + "." + last, text + "....", text + "\n", "e30.." + last} {
		f.Add(signature, good.body, hook)
	}
	f.Add(text, good.body+" ", hook)
	f.Add(text, good.body, hook+"/?a=b")
	f.Add(text, "", "")
	f.Fuzz(func(t *testing.T, signature, body, target string) {
		header := http.Header{"Tl-Signature": {signature}, "X-Tl-Webhook-Timestamp": {stamp}}
		e, err := v.Verify(context.Background(), "POST", target, header, []byte(body))
		if err == nil && (signature != text || body != good.body) {
			t.Errorf("a forgery passed: %q %q %q", signature, target, body)
		}
		if err != nil && !errors.Is(err, ErrNotAuthentic) {
			t.Errorf("got %v", err)
		}
		e.News()
	})
}

// BenchmarkVerify proves one webhook. Beside its own time it tells how many
// times the bare mathematics that is, measured in turns in the same run, so
// that whatever else the machine does slows both.
func BenchmarkVerify(b *testing.B) {
	p := newProvider(b, "k1")
	v, e := p.verifier(b, nil), p.event("k1").sign()
	body, bare := []byte(e.body), bareVerify(b)
	var whole, alone time.Duration
	for b.Loop() {
		began := time.Now()
		if _, err := v.Verify(context.Background(), e.method, e.target, e.header, body); err != nil {
			b.Fatal(err)
		}
		between := time.Now()
		bare()
		whole, alone = whole+between.Sub(began), alone+time.Since(between)
	}
	b.ReportMetric(float64(whole)/float64(b.N), "ns/op")
	b.ReportMetric(float64(alone)/float64(b.N), "bare-ns/op")
	b.ReportMetric(float64(whole)/float64(alone), "x-bare")
	if b.N >= 100 && whole > alone*5/4 {
		b.Errorf("a webhook costs %.2f of the bare mathematics, want at most 1.25", float64(whole)/float64(alone))
	}
}

// BenchmarkBareVerify is the mathematics alone, to compare with.
func BenchmarkBareVerify(b *testing.B) {
	bare := bareVerify(b)
	for b.Loop() {
		bare()
	}
}

func bareVerify(b *testing.B) func() {
	key := newKey(b)
	digest := signingDigest("head", []byte("payload"))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest)
	if err != nil {
		b.Fatal(err)
	}
	return func() {
		if !ecdsa.Verify(&key.PublicKey, digest, r, s) {
			b.Fatal("refused")
		}
	}
}

func BenchmarkSign(b *testing.B) {
	s := signer{newKey(b), "kid"}
	body := []byte(fmt.Sprintf(`{"amount_in_minor":%d}`, 1000))
	for b.Loop() {
		if _, err := s.sign("POST", "/v3/payouts", "key", body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadWord(b *testing.B) {
	body := []byte(executedBody)
	for b.Loop() {
		if _, err := readWord(body); err != nil {
			b.Fatal(err)
		}
	}
}
