package payout

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

const someID = ID("0cd1b0f7-71bc-4d24-b209-95259dadcc20")

// wantFailures is the design's table: the steps after attempt 1, 2, …; a line
// per reason, so that a reason without a line fails.
var wantFailures = map[Reason][]Step{
	ReasonInsufficientFunds: {StepTryAgain, StepTryAgain, StepTryAgain, StepTryAgain, StepRelease, StepRelease},
	ReasonSchemeError:       {StepTryAgain, StepTryAgain, StepRelease, StepRelease},
	ReasonServerError:       {StepTryAgain, StepTryAgain, StepRelease, StepRelease},
	ReasonInvalidIBAN:       {StepRelease, StepRelease},
	ReasonInvalidScan:       {StepRelease, StepRelease},
	ReasonScanConversion:    {StepRelease, StepRelease},
	ReasonBlocked:           {StepFreeze, StepFreeze},
	ReasonReturned:          {StepReturn, StepReturn},
	ReasonUnknown:           {StepRelease, StepRelease},
	ReasonRefused:           {StepRelease, StepRelease},
	"brand_new":             {StepRelease, StepRelease},
	"":                      {StepRelease, StepRelease},
}

func TestDecisions(t *testing.T) {
	for _, reason := range Reasons() {
		if _, ok := wantFailures[reason]; !ok {
			t.Errorf("%s has no line here", reason)
		}
		if _, ok := Decisions()[reason]; !ok {
			t.Errorf("%s has no row", reason)
		}
		if !reason.Listed() {
			t.Errorf("%s is not listed", reason)
		}
	}
	if len(Decisions()) != len(Reasons()) || Reason("brand_new").Listed() {
		t.Error("a row for something that is no reason")
	}
	for reason, steps := range wantFailures {
		for i, want := range steps {
			step, rest := Decisions().Failure(someID, reason, i+1)
			if step != want {
				t.Errorf("%s, attempt %d: %s, want %s", reason, i+1, step, want)
			}
			if (rest > 0) != (want == StepTryAgain) {
				t.Errorf("%s, attempt %d: %s rests %s", reason, i+1, step, rest)
			}
		}
	}
}

func TestRests(t *testing.T) {
	for reason, bounds := range map[Reason][2]time.Duration{
		ReasonInsufficientFunds: {time.Minute, 10 * time.Minute}, ReasonSchemeError: {10 * time.Minute, 30 * time.Minute}, ReasonServerError: {10 * time.Minute, 30 * time.Minute},
	} {
		seen := map[time.Duration]bool{}
		for n := range 200 {
			id, last := NewID(KindPayout, "game", fmt.Sprint(n)), time.Duration(0)
			for attempt := 1; attempt < Decisions()[reason].Attempts; attempt++ {
				_, rest := Decisions().Failure(id, reason, attempt)
				if rest < bounds[0] || rest > bounds[1] || rest < last {
					t.Fatalf("%s, attempt %d rests %s after %s", reason, attempt, rest, last)
				}
				if _, again := Decisions().Failure(id, reason, attempt); again != rest {
					t.Fatalf("%s: rests %s, then %s", reason, rest, again)
				}
				last = rest
				if attempt == 1 {
					seen[rest] = true
				}
			}
		}
		if len(seen) < 100 {
			t.Errorf("%s: 200 payouts come back at %d moments only", reason, len(seen))
		}
	}
	// The largest that a file may say does not wrap.
	huge := Table{"x": {StepTryAgain, 20, 24 * time.Hour, 24 * time.Hour, StepRelease}, ReasonUnknown: {Step: StepRelease}}
	for n := 1; n < 20; n++ {
		if _, rest := huge.Failure(someID, "x", n); rest != 24*time.Hour {
			t.Errorf("attempt %d rests %s", n, rest)
		}
	}
}

func TestVerdicts(t *testing.T) {
	for word, want := range map[string]struct {
		verdict Verdict
		status  Status
	}{
		"pending": {VerdictWait, StatusPending}, "authorized": {VerdictWait, StatusAuthorized}, "executed": {VerdictExecuted, ""}, "failed": {VerdictFailed, ""},
		"authorization_required": {VerdictWait, StatusPending}, "authorizing": {VerdictWait, StatusPending}, "": {VerdictWait, StatusPending}, "FAILED": {VerdictWait, StatusPending}, "rejected": {VerdictWait, StatusPending},
	} {
		if got := ReadVerdict(word); got != want.verdict {
			t.Errorf("%q means %s, want %s", word, got, want.verdict)
		}
		if want.status != "" && StatusFor(word) != want.status {
			t.Errorf("%q is %s, want %s", word, StatusFor(word), want.status)
		}
	}
}

func TestReadDecisions(t *testing.T) {
	table, err := ReadDecisions([]byte(`[
		{"reason":"insufficient_funds","step":"try_again","attempts":2,"rest_min":"1s","rest_max":"24h","then":"release"},
		{"reason":"scheme_error","step":"release"},
		{"reason":"new_word","step":"try_again","attempts":20,"rest_min":"90s","rest_max":"90s","then":"release"}]`))
	if err != nil {
		t.Fatal(err)
	}
	want := Decisions()
	want[ReasonInsufficientFunds] = Policy{StepTryAgain, 2, time.Second, 24 * time.Hour, StepRelease}
	want[ReasonSchemeError] = Policy{Step: StepRelease}
	want["new_word"] = Policy{StepTryAgain, 20, 90 * time.Second, 90 * time.Second, StepRelease}
	if !reflect.DeepEqual(table, want) {
		t.Errorf("read %+v", table)
	}
	if !slices.Contains(table.RowReasons(), "new_word") || !slices.IsSorted(table.RowReasons()) {
		t.Errorf("rows are %v", table.RowReasons())
	}
	if table, err := ReadDecisions([]byte(`[]`)); err != nil || !reflect.DeepEqual(table, Decisions()) {
		t.Errorf("an empty list reads %v, %v", table, err)
	}
}

func TestReadDecisionsNamesEveryMistake(t *testing.T) {
	good := func(change string) string {
		return `{"reason":"scheme_error","step":"try_again","attempts":3,"rest_min":"1m","rest_max":"2m","then":"release"` + change + `}`
	}
	for name, c := range map[string]struct {
		file string
		want []string
	}{
		"not JSON":             {`x`, []string{"JSON list"}},
		"an object":            {`{}`, []string{"JSON list"}},
		"unknown field":        {`[` + good(`,"colour":"red"`) + `]`, []string{"colour"}},
		"something after it":   {`[` + good("") + `] []`, []string{"follows"}},
		"cut":                  {`[` + good(""), []string{"JSON list"}},
		"attempts as text":     {`[` + good(`,"attempts":"3"`) + `]`, []string{"attempts"}},
		"no reason":            {`[` + good(`,"reason":""`) + `]`, []string{"row 1", "reason: is missing"}},
		"two rows":             {`[` + good("") + `,` + good("") + `]`, []string{"row 2", "two rows"}},
		"blocked":              {`[{"reason":"blocked","step":"release"}]`, []string{`"blocked"`, "cannot be configured"}},
		"returned":             {`[{"reason":"returned","step":"release"}]`, []string{`"returned"`, "cannot be configured"}},
		"no step":              {`[` + good(`,"step":""`) + `]`, []string{"step: want"}},
		"a step of a machine":  {`[` + good(`,"step":"freeze"`) + `]`, []string{"step: want"}},
		"release with rests":   {`[` + good(`,"step":"release"`) + `]`, []string{"step:", "takes no attempts"}},
		"one attempt":          {`[` + good(`,"attempts":1`) + `]`, []string{"attempts: want 2 to 20"}},
		"too many attempts":    {`[` + good(`,"attempts":21`) + `]`, []string{"attempts: want 2 to 20"}},
		"freeze in the end":    {`[` + good(`,"then":"freeze"`) + `]`, []string{"then: want"}},
		"nothing in the end":   {`[` + good(`,"then":""`) + `]`, []string{"then: want"}},
		"no rest":              {`[` + good(`,"rest_min":""`) + `]`, []string{"rest_min: want"}},
		"a rest of nothing":    {`[` + good(`,"rest_min":"0s"`) + `]`, []string{"rest_min: want"}},
		"a number as a rest":   {`[` + good(`,"rest_min":"5"`) + `]`, []string{"rest_min: want"}},
		"a rest that shrinks":  {`[` + good(`,"rest_max":"30s"`) + `]`, []string{"rest_max: want"}},
		"a rest without end":   {`[` + good(`,"rest_max":"25h"`) + `]`, []string{"rest_max: want"}},
		"several at once":      {`[` + good(`,"attempts":0,"then":""`) + `,{"reason":"x","step":"y"}]`, []string{"row 1", "attempts", "then", "row 2", "step"}},
		"not a word of a step": {`[` + good(`,"step":"park"`) + `]`, []string{"step: want"}},
	} {
		t.Run(name, func(t *testing.T) {
			table, err := ReadDecisions([]byte(c.file))
			if err == nil {
				t.Fatalf("read %v", table)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v\ndoes not tell %q", err, want)
				}
			}
		})
	}
}
