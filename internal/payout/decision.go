package payout

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Policy is one row of the decision table: what follows a definitive failure.
type Policy struct {
	Step     Step          // StepTryAgain, StepRelease, StepFreeze or StepReturn
	Attempts int           // with StepTryAgain: attempts in all, the first among them
	RestMin  time.Duration // with StepTryAgain: the rest before attempt 2; it doubles
	RestMax  time.Duration // with StepTryAgain: the longest rest
	Then     Step          // with StepTryAgain: the step when the attempts are used up
}

// Table decides each reason of failure. It is the only place where a failure
// becomes a branch; it is asked inside the transaction that stores the
// evidence, never in workflow code.
type Table map[Reason]Policy

// Decisions is the table as the house ships it. A reason without a row is a
// generic failure and takes ReasonUnknown's.
func Decisions() Table {
	release := Policy{Step: StepRelease}
	return Table{
		ReasonInsufficientFunds: {StepTryAgain, 5, time.Minute, 10 * time.Minute, StepRelease},
		ReasonSchemeError:       {StepTryAgain, 3, 10 * time.Minute, 30 * time.Minute, StepRelease},
		ReasonServerError:       {StepTryAgain, 3, 10 * time.Minute, 30 * time.Minute, StepRelease},
		ReasonInvalidIBAN:       release,
		ReasonInvalidScan:       release,
		ReasonScanConversion:    release,
		ReasonBlocked:           {Step: StepFreeze}, // regulatory: never spendable by machine
		ReasonReturned:          {Step: StepReturn},
		ReasonRefused:           release,
		ReasonUnknown:           release,
	}
}

// fixed are the rows no file may change: what the law or the bank decided is
// not a setting.
var fixed = []Reason{ReasonBlocked, ReasonReturned}

// Failure decides what follows when attempt n (from 1) of a payout failed
// definitively for reason r: the step, and the rest before it.
func (t Table) Failure(id ID, r Reason, n int) (Step, time.Duration) {
	p, ok := t[r]
	if !ok {
		p = t[ReasonUnknown]
	}
	if p.Step != StepTryAgain {
		return p.Step, 0
	}
	if n >= p.Attempts {
		return p.Then, 0
	}
	return StepTryAgain, p.rest(id, n)
}

// rest doubles from RestMin to RestMax, with up to a tenth more, fixed per
// payout and attempt, so that a thousand payouts that failed together do not
// come back together.
func (p Policy) rest(id ID, n int) time.Duration {
	rest := p.RestMin
	for range n - 1 {
		if rest *= 2; rest >= p.RestMax {
			return p.RestMax
		}
	}
	h := fnv.New32a()
	fmt.Fprintf(h, "%s/%d", id, n)
	return min(rest+rest/10*time.Duration(h.Sum32()%1000)/1000, p.RestMax)
}

// Verdict is what the provider's word means for one attempt.
type Verdict string

const (
	VerdictWait     Verdict = "wait"     // not decided yet, or a word we do not know: ask again
	VerdictExecuted Verdict = "executed" // paid
	VerdictFailed   Verdict = "failed"   // a definitive no; the table decides
)

// The provider's statuses (docs/truelayer.md, "Statuses"). Any other text is
// legal and means "not decided yet".
const (
	ProviderPending    = "pending"
	ProviderAuthorized = "authorized"
	ProviderExecuted   = "executed"
	ProviderFailed     = "failed"
)

// Verdict reads a provider status. A word that is not known is never a
// failure.
func ReadVerdict(providerStatus string) Verdict {
	switch providerStatus {
	case ProviderExecuted:
		return VerdictExecuted
	case ProviderFailed:
		return VerdictFailed
	}
	return VerdictWait
}

// ListedStatus says whether a provider status is one this build knows. One that
// is not is counted and logged as drift.
func ListedStatus(s string) bool {
	return s == ProviderPending || s == ProviderAuthorized || s == ProviderExecuted || s == ProviderFailed
}

// StatusFor is our status for a provider status that decides nothing yet.
func StatusFor(providerStatus string) Status {
	if providerStatus == ProviderAuthorized {
		return StatusAuthorized
	}
	return StatusPending
}

type decisionRow struct {
	Reason   Reason `json:"reason"`
	Step     Step   `json:"step"`
	Attempts int    `json:"attempts"`
	RestMin  string `json:"rest_min"`
	RestMax  string `json:"rest_max"`
	Then     Step   `json:"then"`
}

// ReadDecisions reads DECISIONS_FILE: a JSON list of rows that replace the
// shipped ones. Every mistake is reported, each naming its row and field.
func ReadDecisions(file []byte) (Table, error) {
	var rows []decisionRow
	d := json.NewDecoder(strings.NewReader(string(file)))
	d.DisallowUnknownFields()
	if err := d.Decode(&rows); err != nil {
		return nil, fmt.Errorf("want a JSON list of decisions: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("want one JSON list of decisions: something follows it")
	}
	table, seen, errs := Decisions(), map[Reason]bool{}, []error(nil)
	for i, row := range rows {
		wrong := func(field, want string) {
			errs = append(errs, fmt.Errorf("row %d (%q): %s: %s", i+1, row.Reason, field, want))
		}
		p := Policy{Step: row.Step}
		if row.Reason == "" {
			wrong("reason", "is missing")
		}
		if seen[row.Reason] {
			wrong("reason", "has two rows; keep one")
		}
		if seen[row.Reason] = true; slices.Contains(fixed, row.Reason) {
			wrong("reason", "cannot be configured")
		}
		switch row.Step {
		case StepRelease:
			if row.Attempts != 0 || row.RestMin != "" || row.RestMax != "" || row.Then != "" {
				wrong("step", `"release" takes no attempts, rest_min, rest_max or then`)
			}
		case StepTryAgain:
			p.Attempts, p.Then = row.Attempts, row.Then
			if row.Attempts < 2 || row.Attempts > 20 {
				wrong("attempts", "want 2 to 20 in all")
			}
			if row.Then != StepRelease {
				wrong("then", `want "release"`)
			}
			var err error
			if p.RestMin, err = time.ParseDuration(row.RestMin); err != nil || p.RestMin < time.Second {
				wrong("rest_min", `want a duration of at least 1s, such as "1m"`)
			}
			if p.RestMax, err = time.ParseDuration(row.RestMax); err != nil || p.RestMax < p.RestMin || p.RestMax > 24*time.Hour {
				wrong("rest_max", `want a duration from rest_min to 24h, such as "10m"`)
			}
		default:
			wrong("step", `want "try_again" or "release"`)
		}
		table[row.Reason] = p
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return table, nil
}

// RowReasons lists the reasons that have a row, sorted.
func (t Table) RowReasons() []Reason { return slices.Sorted(maps.Keys(t)) }
