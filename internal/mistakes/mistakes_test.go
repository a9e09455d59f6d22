package mistakes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const root = "../.."

// Every mistake still fits the code, and the list that people read has it with
// the test that catches it.
func TestMistakesFitTheCode(t *testing.T) {
	document, err := os.ReadFile(filepath.Join(root, "docs/decisions/0013-deliberate-mistakes.md"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, m := range All {
		if seen[m.Name] {
			t.Errorf("%s: stands twice", m.Name)
		}
		seen[m.Name] = true
		code, err := os.ReadFile(filepath.Join(root, m.File))
		if err != nil {
			t.Errorf("%s: %v", m.Name, err)
			continue
		}
		if n := bytes.Count(code, []byte(m.Was)); n != 1 {
			t.Errorf("%s: what it changes stands %d times in %s, want once:\n%s", m.Name, n, m.File, m.Was)
		}
		if line := fmt.Sprintf("| %s | `%s` | `%s` |", m.Name, m.File, strings.ReplaceAll(m.Test, "|", `\|`)); !bytes.Contains(document, []byte(line)) {
			t.Errorf("docs/decisions/0013-deliberate-mistakes.md lacks the line\n%s", line)
		}
	}
	if lines := bytes.Count(document, []byte("\n| ")) - 2; lines != len(All) {
		t.Errorf("the document lists %d mistakes, want %d", lines, len(All))
	}
}

// copyModule copies what the tests need of the module to a folder of its own.
func copyModule(t *testing.T) string {
	t.Helper()
	to := t.TempDir()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		switch name := entry.Name(); {
		case entry.IsDir() && rel != "." && (strings.HasPrefix(name, ".") || rel == "devserver" || rel == "data" || rel == "bin"):
			return filepath.SkipDir
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		case !entry.Type().IsRegular():
			return nil
		}
		code, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(filepath.Join(to, rel), code, 0o600)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// Every mistake turns its test red, in a copy of the module; so does the test
// stay green without it.
func TestMistakesAreCaught(t *testing.T) {
	if os.Getenv("MISTAKES") == "" {
		t.Log("the mistakes are made by `make mistakes`, which takes some minutes")
		return
	}
	copied := copyModule(t)
	ran := regexp.MustCompile(`(?m)^ *--- (PASS|FAIL)`)
	test := func(t *testing.T, m Mistake) (passed bool, output string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		// The first part is a whole name, the others begin one.
		run := exec.CommandContext(ctx, "go", "test", "-count=1", "-v", "-run", "^"+strings.Replace(m.Test, "/", "$/^", 1), m.Pkg)
		run.Dir = copied
		out, err := run.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if !ran.Match(out) {
			t.Fatalf("no test ran; does it compile?\n%s", out)
		}
		return err == nil, string(out)
	}
	for _, m := range All {
		t.Run(m.Name, func(t *testing.T) {
			path := filepath.Join(copied, m.File)
			code, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if passed, out := test(t, m); !passed {
				t.Fatalf("red without the mistake:\n%s", out)
			}
			if err := os.WriteFile(path, bytes.Replace(code, []byte(m.Was), []byte(m.Is), 1), 0o600); err != nil {
				t.Fatal(err)
			}
			defer os.WriteFile(path, code, 0o600) //nolint:errcheck // a copy
			if passed, _ := test(t, m); passed {
				t.Errorf("%s passes all the same", m.Test)
			}
		})
	}
}
