package truelayer

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"go.uber.org/zap"
)

// Options is what New needs. A zero field takes the default its comment names.
type Options struct {
	APIURL        string // required: https://api.truelayer.com, or the sandbox's
	AuthURL       string // required: https://auth.truelayer.com, or the sandbox's
	JWKSURL       string // required: where their webhook keys are; the one allowed jku
	ClientID      string // required
	ClientSecret  string // required
	SigningKeyPEM []byte // required: our private key on curve P-521
	SigningKID    string // required: the id their Console shows for its public half

	HTTPTimeout time.Duration               // one exchange that is not a create; default 30s, above their gateway's cut-off of 29s
	RPS         float64                     // calls per second, all calls together; default 20
	Logger      *zap.Logger                 // default: silent
	Now         func() time.Time            // default: time.Now
	Transport   http.RoundTripper           // default: our own, which knows whether a byte of a request left
	Observe     func(context.Context, Call) // told of each exchange when it has ended; it must not block; default: nobody
}

// Client asks the provider. It is safe for use by many goroutines.
type Client struct {
	api, auth    *url.URL
	clientID     string
	clientSecret string
	signer       signer
	timeout      time.Duration
	log          *zap.Logger
	now          func() time.Time
	pace         *pace
	tokens       tokens
	once         http.RoundTripper // for POST: a new connection each, never a second try
	often        http.RoundTripper // for GET, which may be repeated
	blind        bool              // the transport is not ours: whether a byte left cannot be known
	observe      func(context.Context, Call)
}

// visible is the form of an id that can stand in headers, paths and logs.
var visible = regexp.MustCompile(`^[\x21-\x7e]{1,128}$`)

// New checks the options, all at once, each mistake naming its field and
// variable, and asks nobody yet.
func New(o Options) (*Client, error) {
	var errs []error
	wrong := func(field, variable, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s (%s): %s", field, variable, fmt.Sprintf(format, args...)))
	}
	base := func(field, variable, text string) *url.URL {
		u, err := providerURL(text)
		if err == nil && strings.Trim(u.Path, "/") != "" {
			err = fmt.Errorf("%q: want no path", text)
		}
		if err != nil {
			wrong(field, variable, "%v", err)
			return nil
		}
		u.Path = ""
		return u
	}
	c := &Client{
		api:      base("APIURL", "TRUELAYER_API_URL", o.APIURL),
		auth:     base("AuthURL", "TRUELAYER_AUTH_URL", o.AuthURL),
		clientID: o.ClientID, clientSecret: o.ClientSecret,
		timeout: o.HTTPTimeout, log: o.Logger, now: o.Now, observe: o.Observe,
	}
	if _, err := providerURL(o.JWKSURL); err != nil {
		wrong("JWKSURL", "TRUELAYER_JWKS_URL", "%v", err)
	}
	if mixed(o.APIURL, o.AuthURL, o.JWKSURL) {
		wrong("APIURL, AuthURL, JWKSURL", "TRUELAYER_API_URL, TRUELAYER_AUTH_URL, TRUELAYER_JWKS_URL",
			"sandbox and live are mixed; take all three from one environment")
	}
	if !visible.MatchString(o.ClientID) {
		wrong("ClientID", "TRUELAYER_CLIENT_ID", "want the client's id as the Console shows it")
	}
	if o.ClientSecret == "" || strings.TrimSpace(o.ClientSecret) != o.ClientSecret {
		wrong("ClientSecret", "TRUELAYER_CLIENT_SECRET_FILE", "want the client's secret, without spaces or line ends around it")
	}
	key, err := readSigningKey(o.SigningKeyPEM)
	if err != nil {
		wrong("SigningKeyPEM", "TRUELAYER_SIGNING_KEY_FILE", "%v", err)
	}
	if !visible.MatchString(o.SigningKID) {
		wrong("SigningKID", "TRUELAYER_SIGNING_KID", "want the id that the Console shows for the public half of the signing key")
	}
	c.signer = signer{key: key, kid: o.SigningKID}
	if c.timeout == 0 {
		c.timeout = 30 * time.Second
	}
	if c.timeout < 0 {
		wrong("HTTPTimeout", "the time for one call", "%s: want a duration above 0, such as 30s", c.timeout)
	}
	if o.RPS == 0 {
		o.RPS = 20
	}
	if o.RPS < 0 || math.IsNaN(o.RPS) || math.IsInf(o.RPS, 0) {
		wrong("RPS", "PROVIDER_RPS", "%v: want calls per second above 0, such as 20", o.RPS)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if c.log == nil {
		c.log = zap.NewNop()
	}
	if c.now == nil {
		c.now = time.Now
	}
	c.pace = newPace(o.RPS)
	if c.once, c.often = o.Transport, o.Transport; o.Transport == nil {
		c.once, c.often = createTransport(nil), readTransport(nil)
	} else {
		c.blind = true
	}
	return c, nil
}

// providerURL reads an address of theirs: absolute, and encrypted unless it
// is a stand-in on our own network.
func providerURL(text string) (*url.URL, error) {
	if text == "" {
		return nil, errors.New("is missing; want a URL such as https://api.truelayer-sandbox.com")
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		return nil, fmt.Errorf("%.100q: want an absolute https URL", text)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("want a URL without user, query or fragment")
	case u.Scheme == "http" && environment(text) != "":
		return nil, fmt.Errorf("%q: want https; secrets and money cross this line", text)
	}
	return u, nil
}

// environment tells which of their environments a URL belongs to; "" is none
// of theirs, such as a simulator.
func environment(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	host := "." + strings.ToLower(u.Hostname())
	for _, domain := range []string{"truelayer-sandbox.com", "truelayer.com"} {
		if strings.HasSuffix(host, "."+domain) {
			return domain
		}
	}
	return ""
}

// mixed says that the URLs are of more than one environment.
func mixed(urls ...string) bool {
	for _, text := range urls[1:] {
		if text != "" && urls[0] != "" && environment(text) != environment(urls[0]) {
			return true
		}
	}
	return false
}

// readSigningKey reads a private P-521 key as openssl writes it: PKCS #8 or
// SEC 1, with or without a block of parameters before it.
func readSigningKey(file []byte) (*ecdsa.PrivateKey, error) {
	const want = "want a private key on curve P-521 in PEM, as `openssl ecparam -genkey -name secp521r1 -noout` makes it"
	if len(bytes.TrimSpace(file)) == 0 {
		return nil, errors.New("is missing; " + want)
	}
	for rest := file; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, errors.New("holds no private key; " + want)
		}
		var key any
		var err error
		switch block.Type {
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			return nil, errors.New("is encrypted with a password; " + want)
		case "PUBLIC KEY":
			return nil, errors.New("is the public half, which belongs into their Console; " + want)
		default:
			continue // such as EC PARAMETERS
		}
		if err != nil {
			return nil, fmt.Errorf("cannot be read: %w; %s", err, want)
		}
		ec, ok := key.(*ecdsa.PrivateKey)
		if !ok || ec.Curve != elliptic.P521() {
			return nil, errors.New("is of another kind; " + want)
		}
		return ec, nil
	}
}
