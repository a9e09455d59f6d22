//go:build !movableclock

package app

import "time"

// now is the clock of the books and of the provider's client: the real time,
// in everything that is shipped.
func now() time.Time { return time.Now() }
