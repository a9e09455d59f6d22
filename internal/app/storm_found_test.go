package app

import (
	"encoding/json"
	"testing"
)

// What storms found once, word for word.
func TestStormsThatFoundSomething(t *testing.T) {
	for name, text := range map[string]string{
		"a bank that sends back and then pays, while the answer is a second old":      `{"Payouts":[{"Attempts":[{"match":{},"lag":"1s","path":[{"status":"failed","after":"10s","reason":"returned"},{"status":"executed","after":"1s"}],"used":0}]}],"Claims":[{"At":10000000000,"Payout":4,"Type":"executed","Reason":"blocked"}]}`,
		"an attempt that is sent back unpaid, after another that is paid for nothing": `{"Payouts":[{"Attempts":[{"match":{},"path":[{"status":"failed","after":"1s","reason":"scheme_error"},{"status":"executed","after":"30h0m0s"}],"used":0},{"match":{},"path":[{"status":"failed","after":"5h0m0s","reason":"returned"}],"used":0}]}]}`,
		"payments whose events name nobody, and two people dismissed the question":    `{"Payouts":[{"Attempts":[{"match":{},"create":{"kind":"accept_then_reset","times":2},"webhooks":[{"patch":{"metadata":null}}],"used":0},{"match":{},"create":{"kind":"accept_then_timeout","times":1},"path":[{"status":"authorized","after":"10s"},{"status":"executed","after":"1m0s"},{"status":"failed","after":"1s","reason":"returned","show":"webhook"}],"used":0},{"match":{},"webhooks":[{"sign":"forged"}],"used":0}],"Twin":true}],"Weather":[{"At":0,"For":10000000000,"Fault":{"path":"/v3/payouts","answer":{"kind":"refuse","status":401},"used":0}}],"Desk":[{"At":108000000000000,"Action":"dismiss","Thinks":60000000000}],"Forgets":true}`,
		"a payment of a key that the provider forgot, whose events name nobody":       `{"Payouts":[{"Attempts":[{"match":{},"create":{"kind":"reset","times":1},"path":[{"status":"authorized","after":"10s"},{"status":"executed","after":"20m0s"}],"webhooks":[{"patch":{"metadata":null}}],"used":0}],"Accidents":[{"Point":9,"What":"the connection breaks"}]}],"Forgets":true}`,
	} {
		t.Run(name, func(t *testing.T) {
			var sc script
			if err := json.Unmarshal([]byte(text), &sc); err != nil {
				t.Fatal(err)
			}
			weather(t, sc)
		})
	}
}
