package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"
)

// The provider pays instantly: each payout is executed a moment after it was
// created, and a signed webhook says so. It is not the simulator, which checks
// every signature and keeps a journal: what a provider costs is not ours, and
// must take as little of the machine as it can.

const (
	webhookKid  = "6e1f8a0c-3b1d-4c52-8d0e-2f6f7f0a9c12"
	webhookPath = "/webhooks/truelayer"
)

// runProvider is `bench provider`.
func runProvider(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("bench provider", flag.ContinueOnError)
	keyFile := flags.String("key", "", "PEM file of the key that signs webhooks")
	after := flags.Duration("after", 0, "how long after its creation a payout is executed")
	if err := flags.Parse(args); err != nil {
		return err
	}
	key, err := readKey(*keyFile)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	p := &provider{events: newEvents(key, "http://"+listener.Addr().String()), after: *after, made: map[string]*made{},
		client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	routes := http.NewServeMux()
	routes.HandleFunc("GET /.well-known/jwks", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, p.events.keys()) })
	routes.HandleFunc("POST /connect/token", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"access_token": "bench", "token_type": "Bearer", "expires_in": 3600})
	})
	routes.HandleFunc("POST /v3/payouts", p.create)
	routes.HandleFunc("GET /v3/payouts/{id}", p.get)
	door := &http.Server{Handler: routes, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { door.Close() })
	fmt.Fprintf(out, "ready provider=%s\n", listener.Addr())
	if err := door.Serve(listener); err != http.ErrServerClosed { //nolint:errorlint // Serve returns it as it is
		return err
	}
	return nil
}

type provider struct {
	events *events
	after  time.Duration
	client *http.Client

	mu   sync.Mutex
	made map[string]*made // by id
}

// made is a payout at the provider.
type made struct {
	wish     map[string]any
	executed time.Time
}

// create takes a payout. Its signature is not checked. The metadata of its
// body tells where its news goes: several houses share one provider.
func (p *provider) create(w http.ResponseWriter, r *http.Request) {
	wish := map[string]any{}
	if err := json.NewDecoder(r.Body).Decode(&wish); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	id, m := uuid.NewString(), &made{wish: wish, executed: time.Now().Add(p.after)}
	p.mu.Lock()
	p.made[id] = m
	p.mu.Unlock()
	answer(w, http.StatusAccepted, map[string]any{"id": id})
	metadata, _ := wish["metadata"].(map[string]any)
	if gateway, _ := metadata["gateway"].(string); gateway != "" {
		time.AfterFunc(p.after, func() { p.tell(gateway, id, m, metadata) })
	}
}

func (p *provider) tell(gateway, id string, m *made, metadata map[string]any) {
	body, err := json.Marshal(map[string]any{
		"type": "payout_executed", "event_id": uuid.NewString(), "event_version": 1, "payout_id": id, "executed_at": stamp(m.executed),
		"scheme_id": "faster_payments_service", "merchant_account_id": m.wish["merchant_account_id"], "metadata": metadata,
	})
	if err != nil {
		return
	}
	for range 5 {
		request, err := p.events.request("http://"+gateway, body)
		if err != nil {
			return
		}
		response, err := p.client.Do(request)
		if err == nil {
			response.Body.Close()
			if response.StatusCode/100 == 2 {
				return
			}
		}
		time.Sleep(time.Second)
	}
	fmt.Fprintln(os.Stderr, "webhook not taken:", id)
}

func (p *provider) get(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	m := p.made[r.PathValue("id")]
	p.mu.Unlock()
	if m == nil {
		http.NotFound(w, r)
		return
	}
	view := map[string]any{"id": r.PathValue("id"), "status": "authorized", "created_at": stamp(m.executed.Add(-p.after)), "scheme_id": "faster_payments_service"}
	for name, value := range m.wish {
		view[name] = value
	}
	if time.Now().After(m.executed) {
		view["status"], view["executed_at"] = "executed", stamp(m.executed)
	}
	answer(w, http.StatusOK, view)
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // they hung up
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// events signs webhooks as the provider does (docs/truelayer.md, "Webhooks").
type events struct {
	key  *ecdsa.PrivateKey
	base string // where its keys are
	head string // first part of each signature
}

func newEvents(key *ecdsa.PrivateKey, base string) *events {
	head := fmt.Sprintf(`{"alg":"ES512","kid":%q,"tl_version":"2","tl_headers":"X-TL-Webhook-Timestamp","jku":%q}`, webhookKid, base+"/.well-known/jwks")
	return &events{key, base, base64.RawURLEncoding.EncodeToString([]byte(head))}
}

func (e *events) keys() any {
	point, err := e.key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		panic(err) // a key that was read
	}
	text := base64.RawURLEncoding.EncodeToString
	return map[string]any{"keys": []any{map[string]any{"kty": "EC", "alg": "ES512", "crv": "P-521", "kid": webhookKid, "x": text(point[1:67]), "y": text(point[67:])}}}
}

// digest is what is signed of an event.
func (e *events) digest(at string, body []byte) []byte {
	signed := "POST " + webhookPath + "\nX-TL-Webhook-Timestamp: " + at + "\n" + string(body)
	sum := sha512.Sum512([]byte(e.head + "." + base64.RawURLEncoding.EncodeToString([]byte(signed))))
	return sum[:]
}

// request is an event as it is sent to a gateway.
func (e *events) request(gateway string, body []byte) (*http.Request, error) {
	at := time.Now().UTC().Format(time.RFC3339)
	r, s, err := ecdsa.Sign(rand.Reader, e.key, e.digest(at, body))
	if err != nil {
		return nil, err
	}
	value := make([]byte, 132)
	r.FillBytes(value[:66])
	s.FillBytes(value[66:])
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, gateway+webhookPath, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-TL-Webhook-Timestamp", at)
	request.Header.Set("Tl-Signature", e.head+".."+base64.RawURLEncoding.EncodeToString(value))
	return request, nil
}

// newKey makes a P-521 key and writes it to a PEM file.
func newKey(path string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}

func readKey(path string) (*ecdsa.PrivateKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s: is not a PEM file", path)
	}
	return x509.ParseECPrivateKey(block.Bytes)
}
