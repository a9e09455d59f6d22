package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// controls is the control API: JSON in, JSON out, no authentication, errors as
// 400 {"error"}. Bodies are the types of this package. GET /control/ lists it.
var controls = []struct {
	Call string `json:"call"`
	Does string `json:"does"`
	do   func(*Simulator, *http.Request) (any, error)
}{
	{"GET /control/journal", "all that was received, sent, and done to money; ?after=<seq> for what is new", func(s *Simulator, r *http.Request) (any, error) {
		after, err := seqOf(r)
		return s.JournalSince(after), err
	}},
	{"GET /control/payouts", "every payout as it truly is", func(s *Simulator, _ *http.Request) (any, error) {
		return items(s.Payouts()), nil
	}},
	{"GET /control/refunds", "every refund as it truly is", func(s *Simulator, _ *http.Request) (any, error) {
		return items(s.Refunds()), nil
	}},
	{"GET /control/rules", "rules in force and how often they were used", func(s *Simulator, _ *http.Request) (any, error) {
		return items(s.Rules()), nil
	}},
	{"POST /control/rules", "script payouts: a Rule (script.go)", func(s *Simulator, r *http.Request) (any, error) {
		var rule Rule
		if err := read(r, &rule); err != nil {
			return nil, err
		}
		id, err := s.Script(rule)
		return map[string]string{"id": id}, err
	}},
	{"DELETE /control/rules", "take all rules away", func(s *Simulator, _ *http.Request) (any, error) {
		s.RemoveRules()
		return map[string]string{}, nil
	}},
	{"DELETE /control/rules/{id}", "take one rule away; payouts that follow it keep following it", func(s *Simulator, r *http.Request) (any, error) {
		s.RemoveRules(r.PathValue("id"))
		return map[string]string{}, nil
	}},
	{"GET /control/faults", "faults in force", func(s *Simulator, _ *http.Request) (any, error) {
		return items(s.Faults()), nil
	}},
	{"POST /control/faults", "make calls fail by path: a Fault (script.go)", func(s *Simulator, r *http.Request) (any, error) {
		var f Fault
		if err := read(r, &f); err != nil {
			return nil, err
		}
		id, err := s.AddFault(f)
		return map[string]string{"id": id}, err
	}},
	{"DELETE /control/faults", "take all faults away", func(s *Simulator, _ *http.Request) (any, error) {
		s.RemoveFaults()
		return map[string]string{}, nil
	}},
	{"DELETE /control/faults/{id}", "take one fault away", func(s *Simulator, r *http.Request) (any, error) {
		s.RemoveFaults(r.PathValue("id"))
		return map[string]string{}, nil
	}},
	{"POST /control/payins", "a player pays in: a PayIn (payments.go); answers the payment with source and user ids", func(s *Simulator, r *http.Request) (any, error) {
		var in PayIn
		if err := read(r, &in); err != nil {
			return nil, err
		}
		return s.AddPayIn(in)
	}},
	{"GET /control/merchant-accounts", "accounts and balances", func(s *Simulator, _ *http.Request) (any, error) {
		return items(s.Accounts()), nil
	}},
	{"POST /control/merchant-accounts", `open one: {"id", "currency", "opening_balance_in_minor"}`, func(s *Simulator, r *http.Request) (any, error) {
		var a MerchantAccount
		if err := read(r, &a); err != nil {
			return nil, err
		}
		return a, s.OpenAccount(a)
	}},
	{"POST /control/merchant-accounts/{id}/top-up", `{"amount_in_minor"}: money from outside; negative sweeps it out`, func(s *Simulator, r *http.Request) (any, error) {
		var in struct {
			AmountInMinor int64 `json:"amount_in_minor"`
		}
		if err := read(r, &in); err != nil {
			return nil, err
		}
		err := s.TopUp(r.PathValue("id"), in.AmountInMinor)
		return map[string]int64{"current_balance_in_minor": s.Balance(r.PathValue("id"))}, err
	}},
	{"GET /control/settings", "the settings", func(s *Simulator, _ *http.Request) (any, error) {
		return s.Settings(), nil
	}},
	{"PATCH /control/settings", `change some settings, such as {"webhooks_off": true} (Settings, simulator.go)`, func(s *Simulator, r *http.Request) (any, error) {
		next := s.Settings()
		if err := read(r, &next); err != nil {
			return nil, err
		}
		err := s.Configure(func(g *Settings) { *g = next })
		return s.Settings(), err
	}},
	{"POST /control/clock/advance", `{"by": "24h"}: time passes, and what falls due happens`, func(s *Simulator, r *http.Request) (any, error) {
		var in struct {
			By Duration `json:"by"`
		}
		if err := read(r, &in); err != nil {
			return nil, err
		}
		return map[string]time.Time{"now": s.Advance(time.Duration(in.By))}, nil
	}},
	{"POST /control/webhooks", `send any event: {"body": {…}, "how": {…}}, how being a Webhook (script.go)`, func(s *Simulator, r *http.Request) (any, error) {
		var in struct {
			Body map[string]any `json:"body"`
			How  Webhook        `json:"how"`
		}
		if err := read(r, &in); err != nil {
			return nil, err
		}
		id, err := s.SendWebhook(in.Body, in.How)
		return map[string]string{"event_id": id}, err
	}},
	{"POST /control/webhook-keys/rotate", `{"keep_old": true}: sign with a new key; the old ones stay published or not`, func(s *Simulator, r *http.Request) (any, error) {
		var in struct {
			KeepOld bool `json:"keep_old"`
		}
		if err := read(r, &in); err != nil {
			return nil, err
		}
		kid, err := s.RotateWebhookKey(in.KeepOld)
		return map[string]string{"kid": kid}, err
	}},
	{"POST /control/client-keys", `trust a client's public key: {"kid", "pem"}`, func(s *Simulator, r *http.Request) (any, error) {
		var in struct {
			Kid string `json:"kid"`
			PEM string `json:"pem"`
		}
		if err := read(r, &in); err != nil {
			return nil, err
		}
		return map[string]string{"kid": in.Kid}, s.AddClientKey(in.Kid, in.PEM)
	}},
	{"POST /control/tokens/revoke", "every token issued so far is refused from now on", func(s *Simulator, _ *http.Request) (any, error) {
		s.RevokeTokens()
		return map[string]string{}, nil
	}},
}

func (s *Simulator) controlRoutes() http.Handler {
	mux := http.NewServeMux()
	for _, c := range controls {
		mux.HandleFunc(c.Call, func(w http.ResponseWriter, r *http.Request) {
			answer, err := c.do(s, r)
			if err != nil {
				writeJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
				return
			}
			s.saved()
			writeJSON(w, http.StatusOK, answer)
		})
	}
	mux.HandleFunc("GET /control/{$}", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, items(controls)) })
	return mux
}

func items(list any) map[string]any { return map[string]any{"items": list} }

func seqOf(r *http.Request) (uint64, error) {
	text := r.URL.Query().Get("after")
	if text == "" {
		return 0, nil
	}
	seq, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("after: %q: give the seq of a journal entry", text)
	}
	return seq, nil
}

// read refuses unknown fields: a misspelt script must not pass silently.
func read(r *http.Request, into any) error {
	dec := json.NewDecoder(io.LimitReader(r.Body, bodyLimit))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil && !errors.Is(err, io.EOF) { // no body: all defaults
		return fmt.Errorf("body: %w", err)
	}
	return nil
}
