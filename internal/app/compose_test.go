package app

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// composeFile reads docker-compose.yml as Docker does.
func composeFile(t *testing.T) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{"../../docker-compose.yml"}, cli.WithName("payouts"), cli.WithInterpolation(true))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		t.Fatalf("docker-compose.yml: %v", err)
	}
	return project
}

// The programs of docker-compose.yml start with the configuration it gives
// them, and it gives them nothing that they do not know.
func TestComposeConfiguresThePrograms(t *testing.T) {
	project := composeFile(t)
	secrets := madeSecrets(t)
	for _, program := range Programs() {
		t.Run(string(program), func(t *testing.T) {
			service, err := project.GetService(string(program))
			if err != nil {
				t.Fatal(err)
			}
			values := map[string]string{}
			for name, value := range service.Environment {
				if value == nil {
					t.Errorf("%s: is taken from the caller's environment; give it a value or a default", name)
					continue
				}
				values[name] = strings.Replace(*value, "/data/secrets", secrets, 1)
				known := slices.ContainsFunc(Variables(), func(v Variable) bool { return v.Name == name && slices.Contains(v.Programs, program) })
				if !known {
					t.Errorf("%s: the %s knows no such variable", name, program)
				}
			}
			if _, err := Load(func(name string) string { return values[name] }, program); err != nil {
				t.Errorf("the %s would not start:\n%v", program, err)
			}
			if !slices.ContainsFunc(service.Volumes, func(v types.ServiceVolumeConfig) bool { return v.Target == "/data" && v.ReadOnly }) {
				t.Errorf("the %s does not see /data read-only, where its keys are", program)
			}
		})
	}
}

// Docker kills what takes longer to stop than it is given.
func TestComposeLetsProgramsFinish(t *testing.T) {
	requests := 10 * time.Second // what a door gives requests under way
	project := composeFile(t)
	for name, need := range map[string]time.Duration{"worker": 2 * stopWithin, "starter": requests, "gateway": requests, "postgres": requests} {
		given := project.Services[name].StopGracePeriod
		if given == nil || time.Duration(*given) < need+5*time.Second {
			t.Errorf("%s: stop_grace_period is %v; want %s and some seconds at the least", name, given, need)
		}
	}
}

func TestComposePublishesOnThisMachineOnly(t *testing.T) {
	for name, service := range composeFile(t).Services {
		for _, port := range service.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %s is open to the network", name, port.Published)
			}
		}
	}
}

// madeSecrets stands in for the files that `devserver secrets` makes.
func madeSecrets(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"seal.keys":     "k1 " + base64.StdEncoding.EncodeToString(make([]byte, 32)),
		"api.tokens":    "casino backend " + strings.Repeat("ab", 32),
		"client.secret": "secret",
		"signing.pem":   string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
