package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// docs/going-live.md is right: its commands make keys that work, and its
// environment, pointed at the simulator, passes the doctor.
func TestGoingLive(t *testing.T) {
	for _, tool := range []string{"bash", "openssl", "sha256sum"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is missing", tool)
			}
			t.Skipf("%s is missing", tool)
		}
	}
	document, err := os.ReadFile(filepath.Join("..", "..", "docs", "going-live.md"))
	if err != nil {
		t.Fatal(err)
	}
	block := func(name string) string {
		m := regexp.MustCompile("(?s)```sh\n# " + name + "\n(.*?)```").FindSubmatch(document)
		if m == nil {
			t.Fatalf("docs/going-live.md has no block that begins with # %s", name)
		}
		return string(m[1])
	}
	p := newPractice(t)
	dir := t.TempDir()
	run := exec.CommandContext(t.Context(), "bash", "-euc", block("keys"))
	run.Dir = dir
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("the commands fail: %v\n%s", err, out)
	}
	public, err := os.ReadFile(filepath.Join(dir, "secrets", "signing.pub.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "secrets", "client.secret"), []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ours := p.environment // where this test's provider, gateway and Temporal are
	p.environment = map[string]string{"TEMPORAL_CONFIG_FILE": ours["TEMPORAL_CONFIG_FILE"], "GATEWAY_ADDR": ours["GATEWAY_ADDR"]}
	for _, line := range strings.Split(strings.TrimSpace(block("environment")), "\n") {
		name, value, _ := strings.Cut(line, "=")
		p.environment[name] = strings.Replace(value, "./", dir+"/", 1)
	}
	if err := p.sim.AddClientKey(p.environment["TRUELAYER_SIGNING_KID"]+"-new", string(public)); err != nil {
		t.Fatal(err)
	}
	p.environment["TRUELAYER_SIGNING_KID"] += "-new"
	for _, name := range []string{"TRUELAYER_API_URL", "TRUELAYER_AUTH_URL", "TRUELAYER_JWKS_URL"} {
		if !strings.HasSuffix(strings.TrimSuffix(p.environment[name], "/.well-known/jwks"), ".truelayer-sandbox.com") {
			t.Errorf("%s is %s", name, p.environment[name])
		}
		p.environment[name] = ours[name]
	}
	p.environment["TRUELAYER_CLIENT_ID"], p.environment["TEMPORAL_ADDRESS"] = "client", ours["TEMPORAL_ADDRESS"]
	r := p.examine("")
	if r.expect(t, 0, "/test-signature takes our signature", ""); r.states() != "" {
		t.Errorf("not ok: %s", r.out)
	}
	// Every check is explained there.
	for _, m := range regexp.MustCompile(`(?m)^ok +([a-z_]+) `).FindAllStringSubmatch(r.out, -1) {
		if !strings.Contains(string(document), "| `"+m[1]+"`") && !strings.Contains(string(document), ", `"+m[1]+"` |") {
			t.Errorf("docs/going-live.md does not explain the check %s", m[1])
		}
	}
	info, err := os.Stat(filepath.Join(dir, "secrets", "signing.pem"))
	if err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("the signing key can be read by others: %v, %v", info.Mode(), err)
	}
}
