package truelayer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.uber.org/zap"

	"payouts/internal/payout"
)

// The body of a closed-loop create (docs/truelayer.md, "Create payout").
type createBody struct {
	MerchantAccountID string            `json:"merchant_account_id"`
	AmountInMinor     int64             `json:"amount_in_minor"`
	Currency          payout.Currency   `json:"currency"`
	Beneficiary       paymentSource     `json:"beneficiary"`
	Metadata          map[string]string `json:"metadata"` // encoding/json sorts the names
}

type paymentSource struct {
	Type            string `json:"type"`
	UserID          string `json:"user_id"`
	PaymentSourceID string `json:"payment_source_id"`
	Reference       string `json:"reference"`
}

// CreateBody is the exact JSON that asks for this payout: the same bytes for
// the same intent and metadata. Our own two metadata pairs are added, by which
// events and statement lines find their payout.
//
//	Units:  in.Money in minor units
//	Errors: every field that cannot be sent, by name
//	Source: docs/truelayer.md, "Create payout"
func CreateBody(in payout.Intent, metadata map[string]string) ([]byte, error) {
	var errs []error
	wrong := func(field, want string) { errs = append(errs, fmt.Errorf("%s: %s", field, want)) }
	text := func(field, value string) string {
		if value == "" || !utf8.ValidString(value) {
			wrong(field, "want text")
		}
		return value
	}
	if in.Money.Minor < 1 {
		wrong("amount_in_minor", "want 1 or more")
	}
	if !in.Money.Currency.Valid() {
		wrong("currency", "want an ISO 4217 code")
	}
	if _, err := payout.ParseID(string(in.ID)); err != nil {
		wrong("id", err.Error())
	}
	if in.Attempt < 1 {
		wrong("attempt", "want 1 or more")
	}
	all := map[string]string{payout.MetadataPayoutID: string(in.ID), payout.MetadataAttempt: strconv.Itoa(in.Attempt)}
	for _, name := range slices.Sorted(maps.Keys(metadata)) {
		if _, ours := all[name]; ours {
			wrong("metadata."+name, "is set by the orchestrator")
		}
		if n := utf8.RuneCountInString(name); n < 1 || n > 40 || !utf8.ValidString(name) {
			wrong("metadata", fmt.Sprintf("name %.50q: want 1 to 40 characters", name))
		}
		if v := metadata[name]; utf8.RuneCountInString(v) > 500 || !utf8.ValidString(v) {
			wrong("metadata."+name, "want at most 500 characters")
		}
		all[name] = metadata[name]
	}
	if len(all) > 10 {
		wrong("metadata", fmt.Sprintf("has %d pairs, ours among them; want at most 10", len(all)))
	}
	body := createBody{
		MerchantAccountID: text("merchant_account_id", in.MerchantAccountID),
		AmountInMinor:     in.Money.Minor,
		Currency:          in.Money.Currency,
		Beneficiary: paymentSource{
			Type:            "payment_source",
			UserID:          text("beneficiary.user_id", in.UserID),
			PaymentSourceID: text("beneficiary.payment_source_id", in.PaymentSourceID),
			Reference:       text("beneficiary.reference", in.Reference),
		},
		Metadata: all,
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("create body: %w", err)
	}
	return json.Marshal(body)
}

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
	const path = "/v3/payouts"
	if send.Kind != payout.KindPayout {
		return notSent(fmt.Errorf("kind %q: CreatePayout takes payouts only", send.Kind), 0)
	}
	return c.create(ctx, token, send, "create payout", path)
}

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
		op: op, method: http.MethodPost, url: c.api.String() + path, body: send.Body,
		header: http.Header{
			"Authorization":   {"Bearer " + token.Value},
			"Content-Type":    {"application/json"},
			"Idempotency-Key": {send.Key},
			"Tl-Signature":    {signature},
		},
		fields: []zap.Field{zap.String("payout_id", string(send.PayoutID)), zap.Int("attempt", send.Attempt), zap.Int("send", send.Number)},
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
	if strings.Contains(string(r.body), audienceFault) && (r.status == http.StatusUnauthorized || r.status == http.StatusForbidden) {
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
