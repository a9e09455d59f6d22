// Command backend is a game backend in miniature: it credits a player's
// winnings, binds the account the player paid in from, asks for a payout, and
// follows it. Every write carries an Idempotency-Key made from what it is
// about, so running it twice pays once. README.md says the same with curl.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"slices"
	"time"
)

func main() {
	log.SetFlags(log.Ltime)
	player := flag.String("player", "player-11", "your id of the player")
	source := flag.String("source", "", "payment_source_id of the account that paid in (required)")
	user := flag.String("user", "", "user_id of the user that paid in (required)")
	win := flag.String("win", "2041", "which win this is; the same win is paid once")
	pence := flag.Int64("amount", 1000, "minor units: 1000 is ten pounds")
	flag.Parse()
	if *source == "" || *user == "" || os.Getenv("STARTER_URL") == "" || os.Getenv("STARTER_TOKEN") == "" {
		log.Fatal("want -source and -user (money goes back to the account that paid in), and STARTER_URL and STARTER_TOKEN, as make run prints them")
	}

	call("POST", "/v1/players/"+*player+"/credits", "win-"+*win, map[string]any{"amount_in_minor": *pence, "currency": "GBP", "reason": "won game " + *win})
	call("PUT", "/v1/players/"+*player+"/payment-sources/"+*source, "", map[string]any{"user_id": *user, "currency": "GBP"})
	payout := call("POST", "/v1/payouts", "payout-"+*win, map[string]any{
		"player_id": *player, "amount_in_minor": *pence, "currency": "GBP",
		"beneficiary": map[string]any{"user_id": *user, "payment_source_id": *source, "reference": "WIN " + *win},
	})

	for seen := -1.0; ; time.Sleep(time.Second) {
		payout = call("GET", fmt.Sprint("/v1/payouts/", payout["id"]), "", nil)
		if version := payout["version"].(float64); version != seen {
			log.Printf("%v: money %v, next %v", payout["status"], payout["money"], payout["next_step"])
			seen = version
		}
		if slices.Contains([]any{"executed", "failed", "returned"}, payout["status"]) {
			log.Print(payout["player_message"])
			return
		}
	}
}

// call asks the API until it answers: with the same key, asking again is safe.
func call(method, path, key string, body any) (answer map[string]any) {
	text, _ := json.Marshal(body) // plain maps always encode
	for ; ; time.Sleep(time.Second) {
		r, err := http.NewRequest(method, os.Getenv("STARTER_URL")+path, bytes.NewReader(text))
		if err != nil {
			log.Fatal(err)
		}
		r.Header = http.Header{"Authorization": {"Bearer " + os.Getenv("STARTER_TOKEN")}, "Content-Type": {"application/json"}, "Idempotency-Key": {key}}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			log.Print("no answer, asking again: ", err)
			continue
		}
		read, err := io.ReadAll(response.Body)
		response.Body.Close()
		switch {
		case err != nil || response.StatusCode >= 500:
			log.Print("no answer, asking again: ", response.Status)
		case response.StatusCode >= 400:
			log.Fatalf("%s %s is refused: %s", method, path, read)
		default:
			if err := json.Unmarshal(read, &answer); err != nil {
				log.Fatal(err)
			}
			return answer
		}
	}
}
