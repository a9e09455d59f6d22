package app

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"

	"payouts/internal/ledger"
	"payouts/internal/payout"
)

// Config is what the environment says, read and checked. Fields that the
// programs it was loaded for do not use are zero.
type Config struct {
	DatabaseURL      string
	Seal             *ledger.Seal
	MerchantAccounts map[payout.Currency]string // currency → the account it is paid from
	AdminAddr        string
	Temporal         client.Options
	Deployment       Deployment

	StarterAddr      string
	Tokens           Tokens
	MaxAmountInMinor int64
	Reference        *regexp.Regexp
	ReferenceText    string
	BindFirstUse     bool

	GatewayAddr string
	TrueLayer   TrueLayer
	ProviderRPS float64 // calls per second

	Timing    payout.Timing
	Decisions payout.Table

	Events         []EventsTarget // empty: events are kept and not sent
	EventsRetryFor time.Duration
	StateDir       string
	CasesURL       string // with {payout} in it; empty: there is no such page
	TracesURL      string // where spans go, by OTLP over HTTP; empty: none are made

	eventsURL    string
	eventsSecret Secret
}

// TrueLayer is where the provider is and who we are there.
type TrueLayer struct {
	APIURL, AuthURL, JWKSURL string
	ClientID                 string
	ClientSecret             Secret
	SigningKeyPEM            Secret
	SigningKID               string
}

// EventsTarget is where a caller takes events.
type EventsTarget struct {
	Caller string // empty: every caller
	URL    string
	Secret Secret
}

// Secret is text that must not show up in logs.
type Secret string

func (Secret) String() string               { return "(secret)" }
func (Secret) GoString() string             { return "(secret)" }
func (Secret) MarshalText() ([]byte, error) { return []byte("(secret)"), nil }

// Limits is what requests are checked against at the door.
func (c Config) Limits() payout.Limits {
	return payout.Limits{
		MaxAmountInMinor: c.MaxAmountInMinor, Reference: c.Reference, ReferenceText: c.ReferenceText, MerchantAccounts: c.MerchantAccounts,
	}
}

// Load reads the environment for the programs that will run in this process,
// and the files it names. Every mistake is reported at once, a line each,
// beginning with the variable's name and saying what to do. A variable that
// is empty counts as not set. Without a program it reads only how to reach
// Temporal.
func Load(getenv func(string) string, programs ...Program) (Config, error) {
	c := Config{Timing: payout.DefaultTiming(), Decisions: payout.Decisions()}
	var errs []error
	mistake := func(name string, err error) {
		for _, line := range strings.Split(err.Error(), "\n") { // each keeps its variable's name
			errs = append(errs, fmt.Errorf("%s: %s", name, line))
		}
	}
	for _, v := range Variables() {
		users := slices.DeleteFunc(slices.Clone(v.Programs), func(p Program) bool { return !slices.Contains(programs, p) })
		if len(users) == 0 || v.read == nil {
			continue
		}
		text := getenv(v.Name)
		if text == "" {
			text = v.DefaultFor(programs[0])
		}
		switch {
		case text == "" && v.Required:
			mistake(v.Name, fmt.Errorf("is missing; want %s", v.Meaning))
		case text != "":
			if err := v.read(&c, text); err != nil {
				mistake(v.Name, err)
			}
		}
	}
	if err := c.Timing.Check(); err != nil {
		errs = append(errs, err)
	}
	for _, check := range []func(func(string) string) error{c.checkEvents, c.checkDeployment} {
		if err := check(getenv); err != nil {
			errs = append(errs, err)
		}
	}
	var err error
	if c.Temporal, err = envconfig.LoadClientOptions(envconfig.LoadClientOptionsRequest{EnvLookup: environment(getenv)}); err != nil {
		mistake("TEMPORAL_*", err)
	}
	return c, errors.Join(errs...)
}

// checkEvents brings the two ways to name the takers of events together.
func (c *Config) checkEvents(getenv func(string) string) error {
	switch {
	case len(c.Events) > 0 && (c.eventsURL != "" || c.eventsSecret != ""):
		return errors.New("EVENTS_FILE: is set beside EVENTS_URL or EVENTS_SECRET_FILE; keep one way")
	case c.eventsURL != "" && getenv("EVENTS_SECRET_FILE") == "":
		return errors.New("EVENTS_SECRET_FILE: is missing; EVENTS_URL needs the secret that signs its events")
	case c.eventsSecret != "" && getenv("EVENTS_URL") == "":
		return errors.New("EVENTS_URL: is missing; EVENTS_SECRET_FILE is for nothing without it")
	case c.eventsURL != "":
		c.Events = []EventsTarget{{URL: c.eventsURL, Secret: c.eventsSecret}}
	}
	return nil
}

// environment lets the Temporal SDK read its variables through getenv.
type environment func(string) string

func (e environment) LookupEnv(name string) (string, bool) { v := e(name); return v, v != "" }

func (e environment) Environ() []string {
	var list []string
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		if v := e(name); v != "" {
			list = append(list, name+"="+v)
		}
	}
	return list
}
