package app

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"payouts/internal/ledger"
	"payouts/internal/payout"
)

// Program is one of the processes the house consists of. Several may live in
// one process and share a configuration.
type Program string

const (
	Worker  Program = "worker"
	Starter Program = "starter"
	Gateway Program = "gateway"
)

// Programs lists every program.
func Programs() []Program { return []Program{Worker, Starter, Gateway} }

// Variable is one variable of the environment. The table of variables is the
// only place that knows them: Load reads it, --help and docs/configuration.md
// show it, and docker-compose.yml is held against it.
type Variable struct {
	Name     string
	Default  string // as it would be written; empty: none
	Meaning  string // for people; says the form
	Programs []Program
	Required bool // by each of Programs
	read     func(c *Config, text string) error
}

// DefaultFor is the default in a process that runs p first.
func (v Variable) DefaultFor(p Program) string {
	if v.Name == "ADMIN_ADDR" {
		return adminAddrs[p]
	}
	return v.Default
}

// adminAddrs differ, so that the three programs start beside each other on one
// machine without being told.
var adminAddrs = map[Program]string{Worker: "127.0.0.1:8090", Starter: "127.0.0.1:8091", Gateway: "127.0.0.1:8092"}

var (
	all         = Programs()
	onlyWorker  = []Program{Worker}
	onlyStarter = []Program{Starter}
	onlyGateway = []Program{Gateway}
)

// Variables is the table, in the order people read it.
func Variables() []Variable {
	timing := payout.DefaultTiming()
	wait := func(name string, shipped time.Duration, meaning string, field func(*payout.Timing) *time.Duration) Variable {
		return Variable{Name: name, Default: short(shipped), Programs: all, Meaning: meaning + " (a duration such as 90s, 15m or 26h)",
			read: func(c *Config, s string) error { return duration(s, field(&c.Timing)) }}
	}
	return []Variable{
		{Name: "DATABASE_URL", Programs: all, Required: true,
			Meaning: "the books: `sqlite:PATH` (all programs on one machine share the file) or `postgres://USER:PASSWORD@HOST/DATABASE`",
			read:    readDatabaseURL},
		{Name: "SEAL_KEY_FILE", Programs: all, Required: true,
			Meaning: "file of the keys that seal stored evidence: per line an id, a space and 32 bytes in base64 (`openssl rand -base64 32`); the first seals, all open",
			read: func(c *Config, s string) (err error) {
				text, err := os.ReadFile(s)
				if err == nil {
					c.Seal, err = ledger.ReadSeal(bytes.NewReader(text))
				}
				return fileError(s, err)
			}},
		{Name: "MERCHANT_ACCOUNTS", Programs: []Program{Worker, Starter}, Required: true,
			Meaning: "the account each currency is paid from: `GBP=<uuid>,EUR=<uuid>`", read: readMerchantAccounts},
		{Name: "ADMIN_ADDR", Programs: all,
			Meaning: "where `/healthz`, `/readyz` and `/metrics` are served; it asks for no token, so keep it off the internet. Per process; by default " +
				adminAddrs[Worker] + " (worker), " + adminAddrs[Starter] + " (starter), " + adminAddrs[Gateway] + " (gateway)",
			read: func(c *Config, s string) error { return address(s, &c.AdminAddr) }},

		{Name: "STARTER_ADDR", Default: "127.0.0.1:8080", Programs: onlyStarter,
			Meaning: "where the API is served", read: func(c *Config, s string) error { return address(s, &c.StarterAddr) }},
		{Name: "API_TOKENS_FILE", Programs: onlyStarter, Required: true,
			Meaning: "file of who may use the API: per line a name, a role (backend, operator, support or auditor) and the SHA-256 of the token in hex (`printf %s TOKEN | sha256sum`); names are for ever, an operator's is one person",
			read: func(c *Config, s string) error {
				text, err := os.ReadFile(s)
				if err == nil {
					c.Tokens, err = ReadTokens(text)
				}
				return fileError(s, err)
			}},
		{Name: "MAX_AMOUNT_IN_MINOR", Default: strconv.Itoa(payout.DefaultMaxAmountInMinor), Programs: onlyStarter,
			Meaning: "the largest amount of one payout, credit or debit, in minor units",
			read: func(c *Config, s string) (err error) {
				c.MaxAmountInMinor, err = strconv.ParseInt(s, 10, 64)
				if err != nil || c.MaxAmountInMinor < 1 {
					return fmt.Errorf("%q: want a whole number of minor units above 0", s)
				}
				return nil
			}},
		{Name: "REFERENCE_PATTERN", Default: payout.DefaultReference, Programs: onlyStarter,
			Meaning: "what the reference on the player's statement must match, as a regular expression (RE2) of the whole reference",
			read:    readReference},
		{Name: "SOURCE_BINDING", Default: "bound", Programs: onlyStarter,
			Meaning: "`bound`: pay out only to payment sources that were bound before; `first_use`: a payout binds a source nobody has",
			read: func(c *Config, s string) error {
				if s != "bound" && s != "first_use" {
					return fmt.Errorf("%q: want bound or first_use", s)
				}
				c.BindFirstUse = s == "first_use"
				return nil
			}},

		{Name: "GATEWAY_ADDR", Default: "127.0.0.1:8081", Programs: onlyGateway,
			Meaning: "where webhooks are taken, at `POST /webhooks/truelayer`", read: func(c *Config, s string) error { return address(s, &c.GatewayAddr) }},
		{Name: "TRUELAYER_JWKS_URL", Programs: []Program{Worker, Gateway}, Required: true,
			Meaning: "where the provider's webhook keys are; the one allowed `jku`: `https://webhooks.truelayer.com/.well-known/jwks`, or the sandbox's",
			read:    func(c *Config, s string) error { return webAddress(s, &c.TrueLayer.JWKSURL) }},
		{Name: "TRUELAYER_API_URL", Programs: onlyWorker, Required: true,
			Meaning: "the provider's API: `https://api.truelayer.com`, or the sandbox's",
			read:    func(c *Config, s string) error { return webAddress(s, &c.TrueLayer.APIURL) }},
		{Name: "TRUELAYER_AUTH_URL", Programs: onlyWorker, Required: true,
			Meaning: "where access tokens come from: `https://auth.truelayer.com`, or the sandbox's",
			read:    func(c *Config, s string) error { return webAddress(s, &c.TrueLayer.AuthURL) }},
		{Name: "TRUELAYER_CLIENT_ID", Programs: onlyWorker, Required: true,
			Meaning: "our id at the provider", read: func(c *Config, s string) error { c.TrueLayer.ClientID = s; return nil }},
		{Name: "TRUELAYER_CLIENT_SECRET_FILE", Programs: onlyWorker, Required: true,
			Meaning: "file that holds our secret at the provider",
			read:    func(c *Config, s string) error { return secretFile(s, &c.TrueLayer.ClientSecret) }},
		{Name: "TRUELAYER_SIGNING_KEY_FILE", Programs: onlyWorker, Required: true,
			Meaning: "file of the private key that signs our requests, in PEM (`openssl ecparam -name secp521r1 -genkey -noout`)",
			read:    func(c *Config, s string) error { return secretFile(s, &c.TrueLayer.SigningKeyPEM) }},
		{Name: "TRUELAYER_SIGNING_KID", Programs: onlyWorker, Required: true,
			Meaning: "the provider's id of that key's public half", read: func(c *Config, s string) error { c.TrueLayer.SigningKID = s; return nil }},
		{Name: "PROVIDER_RPS", Default: "20", Programs: onlyWorker,
			Meaning: "calls to the provider per second, all calls of this worker together",
			read: func(c *Config, s string) (err error) {
				c.ProviderRPS, err = strconv.ParseFloat(s, 64)
				if err != nil || !(c.ProviderRPS > 0 && c.ProviderRPS <= 10_000) {
					return fmt.Errorf("%q: want a number above 0, such as 20", s)
				}
				return nil
			}},

		wait("KEY_WINDOW", timing.KeyWindow, "how long an unanswered create is sent again with the same key and bytes", func(t *payout.Timing) *time.Duration { return &t.KeyWindow }),
		wait("KEY_LIFE", timing.KeyLife, "how long the provider surely remembers an idempotency key", func(t *payout.Timing) *time.Duration { return &t.KeyLife }),
		wait("POLL_FIRST", timing.PollFirst, "silence after a create before the provider is asked", func(t *payout.Timing) *time.Duration { return &t.PollFirst }),
		wait("POLL_MAX", timing.PollMax, "the longest pause between two askings", func(t *payout.Timing) *time.Duration { return &t.PollMax }),
		wait("STUCK_AFTER", timing.StuckAfter, "an undecided payout of this age gets a case `slow`; asking goes on", func(t *payout.Timing) *time.Duration { return &t.StuckAfter }),
		wait("REFUND_STUCK_AFTER", timing.RefundStuckAfter, "the same for a refund, which may have to wait until its pay-in settles", func(t *payout.Timing) *time.Duration { return &t.RefundStuckAfter }),
		wait("RETURN_ASK_FOR", timing.ReturnAskFor, "how long the provider is asked about a return it announced and does not confirm", func(t *payout.Timing) *time.Duration { return &t.ReturnAskFor }),
		wait("UNMATCHED_AFTER", timing.UnmatchedAfter, "an event that belongs to no payout gets a case after this", func(t *payout.Timing) *time.Duration { return &t.UnmatchedAfter }),
		wait("SWEEP_EVERY", timing.SweepEvery, "the sweeper's period", func(t *payout.Timing) *time.Duration { return &t.SweepEvery }),
		{Name: "CASES_URL", Programs: []Program{Worker, Starter},
			Meaning: "where people see in a browser what is asked about a payout, such as `https://backoffice.example/cases?payout={payout}`: a link on each payout's page in Temporal's UI. Without it the page names the command",
			read: func(c *Config, s string) error {
				if !strings.Contains(s, "{payout}") {
					return fmt.Errorf("%q: want {payout} where the payout's id belongs", s)
				}
				return webAddress(s, &c.CasesURL)
			}},
		{Name: "DECISIONS_FILE", Programs: onlyWorker,
			Meaning: "file that replaces rows of the decision table: a JSON list of `{\"reason\", \"step\": \"try_again\", \"attempts\", \"rest_min\", \"rest_max\", \"then\": \"release\"}` or `{\"reason\", \"step\": \"release\"}`",
			read: func(c *Config, s string) error {
				text, err := os.ReadFile(s)
				if err == nil {
					c.Decisions, err = payout.ReadDecisions(text)
				}
				return fileError(s, err)
			}},

		{Name: "EVENTS_URL", Programs: onlyWorker,
			Meaning: "where the game backend takes events, for all callers; with EVENTS_SECRET_FILE. Neither this nor EVENTS_FILE: events are kept, and sent once there is one",
			read:    func(c *Config, s string) error { return webAddress(s, &c.eventsURL) }},
		{Name: "EVENTS_SECRET_FILE", Programs: onlyWorker,
			Meaning: "file of the secret that signs those events (Standard Webhooks: `whsec_` and base64)",
			read:    func(c *Config, s string) error { return secretFile(s, &c.eventsSecret) }},
		{Name: "EVENTS_FILE", Programs: onlyWorker,
			Meaning: "file of where each caller takes events, instead of EVENTS_URL: per line the caller's name, a URL and the path of its secret file. Events of a caller without a line are kept, and sent once it has one",
			read:    readEventsFile},
		{Name: "EVENTS_RETRY_FOR", Default: "72h", Programs: onlyWorker,
			Meaning: "how long after it happened an event is sent again until it is taken (a duration such as 72h); ten times at the least",
			read:    func(c *Config, s string) error { return duration(s, &c.EventsRetryFor) }},
		{Name: "STATE_DIR", Programs: all,
			Meaning: "folder for what a process keeps beside the database; none is needed yet",
			read: func(c *Config, s string) error {
				if dir, err := os.Stat(s); err != nil || !dir.IsDir() {
					return fmt.Errorf("%s: is not a folder; make it, or choose another", s)
				}
				c.StateDir = s
				return nil
			}},

		{Name: "OTEL_EXPORTER_OTLP_ENDPOINT", Programs: all,
			Meaning: "the collector that takes traces by OTLP over HTTP, such as `http://127.0.0.1:4318`; without it none are made. Every other `OTEL_…` variable is read as the OpenTelemetry SDK reads it: OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME, OTEL_EXPORTER_OTLP_HEADERS and so on",
			read: func(c *Config, s string) error {
				err := webAddress(s, &c.TracesURL)
				c.TracesURL = strings.TrimRight(c.TracesURL, "/") + "/v1/traces"
				return err
			}},
		{Name: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", Programs: all,
			Meaning: "the same by its whole URL, such as `http://127.0.0.1:4318/v1/traces`, where that is another", read: func(c *Config, s string) error { return webAddress(s, &c.TracesURL) }},
		{Name: "OTEL_EXPORTER_OTLP_PROTOCOL", Default: "http/protobuf", Programs: all,
			Meaning: "how the collector is spoken to; there is one way",
			read: func(_ *Config, s string) error {
				if s != "http/protobuf" {
					return fmt.Errorf("%q: want http/protobuf, and the collector's port for it (mostly 4318)", s)
				}
				return nil
			}},

		{Name: "TEMPORAL_ADDRESS", Default: "localhost:7233", Programs: all, Meaning: "where Temporal's frontend is"},
		{Name: "TEMPORAL_NAMESPACE", Default: "default", Programs: all, Meaning: "the Temporal namespace"},
		{Name: "TEMPORAL_DEPLOYMENT_NAME", Programs: onlyWorker, Meaning: "the worker deployment whose builds Temporal tells apart, such as `payouts`; with TEMPORAL_WORKER_BUILD_ID. " +
			"A payout then stays with the build that began it, and a new build gets none until it is made current (docs/upgrade.md). Neither: any worker takes any payout", read: readDeploymentName},
		{Name: "TEMPORAL_WORKER_BUILD_ID", Programs: onlyWorker, Meaning: "which build of that deployment this worker is, such as a commit; another one for every change of the workflows", read: readBuildID},
		{Name: "TEMPORAL_API_KEY", Programs: all, Meaning: "Temporal Cloud's API key"},
		{Name: "TEMPORAL_TLS", Programs: all, Meaning: "`true` speaks TLS to Temporal. This and every other `TEMPORAL_…` variable is read as the Temporal SDK reads it (package envconfig), a profile in TEMPORAL_CONFIG_FILE among them"},
	}
}

func readDatabaseURL(c *Config, s string) error {
	scheme, rest, _ := strings.Cut(s, ":")
	switch {
	case scheme == "sqlite" && rest != "" && !strings.HasPrefix(rest, "//"):
		if dir, err := os.Stat(filepath.Dir(rest)); err != nil || !dir.IsDir() {
			return fmt.Errorf("the folder %s is not there; make it, or choose another path", filepath.Dir(rest))
		}
	case scheme == "postgres" || scheme == "postgresql":
		if u, err := url.Parse(s); err != nil || u.Host == "" && u.Query().Get("host") == "" {
			return errors.New("want postgres://USER:PASSWORD@HOST/DATABASE") // never the text: it holds a password
		}
	default:
		return errors.New("want sqlite:PATH, such as sqlite:./data/payouts.db, or postgres://USER:PASSWORD@HOST/DATABASE")
	}
	c.DatabaseURL = s
	return nil
}

func readMerchantAccounts(c *Config, s string) error {
	var errs []error
	c.MerchantAccounts = map[payout.Currency]string{}
	for _, pair := range strings.Split(s, ",") {
		currency, id, _ := strings.Cut(strings.TrimSpace(pair), "=")
		key := payout.Currency(currency)
		_, err := uuid.Parse(id)
		_, twice := c.MerchantAccounts[key]
		switch {
		case !key.Valid():
			errs = append(errs, fmt.Errorf("%q: want CURRENCY=<uuid>, such as GBP=0b1f9d3e-8c2a-4c36-9f0e-3f0b6f8a9c11", pair))
		case err != nil || len(id) != 36:
			errs = append(errs, fmt.Errorf("%s: %q is not an account id; want a UUID", currency, id))
		case twice:
			errs = append(errs, fmt.Errorf("%s: is given twice; a currency is paid from one account", currency))
		default:
			c.MerchantAccounts[key] = id
		}
	}
	return errors.Join(errs...)
}

func readReference(c *Config, s string) error {
	pattern, err := regexp.Compile(`\A(?:` + s + `)\z`)
	if err != nil {
		return fmt.Errorf("is not a regular expression: %w", err)
	}
	if pattern.MatchString("") {
		return errors.New("matches an empty reference; the provider refuses one")
	}
	c.Reference, c.ReferenceText = pattern, "text that matches "+s
	if s == payout.DefaultReference {
		c.ReferenceText = "1 to 18 characters of A-Z a-z 0-9 space . - (what every payment scheme carries)"
	}
	return nil
}

// readEventsFile reads where each caller takes events.
func readEventsFile(c *Config, s string) error {
	text, err := os.ReadFile(s)
	if err != nil {
		return fileError(s, err)
	}
	var errs []error
	for n, line := range lines(text) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			errs = append(errs, fmt.Errorf("line %d: want a caller's name, a URL and the path of its secret file", n))
			continue
		}
		target := EventsTarget{Caller: fields[0]}
		if err := webAddress(fields[1], &target.URL); err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", n, err))
		}
		if err := secretFile(fields[2], &target.Secret); err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", n, err))
		}
		if slices.ContainsFunc(c.Events, func(t EventsTarget) bool { return t.Caller == target.Caller }) {
			errs = append(errs, fmt.Errorf("line %d: caller %s has two lines; keep one", n, target.Caller))
		}
		c.Events = append(c.Events, target)
	}
	return fileError(s, errors.Join(errs...))
}

// lines yields the lines of a file that say something, by number from 1.
func lines(text []byte) func(yield func(int, string) bool) {
	return func(yield func(int, string) bool) {
		for n, line := range strings.Split(string(text), "\n") {
			line = strings.TrimSpace(line)
			if line != "" && !strings.HasPrefix(line, "#") && !yield(n+1, line) {
				return
			}
		}
	}
}

// fileError names the file of a mistake, once.
func fileError(name string, err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return fmt.Errorf("%s: cannot be read: %w", name, path.Err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func secretFile(name string, into *Secret) error {
	text, err := os.ReadFile(name)
	if err == nil && len(bytes.TrimSpace(text)) == 0 {
		err = errors.New("is empty")
	}
	*into = Secret(bytes.TrimSpace(text))
	return fileError(name, err)
}

func address(text string, into *string) error {
	_, port, err := net.SplitHostPort(text) // an empty host is legal: every network
	if n, e := strconv.Atoi(port); err != nil || e != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%q: want HOST:PORT, such as 127.0.0.1:8080", text)
	}
	*into = text
	return nil
}

func webAddress(text string, into *string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return fmt.Errorf("%q: want an absolute URL such as https://example.com", text)
	}
	*into = text
	return nil
}

func duration(text string, into *time.Duration) error {
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return fmt.Errorf("%q: want a duration above 0, such as 90s, 15m or 26h", text)
	}
	*into = d
	return nil
}

// short writes a duration as people do: 4h, not 4h0m0s.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
