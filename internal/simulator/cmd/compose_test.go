package main

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/compose-spec/compose-go/v2/cli"

	"payouts/internal/simulator"
)

var root = filepath.Join("..", "..", "..")

// variables are the ones the flags know.
func variables() (names []string) {
	all := reflect.TypeFor[flags]()
	for i := range all.NumField() {
		names = append(names, all.Field(i).Tag.Get("env"))
	}
	return names
}

// set sets a variable for this test, or takes it away.
func set(t *testing.T, name, value string) {
	t.Helper()
	if t.Setenv(name, value); value == "" {
		_ = os.Unsetenv(name) // put back with the test's end, too
	}
}

// parse reads flags as main does, and opens a simulator with them. Files are
// looked for in dir by their names alone.
func parse(t *testing.T, dir string, args []string) simulator.Settings {
	t.Helper()
	var f flags
	parser, err := kong.New(&f)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(args); err != nil {
		t.Fatal(err)
	}
	here := func(path string) string {
		if path == "" {
			return ""
		}
		return filepath.Join(dir, filepath.Base(path))
	}
	f.ClientSecretFile, f.StateFile = here(f.ClientSecretFile), here(f.StateFile)
	for kid, path := range f.ClientKey {
		f.ClientKey[kid] = here(path)
	}
	o, err := f.options()
	if err != nil {
		t.Fatal(err)
	}
	if len(o.ClientKeys) == 0 || len(o.MerchantAccounts) == 0 || o.Settings.WebhookURL == "" {
		t.Errorf("without keys, accounts or a webhook URL: %+v", o)
	}
	sim, err := simulator.New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sim.Close() }()
	return sim.Settings()
}

// secrets stands in for the files that `devserver secrets` makes.
func secrets(t *testing.T) string {
	t.Helper()
	public := keyFile(t)
	dir := filepath.Dir(public)
	if err := os.Rename(public, filepath.Join(dir, "signing.pub.pem")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "client.secret"), []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// The simulator of docker-compose.yml is given only what it knows, starts with
// it, and fits the worker beside it.
func TestComposeConfiguresTheSimulator(t *testing.T) {
	options, err := cli.NewProjectOptions([]string{filepath.Join(root, "docker-compose.yml")}, cli.WithName("payouts"), cli.WithInterpolation(true))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatalf("docker-compose.yml: %v", err)
	}
	service := func(name string) map[string]string {
		s, err := project.GetService(name)
		if err != nil {
			t.Fatal(err)
		}
		values := map[string]string{}
		for name, value := range s.Environment {
			if value == nil {
				t.Errorf("%s: is taken from the caller's environment; give it a value or a default", name)
				continue
			}
			values[name] = *value
		}
		return values
	}
	values := service("simulator")
	known := map[string]bool{}
	for _, name := range variables() {
		if !strings.HasPrefix(name, "SIMULATOR_") {
			t.Errorf("a flag has no variable SIMULATOR_…: %q", name)
		}
		known[name] = true
		set(t, name, values[name])
	}
	for name := range values {
		if !known[name] {
			t.Errorf("%s: the simulator knows no such variable", name)
		}
	}
	settings := parse(t, secrets(t), nil)

	worker, gateway := service("worker"), service("gateway")
	for what, pair := range map[string][2]string{
		"client id":         {values["SIMULATOR_CLIENT_ID"], worker["TRUELAYER_CLIENT_ID"]},
		"client secret":     {values["SIMULATOR_CLIENT_SECRET_FILE"], worker["TRUELAYER_CLIENT_SECRET_FILE"]},
		"signing key id":    {strings.Split(values["SIMULATOR_CLIENT_KEYS"], "=")[0], worker["TRUELAYER_SIGNING_KID"]},
		"merchant accounts": {values["SIMULATOR_MERCHANT_ACCOUNTS"], worker["MERCHANT_ACCOUNTS"]},
		"API":               {settings.PublicURL, worker["TRUELAYER_API_URL"]},
		"tokens":            {settings.PublicURL, worker["TRUELAYER_AUTH_URL"]},
		"worker's jku":      {settings.PublicURL + "/.well-known/jwks", worker["TRUELAYER_JWKS_URL"]},
		"gateway's jku":     {settings.PublicURL + "/.well-known/jwks", gateway["TRUELAYER_JWKS_URL"]},
	} {
		if pair[0] == "" || pair[0] != pair[1] {
			t.Errorf("%s: the simulator has %q, the program beside it %q", what, pair[0], pair[1])
		}
	}
}

// The command of docs/simulator.md starts one.
func TestDocumentCommand(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "simulator.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?s)go run \./internal/simulator/cmd (.*?[^\\])\n`).FindSubmatch(text)
	if found == nil {
		t.Fatal("docs/simulator.md has no command")
	}
	for _, name := range variables() {
		set(t, name, "")
	}
	settings := parse(t, secrets(t), strings.Fields(strings.ReplaceAll(string(found[1]), "\\\n", " ")))
	if settings.WebhookURL == "" {
		t.Error("no webhook URL")
	}
}
