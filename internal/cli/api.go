package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"payouts/internal/httpapi"
)

// api speaks to the starter's API.
type api struct {
	url, token string
	http       http.Client
}

// defaultURL is where `starter serve` serves unless told otherwise.
const defaultURL = "http://127.0.0.1:8080"

func newAPI(t Terminal) (*api, error) {
	a := &api{url: strings.TrimRight(t.Getenv("STARTER_URL"), "/"), token: t.Getenv("STARTER_TOKEN"), http: http.Client{Timeout: 30 * time.Second}}
	if a.url == "" {
		a.url = defaultURL
	}
	var errs []error
	if u, err := url.Parse(a.url); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		errs = append(errs, fmt.Errorf("STARTER_URL: %q: want an address such as %s", a.url, defaultURL))
	}
	if a.token == "" {
		errs = append(errs, errors.New("STARTER_TOKEN: is missing; want a token whose SHA-256 is in the server's API_TOKENS_FILE"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, usageError{err}
	}
	return a, nil
}

// unreachable is an API that gave no answer we can read. A request that was
// to write may have been served all the same.
type unreachable struct {
	url string
	err error
}

func (u *unreachable) Error() string {
	return fmt.Sprintf("STARTER_URL: no answer from %s: %v\n  is `starter serve` running there? STARTER_URL says where to look", u.url, u.err)
}

func (u *unreachable) Unwrap() error { return u.err }

// refused is the API's problem document as one block for people.
type refused struct{ httpapi.Problem }

func (r *refused) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s (%d)\n  %s", r.Title, r.Status, typed(r.Detail))
	for _, e := range r.Errors {
		fmt.Fprintf(&text, "\n  %s: %s", e.Field, e.Want)
	}
	return text.String()
}

// call asks the API. The answer is decoded into `into`, and also returned as
// it came.
//
//	Errors: *refused (its no), *unreachable (no answer)
func (a *api) call(ctx context.Context, method, path, key string, body, into any) (raw []byte, err error) {
	var sent io.Reader = http.NoBody
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		sent = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, a.url+path, sent)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+a.token)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	response, err := a.http.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the address is told already
		}
		return nil, &unreachable{a.url, err}
	}
	defer response.Body.Close()
	raw, err = io.ReadAll(io.LimitReader(response.Body, 64<<20))
	if err != nil {
		return nil, &unreachable{a.url, err}
	}
	if response.StatusCode >= 400 {
		no := &refused{}
		if json.Unmarshal(raw, &no.Problem) != nil || no.Title == "" {
			return nil, &unreachable{a.url, fmt.Errorf("it answers %s and does not speak our language", response.Status)}
		}
		return nil, no
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return nil, &unreachable{a.url, fmt.Errorf("it answers %s and does not speak our language: %w", response.Status, err)}
	}
	return raw, nil
}
