package app

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mayImport is the floor plan: room by room, which rooms of ours it may speak
// to. Imports go down only.
var mayImport = map[string]string{
	"internal/payout":            "",
	"internal/simulator":         "", // a stranger
	"internal/simulator/cmd":     "internal/simulator",
	"internal/truelayer":         "internal/payout",
	"internal/ledger":            "internal/payout",
	"internal/ledger/ledgertest": "internal/payout internal/ledger",
	"internal/mistakes":          "",
	"internal/notify":            "internal/payout",
	"activities":                 "internal/payout",
	"workflows":                  "internal/payout activities",
	"internal/httpapi":           "internal/payout internal/ledger workflows",
	"internal/app":               "internal/payout internal/truelayer internal/ledger internal/notify activities workflows internal/httpapi",
	"internal/cli":               "internal/payout internal/httpapi internal/app",
	"worker":                     "internal/app internal/cli",
	"starter":                    "internal/app internal/cli",
	"gateway":                    "internal/app internal/cli",
	"examples/backend":           "", // a stranger too: it knows the API only
}

// Tests may reach sideways, to try a room against its neighbours; nobody may
// reach the Temporal server, whose module is as large as a house.
func TestFloorPlan(t *testing.T) {
	root, rooms := filepath.Join("..", ".."), map[string]bool{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			_, notAModule := os.Stat(filepath.Join(path, "go.mod"))
			if name := entry.Name(); path != root && (notAModule == nil || name == "testdata" || strings.HasPrefix(name, ".") && name != "..") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		folder, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		room := filepath.ToSlash(folder)
		rooms[room] = true
		for _, wrong := range judge(room, filepath.Base(path), importsOf(t, path)) {
			t.Error(wrong)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for room := range rooms {
		if _, known := mayImport[room]; !known {
			t.Errorf("%s has Go files and no line in the floor plan", room)
		}
	}
	for room := range mayImport {
		if !rooms[room] {
			t.Errorf("the floor plan has a room %s that is not there", room)
		}
	}
}

// judge names the imports of a file that the floor plan forbids.
func judge(room, file string, imports []string) (wrong []string) {
	test := strings.HasSuffix(file, "_test.go")
	for _, path := range imports {
		ours, isOurs := strings.CutPrefix(path, "payouts/")
		switch {
		case path == "go.temporal.io/server" || strings.HasPrefix(path, "go.temporal.io/server/"):
			wrong = append(wrong, fmt.Sprintf("%s/%s imports %s: only devserver may", room, file, path))
		case !isOurs || ours == room: // a test outside its package
		case test && room != "internal/simulator" && room != "examples/backend":
		case !slices.Contains(strings.Fields(mayImport[room]), ours):
			wrong = append(wrong, fmt.Sprintf("%s/%s imports %s; the floor plan gives it %q", room, file, ours, mayImport[room]))
		}
	}
	return wrong
}

func importsOf(t *testing.T, file string) (list []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range parsed.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, path)
	}
	return list
}

// The plan itself goes down only: following it never leads back.
func TestFloorPlanHasNoCircle(t *testing.T) {
	var follow func(room string, path []string)
	follow = func(room string, path []string) {
		if slices.Contains(path, room) {
			t.Fatalf("a circle: %s", strings.Join(append(path, room), " → "))
		}
		for _, next := range strings.Fields(mayImport[room]) {
			if _, known := mayImport[next]; !known {
				t.Errorf("%s may import %s, which is no room", room, next)
			}
			follow(next, append(slices.Clone(path), room))
		}
	}
	for room := range mayImport {
		follow(room, nil)
	}
}

// The test above bites.
func TestFloorPlanBites(t *testing.T) {
	for name, test := range map[string]struct {
		room, file, path string
		forbidden        bool
	}{
		"ledger to truelayer":         {"internal/ledger", "x.go", "payouts/internal/truelayer", true},
		"truelayer to ledger":         {"internal/truelayer", "x.go", "payouts/internal/ledger", true},
		"workflows to ledger":         {"workflows", "x.go", "payouts/internal/ledger", true},
		"workflows to activities":     {"workflows", "x.go", "payouts/activities", false},
		"main to ledger":              {"starter", "main.go", "payouts/internal/ledger", true},
		"main to app":                 {"worker", "main.go", "payouts/internal/app", false},
		"simulator to payout":         {"internal/simulator", "x.go", "payouts/internal/payout", true},
		"simulator's test to payout":  {"internal/simulator", "x_test.go", "payouts/internal/payout", true},
		"app to simulator":            {"internal/app", "x.go", "payouts/internal/simulator", true},
		"activities' test to ledger":  {"activities", "x_test.go", "payouts/internal/ledger", false},
		"anyone to the server":        {"workflows", "x.go", "go.temporal.io/server/temporal", true},
		"a test to the server":        {"workflows", "x_test.go", "go.temporal.io/server", true},
		"the server's relative":       {"workflows", "x.go", "go.temporal.io/serverless", false},
		"vocabulary to anything ours": {"internal/payout", "x.go", "payouts/internal/ledger", true},
	} {
		if got := judge(test.room, test.file, []string{test.path}); (len(got) > 0) != test.forbidden {
			t.Errorf("%s: judged %v; want forbidden %v", name, got, test.forbidden)
		}
	}
	module, err := os.ReadFile(filepath.Join("..", "..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(module), "go.temporal.io/server ") {
		t.Error("go.mod requires the Temporal server")
	}
}
