package simulator

import (
	"container/heap"
	"time"
)

// Clock is where the simulator's time comes from. FrozenClock makes time that
// moves by Advance only.
type Clock interface {
	Now() time.Time
	After(d time.Duration) <-chan time.Time
}

type realClock struct{}

func (realClock) Now() time.Time                         { return time.Now() }
func (realClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// FrozenClock stands still: only Advance moves a simulator built on it.
type FrozenClock struct{ At time.Time }

// Now is always the same.
func (c FrozenClock) Now() time.Time { return c.At }

// After never fires.
func (FrozenClock) After(time.Duration) <-chan time.Time { return nil }

// Advance moves the simulator's time forward by d. Everything that falls due
// on the way happens in order and at its own time before Advance returns;
// webhooks are sent off, not waited for. It returns the new time.
func (s *Simulator) Advance(d time.Duration) time.Time {
	s.mu.Lock()
	target := s.now().Add(max(d, 0))
	for len(s.queue) > 0 && !s.queue[0].at.After(target) && !s.closed {
		next := heap.Pop(&s.queue).(*appointment)
		if ahead := next.at.Sub(s.now()); ahead > 0 {
			s.st.Ahead += ahead
		}
		next.do()
	}
	if ahead := target.Sub(s.now()); ahead > 0 {
		s.st.Ahead += ahead
	}
	now := s.now()
	s.touch()
	s.mu.Unlock()
	s.wake()
	return now
}

// Now is the simulator's time.
func (s *Simulator) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}

// now needs the lock.
func (s *Simulator) now() time.Time { return s.clock.Now().UTC().Add(s.st.Ahead) }

// appointment is something that happens at a time, with the lock held.
type appointment struct {
	at  time.Time
	seq uint64 // ties are kept in order
	do  func()
}

type agenda []*appointment

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	if a[i].at.Equal(a[j].at) {
		return a[i].seq < a[j].seq
	}
	return a[i].at.Before(a[j].at)
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(*appointment)) }
func (a *agenda) Pop() any {
	old := *a
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*a = old[:len(old)-1]
	return last
}

// at needs the lock; do will run with it.
func (s *Simulator) at(when time.Time, do func()) {
	s.queueSeq++
	heap.Push(&s.queue, &appointment{when, s.queueSeq, do})
	s.wake()
}

func (s *Simulator) wake() {
	select {
	case s.wakeup <- struct{}{}:
	default:
	}
}

// keepTime runs what falls due until Close.
func (s *Simulator) keepTime() {
	for {
		s.mu.Lock()
		for len(s.queue) > 0 && !s.queue[0].at.After(s.now()) && !s.closed {
			heap.Pop(&s.queue).(*appointment).do()
			s.touch()
		}
		var next <-chan time.Time
		if len(s.queue) > 0 {
			next = s.clock.After(s.queue[0].at.Sub(s.now()))
		}
		s.mu.Unlock()
		select {
		case <-next:
		case <-s.wakeup:
		case <-s.ctx.Done():
			return
		}
	}
}
