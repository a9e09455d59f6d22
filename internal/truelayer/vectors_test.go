package truelayer

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// vectors is the folder of published signatures and bodies. They are read in
// place; without them these tests prove nothing, so CI must have them.
func vectors(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("TRUELAYER_VECTORS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "vectors")
	}
	if _, err := os.Stat(filepath.Join(dir, "signing", "vectors.json")); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("TRUELAYER_VECTORS: no published vectors in %s: %v", dir, err)
		}
		t.Skipf("SKIPPED: NO PUBLISHED VECTORS in %s; set TRUELAYER_VECTORS", dir)
	}
	return dir
}

func readFile(t testing.TB, elem ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type signingVectors struct {
	Malformed []struct{ Value string } `json:"malformed_signatures"`
	Headers   []struct {
		File   string `json:"signature_file"`
		Expect struct {
			KID     string `json:"kid"`
			Headers string `json:"tl_headers"`
			JKU     string `json:"jku"`
		}
	} `json:"header_extraction"`
	Payloads []struct {
		Method, Path, Body, Payload string
		Headers                     [][2]string
	} `json:"signing_payload"`
	Cases []signingCase
}

type signingCase struct {
	Name     string
	Key      struct{ PEM, JWKS string }
	File     string `json:"signature_file"`
	Method   string
	Path     string
	Headers  [][2]string
	Body     string
	Required []string `json:"required_headers"`
	Expect   string
	Optional bool `json:"optional_feature"`
}

func (c signingCase) header() http.Header {
	h := http.Header{}
	for _, pair := range c.Headers {
		h.Add(pair[0], pair[1])
	}
	return h
}

func readVectors(t testing.TB) (string, signingVectors) {
	dir := filepath.Join(vectors(t), "signing")
	var v signingVectors
	if err := json.Unmarshal(readFile(t, dir, "vectors.json"), &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Cases) < 32 || len(v.Malformed) == 0 || len(v.Headers) == 0 || len(v.Payloads) == 0 {
		t.Fatalf("the vectors are not whole: %d cases", len(v.Cases))
	}
	return dir, v
}

func publicKey(t testing.TB, file []byte) *ecdsa.PublicKey {
	t.Helper()
	block, _ := pem.Decode(file)
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key.(*ecdsa.PublicKey)
}

// Every published signature is accepted or refused as published.
func TestPublishedSignatures(t *testing.T) {
	dir, v := readVectors(t)
	for _, c := range v.Cases {
		t.Run(c.Name, func(t *testing.T) {
			err := func() error {
				sig, err := readSignature(strings.TrimSpace(string(readFile(t, dir, c.File))))
				if err != nil {
					return err
				}
				var key *ecdsa.PublicKey
				if c.Key.PEM != "" {
					key = publicKey(t, readFile(t, dir, c.Key.PEM))
				} else {
					keys, err := readKeys(readFile(t, dir, c.Key.JWKS))
					if err != nil {
						return err
					}
					if key = keys[sig.kid]; key == nil {
						return errors.New("no such key")
					}
				}
				return sig.prove(key, c.Method, []string{c.Path}, c.header(), []byte(c.Body), c.Required...)
			}()
			accept := c.Expect == "accept" && !c.Optional // refusing the optional feature is safe
			if accept && err != nil {
				t.Errorf("refused a good signature: %v", err)
			}
			if !accept && err == nil {
				t.Error("accepted what must be refused")
			}
		})
	}
}

// The published webhooks pass the whole verifier, with keys from a JWKS.
func TestPublishedWebhooks(t *testing.T) {
	dir, v := readVectors(t)
	accepted := 0
	for _, c := range v.Cases {
		signature := strings.TrimSpace(string(readFile(t, dir, c.File)))
		sig, err := readSignature(signature)
		if c.Key.JWKS == "" || err != nil || sig.jku == "" {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Write(readFile(t, dir, c.Key.JWKS)) //nolint:errcheck
			}))
			defer host.Close()
			verifier, err := NewVerifier(VerifierOptions{JWKSURL: host.URL + "/.well-known/jwks"})
			if err != nil {
				t.Fatal(err)
			}
			header := c.header()
			header.Set("Tl-Signature", signature)
			if _, err := verifier.Verify(context.Background(), c.Method, c.Path, header, []byte(c.Body)); !errors.Is(err, ErrNotAuthentic) {
				t.Errorf("a jku that is not ours was taken: %v", err)
			}
			verifier.jku = sig.jku
			event, err := verifier.Verify(context.Background(), c.Method, c.Path, header, []byte(c.Body))
			if c.Expect == "accept" {
				accepted++
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				if n := event.News(); n.EventID == "" || n.Signature != signature || n.Timestamp == "" {
					t.Errorf("news without its proof: %+v", n)
				}
			} else if !errors.Is(err, ErrNotAuthentic) {
				t.Errorf("got %v, want %v", err, ErrNotAuthentic)
			}
		})
	}
	if accepted < 3 {
		t.Errorf("only %d published webhooks were accepted", accepted)
	}
}

func TestMalformedSignatures(t *testing.T) {
	_, v := readVectors(t)
	for _, m := range v.Malformed {
		if _, err := readSignature(m.Value); err == nil {
			t.Errorf("%q was read", m.Value)
		}
	}
}

func TestHeaderExtraction(t *testing.T) {
	dir, v := readVectors(t)
	for _, h := range v.Headers {
		sig, err := readSignature(strings.TrimSpace(string(readFile(t, dir, h.File))))
		if err != nil {
			t.Errorf("%s: %v", h.File, err)
		}
		if sig.kid != h.Expect.KID || sig.jku != h.Expect.JKU || strings.Join(sig.headers, ",") != h.Expect.Headers {
			t.Errorf("%s: got %+v", h.File, sig)
		}
	}
}

func TestSigningPayload(t *testing.T) {
	_, v := readVectors(t)
	for _, p := range v.Payloads {
		var signed []signedHeader
		for _, h := range p.Headers {
			signed = append(signed, signedHeader{h[0], h[1]})
		}
		if got := string(signingPayload(p.Method, p.Path, signed, []byte(p.Body))); got != p.Payload {
			t.Errorf("got %q, want %q", got, p.Payload)
		}
	}
}

// What we sign verifies with every published key pair, short coordinates
// among them, and with nothing changed.
func TestSignRoundTrip(t *testing.T) {
	dir, _ := readVectors(t)
	pairs, err := filepath.Glob(filepath.Join(dir, "official", "*", "ec512-private.pem"))
	if err != nil || len(pairs) < 3 {
		t.Fatalf("%d key pairs: %v", len(pairs), err)
	}
	body := []byte(`{"amount_in_minor":100,"name":"a&b+c/é"}`)
	for _, private := range pairs {
		key, err := readSigningKey(readFile(t, private))
		if err != nil {
			t.Fatal(err)
		}
		public := publicKey(t, readFile(t, strings.Replace(private, "private", "public", 1)))
		s := signer{key, "kid"}
		for range 20 {
			text, err := s.sign("post", "/v3/payouts", "key", body)
			if err != nil {
				t.Fatal(err)
			}
			sig, err := readSignature(text)
			if err != nil {
				t.Fatal(err)
			}
			check := func(method, path, key string, body []byte) error {
				return sig.prove(public, method, []string{path}, http.Header{"Idempotency-Key": {key}}, body, "idempotency-key")
			}
			if err := check("POST", "/v3/payouts", "key", body); err != nil {
				t.Fatal(err)
			}
			if check("PUT", "/v3/payouts", "key", body) == nil || check("POST", "/v3/payout", "key", body) == nil ||
				check("POST", "/v3/payouts", "kez", body) == nil || check("POST", "/v3/payouts", "key", body[1:]) == nil {
				t.Fatal("a changed request verifies")
			}
		}
	}
}
