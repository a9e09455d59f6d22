package truelayer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"

	"payouts/internal/payout"
)

// ErrNotFound: the provider says that it knows no such thing. Soon after a
// create that means "not visible yet", never "it does not exist".
var ErrNotFound = fmt.Errorf("at the provider: %w", payout.ErrNotFound)

// CallError is an answer to a call that creates nothing, other than a yes.
type CallError struct {
	Op         string
	Status     int           // HTTP
	Detail     string        // for people; no personal data
	RetryAfter time.Duration // what they asked for; 0: nothing
	TraceID    string
}

func (e *CallError) Error() string {
	text := fmt.Sprintf("%s: HTTP %d", e.Op, e.Status)
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	if e.TraceID != "" && !strings.Contains(text, e.TraceID) {
		text += ", trace id " + e.TraceID
	}
	return text
}

// Unwrap says that a 401 or 403 is a closed door.
func (e *CallError) Unwrap() error {
	if e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden {
		return payout.ErrNotLetIn
	}
	return nil
}

// question is one GET.
type question struct {
	op   string // what it is for: "get payout"
	path string // with its query
	most int64  // bytes taken of the answer; 0: longestBody
}

// read asks for something and gives back the whole body of a 200. A rejected
// token is renewed once. asked is our clock before the request left.
func (c *Client) read(ctx context.Context, q question) (body []byte, asked time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*c.timeout)
	defer cancel()
	for renewed := false; ; renewed = true {
		token, err := c.Token(ctx)
		if err != nil {
			return nil, time.Time{}, fmt.Errorf("%s: %w", q.op, err)
		}
		if err := c.pace.wait(ctx, c.timeout); err != nil {
			return nil, time.Time{}, fmt.Errorf("%s: %w", q.op, err)
		}
		asked := c.now()
		r := c.get(ctx, q, token)
		if r.status == http.StatusUnauthorized {
			c.tokens.drop(token.Value)
			if !renewed {
				continue
			}
		}
		if r.status == http.StatusOK && r.whole {
			return r.body, asked, nil
		}
		return nil, asked, readError(q.op, r)
	}
}

func (c *Client) get(ctx context.Context, q question, token payout.Token) reply {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return c.exchange(ctx, c.often, call{
		op: q.op, method: http.MethodGet, url: c.api.String() + q.path, most: q.most,
		header: http.Header{"Authorization": {"Bearer " + token.Value}, "Tl-Enable-Pagination": {"true"}},
		fields: about(ctx),
	})
}

// about names the payout or refund that is asked about, for the log.
func about(ctx context.Context) []zap.Field {
	if id := payout.AboutWhich(ctx); id != "" {
		return []zap.Field{zap.String("payout_id", string(id))}
	}
	return nil
}

// unreadable: a yes whose body is not what was asked for.
func unreadable(op string, err error) error {
	return fmt.Errorf("%s: cannot read the answer: %w", op, err)
}

// readError says why there is nothing to read.
func readError(op string, r reply) error {
	if r.err != nil && (r.status == 0 || r.status == http.StatusOK) {
		return fmt.Errorf("%s: %w", op, r.err)
	}
	p := readProblem(r.status, r.body)
	err := error(&CallError{Op: op, Status: r.status, Detail: detail("no", r, p), RetryAfter: r.retryAfter, TraceID: r.traceID})
	switch {
	case r.status == http.StatusNotFound && p != nil: // a 404 of something on the way says nothing about the payout
		return errors.Join(ErrNotFound, err)
	case wrongAudience(r, p):
		return fmt.Errorf("%s: %w", op, audienceError())
	}
	return err
}

// GetPayout asks what became of a payout.
//
//	Repeats: safe
//	Errors:  ErrNotFound (for a time after a create: not visible yet), payout.ErrNoID; else worth another try
//	Clock:   AskedAt is ours, before the request left
//	Source:  docs/truelayer.md, "Get payout"
func (c *Client) GetPayout(ctx context.Context, providerID string) (payout.Word, error) {
	if !askable(providerID) {
		return payout.Word{}, fmt.Errorf("get payout: %.40q is %w", providerID, payout.ErrNoID)
	}
	return c.word(ctx, question{op: "get payout", path: "/v3/payouts/" + url.PathEscape(providerID)})
}

func (c *Client) word(ctx context.Context, q question) (payout.Word, error) {
	body, asked, err := c.read(ctx, q)
	if err != nil {
		return payout.Word{}, noID(q.op, err)
	}
	w, err := readWord(body)
	if err != nil {
		return payout.Word{}, unreadable(q.op, err)
	}
	w.AskedAt = asked
	return w, nil
}

// noID marks an answer that the same question gets again: to an id of a form that
// they do not take, or that is somebody else's. About an id that they gave us it
// says nothing.
func noID(op string, err error) error {
	var said *CallError
	if !errors.As(err, &said) || said.Op != op || said.Status < 400 || said.Status > 499 {
		return err
	}
	switch said.Status {
	case http.StatusUnauthorized, http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly, http.StatusTooManyRequests:
		return err
	}
	return errors.Join(payout.ErrNoID, err)
}

// MerchantAccount is an account of ours that is paid from.
type MerchantAccount struct {
	ID        string
	Currency  payout.Currency
	Available payout.Money // minor units; what can be paid out now
	Current   payout.Money // minor units; with what is under way
}

// MerchantAccounts lists our accounts. One currency may have several.
//
//	Repeats: safe
//	Source:  docs/truelayer.md, "Merchant accounts"
func (c *Client) MerchantAccounts(ctx context.Context) ([]MerchantAccount, error) {
	const op = "merchant accounts"
	body, _, err := c.read(ctx, question{op: op, path: "/v3/merchant-accounts"})
	if err != nil {
		return nil, err
	}
	accounts, err := readMerchantAccounts(body)
	if err != nil {
		return nil, unreadable(op, err)
	}
	return accounts, nil
}

func readMerchantAccounts(body []byte) (accounts []MerchantAccount, err error) {
	err = items(body, func(item object, _ []byte) error {
		f := &fields{object: item}
		a := MerchantAccount{ID: f.must("id"), Available: f.money("available_balance_in_minor"), Current: f.money("current_balance_in_minor")}
		a.Currency = a.Current.Currency
		accounts = append(accounts, a)
		return f.err()
	})
	return accounts, err
}
