package simulator

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// vectorsFolder holds published signatures, read in place.
func vectorsFolder(t *testing.T) string {
	t.Helper()
	folder := os.Getenv("TRUELAYER_VECTORS")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "shared", "vectors")
	}
	if _, err := os.Stat(filepath.Join(folder, "signing", "vectors.json")); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("published signatures are missing: set TRUELAYER_VECTORS: %v", err)
		}
		t.Skipf("NOT TESTED: published signatures are missing: set TRUELAYER_VECTORS: %v", err)
	}
	return filepath.Join(folder, "signing")
}

type vectorFile struct {
	Malformed []struct{ Value string } `json:"malformed_signatures"`
	Cases     []struct {
		Name          string
		Key           struct{ PEM, JWKS string }
		SignatureFile string `json:"signature_file"`
		Method, Path  string
		Headers       [][2]string
		Body          *string
		Required      []string `json:"required_headers"`
		Expect        string
		Optional      bool `json:"optional_feature"`
	}
}

func readVectors(t *testing.T) (v vectorFile, folder string) {
	t.Helper()
	folder = vectorsFolder(t)
	text, err := os.ReadFile(filepath.Join(folder, "vectors.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Cases) < 30 {
		t.Fatalf("only %d cases: the file has changed its shape", len(v.Cases))
	}
	return v, folder
}

// keySource reads the keys of a case, PEM (any kid) or JWKS (by kid).
func keySource(t *testing.T, folder, pemFile, jwksFile string) func(string) *ecdsa.PublicKey {
	t.Helper()
	read := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	if pemFile != "" {
		key, err := parsePublicKey(string(read(pemFile)))
		if err != nil {
			t.Fatal(err)
		}
		return func(string) *ecdsa.PublicKey { return key }
	}
	return keysOf(t, read(jwksFile))
}

// keysOf reads the EC keys of a JWKS, short coordinates padded.
func keysOf(t *testing.T, text []byte) func(string) *ecdsa.PublicKey {
	t.Helper()
	var set struct{ Keys []jwk }
	if err := json.Unmarshal(text, &set); err != nil {
		t.Fatal(err)
	}
	keys := map[string]*ecdsa.PublicKey{}
	for _, k := range set.Keys {
		if k.Kty != "EC" {
			continue
		}
		point := []byte{4}
		for _, c := range []string{k.X, k.Y} {
			raw, err := raw64.DecodeString(c)
			if err != nil {
				t.Fatal(err)
			}
			point = append(append(point, make([]byte, 66-len(raw))...), raw...)
		}
		key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P521(), point)
		if err != nil {
			t.Fatal(err)
		}
		keys[k.Kid] = key
	}
	return func(kid string) *ecdsa.PublicKey { return keys[kid] }
}

func TestVerifyPublishedSignatures(t *testing.T) {
	v, folder := readVectors(t)
	for _, c := range v.Cases {
		t.Run(c.Name, func(t *testing.T) {
			signature, err := os.ReadFile(filepath.Join(folder, c.SignatureFile))
			if err != nil {
				t.Fatal(err)
			}
			m := message{method: c.Method, path: c.Path, header: http.Header{}}
			for _, h := range c.Headers {
				m.header.Add(h[0], h[1])
			}
			if c.Body != nil {
				m.body = []byte(*c.Body)
			}
			_, err = verify(strings.TrimSpace(string(signature)), keySource(t, folder, c.Key.PEM, c.Key.JWKS), m, c.Required...)
			want := c.Expect == "accept" && !c.Optional // the optional feature is safe to refuse
			if (err == nil) != want {
				t.Errorf("got %v, want accepted: %t", err, want)
			}
		})
	}
}

func TestVerifyRefusesMalformedSignatures(t *testing.T) {
	v, folder := readVectors(t)
	keys := keySource(t, folder, "official/test-resources/ec512-public.pem", "")
	for _, c := range v.Malformed {
		if _, err := verify(c.Value, keys, message{method: "POST", path: "/x", header: http.Header{}}); err == nil {
			t.Errorf("%q was accepted", c.Value)
		}
	}
}

func TestVerifyRefusesOtherHeaders(t *testing.T) {
	m := message{"POST", "/v3/payouts", http.Header{"Idempotency-Key": {"k"}}, []byte("{}")}
	keys := func(string) *ecdsa.PublicKey { return &testKey().PublicKey }
	good := joseHeader{Alg: "ES512", Kid: "k", TLVersion: "2", TLHeaders: "Idempotency-Key"}
	for name, change := range map[string]func(*joseHeader){
		"":                   func(*joseHeader) {},
		"no alg":             func(j *joseHeader) { j.Alg = "" },
		"other alg":          func(j *joseHeader) { j.Alg = "ES256" },
		"no kid":             func(j *joseHeader) { j.Kid = "" },
		"no version":         func(j *joseHeader) { j.TLVersion = "" },
		"version 1":          func(j *joseHeader) { j.TLVersion = "1" },
		"version 3":          func(j *joseHeader) { j.TLVersion = "3" },
		"key not signed":     func(j *joseHeader) { j.TLHeaders = "" },
		"key not in request": func(j *joseHeader) { j.TLHeaders = "Idempotency-Key,X-Other" },
	} {
		jose := good
		change(&jose)
		signature, err := sign(testKey(), jose, m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := verify(signature, keys, m, "idempotency-key"); (err == nil) != (name == "") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestSignAndVerifyAgree(t *testing.T) {
	m := message{"POST", "/hook/", http.Header{"X-Tl-Webhook-Timestamp": {"2026-01-02T03:04:05Z"}}, []byte(`{"a":"<&>"}`)}
	jose := joseHeader{Alg: "ES512", Kid: "k", TLVersion: "2", TLHeaders: timestampHeader, JKU: "http://x/"}
	signature, err := sign(testKey(), jose, m)
	if err != nil {
		t.Fatal(err)
	}
	keys := func(string) *ecdsa.PublicKey { return &testKey().PublicKey }
	got, err := verify(signature, keys, m, timestampHeader)
	if err != nil || got != jose {
		t.Fatalf("got %+v, %v", got, err)
	}
	for name, change := range map[string]func(*message){
		"body":   func(m *message) { m.body = bytes.ToUpper(m.body) },
		"path":   func(m *message) { m.path = "/hooks/" },
		"method": func(m *message) { m.method = "PUT" },
		"header": func(m *message) { m.header = http.Header{"X-Tl-Webhook-Timestamp": {"2026-01-02T03:04:06Z"}} },
	} {
		other := m
		change(&other)
		if _, err := verify(signature, keys, other); err == nil {
			t.Errorf("another %s was accepted", name)
		}
	}
}
