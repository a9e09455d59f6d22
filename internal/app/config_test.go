package app

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"payouts/internal/httpapi"
	"payouts/internal/payout"
)

const hashOfSecret = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b" // of "secret"

// rightly is an environment in which every program starts.
func rightly(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return map[string]string{
		"DATABASE_URL":                 "sqlite:" + filepath.Join(dir, "books.db"),
		"SEAL_KEY_FILE":                write("seal", "k1 MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n"),
		"MERCHANT_ACCOUNTS":            "GBP=0b1f9d3e-8c2a-4c36-9f0e-3f0b6f8a9c11, EUR=0b1f9d3e-8c2a-4c36-9f0e-3f0b6f8a9c12",
		"API_TOKENS_FILE":              write("tokens", "# who\n\ngame backend "+hashOfSecret+"\n"),
		"TRUELAYER_API_URL":            "https://api.truelayer-sandbox.com",
		"TRUELAYER_AUTH_URL":           "https://auth.truelayer-sandbox.com",
		"TRUELAYER_JWKS_URL":           "https://webhooks.truelayer-sandbox.com/.well-known/jwks",
		"TRUELAYER_CLIENT_ID":          "sandbox-us-1",
		"TRUELAYER_CLIENT_SECRET_FILE": write("secret", "tell nobody\n"),
		"TRUELAYER_SIGNING_KEY_FILE":   write("key", "-----BEGIN EC PRIVATE KEY-----\n"),
		"TRUELAYER_SIGNING_KID":        "9f1c",
		"TEMPORAL_CONFIG_FILE":         write("temporal.toml", ""),
		"folder":                       dir, // for tests
	}
}

func load(environment map[string]string, programs ...Program) (Config, error) {
	return Load(func(name string) string { return environment[name] }, programs...)
}

func TestLoadDefaults(t *testing.T) {
	for _, programs := range [][]Program{{Worker}, {Starter}, {Gateway}, Programs()} {
		c, err := load(rightly(t), programs...)
		if err != nil {
			t.Fatalf("%v: %v", programs, err)
		}
		if c.AdminAddr != adminAddrs[programs[0]] || c.Seal == nil || c.DatabaseURL == "" || c.Timing != payout.DefaultTiming() {
			t.Errorf("%v: loaded %+v", programs, c)
		}
	}
	c, err := load(rightly(t), Programs()...)
	if err != nil {
		t.Fatal(err)
	}
	if c.StarterAddr != "127.0.0.1:8080" || c.GatewayAddr != "127.0.0.1:8081" || c.MaxAmountInMinor != payout.DefaultMaxAmountInMinor || c.EventsRetryFor != 72*time.Hour ||
		c.ProviderRPS != 20 || c.BindFirstUse || len(c.MerchantAccounts) != 2 || c.TrueLayer.ClientSecret != "tell nobody" || c.Temporal.HostPort != "" && c.Temporal.HostPort != "localhost:7233" {
		t.Errorf("loaded %+v", c)
	}
	if !c.Reference.MatchString("WINNINGS 1-2.") || c.Reference.MatchString("") || c.Reference.MatchString("A\n") || c.Reference.MatchString(strings.Repeat("A", 19)) {
		t.Error("the reference pattern is not the default")
	}
	if c.Deployment.Versioned() || c.Deployment.options().UseVersioning {
		t.Errorf("workers are versioned as %s without being told", c.Deployment)
	}
	shown, err := json.Marshal(c.TrueLayer)
	if err != nil || strings.Contains(fmt.Sprintf("%v %+v %#v %s", c, c, c, shown), "tell nobody") {
		t.Errorf("the secret can be printed: %s %v", shown, err)
	}
}

func TestLoadSettings(t *testing.T) {
	environment := rightly(t)
	secret := environment["TRUELAYER_CLIENT_SECRET_FILE"]
	events := filepath.Join(environment["folder"], "events")
	if err := os.WriteFile(events, []byte("# takers\ngame https://game.example/events "+secret+"\nrival https://rival.example/e "+secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	maps.Copy(environment, map[string]string{
		"TEMPORAL_ADDRESS": "temporal:7233", "TEMPORAL_NAMESPACE": "payouts", "EVENTS_FILE": events, "SOURCE_BINDING": "first_use",
		"POLL_FIRST": "5s", "KEY_WINDOW": "2h", "REFERENCE_PATTERN": "[A-Z]{3}", "ADMIN_ADDR": "127.0.0.1:0", "PROVIDER_RPS": "2.5",
		"CASES_URL":                "https://backoffice.example/cases?payout={payout}",
		"TEMPORAL_DEPLOYMENT_NAME": "payouts", "TEMPORAL_WORKER_BUILD_ID": "2026-11-20.1+7d15c3f",
	})
	c, err := load(environment, Programs()...)
	if err != nil {
		t.Fatal(err)
	}
	if c.Temporal.HostPort != "temporal:7233" || c.namespace() != "payouts" || len(c.Events) != 2 || c.Events[1].Caller != "rival" || !c.BindFirstUse ||
		c.Timing.PollFirst != 5*time.Second || c.Timing.KeyWindow != 2*time.Hour || c.AdminAddr != "127.0.0.1:0" || c.ProviderRPS != 2.5 || c.CasesURL == "" {
		t.Errorf("loaded %+v", c)
	}
	if c.Deployment.String() != "payouts:2026-11-20.1+7d15c3f" || !c.Deployment.options().UseVersioning {
		t.Errorf("the deployment is %+v", c.Deployment)
	}
	if c.Reference.MatchString("ABCD") || !c.Reference.MatchString("ABC") {
		t.Error("the pattern does not cover the whole reference")
	}
}

// Each mistake alone is named by its variable, and every mistake at once.
func TestLoadMistakes(t *testing.T) {
	mistakes := map[string][]string{ // variable: wrong values
		"DATABASE_URL":                       {"", "books.db", "mysql://x", "sqlite:", "sqlite:/no/such/folder/books.db", "postgres:///"},
		"SEAL_KEY_FILE":                      {"", "/no/such/file", "FILE k1 c2hvcnQ=", "FILE #"},
		"MERCHANT_ACCOUNTS":                  {"", "GBP", "gbp=0b1f9d3e-8c2a-4c36-9f0e-3f0b6f8a9c11", "GBP=17", "GBP=0b1f9d3e-8c2a-4c36-9f0e-3f0b6f8a9c11,GBP=0b1f9d3e-8c2a-4c36-9f0e-3f0b6f8a9c12"},
		"ADMIN_ADDR":                         {"8090", "127.0.0.1:http", "127.0.0.1:70000"},
		"STARTER_ADDR":                       {"localhost"},
		"GATEWAY_ADDR":                       {":-1"},
		"API_TOKENS_FILE":                    {"", "/no/such/file", "FILE game backend", "FILE "},
		"MAX_AMOUNT_IN_MINOR":                {"0", "-1", "1.5", "many"},
		"REFERENCE_PATTERN":                  {"(", ".*"},
		"SOURCE_BINDING":                     {"free"},
		"CASES_URL":                          {"https://backoffice.example", "backoffice/{payout}"},
		"TRUELAYER_JWKS_URL":                 {"", "webhooks.truelayer.com", "ftp://x"},
		"TRUELAYER_API_URL":                  {"", "/v3"},
		"TRUELAYER_AUTH_URL":                 {"", "https://"},
		"TRUELAYER_CLIENT_ID":                {""},
		"TRUELAYER_CLIENT_SECRET_FILE":       {"", "/no/such/file", "FILE "},
		"TRUELAYER_SIGNING_KEY_FILE":         {"", "/no/such/file"},
		"TRUELAYER_SIGNING_KID":              {""},
		"PROVIDER_RPS":                       {"0", "-1", "NaN", "fast"},
		"KEY_WINDOW":                         {"5h", "0s", "4"},
		"KEY_LIFE":                           {"4h", "-1s"},
		"POLL_FIRST":                         {"2h", "x"},
		"POLL_MAX":                           {"1s"},
		"STUCK_AFTER":                        {"0"},
		"REFUND_STUCK_AFTER":                 {"0", "a week"},
		"RETURN_ASK_FOR":                     {"1 day"},
		"UNMATCHED_AFTER":                    {"-1m"},
		"SWEEP_EVERY":                        {"0s"},
		"DECISIONS_FILE":                     {"/no/such/file", `FILE [{"reason":"blocked","step":"release"}]`},
		"EVENTS_URL":                         {"game.example"},
		"EVENTS_SECRET_FILE":                 {"/no/such/file", "SECRET"},
		"EVENTS_FILE":                        {"/no/such/file", "FILE game", "FILE game https://x /no/such/file"},
		"EVENTS_RETRY_FOR":                   {"0"},
		"STATE_DIR":                          {"/no/such/folder"},
		"OTEL_EXPORTER_OTLP_ENDPOINT":        {"collector:4318", "grpc://collector:4317"},
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": {"/v1/traces"},
		"OTEL_EXPORTER_OTLP_PROTOCOL":        {"grpc", "http/json"},
		"TEMPORAL_DEPLOYMENT_NAME":           {"pay.outs", "pay:outs", "__payouts", "payouts", strings.Repeat("a", 101)}, // without a build
		"TEMPORAL_WORKER_BUILD_ID":           {"one two", "__1", "1:2", "abc123", strings.Repeat("a", 101)},
		"TEMPORAL_TLS":                       nil, // the SDK takes whatever it does not understand as false
		"TEMPORAL_ADDRESS":                   nil,
		"TEMPORAL_NAMESPACE":                 nil,
		"TEMPORAL_API_KEY":                   nil,
	}
	for _, v := range Variables() {
		values, known := mistakes[v.Name]
		if !known {
			t.Errorf("%s has no mistakes in this test", v.Name)
		}
		for _, value := range values {
			t.Run(v.Name+"="+value, func(t *testing.T) {
				environment := rightly(t)
				environment[v.Name] = written(t, environment, value)
				_, err := load(environment, Programs()...)
				wantMistakes(t, err, v.Name)
				if others := slices.DeleteFunc(Programs(), func(p Program) bool { return slices.Contains(v.Programs, p) }); len(others) > 0 {
					if _, err := load(environment, others...); err != nil {
						t.Errorf("%v do not need it and refuse: %v", others, err)
					}
				}
			})
		}
	}
	environment, names := rightly(t), []string{}
	for _, v := range Variables() {
		if values := mistakes[v.Name]; len(values) > 0 && !strings.HasPrefix(v.Name, "EVENTS_") {
			environment[v.Name] = written(t, environment, values[0])
			names = append(names, v.Name)
		}
	}
	_, err := load(environment, Programs()...)
	wantMistakes(t, err, names...)
}

// written makes a file of a value that begins with FILE.
func written(t *testing.T, environment map[string]string, value string) string {
	t.Helper()
	if value == "SECRET" {
		return environment["TRUELAYER_CLIENT_SECRET_FILE"]
	}
	text, isFile := strings.CutPrefix(value, "FILE ")
	if !isFile {
		return value
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// wantMistakes checks that the error has a line for each variable and no
// other, and says more than the name.
func wantMistakes(t *testing.T, err error, names ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("nothing is refused")
	}
	for _, name := range names {
		if !strings.Contains("\n"+err.Error(), "\n"+name+": ") && !oneOf(err, name) {
			t.Errorf("%s is not named in:\n%v", name, err)
		}
	}
	for _, line := range strings.Split(err.Error(), "\n") {
		name, said, _ := strings.Cut(line, ": ")
		if len(said) < 10 || strings.ToUpper(name) != name {
			t.Errorf("a line that does not help: %s", line)
		}
	}
}

// oneOf lets a mistake between two variables be told under either's name.
func oneOf(err error, name string) bool {
	pairs := map[string]string{"KEY_LIFE": "KEY_WINDOW", "POLL_FIRST": "POLL_MAX", "EVENTS_SECRET_FILE": "EVENTS_URL",
		"TEMPORAL_DEPLOYMENT_NAME": "TEMPORAL_WORKER_BUILD_ID", "TEMPORAL_WORKER_BUILD_ID": "TEMPORAL_DEPLOYMENT_NAME"}
	return pairs[name] != "" && strings.Contains("\n"+err.Error(), "\n"+pairs[name]+": ")
}

func TestTokens(t *testing.T) {
	other := strings.Repeat("ab", 32)
	tokens, err := ReadTokens([]byte("# callers\n\n  game\tbackend " + strings.ToUpper(hashOfSecret) + "\nann operator " + other + "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if caller, ok := tokens.Find("secret"); !ok || caller != (httpapi.Caller{Name: "game", Role: httpapi.RoleBackend}) {
		t.Errorf("found %v %v", caller, ok)
	}
	for _, wrong := range []string{"", "Secret", hashOfSecret} {
		if caller, ok := tokens.Find(wrong); ok {
			t.Errorf("%q is %v", wrong, caller)
		}
	}
	_, err = ReadTokens([]byte("game backend " + hashOfSecret + "\ngame operator " + other + "\nann king " + strings.Repeat("cd", 32) +
		"\n\nbob support secret\n# x\na/b auditor " + strings.Repeat("ef", 32) + "\neve\nzoe support " + other))
	for _, want := range []string{
		"line 2: game has two roles", `line 3: role "king"`, "line 5: want the SHA-256", `line 7: name "a/b"`, "line 8: want a name, a role", "line 9: this token stands twice",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
	if err != nil && len(strings.Split(err.Error(), "\n")) != 6 {
		t.Errorf("more is told than is wrong:\n%v", err)
	}
}

var write = flag.Bool("write", false, "write docs/configuration.md anew")

// docs/configuration.md is the table.
func TestDocument(t *testing.T) {
	const name = "../../docs/configuration.md"
	if *write {
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(Document()), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(name)
	if err != nil || string(text) != Document() {
		t.Errorf("docs/configuration.md is not what the table says (%v); write it with: go test ./internal/app -run Document -write", err)
	}
	for _, v := range Variables() {
		if v.Meaning == "" || len(v.Programs) == 0 || v.Required && v.Default != "" {
			t.Errorf("%s: a row without meaning or programs, or required beside a default", v.Name)
		}
	}
	for _, p := range Programs() {
		if help := HelpFor(p); !strings.Contains(help, "DATABASE_URL (required)") || !strings.Contains(help, "ADMIN_ADDR (default "+adminAddrs[p]+")") {
			t.Errorf("--help of %s says %s", p, help)
		}
	}
}
