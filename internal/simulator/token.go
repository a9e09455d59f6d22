package simulator

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// audiences says which API a scope belongs to. A token whose scopes all belong
// to another API than Payments is turned away there with InvalidAudience.
//
//	Source: docs/truelayer.md, "Access token"
var audiences = map[string]string{
	"payments":                      "payments_api",
	"recurring_payments:sweeping":   "payments_api",
	"recurring_payments:commercial": "payments_api",
	"signupplus":                    "payments_api",
	"tracking":                      "payments_api",
	"verification":                  "payments_api",
	"info":                          "data_api",
	"accounts":                      "data_api",
	"balance":                       "data_api",
	"transactions":                  "data_api",
	"paydirect":                     "paydirect_api",
}

// claims of a token. To the client a token is opaque; it looks like the JWT
// that the provider's samples show.
type claims struct {
	Issuer    string   `json:"iss"`
	NotBefore int64    `json:"nbf"`
	IssuedAt  int64    `json:"iat"`
	Expires   int64    `json:"exp"`
	Audience  string   `json:"aud"`
	Scope     []string `json:"scope"`
	ClientID  string   `json:"client_id"`
	ID        string   `json:"jti"`
}

// serveToken answers POST /connect/token, form-encoded or JSON.
func (s *Simulator) serveToken(w http.ResponseWriter, r *http.Request) {
	oauthError := func(code string) { writeJSON(w, http.StatusBadRequest, map[string]string{"error": code}) }

	var ask struct {
		GrantType    string `json:"grant_type"`
		ClientID     string `json:"client_id"`
		ClientSecret string `json:"client_secret"`
		Scope        string `json:"scope"`
	}
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch media {
	case "application/json":
		if json.Unmarshal(bodyOf(r), &ask) != nil {
			oauthError("invalid_request")
			return
		}
	case "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(bodyOf(r)))
		if err != nil {
			oauthError("invalid_request")
			return
		}
		ask.GrantType, ask.ClientID = form.Get("grant_type"), form.Get("client_id")
		ask.ClientSecret, ask.Scope = form.Get("client_secret"), form.Get("scope")
	default:
		oauthError("invalid_request")
		return
	}
	if ask.GrantType != "client_credentials" {
		oauthError("unsupported_grant_type")
		return
	}
	if ask.ClientID != s.clientID || subtle.ConstantTimeCompare([]byte(ask.ClientSecret), []byte(s.clientSecret)) != 1 {
		oauthError("invalid_client")
		return
	}
	scopes := strings.Fields(ask.Scope)
	audience := ""
	for _, scope := range scopes {
		of, known := audiences[scope]
		if !known {
			audience = ""
			break
		}
		if audience == "" || of == "payments_api" {
			audience = of
		}
	}
	if audience == "" {
		oauthError("invalid_scope")
		return
	}
	s.mu.Lock()
	now, life := s.now(), time.Duration(s.settings.TokenLife)
	token := s.st.issue(claims{
		Issuer: s.settings.PublicURL, NotBefore: now.Unix(), IssuedAt: now.Unix(), Expires: now.Add(life).Unix(),
		Audience: audience, Scope: scopes, ClientID: ask.ClientID, ID: strings.ToUpper(strings.ReplaceAll(uuid.NewString(), "-", "")),
	})
	s.mu.Unlock()
	writeJSON(w, http.StatusOK, map[string]any{
		"access_token": token, "expires_in": int64(life / time.Second), "token_type": "Bearer", "scope": strings.Join(scopes, " "),
	})
}

func (st *state) issue(c claims) string {
	text := raw64.EncodeToString([]byte(`{"alg":"HS256","typ":"at+jwt"}`)) + "." + raw64.EncodeToString(encode(c))
	return text + "." + raw64.EncodeToString(st.tokenMAC(text))
}

func (st *state) tokenMAC(text string) []byte {
	mac := hmac.New(sha256.New, st.TokenSecret)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// RevokeTokens makes every token issued so far worthless (401).
func (s *Simulator) RevokeTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.st.TokenSecret = []byte(uuid.NewString())
	s.touch()
}

// authorized says whether the request carries a good token for Payments; if
// not, it has been answered.
func (s *Simulator) authorized(w http.ResponseWriter, r *http.Request) bool {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || token == "" {
		writeProblem(w, noBearer)
		return false
	}
	if p, bad := s.tokenProblem(token); bad {
		writeProblem(w, p)
		return false
	}
	return true
}

func (s *Simulator) tokenProblem(token string) (p problem, bad bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.st.readToken(token)
	switch {
	case !ok || c.ClientID != s.clientID || s.now().Unix() >= c.Expires:
		return invalidToken, true
	case c.Audience != "payments_api":
		return invalidAudience, true
	case !slices.Contains(c.Scope, "payments"):
		return forbidden, true
	}
	return problem{}, false
}

func (st *state) readToken(token string) (claims, bool) {
	var c claims
	cut := strings.LastIndexByte(token, '.')
	if cut < 0 {
		return c, false
	}
	mac, err := raw64.DecodeString(token[cut+1:])
	if err != nil || !hmac.Equal(mac, st.tokenMAC(token[:cut])) {
		return c, false
	}
	_, body, _ := strings.Cut(token[:cut], ".")
	text, err := raw64.DecodeString(body)
	return c, err == nil && json.Unmarshal(text, &c) == nil
}

// signed says whether the request carries a good Tl-Signature over its raw
// bytes, covering the required headers; if not, it has been answered.
func (s *Simulator) signed(w http.ResponseWriter, r *http.Request, required ...string) bool {
	signature := r.Header.Get("Tl-Signature")
	if signature == "" {
		writeProblem(w, noSignature)
		return false
	}
	_, err := verify(signature, s.clientKey, message{r.Method, r.URL.EscapedPath(), r.Header, bodyOf(r)}, required...)
	if err != nil {
		noteOf(r).refuse(err.Error())
		writeProblem(w, invalidSignature)
		return false
	}
	return true
}
