package simulator

import (
	"net/http"

	"github.com/google/uuid"
)

func (s *Simulator) createRefund(w http.ResponseWriter, r *http.Request) {
	if !s.authorized(w, r) || !s.signed(w, r, "Idempotency-Key") {
		return
	}
	s.mu.Lock()
	p := s.st.payments[r.PathValue("payment")]
	s.mu.Unlock()
	if p == nil {
		writeProblem(w, notFound)
		return
	}
	s.create(w, r, func(body []byte) (*Transfer, fieldErrors) { return s.readRefund(p, body) })
}

// readRefund checks a create body and makes the refund; it needs the lock.
// Several refunds are allowed, together not above the payment.
func (s *Simulator) readRefund(p *Payment, body []byte) (*Transfer, fieldErrors) {
	wrong := fieldErrors{}
	fields, ok := readObject(body)
	if !ok {
		wrong.add("body", "Must be a JSON object.")
		return nil, wrong
	}
	left := p.AmountInMinor
	for _, t := range s.st.Transfers {
		if t.PaymentID == p.ID && t.Status() != StatusFailed {
			left -= t.AmountInMinor
		}
	}
	t := &Transfer{
		ID: uuid.NewString(), Kind: KindRefund, PaymentID: p.ID, MerchantAccountID: p.MerchantAccountID, Currency: p.Currency,
		AmountInMinor: p.AmountInMinor, PaymentSourceID: p.PaymentSourceID, UserID: p.UserID,
	}
	if _, given := fields["amount_in_minor"]; given {
		t.AmountInMinor = amount(fields, "amount_in_minor", wrong)
	}
	t.Reference = text(fields, "reference", wrong)
	t.Metadata = metadata(fields, wrong)
	if t.AmountInMinor > left {
		wrong.add("amount_in_minor", "Is more than is left of the payment to refund.")
	}
	return t, wrong
}

func (s *Simulator) getRefund(w http.ResponseWriter, r *http.Request) {
	if s.authorized(w, r) {
		s.show(w, r, KindRefund, notFound)
	}
}

func (s *Simulator) listRefunds(w http.ResponseWriter, r *http.Request) {
	if !s.authorized(w, r) {
		return
	}
	s.mu.Lock()
	_, known := s.st.payments[r.PathValue("payment")]
	items := []map[string]any{}
	for _, t := range s.st.Transfers {
		if t.Kind == KindRefund && t.PaymentID == r.PathValue("payment") {
			items = append(items, s.view(t, t.History))
		}
	}
	s.mu.Unlock()
	if !known {
		writeProblem(w, notFound)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"items": items})
}
