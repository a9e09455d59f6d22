package httpapi_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Whatever is wrong is refused with a problem document that names every
// field, and nothing is written.
func TestBadInput(t *testing.T) {
	const (
		invalid   = "400 invalid-request"
		malformed = "400 malformed-body"
	)
	amount := func(text string) string { return wish(`"amount_in_minor":1000`, `"amount_in_minor":`+text) }
	tests := map[string]struct {
		call   string // "METHOD /path"; default POST /v1/payouts
		token  string // default game-token
		key    string // default "fresh"; "-": none
		header string // one more
		body   string
		want   string // status and slug
		fields []string
	}{
		"unknown field":                 {body: wish(`"currency"`, `"colour":"red","currency"`), want: invalid, fields: []string{"colour"}},
		"unknown field in beneficiary":  {body: wish(`"reference"`, `"iban":"GB00","reference"`), want: invalid, fields: []string{"beneficiary.iban"}},
		"field in other letters":        {body: wish(`"player_id"`, `"Player_ID"`), want: invalid, fields: []string{"Player_ID", "player_id"}},
		"field given twice":             {body: wish(`"amount_in_minor":1000`, `"amount_in_minor":1000,"amount_in_minor":900000`), want: malformed, fields: []string{"amount_in_minor"}},
		"nested field given twice":      {body: wish(`"reference":"WIN 1"`, `"reference":"WIN 1","reference":"WIN 2"`), want: malformed, fields: []string{"beneficiary.reference"}},
		"something after the end":       {body: wish() + "{}", want: malformed},
		"no JSON":                       {body: "amount=1000", want: malformed},
		"half a body":                   {body: wish()[:50], want: malformed},
		"a list":                        {body: "[" + wish() + "]", want: malformed},
		"null":                          {body: "null", want: malformed},
		"not UTF-8":                     {body: wish("WIN 1", "WIN \xff"), want: malformed},
		"nested ten thousand deep":      {body: `{"player_id":` + strings.Repeat("[", 10_100) + strings.Repeat("]", 10_100) + `}`, want: malformed},
		"nothing there":                 {body: "{}", want: invalid, fields: []string{"amount_in_minor", "beneficiary", "currency", "player_id"}},
		"null where text belongs":       {body: wish(`"GBP"`, `null`), want: invalid, fields: []string{"currency"}},
		"number where text belongs":     {body: wish(`"p1"`, `7`), want: invalid, fields: []string{"player_id"}},
		"text where an object belongs":  {body: wish(`{"user_id":"user-p1","payment_source_id":"source-p1","reference":"WIN 1"}`, `"source-p1"`), want: invalid, fields: []string{"beneficiary"}},
		"amount zero":                   {body: amount("0"), want: invalid, fields: []string{"amount_in_minor"}},
		"amount negative":               {body: amount("-1000"), want: invalid, fields: []string{"amount_in_minor"}},
		"amount fractional":             {body: amount("10.5"), want: invalid, fields: []string{"amount_in_minor"}},
		"amount with an empty fraction": {body: amount("10.0"), want: invalid, fields: []string{"amount_in_minor"}},
		"amount with an exponent":       {body: amount("1e3"), want: invalid, fields: []string{"amount_in_minor"}},
		"amount in quotes":              {body: amount(`"1000"`), want: invalid, fields: []string{"amount_in_minor"}},
		"amount above the limit":        {body: amount("100000001"), want: invalid, fields: []string{"amount_in_minor"}},
		"amount above 64 bits":          {body: amount("99999999999999999999"), want: invalid, fields: []string{"amount_in_minor"}},
		"amount true":                   {body: amount("true"), want: invalid, fields: []string{"amount_in_minor"}},
		"currency unknown":              {body: wish("GBP", "pounds"), want: invalid, fields: []string{"currency"}},
		"currency in small letters":     {body: wish("GBP", "gbp"), want: invalid, fields: []string{"currency"}},
		"currency without an account":   {body: wish("GBP", "SEK"), want: invalid, fields: []string{"currency"}},
		"currency not the source's":     {body: wish("GBP", "EUR"), want: "422 payment-source-refused", fields: []string{"currency"}},
		"user not the source's":         {body: wish("user-p1", "user-p9"), want: "422 payment-source-refused", fields: []string{"beneficiary.user_id"}},
		"source unbound":                {body: wish("source-p1", "source-zz"), want: "422 payment-source-refused", fields: []string{"beneficiary.payment_source_id"}},
		"another player's source":       {body: wish("source-p1", "source-p2"), want: "422 payment-source-refused", fields: []string{"beneficiary.payment_source_id"}},
		"another caller's player":       {token: "rival-token", body: wish(), want: "404 not-found"},
		"reference too long":            {body: wish("WIN 1", strings.Repeat("W", 19)), want: invalid, fields: []string{"beneficiary.reference"}},
		"reference empty":               {body: wish("WIN 1", ""), want: invalid, fields: []string{"beneficiary.reference"}},
		"reference of other signs":      {body: wish("WIN 1", "WIN_1!"), want: invalid, fields: []string{"beneficiary.reference"}},
		"reference with a line feed":    {body: wish("WIN 1", `WIN\n`), want: invalid, fields: []string{"beneficiary.reference"}},
		"player id with a space":        {body: wish(`"p1"`, `"p 1"`), want: invalid, fields: []string{"player_id"}},
		"metadata of ours":              {body: wish(`"currency"`, `"metadata":{"payout_id":"x"},"currency"`), want: invalid, fields: []string{"metadata.payout_id"}},
		"metadata of numbers":           {body: wish(`"currency"`, `"metadata":{"a":1},"currency"`), want: invalid, fields: []string{"metadata.a"}},
		"metadata with a null byte":     {body: wish(`"currency"`, `"metadata":{"a":"\u0000"},"currency"`), want: invalid, fields: []string{"metadata.a"}},
		"metadata key given twice":      {body: wish(`"currency"`, `"metadata":{"a":"1","a":"2"},"currency"`), want: malformed, fields: []string{"metadata.a"}},
		"idempotency key missing":       {key: "-", body: wish(), want: invalid, fields: []string{"Idempotency-Key"}},
		"idempotency key too long":      {key: strings.Repeat("k", 256), body: wish(), want: invalid, fields: []string{"Idempotency-Key"}},
		"idempotency key with a space":  {key: "a b", body: wish(), want: invalid, fields: []string{"Idempotency-Key"}},
		"idempotency key given twice":   {header: "Idempotency-Key: other", body: wish(), want: invalid, fields: []string{"Idempotency-Key"}},
		"idempotency key reused":        {key: "used", body: amount("2000"), want: "409 idempotency-key-reused", fields: []string{"amount_in_minor"}},
		"key reused, other reference":   {key: "used", body: wish("WIN 1", "WIN 2"), want: "409 idempotency-key-reused", fields: []string{"beneficiary.reference"}},
		"shape and meaning together": {key: "-", body: wish(`"GBP"`, `"SEK"`, "1000", "1.5", "WIN 1", "WIN_1!", `"p1"`, `"p1","x":1`), want: invalid,
			fields: []string{"Idempotency-Key", "amount_in_minor", "beneficiary.reference", "currency", "x"}},
		"body over 64 KiB":    {body: wish("WIN 1", strings.Repeat("W", 64<<10)), want: "413 body-too-large"},
		"a form":              {header: "Content-Type: application/x-www-form-urlencoded", body: wish(), want: "415 unsupported-media-type", fields: []string{"Content-Type"}},
		"another alphabet":    {header: "Content-Type: application/json; charset=latin1", body: wish(), want: "415 unsupported-media-type", fields: []string{"Content-Type"}},
		"compressed":          {header: "Content-Encoding: gzip", body: wish(), want: "415 unsupported-media-type", fields: []string{"Content-Encoding"}},
		"balance too low":     {body: amount("100000"), want: "422 balance-too-low", fields: []string{"amount_in_minor"}}, // 1,000 of it is held
		"no token":            {token: "-", body: wish(), want: "401 unauthorized"},
		"unknown token":       {token: "guess", body: wish(), want: "401 unauthorized"},
		"operator creates":    {token: "operator-token", body: wish(), want: "403 forbidden"},
		"support creates":     {token: "support-token", body: wish(), want: "403 forbidden"},
		"auditor creates":     {token: "auditor-token", body: wish(), want: "403 forbidden"},
		"unknown parameter":   {call: "POST /v1/payouts?dry_run=true", body: wish(), want: invalid, fields: []string{"dry_run"}},
		"no such path":        {call: "POST /v1/payout", body: wish(), want: "404 not-found"},
		"no such method":      {call: "DELETE /v1/payouts", want: "405 method-not-allowed"},
		"mistyped filter":     {call: "GET /v1/payouts?stauts=failed", want: invalid, fields: []string{"stauts"}},
		"filter given twice":  {call: "GET /v1/payouts?status=failed&status=parked", want: invalid, fields: []string{"status"}},
		"bad query":           {call: "GET /v1/payouts?status=%zz", want: invalid, fields: []string{"query"}},
		"bad filters":         {call: "GET /v1/payouts?status=done&limit=0&player_id=a%20b&idempotency_key=%20", want: invalid, fields: []string{"idempotency_key", "limit", "player_id", "status"}},
		"bad cursor":          {call: "GET /v1/payouts?cursor=xyz", want: invalid, fields: []string{"cursor"}},
		"bad payout id":       {call: "GET /v1/payouts/17", want: invalid, fields: []string{"id"}},
		"unknown payout":      {call: "GET /v1/payouts/0cd1b0f7-71bc-4d24-b209-95259dadcc20", want: "404 not-found"},
		"bad player in path":  {call: "GET /v1/players/a%2Fb/balances", want: invalid, fields: []string{"player_id"}},
		"other's balances":    {call: "GET /v1/players/r1/balances", want: "404 not-found"},
		"other's sources":     {call: "GET /v1/players/r1/payment-sources", want: "404 not-found"},
		"backend reads books": {call: "GET /v1/ledger/transactions", want: "403 forbidden"},
		"backend checks":      {call: "GET /v1/ledger/check", want: "403 forbidden"},
		"bad position":        {call: "GET /v1/ledger/transactions?cursor=-1&limit=201", token: "auditor-token", want: invalid, fields: []string{"cursor", "limit"}},
		"credit to other's":   {call: "POST /v1/players/r1/credits", body: `{"amount_in_minor":1,"currency":"GBP","reason":"x"}`, want: "404 not-found"},
		"credit in no account": {call: "POST /v1/players/p1/credits", body: `{"amount_in_minor":1,"currency":"SEK","reason":"x"}`, want: invalid,
			fields: []string{"currency"}},
		"credit, all wrong": {call: "POST /v1/players/p%201/credits", key: "-", body: `{"amount_in_minor":-1,"currency":"?","reason":""}`, want: invalid,
			fields: []string{"Idempotency-Key", "amount_in_minor", "currency", "player_id", "reason"}},
		"credit key reused":  {call: "POST /v1/players/p2/credits", key: "win-p1", body: `{"amount_in_minor":100000,"currency":"GBP","reason":"won"}`, want: "409 idempotency-key-reused", fields: []string{"player_id"}},
		"debit too much":     {call: "POST /v1/players/p1/debits", body: `{"amount_in_minor":99001,"currency":"GBP","reason":"x"}`, want: "422 balance-too-low", fields: []string{"amount_in_minor"}},
		"source of other":    {call: "PUT /v1/players/p2/payment-sources/source-p1", body: `{"user_id":"user-p1","currency":"GBP"}`, want: "422 payment-source-refused", fields: []string{"payment_source_id"}},
		"source otherwise":   {call: "PUT /v1/players/p1/payment-sources/source-p1", body: `{"user_id":"user-p9","currency":"EUR"}`, want: "422 payment-source-refused", fields: []string{"currency", "user_id"}},
		"source, all wrong":  {call: "PUT /v1/players/p1/payment-sources/a%20b", body: `{"user_id":"","currency":"SEK"}`, want: invalid, fields: []string{"currency", "payment_source_id", "user_id"}},
		"operator binds":     {call: "PUT /v1/players/p1/payment-sources/s9", token: "operator-token", body: `{"user_id":"u","currency":"GBP"}`, want: "403 forbidden"},
		"to other's player":  {call: "PUT /v1/players/r1/payment-sources/s9", body: `{"user_id":"u","currency":"GBP"}`, want: "404 not-found"},
		"nobody's balance":   {body: wish(`"p1"`, `"p3"`), want: "422 payment-source-refused", fields: []string{"beneficiary.payment_source_id"}},
		"unknown player ask": {call: "POST /v1/players/p3/debits", body: `{"amount_in_minor":1,"currency":"GBP","reason":"x"}`, want: "422 balance-too-low", fields: []string{"amount_in_minor"}},
	}

	h := newHouse(t)
	h.furnish()
	h.must(201, h.ask("POST", "/v1/payouts", "game-token", wish(), "Idempotency-Key: used"))
	started := len(h.started)
	before := h.dump()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h.t = t
			method, path, _ := strings.Cut(or(test.call, "POST /v1/payouts"), " ")
			var headers []string
			if key := or(test.key, "fresh"); key != "-" && method == "POST" {
				headers = append(headers, "Idempotency-Key: "+key)
			}
			if test.header != "" {
				headers = append(headers, test.header)
			}
			a := h.ask(method, path, strings.Trim(or(test.token, "game-token"), "-"), test.body, headers...)
			p := h.problem(a)
			if got := fmt.Sprint(p.Status, " ", strings.TrimPrefix(p.Type, "/problems/")); got != test.want {
				t.Errorf("answered %s; want %s: %s", got, test.want, a.body)
			}
			if got := fieldsOf(p); !slices.Equal(got, test.fields) && len(got)+len(test.fields) > 0 {
				t.Errorf("names %q; want %q: %s", got, test.fields, a.body)
			}
			for _, e := range p.Errors {
				if e.Want == "" {
					t.Errorf("%s: does not say what would be right", e.Field)
				}
			}
			if after := h.dump(); after != before {
				t.Errorf("something was written:\n%s", after)
			}
			if len(h.started) != started {
				t.Error("a run was started")
			}
		})
	}
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
