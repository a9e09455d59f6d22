package app

import (
	"testing"
	"time"
)

// together is a worker that stops once the other has begun to stop.
type together struct {
	mine, other chan struct{}
}

func (w together) Stop() { close(w.mine); <-w.other }

// One worker that is busy to the end leaves the other its whole time.
func TestWorkersStopTogether(t *testing.T) {
	a, b := make(chan struct{}), make(chan struct{})
	stopped := make(chan struct{})
	go func() { stopAll(together{a, b}, together{b, a}); close(stopped) }()
	select {
	case <-stopped:
	case <-time.After(5 * time.Second):
		t.Fatal("one worker waits for the other before it stops")
	}
}
