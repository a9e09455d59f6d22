package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"
)

// state is all that a restart must not lose. Maps are by id.
type state struct {
	Ahead       time.Duration          `json:"ahead"` // how far this clock is ahead of the real one
	Accounts    []*Account             `json:"accounts"`
	Transfers   []*Transfer            `json:"transfers"`
	Payments    []*Payment             `json:"payments"`
	Sources     []*Source              `json:"sources"`
	Externals   []*external            `json:"externals"`
	Keys        map[string]*remembered `json:"keys"`  // by idempotency key
	Bound       map[string]*bound      `json:"bound"` // by idempotency key
	Rules       []*Rule                `json:"rules"`
	Deliveries  map[string]*delivery   `json:"deliveries"`
	WebhookKeys []*webhookKey          `json:"webhook_keys"`
	RSAKid      string                 `json:"rsa_kid"`
	RSAModulus  []byte                 `json:"rsa_modulus"`
	TokenSecret []byte                 `json:"token_secret"`
	Money       []MoneyFact            `json:"money"`
	Seq         uint64                 `json:"seq"`

	transfers map[string]*Transfer // the lists above, by id
	payments  map[string]*Payment
	sources   map[string]*Source
}

func loadState(path string) (*state, error) {
	st := &state{
		Keys: map[string]*remembered{}, Bound: map[string]*bound{}, Deliveries: map[string]*delivery{},
		transfers: map[string]*Transfer{}, payments: map[string]*Payment{}, sources: map[string]*Source{},
	}
	if path == "" {
		return st, nil
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return st, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, st); err != nil {
		return nil, fmt.Errorf("%s: is not a state file of the simulator (move it away to begin anew): %w", path, err)
	}
	maps.DeleteFunc(st.Keys, func(_ string, k *remembered) bool { return k.Status == 0 }) // were in flight
	for _, t := range st.Transfers {
		st.transfers[t.ID] = t
	}
	for _, p := range st.Payments {
		st.payments[p.ID] = p
	}
	for _, source := range st.Sources {
		st.sources[source.ID] = source
	}
	return st, nil
}

// resume takes up what was under way when the state was written.
func (s *Simulator) resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.st.Transfers {
		if len(t.Plan) > 0 {
			s.at(t.NextAt, func() { s.step(t) })
		}
	}
	for _, d := range s.st.Deliveries {
		s.at(d.NextAt, func() { s.launch(d) })
	}
}

// snapshot needs the lock.
func (s *Simulator) snapshot() []byte {
	j := s.journal
	j.mu.Lock()
	s.st.Money, s.st.Seq = j.money, j.seq
	j.mu.Unlock()
	data, err := json.Marshal(s.st)
	if err != nil {
		panic("simulator: state: " + err.Error()) // our own types always encode
	}
	return data
}

// store writes the state file. Every change gets a number; whoever must not
// speak before his change is on disk waits for that number.
type store struct {
	path string
	wake chan struct{}

	mu      sync.Mutex
	changed uint64
	written uint64
	news    chan struct{} // closed and replaced at every write
}

func newStore(path string) *store {
	return &store{path: path, wake: make(chan struct{}, 1), news: make(chan struct{})}
}

// touch says that the state has changed; it needs the simulator's lock.
func (s *Simulator) touch() {
	if s.store == nil {
		return
	}
	s.store.mu.Lock()
	s.store.changed++
	s.store.mu.Unlock()
	select {
	case s.store.wake <- struct{}{}:
	default:
	}
}

// saved waits until all changes so far are on disk, or the simulator closes.
func (s *Simulator) saved() {
	if s.store == nil {
		return
	}
	st := s.store
	st.mu.Lock()
	want := st.changed
	for st.written < want {
		news := st.news
		st.mu.Unlock()
		select {
		case <-news:
		case <-s.ctx.Done():
			return
		}
		st.mu.Lock()
	}
	st.mu.Unlock()
}

// keepSaved writes the file after changes, many at once, until Close.
func (s *Simulator) keepSaved() {
	st := s.store
	for {
		select {
		case <-st.wake:
		case <-s.ctx.Done():
			return
		}
		s.mu.Lock()
		st.mu.Lock()
		upTo := st.changed
		st.mu.Unlock()
		data := s.snapshot()
		s.mu.Unlock()
		if err := st.write(data); err != nil {
			s.log.Error("state not saved", zap.String("path", st.path), zap.Error(err))
		}
		st.mu.Lock()
		st.written = upTo // also on error: a full disk must not hang the clients
		close(st.news)
		st.news = make(chan struct{})
		st.mu.Unlock()
	}
}

// write replaces the file in one step. It holds keys: only the owner may read.
func (st *store) write(data []byte) (err error) {
	if err := os.MkdirAll(filepath.Dir(st.path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(st.path), filepath.Base(st.path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(data); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), st.path)
}
