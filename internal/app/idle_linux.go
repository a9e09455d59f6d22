package app

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// idleEvery is how often a program gives back what it does not use. Doing so
// costs well below a millisecond.
const idleEvery = 20 * time.Second

// GiveBack lets go of the pages of the program file, which a start walks
// through nearly whole (registering schemas, opening databases) and an idle
// program does not need: two thirds of what the three programs occupy. They are
// read-only pages of a file; what is needed again is found in the page cache.
// See docs/decisions/0009.
func GiveBack(ctx context.Context) {
	executable, err := os.Executable()
	if err != nil {
		return
	}
	for pause(ctx, idleEvery); ctx.Err() == nil; pause(ctx, idleEvery) {
		maps, err := os.Open("/proc/self/maps")
		if err != nil {
			return
		}
		for lines := bufio.NewScanner(maps); lines.Scan(); {
			var from, to uintptr
			var mode string
			if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &mode); err != nil {
				continue
			}
			if strings.HasSuffix(lines.Text(), " "+executable) && (mode == "r-xp" || mode == "r--p") {
				_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, from, to-from, syscall.MADV_DONTNEED)
			}
		}
		maps.Close()
	}
}
