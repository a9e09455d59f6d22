package app

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"payouts/internal/httpapi"
	"payouts/internal/truelayer"
)

// providerWithin bounds one exchange with the provider while its answer is
// only looked at.
const providerWithin = 20 * time.Second

const reach = "check that this machine may reach it (DNS, firewall, egress rules; no proxy is used)"

// token asks for an access token with scope payments.
func (d *doctor) token(ctx context.Context) Finding {
	token, err := d.provider.Token(ctx)
	if err != nil {
		return fault(err, "TRUELAYER_AUTH_URL: want https://auth.truelayer.com or https://auth.truelayer-sandbox.com; "+reach)
	}
	return passed("granted, for %s", short(time.Until(token.ExpiresAt).Round(time.Minute)))
}

// scope sees whether the API takes the token. Nothing is signed in asking, so
// a no is about the token alone.
func (d *doctor) scope(ctx context.Context) Finding {
	var err error
	d.accounts, err = d.provider.MerchantAccounts(ctx)
	var said *truelayer.CallError
	if errors.As(err, &said) {
		switch said.Status {
		case http.StatusUnauthorized:
			return fault(err, "TRUELAYER_API_URL: the API does not take the token; take it and TRUELAYER_AUTH_URL from one environment, sandbox or live")
		case http.StatusForbidden:
			return fault(err, "TRUELAYER_CLIENT_ID: the client lacks the right; have the Payments API (scope `payments`) and merchant accounts enabled for it in the Console")
		}
	}
	if err != nil {
		return fault(err, "TRUELAYER_API_URL: want https://api.truelayer.com or https://api.truelayer-sandbox.com; "+reach)
	}
	return passed("the API takes the token; %d merchant accounts", len(d.accounts))
}

// signature has a signed request checked that does nothing else. The token is
// known to be good, so a no is about the signature.
func (d *doctor) signature(ctx context.Context) Finding {
	err := d.provider.TestSignature(ctx)
	var said *truelayer.CallError
	if errors.As(err, &said) && said.Status == http.StatusUnauthorized {
		return fault(err, "TRUELAYER_SIGNING_KID, TRUELAYER_SIGNING_KEY_FILE: want the id that the Console shows for the public half of this very key, in the environment of this client;\n"+
			"`openssl ec -in KEY_FILE -pubout` prints the half to upload there")
	}
	if err != nil {
		return fault(err, "TRUELAYER_API_URL: want the API's address without a path; "+reach)
	}
	return passed("POST /test-signature takes our signature with key %s", d.config.TrueLayer.SigningKID)
}

// merchantAccounts sees whether the accounts we would pay from are there, in
// the currency we would pay in.
func (d *doctor) merchantAccounts(context.Context) Finding {
	var theirs, wrong, saw, empty []string
	for _, a := range d.accounts {
		theirs = append(theirs, fmt.Sprintf("%s=%s", a.Currency, a.ID))
	}
	for _, currency := range slices.Sorted(maps.Keys(d.config.MerchantAccounts)) {
		id := d.config.MerchantAccounts[currency]
		at := slices.IndexFunc(d.accounts, func(a truelayer.MerchantAccount) bool { return strings.EqualFold(a.ID, id) })
		switch {
		case at < 0:
			wrong = append(wrong, fmt.Sprintf("%s=%s is no account of this client", currency, id))
		case d.accounts[at].Currency != currency:
			wrong = append(wrong, fmt.Sprintf("%s=%s is in %s", currency, id, d.accounts[at].Currency))
		default:
			a := d.accounts[at]
			saw = append(saw, fmt.Sprintf("%s has %s available (%s current)", currency, a.Available, a.Current))
			if a.Available.Minor <= 0 {
				empty = append(empty, string(currency))
			}
		}
	}
	switch {
	case len(wrong) > 0:
		change := "MERCHANT_ACCOUNTS: this client has no merchant account; have one opened (Console, Merchant accounts)"
		if len(theirs) > 0 {
			change = "MERCHANT_ACCOUNTS: choose one account for each currency from: " + strings.Join(theirs, ", ") + " (Console, Merchant accounts)"
		}
		return failed(change, "%s", strings.Join(wrong, "; "))
	case len(empty) > 0:
		return warned("put money on it; until then payouts fail for insufficient_funds and are tried again", "%s", strings.Join(saw, "; "))
	}
	return passed("%s", strings.Join(saw, "; "))
}

// webhookKeys has the gateway's own verifier refuse an event that nobody
// signed: to tell that it is not theirs it needs their keys, at least one of
// them on P-521.
func (d *doctor) webhookKeys(ctx context.Context) Finding {
	jku := d.config.TrueLayer.JWKSURL
	head := fmt.Sprintf(`{"alg":"ES512","kid":"doctor","tl_version":"2","tl_headers":"X-Tl-Webhook-Timestamp","jku":%q}`, jku)
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(head)) + ".." + base64.RawURLEncoding.EncodeToString(make([]byte, 132))
	_, err := d.verifier.Verify(ctx, http.MethodPost, httpapi.WebhookPath, http.Header{"Tl-Signature": {unsigned}}, nil)
	if !errors.Is(err, truelayer.ErrNotAuthentic) {
		return failed("TRUELAYER_JWKS_URL: want https://webhooks.truelayer.com/.well-known/jwks or https://webhooks.truelayer-sandbox.com/.well-known/jwks; "+reach+
			";\nuntil the keys can be had, webhooks are answered with 503 and payouts wait for polls", "%s: %v", jku, err)
	}
	return passed("%s holds keys on P-521; only events that name it are believed", jku)
}

// A machine that keeps its time is off by well under a second; five seconds
// mean that it does not. A minute is where it begins to hurt: the margins of
// KEY_WINDOW and of a token's life are a few minutes, and are shared with
// other machines' clocks and with slow networks. Their own tolerance is unknown.
const (
	skewWarning = 5 * time.Second
	skewFailed  = time.Minute
)

// clock compares the Date of an answer with our clock. The answer's age is
// unknown between asking and hearing, and Date has whole seconds: only what is
// surely wrong counts.
func (d *doctor) clock(ctx context.Context) Finding {
	asking, err := http.NewRequestWithContext(ctx, http.MethodHead, d.config.TrueLayer.APIURL, nil)
	if err != nil {
		return failed("TRUELAYER_API_URL: want an https URL", "%v", err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	before := time.Now()
	answer, err := transport.RoundTrip(asking)
	after := time.Now()
	if err != nil {
		return failed("TRUELAYER_API_URL: there is no answer whose time could be compared; "+reach, "%v", err)
	}
	answer.Body.Close()
	date, err := http.ParseTime(answer.Header.Get("Date"))
	if err != nil {
		return warned("compare this machine's clock by other means, such as `timedatectl`", "their answer bears no Date")
	}
	skew, word := time.Duration(0), "ahead of"
	switch latest := date.Add(time.Second); {
	case date.After(after):
		skew, word = date.Sub(after), "behind"
	case latest.Before(before):
		skew = before.Sub(latest)
	}
	const change = "keep this machine's clock with NTP (chrony, systemd-timesyncd), and that of every machine that runs a worker"
	switch seen := fmt.Sprintf("our clock is at least %s %s theirs", skew.Round(time.Second), word); {
	case skew > skewFailed:
		return failed(change, "%s", seen)
	case skew > skewWarning:
		return warned(change, "%s", seen)
	}
	return passed("agrees with theirs, as far as an answer tells")
}

// gateway sees whether the door for webhooks is open where the configuration
// says. Whether the provider's events lead there only an event can show.
func (d *doctor) gateway(ctx context.Context) Finding {
	const console = "in the Console the webhook URI must lead to POST " + httpapi.WebhookPath + " here, by https and exactly as written there"
	host, port, err := net.SplitHostPort(d.config.GatewayAddr)
	if err != nil || port == "0" {
		return warned(console, "GATEWAY_ADDR names no fixed port, so the gateway cannot be tried")
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	at := "http://" + net.JoinHostPort(host, port) + httpapi.WebhookPath
	asking, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader("{}"))
	if err != nil {
		return failed("GATEWAY_ADDR: want HOST:PORT", "%v", err)
	}
	answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(asking)
	if err != nil {
		return warned("start the gateway, or run the doctor where it runs; "+console, "nobody answers at %s", at)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusUnauthorized {
		return failed("GATEWAY_ADDR: something else listens there; stop it, or choose another address; "+console, "%s answers an unsigned event with %d, not 401", at, answer.StatusCode)
	}
	found := passed("%s answers, and refuses an unsigned event", at)
	found.Change = console
	return found
}
