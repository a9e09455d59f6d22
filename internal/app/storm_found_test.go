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
