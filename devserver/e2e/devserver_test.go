package e2e

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// everything is the devserver's own arguments for a folder, with ports of the
// test.
func everything(t testing.TB, dir string) (args []string, api string) {
	api = freeAddress(t)
	args = []string{"-dir", dir, "-starter", api}
	for _, flag := range []string{"-temporal", "-ui", "-simulator", "-gateway", "-worker-admin", "-starter-admin", "-gateway-admin"} {
		args = append(args, flag, freeAddress(t))
	}
	return args, api
}

// One command runs it all, shows two payouts, stops on Ctrl-C and remembers.
func TestDevserver(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	args, api := everything(t, dir)
	program := binary(t, "devserver")
	first := run(t, "devserver", outputIn(t.TempDir(), "devserver", 1), os.Environ(), program, args...)
	awaitSaid(t, first, 3*time.Minute, "Everything is up.")
	said := first.said()
	for _, want := range []string{"executed", "insufficient_funds", "credited back", "http://" + api + "/openapi.json", "curl"} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q:\n%s", want, said)
		}
	}
	token := regexp.MustCompile(`tok_\S+`).FindString(said)
	backend := caller{"http://" + api, token}
	before := payoutsOf(t, backend)
	if before["executed"] != 1 || before["failed"] != 1 || len(before) != 2 {
		t.Errorf("the example payouts are %v, want one executed and one failed", before)
	}
	ctrlC(t, first)

	second := run(t, "devserver", outputIn(t.TempDir(), "devserver", 2), os.Environ(), program, args...) // and does not make them again
	awaitSaid(t, second, 3*time.Minute, "Everything is up.")
	if after := payoutsOf(t, backend); len(after) != 2 || after["executed"] != 1 || after["failed"] != 1 {
		t.Errorf("after a restart the payouts are %v, want the two of before", after)
	}

	// A second one beside it says whose fault that is.
	others, _ := everything(t, filepath.Join(t.TempDir(), "other"))
	others[3] = api // the starter's
	refused(t, program, others, api, "-starter")
	elsewhere, _ := everything(t, dir)
	refused(t, program, elsewhere, dir)
	ctrlC(t, second)
}

// What cannot start says so in one line, and what to do.
func TestDevserverRefuses(t *testing.T) {
	t.Parallel()
	program := binary(t, "devserver")
	t.Run("a port in use", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		args, _ := everything(t, t.TempDir())
		args[3] = l.Addr().String()
		refused(t, program, args, args[3], "-starter")
	})
	t.Run("a folder that is a file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "data")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		args, _ := everything(t, filepath.Join(file, "below"))
		refused(t, program, args, file, "-dir")
	})
	t.Run("an unwritable folder", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		if os.Getuid() == 0 { // who may write everywhere but there
			dir = "/sys"
		}
		args, _ := everything(t, filepath.Join(dir, "data"))
		refused(t, program, args, dir, "-dir")
	})
	for name, lines := range map[string]int{ // a line each is complained about
		"payouts.db": 1000, "temporal/temporal.db": 1000, "simulator.json": 1000, "secrets/signing.pem": 1, "secrets/seal.keys": 1, "secrets/api.tokens": 1, "secrets/decisions.json": 1,
	} {
		t.Run("a broken "+name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), bytes.Repeat([]byte("this file is broken\n"), lines), 0o600); err != nil {
				t.Fatal(err)
			}
			args, _ := everything(t, dir)
			refused(t, program, args, filepath.Base(name))
		})
	}
}

// refused holds that the devserver ends with 1 and says one clear line.
func refused(t *testing.T, program string, args []string, names ...string) {
	t.Helper()
	p := run(t, "devserver", outputIn(t.TempDir(), "refused", 1), os.Environ(), program, args...)
	if code := exitCode(p.wait(t, time.Minute)); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	var lines []string
	for line := range strings.Lines(p.said()) {
		if !strings.HasPrefix(line, "starting ") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	if len(lines) != 1 {
		t.Errorf("it said %d lines, want one:\n%s", len(lines), p.said())
	}
	for _, name := range names {
		if !strings.Contains(p.said(), name) {
			t.Errorf("it does not name %s:\n%s", name, p.said())
		}
	}
	t.Logf("%s", strings.Join(lines, "\n"))
}

func awaitSaid(t testing.TB, p *process, limit time.Duration, text string) {
	t.Helper()
	await(t, limit, func() bool {
		if !p.running() {
			t.Fatalf("%s ended: %v\n%s", p.name, p.err, p.tail())
		}
		return strings.Contains(p.said(), text)
	}, func() string { return "it did not say " + text })
}

func ctrlC(t testing.TB, p *process) {
	t.Helper()
	began := time.Now()
	if err := p.signal(t, os.Interrupt, 15*time.Second); err != nil {
		t.Errorf("%s ended with %v after Ctrl-C, want 0\n%s", p.name, err, p.tail())
	}
	t.Logf("stopped in %s", time.Since(began).Round(100*time.Millisecond))
}

// payoutsOf counts the payouts of a backend by status.
func payoutsOf(t testing.TB, backend caller) map[string]int {
	t.Helper()
	var list struct{ Items []payout }
	if err := backend.read("/v1/payouts", &list); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, p := range list.Items {
		counts[p.Status]++
	}
	return counts
}
