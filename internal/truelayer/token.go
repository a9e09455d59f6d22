package truelayer

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"payouts/internal/payout"
)

// scope is the one right we ask for (docs/truelayer.md, "Token").
const scope = "payments"

// renewBefore is how long before its end a token is renewed: above one
// sending, so that no token ends under way.
const renewBefore = 2 * time.Minute

// ConfigError is a fault that no retry heals: somebody must change something.
type ConfigError struct {
	Said   string // what the provider said
	Change string // what to change, naming the variables
}

func (e *ConfigError) Error() string { return e.Said + ": " + e.Change }

// Unwrap says what it comes to for everybody else.
func (e *ConfigError) Unwrap() error { return payout.ErrNotLetIn }

// tokens keeps the access token.
type tokens struct {
	mu    sync.Mutex
	token payout.Token
	renew time.Time // from then on it is renewed
	group singleflight.Group
}

// Token is an access token that will live through one sending. It is cached,
// and renewed once for all who ask meanwhile.
//
//	Repeats: safe
//	Errors:  *ConfigError when somebody must change something; else worth another try
//	Clock:   ExpiresAt counts from the answer's arrival, so that the token ends no later
//	Source:  docs/truelayer.md, "Token"
func (c *Client) Token(ctx context.Context) (payout.Token, error) {
	t := &c.tokens
	t.mu.Lock()
	token, fresh := t.token, c.now().Before(t.renew)
	t.mu.Unlock()
	if fresh {
		return token, nil
	}
	// The renewal belongs to all who wait, so none of them can cancel it.
	ch := t.group.DoChan("", func() (any, error) { return c.renewToken(context.WithoutCancel(ctx)) })
	select {
	case r := <-ch:
		if r.Err != nil {
			return payout.Token{}, fmt.Errorf("access token: %w", r.Err)
		}
		return r.Val.(payout.Token), nil
	case <-ctx.Done():
		return payout.Token{}, fmt.Errorf("access token: %w", context.Cause(ctx))
	}
}

// drop forgets a token that was rejected, unless it was renewed already.
func (t *tokens) drop(value string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token.Value == value {
		t.token, t.renew = payout.Token{}, time.Time{}
	}
}

func (c *Client) renewToken(ctx context.Context) (payout.Token, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if err := c.pace.wait(ctx, c.timeout); err != nil {
		return payout.Token{}, err
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {c.clientID}, "client_secret": {c.clientSecret}, "scope": {scope}}
	ctx, _ = c.follow(ctx, c.now().Add(c.timeout))
	r := c.exchange(ctx, c.once, call{
		op: "access token", method: http.MethodPost, url: c.auth.String() + "/connect/token",
		header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, body: []byte(form.Encode()),
	})
	token, err := c.readToken(r)
	if err != nil {
		return payout.Token{}, err
	}
	life := token.ExpiresAt.Sub(c.now())
	c.tokens.mu.Lock()
	c.tokens.token, c.tokens.renew = token, c.now().Add(life-min(renewBefore, life/4))
	c.tokens.mu.Unlock()
	return token, nil
}

func (c *Client) readToken(r reply) (payout.Token, error) {
	if r.status == 0 || !r.whole {
		return payout.Token{}, r.err
	}
	o, err := readObject(r.body)
	if r.status != http.StatusOK {
		said := ""
		if err == nil {
			said, _ = o.text("error")
		}
		if change, ok := authFaults[said]; ok {
			return payout.Token{}, &ConfigError{Said: said, Change: change}
		}
		return payout.Token{}, &CallError{Op: "access token", Status: r.status, Detail: said, RetryAfter: r.retryAfter, TraceID: r.traceID}
	}
	if err != nil {
		return payout.Token{}, fmt.Errorf("cannot read the answer: %w", err)
	}
	f := &fields{object: o}
	value := f.must("access_token")
	seconds, err := o.whole("expires_in")
	f.keep(err)
	if err == nil && (seconds < 1 || seconds > 24*3600) {
		f.keep(fmt.Errorf("expires_in: %d: want seconds from 1 to %d", seconds, 24*3600))
	}
	if kind := f.text("token_type"); kind != "" && !strings.EqualFold(kind, "Bearer") {
		f.keep(fmt.Errorf("token_type: %.20q: want Bearer", kind))
	}
	if strings.ContainsAny(value, " \"\\") {
		f.keep(fmt.Errorf("access_token: cannot stand in a header"))
	}
	if err := f.err(); err != nil {
		return payout.Token{}, fmt.Errorf("cannot read the answer: %w", err)
	}
	if granted, _ := o.text("scope"); granted != "" && !slices.Contains(strings.Fields(granted), scope) {
		return payout.Token{}, &ConfigError{Said: fmt.Sprintf("the token was granted for %.100q", granted), Change: authFaults["invalid_scope"]}
	}
	return payout.Token{Value: value, ExpiresAt: c.now().Add(time.Duration(seconds) * time.Second)}, nil
}

// authFaults says what to change for each word of the auth server that no
// retry heals.
var authFaults = map[string]string{
	"invalid_client": "check TRUELAYER_CLIENT_ID and TRUELAYER_CLIENT_SECRET_FILE against the Console, " +
		"and that TRUELAYER_AUTH_URL is of the same environment (sandbox and live have different clients)",
	"unauthorized_client": "have the Payments API enabled for this client in the Console",
	"invalid_scope":       "have the scope `payments` (the Payments API) enabled for this client in the Console",
	"unsupported_grant_type": "TRUELAYER_AUTH_URL does not take client credentials; " +
		"want https://auth.truelayer.com or https://auth.truelayer-sandbox.com",
}

// audienceFault is what a token of another scope or environment is answered
// with (docs/truelayer.md, "Token").
const audienceFault = "InvalidAudience"

// wrongAudience says that an answer complains of the token's audience. In a
// 401 or 403 the word counts wherever it stands; in a 400, whose document may
// repeat what was sent, only as their own complaint.
func wrongAudience(r reply, p *problem) bool {
	switch r.status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return bytes.Contains(r.body, []byte(audienceFault))
	case http.StatusBadRequest:
		return p.ofAudience()
	}
	return false
}

// ofAudience says that the document is about the token, not about the request.
func (p *problem) ofAudience() bool {
	return p != nil && len(p.errors) == 0 && strings.Contains(p.detail, audienceFault)
}

func audienceError() *ConfigError {
	return &ConfigError{Said: audienceFault, Change: "the API does not take the token: it must be asked for with scope `payments` (this client does), " +
		"so check that TRUELAYER_AUTH_URL and TRUELAYER_API_URL are of the same environment and that the Payments API is enabled for the client"}
}
