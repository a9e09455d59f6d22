package truelayer

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"
)

// The signature is a detached JWS (docs/truelayer.md, "Signing"). The
// standard library is used rather than a JOSE library: what is signed is not
// the body but their own text of method, path, headers and body; published
// keys have coordinates a JOSE library refuses as too short; and a JOSE library accepts
// forms, such as attached content, that must be refused here.

const (
	algorithm      = "ES512" // ECDSA on P-521 with SHA-512: the only one allowed
	version        = "2"
	coordinateSize = 66 // bytes of r, s, x and y on P-521
)

// base64URL is the encoding of every part: no padding. It passes over line
// ends, which readSignature therefore refuses.
var base64URL = base64.RawURLEncoding

// joseHeader is the first part of a signature, as we write it.
type joseHeader struct {
	Alg     string `json:"alg"`
	KID     string `json:"kid"`
	Version string `json:"tl_version"`
	Headers string `json:"tl_headers"`
}

// signer makes signatures with our key.
type signer struct {
	key *ecdsa.PrivateKey
	kid string
}

// sign is the Tl-Signature header for exactly these bytes sent under this
// idempotency key. Two signatures of the same bytes differ; both are good.
// Without a key (only /test-signature takes none) no header is signed.
func (s signer) sign(method, path, key string, body []byte) (string, error) {
	h := joseHeader{Alg: algorithm, KID: s.kid, Version: version}
	signed := []signedHeader(nil)
	if key != "" {
		h.Headers = "Idempotency-Key"
		signed = append(signed, signedHeader{"Idempotency-Key", key})
	}
	head, err := json.Marshal(h)
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	first := base64URL.EncodeToString(head)
	digest := signingDigest(first, signingPayload(method, path, signed, body))
	r, t, err := ecdsa.Sign(rand.Reader, s.key, digest)
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	value := make([]byte, 2*coordinateSize)
	r.FillBytes(value[:coordinateSize])
	t.FillBytes(value[coordinateSize:])
	return first + ".." + base64URL.EncodeToString(value), nil
}

type signedHeader struct{ name, value string }

// signingPayload is the text that is signed: method and path, one line per
// signed header, then the body's bytes with nothing after them.
func signingPayload(method, path string, signed []signedHeader, body []byte) []byte {
	out := make([]byte, 0, len(method)+len(path)+len(body)+128)
	out = append(out, strings.ToUpper(method)+" "+path+"\n"...)
	for _, h := range signed {
		out = append(out, h.name+": "+h.value+"\n"...)
	}
	return append(out, body...)
}

// signingDigest is the hash of the JWS signing input.
func signingDigest(first string, payload []byte) []byte {
	h := sha512.New()
	h.Write([]byte(first))
	h.Write([]byte{'.'})
	w := base64.NewEncoder(base64.RawURLEncoding, h)
	w.Write(payload) //nolint:errcheck // a hash takes everything
	w.Close()        //nolint:errcheck
	return h.Sum(nil)
}

// signature is a received Tl-Signature, taken apart but not yet believed.
type signature struct {
	first   string // the header part as received; the digest is over these bytes
	kid     string
	jku     string
	headers []string // signed header names, in order and spelling of the signature
	r, s    *big.Int
}

// readSignature takes a Tl-Signature apart and refuses every form but the one
// allowed. It proves nothing yet.
func readSignature(received string) (signature, error) {
	first, last, ok := strings.Cut(received, "..")
	if !ok || strings.ContainsAny(received, "\r\n") {
		return signature{}, errors.New("want `header..signature` with detached content")
	}
	head, err := base64URL.DecodeString(first) // a dot too many fails here or below
	if err != nil {
		return signature{}, errors.New("header: is not base64url")
	}
	fields, err := readObject(head)
	if err != nil {
		return signature{}, fmt.Errorf("header: %w", err)
	}
	text := func(name string) string {
		v, wrong := fields.exact(name)
		err = errors.Join(err, wrong)
		return v
	}
	sig := signature{first: first, kid: text("kid"), jku: text("jku")}
	alg, ver, names := text("alg"), text("tl_version"), text("tl_headers")
	_, crit := fields["crit"]
	_, b64 := fields["b64"]
	switch {
	case err != nil:
		return signature{}, fmt.Errorf("header: %w", err)
	case alg != algorithm:
		return signature{}, fmt.Errorf("header: alg %.20q: want %s", alg, algorithm)
	case ver != version:
		return signature{}, fmt.Errorf("header: tl_version %.20q: want %q", ver, version)
	case sig.kid == "":
		return signature{}, errors.New("header: kid is missing")
	case crit || b64:
		return signature{}, errors.New("header: crit and b64 are not understood here")
	}
	if names != "" {
		sig.headers = strings.Split(names, ",")
	}
	value, err := base64URL.DecodeString(last)
	if err != nil {
		return signature{}, errors.New("signature: is not base64url")
	}
	if len(value) != 2*coordinateSize {
		return signature{}, fmt.Errorf("signature: has %d bytes; want %d", len(value), 2*coordinateSize)
	}
	sig.r = new(big.Int).SetBytes(value[:coordinateSize])
	sig.s = new(big.Int).SetBytes(value[coordinateSize:])
	return sig, nil
}

// errBadSignature: the mathematics do not agree.
var errBadSignature = errors.New("signature does not fit method, path, headers and body")

// prove checks the signature over what was received. The headers named in
// required must be among the signed ones. One slash more or less at the end
// of the path is tolerated; each path of paths is tried in turn.
func (sig signature) prove(key *ecdsa.PublicKey, method string, paths []string, header http.Header, body []byte, required ...string) error {
	if method == "" {
		return errors.New("method: is missing")
	}
	for _, name := range required {
		if !containsFold(sig.headers, name) {
			return fmt.Errorf("header %s: is not signed", name)
		}
	}
	var signed []signedHeader
	for _, name := range sig.headers {
		values := header.Values(name)
		if len(values) == 0 {
			return fmt.Errorf("header %.60q: is signed but missing", name)
		}
		signed = append(signed, signedHeader{name, values[0]})
	}
	for _, path := range paths {
		if !strings.HasPrefix(path, "/") {
			return fmt.Errorf("path %.60q: want an absolute path", path)
		}
		for _, spelling := range []string{path, otherSlash(path)} {
			digest := signingDigest(sig.first, signingPayload(method, spelling, signed, body))
			if ecdsa.Verify(key, digest, sig.r, sig.s) {
				return nil
			}
		}
	}
	return errBadSignature
}

// otherSlash adds the slash at the end of the path, or takes it away. A query
// stays where it is.
func otherSlash(path string) string {
	path, query, has := strings.Cut(path, "?")
	if has {
		query = "?" + query
	}
	if trimmed, ok := strings.CutSuffix(path, "/"); ok {
		return trimmed + query
	}
	return path + "/" + query
}

func containsFold(list []string, name string) bool {
	for _, s := range list {
		if strings.EqualFold(s, name) {
			return true
		}
	}
	return false
}
