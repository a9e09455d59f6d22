package truelayer

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestNewNamesEveryMistake(t *testing.T) {
	_, err := New(Options{HTTPTimeout: -1, RPS: -1})
	if err == nil {
		t.Fatal("nothing is required")
	}
	for _, name := range []string{"TRUELAYER_API_URL", "TRUELAYER_AUTH_URL", "TRUELAYER_JWKS_URL", "TRUELAYER_CLIENT_ID",
		"TRUELAYER_CLIENT_SECRET_FILE", "TRUELAYER_SIGNING_KEY_FILE", "TRUELAYER_SIGNING_KID", "HTTPTimeout", "PROVIDER_RPS"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not named in\n%v", name, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	small, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	der, _ := x509.MarshalPKIXPublicKey(&newKey(t).PublicKey)
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	for name, tc := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"no scheme":     {func(o *Options) { o.APIURL = "api.truelayer.com" }, "TRUELAYER_API_URL"},
		"file":          {func(o *Options) { o.AuthURL = "file:///etc" }, "TRUELAYER_AUTH_URL"},
		"a path":        {func(o *Options) { o.APIURL += "/v3" }, "no path"},
		"a query":       {func(o *Options) { o.JWKSURL += "?a" }, "TRUELAYER_JWKS_URL"},
		"secret in URL": {func(o *Options) { o.AuthURL = "https://user:s3cr3t@host" }, "without user"},
		"not encrypted": {func(o *Options) { o.APIURL = "http://api.truelayer.com" }, "want https"},
		"mixed": {func(o *Options) {
			o.APIURL = "https://api.truelayer.com"
			o.AuthURL = "https://auth.truelayer-sandbox.com"
			o.JWKSURL = "https://webhooks.truelayer.com/.well-known/jwks"
		}, "mixed"},
		"live and local": {func(o *Options) { o.APIURL = "https://api.truelayer.com" }, "mixed"},
		"line end":       {func(o *Options) { o.ClientSecret = "s3cr3t\n" }, "TRUELAYER_CLIENT_SECRET_FILE"},
		"no PEM":         {func(o *Options) { o.SigningKeyPEM = []byte("s3cr3t") }, "TRUELAYER_SIGNING_KEY_FILE"},
		"broken PEM": {func(o *Options) {
			o.SigningKeyPEM = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})
		}, "cannot be read"},
		"public key": {func(o *Options) { o.SigningKeyPEM = public }, "public half"},
		"P-256":      {func(o *Options) { o.SigningKeyPEM = keyPEM(t, small) }, "another kind"},
		"kid":        {func(o *Options) { o.SigningKID = "a b" }, "TRUELAYER_SIGNING_KID"},
	} {
		t.Run(name, func(t *testing.T) {
			o := goodOptions("http://127.0.0.1:1")
			tc.change(&o)
			_, err := New(o)
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Keys as openssl writes them.
func TestSigningKeyForms(t *testing.T) {
	key := newKey(t)
	sec1, _ := x509.MarshalECPrivateKey(key)
	parameters := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 5, 0x2b, 0x81, 4, 0, 0x23}})
	for name, file := range map[string][]byte{
		"PKCS 8":          keyPEM(t, key),
		"SEC 1":           pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}),
		"with parameters": append(parameters, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})...),
	} {
		if got, err := readSigningKey(file); err != nil || !got.Equal(key) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTestSignature(t *testing.T) {
	key := newKey(t)
	status := 204
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sig, err := readSignature(r.Header.Get("Tl-Signature"))
		if err == nil {
			err = sig.prove(&key.PublicKey, r.Method, []string{"/test-signature"}, r.Header, body)
		}
		if err != nil {
			t.Error(err)
		}
		if status == 204 {
			w.WriteHeader(204)
			return
		}
		says(status, document(status, "unauthenticated", "Unauthenticated"))(w, r)
	})
	c := newClient(t, server.URL, func(o *Options) { o.SigningKeyPEM = keyPEM(t, key) })
	if err := c.TestSignature(context.Background()); err != nil {
		t.Error(err)
	}
	if status = 401; c.TestSignature(context.Background()) == nil {
		t.Error("401 is no yes")
	}
}
