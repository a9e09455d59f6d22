// Package simulator is a payment provider to practise on. It speaks the part
// of TrueLayer's Payments v3 that payouts need (docs/truelayer.md) and can be
// told to misbehave: to accept and then go silent, to fail late, to forget a
// webhook or to send it five times, to answer nonsense.
//
// It is a stranger on purpose: its own structs, its own signature verifier, no
// import of ours, so that one misreading cannot sit on both sides of the wire.
//
// What it is told to do, it is told by a Rule (script.go) or over its control
// API (control.go). What truly happened, above all to money, stands in its
// Journal (journal.go). Time is its own and can be advanced (schedule.go).
package simulator

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Options is what New needs. A zero field takes the default its comment names.
type Options struct {
	ClientID     string // required
	ClientSecret string // required

	// ClientKeys are the client's *public* signing keys: PEM (PKIX, P-521) by
	// key id. More can be added with AddClientKey or POST /control/client-keys.
	ClientKeys map[string]string

	// MerchantAccounts to open. An account that the state file already knows
	// keeps its balance.
	MerchantAccounts []MerchantAccount

	// WebhookKey is the simulator's *own* private key, for signing webhooks;
	// default: a new P-521 key (or the one in the state file).
	WebhookKey *ecdsa.PrivateKey
	WebhookKid string // default: a new id

	Settings Settings

	// StateFile keeps payouts, balances and undelivered webhooks over a
	// restart; default: nothing is kept.
	StateFile string

	// JournalLimit bounds the requests and the webhook tries that the journal
	// remembers, each; facts about money are never dropped. Default 5,000.
	JournalLimit int

	Clock  Clock       // default: the real time
	Logger *zap.Logger // default: silent
}

// Settings can be changed while the simulator runs (Configure, or PATCH
// /control/settings). A zero duration takes the default its comment names, so
// for "at once" write 1ns.
type Settings struct {
	PublicURL  string `json:"public_url"`  // where this simulator is reached; webhooks carry jku = PublicURL + /.well-known/jwks
	WebhookURL string `json:"webhook_url"` // empty: events are lost

	WebhooksOff  bool     `json:"webhooks_off"`  // every event is lost
	WebhookFirst Duration `json:"webhook_first"` // rest after the first failed delivery, doubling; default 500ms
	WebhookMax   Duration `json:"webhook_max"`   // longest rest; default 15m
	WebhookFor   Duration `json:"webhook_for"`   // deliveries are tried this long; default 72h

	AuthorizeAfter         Duration `json:"authorize_after"`          // pending → authorized; default 200ms
	ExecuteAfter           Duration `json:"execute_after"`            // authorized → executed; default 900ms
	InsufficientFundsAfter Duration `json:"insufficient_funds_after"` // created → failed for lack of funds; default 1s

	TokenLife Duration `json:"token_life"` // default 1h
	KeyLife   Duration `json:"key_life"`   // an idempotency key is forgotten after this; default 720h (30 days)

	PageSize int `json:"page_size"` // statement lines per page; default 2,000

	// StrictSources refuses payouts to a payment source that never paid in.
	// Otherwise such a source is taken on trust, as the sandbox's mock bank
	// would. A known source must match in user and currency either way.
	StrictSources bool `json:"strict_sources"`

	// JWKSCacheControl is the Cache-Control header of the key set; default: none.
	JWKSCacheControl string `json:"jwks_cache_control"`
}

// MerchantAccount is an account to open at the simulator.
type MerchantAccount struct {
	ID                    string `json:"id"`
	Currency              string `json:"currency"`
	OpeningBalanceInMinor int64  `json:"opening_balance_in_minor"`
}

// Simulator is the provider. All methods may be called at the same time.
type Simulator struct {
	clientID, clientSecret string
	log                    *zap.Logger
	clock                  Clock
	handler                http.Handler
	journal                *journal
	posts                  *http.Client
	postSlots              chan struct{} // bounds deliveries under way

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu         sync.Mutex // guards everything below
	closed     bool
	settings   Settings
	clientKeys map[string]*ecdsa.PublicKey
	st         *state
	queue      agenda
	queueSeq   uint64
	wakeup     chan struct{}
	faults     []*Fault
	firstNews  map[string]chan struct{} // by transfer: closed once a webhook was tried
	store      *store                   // nil without a state file
}

// New opens the simulator and starts its clock. It reports every mistake in
// the options at once. Close it after use.
func New(o Options) (*Simulator, error) {
	var wrong []error
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }

	if o.ClientID == "" {
		complain("ClientID: is empty: give the id the client will use")
	}
	if o.ClientSecret == "" {
		complain("ClientSecret: is empty: give the secret the client will use")
	}
	keys := map[string]*ecdsa.PublicKey{}
	for kid, text := range o.ClientKeys {
		key, err := parsePublicKey(text)
		if err != nil {
			complain("ClientKeys[%s]: %w", kid, err)
		}
		keys[kid] = key
	}
	for _, a := range o.MerchantAccounts {
		if err := a.check(); err != nil {
			complain("MerchantAccounts: %w", err)
		}
	}
	if err := o.Settings.check(); err != nil {
		complain("Settings: %w", err)
	}
	if o.WebhookKey != nil && o.WebhookKey.Curve.Params().BitSize != 521 {
		complain("WebhookKey: curve is %s: give a P-521 key", o.WebhookKey.Curve.Params().Name)
	}
	if len(wrong) > 0 {
		return nil, fmt.Errorf("simulator: options: %w", errors.Join(wrong...))
	}
	if o.Clock == nil {
		o.Clock = realClock{}
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.JournalLimit <= 0 {
		o.JournalLimit = 5000
	}

	s := &Simulator{
		clientID:     o.ClientID,
		clientSecret: o.ClientSecret,
		log:          o.Logger,
		clock:        o.Clock,
		journal:      newJournal(o.JournalLimit),
		posts:        newPoster(),
		postSlots:    make(chan struct{}, 32),
		settings:     o.Settings.withDefaults(),
		clientKeys:   keys,
		wakeup:       make(chan struct{}, 1),
		firstNews:    map[string]chan struct{}{},
	}
	var err error
	if s.st, err = loadState(o.StateFile); err != nil {
		return nil, fmt.Errorf("simulator: state file: %w", err)
	}
	if err := s.st.ensureKeys(o.WebhookKey, o.WebhookKid); err != nil {
		return nil, fmt.Errorf("simulator: webhook key: %w", err)
	}
	s.journal.money, s.journal.seq = s.st.Money, s.st.Seq
	for _, a := range o.MerchantAccounts {
		s.openAccount(a)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.handler = s.routes()
	if o.StateFile != "" {
		s.store = newStore(o.StateFile)
		if err := s.store.write(s.snapshot()); err != nil {
			s.cancel()
			return nil, fmt.Errorf("simulator: state file: %w", err)
		}
		s.wg.Add(1)
		go func() { defer s.wg.Done(); s.keepSaved() }()
	}
	s.resume()
	s.wg.Add(1)
	go func() { defer s.wg.Done(); s.keepTime() }()
	return s, nil
}

// Handler serves the whole provider on one host: token, API, key set and,
// under /control/, the control API.
func (s *Simulator) Handler() http.Handler { return s.handler }

// Close stops time and deliveries, lets go of held requests, and writes the
// state file for the last time. It may be called twice.
func (s *Simulator) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.wg.Wait()
	s.posts.CloseIdleConnections()
	if s.store == nil {
		return nil
	}
	s.mu.Lock()
	data := s.snapshot()
	s.mu.Unlock()
	if err := s.store.write(data); err != nil {
		return fmt.Errorf("simulator: state file: %w", err)
	}
	return nil
}

// Configure changes the settings: change gets the present ones.
func (s *Simulator) Configure(change func(*Settings)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.settings
	change(&next)
	if err := next.check(); err != nil {
		return fmt.Errorf("simulator: settings: %w", err)
	}
	s.settings = next.withDefaults()
	return nil
}

// Settings returns the present settings.
func (s *Simulator) Settings() Settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settings
}

func (g Settings) check() error {
	var wrong []error
	for name, text := range map[string]string{"public_url": g.PublicURL, "webhook_url": g.WebhookURL} {
		if text == "" {
			continue
		}
		if u, err := url.Parse(text); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			wrong = append(wrong, fmt.Errorf("%s: %q: give an absolute http or https URL", name, text))
		}
	}
	for name, d := range map[string]Duration{
		"webhook_first": g.WebhookFirst, "webhook_max": g.WebhookMax, "webhook_for": g.WebhookFor,
		"authorize_after": g.AuthorizeAfter, "execute_after": g.ExecuteAfter,
		"insufficient_funds_after": g.InsufficientFundsAfter, "token_life": g.TokenLife, "key_life": g.KeyLife,
	} {
		if d < 0 {
			wrong = append(wrong, fmt.Errorf("%s: %s: must not be negative", name, time.Duration(d)))
		}
	}
	if g.PageSize < 0 {
		wrong = append(wrong, fmt.Errorf("page_size: %d: must not be negative", g.PageSize))
	}
	return errors.Join(wrong...)
}

func (g Settings) withDefaults() Settings {
	for field, value := range map[*Duration]time.Duration{
		&g.WebhookFirst:           500 * time.Millisecond,
		&g.WebhookMax:             15 * time.Minute,
		&g.WebhookFor:             72 * time.Hour,
		&g.AuthorizeAfter:         200 * time.Millisecond,
		&g.ExecuteAfter:           900 * time.Millisecond,
		&g.InsufficientFundsAfter: time.Second,
		&g.TokenLife:              time.Hour,
		&g.KeyLife:                30 * 24 * time.Hour,
	} {
		if *field == 0 {
			*field = Duration(value)
		}
	}
	if g.PageSize == 0 {
		g.PageSize = 2000
	}
	return g
}
