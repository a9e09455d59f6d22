package truelayer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"time"

	"payouts/internal/payout"
)

// Line is one movement on a merchant account. Amounts are positive; the type
// tells the direction.
type Line struct {
	ID          string
	Type        string // merchant_account_payment, external_payment, payout, refund; others are legal
	Status      string // settled, pending, executed
	Money       payout.Money
	At          time.Time // settled or executed; zero while pending
	CreatedAt   time.Time
	PayoutID    string // theirs
	RefundID    string // theirs
	PaymentID   string
	ReturnFor   string // on money that came in: the payout or refund of theirs that it is the return of
	ReturnedBy  string // on money that went out: the line that brought it back
	ContextCode string // withdrawal, service_payment, internal
	SchemeID    string
	Metadata    map[string]string
}

// Page is a part of a statement.
type Page struct {
	Lines []Line
	Next  string // cursor of the next page; empty on the last
	Raw   []byte
}

// LongestSpan is how much time one question about transactions may cover.
const LongestSpan = 31 * 24 * time.Hour

// What a statement may lead to, so that a broken one ends.
const (
	longestCursor = 4 << 10 // bytes; theirs have some 90
	mostPages     = 1000    // of one span: two million lines
)

// Transactions reads one page of an account's movements from from to to, both
// included, by the time they settled or executed. cursor is empty for the
// first page.
//
//	Repeats: safe; lines booked late appear later
//	Source:  docs/truelayer.md, "Merchant accounts"
func (c *Client) Transactions(ctx context.Context, accountID string, from, to time.Time, cursor string) (Page, error) {
	const op = "transactions"
	switch {
	case !askable(accountID):
		return Page{}, fmt.Errorf("%s: %.40q is no id of theirs", op, accountID)
	case to.Before(from) || to.Sub(from) > LongestSpan:
		return Page{}, fmt.Errorf("%s: %s to %s: want at most 31 days, the earlier first", op, from.Format(time.RFC3339), to.Format(time.RFC3339))
	}
	query := url.Values{"from": {from.UTC().Format(time.RFC3339Nano)}, "to": {to.UTC().Format(time.RFC3339Nano)}}
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	body, _, err := c.read(ctx, question{op: op, most: longestPage,
		path: "/v3/merchant-accounts/" + url.PathEscape(accountID) + "/transactions?" + query.Encode()})
	if err != nil {
		return Page{}, err
	}
	page, err := readTransactions(body)
	if err != nil {
		return Page{}, unreadable(op, err)
	}
	if page.Next != "" && page.Next == cursor {
		return Page{}, fmt.Errorf("%s: the next page is this page", op)
	}
	return page, nil
}

func readTransactions(body []byte) (Page, error) {
	o, err := readObject(body)
	if err != nil {
		return Page{}, err
	}
	page := Page{Raw: body}
	if page.Next, err = o.nextCursor(); err != nil || len(page.Next) > longestCursor {
		return Page{}, fmt.Errorf("pagination: next_cursor: want text of at most %d bytes", longestCursor)
	}
	err = o.each("items", func(item object, _ []byte) error {
		line, err := readLine(item)
		page.Lines = append(page.Lines, line)
		return err
	})
	if err != nil {
		return Page{}, err
	}
	return page, nil
}

func readLine(item object) (Line, error) {
	f := &fields{object: item}
	returned := &fields{object: item.inner("return_for")}
	line := Line{
		ID: f.must("id"), Type: f.must("type"), Status: f.text("status"), Money: f.money("amount_in_minor"),
		At: f.when("executed_at"), CreatedAt: f.when("created_at"),
		PayoutID: f.text("payout_id"), RefundID: f.text("refund_id"), PaymentID: f.text("payment_id"),
		ReturnFor: returned.text("returned_id"), ReturnedBy: f.text("returned_by"),
		ContextCode: f.text("context_code"), SchemeID: f.text("scheme_id"), Metadata: item.inner("metadata").strings(),
	}
	if line.At.IsZero() {
		line.At = f.when("settled_at")
	}
	return line, errors.Join(f.err(), returned.err())
}

// Statement reads an account's movements from from to to, both included, over
// any time: span after span of at most LongestSpan, page after page. A line on
// the border of two spans comes once.
//
//	Repeats: safe; lines booked late appear later
//	Errors:  the first one ends it; what came before is a part, never the whole
//	Source:  docs/truelayer.md, "Merchant accounts"
func (c *Client) Statement(ctx context.Context, accountID string, from, to time.Time) iter.Seq2[Line, error] {
	type name struct{ kind, id, status string }
	return func(yield func(Line, error) bool) {
		before := map[name]bool{} // lines that the span before may share with this one
		for start := from; ; {
			end := start.Add(LongestSpan)
			if end.After(to) {
				end = to
			}
			border := map[name]bool{}
			for page, err := range c.pages(ctx, accountID, start, end) {
				if err != nil {
					yield(Line{}, err)
					return
				}
				for _, line := range page.Lines {
					n := name{line.Type, line.ID, line.Status}
					if line.At.IsZero() || !line.At.Before(end) {
						border[n] = true
					}
					if !before[n] && !yield(line, nil) {
						return
					}
				}
			}
			if !end.Before(to) {
				return
			}
			start, before = end, border
		}
	}
}

// pages reads one span to its last page.
func (c *Client) pages(ctx context.Context, accountID string, from, to time.Time) iter.Seq2[Page, error] {
	return func(yield func(Page, error) bool) {
		asked := map[string]bool{}
		for cursor := ""; ; {
			page, err := c.Transactions(ctx, accountID, from, to, cursor)
			if !yield(page, err) || err != nil || page.Next == "" {
				return
			}
			cursor = page.Next
			if asked[cursor] || len(asked) == mostPages {
				yield(Page{}, fmt.Errorf("transactions: page %d leads back, or too far", len(asked)+1))
				return
			}
			asked[cursor] = true
		}
	}
}

// PaymentSources lists the ids of the accounts a user paid in from.
//
//	Repeats: safe
//	Source:  docs/truelayer.md, "Merchant accounts"
func (c *Client) PaymentSources(ctx context.Context, accountID, userID string) ([]string, error) {
	const op = "payment sources"
	if !askable(accountID) {
		return nil, fmt.Errorf("%s: %.40q is no id of theirs", op, accountID)
	}
	query := url.Values{"user_id": {userID}}
	body, _, err := c.read(ctx, question{op: op, path: "/v3/merchant-accounts/" + url.PathEscape(accountID) + "/payment-sources?" + query.Encode()})
	if err != nil {
		return nil, err
	}
	ids, err := readPaymentSources(body)
	if err != nil {
		return nil, unreadable(op, err)
	}
	return ids, nil
}

func readPaymentSources(body []byte) (ids []string, err error) {
	err = items(body, func(item object, _ []byte) error {
		f := &fields{object: item}
		ids = append(ids, f.must("id"))
		return f.err()
	})
	return ids, err
}

// TestSignature asks whether our token and signature are taken. It moves no
// money.
//
//	Repeats: safe
//	Errors:  *ConfigError or *CallError says what is not taken
//	Source:  docs/truelayer.md, "Signing"
func (c *Client) TestSignature(ctx context.Context) error {
	const op, path = "test signature", "/test-signature"
	token, err := c.Token(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if err := c.pace.wait(ctx, c.timeout); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	body := []byte(`{"nonce":"` + c.now().UTC().Format(time.RFC3339Nano) + `"}`)
	signature, err := c.signer.sign(http.MethodPost, path, "", body)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	ctx, _ = c.follow(ctx, c.now().Add(c.timeout))
	r := c.exchange(ctx, c.once, call{op: op, method: http.MethodPost, url: c.api.String() + path, body: body, header: http.Header{
		"Authorization": {"Bearer " + token.Value}, "Content-Type": {"application/json"}, "Tl-Signature": {signature},
	}})
	if r.status == http.StatusNoContent || r.status == http.StatusOK {
		return nil
	}
	if r.status == http.StatusUnauthorized {
		c.tokens.drop(token.Value)
	}
	return readError(op, r)
}
