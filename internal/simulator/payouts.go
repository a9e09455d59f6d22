package simulator

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// remembered is what an idempotency key stands for.
type remembered struct {
	SHA256     string    `json:"sha256"` // of method, path and body bytes
	At         time.Time `json:"at"`
	Status     int       `json:"status"`
	Body       []byte    `json:"body"`
	TransferID string    `json:"transfer_id,omitempty"`
	InFlight   bool      `json:"-"`
}

func (s *Simulator) createPayout(w http.ResponseWriter, r *http.Request) {
	if s.authorized(w, r) && s.signed(w, r, "Idempotency-Key") {
		s.create(w, r, s.readPayout)
	}
}

// create answers a signed create call: it replays what the key stands for, or
// reads the body and makes the transfer, as the rule bound to the key says.
//
//	Repeats: same key and bytes, the same answer; same key, other bytes, 422
//	Source:  docs/truelayer.md, "Idempotency"
func (s *Simulator) create(w http.ResponseWriter, r *http.Request, read func(body []byte) (*Transfer, fieldErrors)) {
	key := r.Header.Get("Idempotency-Key")
	if key == "" {
		writeProblem(w, invalidSignature) // the provider answers a missing key so
		return
	}
	hash := sha256.New()
	_, _ = fmt.Fprintf(hash, "%s %s\n", r.Method, r.URL.EscapedPath())
	_, _ = hash.Write(bodyOf(r))
	sum := hex.EncodeToString(hash.Sum(nil))

	s.mu.Lock()
	known := s.st.Keys[key]
	if known != nil && !known.InFlight && s.now().Sub(known.At) > time.Duration(s.settings.KeyLife) {
		delete(s.st.Keys, key) // forgotten: the same request pays again
		delete(s.st.Bound, key)
		known = nil
	}
	switch {
	case known != nil && known.SHA256 != sum:
		s.mu.Unlock()
		writeProblem(w, keyReuse)
		return
	case known != nil && known.InFlight:
		s.mu.Unlock()
		writeProblem(w, keyInFlight)
		return
	case known != nil:
		rule, b := s.st.ruleOf(key)
		answer := take(rule.Create, &b.Creates)
		s.touch()
		s.mu.Unlock()
		noteOf(r).transfer(known.TransferID)
		if answer.Delay > 0 {
			s.hold(r, time.Duration(answer.Delay))
		}
		if !answer.accepts() {
			answer = Answer{Kind: AnswerNormal} // it exists: a refusal would be another lie than scripted
		}
		s.give(w, r, answer, known.Status, known.Body)
		return
	}
	t, wrong := read(bodyOf(r))
	if len(wrong) > 0 {
		s.mu.Unlock()
		p := invalidParameters
		p.Errors = wrong
		writeProblem(w, p)
		return
	}
	t.IdempotencyKey = key
	s.st.bind(key, t)
	rule, b := s.st.ruleOf(key)
	answer := take(rule.Create, &b.Creates)
	made := &remembered{SHA256: sum, At: s.now(), InFlight: true}
	s.st.Keys[key] = made
	if answer.Delay > 0 {
		s.mu.Unlock()
		s.work(time.Duration(answer.Delay))
		s.mu.Lock()
	}
	if answer.Kind != AnswerNormal && !answer.accepts() {
		delete(s.st.Keys, key)
		if answer.Remember && answer.Kind == AnswerRefuse {
			made.Status, made.Body, made.InFlight = or(answer.Status, http.StatusBadRequest), answer.problem().text(w.Header().Get(traceHeader)), false
			s.st.Keys[key] = made
		}
		s.touch()
		s.mu.Unlock()
		s.give(w, r, answer, http.StatusBadRequest, nil)
		return
	}
	made.Status, made.Body = http.StatusAccepted, encode(t.created())
	made.TransferID, made.InFlight = t.ID, false
	if s.closed { // nothing would write it down any more
		delete(s.st.Keys, key)
		s.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	var news chan struct{}
	if rule.HoldAnswerForWebhook {
		news = make(chan struct{})
		s.firstNews[t.ID] = news
	}
	s.begin(t)
	s.mu.Unlock()

	s.saved() // a 202 must outlive a crash
	noteOf(r).transfer(t.ID)
	if news != nil {
		limit := time.NewTimer(10 * time.Second)
		defer limit.Stop()
		select {
		case <-news:
		case <-limit.C:
		case <-s.ctx.Done():
		}
	}
	s.give(w, r, answer, made.Status, made.Body)
}

// readPayout checks a create body and makes the payout; it needs the lock.
func (s *Simulator) readPayout(body []byte) (*Transfer, fieldErrors) {
	wrong := fieldErrors{}
	fields, ok := readObject(body)
	if !ok {
		wrong.add("body", "Must be a JSON object.")
		return nil, wrong
	}
	t := &Transfer{ID: uuid.NewString(), Kind: KindPayout}
	t.MerchantAccountID = text(fields, "merchant_account_id", wrong)
	t.Currency = text(fields, "currency", wrong)
	t.AmountInMinor = amount(fields, "amount_in_minor", wrong)
	t.Metadata = metadata(fields, wrong)
	if account := s.st.account(t.MerchantAccountID); account == nil {
		if t.MerchantAccountID != "" {
			wrong.add("merchant_account_id", "Merchant account could not be found.")
		}
	} else if t.Currency != "" && account.Currency != t.Currency {
		wrong.add("currency", "Must be the currency of the merchant account: "+account.Currency+".")
	}
	if selection, ok := fields["scheme_selection"]; ok {
		t.SchemeSelection = encode(selection)
		checkScheme(selection, wrong)
	}
	beneficiary, ok := fields["beneficiary"].(map[string]any)
	if !ok {
		wrong.add("beneficiary", "Must be an object.")
		return nil, wrong
	}
	t.Beneficiary = encode(beneficiary)
	within := fieldErrors{}
	switch kind := text(beneficiary, "type", within); kind {
	case "payment_source":
		t.Reference = text(beneficiary, "reference", within)
		t.PaymentSourceID = text(beneficiary, "payment_source_id", within)
		t.UserID = text(beneficiary, "user_id", within)
		if len(within) == 0 {
			s.checkSource(t, within)
		}
	case "external_account":
		t.Reference = text(beneficiary, "reference", within)
		text(beneficiary, "account_holder_name", within)
		if _, ok := beneficiary["account_identifier"].(map[string]any); !ok {
			within.add("account_identifier", "Must be an object.")
		}
	case "business_account":
		t.Reference = text(beneficiary, "reference", within)
	case "verified_external_account":
		t.Reference, _ = beneficiary["reference"].(string)
		text(beneficiary, "account_holder_verification_id", within)
	case typeUserDetermined:
		t.Reference = text(beneficiary, "reference", within)
		user, _ := beneficiary["user"].(map[string]any)
		if _, ok := user["name"].(string); !ok {
			within.add("user.name", "Must be a non-empty string.")
		}
		for _, name := range []string{"verification", "provider_selection"} {
			if _, ok := beneficiary[name].(map[string]any); !ok {
				within.add(name, "Must be an object.")
			}
		}
		t.UserID, _ = user["id"].(string)
		t.UserID = or(t.UserID, uuid.NewString())
		t.FirstStatus = StatusAuthorizationRequired
	case "":
	default:
		within.add("type", fmt.Sprintf("Unknown value %q.", kind))
	}
	for path, messages := range within {
		wrong["beneficiary."+path] = messages
	}
	if len(wrong) == 0 && t.PaymentSourceID != "" {
		s.trustSource(t)
	}
	return t, wrong
}

const typeUserDetermined = "user_determined"

// created is the body of the 202. Only a payout that a user has to confirm
// says more than its id.
func (t *Transfer) created() map[string]any {
	if t.FirstStatus == "" {
		return map[string]any{"id": t.ID}
	}
	return map[string]any{
		"id": t.ID, "status": t.FirstStatus, "resource_token": raw64.EncodeToString([]byte(t.ID)), "user": map[string]any{"id": t.UserID},
	}
}

func checkScheme(selection any, wrong fieldErrors) {
	fields, _ := selection.(map[string]any)
	switch kind := text(fields, "type", fieldErrors{}); kind {
	case "instant_preferred", "instant_only":
	case "preselected":
		if text(fields, "scheme_id", fieldErrors{}) == "" {
			wrong.add("scheme_selection.scheme_id", "Must be a non-empty string.")
		}
	default:
		wrong.add("scheme_selection.type", fmt.Sprintf("Unknown value %q.", kind))
	}
}

// readObject decodes one JSON object, numbers as written.
func readObject(body []byte) (map[string]any, bool) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	fields := map[string]any{}
	if !utf8.Valid(body) || dec.Decode(&fields) != nil || fields == nil {
		return nil, false
	}
	_, err := dec.Token()
	return fields, err == io.EOF
}

func text(fields map[string]any, name string, wrong fieldErrors) string {
	value, ok := fields[name].(string)
	if !ok || value == "" {
		wrong.add(name, "Must be a non-empty string.")
	}
	return value
}

func amount(fields map[string]any, name string, wrong fieldErrors) int64 {
	number, ok := fields[name].(json.Number)
	if !ok {
		wrong.add(name, "Must be an integer.")
		return 0
	}
	value, err := number.Int64()
	if err != nil {
		wrong.add(name, "Must be an integer.")
		return 0
	}
	if value < 1 {
		wrong.add(name, "Must be at least 1.")
	}
	return value
}

// metadata allows 10 pairs, keys of 40 and values of 500 characters.
func metadata(fields map[string]any, wrong fieldErrors) map[string]string {
	raw, present := fields["metadata"]
	if !present || raw == nil {
		return nil
	}
	pairs, ok := raw.(map[string]any)
	if !ok {
		wrong.add("metadata", "Must be an object.")
		return nil
	}
	if len(pairs) > 10 {
		wrong.add("metadata", "Must have at most 10 pairs.")
	}
	out := map[string]string{}
	for k, v := range pairs {
		value, ok := v.(string)
		if !ok || utf8.RuneCountInString(value) > 500 {
			wrong.add("metadata."+k, "Must be a string of at most 500 characters.")
		}
		if utf8.RuneCountInString(k) > 40 {
			wrong.add("metadata."+k, "The key must have at most 40 characters.")
		}
		out[k] = value
	}
	return out
}

func (s *Simulator) getPayout(w http.ResponseWriter, r *http.Request) {
	if s.authorized(w, r) {
		s.show(w, r, KindPayout, payoutNotFound)
	}
}

// show answers a get call on a transfer as its rule says.
func (s *Simulator) show(w http.ResponseWriter, r *http.Request, kind string, missing problem) {
	s.mu.Lock()
	t := s.st.transfers[r.PathValue("id")]
	if t == nil || t.Kind != kind || (kind == KindRefund && t.PaymentID != r.PathValue("payment")) {
		s.mu.Unlock()
		writeProblem(w, missing)
		return
	}
	rule, b := s.st.ruleOf(t.IdempotencyKey)
	answer := take(rule.Get, &b.Gets)
	view := s.view(t, t.asOf(s.now().Add(-time.Duration(rule.Lag))))
	merge(view, rule.Echo)
	good := encode(view)
	s.mu.Unlock()
	noteOf(r).transfer(t.ID)
	if answer.Delay > 0 {
		s.hold(r, time.Duration(answer.Delay))
	}
	s.give(w, r, answer, http.StatusOK, good)
}
