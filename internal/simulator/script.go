package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Rule scripts the life of the payouts (and refunds) it matches. Of several
// rules the first that matches and has times left is taken, once, when an
// idempotency key is first seen; it then stands for that key and its payout.
//
// Every part is optional; a rule with none of them changes nothing.
type Rule struct {
	ID    string `json:"id,omitempty"` // given by Script when empty
	Match Match  `json:"match"`
	Skip  int    `json:"skip,omitempty"`  // leave the first N matching keys alone
	Times int    `json:"times,omitempty"` // for the next N matching keys; 0: for every one

	Create *Answer        `json:"create,omitempty"` // what the create call answers
	Get    *Answer        `json:"get,omitempty"`    // what the get call answers
	Lag    Duration       `json:"lag,omitempty"`    // the get call shows the payout as it was this long ago
	Echo   map[string]any `json:"echo,omitempty"`   // merged into get's answer (RFC 7396: null removes a field)

	Delay  *Delay `json:"delay,omitempty"`  // other waits than the settings'
	Fail   *Fail  `json:"fail,omitempty"`   // fails instead of going its way
	Return *Step  `json:"return,omitempty"` // after executed; default status failed, reason returned
	Path   []Step `json:"path,omitempty"`   // the whole way after pending; beats Delay, Fail and Return

	Webhooks []Webhook `json:"webhooks,omitempty"` // the first that fits an event is taken

	// HoldAnswerForWebhook keeps the create's answer back until the first
	// webhook about the payout has been tried (at most 10 s).
	HoldAnswerForWebhook bool `json:"hold_answer_for_webhook,omitempty"`

	Used int  `json:"used"`          // keys matched so far, the skipped among them
	Off  bool `json:"off,omitempty"` // taken away by RemoveRules
}

// Match says which payouts a rule is for; an empty field matches all.
type Match struct {
	Kind              string            `json:"kind,omitempty"` // payout or refund
	Reference         string            `json:"reference,omitempty"`
	AmountInMinor     int64             `json:"amount_in_minor,omitempty"`
	Currency          string            `json:"currency,omitempty"`
	MerchantAccountID string            `json:"merchant_account_id,omitempty"`
	PaymentSourceID   string            `json:"payment_source_id,omitempty"`
	PaymentID         string            `json:"payment_id,omitempty"` // refunds
	UserID            string            `json:"user_id,omitempty"`
	IdempotencyKey    string            `json:"idempotency_key,omitempty"`
	Metadata          map[string]string `json:"metadata,omitempty"` // these pairs among others
}

// Kinds of answer. Without accept_then_ nothing is stored: the payout does not
// exist, and the same key may be sent again. With it, the payout is stored and
// lives, whatever the client hears.
const (
	AnswerNormal = "normal"

	AnswerRefuse  = "refuse"  // Status and a problem document
	AnswerTimeout = "timeout" // silence, for For or until the client goes away
	AnswerReset   = "reset"   // the connection is reset
	AnswerCut     = "cut"     // the body breaks off
	AnswerEmpty   = "empty"   // Status and no body at all
	AnswerTrickle = "trickle" // the body comes a byte every For, default 100ms, and may never end in time
	AnswerGarbled = "garbled" // Body, or a page of HTML, with Status

	AnswerAcceptThenTimeout = "accept_then_timeout"
	AnswerAcceptThenReset   = "accept_then_reset"
	AnswerAcceptThen5xx     = "accept_then_5xx" // Status, default 502
	AnswerAcceptThenCut     = "accept_then_cut"
	AnswerAcceptThenEmpty   = "accept_then_empty"
	AnswerAcceptThenTrickle = "accept_then_trickle"
	AnswerAcceptThenGarbled = "accept_then_garbled"
)

// Answer scripts one answer over HTTP.
type Answer struct {
	Kind  string `json:"kind"`
	Times int    `json:"times,omitempty"` // for the first N requests (of each key or payout); 0: for every one

	// Delay is spent before anything is done. The key of a create is in flight
	// meanwhile (409 for others), and the work goes on when the client is gone.
	Delay       Duration `json:"delay,omitempty"`
	AnswerAfter Duration `json:"answer_after,omitempty"` // spent once all is done: the answer comes late
	For         Duration `json:"for,omitempty"`          // timeout: how long, 0: until the client goes away; trickle: per byte

	Status      int                 `json:"status,omitempty"` // refuse: default 400; 5xx: default 502; garbled: default 200
	Type        string              `json:"type,omitempty"`   // fragment of the problem type; default: the status's usual one
	Title       string              `json:"title,omitempty"`
	Detail      string              `json:"detail,omitempty"`
	Errors      map[string][]string `json:"errors,omitempty"`
	RetryAfter  string              `json:"retry_after,omitempty"`  // header Retry-After as written: seconds, a date, nonsense
	ShouldRetry string              `json:"should_retry,omitempty"` // header Tl-Should-Retry as written
	Header      map[string]string   `json:"header,omitempty"`       // any other headers
	Body        string              `json:"body,omitempty"`         // sent instead of the problem document
	ContentType string              `json:"content_type,omitempty"`
	Pad         int64               `json:"pad,omitempty"` // garbled: this many bytes of spaces before the body

	// Remember stores a refusal under the key, so that it is replayed. Whether
	// the provider does so is not documented; default: it does not.
	Remember bool `json:"remember,omitempty"`
}

// Delay is how long the default way takes.
type Delay struct {
	Authorize Duration `json:"authorize,omitempty"`
	Execute   Duration `json:"execute,omitempty"`
}

// Fail ends a payout in failed.
type Fail struct {
	Stage  string   `json:"stage,omitempty"` // status it fails from: pending (default), authorized or executed
	Reason string   `json:"reason"`          // any text
	After  Duration `json:"after,omitempty"` // rest in that stage; default as the next step would take
}

// Step is one step on a payout's way.
type Step struct {
	Status string   `json:"status"`           // pending, authorized, executed, failed or any other text
	After  Duration `json:"after,omitempty"`  // rest before it
	Reason string   `json:"reason,omitempty"` // of failed

	// Show narrows what the world sees of a return (failed after executed):
	// everything when empty; ShowWebhook: an event only, and no money moves;
	// ShowStatement: the money and its statement line, no event, no new status.
	Show string `json:"show,omitempty"`
	// ReturnUnknown leaves the payout's id out of the statement line's return_for.
	ReturnUnknown bool `json:"return_unknown,omitempty"`
}

// What is seen of a return.
const (
	ShowWebhook   = "webhook"
	ShowStatement = "statement"
)

// Webhook scripts the delivery of an event.
type Webhook struct {
	Event      string         `json:"event,omitempty"` // type, such as payout_executed; empty: any
	Lost       bool           `json:"lost,omitempty"`
	Duplicates int            `json:"duplicates,omitempty"` // sent this often in addition, same event_id
	Late       Duration       `json:"late,omitempty"`
	Sign       string         `json:"sign,omitempty"`  // one of the Sign constants
	Patch      map[string]any `json:"patch,omitempty"` // merged into the body before signing
}

// How an event is signed.
const (
	SignNormal     = ""
	SignNone       = "none"        // no Tl-Signature at all
	SignForged     = "forged"      // known kid, another key
	SignUnknownKid = "unknown_kid" // good signature by a key outside the key set
	SignRotated    = "rotated"     // good signature by the key before the last rotation
	SignWrongJKU   = "wrong_jku"   // good signature, jku points elsewhere
	SignTampered   = "tampered"    // body changed after signing
)

// Fault makes calls fail whatever they are about, before anything is looked at.
type Fault struct {
	ID     string `json:"id,omitempty"`     // given by AddFault when empty
	Method string `json:"method,omitempty"` // empty: any
	Path   string `json:"path"`             // a path, or the beginning of one ending in *
	Answer Answer `json:"answer"`           // kinds without accept_then_; Times counts requests
	Used   int    `json:"used"`
}

// Duration is a time.Duration that JSON writes as "1.5s".
type Duration time.Duration

// MarshalJSON writes the duration as text.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON reads "1.5s".
func (d *Duration) UnmarshalJSON(text []byte) error {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return fmt.Errorf("duration: %s: write it as text, such as \"1.5s\"", text)
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("duration: %q: write it as \"200ms\" or \"1h\"", s)
	}
	*d = Duration(v)
	return nil
}

// UnmarshalText reads a duration from a flag or a variable.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// Script adds a rule and returns its id.
func (s *Simulator) Script(rule Rule) (string, error) {
	if err := rule.check(); err != nil {
		return "", fmt.Errorf("simulator: rule: %w", err)
	}
	if rule.ID == "" {
		rule.ID = uuid.NewString()
	}
	rule.Used, rule.Off = 0, false
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.st.rule(rule.ID) != nil {
		return "", fmt.Errorf("simulator: rule: id: %q is taken", rule.ID)
	}
	for i, hook := range rule.Webhooks {
		if err := s.st.canSign(hook); err != nil {
			return "", fmt.Errorf("simulator: rule: webhooks[%d]: %w", i, err)
		}
	}
	s.st.Rules = append(s.st.Rules, &rule)
	s.touch()
	return rule.ID, nil
}

// Rules returns the rules in force, in order.
func (s *Simulator) Rules() []Rule {
	s.mu.Lock()
	defer s.mu.Unlock()
	rules := []Rule{}
	for _, r := range s.st.Rules {
		if !r.Off {
			rules = append(rules, *r)
		}
	}
	return rules
}

// RemoveRules takes away the rules with these ids, or all when none is given.
// Payouts that already follow one keep following it.
func (s *Simulator) RemoveRules(ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.st.Rules {
		if len(ids) == 0 || slices.Contains(ids, r.ID) {
			r.Off = true
		}
	}
	s.touch()
}

// AddFault adds a fault and returns its id.
func (s *Simulator) AddFault(f Fault) (string, error) {
	if f.Path == "" {
		return "", errors.New("simulator: fault: path: is empty: give one, or * for all")
	}
	if err := f.Answer.check(); err != nil {
		return "", fmt.Errorf("simulator: fault: answer: %w", err)
	}
	if f.Answer.accepts() {
		return "", fmt.Errorf("simulator: fault: answer: %s: a fault accepts nothing; use a rule", f.Answer.Kind)
	}
	if f.Answer.Kind == AnswerNormal && f.Answer.AnswerAfter > 0 {
		return "", errors.New("simulator: fault: answer: answer_after: an honest answer is not the fault's to hold back; use delay")
	}
	if f.ID == "" {
		f.ID = uuid.NewString()
	}
	f.Used = 0
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
	return f.ID, nil
}

// RemoveFaults takes away the faults with these ids, or all when none is given.
func (s *Simulator) RemoveFaults(ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = slices.DeleteFunc(s.faults, func(f *Fault) bool { return len(ids) == 0 || slices.Contains(ids, f.ID) })
}

// Faults returns the faults in force, in order.
func (s *Simulator) Faults() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	faults := []Fault{}
	for _, f := range s.faults {
		faults = append(faults, *f)
	}
	return faults
}

// fault finds the fault for a request and uses it up.
func (s *Simulator) fault(method, path string) *Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		prefix, open := strings.CutSuffix(f.Path, "*")
		if (f.Method != "" && f.Method != method) || (path != f.Path && (!open || !strings.HasPrefix(path, prefix))) {
			continue
		}
		if f.Answer.Times > 0 && f.Used >= f.Answer.Times {
			continue
		}
		f.Used++
		answer := f.Answer
		return &answer
	}
	return nil
}

func (r *Rule) check() error {
	var wrong []error
	complain := func(field string, err error) {
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", field, err))
		}
	}
	if r.Create != nil {
		complain("create", r.Create.check())
	}
	if r.Get != nil {
		complain("get", r.Get.check())
		if r.Get.accepts() {
			complain("get", fmt.Errorf("kind: %s: a get accepts nothing", r.Get.Kind))
		}
	}
	if r.Fail != nil && !slices.Contains([]string{"", StatusPending, StatusAuthorized, StatusExecuted}, r.Fail.Stage) {
		complain("fail", fmt.Errorf("stage: %q: must be pending, authorized or executed", r.Fail.Stage))
	}
	if r.Fail != nil && r.Fail.Reason == "" {
		complain("fail", errors.New("reason: is empty: give one, such as blocked"))
	}
	for i, step := range r.Path {
		complain(fmt.Sprintf("path[%d]", i), step.check())
		if step.Status == "" {
			complain(fmt.Sprintf("path[%d]", i), errors.New("status: is empty"))
		}
	}
	if r.Return != nil {
		complain("return", r.Return.check())
	}
	for i, hook := range r.Webhooks {
		if !slices.Contains([]string{SignNormal, SignNone, SignForged, SignUnknownKid, SignRotated, SignWrongJKU, SignTampered}, hook.Sign) {
			complain(fmt.Sprintf("webhooks[%d]", i), fmt.Errorf("sign: %q is not known", hook.Sign))
		}
	}
	return errors.Join(wrong...)
}

func (p Step) check() error {
	if p.Show != "" && p.Show != ShowWebhook && p.Show != ShowStatement {
		return fmt.Errorf("show: %q: must be webhook or statement", p.Show)
	}
	return nil
}

func (a *Answer) check() error {
	switch a.Kind {
	case AnswerNormal, AnswerRefuse, AnswerTimeout, AnswerReset, AnswerCut, AnswerEmpty, AnswerTrickle, AnswerGarbled,
		AnswerAcceptThenTimeout, AnswerAcceptThenReset, AnswerAcceptThen5xx, AnswerAcceptThenCut,
		AnswerAcceptThenEmpty, AnswerAcceptThenTrickle, AnswerAcceptThenGarbled:
	case "":
		a.Kind = AnswerNormal
	default:
		return fmt.Errorf("kind: %q is not known", a.Kind)
	}
	if a.Status != 0 && (a.Status < 200 || a.Status > 599) {
		return fmt.Errorf("status: %d: must be 200 to 599", a.Status)
	}
	if a.Pad < 0 || (a.Pad > 0 && strings.TrimPrefix(a.Kind, acceptThen) != AnswerGarbled) {
		return fmt.Errorf("pad: %d: must be a count of bytes, with kind garbled or accept_then_garbled", a.Pad)
	}
	return nil
}

const acceptThen = "accept_then_"

func (a *Answer) accepts() bool { return strings.HasPrefix(a.Kind, acceptThen) }

// bound is a rule at work for one idempotency key.
type bound struct {
	RuleID  string `json:"rule_id"`
	Creates int    `json:"creates"` // create calls answered by the script
	Gets    int    `json:"gets"`
}

func (st *state) rule(id string) *Rule {
	for _, r := range st.Rules {
		if r.ID == id {
			return r
		}
	}
	return nil
}

// bind picks the rule for a new key, once.
func (st *state) bind(key string, t *Transfer) {
	if _, done := st.Bound[key]; done {
		return
	}
	for _, r := range st.Rules {
		if r.Off || !r.Match.fits(t) || (r.Times > 0 && r.Used >= r.Skip+r.Times) {
			continue
		}
		r.Used++
		if r.Used <= r.Skip {
			continue
		}
		st.Bound[key] = &bound{RuleID: r.ID}
		return
	}
	st.Bound[key] = &bound{}
}

// ruleOf is the rule that a transfer follows; never nil.
func (st *state) ruleOf(key string) (*Rule, *bound) {
	b := st.Bound[key]
	if b == nil {
		return &Rule{}, &bound{}
	}
	if r := st.rule(b.RuleID); r != nil {
		return r, b
	}
	return &Rule{}, b
}

// take uses an answer once, if it has times left.
func take(a *Answer, used *int) Answer {
	if a == nil || (a.Times > 0 && *used >= a.Times) {
		return Answer{Kind: AnswerNormal}
	}
	*used++
	return *a
}

func (m Match) fits(t *Transfer) bool {
	text := func(want, have string) bool { return want == "" || want == have }
	for k, v := range m.Metadata {
		if have, ok := t.Metadata[k]; !ok || have != v {
			return false
		}
	}
	return text(m.Kind, t.Kind) && text(m.Reference, t.Reference) && text(m.Currency, t.Currency) &&
		text(m.MerchantAccountID, t.MerchantAccountID) && text(m.PaymentSourceID, t.PaymentSourceID) && text(m.PaymentID, t.PaymentID) &&
		text(m.UserID, t.UserID) && text(m.IdempotencyKey, t.IdempotencyKey) &&
		(m.AmountInMinor == 0 || m.AmountInMinor == t.AmountInMinor)
}

// merge applies an RFC 7396 patch to a decoded JSON value.
func merge(into, patch map[string]any) {
	for k, v := range patch {
		switch inner := v.(type) {
		case nil:
			delete(into, k)
		case map[string]any:
			if old, ok := into[k].(map[string]any); ok {
				merge(old, inner)
			} else {
				fresh := map[string]any{}
				merge(fresh, inner)
				into[k] = fresh
			}
		default:
			into[k] = v
		}
	}
}
