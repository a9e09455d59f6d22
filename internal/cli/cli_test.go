package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"payouts/internal/httpapi"
	"payouts/internal/ledger"
	"payouts/internal/payout"
	"payouts/internal/truelayer"
)

type callers map[string]httpapi.Caller

func (c callers) Find(token string) (httpapi.Caller, bool) { caller, ok := c[token]; return caller, ok }

// newStarter serves the API on a real ledger.
func newStarter(t *testing.T) (url string) {
	t.Helper()
	url, _ = newHouse(t)
	return url
}

// newHouse is newStarter with the ledger at hand.
func newHouse(t *testing.T) (url string, books *ledger.Ledger) {
	t.Helper()
	seal, err := ledger.ReadSeal(strings.NewReader("k1 MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="))
	if err != nil {
		t.Fatal(err)
	}
	books, err = ledger.Open(t.Context(), ledger.Options{URL: "sqlite:" + filepath.Join(t.TempDir(), "books.db"), Seal: seal, Encode: truelayer.Body})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(httpapi.NewAPI(httpapi.Options{
		Ledger: books, Logger: zap.NewNop(), Callers: callers{"token": {Name: "game", Role: httpapi.RoleBackend}, "ann": {Name: "ann", Role: httpapi.RoleOperator}, "bob": {Name: "bob", Role: httpapi.RoleOperator}},
		Limits: payout.Limits{MaxAmountInMinor: payout.DefaultMaxAmountInMinor, Reference: regexp.MustCompile(payout.DefaultReference), ReferenceText: "plain text",
			MerchantAccounts: map[payout.Currency]string{"GBP": "0b1f9d3e-8c2a-4c36-9f0e-3f0b6f8a9c11"}},
		Start: func(context.Context, ledger.Payout) error { return nil },
		Wake:  func(context.Context, payout.Stored) error { return nil },
	}))
	t.Cleanup(func() { server.Close(); books.Close() })
	return server.URL, books
}

type result struct {
	code     int
	out, err string
}

// starter runs a command line as the game backend.
func starter(t *testing.T, url, args string) result {
	t.Helper()
	return starterOf(t, url, "token", args)
}

// starterOf runs a command line as whoever has the token.
func starterOf(t *testing.T, url, token, args string) result {
	t.Helper()
	var out, errs bytes.Buffer
	code := Starter(t.Context(), split(args), Terminal{Out: &out, Err: &errs, Getenv: func(name string) string {
		return map[string]string{"STARTER_URL": url, "STARTER_TOKEN": token}[name]
	}})
	return result{code, out.String(), errs.String()}
}

// split cuts a command line at spaces, but for those in single quotes.
func split(line string) (args []string) {
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			args = append(args, part)
		} else {
			args = append(args, strings.Fields(part)...)
		}
	}
	return args
}

func (r result) expect(t *testing.T, code int, out, err string) {
	t.Helper()
	for _, want := range []struct{ what, got, want string }{{"output", r.out, out}, {"errors", r.err, err}} {
		for _, part := range strings.Split(want.want, "…") {
			if !strings.Contains(want.got, part) {
				t.Errorf("%s: %q is not in:\n%s", want.what, part, want.got)
			}
		}
	}
	if r.code != code {
		t.Errorf("exits %d; want %d: %s%s", r.code, code, r.out, r.err)
	}
}

// A life by command line, against the real API.
func TestCommands(t *testing.T) {
	url := newStarter(t)
	starter(t, url, "balance p1").expect(t, 0, "p1 has no balance here", "")
	starter(t, url, "credit p1 --amount 50.00 --currency GBP --reason 'won game' --key c1").expect(t, 0, "credited p1: £50.00", "")
	starter(t, url, "credit p1 --amount 50.00 --currency GBP --reason 'won game' --key c1").expect(t, 0, "credited p1: £50.00", "")
	starter(t, url, "debit p1 --amount 10.00 --currency GBP --reason fee --key d1").expect(t, 0, "debited p1: £10.00", "")
	starter(t, url, "pay p1 --amount 5.00 --currency GBP --reference WIN").expect(t, 2, "", "--source: no account of p1 in GBP is bound")
	starter(t, url, "sources p1").expect(t, 0, "p1 has no account bound here", "")
	starter(t, url, "source p1 s1 --user u1 --currency GBP").expect(t, 0, "bound s1 to p1", "")
	starter(t, url, "sources p1").expect(t, 0, "SOURCE…s1…u1…GBP", "")

	paid := starter(t, url, "pay p1 --amount 5.00 --currency GBP --reference 'WIN 1' --metadata cup=12")
	paid.expect(t, 0, "£5.00 to p1 is accepted…follow it: starter show ", "idempotency key ")
	id := regexp.MustCompile(`[0-9a-f-]{36}`).FindString(paid.out)
	starter(t, url, "balance p1").expect(t, 0, "AVAILABLE…£35.00…£5.00", "")
	starter(t, url, "show "+id).expect(t, 0, "payout "+id+"…£5.00 to p1, reference \"WIN 1\"…status    accepted…held: set aside…next      it is sent to the provider…payout/"+id+"…never sent…timeline…Your payout is on its way", "")
	starter(t, url, "list --player p1").expect(t, 0, "ID…PLAYER…"+id+"…£5.00…accepted…held", "")
	starter(t, url, "list --status failed").expect(t, 0, "no payouts", "")

	back := starter(t, url, "refund p1 --payment pay-in-1 --amount 7.00 --currency GBP --reference 'BACK 1' --key r1")
	back.expect(t, 0, "refund …£7.00 to p1 is accepted…follow it: starter show ", "")
	refund := regexp.MustCompile(`[0-9a-f-]{36}`).FindString(back.out)
	if again := starter(t, url, "refund p1 --payment pay-in-1 --amount 7.00 --currency GBP --reference 'BACK 1' --key r1"); again.out != back.out {
		t.Errorf("the same refund again says %s; want %s", again.out, back.out)
	}
	starter(t, url, "show "+refund).expect(t, 0, "refund "+refund+"…£7.00 to p1 of the pay-in pay-in-1, reference \"BACK 1\"…held…refund/"+refund, "")
	starter(t, url, "list --refunds").expect(t, 0, refund+"…£7.00…accepted", "")
	if r := starter(t, url, "list"); strings.Contains(r.out, refund) || strings.Contains(starter(t, url, "list --refunds").out, id) {
		t.Errorf("payouts and refunds are listed together:\n%s", r.out)
	}
	starter(t, url, "list --refunds --status failed").expect(t, 0, "no refunds", "")
	starter(t, url, "credit p1 --amount 1234567.50 --currency GBP --reason 'jackpot'").expect(t, 1, "", "amount_in_minor")
	starter(t, url, "credit p1 --amount 123456.50 --currency GBP --reason 'jackpot'").expect(t, 0, "credited p1: £123,456.50", "")

	var whole httpapi.Payout
	if err := json.Unmarshal([]byte(starter(t, url, "show --json "+id).out), &whole); err != nil || whole.ID != id || whole.Metadata["cup"] != "12" {
		t.Errorf("--json shows %+v: %v", whole, err)
	}
	for _, command := range []string{"list", "list --refunds", "show " + refund, "sources p1", "refund p1 --payment p --amount 1.00 --currency GBP --reference B", "balance p1", "source p1 s1 --user u1 --currency GBP", "credit p1 --amount 1.00 --currency GBP --reason x"} {
		if r := starter(t, url, command+" --json"); r.code != 0 || !json.Valid([]byte(r.out)) {
			t.Errorf("%s --json prints %s", command, r.out)
		}
	}
}

func TestRefusals(t *testing.T) {
	url := newStarter(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	nobody := "http://" + closed.Addr().String()
	for name, test := range map[string]struct {
		url, args string
		code      int
		err       string
	}{
		"fields":           {url, "pay p1 --amount 5.00 --currency GBP --reference WIN_1 --source s1 --user u1", 1, "starter: The request is not valid (400)…\n  beneficiary.reference: want plain text"},
		"balance":          {url, "debit p1 --amount 5.00 --currency GBP --reason x", 1, "The balance is too low (422)…amount_in_minor: "},
		"unknown payout":   {url, "show 0cd1b0f7-71bc-4d24-b209-95259dadcc20", 1, "Not found (404)"},
		"no amount":        {url, "pay p1 --currency GBP --reference W", 2, "missing flags: --amount"},
		"amount without":   {url, "credit p1 --amount 10 --currency GBP --reason x", 2, `--amount: "10": want a decimal with 2 digits after the point, such as 10.00`},
		"no such command":  {url, "undo p1", 2, "unexpected argument undo"},
		"refund of what":   {url, "refund p1 --amount 5.00 --currency GBP --reference B", 2, "missing flags: --payment"},
		"refund too much":  {url, "refund p1 --payment x --amount 5.00 --currency GBP --reference B", 1, "The balance is too low (422)"},
		"no role":          {url, "cases", 1, "Not with this role (403)…the role operator, support or auditor"},
		"no role for one":  {url, "case 0cd1b0f7-71bc-4d24-b209-95259dadcc20", 1, "Not with this role (403)"},
		"no role to read":  {url, "inbox", 1, "Not with this role (403)"},
		"no reason":        {url, "resolve x dismiss", 2, "missing flags: --reason"},
		"no number":        {url, "approve x", 2, "expected \"<number>\""},
		"a word, no count": {url, "approve x one", 2, "one"},
		"nobody decides":   {nobody, "approve x 1 --version 3", 3, "starter case x shows it"},
		"nobody there":     {nobody, "show x", 3, "STARTER_URL: no answer from " + nobody + "…is `starter serve` running there?"},
		"nobody takes it":  {nobody, "credit p1 --amount 5.00 --currency GBP --reason x --key k7", 3, "--key k7 finds out and never does it twice"},
		"bad url":          {"localhost:8080", "show x", 2, "STARTER_URL: "},
		"serve unprepared": {url, "serve", 2, "DATABASE_URL: is missing…API_TOKENS_FILE: is missing…starter serve --help"},
	} {
		t.Run(name, func(t *testing.T) { starter(t, test.url, test.args).expect(t, test.code, "", test.err) })
	}
	stranger := httptest.NewServer(http.NotFoundHandler())
	defer stranger.Close()
	starter(t, stranger.URL, "show x").expect(t, 3, "", "does not speak our language")
	starter(t, url, "pay --help").expect(t, 0, "--wait", "")
	starter(t, url, "serve --help").expect(t, 0, "DATABASE_URL (required)…STARTER_ADDR (default 127.0.0.1:8080)", "")
}

func TestAmounts(t *testing.T) {
	for _, test := range []struct {
		amount, currency string
		minor            int64 // 0: refused
	}{
		{"10.00", "GBP", 1000}, {"0.01", "EUR", 1}, {"12.34", "SEK", 1234}, {"12.34", "PLN", 1234}, {"1000", "JPY", 1000}, {"007.50", "GBP", 750}, {"99999999999999999.99", "GBP", 0},
		{"10", "GBP", 0}, {"10.5", "GBP", 0}, {"10.500", "GBP", 0}, {"10.00", "JPY", 0}, {"-10.00", "GBP", 0}, {"1,000.00", "GBP", 0}, {"1e3", "JPY", 0}, {".50", "GBP", 0},
		{"£10.00", "GBP", 0}, {"", "GBP", 0}, {"10.00", "gbp", 0}, {"10.00", "", 0}, {"99999999999999999999", "JPY", 0}, {"92233720368547758.07", "GBP", 9223372036854775807},
	} {
		got, err := Amount{test.amount, test.currency}.money()
		if (err != nil) != (test.minor == 0) || err == nil && got != (payout.Money{Minor: test.minor, Currency: payout.Currency(test.currency)}) {
			t.Errorf("%s %s is read as %v, %v; want %d", test.amount, test.currency, got, err, test.minor)
		}
	}
}

// --wait prints each thing once, in order, outlives an API that is away, and
// ends when the payout does.
func TestWait(t *testing.T) {
	reason := "blocked"
	for name, test := range map[string]struct {
		final  life
		code   int
		says   string
		broken bool
	}{
		"executed":       {final: life{Life: httpapi.Life{Status: "executed", Money: "paid"}}, code: 0, says: "executed; money paid"},
		"failed":         {final: life{Life: httpapi.Life{Status: "failed", Money: "frozen", FailureReason: &reason}}, code: 1, says: "failed for blocked; money frozen"},
		"returned":       {final: life{Life: httpapi.Life{Status: "returned", Money: "returned"}}, code: 1, says: "returned; money returned"},
		"parked":         {final: life{Life: httpapi.Life{Status: "parked", Money: "held"}}, code: 1, says: "a person decides"},
		"API goes away":  {final: life{Life: httpapi.Life{Status: "executed", Money: "paid"}}, code: 0, says: "executed", broken: true},
		"with a case":    {final: life{Life: httpapi.Life{Status: "failed", Money: "frozen", CaseID: &reason}}, code: 1, says: "a person decides: starter case blocked"},
		"unknown status": {final: life{Life: httpapi.Life{Status: "executed", Money: "spent elsewhere"}}, code: 0, says: "money spent elsewhere"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var looks atomic.Int32
			api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				p := life{Transfer: httpapi.Transfer{ID: "id-1"}, Life: httpapi.Life{Status: "accepted"}}
				if r.Method == http.MethodPost {
					w.WriteHeader(http.StatusCreated)
				} else {
					look := int(looks.Add(1))
					if look == 2 && test.broken {
						w.WriteHeader(http.StatusBadGateway)
						fmt.Fprint(w, "<html>")
						return
					}
					if look >= 4 {
						p = test.final
					}
					for i := range min(look, 4) {
						p.Timeline = append(p.Timeline, httpapi.Moment{At: time.Unix(int64(i), 0), Status: p.Status, What: fmt.Sprint("thing ", i)})
					}
				}
				_ = json.NewEncoder(w).Encode(p)
			}))
			defer api.Close()
			r := starter(t, api.URL, "pay p1 --amount 5.00 --currency GBP --reference W --source s --user u --key k --wait")
			r.expect(t, test.code, "thing 0…thing 3…"+test.says, "")
			for i := range 4 {
				if n := strings.Count(r.out, fmt.Sprint("thing ", i)); n != 1 {
					t.Errorf("thing %d is told %d times:\n%s", i, n, r.out)
				}
			}
			if told := strings.Contains(r.err, "looking again"); told != test.broken {
				t.Errorf("says %q", r.err)
			}
		})
	}
}
