package app

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"payouts/internal/httpapi"
)

// Tokens knows who may use the API. It keeps hashes only.
type Tokens []credential

type credential struct {
	hash   [sha256.Size]byte
	caller httpapi.Caller
}

// callerName is for ever: it is part of every payout's id.
var callerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$`)

// ReadTokens reads API_TOKENS_FILE. A name may have several lines, to change
// its token without a gap, and then has one role. Every mistake is reported,
// by line.
func ReadTokens(file []byte) (Tokens, error) {
	var (
		list Tokens
		errs []error
	)
	for n, line := range lines(file) {
		wrong := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("line %d: %s", n, fmt.Sprintf(format, args...)))
		}
		fields := strings.Fields(line)
		if len(fields) != 3 {
			wrong("want a name, a role and the SHA-256 of the token in hex")
			continue
		}
		t := credential{caller: httpapi.Caller{Name: fields[0], Role: httpapi.Role(fields[1])}}
		if !callerName.MatchString(t.caller.Name) {
			wrong("name %.70q: want 1 to 64 characters of A-Z a-z 0-9 . _ @ -", t.caller.Name)
		}
		if !slices.Contains(httpapi.Roles(), t.caller.Role) {
			wrong("role %.20q: want one of %v", t.caller.Role, httpapi.Roles())
		}
		sum, err := hex.DecodeString(fields[2])
		if err != nil || copy(t.hash[:], sum) != sha256.Size || len(sum) != sha256.Size {
			wrong("want the SHA-256 of the token, 64 hex digits (printf %%s TOKEN | sha256sum), never the token itself")
			continue // nothing to compare with the other lines
		}
		for _, other := range list {
			if other.hash == t.hash {
				wrong("this token stands twice; give each line its own")
			}
			if other.caller.Name == t.caller.Name && other.caller.Role != t.caller.Role {
				wrong("%s has two roles; a name has one", t.caller.Name)
			}
		}
		list = append(list, t)
	}
	if len(list) == 0 && len(errs) == 0 {
		errs = append(errs, errors.New("names nobody; want a line: a name, a role and the SHA-256 of the token in hex"))
	}
	return list, errors.Join(errs...)
}

// Find says who a token belongs to. It takes as long for every token.
func (t Tokens) Find(text string) (httpapi.Caller, bool) {
	hash, found, ok := sha256.Sum256([]byte(text)), httpapi.Caller{}, false
	for _, known := range t {
		if subtle.ConstantTimeCompare(known.hash[:], hash[:]) == 1 {
			found, ok = known.caller, true
		}
	}
	return found, ok
}
