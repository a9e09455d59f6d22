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
		refund    = "POST /v1/refunds"
		propose   = "POST /v1/cases/{case}/resolutions"
		approve   = "POST /v1/cases/{case}/resolutions/1/approvals"
		operator  = "operator-token"
	)
	proposal := func(changes ...string) string {
		return strings.NewReplacer(changes...).Replace(`{"action":"keep_frozen","reason":"because","version":1}`)
	}
	approval := func(changes ...string) string {
		return strings.NewReplacer(changes...).Replace(`{"decision":"approve","version":1}`)
	}
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
		"status of no payout":           {call: "GET /v1/payouts?status=bogus", want: invalid, fields: []string{"status"}},
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

		// Refunds.
		"refund of nothing":           {call: refund, body: "{}", want: invalid, fields: []string{"amount_in_minor", "currency", "payment_id", "player_id", "reference"}},
		"refund with a beneficiary":   {call: refund, body: refundWish(`"currency"`, `"beneficiary":{},"currency"`), want: invalid, fields: []string{"beneficiary"}},
		"refund with metadata":        {call: refund, body: refundWish(`"currency"`, `"metadata":{"a":"1"},"currency"`), want: invalid, fields: []string{"metadata"}},
		"refund, field given twice":   {call: refund, body: refundWish(`"currency"`, `"payment_id":"x","currency"`), want: malformed, fields: []string{"payment_id"}},
		"refund of a number":          {call: refund, body: refundWish(`"pay-in-1"`, `7`), want: invalid, fields: []string{"payment_id"}},
		"refund of a path":            {call: refund, body: refundWish("pay-in-1", "../payouts"), want: invalid, fields: []string{"payment_id"}},
		"refund of a placeholder":     {call: refund, body: refundWish("pay-in-1", "<id>"), want: invalid, fields: []string{"payment_id"}},
		"refund of zero":              {call: refund, body: refundWish("1000", "0"), want: invalid, fields: []string{"amount_in_minor"}},
		"refund of a fraction":        {call: refund, body: refundWish("1000", "10.5"), want: invalid, fields: []string{"amount_in_minor"}},
		"refund above the limit":      {call: refund, body: refundWish("1000", "100000001"), want: invalid, fields: []string{"amount_in_minor"}},
		"refund in no account":        {call: refund, body: refundWish("GBP", "SEK"), want: invalid, fields: []string{"currency"}},
		"refund in small letters":     {call: refund, body: refundWish("GBP", "gbp"), want: invalid, fields: []string{"currency"}},
		"refund, reference too long":  {call: refund, body: refundWish("BACK 1", strings.Repeat("B", 19)), want: invalid, fields: []string{"reference"}},
		"refund, reference of signs":  {call: refund, body: refundWish("BACK 1", "BACK_1!"), want: invalid, fields: []string{"reference"}},
		"refund, player with a space": {call: refund, body: refundWish(`"p1"`, `"p 1"`), want: invalid, fields: []string{"player_id"}},
		"refund without a key":        {call: refund, key: "-", body: refundWish(), want: invalid, fields: []string{"Idempotency-Key"}},
		"refund key reused":           {call: refund, key: "used", body: refundWish("BACK 1", "BACK 2"), want: "409 idempotency-key-reused", fields: []string{"reference"}},
		"refund of another player":    {call: refund, key: "used", body: refundWish(`"p1"`, `"p2"`), want: "409 idempotency-key-reused", fields: []string{"player_id"}},
		"refund to other's player":    {call: refund, token: "rival-token", body: refundWish(), want: "404 not-found"},
		"refund to nobody":            {call: refund, body: refundWish(`"p1"`, `"p3"`), want: "422 balance-too-low", fields: []string{"amount_in_minor"}},
		"refund above the balance":    {call: refund, body: refundWish("1000", "100000"), want: "422 balance-too-low", fields: []string{"amount_in_minor"}},
		"operator refunds":            {call: refund, token: "operator-token", body: refundWish(), want: "403 forbidden"},
		"refund, all wrong":           {call: "POST /v1/refunds?dry_run=1", key: "-", body: "{}", want: invalid, fields: []string{"dry_run"}},
		"bad refund id":               {call: "GET /v1/refunds/17", want: invalid, fields: []string{"id"}},
		"unknown refund":              {call: "GET /v1/refunds/0cd1b0f7-71bc-4d24-b209-95259dadcc20", want: "404 not-found"},
		"bad refund filters": {call: "GET /v1/refunds?status=bogus&limit=201&player_id=%2F&idempotency_key=%20&failure_reason=%00", want: invalid,
			fields: []string{"failure_reason", "idempotency_key", "limit", "player_id", "status"}},
		"refunds by payment": {call: "GET /v1/refunds?payment_id=x", want: invalid, fields: []string{"payment_id"}},

		// Cases and what people decide.
		"backend lists cases":          {call: "GET /v1/cases", want: "403 forbidden"},
		"backend reads a case":         {call: "GET /v1/cases/{case}", want: "403 forbidden"},
		"bad case id":                  {call: "GET /v1/cases/17", token: operator, want: invalid, fields: []string{"id"}},
		"unknown case":                 {call: "GET /v1/cases/0cd1b0f7-71bc-4d24-b209-95259dadcc20", token: operator, want: "404 not-found"},
		"bad case filters":             {call: "GET /v1/cases?status=bogus&kind=bogus&payout_id=17&limit=0", token: operator, want: invalid, fields: []string{"kind", "limit", "payout_id", "status"}},
		"bad case cursor":              {call: "GET /v1/cases?cursor=xyz", token: operator, want: invalid, fields: []string{"cursor"}},
		"cases by player":              {call: "GET /v1/cases?player_id=p1", token: operator, want: invalid, fields: []string{"player_id"}},
		"backend proposes":             {call: propose, body: proposal(), want: "403 forbidden"},
		"support proposes":             {call: propose, token: "support-token", body: proposal(), want: "403 forbidden"},
		"auditor proposes":             {call: propose, token: "auditor-token", body: proposal(), want: "403 forbidden"},
		"nobody proposes":              {call: propose, token: "-", body: proposal(), want: "401 unauthorized"},
		"proposal of nothing":          {call: propose, token: operator, body: "{}", want: invalid, fields: []string{"action", "reason", "version"}},
		"proposal, unknown action":     {call: propose, token: operator, body: proposal("keep_frozen", "pay_again"), want: invalid, fields: []string{"action"}},
		"proposal, action a number":    {call: propose, token: operator, body: proposal(`"keep_frozen"`, "7"), want: invalid, fields: []string{"action"}},
		"proposal, no reason":          {call: propose, token: operator, body: proposal(`"because"`, `""`), want: invalid, fields: []string{"reason"}},
		"proposal, long reason":        {call: propose, token: operator, body: proposal("because", strings.Repeat("x", 1001)), want: invalid, fields: []string{"reason"}},
		"proposal, reason with a bell": {call: propose, token: operator, body: proposal("because", `a\u0007`), want: invalid, fields: []string{"reason"}},
		"proposal, version zero":       {call: propose, token: operator, body: proposal(`"version":1`, `"version":0`), want: invalid, fields: []string{"version"}},
		"proposal, version a text":     {call: propose, token: operator, body: proposal(`"version":1`, `"version":"1"`), want: invalid, fields: []string{"version"}},
		"proposal, version 1.0":        {call: propose, token: operator, body: proposal(`"version":1`, `"version":1.0`), want: invalid, fields: []string{"version"}},
		"proposal, version huge":       {call: propose, token: operator, body: proposal(`"version":1`, `"version":99999999999999999999`), want: invalid, fields: []string{"version"}},
		"proposal with a key field":    {call: propose, token: operator, body: proposal(`"version"`, `"idempotency_key":"k","version"`), want: invalid, fields: []string{"idempotency_key"}},
		"proposal, field given twice":  {call: propose, token: operator, body: proposal(`"version":1`, `"version":1,"version":2`), want: malformed, fields: []string{"version"}},
		"proposal, id not asked for":   {call: propose, token: operator, body: proposal(`"version"`, `"provider_payout_id":"x","version"`), want: invalid, fields: []string{"provider_payout_id"}},
		"proposal, id missing":         {call: propose, token: operator, body: proposal("keep_frozen", "created_as"), want: invalid, fields: []string{"provider_payout_id"}},
		"proposal, id a placeholder":   {call: propose, token: operator, body: proposal("keep_frozen", "created_as", `"version"`, `"provider_payout_id":"<id>","version"`), want: invalid, fields: []string{"provider_payout_id"}},
		"proposal, ticket of lines":    {call: propose, token: operator, body: proposal(`"version"`, `"provider_ticket":"é","version"`), want: invalid, fields: []string{"provider_ticket"}},
		"proposal to a bad id":         {call: "POST /v1/cases/17/resolutions", token: operator, body: proposal("keep_frozen", "x"), want: invalid, fields: []string{"action", "id"}},
		"proposal, half a body":        {call: propose, token: operator, body: proposal()[:20], want: malformed},
		"proposal as a form":           {call: propose, token: operator, header: "Content-Type: text/plain", body: proposal(), want: "415 unsupported-media-type", fields: []string{"Content-Type"}},
		"backend approves":             {call: approve, body: approval(), want: "403 forbidden"},
		"support approves":             {call: approve, token: "support-token", body: approval(), want: "403 forbidden"},
		"auditor approves":             {call: approve, token: "auditor-token", body: approval(), want: "403 forbidden"},
		"approval of nothing":          {call: approve, token: operator, body: "{}", want: invalid, fields: []string{"decision", "version"}},
		"approval, perhaps":            {call: approve, token: operator, body: approval(`"approve"`, `"perhaps"`), want: invalid, fields: []string{"decision"}},
		"approval, true":               {call: approve, token: operator, body: approval(`"approve"`, `true`), want: invalid, fields: []string{"decision"}},
		"approval, version negative":   {call: approve, token: operator, body: approval(`:1`, `:-1`), want: invalid, fields: []string{"version"}},
		"approval with a reason":       {call: approve, token: operator, body: approval(`"version"`, `"reason":"x","version"`), want: invalid, fields: []string{"reason"}},
		"approval of number zero":      {call: "POST /v1/cases/{case}/resolutions/0/approvals", token: operator, body: approval(), want: invalid, fields: []string{"number"}},
		"approval, all wrong":          {call: "POST /v1/cases/17/resolutions/one/approvals", token: operator, body: `{"decision":"","version":0}`, want: invalid, fields: []string{"decision", "id", "number", "version"}},
		"approval of none":             {call: "POST /v1/cases/{case}/resolutions/9/approvals", token: operator, body: approval(), want: "404 not-found"},
		"no such deed":                 {call: "DELETE /v1/cases/{case}", token: operator, want: "405 method-not-allowed"},

		// What is watched.
		"backend reads the inbox":   {call: "GET /v1/inbox", want: "403 forbidden"},
		"backend reads the audit":   {call: "GET /v1/audit", want: "403 forbidden"},
		"support reads the audit":   {call: "GET /v1/audit", token: "support-token", want: "403 forbidden"},
		"bad inbox filters":         {call: "GET /v1/inbox?payout_id=17&unmatched=yes&limit=x", token: operator, want: invalid, fields: []string{"limit", "payout_id", "unmatched"}},
		"bad inbox cursor":          {call: "GET /v1/inbox?cursor=xyz", token: operator, want: invalid, fields: []string{"cursor"}},
		"bad position in the audit": {call: "GET /v1/audit?cursor=one&limit=201", token: operator, want: invalid, fields: []string{"cursor", "limit"}},
	}

	h := newHouse(t)
	h.furnish()
	h.must(201, h.ask("POST", "/v1/payouts", "game-token", wish(), "Idempotency-Key: used"))
	h.must(201, h.ask("POST", "/v1/refunds", "game-token", refundWish(), "Idempotency-Key: used"))
	_, open := h.blocked("blocked")
	started := len(h.started)
	before := h.dump()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h.t = t
			method, path, _ := strings.Cut(strings.Replace(or(test.call, "POST /v1/payouts"), "{case}", open.ID, 1), " ")
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
			if len(h.started) != started || len(h.woken) != 0 {
				t.Error("a run was started or woken")
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

// A list of what is taken reads as a sentence.
func TestWhatIsWanted(t *testing.T) {
	h := newHouse(t)
	for call, want := range map[string]string{
		"/v1/payouts?status=bogus":         "want accepted, pending, authorized, executed, failed, returned or parked",
		"/v1/cases?status=bogus":           "want open or closed",
		"/v1/inbox?unmatched=maybe":        "want true or false",
		"/v1/ledger/transactions?cursor=x": "want a position: a whole number from 0",
	} {
		p := h.problem(h.must(400, h.ask("GET", call, "operator-token", "")))
		if len(p.Errors) != 1 || p.Errors[0].Want != want {
			t.Errorf("%s: says %+v; want %q", call, p.Errors, want)
		}
	}
}

// Half a body is called so, and many mistakes are always told in one order.
func TestMistakesAreToldPlainly(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	for body, want := range map[string]string{
		`{"player_id":`:            "it ends before the object does",
		wish()[:len(wish())-1]:     "it ends before the object does",
		`{"player_id":"p1","curre`: "it ends before the object does",
	} {
		if a := h.ask("POST", "/v1/payouts", "game-token", body, "Idempotency-Key: half"); !strings.Contains(string(a.body), want) {
			t.Errorf("%s is answered %s", body, a.body)
		}
	}
	many := strings.Replace(wish(), `"currency"`, `"metadata":{"e":1,"b":2,"d":3,"a":4,"c":5},"currency"`, 1)
	a := string(h.ask("POST", "/v1/payouts", "game-token", many, "Idempotency-Key: many").body)
	at := -1
	for _, name := range []string{"metadata.a", "metadata.b", "metadata.c", "metadata.d", "metadata.e"} {
		next := strings.Index(a, name)
		if next <= at {
			t.Fatalf("%s is not told in its place: %s", name, a)
		}
		at = next
	}
}
