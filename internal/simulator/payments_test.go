package simulator

import (
	"fmt"
	"net/url"
	"testing"
	"time"
)

func TestPayInTeachesASource(t *testing.T) {
	h := open(t)
	p, err := h.sim.AddPayIn(PayIn{Currency: "GBP", AmountInMinor: 5000, UserID: "user-7", Metadata: map[string]string{"player_id": "p7"}})
	if err != nil {
		t.Fatal(err)
	}
	n := h.inbox.wait(t, 1)[0]
	source := n.body["payment_source"].(map[string]any)
	if !genuine(t, h, n) || n.body["type"] != "payment_settled" || n.body["payment_id"] != p.ID || n.body["user_id"] != "user-7" ||
		source["id"] != p.PaymentSourceID || n.body["metadata"].(map[string]any)["player_id"] != "p7" {
		t.Errorf("got %s", n.text)
	}
	if b := h.sim.Balance(gbpAccount); b != 105_000 {
		t.Errorf("balance %d", b)
	}
	view := h.get("/v3/payments/" + p.ID).body
	if view["status"] != "settled" || view["user"].(map[string]any)["id"] != "user-7" || view["payment_source"].(map[string]any)["id"] != p.PaymentSourceID {
		t.Errorf("payment: %v", view)
	}
	items := h.get("/v3/merchant-accounts/" + gbpAccount + "/payment-sources?user_id=user-7").body["items"].([]any)
	if len(items) != 1 || items[0].(map[string]any)["id"] != p.PaymentSourceID {
		t.Errorf("sources: %v", items)
	}
	again, err := h.sim.AddPayIn(PayIn{Currency: "GBP", AmountInMinor: 1, PaymentSourceID: p.PaymentSourceID})
	if err != nil || again.UserID != "user-7" {
		t.Errorf("same source again: %+v, %v", again, err)
	}
	if _, err := h.sim.AddPayIn(PayIn{Currency: "GBP", AmountInMinor: 0, PaymentSourceID: p.PaymentSourceID, UserID: "thief"}); err == nil {
		t.Error("a bad pay-in was taken")
	}
}

func TestRefund(t *testing.T) {
	h := open(t)
	p, err := h.sim.AddPayIn(PayIn{Currency: "GBP", AmountInMinor: 5000, NoWebhook: true})
	if err != nil {
		t.Fatal(err)
	}
	path := "/v3/payments/" + p.ID + "/refunds"
	a := h.post(path, "r1", `{"amount_in_minor":2000,"reference":"back"}`)
	if a.status != 202 {
		t.Fatalf("create: %d %s", a.status, a.text)
	}
	if again := h.post(path, "r1", `{"amount_in_minor":2000,"reference":"back"}`); again.text != a.text {
		t.Errorf("again: %s", again.text)
	}
	if much := h.post(path, "r2", `{"amount_in_minor":3001,"reference":"back"}`); much.status != 400 {
		t.Errorf("too much: %d", much.status)
	}
	if all := h.post(path, "r3", `{"reference":"all"}`); all.status != 400 {
		t.Errorf("full refund after a partial one: %d", all.status)
	}
	h.sim.Advance(time.Minute)
	r := h.get(path + "/" + a.body["id"].(string)).body
	if r["status"] != "executed" || r["reference"] != "back" || r["beneficiary"] != nil || h.sim.Balance(gbpAccount) != 103_000 {
		t.Errorf("refund: %v, balance %d", r, h.sim.Balance(gbpAccount))
	}
	if list := h.get(path).body["items"].([]any); len(list) != 1 {
		t.Errorf("list: %v", list)
	}
	if n := h.inbox.wait(t, 1)[0]; n.body["type"] != "refund_executed" || n.body["payment_id"] != p.ID || n.body["refund_id"] != a.body["id"] {
		t.Errorf("event: %s", n.text)
	}
}

func TestStatement(t *testing.T) {
	h := open(t)
	start := h.sim.Now()
	h.script(Rule{Match: Match{Reference: "back"}, Return: &Step{After: Duration(time.Second), Show: ShowStatement}})
	p, err := h.sim.AddPayIn(PayIn{Currency: "GBP", AmountInMinor: 5000, NoWebhook: true})
	if err != nil {
		t.Fatal(err)
	}
	h.sim.Advance(time.Second)
	back := h.pay(300, "back")
	h.sim.Advance(5 * time.Second)
	h.post("/v3/payments/"+p.ID+"/refunds", "r", `{"amount_in_minor":50,"reference":"r"}`)
	h.sim.Advance(5 * time.Second)
	if err := h.sim.TopUp(gbpAccount, -40); err != nil {
		t.Fatal(err)
	}
	h.sim.Advance(time.Second)
	pending := h.pay(7, "pending")
	h.sim.Advance(200 * time.Millisecond)

	read := func(extra string) (items []map[string]any, cursor string) {
		t.Helper()
		q := url.Values{"from": {start.Add(-time.Minute).Format(time.RFC3339)}, "to": {start.Add(time.Hour).Format(time.RFC3339)}}
		a := h.get("/v3/merchant-accounts/" + gbpAccount + "/transactions?" + q.Encode() + extra)
		if a.status != 200 {
			t.Fatalf("%d %s", a.status, a.text)
		}
		for _, i := range a.body["items"].([]any) {
			items = append(items, i.(map[string]any))
		}
		cursor, _ = a.body["pagination"].(map[string]any)["next_cursor"].(string)
		return items, cursor
	}
	all, cursor := read("")
	if cursor != "" {
		t.Errorf("cursor on the only page: %s", cursor)
	}
	kinds, balance := map[string]int{}, int64(0)
	byID := map[string]map[string]any{}
	for _, i := range all {
		byID[i["id"].(string)] = i
		kinds[i["type"].(string)]++
		minor := int64(i["amount_in_minor"].(float64))
		switch {
		case i["type"] == "external_payment" || i["type"] == "merchant_account_payment":
			balance += minor
		case i["status"] == "executed":
			balance -= minor
		}
	}
	if fmt.Sprint(kinds) != "map[external_payment:2 merchant_account_payment:1 payout:3 refund:1]" || balance != h.sim.Balance(gbpAccount) {
		t.Errorf("lines %v add up to %d, balance %d", kinds, balance, h.sim.Balance(gbpAccount))
	}
	line := byID[back]
	returned, _ := line["returned_by"].(string)
	if line["status"] != "executed" || line["payout_id"] != back || byID[returned]["return_for"].(map[string]any)["returned_id"] != back {
		t.Errorf("return: %v by %v", line, byID[returned])
	}
	if byID[pending]["status"] != "pending" || byID[p.ID] != nil {
		t.Errorf("pending: %v", byID[pending])
	}

	if err := h.sim.Configure(func(g *Settings) { g.PageSize = 3 }); err != nil {
		t.Fatal(err)
	}
	var paged []string
	for extra := ""; ; {
		items, cursor := read(extra)
		for _, i := range items {
			paged = append(paged, i["id"].(string))
		}
		if cursor == "" {
			break
		}
		extra = "&cursor=" + url.QueryEscape(cursor)
	}
	if len(paged) != len(all) {
		t.Fatalf("pages hold %d lines of %d", len(paged), len(all))
	}
	for i := range paged {
		if paged[i] != all[i]["id"] {
			t.Errorf("line %d differs", i)
		}
	}
	if out, _ := read("&type=payout"); len(out) != 3 {
		t.Errorf("%d outgoing lines on the first page", len(out))
	}
	for _, bad := range []string{"?from=x&to=y", "?from=2026-01-01T00:00:00Z&to=2026-12-31T00:00:00Z", "?from=2026-11-20T00:00:00Z&to=2026-11-21T00:00:00Z&cursor=x"} {
		if a := h.get("/v3/merchant-accounts/" + gbpAccount + "/transactions" + bad); a.status != 400 {
			t.Errorf("%s: %d", bad, a.status)
		}
	}
}
