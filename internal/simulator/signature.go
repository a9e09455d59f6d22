package simulator

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

// message is what a Tl-Signature covers.
type message struct {
	method string
	path   string
	header http.Header
	body   []byte
}

// joseHeader is the first part of a Tl-Signature.
type joseHeader struct {
	Alg       string `json:"alg"`
	Kid       string `json:"kid"`
	TLVersion string `json:"tl_version"`
	TLHeaders string `json:"tl_headers"`
	JKU       string `json:"jku,omitempty"`
}

// coordinate is the size of r and of s: P-521 in whole bytes.
const coordinate = 66

var raw64 = base64.RawURLEncoding.Strict()

// verify checks a detached ES512 signature with tl_version 2 over the message.
// Every name in required must be among the signed headers. A path that differs
// by one trailing slash is tolerated.
//
//	Source: docs/truelayer.md, "Request signing"
func verify(signature string, keys func(kid string) *ecdsa.PublicKey, m message, required ...string) (joseHeader, error) {
	if m.method == "" {
		return joseHeader{}, errors.New("method: is empty")
	}
	if !strings.HasPrefix(m.path, "/") {
		return joseHeader{}, fmt.Errorf("path: %q: must begin with a slash", m.path)
	}
	parts := strings.Split(signature, ".")
	if len(parts) != 3 || parts[1] != "" {
		return joseHeader{}, errors.New("signature: must be header..signature")
	}
	jose, err := readJOSE(parts[0])
	if err != nil {
		return jose, err
	}
	names := strings.Split(jose.TLHeaders, ",")
	if jose.TLHeaders == "" {
		names = nil
	}
	for _, need := range required {
		found := false
		for _, name := range names {
			found = found || strings.EqualFold(name, need)
		}
		if !found {
			return jose, fmt.Errorf("tl_headers: %s is not signed", need)
		}
	}
	var signedHeaders strings.Builder
	for _, name := range names {
		values := m.header.Values(name)
		if len(values) == 0 {
			return jose, fmt.Errorf("tl_headers: %s is not in the request", name)
		}
		signedHeaders.WriteString(name + ": " + values[0] + "\n")
	}
	value, err := raw64.DecodeString(parts[2])
	if err != nil || len(value) != 2*coordinate {
		return jose, errors.New("signature: must be 132 bytes in base64url")
	}
	key := keys(jose.Kid)
	if key == nil {
		return jose, fmt.Errorf("kid: %q is not known", jose.Kid)
	}
	r, v := new(big.Int).SetBytes(value[:coordinate]), new(big.Int).SetBytes(value[coordinate:])
	for _, path := range []string{m.path, otherSlash(m.path)} {
		digest := digest(parts[0], m.method, path, signedHeaders.String(), m.body)
		if ecdsa.Verify(key, digest, r, v) {
			return jose, nil
		}
	}
	return jose, errors.New("signature: does not fit the request")
}

// readJOSE reads names exactly: encoding/json alone would take "ALG" for "alg".
func readJOSE(part string) (joseHeader, error) {
	var jose joseHeader
	text, err := raw64.DecodeString(part)
	if err != nil {
		return jose, fmt.Errorf("jose header: %w", err)
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &fields); err != nil {
		return jose, fmt.Errorf("jose header: %w", err)
	}
	for name, into := range map[string]*string{
		"alg": &jose.Alg, "kid": &jose.Kid, "tl_version": &jose.TLVersion, "tl_headers": &jose.TLHeaders, "jku": &jose.JKU,
	} {
		if value, ok := fields[name]; ok {
			if err := json.Unmarshal(value, into); err != nil {
				return jose, fmt.Errorf("jose header: %s: %w", name, err)
			}
		}
	}
	if jose.Alg != "ES512" {
		return jose, fmt.Errorf("alg: %q: must be ES512", jose.Alg)
	}
	if jose.TLVersion != "2" {
		return jose, fmt.Errorf("tl_version: %q: must be 2", jose.TLVersion)
	}
	if jose.Kid == "" {
		return jose, errors.New("kid: is missing")
	}
	return jose, nil
}

// sign makes the Tl-Signature of a message; the headers named in tl_headers
// must be set.
func sign(key *ecdsa.PrivateKey, jose joseHeader, m message) (string, error) {
	text, err := json.Marshal(jose)
	if err != nil {
		return "", fmt.Errorf("jose header: %w", err)
	}
	var signedHeaders strings.Builder
	if jose.TLHeaders != "" {
		for name := range strings.SplitSeq(jose.TLHeaders, ",") {
			signedHeaders.WriteString(name + ": " + m.header.Get(name) + "\n")
		}
	}
	part := raw64.EncodeToString(text)
	r, v, err := ecdsa.Sign(rand.Reader, key, digest(part, m.method, m.path, signedHeaders.String(), m.body))
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	value := make([]byte, 2*coordinate)
	r.FillBytes(value[:coordinate])
	v.FillBytes(value[coordinate:])
	return part + ".." + raw64.EncodeToString(value), nil
}

func digest(josePart, method, path, signedHeaders string, body []byte) []byte {
	payload := append([]byte(strings.ToUpper(method)+" "+path+"\n"+signedHeaders), body...)
	sum := sha512.Sum512([]byte(josePart + "." + raw64.EncodeToString(payload)))
	return sum[:]
}

func otherSlash(path string) string {
	if trimmed, ok := strings.CutSuffix(path, "/"); ok {
		return trimmed
	}
	return path + "/"
}
