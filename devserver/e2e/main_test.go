package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"payouts/internal/cli"
)

// atOnce is how many tests run at a time: they wait far more than they work.
const atOnce = "4"

// folder holds the built programs and the shared server's log.
var folder string

func TestMain(m *testing.M) {
	flag.Parse()
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "test.parallel" })
	if !asked {
		if err := flag.Set("test.parallel", atOnce); err != nil {
			panic(err)
		}
	}
	os.Exit(runAll(m))
}

// runAll runs the tests between a temporary folder's beginning and its end.
func runAll(m *testing.M) int {
	var err error
	if folder, err = os.MkdirTemp("", "payouts-e2e-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	if !linked() {
		return 1
	}
	if err := seeSources(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer endShared()
	return m.Run()
}

// linked has the linker keep what the programs are, so that go test knows that
// the result depends on it: code that nothing calls is left out, and a change in
// it would be answered from the cache.
func linked() bool {
	for _, program := range []func(context.Context, []string, cli.Terminal) int{cli.Worker, cli.Starter, cli.Gateway} {
		if program == nil {
			return false
		}
	}
	return true
}

// seeSources looks at sources that are not compiled into the tests, so that go
// test knows that the result depends on them.
func seeSources() error {
	for _, pattern := range []string{"../*.go", "../go.mod", "../temporal/*.go", "../../internal/app/clock*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, name := range files {
			if _, err := os.Stat(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// programs builds worker, starter and gateway, once.
var programs = sync.OnceValue(func() error { return build("../..", "", "./worker", "./starter", "./gateway") })

// movablePrograms builds them with a clock that tests can move, once. What is
// shipped has none.
var movablePrograms = sync.OnceValue(func() error {
	return build("../..", movable, "-tags=movableclock", "./worker", "./starter", "./gateway")
})

// movable is the folder, within the folder of programs, of those with a
// movable clock.
const movable = "movable/"

// devserver builds the devserver, once. The first time ever it takes minutes.
var devserver = sync.OnceValue(func() error { return build("..", "", ".") })

func build(module, into string, what ...string) error {
	cmd := exec.Command("go", append([]string{"build", "-ldflags=-w", "-o", folder + "/" + into}, what...)...) // -w: half the linking
	cmd.Dir = module
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, said)
	}
	return nil
}

// binary is the path of a built program.
func binary(t testing.TB, name string) string {
	t.Helper()
	built := programs
	switch {
	case name == "devserver":
		built = devserver
	case strings.HasPrefix(name, movable):
		built = movablePrograms
	}
	if err := built(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(folder, name)
}
