package truelayer

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"payouts/internal/payout"
)

const huge = 100 << 20 // bytes

// pour sends first, then the same bytes over and over until huge is reached
// or nobody listens any more.
func pour(first, again string) does {
	chunk := []byte(strings.Repeat(again, 1+(64<<10)/len(again)))
	return func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, first) //nolint:errcheck
		for sent := 0; sent < huge; {
			n, err := w.Write(chunk)
			if sent += n; err != nil {
				return
			}
		}
	}
}

// drip sends one byte after the other for ever.
func drip(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		io.WriteString(w, " ") //nolint:errcheck
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// early sends one interim answer after the other for ever.
func early(w http.ResponseWriter, r *http.Request) {
	io.ReadAll(r.Body) //nolint:errcheck
	conn, _, _ := w.(http.Hijacker).Hijack()
	defer conn.Close() //nolint:errcheck
	conn.Write([]byte("HTTP/1.1 "))
	for {
		if _, err := conn.Write([]byte("103 Early Hints\r\nLink: </" + strings.Repeat("a", 1000) + ">\r\n\r\nHTTP/1.1 ")); err != nil {
			return
		}
	}
}

func zipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, text)
	w.Close()
	return b.String()
}

// every is a body in which each field that any answer needs has this value.
func every(value string) string {
	var parts []string
	for _, name := range []string{"id", "status", "amount_in_minor", "currency", "items", "keys", "access_token", "expires_in", "pagination", "beneficiary", "metadata", "user"} {
		parts = append(parts, fmt.Sprintf("%q:%s", name, value))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// trifle is the shortest thing that is a line of a statement, a refund, and a
// source.
const trifle = `{"type":"a","id":"a","status":"a","amount_in_minor":1,"currency":"GBP"}`

// hostile is what a body may be when those who send it mean harm, or are not
// who we think they are. None of them is an answer to anything.
var hostile = map[string]does{
	"empty":               says(200, ""),
	"spaces":              says(200, "   "),
	"html":                says(200, html),
	"null":                says(200, "null"),
	"text":                says(200, `"id"`),
	"NaN":                 says(200, every("NaN")),
	"Infinity":            says(200, every("-Infinity")),
	"1e999":               says(200, every("1e999")),
	"numbers":             says(200, every("5")),
	"fractions":           says(200, every("1.5")),
	"booleans":            says(200, every("true")),
	"nulls":               says(200, every("null")),
	"lists":               says(200, every("[[]]")),
	"objects":             says(200, every(`{"id":{"id":{}}}`)),
	"empty texts":         says(200, every(`""`)),
	"no UTF-8":            says(200, "\xff\xfe{\"id\":\"a\"}"),
	"a byte order mark":   says(200, "\ufeff{\"id\":\"a\"}"),
	"UTF-16":              says(200, "{\x00\"\x00i\x00d\x00\"\x00"),
	"two objects":         says(200, executedBody+executedBody),
	"every name twice":    says(200, strings.TrimSuffix(every("1"), "}")+","+every("2")[1:]),
	"an item twice named": says(200, `{"items":[{"id":"a","id":"b"}],"keys":[{"kid":"a","kid":"b"}]}`),
	"not ended":           says(200, `{"id":"a","items":[{"id":"a"`),
	"cut":                 raw("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + executedBody),
	"wrong length":        raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + executedBody),
	"two lengths":         raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n" + executedBody),
	"bad chunks":          raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n" + executedBody),
	"gzip":                says(200, zipped(executedBody), "Content-Encoding", "gzip"),
	"gzip bomb":           says(200, zipped(strings.Repeat(" ", 10<<20)), "Content-Encoding", "gzip"),
	"deep lists":          says(200, `{"items":`+strings.Repeat("[", 500_000)),
	"deep objects":        says(200, strings.Repeat(`{"items":`, 100_000)),
	"deep and whole":      says(200, `{"items":`+strings.Repeat("[", 400_000)+strings.Repeat("]", 400_000)+`}`),
	"deep within bounds":  says(200, every(strings.Repeat("[", 9000)+strings.Repeat("]", 9000))),
	"a million fields":    says(200, manyFields(1_000_000)),
	"a million trifles":   says(200, `{"items":[`+strings.Repeat("{},", 300_000)+`{}],"keys":[`+strings.Repeat("{},", 50_000)+`{}]}`),
	"a million items":     pour(`{"items":[`+trifle, ","+trifle),
	"15 MB of fields":     says(200, manyFields(1_600_000)),
	"15 MB of items":      says(200, `{"items":[`+strings.Repeat(trifle+",", 200_000)+trifle+`]}`),
	"15 MB of numbers":    says(200, `{"items":[`+strings.Repeat("1,", 7_500_000)+`1]}`),
	"15 MB of nested":     says(200, every("["+strings.Repeat("[1],", 300_000)+"1]")),
	"100 MB of spaces":    pour("", " "),
	"100 MB of text":      pour(`{"id":"`, "a"),
	"100 MB of digits":    pour(`{"amount_in_minor":`, "9"),
	"100 MB of brackets":  pour(`{"items":`, "["),
	"100 MB of objects":   pour("", `{"items":`),
	"100 MB of numbers":   pour(`{"items":[1`, ",1"),
	"100 MB of escapes":   pour(`{"id":"`, `\u0000`),
	"100 MB of nothing":   pour("", "\x00"),
	"drip":                drip,
	"early hints":         early,
	"endless header":      raw("HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 2*longestHeaders)),
	"no http":             raw("\x16\x03\x01\x02\x00\x01\x00"),
	"closed":              raw(""),
	"reset":               reset,
	"silent":              silent,
}

// endless bodies end with the time for one call.
var endless = map[string]bool{"drip": true, "early hints": true, "silent": true}

func manyFields(n int) string {
	var b strings.Builder
	b.WriteString(`{"id0":0`)
	for i := 1; i < n; i++ {
		fmt.Fprintf(&b, `,"%x":0`, i)
	}
	return b.String() + "}"
}

// Every body of theirs is untrusted: whatever comes, every call answers with
// what it knows for sure, in time, within bounded memory, and without a panic.
func TestHostileBodies(t *testing.T) {
	log.SetOutput(io.Discard) // Go's transport tells of answers that nobody asked for
	defer log.SetOutput(os.Stderr)
	within := 5 * time.Second
	unknown := func(c payout.Created) error {
		if c.Answer != payout.AnswerUnknown || c.Err == nil || c.ProviderID != "" || len(c.Raw) > longestBody {
			return fmt.Errorf("%s with id %q and %d bytes: %v", c.Answer, c.ProviderID, len(c.Raw), c.Err)
		}
		return nil
	}
	fails := func(err error) error {
		if err == nil || errors.Is(err, payout.ErrNotFound) {
			return fmt.Errorf("it was taken for an answer: %v", err)
		}
		return nil
	}
	calls := map[string]struct {
		path   string // of what is hostile
		memory uint64 // bytes that may be used up on the way
		call   func(context.Context, *Client, *Verifier) error
	}{
		"create payout": {"/v3/payouts", 24 << 20, func(ctx context.Context, c *Client, _ *Verifier) error {
			return unknown(c.CreatePayout(ctx, testToken, testSend(within)))
		}},
		"create refund": {"/v3/payments/payment-1/refunds", 24 << 20, func(ctx context.Context, c *Client, _ *Verifier) error {
			return unknown(c.CreateRefund(ctx, testToken, testRefund(within)))
		}},
		"get payout": {"/v3/payouts/p", 24 << 20, func(ctx context.Context, c *Client, _ *Verifier) error {
			_, err := c.GetPayout(ctx, "p")
			return fails(err)
		}},
		"get refund": {"/v3/payments/p/refunds/r", 24 << 20, func(ctx context.Context, c *Client, _ *Verifier) error {
			_, err := c.GetRefund(ctx, "p", "r")
			return fails(err)
		}},
		"refunds": {"/v3/payments/p/refunds", 24 << 20, func(ctx context.Context, c *Client, _ *Verifier) error {
			_, err := c.Refunds(ctx, "p")
			return fails(err)
		}},
		"get payment": {"/v3/payments/p", 24 << 20, func(ctx context.Context, c *Client, _ *Verifier) error {
			_, err := c.GetPayment(ctx, "p")
			return fails(err)
		}},
		"merchant accounts": {"/v3/merchant-accounts", 24 << 20, func(ctx context.Context, c *Client, _ *Verifier) error {
			_, err := c.MerchantAccounts(ctx)
			return fails(err)
		}},
		"transactions": {"/v3/merchant-accounts/m/transactions", 200 << 20, func(ctx context.Context, c *Client, _ *Verifier) error {
			_, err := c.Transactions(ctx, "m", time.Now(), time.Now(), "")
			return fails(err)
		}},
		"payment sources": {"/v3/merchant-accounts/m/payment-sources", 24 << 20, func(ctx context.Context, c *Client, _ *Verifier) error {
			_, err := c.PaymentSources(ctx, "m", "u")
			return fails(err)
		}},
		"token": {"/connect/token", 24 << 20, func(ctx context.Context, c *Client, _ *Verifier) error {
			_, err := c.Token(ctx)
			var config *ConfigError
			if errors.As(err, &config) {
				return fmt.Errorf("taken for a fault of configuration: %w", err)
			}
			return fails(err)
		}},
		"webhook keys": {"/.well-known/jwks", 24 << 20, func(ctx context.Context, _ *Client, v *Verifier) error {
			ctx, cancel := context.WithTimeout(ctx, within)
			defer cancel()
			if _, err := v.keys.find(ctx, "k"); !errors.Is(err, ErrKeysUnavailable) || errors.Is(err, ErrNotAuthentic) {
				return fmt.Errorf("got %w", err)
			}
			return nil
		}},
	}
	for call, of := range calls {
		for name, does := range hostile {
			t.Run(call+"/"+name, func(t *testing.T) {
				if within = 5 * time.Second; endless[name] {
					within = 200 * time.Millisecond
				}
				var taken atomic.Int64
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == of.path {
						io.Copy(io.Discard, r.Body)
						does(&counter{w, &taken}, r)
						return
					}
					giveToken(1, w, r)
				}))
				defer server.Close()
				c := newClient(t, server.URL, func(o *Options) { o.HTTPTimeout = within })
				v, err := NewVerifier(VerifierOptions{JWKSURL: server.URL + "/.well-known/jwks"})
				if err != nil {
					t.Fatal(err)
				}
				c.Token(t.Context())
				began, used := time.Now(), allocated()
				if err := of.call(t.Context(), c, v); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took > within+time.Second {
					t.Errorf("took %s", took)
				}
				if used = allocated() - used; used > of.memory {
					t.Errorf("used up %d MB", used>>20)
				}
				t.Logf("%s, %d kB used up", time.Since(began).Round(time.Millisecond), used>>10)
				server.CloseClientConnections()
				if n := taken.Load(); n > 40<<20 {
					t.Errorf("%d bytes were taken", n)
				}
			})
		}
	}
}

// allocated is how many bytes were ever asked for.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// counter counts what is taken of an answer.
type counter struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.n.Add(int64(n))
	return n, err
}

func (c *counter) Flush() { c.ResponseWriter.(http.Flusher).Flush() }

func (c *counter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return c.ResponseWriter.(http.Hijacker).Hijack()
}
