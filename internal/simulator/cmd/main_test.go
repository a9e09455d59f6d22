package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// line passes on the one line that says the process is ready.
type line chan string

func (l line) Write(p []byte) (int, error) { l <- string(p); return len(p), nil }

func keyFile(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "public.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRunServesUntilToldToStop(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	ready, ended := make(line, 1), make(chan error, 1)
	state := filepath.Join(t.TempDir(), "state.json")
	go func() {
		ended <- run(ctx, []string{
			"--addr=127.0.0.1:0", "--client-secret=s", "--client-key=kid=" + keyFile(t), "--state-file=" + state,
			"--merchant-accounts=GBP=11111111-1111-4111-8111-111111111111:500,EUR=22222222-2222-4222-8222-222222222222",
		}, ready)
	}()
	var text string
	select {
	case text = <-ready:
	case err := <-ended:
		t.Fatal(err)
	case <-time.After(10 * time.Second):
		t.Fatal("not ready")
	}
	url := strings.Fields(text)[3]
	res, err := http.Get(url + "/control/merchant-accounts")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	var accounts struct {
		Items []struct {
			Currency string `json:"currency"`
			Current  int64  `json:"current_balance_in_minor"`
		}
	}
	if err := json.Unmarshal(body, &accounts); err != nil {
		t.Fatal(err)
	}
	if a := accounts.Items; len(a) != 2 || a[0].Current != 500 || a[1].Current != 10_000_000 {
		t.Errorf("accounts: %s", body)
	}
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("did not stop")
	}
	if _, err := os.Stat(state); err != nil {
		t.Error(err)
	}
}

func TestRunSaysWhatIsWrong(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	addr := taken.Addr().String()
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"port in use": {[]string{"--addr=" + addr, "--client-secret=s"}, []string{addr + " is in use", "--addr"}},
		"no secret":   {[]string{"--addr=127.0.0.1:0"}, []string{"ClientSecret"}},
		"files and accounts": {[]string{"--client-key=k=/nowhere.pem", "--client-secret-file=/nowhere", "--merchant-accounts=GBP"},
			[]string{"/nowhere.pem", "--client-secret-file", "GBP=<uuid>"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := run(t.Context(), c.args, &bytes.Buffer{})
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%q is missing: %v", want, err)
				}
			}
		})
	}
}
