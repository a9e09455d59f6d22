package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// answer is what the API said.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, bytes.TrimSpace(a.body)) }

// caller is somebody with a token: a game backend or an operator. It knows the
// API by its wire format only.
type caller struct{ url, token string }

var wire = &http.Client{Timeout: 30 * time.Second}

func (c caller) call(method, path, key string, body any) (answer, error) {
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return answer{}, err
		}
		sent = bytes.NewReader(text)
	}
	request, err := http.NewRequest(method, c.url+path, sent)
	if err != nil {
		return answer{}, err
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	if sent != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		request.Header.Set("Idempotency-Key", key)
	}
	response, err := wire.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, text}, err
}

// read asks for something and decodes it.
func (c caller) read(path string, into any) error {
	a, err := c.call(http.MethodGet, path, "", nil)
	if err != nil {
		return err
	}
	if a.status != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, a)
	}
	return json.Unmarshal(a.body, into)
}

// payout is what the scenarios look at of GET /v1/payouts/{id}.
type payout struct {
	ID            string    `json:"id"`
	Status        string    `json:"status"`
	Money         string    `json:"money"`
	FailureReason *string   `json:"failure_reason"`
	NextStep      string    `json:"next_step"`
	CaseID        *string   `json:"case_id"`
	WorkflowID    string    `json:"workflow_id"`
	Attempts      []attempt `json:"attempts"`
	Timeline      []moment  `json:"timeline"`
}

type attempt struct {
	Number           int     `json:"number"`
	IdempotencyKey   string  `json:"idempotency_key"`
	ProviderPayoutID *string `json:"provider_payout_id"`
	Status           string  `json:"status"`
	Sends            int     `json:"sends"`
}

type moment struct {
	At     time.Time `json:"at"`
	Status string    `json:"status"`
	What   string    `json:"what"`
}

// reason is why it failed, or "".
func (p payout) reason() string {
	if p.FailureReason == nil {
		return ""
	}
	return *p.FailureReason
}

// story is the timeline for people.
func (p payout) story() string {
	var b strings.Builder
	for _, m := range p.Timeline {
		fmt.Fprintf(&b, "  %s %-10s %s\n", m.At.Format("15:04:05.000"), m.Status, m.What)
	}
	return b.String()
}

// balance is what a player has, in minor units.
type balance struct {
	Available int64 `json:"available_in_minor"`
	Held      int64 `json:"held_in_minor"`
	Frozen    int64 `json:"frozen_in_minor"`
}
