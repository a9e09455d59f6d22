package simulator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"

	"github.com/google/uuid"
)

// webhookKey is one of the simulator's own signing keys.
type webhookKey struct {
	Kid       string `json:"kid"`
	DER       []byte `json:"der"`       // SEC 1
	Published bool   `json:"published"` // stands in the key set

	private *ecdsa.PrivateKey
}

// AddClientKey makes the simulator trust a public key of the client.
func (s *Simulator) AddClientKey(kid, publicPEM string) error {
	key, err := parsePublicKey(publicPEM)
	if err != nil {
		return fmt.Errorf("simulator: client key: %w", err)
	}
	if kid == "" {
		return errors.New("simulator: client key: kid is empty")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clientKeys[kid] = key
	return nil
}

func (s *Simulator) clientKey(kid string) *ecdsa.PublicKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clientKeys[kid]
}

func parsePublicKey(text string) (*ecdsa.PublicKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("is not PEM: give a P-521 public key as PEM")
	}
	if block.Type != "PUBLIC KEY" {
		return nil, fmt.Errorf("PEM block is %q: give the public key (-----BEGIN PUBLIC KEY-----)", block.Type)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P521() {
		return nil, errors.New("is not on curve P-521: make one with openssl ecparam -name secp521r1")
	}
	return key, nil
}

// ensureKeys sees to it that the state holds a signing key: the given one, or
// the kept one, or a new one.
func (st *state) ensureKeys(given *ecdsa.PrivateKey, kid string) error {
	for _, k := range st.WebhookKeys {
		var err error
		if k.private, err = x509.ParseECPrivateKey(k.DER); err != nil {
			return fmt.Errorf("kept key %s: %w", k.Kid, err)
		}
	}
	if st.RSAModulus == nil {
		// Nothing is signed with it: the real key set lists an RSA key first,
		// and a reader must step over it. Any odd number of 2,048 bits will do.
		st.RSAModulus = make([]byte, 256)
		_, _ = rand.Read(st.RSAModulus)
		st.RSAModulus[0] |= 0x80
		st.RSAModulus[255] |= 1
		st.RSAKid = uuid.NewString()
	}
	if st.TokenSecret == nil {
		st.TokenSecret = make([]byte, 32)
		_, _ = rand.Read(st.TokenSecret)
	}
	if given == nil && len(st.WebhookKeys) > 0 {
		return nil
	}
	return st.addKey(given, kid)
}

// addKey puts a key, or a new one, at the end: the last one signs.
func (st *state) addKey(key *ecdsa.PrivateKey, kid string) error {
	if key == nil {
		var err error
		if key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader); err != nil {
			return err
		}
	}
	if kid == "" {
		kid = uuid.NewString()
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	kept := st.WebhookKeys[:0]
	for _, k := range st.WebhookKeys {
		if k.Kid != kid {
			kept = append(kept, k)
		}
	}
	st.WebhookKeys = append(kept, &webhookKey{Kid: kid, DER: der, Published: true, private: key})
	return nil
}

// RotateWebhookKey signs from now on with a new key and returns its id. The
// old keys stay in the key set only when keepOld is set.
func (s *Simulator) RotateWebhookKey(keepOld bool) (kid string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.st.WebhookKeys {
		k.Published = k.Published && keepOld
	}
	if err := s.st.addKey(nil, ""); err != nil {
		return "", fmt.Errorf("simulator: rotate: %w", err)
	}
	s.touch()
	return s.signingKey().Kid, nil
}

func (s *Simulator) signingKey() *webhookKey { return s.st.keyFor(SignNormal) }

// keyFor is the last key, or the one before it.
func (st *state) keyFor(sign string) *webhookKey {
	n := len(st.WebhookKeys)
	if sign == SignRotated && n > 1 {
		return st.WebhookKeys[n-2]
	}
	return st.WebhookKeys[n-1]
}

func (st *state) canSign(how Webhook) error {
	if how.Sign == SignRotated && len(st.WebhookKeys) < 2 {
		return errors.New("sign: rotated: no key was rotated yet: do so first, with POST /control/webhook-keys/rotate")
	}
	return nil
}

type jwk struct {
	Kty string `json:"kty"`
	Alg string `json:"alg"`
	Use string `json:"use,omitempty"`
	Kid string `json:"kid"`
	Crv string `json:"crv,omitempty"`
	X   string `json:"x,omitempty"`
	Y   string `json:"y,omitempty"`
	N   string `json:"n,omitempty"`
	E   string `json:"e,omitempty"`
}

// serveJWKS lists the RSA key first, as the real one does, and drops leading
// zeros of coordinates, as the real one has been seen to do.
func (s *Simulator) serveJWKS(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	keys := []jwk{{Kty: "RSA", Alg: "RS512", Use: "sig", Kid: s.st.RSAKid, N: raw64.EncodeToString(s.st.RSAModulus), E: "AQAB"}}
	for _, k := range s.st.WebhookKeys {
		if !k.Published {
			continue
		}
		point, err := k.private.PublicKey.Bytes() // 4, x, y
		if err != nil {
			continue
		}
		x, y := new(big.Int).SetBytes(point[1:1+coordinate]), new(big.Int).SetBytes(point[1+coordinate:])
		keys = append(keys, jwk{Kty: "EC", Alg: "ES512", Use: "sig", Kid: k.Kid, Crv: "P-521",
			X: raw64.EncodeToString(x.Bytes()), Y: raw64.EncodeToString(y.Bytes())})
	}
	cache := s.settings.JWKSCacheControl
	s.mu.Unlock()
	if cache != "" {
		w.Header().Set("Cache-Control", cache)
	}
	writeJSON(w, http.StatusOK, map[string]any{"keys": keys})
}
