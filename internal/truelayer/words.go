package truelayer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"payouts/internal/payout"
)

// Their JSON is untrusted and grows: unknown fields are passed over, unknown
// values survive as text. What decides about money is never guessed: an
// amount is an integer or an error, a name is matched exactly (encoding/json
// would take "ID" for "id"), and a name given twice is an error.

// What an answer may hold, so that a small body cannot fill the memory.
const (
	mostFields = 1000   // names of one object; theirs have some 20, metadata 10
	mostItems  = 10_000 // of one list; a page of transactions has 2,000
)

// object is a JSON object, its values not yet read.
type object map[string]json.RawMessage

// readObject reads exactly one JSON object and nothing after it.
func readObject(body []byte) (object, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("want a JSON object")
	}
	o := object{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("want a JSON object: %w", err)
		}
		key, ok := name.(string)
		if !ok {
			return nil, errors.New("want a JSON object")
		}
		if _, twice := o[key]; twice {
			return nil, fmt.Errorf("%.60q is given twice", key)
		}
		if len(o) == mostFields {
			return nil, fmt.Errorf("more than %d fields", mostFields)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, fmt.Errorf("%.60q: %w", key, err)
		}
		o[key] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, errors.New("the JSON object does not end")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON object")
	}
	return o, nil
}

// has says that the field is there and not null.
func (o object) has(name string) bool {
	raw, ok := o[name]
	return ok && string(raw) != "null"
}

// exact reads a string as it is; "" when it is missing.
func (o object) exact(name string) (string, error) {
	if !o.has(name) {
		return "", nil
	}
	var s string
	if err := json.Unmarshal(o[name], &s); err != nil {
		return "", fmt.Errorf("%s: want text", name)
	}
	return s, nil
}

// text reads a string for keeping; "" when it is missing. Control characters,
// which no database wants, are dropped.
func (o object) text(name string) (string, error) {
	s, err := o.exact(name)
	return printable(s), err
}

// whole reads an integer exactly; a fraction, an exponent or a string is an
// error, never rounded.
func (o object) whole(name string) (int64, error) {
	if !o.has(name) {
		return 0, fmt.Errorf("%s: is missing", name)
	}
	n, err := strconv.ParseInt(string(o[name]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %.40q: want an integer of 64 bits", name, o[name])
	}
	return n, nil
}

// when reads an RFC 3339 time with 0 to 9 digits of fraction; zero when it is
// missing.
func (o object) when(name string) (time.Time, error) {
	s, err := o.text(name)
	if err != nil || s == "" {
		return time.Time{}, err
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: %.40q: want a time such as 2021-12-25T15:00:00Z", name, s)
	}
	return t.UTC(), nil
}

// inner reads an object inside; empty when it is missing or something else.
func (o object) inner(name string) object {
	inner, err := readObject(o[name])
	if err != nil {
		return object{}
	}
	return inner
}

// each reads a list of objects one by one, so that a list of a million trifles
// costs no more than its first fault. raw is the item's own copy of its bytes.
func (o object) each(name string, read func(item object, raw []byte) error) error {
	if !o.has(name) {
		return fmt.Errorf("%s: is missing", name)
	}
	d := json.NewDecoder(bytes.NewReader(o[name]))
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return fmt.Errorf("%s: want a list", name)
	}
	for i := 0; d.More(); i++ {
		if i == mostItems {
			return fmt.Errorf("%s: more than %d", name, mostItems)
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return fmt.Errorf("%s[%d]: %w", name, i, err)
		}
		item, err := readObject(raw)
		if err == nil {
			err = read(item, raw)
		}
		if err != nil {
			return fmt.Errorf("%s[%d]: %w", name, i, err)
		}
	}
	return nil
}

// nextCursor is where a list goes on; "" on its last page. What cannot be read does
// not say that it is the last.
func (o object) nextCursor() (string, error) {
	if !o.has("pagination") {
		return "", nil
	}
	pagination, err := readObject(o["pagination"])
	if err != nil {
		return "", err
	}
	return pagination.exact("next_cursor")
}

// items reads the list of an answer that has one page. One that goes on is an
// error: how to ask for the rest is not documented, and half a list must not
// pass for a whole one.
func items(body []byte, read func(item object, raw []byte) error) error {
	o, err := readObject(body)
	if err != nil {
		return err
	}
	if next, err := o.nextCursor(); err != nil || next != "" {
		return errors.New("pagination: the list goes on, which it never did before")
	}
	return o.each("items", read)
}

// strings reads the pairs whose value is text, as metadata has them.
func (o object) strings() map[string]string {
	if len(o) == 0 {
		return nil
	}
	m := make(map[string]string, len(o))
	for name := range o {
		if v, err := o.text(name); err == nil {
			m[printable(name)] = v
		}
	}
	return m
}

// fields reads several fields of an object and keeps every error.
type fields struct {
	object
	errs []error
}

func (f *fields) keep(err error) {
	if err != nil {
		f.errs = append(f.errs, err)
	}
}

func (f *fields) text(name string) string {
	v, err := f.object.text(name)
	f.keep(err)
	return v
}

func (f *fields) when(name string) time.Time {
	v, err := f.object.when(name)
	f.keep(err)
	return v
}

// must reads text that has to be there.
func (f *fields) must(name string) string {
	v := f.text(name)
	if v == "" {
		f.keep(fmt.Errorf("%s: is missing", name))
	}
	return v
}

// money reads an amount and its currency, both of which have to be there.
func (f *fields) money(amount string) payout.Money {
	n, err := f.whole(amount)
	f.keep(err)
	m := payout.Money{Minor: n, Currency: payout.Currency(f.must("currency"))}
	if m.Currency != "" && !m.Currency.Valid() {
		f.keep(fmt.Errorf("currency: %.10q: want an ISO 4217 code", m.Currency))
	}
	return m
}

func (f *fields) err() error { return errors.Join(f.errs...) }

// readWord reads a payout or a refund as GET shows it.
func readWord(body []byte) (payout.Word, error) {
	o, err := readObject(body)
	if err != nil {
		return payout.Word{}, err
	}
	return o.word(body)
}

// word reads the object that stands in raw.
func (o object) word(raw []byte) (payout.Word, error) {
	f := &fields{object: o}
	to := &fields{object: o.inner("beneficiary")}
	w := payout.Word{
		ProviderID:        f.must("id"),
		Status:            f.must("status"),
		Reason:            payout.Reason(f.text("failure_reason")),
		Money:             f.money("amount_in_minor"),
		MerchantAccountID: f.text("merchant_account_id"),
		UserID:            to.text("user_id"),
		PaymentSourceID:   to.text("payment_source_id"),
		Reference:         to.text("reference"),
		SchemeID:          f.text("scheme_id"),
		Metadata:          o.inner("metadata").strings(),
		Raw:               raw,
	}
	if w.Reference == "" { // a refund has it at the top
		w.Reference = f.text("reference")
	}
	switch w.Status {
	case payout.ProviderExecuted:
		w.DecidedAt = f.when("executed_at")
	case payout.ProviderFailed:
		w.DecidedAt = f.when("failed_at")
		if w.Reason == "" { // seen in published bodies
			w.Reason = payout.ReasonUnknown
		}
	}
	return w, errors.Join(f.err(), to.err())
}

// problem is an error document of theirs.
type problem struct {
	kind    string // the fragment of type, such as invalid-parameters
	title   string
	detail  string
	traceID string
	errors  map[string][]string
}

// readProblem reads an error document; nil when it is not a real one of
// theirs: type (an address of theirs), title, and the status it came with.
func readProblem(status int, body []byte) *problem {
	o, err := readObject(body)
	if err != nil {
		return nil
	}
	f := &fields{object: o}
	kind, title := f.must("type"), f.must("title")
	said, err := o.whole("status")
	if f.err() != nil || err != nil || said != int64(status) || environment(kind) == "" {
		return nil
	}
	p := &problem{title: title, detail: f.text("detail"), traceID: f.text("trace_id"), errors: map[string][]string{}}
	if _, fragment, ok := strings.Cut(kind, "#"); ok {
		p.kind = fragment
	}
	for name, raw := range o.inner("errors") {
		var messages []string
		if json.Unmarshal(raw, &messages) == nil {
			p.errors[name] = messages
		}
	}
	return p
}

// printable drops control characters and cuts what is longer than anything
// of theirs that we know.
func printable(s string) string {
	const longest = 1000 // bytes
	if len(s) > longest {
		s = s[:longest]
		for !utf8.ValidString(s) {
			s = s[:len(s)-1]
		}
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, s)
}
