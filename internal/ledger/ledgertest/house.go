package ledgertest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"payouts/internal/ledger"
	"payouts/internal/payout"
)

// The cast of every case. The account number is planted where it must never
// be seen in clear.
const (
	Caller        = "game"
	Player        = "player-1"
	User          = "user-of-player-1"
	Source        = "source-of-player-1"
	Merchant      = "merchant-gbp"
	Reference     = "WINNINGS 1"
	AccountNumber = "GB29NWBK60161331926819"
)

// Pounds is an amount in pence.
func Pounds(pence int64) payout.Money { return payout.Money{Minor: pence, Currency: "GBP"} }

// NewPayout is a request of Player for pence under key.
func NewPayout(key string, pence int64) payout.Request {
	return payout.Request{Caller: Caller, IdempotencyKey: key, PlayerID: Player, Money: Pounds(pence),
		Beneficiary: payout.Beneficiary{UserID: User, PaymentSourceID: Source, Reference: Reference}}
}

// Fund credits Player with pence and binds Source.
func (b Books) Fund(t testing.TB, pence int64) {
	t.Helper()
	credit := payout.Movement{Caller: Caller, IdempotencyKey: "fund-" + uuid.NewString(), PlayerID: Player, Money: Pounds(pence), Reason: "winnings"}
	if _, _, err := b.Credit(t.Context(), credit); err != nil {
		t.Fatal(err)
	}
	if _, err := b.BindSource(t.Context(), payout.Source{Caller: Caller, PlayerID: Player, PaymentSourceID: Source, UserID: User, Currency: "GBP"}); err != nil {
		t.Fatal(err)
	}
}

// Lawful fails the test where a law of the books is broken.
func (b Books) Lawful(t testing.TB) {
	t.Helper()
	laws, err := b.Check(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	if len(laws) == 0 {
		t.Fatal("no law was checked")
	}
	for _, law := range laws {
		if law.Violations > 0 {
			t.Errorf("law broken %d times: %s: %s, such as %s", law.Violations, law.ID, law.Statement, strings.Join(law.Examples, ", "))
		}
	}
}

// house is one case: books, and what a step must come to.
type house struct {
	testing.TB
	Books
	ctx context.Context
	t   *testing.T // to run cases within this one
}

// must stops the case at an error.
func (h house) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// refused fails unless err is or holds want.
func (h house) refused(err, want error) {
	h.Helper()
	if !errors.Is(err, want) {
		h.Fatalf("refused with %v; want %v", err, want)
	}
}

// names fails unless err names exactly these fields.
func (h house) names(err error, fields ...string) {
	h.Helper()
	var problems payout.Problems
	var conflict *payout.KeyConflict
	var got []string
	switch {
	case errors.As(err, &problems):
		for _, p := range problems {
			got = append(got, p.Field)
		}
	case errors.As(err, &conflict):
		got = []string{conflict.Field}
	default:
		h.Fatalf("refused with %v; want a refusal naming %v", err, fields)
	}
	if fmt.Sprint(got) != fmt.Sprint(fields) {
		h.Fatalf("refusal names %v, want %v", got, fields)
	}
}

// owes fails unless the house owes Player these pence.
func (h house) owes(available, held, frozen int64) {
	h.Helper()
	balances, err := h.Balances(h.ctx, "", Player)
	h.must(err)
	var got ledger.Balance
	for _, b := range balances {
		if b.Currency == "GBP" {
			got = b
		}
	}
	if got.Available != available || got.Held != held || got.Frozen != frozen {
		h.Fatalf("balances are %d available, %d held, %d frozen; want %d, %d, %d", got.Available, got.Held, got.Frozen, available, held, frozen)
	}
}

// accepted funds Player with what is asked for and accepts a payout of it.
func (h house) accepted(pence int64) payout.ID {
	h.Helper()
	h.Fund(h, pence)
	p, replayed, err := h.Accept(h.ctx, NewPayout("payout-"+uuid.NewString(), pence), Merchant, false)
	h.must(err)
	if replayed {
		h.Fatal("a new payout was a replay")
	}
	return p.ID
}

// token ends in an hour, as the provider's do.
func (h house) token() time.Time { return h.Clock.Now().Add(time.Hour) }

// sent opens a send, which must be permitted.
func (h house) sent(id payout.ID) payout.Send {
	h.Helper()
	send, p, err := h.OpenSend(h.ctx, id, h.token())
	h.must(err)
	if send.Number == 0 {
		h.Fatalf("send not permitted: %+v", p)
	}
	return send
}

// answered closes a send.
func (h house) answered(s payout.Send, c payout.Created) payout.Position {
	h.Helper()
	p, err := h.CloseSend(h.ctx, s, c)
	h.must(err)
	return p
}

// theirs is the provider's id of attempt n of a payout.
func theirs(id payout.ID, n int) string { return fmt.Sprintf("their-%s-%d", id, n) }

// created sends the latest attempt and hears that it is there.
func (h house) created(id payout.ID) payout.Position {
	h.Helper()
	s := h.sent(id)
	return h.answered(s, payout.Created{Answer: payout.AnswerCreated, ProviderID: theirs(id, s.Attempt), Raw: []byte(`{"id":"` + theirs(id, s.Attempt) + `"}`)})
}

// word is what the provider says of attempt n, asked now, when everything is
// as it was asked for.
func (h house) word(id payout.ID, n int, status string, reason payout.Reason) payout.Asked {
	h.Helper()
	row := h.payout(id)
	w := payout.Word{ProviderID: theirs(id, n), Status: status, Reason: reason, Money: row.Money, MerchantAccountID: row.MerchantAccountID, UserID: User, PaymentSourceID: Source,
		Reference: Reference, Metadata: map[string]string{payout.MetadataPayoutID: string(id), payout.MetadataAttempt: fmt.Sprint(n)},
		AskedAt: h.Clock.Now(), Raw: []byte(`{"beneficiary":{"iban":"` + AccountNumber + `"}}`)}
	if v := payout.ReadVerdict(status); v != payout.VerdictWait {
		w.DecidedAt = h.Clock.Now().Add(-time.Second)
	}
	if row.Kind == payout.KindRefund { // whose word has no beneficiary
		w.MerchantAccountID, w.UserID, w.PaymentSourceID, w.Reference = "", "", "", row.Beneficiary.Reference
	}
	return payout.Asked{Attempt: n, ProviderID: w.ProviderID, Word: w}
}

// heard judges what the provider says of attempt n now. A second goes by.
func (h house) heard(id payout.ID, n int, status string, reason payout.Reason) payout.Position {
	h.Helper()
	h.Clock.Advance(time.Second)
	p, err := h.Judge(h.ctx, id, payout.Heard{Words: []payout.Asked{h.word(id, n, status, reason)}, By: "test"})
	h.must(err)
	return p
}

// says is what the provider says when it is asked: by its id a status, and
// after a space the reason. About an id that is not here it knows nothing.
type says map[string]string

// asking reads what is to be asked.
func (h house) asking(id payout.ID) payout.Asking {
	h.Helper()
	asking, err := h.Read(h.ctx, id)
	h.must(err)
	return asking
}

// reconciled is the step ReconcilePayout, a second later: it reads, asks what
// it is to ask, looks into the statement where it is to look, and judges.
func (h house) reconciled(id payout.ID, s says, lines ...payout.Line) payout.Position {
	h.Helper()
	h.Clock.Advance(time.Second)
	return h.judged(id, h.asking(id), s, lines...)
}

// judged is the second half of reconciled.
func (h house) judged(id payout.ID, asking payout.Asking, s says, lines ...payout.Line) payout.Position {
	h.Helper()
	heard := payout.Heard{Inbox: asking.Inbox, Approved: asking.Approved, Doubted: asking.Doubted, By: "ReconcilePayout"}
	for _, ask := range asking.Asks {
		if said, ok := s[ask.ProviderID]; ok {
			heard.Words = append(heard.Words, h.of(id, ask, said))
		}
	}
	if asking.Look != nil {
		heard.Looked = &payout.Looked{AskedAt: h.Clock.Now(), Lines: lines}
	} else if len(lines) > 0 {
		h.Fatal("nobody looks into the statement")
	}
	p, err := h.Judge(h.ctx, id, heard)
	h.must(err)
	return p
}

// of is what the provider says about one thing it is asked. Its metadata names
// the attempt that it was created for, whoever asks.
func (h house) of(id payout.ID, ask payout.Ask, said string) payout.Asked {
	h.Helper()
	status, reason, _ := strings.Cut(said, " ")
	createdFor := ask.Attempt
	for _, a := range h.payout(id).Attempts {
		if a.ProviderPayoutID == ask.ProviderID {
			createdFor = a.Number
		}
	}
	w := h.word(id, createdFor, status, payout.Reason(reason))
	w.Attempt, w.ProviderID, w.Word.ProviderID = ask.Attempt, ask.ProviderID, ask.ProviderID
	return w
}

// silent is a payout whose create was never answered, when the window in which
// it may be sent again is over: the statement is asked before a person is.
func (h house) silent() payout.ID {
	h.Helper()
	id := h.accepted(1000)
	h.sent(id)
	h.Clock.Advance(timing.KeyWindow + time.Second)
	h.forbidden(id, payout.StepReconcile)
	return id
}

// looked asks the statement, which must be what is to be asked, and hears
// these lines.
func (h house) looked(id payout.ID, lines ...payout.Line) payout.Position {
	h.Helper()
	asking := h.asking(id)
	if asking.Look == nil {
		h.Fatalf("nobody looks into the statement\n%s", story(h.payout(id)))
	}
	return h.judged(id, asking, nil, lines...)
}

// outgoing is a line of the statement about attempt n of a payout, under an id
// of the provider's.
func (h house) outgoing(id payout.ID, n int, providerID, status string) payout.Line {
	h.Helper()
	return payout.Line{ProviderID: providerID, PayoutID: id, Attempt: n, Status: status, Money: h.payout(id).Money, At: h.Clock.Now(), Raw: []byte(`{"iban":"` + AccountNumber + `"}`)}
}

// asked judges words as they are.
func (h house) asked(id payout.ID, words ...payout.Asked) payout.Position {
	h.Helper()
	p, err := h.Judge(h.ctx, id, payout.Heard{Words: words, By: "test"})
	h.must(err)
	return p
}

// payout reads a payout, or a refund.
func (h house) payout(id payout.ID) ledger.Payout {
	h.Helper()
	p, err := h.Payout(h.ctx, "", payout.KindPayout, id)
	if errors.Is(err, payout.ErrNotFound) {
		p, err = h.Payout(h.ctx, "", payout.KindRefund, id)
	}
	h.must(err)
	return p
}

// stands fails unless the payout stands there.
func (h house) stands(id payout.ID, status payout.Status, at payout.MoneyAt, step payout.Step) ledger.Payout {
	h.Helper()
	p := h.payout(id)
	if p.Status != status || p.MoneyAt != at || p.Step != step {
		h.Fatalf("the payout is %s, its money %s, its step %s; want %s, %s, %s\n%s", p.Status, p.MoneyAt, p.Step, status, at, step, story(p))
	}
	return p
}

func story(p ledger.Payout) string {
	var b strings.Builder
	for _, m := range p.Timeline {
		fmt.Fprintf(&b, "  %s %s: %s\n", m.At.Format(time.TimeOnly), m.Status, m.What)
	}
	return b.String()
}

// caseFilter selects the cases of a kind.
func caseFilter(kind payout.CaseKind, status string) ledger.CaseFilter {
	return ledger.CaseFilter{Kind: kind, Status: status}
}

// caseOf is the newest case of a kind of a payout.
func (h house) caseOf(id payout.ID, kind payout.CaseKind) ledger.Case {
	h.Helper()
	list, _, err := h.Cases(h.ctx, ledger.CaseFilter{Kind: kind, PayoutID: id, Limit: 200})
	h.must(err)
	if len(list) == 0 {
		h.Fatalf("there is no case %s\n%s", kind, story(h.payout(id)))
	}
	c, err := h.Case(h.ctx, list[len(list)-1].ID)
	h.must(err)
	return c
}

// cases lists the open cases of a payout as "kind kind".
func (h house) cases(id payout.ID) string {
	h.Helper()
	cases, _, err := h.Cases(h.ctx, ledger.CaseFilter{Status: "open"})
	h.must(err)
	var kinds []string
	for _, c := range cases {
		if c.PayoutID == id {
			kinds = append(kinds, string(c.Kind))
		}
	}
	return strings.Join(kinds, " ")
}

// asks fails unless exactly these kinds of case are open for a payout.
func (h house) asks(id payout.ID, kinds ...payout.CaseKind) {
	h.Helper()
	var want []string
	for _, k := range kinds {
		want = append(want, string(k))
	}
	if got := h.cases(id); got != strings.Join(want, " ") {
		h.Fatalf("open cases are %q, want %q\n%s", got, strings.Join(want, " "), story(h.payout(id)))
	}
}

// booked lists the kinds of a payout's transactions in the order of booking.
func (h house) booked(id payout.ID) string {
	h.Helper()
	var kinds []string
	for _, t := range h.transactions() {
		if t.PayoutID == id {
			kinds = append(kinds, string(t.Kind))
		}
	}
	return strings.Join(kinds, " ")
}

func (h house) books(id payout.ID, want string) {
	h.Helper()
	if got := h.booked(id); got != want {
		h.Fatalf("booked %q, want %q\n%s", got, want, story(h.payout(id)))
	}
}

// transactions seals what there is and reads it all.
func (h house) transactions() []ledger.Transaction {
	h.Helper()
	for {
		n, err := h.SealPositions(h.ctx, 1000)
		h.must(err)
		if n == 0 {
			break
		}
	}
	list, err := h.Transactions(h.ctx, 0, 1_000_000)
	h.must(err)
	return list
}

// count reads one number past the ledger.
func (h house) count(query string) int {
	h.Helper()
	if h.Rows == nil {
		h.Skip("these books have no rows to look at")
	}
	var n sql.NullInt64
	h.must(h.Rows.QueryRowContext(h.ctx, query).Scan(&n))
	return int(n.Int64)
}

// news is an event about a payout at the provider.
func news(event, providerID, claims string) payout.News {
	return payout.News{EventID: event, Type: "payout_" + claims, ProviderID: providerID, Status: claims, Body: []byte(`{"event_id":"` + event + `","iban":"` + AccountNumber + `"}`),
		Signature: "signature", Timestamp: "2026-03-04T05:06:07Z"}
}

func (h house) told(n payout.News) payout.Stored {
	h.Helper()
	s, err := h.StoreNews(h.ctx, n)
	h.must(err)
	return s
}
