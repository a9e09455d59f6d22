package simulator

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"math"
	randv2 "math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"
)

const timestampHeader = "X-TL-Webhook-Timestamp"

// delivery is an event that has not been taken by the receiver yet.
type delivery struct {
	ID         string    `json:"id"` // duplicates share the event id, not this
	EventID    string    `json:"event_id"`
	Type       string    `json:"type"`
	TransferID string    `json:"transfer_id,omitempty"`
	Body       string    `json:"body"`
	Sign       string    `json:"sign,omitempty"`
	Tries      int       `json:"tries"`
	FirstAt    time.Time `json:"first_at"`
	NextAt     time.Time `json:"next_at"`
}

func newPoster() *http.Client {
	return &http.Client{
		Timeout:       10 * time.Second,
		Transport:     &http.Transport{MaxIdleConnsPerHost: 8, IdleConnTimeout: 30 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// announce sends the event of a step, if it has one: only executed and failed
// have. It needs the lock.
//
//	Source: docs/truelayer.md, "Webhooks"
func (s *Simulator) announce(t *Transfer, step Step) {
	if step.Status != StatusExecuted && step.Status != StatusFailed {
		return
	}
	account := s.st.account(t.MerchantAccountID)
	eventType := t.Kind + "_" + step.Status
	body := map[string]any{
		"type": eventType, "event_id": uuid.NewString(), "event_version": 1,
		t.Kind + "_id": t.ID, step.Status + "_at": stampMilli(s.now()),
	}
	if step.Status == StatusFailed {
		body["failure_reason"] = step.Reason
	} else {
		body["scheme_id"] = t.scheme()
	}
	if len(t.Metadata) > 0 {
		body["metadata"] = toAny(t.Metadata)
	}
	if t.Kind == KindRefund {
		body["payment_id"] = t.PaymentID
	} else {
		body["merchant_account_id"] = t.MerchantAccountID
		body["beneficiary"] = t.briefBeneficiary()
		if step.Status == StatusExecuted {
			body["current_balance_in_minor"] = account.CurrentBalanceInMinor
			body["available_balance_in_minor"] = account.AvailableBalanceInMinor
		}
	}
	rule, _ := s.st.ruleOf(t.IdempotencyKey)
	s.post(rule.webhookFor(eventType), t.ID, body)
}

func (t *Transfer) briefBeneficiary() map[string]any {
	var b struct {
		Type string `json:"type"`
	}
	_ = json.Unmarshal(t.Beneficiary, &b)
	brief := map[string]any{"type": b.Type}
	if b.Type == "payment_source" {
		brief["payment_source_id"], brief["user_id"] = t.PaymentSourceID, t.UserID
	}
	return brief
}

func (r *Rule) webhookFor(eventType string) Webhook {
	for _, hook := range r.Webhooks {
		if hook.Event == "" || hook.Event == eventType {
			return hook
		}
	}
	return Webhook{}
}

func (s *Simulator) announcePayment(p *Payment) {
	source := s.st.sources[p.PaymentSourceID]
	scheme := "sepa_credit_transfer"
	if p.Currency == "GBP" {
		scheme = "faster_payments_service"
	}
	body := map[string]any{
		"type": "payment_settled", "event_id": uuid.NewString(), "event_version": 1, "payment_id": p.ID, "settled_at": stampMilli(p.SettledAt),
		"payment_method": map[string]any{"type": "bank_transfer", "provider_id": mockProvider(p.Currency), "scheme_id": scheme},
		"payment_source": map[string]any{
			"id": source.ID, "account_holder_name": source.AccountHolderName, "account_identifiers": source.AccountIdentifiers,
		},
		"user_id": p.UserID, "settlement_risk": map[string]any{"category": "low_risk"},
	}
	if len(p.Metadata) > 0 {
		body["metadata"] = toAny(p.Metadata)
	}
	s.post(Webhook{}, "", body)
}

// SendWebhook sends any event, scripted like others: about a payout nobody
// knows, say, or forged. Missing type, event_id and event_version are filled in.
func (s *Simulator) SendWebhook(body map[string]any, how Webhook) (eventID string, err error) {
	probe := Rule{Webhooks: []Webhook{how}}
	if err := probe.check(); err != nil {
		return "", fmt.Errorf("simulator: webhook: %w", err)
	}
	full := map[string]any{"type": "payout_executed", "event_id": uuid.NewString(), "event_version": 1}
	merge(full, body)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.st.canSign(how); err != nil {
		return "", fmt.Errorf("simulator: webhook: %w", err)
	}
	s.post(how, "", full)
	s.touch()
	eventID, _ = full["event_id"].(string)
	return eventID, nil
}

// post queues an event for delivery, as scripted. It needs the lock.
func (s *Simulator) post(how Webhook, transferID string, body map[string]any) {
	merge(body, how.Patch)
	eventID, _ := body["event_id"].(string)
	eventType, _ := body["type"].(string)
	text := string(encode(body))
	if how.Lost || s.settings.WebhooksOff || s.settings.WebhookURL == "" {
		s.journal.tried(DeliveryTry{At: s.now(), EventID: eventID, Type: eventType, TransferID: transferID, Body: text, Err: "lost"})
		s.tellFirstNews(transferID)
		return
	}
	for range 1 + how.Duplicates {
		d := &delivery{
			ID: uuid.NewString(), EventID: eventID, Type: eventType, TransferID: transferID, Body: text, Sign: how.Sign,
			NextAt: s.now().Add(time.Duration(how.Late)),
		}
		s.st.Deliveries[d.ID] = d
		s.at(d.NextAt, func() { s.launch(d) })
	}
}

// launch starts one try of a delivery. It needs the lock.
func (s *Simulator) launch(d *delivery) {
	if s.closed {
		return
	}
	if s.settings.WebhooksOff || s.settings.WebhookURL == "" {
		delete(s.st.Deliveries, d.ID)
		s.journal.tried(DeliveryTry{At: s.now(), EventID: d.EventID, Type: d.Type, TransferID: d.TransferID, Body: d.Body, Err: "lost"})
		s.tellFirstNews(d.TransferID)
		return
	}
	if d.FirstAt.IsZero() {
		d.FirstAt = s.now()
	}
	d.Tries++
	envelope := envelope{
		url: s.settings.WebhookURL, jku: s.settings.PublicURL + "/.well-known/jwks", key: s.st.keyFor(d.Sign),
		at: s.now(), try: d.Tries, delivery: *d,
	}
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		select {
		case s.postSlots <- struct{}{}:
		case <-s.ctx.Done():
			return
		}
		status, err := s.deliver(envelope)
		<-s.postSlots
		s.delivered(d, envelope, status, err)
	}()
}

// envelope is all one try needs, so that it runs without the lock.
type envelope struct {
	url, jku string
	key      *webhookKey
	at       time.Time
	try      int
	delivery delivery
}

// deliver signs and sends one try. The event id stays the same over all tries;
// time and signature are each try's own.
func (s *Simulator) deliver(e envelope) (status int, err error) {
	target, err := url.Parse(e.url)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(s.ctx, 10*time.Second)
	defer cancel()
	body := []byte(e.delivery.Body)
	header := http.Header{}
	header.Set("Content-Type", "application/json")
	header.Set(timestampHeader, e.at.UTC().Format("2006-01-02T15:04:05Z"))

	signature, err := e.signature(message{http.MethodPost, or(target.EscapedPath(), "/"), header, body})
	if err != nil {
		return 0, err
	}
	if signature != "" {
		header.Set("Tl-Signature", signature)
	}
	if e.delivery.Sign == SignTampered {
		body = append(body[:len(body)-1:len(body)-1], `,"tampered":true}`...)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header = header
	res, err := s.posts.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	return res.StatusCode, nil
}

// signature is the event's Tl-Signature, or a bad one as scripted.
func (e envelope) signature(m message) (string, error) {
	key, kid, jku := e.key.private, e.key.Kid, e.jku
	switch e.delivery.Sign {
	case SignNone:
		return "", nil
	case SignForged, SignUnknownKid:
		var err error
		if key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader); err != nil {
			return "", err
		}
		if e.delivery.Sign == SignUnknownKid {
			kid = uuid.NewString()
		}
	case SignWrongJKU:
		jku = "http://127.0.0.1:9/.well-known/jwks"
	}
	return sign(key, joseHeader{Alg: "ES512", Kid: kid, TLVersion: "2", TLHeaders: timestampHeader, JKU: jku}, m)
}

// delivered notes how a try went: any 2xx ends the delivery, anything else is
// tried again with jittered, growing rests.
func (s *Simulator) delivered(d *delivery, e envelope, status int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return // closing: the state file keeps it for the next start
	}
	try := DeliveryTry{
		At: e.at, EventID: d.EventID, Type: d.Type, TransferID: d.TransferID, Try: e.try, URL: e.url, Body: d.Body, Sign: d.Sign, Status: status,
	}
	if err != nil {
		try.Err = err.Error()
	}
	s.journal.tried(try)
	s.tellFirstNews(d.TransferID)
	defer s.touch()
	if err == nil && status >= 200 && status < 300 {
		delete(s.st.Deliveries, d.ID)
		return
	}
	s.log.Debug("webhook not taken", zap.String("event_id", d.EventID), zap.Int("status", status), zap.Int("try", e.try), zap.Error(err))
	ceiling := math.Min(float64(s.settings.WebhookMax), float64(s.settings.WebhookFirst)*math.Pow(2, float64(d.Tries-1)))
	d.NextAt = s.now().Add(time.Duration(ceiling * (0.5 + randv2.Float64()/2)))
	if d.NextAt.Sub(d.FirstAt) > time.Duration(s.settings.WebhookFor) {
		delete(s.st.Deliveries, d.ID)
		s.log.Warn("webhook given up", zap.String("event_id", d.EventID), zap.Int("tries", d.Tries))
		return
	}
	s.at(d.NextAt, func() { s.launch(d) })
}

func (s *Simulator) tellFirstNews(transferID string) {
	if news, ok := s.firstNews[transferID]; ok {
		close(news)
		delete(s.firstNews, transferID)
	}
}

// PendingWebhooks counts events that have not been taken yet.
func (s *Simulator) PendingWebhooks() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.st.Deliveries)
}
