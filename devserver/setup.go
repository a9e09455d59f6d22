package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
)

// secrets are the files that a house needs before it can start. They are made
// once and kept, so that a restart finds its sealed rows and its tokens again.
type secrets struct {
	dir string

	backendToken  string // of the caller "casino"
	operatorToken string // of a person
	secondToken   string // of another person: one proposes, the other approves
	clientID      string
	clientSecret  string
	signingKID    string
	publicKeyPEM  string            // of the signing key, for the provider
	merchants     map[string]string // currency → merchant account
}

// Names of the files, which are also what docker-compose.yml mounts.
const (
	sealFile       = "seal.keys"
	tokensFile     = "api.tokens"
	clientFile     = "client.secret"
	signingFile    = "signing.pem"
	publicFile     = "signing.pub.pem"
	backendFile    = "backend.token"
	operatorFile   = "operator.token"
	secondFile     = "second-operator.token"
	decisionsFile  = "decisions.json"
	demoCaller     = "casino"
	demoOperator   = "olivia"
	demoSecond     = "oscar"
	demoClientID   = "demo-client"
	demoSigningKID = "5f3f3c1e-9a0b-4a52-8d0e-2f6f7f0a9c11"
)

// demoMerchants are the merchant accounts of the simulator.
var demoMerchants = map[string]string{
	"GBP": "a61acaef-ee05-4077-92f3-25543a11bd8d",
	"EUR": "0b1f9d3e-8c2a-4c36-9f0e-3f0b6f8a9c11",
}

func (s secrets) path(name string) string { return filepath.Join(s.dir, name) }

// ready reads the secrets of a folder, and makes those that are missing.
func ready(dir string) (secrets, error) {
	s := secrets{dir: dir, clientID: demoClientID, signingKID: demoSigningKID, merchants: demoMerchants}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return s, fmt.Errorf("cannot make the folder %s: %w; choose another with -dir", dir, err)
	}
	var errs []error
	keep := func(name string, make func() string) string {
		text, err := s.keep(name, make)
		errs = append(errs, err)
		return strings.TrimSpace(text)
	}
	keep(sealFile, func() string { return "k1 " + base64.StdEncoding.EncodeToString(random(32)) + "\n" })
	s.backendToken = keep(backendFile, token)
	s.operatorToken = keep(operatorFile, token)
	s.secondToken = keep(secondFile, token)
	known := keep(tokensFile, func() string {
		return fmt.Sprintf("# name role sha256-of-token\n%s backend %s\n%s operator %s\n", demoCaller, digest(s.backendToken), demoOperator, digest(s.operatorToken))
	})
	if !strings.Contains(known, "\n"+demoSecond+" ") { // also in a folder from before there were two
		errs = append(errs, os.WriteFile(s.path(tokensFile), fmt.Appendf(nil, "%s\n%s operator %s\n", known, demoSecond, digest(s.secondToken)), 0o600))
	}
	s.clientSecret = keep(clientFile, token)
	private := keep(signingFile, signingKey)
	public, err := publicHalf(private)
	if err != nil {
		errs = append(errs, fmt.Errorf("%s: %w; delete it, and a new one is made", s.path(signingFile), err))
	}
	s.publicKeyPEM = public
	keep(publicFile, func() string { return public })
	keep(decisionsFile, func() string { return demoDecisions })
	return s, errors.Join(errs...)
}

// demoDecisions are the shipped decisions with rests of seconds, to watch.
const demoDecisions = `[
  {"reason": "insufficient_funds", "step": "try_again", "attempts": 5, "rest_min": "1s", "rest_max": "2s", "then": "release"},
  {"reason": "scheme_error", "step": "try_again", "attempts": 3, "rest_min": "2s", "rest_max": "4s", "then": "release"},
  {"reason": "server_error", "step": "try_again", "attempts": 3, "rest_min": "2s", "rest_max": "4s", "then": "release"}
]
`

// keep reads a file, or writes what make makes, whole or not at all.
func (s secrets) keep(name string, make func() string) (string, error) {
	path := s.path(name)
	text, err := os.ReadFile(path)
	if err == nil {
		return string(text), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("cannot read %s: %w", path, err)
	}
	made := make()
	if err := os.WriteFile(path+".new", []byte(made), 0o600); err != nil {
		return "", fmt.Errorf("cannot write %s: %w; choose another folder with -dir", path, err)
	}
	return made, os.Rename(path+".new", path)
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails: it ends the program instead
	return b
}

func token() string { return "tok_" + base64.RawURLEncoding.EncodeToString(random(24)) }

func digest(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

func signingKey() string {
	key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		panic(err) // only without randomness
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		panic(err) // a key just made
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}

func publicHalf(private string) (string, error) {
	block, _ := pem.Decode([]byte(private))
	if block == nil {
		return "", errors.New("is not a PEM file")
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("holds no EC private key: %w", err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), nil
}

// runSecrets makes what is missing of a house's keys and tokens, or shows a
// token of one that has them.
func runSecrets(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("devserver secrets", flag.ContinueOnError)
	dir := flags.String("dir", "data/secrets", "folder of the keys and tokens")
	show := flags.String("show", "", "print the token of: backend, operator or second-operator")
	if err := flags.Parse(args); err != nil {
		return err
	}
	s, err := ready(*dir)
	if err != nil {
		return err
	}
	switch *show {
	case "":
		say(out, "keys and tokens are in %s", *dir)
	case "backend":
		say(out, "%s", s.backendToken)
	case "operator":
		say(out, "%s", s.operatorToken)
	case "second-operator":
		say(out, "%s", s.secondToken)
	default:
		return fmt.Errorf("-show %q: want backend, operator or second-operator", *show)
	}
	return nil
}

func newID() string { return uuid.NewString() }
