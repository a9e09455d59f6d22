package truelayer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestTransactions(t *testing.T) {
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.FixedZone("", 3600))
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if r.URL.Path != "/v3/merchant-accounts/m-1/transactions" || q.Get("from") != "2025-12-31T23:00:00Z" || r.Header.Get("tl-enable-pagination") != "true" {
			t.Errorf("asked %s, %v", r.URL, r.Header)
		}
		if q.Get("cursor") == "" {
			io.WriteString(w, `{"items":[{"type":"payout","id":"1","currency":"GBP","amount_in_minor":5,"status":"executed","executed_at":"2026-01-01T00:00:00Z","payout_id":"p","returned_by":"x","metadata":{"payout_id":"o"}}],"pagination":{"next_cursor":"a+b/="}}`) //nolint:errcheck
			return
		}
		if q.Get("cursor") != "a+b/=" {
			t.Errorf("cursor %q", q.Get("cursor"))
		}
		io.WriteString(w, `{"items":[{"type":"external_payment","id":"x","currency":"GBP","amount_in_minor":5,"status":"settled","settled_at":"2026-01-02T00:00:00Z","return_for":{"type":"identified","returned_id":"p"}}]}`) //nolint:errcheck
	})
	c := newClient(t, server.URL)
	first, err := c.Transactions(context.Background(), "m-1", from, from.Add(24*time.Hour), "")
	if err != nil || len(first.Lines) != 1 || first.Lines[0].ReturnedBy != "x" || first.Lines[0].PayoutID != "p" || first.Lines[0].Metadata["payout_id"] != "o" {
		t.Fatalf("%+v: %v", first, err)
	}
	second, err := c.Transactions(context.Background(), "m-1", from, from.Add(24*time.Hour), first.Next)
	if err != nil || len(second.Lines) != 1 || second.Lines[0].ReturnFor != "p" || second.Lines[0].At.IsZero() || second.Next != "" {
		t.Errorf("%+v: %v", second, err)
	}
	if _, err := c.Transactions(context.Background(), "m-1", from, from.Add(32*24*time.Hour), ""); err == nil {
		t.Error("32 days were asked for")
	}
}

// books is a provider's statement: what it would answer, and what it was asked.
type books struct {
	lines []string // times of lines, in order
	page  int      // lines on one page
	spans []time.Duration
}

func (b *books) serve(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	from, _ := time.Parse(time.RFC3339Nano, q.Get("from"))
	to, _ := time.Parse(time.RFC3339Nano, q.Get("to"))
	if q.Get("cursor") == "" {
		b.spans = append(b.spans, to.Sub(from))
	}
	var items []string
	for i, line := range b.lines {
		if at, _ := time.Parse(time.RFC3339Nano, line); !at.Before(from) && !at.After(to) {
			items = append(items, fmt.Sprintf(`{"type":"payout","id":"line-%d","amount_in_minor":1,"currency":"GBP","status":"executed","executed_at":%q}`, i, line))
		}
	}
	first := 0
	if cursor := q.Get("cursor"); cursor != "" {
		fmt.Sscanf(cursor, "after +/=&? %d", &first) //nolint:errcheck // an odd cursor begins anew
	}
	last, next := min(first+b.page, len(items)), ""
	if last < len(items) {
		next = fmt.Sprintf(`,"pagination":{"next_cursor":"after +/=&? %d"}`, last)
	}
	fmt.Fprintf(w, `{"items":[%s]%s}`, strings.Join(items[first:last], ","), next)
}

// A statement of any length is asked for in spans and pages that they answer,
// and every line comes once, those on a border among them.
func TestStatement(t *testing.T) {
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(d time.Duration) string { return from.Add(d).Format(time.RFC3339Nano) }
	b := &books{page: 2, lines: []string{
		at(-1), at(0), at(1), at(LongestSpan - 1), at(LongestSpan), at(LongestSpan), at(LongestSpan), at(LongestSpan + 1),
		at(2 * LongestSpan), at(2*LongestSpan + time.Hour), at(70 * 24 * time.Hour), at(70*24*time.Hour + 1),
	}}
	c := newClient(t, serve(t, b.serve).URL)
	var got []string
	for line, err := range c.Statement(context.Background(), "m-1", from, from.Add(70*24*time.Hour)) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, line.ID)
	}
	var want []string
	for i := 1; i < len(b.lines)-1; i++ {
		want = append(want, fmt.Sprintf("line-%d", i))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if fmt.Sprint(b.spans) != fmt.Sprint([]time.Duration{LongestSpan, LongestSpan, 8 * 24 * time.Hour}) {
		t.Errorf("asked for spans of %v", b.spans)
	}
	for line, err := range c.Statement(context.Background(), "m-1", from, from.Add(time.Hour)) {
		if err != nil || line.ID != "line-1" {
			t.Errorf("%+v: %v", line, err)
		}
		break // who has seen enough stops asking
	}
	for _, err := range c.Statement(context.Background(), "m-1", from, from.Add(-1)) {
		if err == nil {
			t.Error("a span that ends before it begins was asked for")
		}
	}
}

// Half a statement never passes for a whole one: a page that fails, leads back
// or leads on for ever is an error.
func TestStatementEnds(t *testing.T) {
	page := func(next string) string {
		return fmt.Sprintf(`{"items":[{"type":"payout","id":"a","amount_in_minor":1,"currency":"GBP"}],"pagination":{"next_cursor":%q}}`, next)
	}
	for name, tc := range map[string]struct {
		asked  int // how often, until it is an error
		answer func(n int) (int, string)
	}{
		"this page again":  {2, func(int) (int, string) { return 200, page("same") }},
		"round and round":  {4, func(n int) (int, string) { return 200, page(fmt.Sprint(n % 3)) }},
		"on for ever":      {mostPages + 1, func(n int) (int, string) { return 200, page(fmt.Sprint(n)) }},
		"second page 500":  {2, func(n int) (int, string) { return 200 + 300*min(n, 1), page("b") }},
		"second page html": {2, func(n int) (int, string) { return 200, []string{page("b"), html}[min(n, 1)] }},
		"endless cursor":   {1, func(n int) (int, string) { return 200, page(strings.Repeat("a", longestCursor+1+n)) }},
		"cursor twice":     {1, func(int) (int, string) { return 200, `{"items":[],"pagination":{"next_cursor":"a","next_cursor":"a"}}` }},
		"no pagination":    {1, func(int) (int, string) { return 200, `{"items":[],"pagination":"page 1 of 2"}` }},
		"cursor a number":  {1, func(int) (int, string) { return 200, `{"items":[],"pagination":{"next_cursor":5}}` }},
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			c := newClient(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
				status, body := tc.answer(n)
				n++
				says(status, body)(w, r)
			}).URL)
			var last error
			for _, err := range c.Statement(context.Background(), "m-1", time.Now(), time.Now().Add(time.Hour)) {
				last = errors.Join(last, err)
			}
			if last == nil || n != tc.asked {
				t.Errorf("%d questions, want %d: %v", n, tc.asked, last)
			}
		})
	}
}

// A full page of lines, each with all the metadata they take, is read.
func TestLongestPage(t *testing.T) {
	var metadata []string
	for i := range 10 {
		metadata = append(metadata, fmt.Sprintf(`"%s%d":%q`, strings.Repeat("k", 39), i, strings.Repeat("v", 500)))
	}
	line := fmt.Sprintf(`{"type":"payout","id":"a","amount_in_minor":1,"currency":"GBP","status":"executed","executed_at":"2026-01-01T00:00:00Z","metadata":{%s}}`, strings.Join(metadata, ","))
	body := `{"items":[` + strings.Repeat(line+",", 1999) + line + `]}`
	c := newClient(t, serve(t, says(200, body)).URL)
	page, err := c.Transactions(context.Background(), "m-1", time.Now(), time.Now(), "")
	if err != nil || len(page.Lines) != 2000 || len(page.Lines[1999].Metadata) != 10 {
		t.Errorf("%d of 2000 lines from %d bytes: %v", len(page.Lines), len(body), err)
	}
}
