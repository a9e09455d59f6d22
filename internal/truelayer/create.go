package truelayer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"payouts/internal/payout"
)

// CreatePayout makes one sending: exactly send.Body under send.Key, at most
// once, beginning before send.Deadline and given up at it. Every sending has
// its row in the send log, so nothing is tried again here; the caller sends
// again with the same key and bytes.
//
//	Repeats: safe with the same key and bytes while the key lives
//	Errors:  in the answer: refused, not sent (no byte left, or certainly not looked at), unknown
//	Clock:   ours; checked again before the first byte
//	Source:  docs/truelayer.md, "Create payout", "Idempotency", "Errors"
func (c *Client) CreatePayout(ctx context.Context, token payout.Token, send payout.Send) payout.Created {
	if send.Kind != payout.KindPayout {
		return notSent(fmt.Errorf("kind %q: CreatePayout takes payouts only", send.Kind), 0)
	}
	return c.create(ctx, token, send, "create payout", "/v3/payouts")
}

// CreateRefund makes one sending of a refund of the pay-in send.PaymentID, by
// the same rules as CreatePayout.
//
//	Repeats: safe with the same key and bytes while the key lives
//	Errors:  in the answer: refused, not sent (no byte left, or certainly not looked at), unknown
//	Clock:   ours; checked again before the first byte
//	Source:  docs/truelayer.md, "Refunds", "Idempotency", "Errors"
func (c *Client) CreateRefund(ctx context.Context, token payout.Token, send payout.Send) payout.Created {
	switch {
	case send.Kind != payout.KindRefund:
		return notSent(fmt.Errorf("kind %q: CreateRefund takes refunds only", send.Kind), 0)
	case !pathSafe.MatchString(send.PaymentID):
		return notSent(fmt.Errorf("payment %.40q is no id of theirs", send.PaymentID), 0)
	}
	return c.create(ctx, token, send, "create refund", "/v3/payments/"+send.PaymentID+"/refunds")
}

// pathSafe is an id that stands in a signed path as it is: what is escaped on
// the way may be signed by one side and read by the other in two spellings.
var pathSafe = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// create sends to path, which is as signed.
func (c *Client) create(ctx context.Context, token payout.Token, send payout.Send, op, path string) payout.Created {
	deadline := send.Deadline.Round(0) // by the wall: the other clock stands still while a machine sleeps
	left := deadline.Sub(c.now())
	switch {
	case send.Key == "" || len(send.Body) == 0 || token.Value == "":
		return notSent(fmt.Errorf("%s: key, body and token must be there", op), 0)
	case left <= 0:
		return notSent(fmt.Errorf("%s: %w", op, errTooLate), 0)
	}
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	// At most half of the time is spent waiting: their answer needs the rest.
	if err := c.pace.wait(ctx, left/2); err != nil {
		var busy busyError
		errors.As(err, &busy)
		return notSent(fmt.Errorf("%s: %w", op, err), min(busy.wait, LongestRetryAfter))
	}
	signature, err := c.signer.sign(http.MethodPost, path, send.Key, send.Body)
	if err != nil {
		return notSent(fmt.Errorf("%s: %w", op, err), 0)
	}
	if ctx.Err() != nil || !c.now().Before(deadline) {
		return notSent(fmt.Errorf("%s: %w", op, errTooLate), 0)
	}
	ctx, t := c.follow(ctx, deadline)
	r := c.exchange(ctx, c.once, call{
		op: op, method: http.MethodPost, url: c.api.String() + path, body: send.Body, create: true,
		header: http.Header{
			"Authorization":   {"Bearer " + token.Value},
			"Content-Type":    {"application/json"},
			"Idempotency-Key": {send.Key},
			"Tl-Signature":    {signature},
		},
		fields: []zap.Field{zap.String("payout_id", string(send.PayoutID)), zap.String("kind", string(send.Kind)),
			zap.Int("attempt", send.Attempt), zap.Int("send", send.Number)},
	})
	return c.conclude(r, look(r, t.began.Load()), token, op)
}

func notSent(err error, retryAfter time.Duration) payout.Created {
	return payout.Created{Answer: payout.AnswerNotSent, Detail: "not sent: " + err.Error(), RetryAfter: retryAfter, Err: err}
}

// conclude turns what was seen into the answer, by the table alone.
func (c *Client) conclude(r reply, s sight, token payout.Token, op string) payout.Created {
	row := judge(s)
	out := payout.Created{Answer: row.answer, RetryAfter: r.retryAfter, Raw: r.body}
	switch row.effect {
	case effectDropToken:
		c.tokens.drop(token.Value)
		out.NotLetIn = out.Answer == payout.AnswerNotSent
	case effectKeyReused:
		out.KeyReused = true
	}
	out.Detail = detail(row.name, r, s.problem)
	if out.Answer == payout.AnswerCreated {
		out.ProviderID, out.RetryAfter = s.id, 0
		return out
	}
	if out.Answer == payout.AnswerRefused {
		out.Reason, out.RetryAfter = payout.ReasonRefused, 0
	}
	if s.again == "false" && out.Answer == payout.AnswerUnknown {
		out.RetryAfter = LongestRetryAfter // they see no use in another try; the same key stays safe
	}
	cause := r.err
	if cause == nil {
		cause = errors.New(out.Detail)
	}
	if wrongAudience(r, s.problem) {
		cause = audienceError()
		out.Detail += "; " + cause.Error()
	}
	out.Err = fmt.Errorf("%s: %s: %w", op, row.answer, cause)
	return out
}

// account is what looks like an account number or an IBAN. Their messages may
// repeat what was sent.
var account = regexp.MustCompile(`\b[A-Z]{2}[0-9]{2}[A-Z0-9]{10,30}\b|\b[0-9][0-9 -]{4,}[0-9]\b`)

// detail tells people what the answer was, without personal data.
func detail(name string, r reply, p *problem) string {
	var parts []string
	switch {
	case r.status == 0 && r.err != nil:
		parts = append(parts, name+": "+r.err.Error())
	case r.status == 0:
		parts = append(parts, name)
	default:
		parts = append(parts, fmt.Sprintf("%s: HTTP %d", name, r.status))
		if r.err != nil {
			parts = append(parts, r.err.Error())
		}
	}
	if p != nil {
		said := p.title
		if p.detail != "" {
			said += ": " + p.detail
		}
		for _, field := range slices.Sorted(maps.Keys(p.errors)) {
			said += "; " + printable(field) + ": " + printable(strings.Join(p.errors[field], " "))
		}
		parts = append(parts, account.ReplaceAllString(printable(said), "***"))
	}
	if r.traceID != "" {
		parts = append(parts, "trace id "+r.traceID)
	}
	return strings.Join(parts, ", ")
}
