//go:build movableclock

package app

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// clockFile names the file that moves the clock of programs built with the tag
// movableclock: a duration such as 73h, by which it is ahead of the real time.
const clockFile = "MOVABLE_CLOCK_FILE"

// now is the clock of the books and of the provider's client, for end-to-end
// tests of what takes days. The file is read at each call, so that the clocks
// of all programs move at once.
func now() time.Time {
	text, err := os.ReadFile(os.Getenv(clockFile))
	if err != nil {
		panic(fmt.Sprintf("%s: %v", clockFile, err))
	}
	ahead, err := time.ParseDuration(strings.TrimSpace(string(text)))
	if err != nil {
		panic(fmt.Sprintf("%s: %v", clockFile, err))
	}
	return time.Now().Add(ahead)
}
