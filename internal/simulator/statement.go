package simulator

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// line is a statement line with what it is ordered and found by.
type line struct {
	at   time.Time
	id   string
	kind string // payment or payout, as the type parameter says it
	body map[string]any
}

// longestRange is refused only when it holds more lines than a page.
const longestRange = 31 * 24 * time.Hour

// listTransactions is the statement of a merchant account.
//
//	Source: docs/truelayer.md, "Merchant accounts"
func (s *Simulator) listTransactions(w http.ResponseWriter, r *http.Request) {
	if !s.authorized(w, r) {
		return
	}
	wrong := fieldErrors{}
	query := r.URL.Query()
	bound := func(name string) time.Time {
		t, err := time.Parse(time.RFC3339Nano, query.Get(name))
		if err != nil {
			wrong.add(name, "Must be an ISO 8601 time with offset.")
		}
		return t
	}
	from, to := bound("from"), bound("to")
	kind := query.Get("type")
	if kind != "" && kind != "payment" && kind != "payout" {
		wrong.add("type", "Must be payment or payout.")
	}
	var afterAt time.Time
	var afterID string
	if cursor := query.Get("cursor"); cursor != "" {
		plain, err := raw64.DecodeString(cursor)
		when, id, ok := strings.Cut(string(plain), ",")
		at, err2 := time.Parse(time.RFC3339Nano, when)
		if err != nil || err2 != nil || !ok {
			wrong.add("cursor", "Invalid cursor")
		}
		afterAt, afterID = at, id
	}
	account := r.PathValue("account")
	s.mu.Lock()
	known := s.st.account(account) != nil
	size := s.settings.PageSize
	lines := s.lines(account)
	s.mu.Unlock()
	if !known {
		writeProblem(w, notFound)
		return
	}
	lines = slices.DeleteFunc(lines, func(l line) bool {
		return l.at.Before(from) || l.at.After(to) || (kind != "" && l.kind != kind)
	})
	if len(wrong) == 0 && to.Sub(from) > longestRange && len(lines) > size {
		wrong.add("to", "The range must be at most 31 days.")
	}
	if len(wrong) > 0 {
		p := invalidParameters
		p.Detail = "The request parameters were invalid."
		p.Errors = wrong
		writeProblem(w, p)
		return
	}
	slices.SortFunc(lines, compareLines)
	if afterID != "" {
		mark := line{at: afterAt, id: afterID}
		lines = slices.DeleteFunc(lines, func(l line) bool { return compareLines(l, mark) <= 0 })
	}
	pagination := map[string]any{}
	if len(lines) > size {
		lines = lines[:size]
		last := lines[size-1]
		pagination["next_cursor"] = raw64.EncodeToString([]byte(last.at.Format(time.RFC3339Nano) + "," + last.id))
	}
	items := []map[string]any{}
	for _, l := range lines {
		items = append(items, l.body)
	}
	writeJSON(w, http.StatusOK, map[string]any{"items": items, "pagination": pagination})
}

func compareLines(a, b line) int {
	if c := a.at.Compare(b.at); c != 0 {
		return c
	}
	return strings.Compare(a.id, b.id)
}

// lines makes all lines of an account from what truly happened.
func (s *Simulator) lines(account string) []line {
	var lines []line
	for _, p := range s.st.Payments {
		if p.MerchantAccountID != account {
			continue
		}
		source := s.st.sources[p.PaymentSourceID]
		body := map[string]any{
			"type": "merchant_account_payment", "id": p.TransactionID, "currency": p.Currency, "amount_in_minor": p.AmountInMinor,
			"status": "settled", "settled_at": stamp(p.SettledAt), "payment_id": p.ID,
			"payment_source": map[string]any{
				"id": source.ID, "user_id": source.UserID, "account_holder_name": source.AccountHolderName, "account_identifiers": source.AccountIdentifiers,
			},
		}
		if len(p.Metadata) > 0 {
			body["metadata"] = p.Metadata
		}
		lines = append(lines, line{p.SettledAt, p.TransactionID, "payment", body})
	}
	for _, e := range s.st.Externals {
		if e.MerchantAccountID == account {
			lines = append(lines, e.line())
		}
	}
	for _, t := range s.st.Transfers {
		if t.MerchantAccountID == account && (t.HeldAside || t.Executions > 0) {
			lines = append(lines, s.transferLine(t))
		}
	}
	return lines
}

func (e *external) line() line {
	if e.AmountInMinor < 0 { // a sweep is an outgoing payout of the provider's own making
		return line{e.At, e.ID, "payout", map[string]any{
			"type": "payout", "id": e.ID, "payout_id": e.ID, "currency": e.Currency, "amount_in_minor": -e.AmountInMinor, "status": "executed",
			"created_at": stamp(e.At), "executed_at": stamp(e.At), "context_code": "internal", "scheme_id": "internal_transfer",
			"beneficiary": map[string]any{"type": "business_account", "reference": "TL " + e.At.Format("2006-01-02 15:04")},
		}}
	}
	body := map[string]any{
		"type": "external_payment", "id": e.ID, "currency": e.Currency, "amount_in_minor": e.AmountInMinor, "status": "settled",
		"settled_at": stamp(e.At),
		"remitter": map[string]any{
			"account_holder_name": e.Remitter, "account_identifiers": mockIdentifiers(e.Currency, "00002723"), "reference": e.Reference,
		},
	}
	switch {
	case e.ReturnFor != "" && e.ReturnUnknown:
		body["return_for"] = map[string]any{"type": "unknown"}
	case e.ReturnFor != "":
		body["return_for"] = map[string]any{"type": "identified", "returned_id": e.ReturnFor}
	}
	return line{e.At, e.ID, "payment", body}
}

// transferLine stays executed after a return, which is a line of its own. A
// payout's line has the payout's id, a refund's has its own.
func (s *Simulator) transferLine(t *Transfer) line {
	at, body := t.History[0].At, map[string]any{
		"type": t.Kind, "id": t.ID, "currency": t.Currency, "amount_in_minor": t.AmountInMinor, "status": "pending",
		"created_at": stamp(t.History[0].At), "context_code": "withdrawal", "scheme_id": t.scheme(),
	}
	if t.Kind == KindRefund {
		source := s.st.sources[t.PaymentSourceID]
		body["refund_id"], body["payment_id"] = t.ID, t.PaymentID
		body["beneficiary"] = map[string]any{
			"type": "payment_source", "payment_source_id": source.ID, "reference": t.Reference,
			"account_holder_name": source.AccountHolderName, "account_identifiers": source.AccountIdentifiers,
		}
	} else {
		body["payout_id"], body["beneficiary"] = t.ID, s.beneficiary(t)
	}
	if t.Executions > 0 {
		at = t.executedAt()
		body["status"], body["executed_at"] = "executed", stampMilli(at)
	}
	if t.ReturnedBy != "" {
		body["returned_by"] = t.ReturnedBy
	}
	if len(t.Metadata) > 0 {
		body["metadata"] = t.Metadata
	}
	return line{at, t.ID, "payout", body}
}

// executedAt is when the money left: at the first execution.
func (t *Transfer) executedAt() time.Time {
	for _, m := range t.History {
		if m.Status == StatusExecuted {
			return m.At
		}
	}
	return t.History[0].At
}
