package payout

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"
)

func limits() Limits {
	return Limits{MaxAmountInMinor: DefaultMaxAmountInMinor, Reference: regexp.MustCompile(DefaultReference), ReferenceText: "1 to 18 plain characters",
		MerchantAccounts: map[Currency]string{"GBP": "m-gbp", "EUR": "m-eur"}}
}

func request() Request {
	return Request{Caller: "game", IdempotencyKey: "key-1", PlayerID: "player-1", Money: Money{1000, "GBP"},
		Beneficiary: Beneficiary{UserID: "u", PaymentSourceID: "s", Reference: "WINNINGS 1"}, Metadata: map[string]string{"round": "7"}}
}

// fields lists what is named, and fails where a problem does not say what
// would be right.
func fields(t *testing.T, p Problems) string {
	t.Helper()
	var names []string
	for _, problem := range p {
		names = append(names, problem.Field)
		if !strings.Contains(problem.Want, "want") && !strings.Contains(problem.Want, "choose") {
			t.Errorf("%s: %q does not say what would be right", problem.Field, problem.Want)
		}
		if !strings.Contains(p.Error(), problem.Field) {
			t.Errorf("%s is not in %q", problem.Field, p.Error())
		}
	}
	return strings.Join(names, " ")
}

func pairs(n int) map[string]string {
	m := map[string]string{}
	for i := range n {
		m[fmt.Sprint("k", i)] = "v"
	}
	return m
}

func TestRequestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Request)
		want   string
	}{
		"good":                        {func(r *Request) {}, ""},
		"bare":                        {func(r *Request) { r.Metadata = nil }, ""},
		"the smallest":                {func(r *Request) { r.Money.Minor = 1 }, ""},
		"the largest":                 {func(r *Request) { r.Money.Minor = DefaultMaxAmountInMinor }, ""},
		"a full metadata":             {func(r *Request) { r.Metadata = pairs(8) }, ""},
		"the longest of metadata":     {func(r *Request) { r.Metadata = map[string]string{strings.Repeat("ä", 40): strings.Repeat("ö", 500)} }, ""},
		"no key":                      {func(r *Request) { r.IdempotencyKey = "" }, "Idempotency-Key"},
		"a key with a space":          {func(r *Request) { r.IdempotencyKey = "a b" }, "Idempotency-Key"},
		"a key with a line":           {func(r *Request) { r.IdempotencyKey = "a\n" }, "Idempotency-Key"},
		"a key beyond ASCII":          {func(r *Request) { r.IdempotencyKey = "ä" }, "Idempotency-Key"},
		"a key of 255":                {func(r *Request) { r.IdempotencyKey = strings.Repeat("k", 255) }, ""},
		"a key of 256":                {func(r *Request) { r.IdempotencyKey = strings.Repeat("k", 256) }, "Idempotency-Key"},
		"no player":                   {func(r *Request) { r.PlayerID = "" }, "player_id"},
		"a player with a slash":       {func(r *Request) { r.PlayerID = "a/b" }, "player_id"},
		"a player with a mail":        {func(r *Request) { r.PlayerID = "a@b.c" }, "player_id"},
		"a player of 129":             {func(r *Request) { r.PlayerID = strings.Repeat("p", 129) }, "player_id"},
		"zero":                        {func(r *Request) { r.Money.Minor = 0 }, "amount_in_minor"},
		"negative":                    {func(r *Request) { r.Money.Minor = -1 }, "amount_in_minor"},
		"huge":                        {func(r *Request) { r.Money.Minor = math.MaxInt64 }, "amount_in_minor"},
		"one too many":                {func(r *Request) { r.Money.Minor = DefaultMaxAmountInMinor + 1 }, "amount_in_minor"},
		"no currency":                 {func(r *Request) { r.Money.Currency = "" }, "currency"},
		"a small currency":            {func(r *Request) { r.Money.Currency = "gbp" }, "currency"},
		"a currency without account":  {func(r *Request) { r.Money.Currency = "PLN" }, "currency"},
		"no user":                     {func(r *Request) { r.Beneficiary.UserID = "" }, "beneficiary.user_id"},
		"a user with a space":         {func(r *Request) { r.Beneficiary.UserID = "a b" }, "beneficiary.user_id"},
		"no source":                   {func(r *Request) { r.Beneficiary.PaymentSourceID = "" }, "beneficiary.payment_source_id"},
		"a source of 129":             {func(r *Request) { r.Beneficiary.PaymentSourceID = strings.Repeat("s", 129) }, "beneficiary.payment_source_id"},
		"no reference":                {func(r *Request) { r.Beneficiary.Reference = "" }, "beneficiary.reference"},
		"a reference of 19":           {func(r *Request) { r.Beneficiary.Reference = strings.Repeat("R", 19) }, "beneficiary.reference"},
		"a reference with an umlaut":  {func(r *Request) { r.Beneficiary.Reference = "GRÜN" }, "beneficiary.reference"},
		"a reference with a line":     {func(r *Request) { r.Beneficiary.Reference = "A\n" }, "beneficiary.reference"},
		"too many pairs":              {func(r *Request) { r.Metadata = pairs(9) }, "metadata"},
		"our own name":                {func(r *Request) { r.Metadata = map[string]string{"payout_id": "x", "attempt": "1"} }, "metadata.attempt metadata.payout_id"},
		"an empty name":               {func(r *Request) { r.Metadata = map[string]string{"": "x"} }, "metadata"},
		"a long name":                 {func(r *Request) { r.Metadata = map[string]string{strings.Repeat("k", 41): "x"} }, "metadata"},
		"a long value":                {func(r *Request) { r.Metadata = map[string]string{"k": strings.Repeat("v", 501)} }, "metadata.k"},
		"everything wrong, all named": {func(r *Request) { *r = Request{Metadata: pairs(9)} }, "Idempotency-Key player_id amount_in_minor currency beneficiary.user_id beneficiary.payment_source_id beneficiary.reference metadata"},
	} {
		t.Run(name, func(t *testing.T) {
			r := request()
			c.change(&r)
			if got := fields(t, r.Check(limits())); got != c.want {
				t.Errorf("names %q, want %q", got, c.want)
			}
		})
	}
	if p := request().Check(Limits{MaxAmountInMinor: 5000, MerchantAccounts: limits().MerchantAccounts}); fields(t, p) != "beneficiary.reference" {
		t.Errorf("without a pattern every reference was taken: %v", p)
	}
}

func TestMovementCheck(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Movement)
		want   string
	}{
		"good":                       {func(m *Movement) {}, ""},
		"a reason of 200":            {func(m *Movement) { m.Reason = strings.Repeat("ä", 200) }, ""},
		"no reason":                  {func(m *Movement) { m.Reason = "" }, "reason"},
		"a reason of 201":            {func(m *Movement) { m.Reason = strings.Repeat("r", 201) }, "reason"},
		"a reason that ends a text":  {func(m *Movement) { m.Reason = "a\x00b" }, "reason"}, // PostgreSQL cannot keep it
		"a reason with a line":       {func(m *Movement) { m.Reason = "a\nb" }, "reason"},
		"a reason that is no text":   {func(m *Movement) { m.Reason = "\xff" }, "reason"},
		"zero":                       {func(m *Movement) { m.Money.Minor = 0 }, "amount_in_minor"},
		"huge":                       {func(m *Movement) { m.Money.Minor = math.MaxInt64 }, "amount_in_minor"},
		"a currency without account": {func(m *Movement) { m.Money.Currency = "PLN" }, "currency"},
		"no currency":                {func(m *Movement) { m.Money.Currency = "" }, "currency"},
		"everything":                 {func(m *Movement) { *m = Movement{} }, "Idempotency-Key player_id amount_in_minor currency reason"},
	} {
		t.Run(name, func(t *testing.T) {
			m := Movement{Caller: "game", IdempotencyKey: "k", PlayerID: "p", Money: Money{1, "EUR"}, Reason: "won"}
			c.change(&m)
			if got := fields(t, m.Check(limits())); got != c.want {
				t.Errorf("names %q, want %q", got, c.want)
			}
		})
	}
}

func TestSourceCheck(t *testing.T) {
	good := Source{Caller: "game", PlayerID: "p", PaymentSourceID: "s", UserID: "u", Currency: "GBP"}
	if p := good.Check(limits()); len(p) > 0 {
		t.Error(p)
	}
	if got := fields(t, Source{}.Check(limits())); got != "player_id payment_source_id user_id currency" {
		t.Errorf("names %q", got)
	}
}
