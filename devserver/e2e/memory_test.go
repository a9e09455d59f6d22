package e2e

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// mostMemory is what the three idle programs may occupy together, in KiB of
// resident memory as ps tells it, pages of their files included.
const mostMemory = 100_000_000 >> 10

// As shipped, after some payouts, the three programs are small.
func TestIdleMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("memory is read from /proc")
	}
	t.Parallel()
	h := open(t, plan{env: map[string]string{"POLL_FIRST": "", "POLL_MAX": "", "SWEEP_EVERY": "", "PROVIDER_RPS": ""}})
	winner := h.wins(100_00)
	var ids []string
	for range 10 {
		ids = append(ids, h.pays(winner, 10_00, "for memory"))
	}
	for _, id := range ids {
		h.awaitPayout(id, "executed", soon, func(p payout) bool { return p.NextStep == "done" })
	}
	var resident, own int
	await(t, 2*time.Minute, func() bool { // once they have given back what only the start needed
		resident, own = 0, 0
		for _, up := range h.up {
			memory := memoryOf(t, up.pid())
			resident, own = resident+memory["Rss"], own+memory["Anonymous"]
		}
		return resident <= mostMemory
	}, func() string {
		return fmt.Sprintf("idle, the three programs occupy %d MiB, want at most %d", resident>>10, mostMemory>>10)
	})
	t.Logf("idle, the three programs occupy %d MiB, of which %d MiB are their own and the rest pages of their files", resident>>10, own>>10)
}

// memoryOf reads what a process has in memory, in KiB by kind.
func memoryOf(t *testing.T, pid int) map[string]int {
	t.Helper()
	file, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	sizes := map[string]int{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) == 3 && fields[2] == "kB" {
			sizes[strings.TrimSuffix(fields[0], ":")], _ = strconv.Atoi(fields[1])
		}
	}
	return sizes
}
