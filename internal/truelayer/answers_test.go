package truelayer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"payouts/internal/payout"
)

// does is what the provider does with a create.
type does = http.HandlerFunc

func says(status int, body string, headers ...string) does {
	return func(w http.ResponseWriter, r *http.Request) {
		io.ReadAll(r.Body) //nolint:errcheck
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body) //nolint:errcheck
	}
}

// raw writes bytes as they are and ends the connection.
func raw(text string) does {
	return func(w http.ResponseWriter, r *http.Request) {
		io.ReadAll(r.Body) //nolint:errcheck
		conn, _, _ := w.(http.Hijacker).Hijack()
		conn.Write([]byte(text)) //nolint:errcheck
		conn.Close()             //nolint:errcheck
	}
}

func reset(w http.ResponseWriter, r *http.Request) {
	io.ReadAll(r.Body) //nolint:errcheck
	conn, _, _ := w.(http.Hijacker).Hijack()
	conn.(*net.TCPConn).SetLinger(0) //nolint:errcheck
	conn.Close()                     //nolint:errcheck
}

func silent(_ http.ResponseWriter, r *http.Request) {
	io.ReadAll(r.Body) //nolint:errcheck
	<-r.Context().Done()
}

func document(status int, kind, title string) string {
	return fmt.Sprintf(`{"type":"https://docs.truelayer.com/docs/error-types#%s","title":%q,"status":%d,"detail":"D","trace_id":"t-1"}`, kind, title, status)
}

const (
	createdBody = `{"id":"5e4c6f80-7b70-47ac-8fd8-c6397ddc1fbf"}`
	html        = "<html>400 Bad Request</html>"
)

var refusedBody = document(400, "invalid-parameters", "Invalid Parameters")

type answerCase struct {
	name   string
	does   does
	row    string
	answer payout.Answer
	check  func(payout.Created) string // what else is wrong; ""
}

func answerCases() []answerCase {
	audienceBody := func(status int) string {
		return strings.Replace(document(status, "unauthenticated", "Unauthenticated"), `"D"`, `"Authorization: The JWT was not able to be validated: InvalidAudience"`, 1)
	}
	after := func(d time.Duration) func(payout.Created) string {
		return func(c payout.Created) string {
			if c.RetryAfter != d {
				return fmt.Sprintf("retry after %s, want %s", c.RetryAfter, d)
			}
			return ""
		}
	}
	keyReused := func(c payout.Created) string {
		if !c.KeyReused {
			return "KeyReused is not set"
		}
		return ""
	}
	configFault := func(c payout.Created) string {
		var config *ConfigError
		if !errors.As(c.Err, &config) || !strings.Contains(c.Detail, "TRUELAYER_AUTH_URL") {
			return "what to change is not said: " + c.Detail
		}
		return ""
	}
	const created, refused, notSent, unknown = payout.AnswerCreated, payout.AnswerRefused, payout.AnswerNotSent, payout.AnswerUnknown
	cases := []answerCase{
		{"202", says(202, createdBody), "created", created, nil},
		{"201", says(201, createdBody), "created", created, nil},
		{"200 with more fields", says(200, `{"status":"authorization_required","id":"a-1","user":{"id":"u"}}`), "created", created, nil},
		{"202 empty", says(202, ""), "taken in, but no id came", unknown, nil},
		{"204", says(204, ""), "taken in, but no id came", unknown, nil},
		{"202 html", says(202, html), "taken in, but no id came", unknown, nil},
		{"202 null id", says(202, `{"id":null}`), "taken in, but no id came", unknown, nil},
		{"202 number id", says(202, `{"id":5}`), "taken in, but no id came", unknown, nil},
		{"202 empty id", says(202, `{"id":""}`), "taken in, but no id came", unknown, nil},
		{"202 id with spaces", says(202, `{"id":"a b"}`), "taken in, but no id came", unknown, nil},
		{"202 id that climbs", says(202, `{"id":".."}`), "taken in, but no id came", unknown, nil},
		{"202 two ids", says(202, `{"id":"a","id":"b"}`), "taken in, but no id came", unknown, nil},
		{"202 ID", says(202, `{"ID":"a"}`), "taken in, but no id came", unknown, nil},
		{"202 list", says(202, `["a"]`), "taken in, but no id came", unknown, nil},
		{"202 deep", says(202, strings.Repeat(`{"id":`, 100000)), "taken in, but no id came", unknown, nil},
		{"202 cut", raw("HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\n" + createdBody), "taken in, but no id came", unknown, nil},
		{"202 too long", says(202, createdBody+strings.Repeat(" ", longestBody)), "taken in, but no id came", unknown, nil},
		{"reset after reading", reset, "no answer came", unknown, nil},
		{"closed after reading", raw(""), "no answer came", unknown, nil},
		{"no http", raw("banana\r\n\r\n"), "no answer came", unknown, nil},
		{"half a header", raw("HTTP/1.1 202 Acc"), "no answer came", unknown, nil},
		{"endless headers", raw("HTTP/1.1 202 Accepted\r\nA: " + strings.Repeat("a", 2*longestHeaders) + "\r\n\r\n" + createdBody), "no answer came", unknown, nil},
		{"silence", silent, "no answer came", unknown, nil},
		{"302", says(302, "", "Location", "/elsewhere"), "redirect, never followed", unknown, nil},
		{"307", says(307, "", "Location", "/elsewhere"), "redirect, never followed", unknown, nil},
		{"400", says(400, refusedBody), "refused", refused, func(c payout.Created) string {
			if c.Reason != payout.ReasonRefused || !strings.Contains(c.Detail, "Invalid Parameters") || !strings.Contains(c.Detail, "t-1") {
				return fmt.Sprintf("reason %q, detail %q", c.Reason, c.Detail)
			}
			return ""
		}},
		{"400 invalid state", says(400, document(400, "invalid-state", "Invalid State")), "refused", refused, nil},
		{"400 told not to come again", says(400, refusedBody, "Tl-Should-Retry", "false"), "refused", refused, nil},
		{"400 told to come again", says(400, refusedBody, "Tl-Should-Retry", "true"), "refused, yet asked to come again", unknown, nil},
		{"400 invalid audience", says(400, audienceBody(400)), "token of another audience", notSent, configFault},
		{"400 invalid audience, told to come again", says(400, audienceBody(400), "Tl-Should-Retry", "true"), "token of another audience", notSent, configFault},
		{"400 that repeats the word", says(400, strings.Replace(refusedBody, `"detail":"D"`, `"detail":"metadata.InvalidAudience is odd","errors":{"metadata.InvalidAudience":["InvalidAudience"]}`, 1)), "refused", refused, nil},
		{"400 html", says(400, html), "refused by a stranger", unknown, nil},
		{"400 empty", says(400, ""), "refused by a stranger", unknown, nil},
		{"400 oauth", says(400, `{"error":"invalid_request"}`), "refused by a stranger", unknown, nil},
		{"400 document of another status", says(400, document(500, "unknown-error", "Unknown Error")), "refused by a stranger", unknown, nil},
		{"400 document of another house", says(400, `{"type":"https://example.com/e#x","title":"T","status":400}`), "refused by a stranger", unknown, nil},
		{"400 about:blank", says(400, `{"type":"about:blank","title":"Bad Request","status":400}`), "refused by a stranger", unknown, nil},
		{"400 no title", says(400, `{"type":"https://docs.truelayer.com/docs/error-types#x","status":400}`), "refused by a stranger", unknown, nil},
		{"400 cut", raw("HTTP/1.1 400 Bad Request\r\nContent-Length: 1000\r\n\r\n" + refusedBody), "refused by a stranger", unknown, nil},
		{"401", says(401, document(401, "unauthenticated", "Unauthenticated")), "not let in", notSent, nil},
		{"401 invalid audience", says(401, audienceBody(401)), "not let in", notSent, configFault},
		{"401 invalid audience by a stranger", says(401, "Authorization: The JWT was not able to be validated: InvalidAudience"), "not let in by a stranger", unknown, configFault},
		{"401 cut", raw("HTTP/1.1 401 Unauthorized\r\nContent-Length: 1000\r\n\r\n" + document(401, "unauthenticated", "Unauthenticated")), "not let in by a stranger", unknown, nil},
		{"401 html", says(401, html), "not let in by a stranger", unknown, nil},
		{"403", says(403, document(403, "forbidden", "Forbidden")), "forbidden", notSent, nil},
		{"403 cut", raw("HTTP/1.1 403 Forbidden\r\nContent-Length: 1000\r\n\r\n" + document(403, "forbidden", "Forbidden")), "forbidden by a stranger", unknown, nil},
		{"403 html", says(403, html), "forbidden by a stranger", unknown, nil},
		{"404", says(404, document(404, "not-found", "Not Found")), "not found", unknown, nil},
		{"408", says(408, ""), "timed out there", unknown, nil},
		{"409 in flight", says(409, document(409, "idempotency-key-concurrency-conflict", "Idempotency-Key Concurrency Conflict")), "first sending still under way", unknown, nil},
		{"409 other", says(409, document(409, "conflict", "Conflict")), "first sending still under way", unknown, nil},
		{"409 key reuse", says(409, document(409, "idempotency-key-reuse", "Idempotency-Key Reuse")), "key used for another body", unknown, keyReused},
		{"422 key reuse", says(422, document(422, "idempotency-key-reuse", "Idempotency-Key Reuse")), "key used for another body", unknown, keyReused},
		{"422 other", says(422, document(422, "other", "Other")), "unprocessable", unknown, nil},
		{"422 html", says(422, html), "unprocessable", unknown, nil},
		{"425", says(425, ""), "too early", unknown, nil},
		{"429", says(429, ""), "too many requests", unknown, after(0)},
		{"429 seconds", says(429, "", "Retry-After", "7"), "too many requests", unknown, after(7 * time.Second)},
		{"429 for ever", says(429, "", "Retry-After", "99999999999999999999"), "too many requests", unknown, after(LongestRetryAfter)},
		{"429 nonsense", says(429, "", "Retry-After", "soon"), "too many requests", unknown, after(0)},
		{"500", says(500, document(500, "unknown-error", "Unknown Error")), "fault there", unknown, nil},
		{"500 sees no use in a retry", says(500, "", "Tl-Should-Retry", "false"), "fault there", unknown, after(LongestRetryAfter)},
		{"500 asks for a retry", says(500, "", "Tl-Should-Retry", "true"), "fault there", unknown, after(0)},
		{"502", says(502, html), "fault there", unknown, nil},
		{"503 later", says(503, "", "Retry-After", "3"), "fault there", unknown, after(3 * time.Second)},
		{"504", says(504, ""), "fault there", unknown, nil},
		{"402", says(402, refusedBody), "never foreseen", unknown, nil},
		{"410", says(410, ""), "never foreseen", unknown, nil},
		{"413", says(413, refusedBody), "never foreseen", unknown, nil},
		{"418", says(418, ""), "never foreseen", unknown, nil},
		{"451", says(451, ""), "never foreseen", unknown, nil},
		{"999", says(999, ""), "never foreseen", unknown, nil},
	}
	return cases
}

// creates are the two calls that move money; both are judged by one table.
var creates = map[string]struct {
	path string
	send func(time.Duration) payout.Send
	call func(*Client, context.Context, payout.Token, payout.Send) payout.Created
}{
	"payout": {"/v3/payouts", testSend, (*Client).CreatePayout},
	"refund": {"/v3/payments/payment-1/refunds", testRefund, (*Client).CreateRefund},
}

func TestAnswers(t *testing.T) {
	seen := map[string]bool{"nothing left": true} // TestNothingLeft
	for kind, create := range creates {
		for _, tc := range answerCases() {
			seen[tc.row] = true
			t.Run(kind+"/"+tc.name, func(t *testing.T) {
				requests := 0
				server := serve(t, func(w http.ResponseWriter, r *http.Request) {
					if requests++; r.URL.Path != create.path {
						t.Errorf("sent to %s", r.URL.Path)
					}
					tc.does(w, r)
				})
				within := 5 * time.Second
				if tc.name == "silence" {
					within = 200 * time.Millisecond
				}
				got := create.call(newClient(t, server.URL), context.Background(), testToken, create.send(within))
				server.Close()
				if got.Answer != tc.answer {
					t.Errorf("answer %s, want %s; %s", got.Answer, tc.answer, got.Detail)
				}
				if !strings.HasPrefix(got.Detail, tc.row+":") {
					t.Errorf("row %q, want %q", got.Detail, tc.row)
				}
				if requests != 1 {
					t.Errorf("%d requests, want 1", requests)
				}
				if (got.Answer == payout.AnswerCreated) != (got.ProviderID != "") || (got.Answer == payout.AnswerCreated) != (got.Err == nil) ||
					(got.Answer == payout.AnswerRefused) != (got.Reason != "") {
					t.Errorf("the parts do not fit: %+v", got)
				}
				if tc.check != nil {
					if wrong := tc.check(got); wrong != "" {
						t.Error(wrong)
					}
				}
			})
		}
	}
	for _, r := range answers {
		if !seen[r.name] {
			t.Errorf("row %q has no test", r.name)
		}
	}
}

// Every status that exists, with every kind of body: only proof is believed.
func TestOnlyProofIsBelieved(t *testing.T) {
	for status := 100; status < 1000; status++ {
		for _, p := range []*problem{nil, {kind: "invalid-parameters", title: "T"}, {kind: "idempotency-key-reuse", title: "T"}} {
			for _, id := range []string{"", "id"} {
				got := judge(sight{began: true, status: status, id: id, problem: p}).answer
				var want payout.Answer
				switch {
				case status >= 200 && status < 300 && id != "":
					want = payout.AnswerCreated
				case status == 400 && p != nil:
					want = payout.AnswerRefused
				case (status == 401 || status == 403) && p != nil:
					want = payout.AnswerNotSent
				default:
					want = payout.AnswerUnknown
				}
				if got != want {
					t.Errorf("%d, problem %v, id %q: %s, want %s", status, p != nil, id, got, want)
				}
			}
		}
	}
}

// The published error documents.
func TestPublishedErrors(t *testing.T) {
	dir := filepath.Join(vectors(t), "bodies", "errors")
	files, err := os.ReadDir(dir)
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	want := map[string]payout.Answer{"400": payout.AnswerRefused, "401": payout.AnswerNotSent, "403": payout.AnswerNotSent}
	for _, f := range files {
		t.Run(f.Name(), func(t *testing.T) {
			var code string
			for _, part := range strings.Split(f.Name(), ".") {
				if len(part) == 3 && strings.Trim(part, "0123456789") == "" {
					code = part
				}
			}
			var status int
			fmt.Sscan(code, &status) //nolint:errcheck
			body := readFile(t, dir, f.Name())
			answer := want[code]
			if answer == "" || strings.HasPrefix(f.Name(), "java.auth") {
				answer = payout.AnswerUnknown
			}
			server := serve(t, says(status, string(body)))
			got := newClient(t, server.URL).CreatePayout(context.Background(), testToken, testSend(5*time.Second))
			if got.Answer != answer {
				t.Errorf("%s, want %s; %s", got.Answer, answer, got.Detail)
			}
			if got.KeyReused != strings.Contains(f.Name(), "key_reuse") {
				t.Errorf("KeyReused is %v", got.KeyReused)
			}
		})
	}
}

// Certain: no byte left. The provider's books must agree.
func TestNothingLeft(t *testing.T) {
	requests := 0
	count := func(w http.ResponseWriter, r *http.Request) { requests++; says(202, createdBody)(w, r) }
	server := serve(t, count)
	closed := httptest.NewServer(nil)
	closed.Close()
	stranger := httptest.NewTLSServer(http.HandlerFunc(count)) // a certificate nobody trusts
	defer stranger.Close()
	mute, err := net.Listen("tcp", "127.0.0.1:0") // takes the call and never shakes hands
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close() //nolint:errcheck
	over, cancel := context.WithCancel(context.Background())
	cancel()
	ctx := context.Background()

	cases := map[string]struct {
		url    string
		ctx    context.Context
		change func(*Client, *payout.Send, *payout.Token)
	}{
		"nobody listens":       {closed.URL, ctx, nil},
		"no such host":         {"http://nowhere.invalid", ctx, nil},
		"untrusted":            {stranger.URL, ctx, nil},
		"no handshake":         {"https://" + mute.Addr().String(), ctx, func(_ *Client, s *payout.Send, _ *payout.Token) { s.Deadline = time.Now().Add(200 * time.Millisecond) }},
		"given up before":      {server.URL, over, nil},
		"deadline passed":      {server.URL, ctx, func(_ *Client, s *payout.Send, _ *payout.Token) { s.Deadline = time.Now().Add(-time.Second) }},
		"no deadline":          {server.URL, ctx, func(_ *Client, s *payout.Send, _ *payout.Token) { s.Deadline = time.Time{} }},
		"no key":               {server.URL, ctx, func(_ *Client, s *payout.Send, _ *payout.Token) { s.Key = "" }},
		"no body":              {server.URL, ctx, func(_ *Client, s *payout.Send, _ *payout.Token) { s.Body = nil }},
		"no token":             {server.URL, ctx, func(_ *Client, _ *payout.Send, tk *payout.Token) { tk.Value = "" }},
		"a refund":             {server.URL, ctx, func(_ *Client, s *payout.Send, _ *payout.Token) { s.Kind = payout.KindRefund }},
		"a key with line ends": {server.URL, ctx, func(_ *Client, s *payout.Send, _ *payout.Token) { s.Key = "a\r\nX: y" }},
		"a token with them":    {server.URL, ctx, func(_ *Client, _ *payout.Send, tk *payout.Token) { tk.Value = "a\nb" }},
		"no budget": {server.URL, ctx, func(c *Client, s *payout.Send, _ *payout.Token) {
			c.pace = newPace(0.01)
			c.pace.limiter.Allow()
			s.Deadline = time.Now().Add(2 * time.Second)
		}},
		"no budget in the first half": {server.URL, ctx, func(c *Client, s *payout.Send, _ *payout.Token) {
			c.pace = newPace(1)
			c.pace.limiter.Allow()
			s.Deadline = time.Now().Add(1500 * time.Millisecond)
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c, send, token := newClient(t, tc.url), testSend(3*time.Second), testToken
			if tc.change != nil {
				tc.change(c, &send, &token)
			}
			got := c.CreatePayout(tc.ctx, token, send)
			if got.Answer != payout.AnswerNotSent || got.Err == nil || got.Detail == "" {
				t.Errorf("got %+v", got)
			}
			if strings.HasPrefix(name, "no budget") && (got.RetryAfter <= 0 || got.RetryAfter > LongestRetryAfter) {
				t.Errorf("retry after %s", got.RetryAfter)
			}
		})
	}
	c := newClient(t, server.URL)
	for name, change := range map[string]func(*payout.Send){
		"refund: a payout":              func(s *payout.Send) { s.Kind = payout.KindPayout },
		"refund: no kind":               func(s *payout.Send) { s.Kind = "" },
		"refund: no payment":            func(s *payout.Send) { s.PaymentID = "" },
		"refund: payment that climbs":   func(s *payout.Send) { s.PaymentID = ".." },
		"refund: payment with a slash":  func(s *payout.Send) { s.PaymentID = "a/b" },
		"refund: payment with a query":  func(s *payout.Send) { s.PaymentID = "a?b" },
		"refund: payment to be escaped": func(s *payout.Send) { s.PaymentID = "a%62" },
		"refund: no key":                func(s *payout.Send) { s.Key = "" },
		"refund: deadline passed":       func(s *payout.Send) { s.Deadline = time.Now() },
	} {
		send := testRefund(3 * time.Second)
		change(&send)
		if got := c.CreateRefund(ctx, testToken, send); got.Answer != payout.AnswerNotSent || got.Err == nil || got.Detail == "" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if requests != 0 {
		t.Errorf("the provider got %d requests", requests)
	}
}
