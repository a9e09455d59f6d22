package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"payouts/internal/payout"
)

// maxBody is the longest request body taken.
const maxBody = 64 << 10

// readBody takes the bytes of a JSON body within the limit.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, *Problem) {
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if charset, ok := params["charset"]; err != nil || media != "application/json" || (ok && !strings.EqualFold(charset, "utf-8")) {
		return nil, unsupportedMedia.problem(fmt.Sprintf("Content-Type is %q; want application/json", r.Header.Get("Content-Type")),
			payout.Problem{Field: "Content-Type", Want: "want application/json"})
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return nil, unsupportedMedia.problem(fmt.Sprintf("Content-Encoding is %q; want none", encoding),
			payout.Problem{Field: "Content-Encoding", Want: "want no header: the body uncompressed"})
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, bodyTooLarge.problem(fmt.Sprintf("the body is longer than %d bytes; nothing was written", maxBody))
	case err != nil:
		return nil, malformedBody.problem("the body ended early; nothing was written")
	}
	return body, nil
}

// decode reads a JSON object into the struct that into points to, and names
// everything that is wrong with its shape. It is stricter than encoding/json,
// because money is in it: field names are exact, unknown and repeated fields
// are refused, integers have no fraction, exponent or quotes and fit 64 bits,
// and text holds no control characters. Fields without omitempty must be
// there.
func decode(body []byte, into any) *Problem {
	if !utf8.Valid(body) {
		return malformedBody.problem("the body is not UTF-8; nothing was written")
	}
	d := decoder{}
	raw := json.NewDecoder(bytes.NewReader(body))
	fields, err := d.object(raw, "")
	if err == nil {
		if _, end := raw.Token(); !errors.Is(end, io.EOF) {
			err = errors.New("there is something after the end of the object")
		}
	}
	if err != nil {
		return malformedBody.problem(err.Error() + "; nothing was written")
	}
	if len(d.repeated) > 0 {
		return malformedBody.problem("a field is given twice; nothing was written", d.repeated...)
	}
	d.fill("", fields, reflect.ValueOf(into).Elem())
	if len(d.wrong) > 0 {
		return invalid(d.wrong)
	}
	return nil
}

// notJSON says why a body cannot be read.
func notJSON(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the body is not JSON: it ends before the object does")
	}
	return fmt.Errorf("the body is not JSON: %w", err)
}

type decoder struct {
	wrong    payout.Problems
	repeated payout.Problems
}

// object splits an object into its fields.
func (d *decoder) object(raw *json.Decoder, at string) (map[string]json.RawMessage, error) {
	open, err := raw.Token()
	switch {
	case errors.Is(err, io.EOF):
		return nil, errors.New("the body is empty; want a JSON object")
	case err != nil:
		return nil, notJSON(err)
	case open != json.Delim('{'):
		return nil, errors.New("the body is not a JSON object")
	}
	fields := map[string]json.RawMessage{}
	for raw.More() {
		var value json.RawMessage
		name, err := raw.Token()
		if err == nil {
			err = raw.Decode(&value)
		}
		if err != nil {
			return nil, notJSON(err)
		}
		field := name.(string) // what More announces inside an object is a name
		if _, twice := fields[field]; twice {
			d.repeated = append(d.repeated, payout.Problem{Field: at + shown(field), Want: "want one value; it is given twice"})
		}
		fields[field] = value
		if nested := bytes.TrimSpace(value); len(nested) > 0 && nested[0] == '{' && at == "" {
			_, _ = d.object(json.NewDecoder(bytes.NewReader(nested)), shown(field)+".") // for its repeated names; it is JSON already
		}
	}
	if _, err := raw.Token(); err != nil {
		return nil, notJSON(err)
	}
	return fields, nil
}

// fill reads fields into a struct.
func (d *decoder) fill(at string, fields map[string]json.RawMessage, into reflect.Value) {
	for i := range into.NumField() {
		name, options, _ := strings.Cut(into.Type().Field(i).Tag.Get("json"), ",")
		if name == "" {
			continue
		}
		raw, given := fields[name]
		delete(fields, name)
		optional := strings.Contains(options, "omitempty")
		switch given = given && string(raw) != "null"; {
		case given:
			d.value(at+name, raw, into.Field(i))
		case !optional:
			d.wrongf(at+name, "is missing; want %s", wanted(into.Field(i).Kind()))
		}
	}
	var unknown []string
	for name := range fields {
		unknown = append(unknown, name)
	}
	slices.Sort(unknown)
	for _, name := range unknown {
		d.wrongf(at+shown(name), "is not a field here; remove it or correct its name")
	}
}

func (d *decoder) value(at string, raw json.RawMessage, into reflect.Value) {
	switch into.Kind() {
	case reflect.String:
		text, ok := text(raw)
		if !ok {
			d.wrongf(at, "want %s", wanted(reflect.String))
		}
		into.SetString(text)
	case reflect.Int64:
		n, err := strconv.ParseInt(string(raw), 10, 64) // JSON writes no integer that ParseInt reads otherwise
		switch {
		case errors.Is(err, strconv.ErrRange):
			d.wrongf(at, "%s: does not fit 64 bits", shown(string(raw)))
		case err != nil:
			d.wrongf(at, "%s: want %s", shown(string(raw)), wanted(reflect.Int64))
		default:
			into.SetInt(n)
		}
	case reflect.Int:
		n, err := strconv.Atoi(string(raw)) // JSON writes no integer that Atoi reads otherwise
		if err != nil {
			d.wrongf(at, "%s: want %s", shown(string(raw)), wanted(reflect.Int))
		}
		into.SetInt(int64(n))
	case reflect.Map:
		var pairs map[string]json.RawMessage
		if json.Unmarshal(raw, &pairs) != nil {
			d.wrongf(at, "want %s", wanted(reflect.Map))
			return
		}
		texts := make(map[string]string, len(pairs))
		for _, name := range slices.Sorted(maps.Keys(pairs)) { // the same mistakes are told in the same order
			value, ok := text(pairs[name])
			if _, fine := clean(name); !ok || !fine {
				d.wrongf(at+"."+shown(name), "want %s", wanted(reflect.String))
			}
			texts[name] = value
		}
		into.Set(reflect.ValueOf(texts))
	case reflect.Struct:
		var fields map[string]json.RawMessage
		if json.Unmarshal(raw, &fields) != nil {
			d.wrongf(at, "want %s", wanted(reflect.Struct))
			return
		}
		d.fill(at+".", fields, into)
	default:
		panic(fmt.Sprintf("decode: no reader for %s of %s", at, into.Type()))
	}
}

func (d *decoder) wrongf(field, format string, args ...any) {
	d.wrong = append(d.wrong, payout.Problem{Field: field, Want: fmt.Sprintf(format, args...)})
}

func wanted(k reflect.Kind) string {
	switch k {
	case reflect.String:
		return "text in quotes, without control characters"
	case reflect.Map:
		return "an object of text values"
	case reflect.Struct:
		return "an object"
	case reflect.Int:
		return "a whole number without fraction, exponent or quotes"
	}
	return "a whole number of minor units (pence, cents) without fraction, exponent or quotes"
}

// text reads a JSON string that can be kept and shown anywhere.
func text(raw json.RawMessage) (string, bool) {
	var s string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", false
	}
	return clean(s)
}

// clean refuses control characters, which terminals obey and PostgreSQL does
// not store, and the mark that stands for half a character.
func clean(s string) (string, bool) {
	if strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError }) {
		return "", false
	}
	return s, true
}

// shown is a stranger's text as an answer may repeat it.
func shown(s string) string {
	if len(s) > 60 {
		s = strings.ToValidUTF8(s[:60], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, s)
}

// together adds what the vocabulary says about a request to what is wrong
// with its shape; a field whose shape is wrong is named once.
func together(shape *Problem, meaning payout.Problems) error {
	if shape == nil && len(meaning) == 0 {
		return nil
	}
	if shape == nil {
		return invalid(meaning)
	}
	if shape.Type != invalidRequest.problem("").Type {
		return shape // there are no fields to speak about
	}
	var all payout.Problems
	for _, e := range shape.Errors {
		all = append(all, payout.Problem(e))
	}
	for _, m := range meaning {
		named := func(p WrongField) bool { return p.Field == m.Field || strings.HasPrefix(m.Field, p.Field+".") }
		if !slices.ContainsFunc(shape.Errors, named) {
			all = append(all, m)
		}
	}
	return invalid(all)
}
