package httpapi

import (
	"context"
	"net/http"
	"strings"
)

// Role says what the holder of a token may do. Wire format of API_TOKENS_FILE:
// add, never rename.
type Role string

const (
	// RoleBackend is a game backend: writes and sees its own players, payouts and refunds.
	RoleBackend Role = "backend"
	// RoleOperator is one person of treasury, operations or compliance: reads everything and decides cases, together with another.
	RoleOperator Role = "operator"
	// RoleSupport is player support: reads everything but the audit.
	RoleSupport Role = "support"
	// RoleAuditor is compliance or audit: reads everything.
	RoleAuditor Role = "auditor"
)

// Roles lists every role.
func Roles() []Role { return []Role{RoleBackend, RoleOperator, RoleSupport, RoleAuditor} }

// Caller is who a token belongs to. Its name is part of every payout's id and
// so for ever.
type Caller struct {
	Name string
	Role Role
}

// scope is whose rows the caller sees: its own name, or "" for everybody's.
func (c Caller) scope() string {
	if c.Role == RoleBackend {
		return c.Name
	}
	return ""
}

// Callers finds out who a bearer token belongs to, in constant time.
type Callers interface {
	Find(token string) (Caller, bool)
}

type callerKey struct{}

func callerFrom(ctx context.Context) Caller {
	caller, _ := ctx.Value(callerKey{}).(Caller)
	return caller
}

// authenticate names the caller, or refuses.
func authenticate(callers Callers, r *http.Request) (Caller, *Problem) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") || token == "" {
		return Caller{}, unauthorized.problem("want the header Authorization: Bearer <token>")
	}
	caller, ok := callers.Find(token)
	if !ok {
		return Caller{}, unauthorized.problem("this token is not known here")
	}
	return caller, nil
}
