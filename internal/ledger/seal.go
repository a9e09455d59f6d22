package ledger

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Seal encrypts what must not lie about in clear: the bodies of evidence and
// inbox hold account numbers and names. AES-256-GCM; the row's name is bound
// in, so that a body cannot be moved to another row.
type Seal struct {
	first string
	keys  map[string]cipher.AEAD
}

// ReadSeal reads SEAL_KEY_FILE: a line per key, its id, a space and 32 bytes
// in base64. The first key seals, all open.
func ReadSeal(file io.Reader) (*Seal, error) {
	s := &Seal{keys: map[string]cipher.AEAD{}}
	var errs []error
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		id, text, _ := strings.Cut(line, " ")
		key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
		switch {
		case err != nil || len(key) != 32:
			errs = append(errs, fmt.Errorf("line %d: want an id, a space and 32 bytes in base64 (openssl rand -base64 32)", n))
			continue
		case s.keys[id] != nil:
			errs = append(errs, fmt.Errorf("line %d: key id %q stands twice", n, id))
			continue
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		if s.keys[id], err = cipher.NewGCM(block); err != nil {
			return nil, err
		}
		if s.first == "" {
			s.first = id
		}
	}
	if err := lines.Err(); err != nil {
		errs = append(errs, err)
	}
	if s.first == "" && len(errs) == 0 {
		errs = append(errs, errors.New("holds no key; want a line: an id, a space and 32 bytes in base64"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return s, nil
}

// seal encrypts body for the row that name names.
func (s *Seal) seal(name string, body []byte) (key string, sealed []byte) {
	aead := s.keys[s.first]
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(body)+aead.Overhead())
	rand.Read(nonce) // never fails: it ends the program instead
	return s.first, aead.Seal(nonce, nonce, body, []byte(name))
}

// open decrypts what seal made for name.
func (s *Seal) open(key, name string, sealed []byte) ([]byte, error) {
	aead := s.keys[key]
	if aead == nil {
		return nil, fmt.Errorf("sealed with key %q, which SEAL_KEY_FILE does not hold", key)
	}
	if len(sealed) < aead.NonceSize() {
		return nil, errors.New("sealed body is cut")
	}
	body, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], []byte(name))
	if err != nil {
		return nil, fmt.Errorf("sealed body of %s: %w", name, err)
	}
	return body, nil
}
