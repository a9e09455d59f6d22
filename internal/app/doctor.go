package app

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/client"
	"go.uber.org/zap"

	"payouts/internal/ledger"
	"payouts/internal/truelayer"
)

// State is what a check came to. Wire format: add, never rename.
type State string

const (
	StateOK      State = "ok"
	StateWarning State = "warning" // works; somebody should look
	StateFailed  State = "failed"
	StateSkipped State = "skipped" // cannot be checked, because another failed
)

// Finding is what one check saw.
type Finding struct {
	Check  string `json:"check"`
	State  State  `json:"state"`
	Saw    string `json:"saw"`
	Change string `json:"change,omitempty"` // what to change, naming the variable or the Console's page; a line each
}

func passed(format string, args ...any) Finding {
	return Finding{State: StateOK, Saw: fmt.Sprintf(format, args...)}
}

func failed(change, format string, args ...any) Finding {
	return Finding{State: StateFailed, Saw: fmt.Sprintf(format, args...), Change: change}
}

func warned(change, format string, args ...any) Finding {
	return Finding{State: StateWarning, Saw: fmt.Sprintf(format, args...), Change: change}
}

// Examination is a configuration held against the real thing.
type Examination struct {
	OK       bool      `json:"ok"` // nothing failed
	Findings []Finding `json:"checks"`
}

// Readable says that there was a configuration to check.
func (e Examination) Readable() bool {
	return len(e.Findings) > 0 && e.Findings[0].State != StateFailed
}

// CheckConfiguration names the check that all others need.
const CheckConfiguration = "configuration"

// checks are all there is to check, in order. One whose needs were not met is
// skipped. Names are wire format: add, never rename.
var checks = []struct {
	name   string
	needs  string
	within time.Duration
	look   func(*doctor, context.Context) Finding
}{
	{CheckConfiguration, "", 10 * time.Second, (*doctor).configuration},
	{"database", CheckConfiguration, 10 * time.Minute, (*doctor).database}, // the laws of large books take their time
	{"token", CheckConfiguration, providerWithin, (*doctor).token},
	{"scope", "token", 2 * providerWithin, (*doctor).scope},
	{"signature", "scope", providerWithin, (*doctor).signature},
	{"merchant_accounts", "scope", time.Second, (*doctor).merchantAccounts},
	{"webhook_keys", CheckConfiguration, providerWithin, (*doctor).webhookKeys},
	{"clock", CheckConfiguration, providerWithin, (*doctor).clock},
	{"gateway", CheckConfiguration, 5 * time.Second, (*doctor).gateway},
	{"traces", CheckConfiguration, 5 * time.Second, (*doctor).traces},
	{"temporal", CheckConfiguration, 15 * time.Second, (*doctor).temporal},
	{"search_attributes", "temporal", 15 * time.Second, (*doctor).searchAttributes},
	{"schedule", "temporal", 15 * time.Second, (*doctor).schedule},
	{"deployment", "temporal", 15 * time.Second, (*doctor).deployment},
}

// doctor is what the checks share: each leaves what the later ones need.
type doctor struct {
	getenv   func(string) string
	config   Config
	provider *truelayer.Client
	verifier *truelayer.Verifier
	accounts []truelayer.MerchantAccount
	dialled  client.Client
}

// Examine holds the configuration of worker, starter and gateway together
// against the real thing, check by check, and tells each finding as soon as
// there is one. It moves no money and writes nothing at the provider; the
// database it brings up to date, as every program does when it starts.
//
//	Repeats: safe
func Examine(ctx context.Context, getenv func(string) string, tell func(Finding)) Examination {
	d := &doctor{getenv: getenv}
	defer d.close()
	e := Examination{OK: true}
	missed := map[string]string{} // check: why what needs it is skipped
	for _, c := range checks {
		why, skip := missed[c.needs]
		if !skip && ctx.Err() != nil {
			why, skip = "stopped", true
		}
		found := Finding{State: StateSkipped, Saw: why}
		if !skip {
			within, cancel := context.WithTimeout(ctx, c.within)
			found = c.look(d, within)
			cancel()
		}
		switch found.Check = c.name; found.State {
		case StateFailed:
			e.OK, missed[c.name] = false, c.name+" failed"
		case StateSkipped:
			e.OK, missed[c.name] = false, found.Saw
		}
		e.Findings = append(e.Findings, found)
		tell(found)
	}
	return e
}

func (d *doctor) close() {
	if d.dialled != nil {
		d.dialled.Close()
	}
}

// variableNames finds the names in brackets that a mistake of package truelayer
// bears, such as "APIURL (TRUELAYER_API_URL): …".
var variableNames = regexp.MustCompile(`\(([A-Z][A-Z_]+(?:, [A-Z_]+)*)\): `)

// configuration reads everything and asks nobody.
func (d *doctor) configuration(context.Context) Finding {
	c, err := Load(d.getenv, Programs()...)
	d.config = c
	var mistakes []string
	if err != nil {
		mistakes = strings.Split(err.Error(), "\n")
	}
	named := func(variable string) bool {
		return slices.ContainsFunc(mistakes, func(m string) bool { return strings.HasPrefix(m, variable+":") })
	}
	var refused [2]error
	d.provider, refused[0] = newProvider(c, providerWithin, NewMetrics(time.Now), nil, zap.NewNop())
	d.verifier, refused[1] = truelayer.NewVerifier(truelayer.VerifierOptions{JWKSURL: c.TrueLayer.JWKSURL})
	for _, err := range refused {
		if err == nil {
			continue
		}
		for _, line := range strings.Split(err.Error(), "\n") {
			text := line
			if m := variableNames.FindStringSubmatchIndex(line); m != nil {
				names := line[m[2]:m[3]]
				if slices.ContainsFunc(strings.Split(names, ", "), named) {
					continue // it is told already
				}
				text = names + ": " + line[m[1]:]
			}
			if !slices.Contains(mistakes, text) {
				mistakes = append(mistakes, text)
			}
		}
	}
	if len(mistakes) > 0 {
		return failed(strings.Join(mistakes, "\n"), "mistakes: %d", len(mistakes))
	}
	where, _, _ := strings.Cut(c.DatabaseURL, ":")
	return passed("provider %s as client %s, signing key %s; books on %s", c.TrueLayer.APIURL, c.TrueLayer.ClientID, c.TrueLayer.SigningKID, where)
}

// database opens the books, brings them up to date, writes, and holds them
// against their laws.
func (d *doctor) database(ctx context.Context) Finding {
	within, cancel := context.WithTimeout(ctx, time.Minute) // other programs may be bringing it up to date
	defer cancel()
	books, err := openLedger(within, d.config, NewMetrics(time.Now), nil, zap.NewNop())
	if err != nil {
		return failed("DATABASE_URL: name a database that is running and lets us in; a driver's word above says what is missing", "%v", err)
	}
	defer books.Close()
	// An update of no row: a database that only lets us read refuses it.
	if err := books.NotSent(within, "no such event", time.Time{}, ""); err != nil {
		return failed("DATABASE_URL: name the primary, and a user who may write to our tables", "it cannot be written: %v", err)
	}
	laws, err := books.Check(ctx)
	if err != nil {
		return failed("DATABASE_URL: give the user the right to read all our tables", "the books cannot be checked: %v", err)
	}
	broken := slices.DeleteFunc(slices.Clone(laws), func(l ledger.Invariant) bool { return l.Violations == 0 })
	if len(broken) > 0 {
		var text []string
		for _, l := range broken {
			text = append(text, fmt.Sprintf("%s: %d times, such as %s", l.Statement, l.Violations, strings.Join(l.Examples, ", ")))
		}
		return failed("stop the worker and have the books looked at: this is no matter of configuration", "the books break their laws: %s", strings.Join(text, "; "))
	}
	return passed("opens, is up to date, can be written; %d laws of the books hold", len(laws))
}

// fault tells an error as what was seen and what to change. otherwise is the
// change where the error does not name one itself.
func fault(err error, otherwise string) Finding {
	var config *truelayer.ConfigError
	if errors.As(err, &config) {
		return failed(config.Change, "%s", config.Said)
	}
	return failed(otherwise, "%v", err)
}
