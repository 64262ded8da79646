package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/vault"
	"selkie.example/peers/vault-core/transit"
)

// shamir is what an operator of a Vault without auto-unseal holds: one key share and the root token.
type shamir struct {
	Share string `json:"share"`
	Root  string `json:"root"`
}

// engines are the secrets engines beside those inside the core.
var engines = map[string]logical.Factory{"transit": transit.Factory}

// serveUpstream runs a Vault that others unseal against: the real transit engine at `transit/`, in a
// real core with its tokens, policies and quotas. It initialises itself on an empty storage with one
// key share, which it keeps beside the storage, and unseals itself with it at each start, unless it
// is to stay sealed.
func serveUpstream(args []string, stdout, stderr io.Writer) error {
	flags := newFlags("transit", stderr)
	listen := flags.String("listen", "127.0.0.1:0", "address of the API")
	storageDir := flags.String("storage", "", "directory of the storage")
	tls := tlsFiles{}
	flags.StringVar(&tls.certificate, "tls-cert", "", "file with the certificate; plain HTTP without")
	flags.StringVar(&tls.key, "tls-key", "", "file with its private key")
	sealed := flags.Bool("sealed", false, "stay sealed")
	logLevel := flags.String("log-level", "warn", "trace, debug, info, warn or error")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, stop := untilSignalled()
	defer stop()
	logger := hclog.New(&hclog.LoggerOptions{
		Output: stderr, Level: hclog.LevelFromString(*logLevel),
	})
	if err := os.MkdirAll(*storageDir, 0o700); err != nil {
		return fmt.Errorf("Error initializing storage: %w", err)
	}
	storage, err := openStorage(*storageDir, false, "", logger)
	if err != nil {
		return fmt.Errorf("Error initializing storage: %w", err)
	}
	s := settings{listen: *listen, storage: *storageDir, tls: tls}
	prepare := func(core *vault.Core, url string) (string, error) {
		held, err := operate(ctx, core, *storageDir+".shamir", *sealed)
		if err != nil || *sealed {
			return "", err
		}
		return held.Root, mountTransit(url, held.Root)
	}
	return serveCore(ctx, s, storage, seals{}, logger, stdout, prepare)
}

// operate does what the operator would: initialise once, unseal each time.
func operate(
	ctx context.Context, core *vault.Core, file string, sealed bool,
) (held shamir, err error) {
	text, err := os.ReadFile(file)
	switch {
	case err == nil:
		if err := json.Unmarshal(text, &held); err != nil {
			return held, err
		}
	case errors.Is(err, os.ErrNotExist):
		if held, err = initialise(ctx, core, file); err != nil {
			return held, err
		}
	default:
		return held, err
	}
	if sealed {
		return held, nil
	}
	share, err := hex.DecodeString(held.Share)
	if err != nil {
		return held, err
	}
	if _, err := core.Unseal(share); err != nil {
		return held, err
	}
	for core.Sealed() || !isActive(core) {
		time.Sleep(20 * time.Millisecond)
	}
	return held, nil
}

func isActive(core *vault.Core) bool {
	standby, err := core.Standby()
	return err == nil && !standby
}

func initialise(ctx context.Context, core *vault.Core, file string) (shamir, error) {
	result, err := core.Initialize(ctx, &vault.InitParams{
		BarrierConfig: &vault.SealConfig{SecretShares: 1, SecretThreshold: 1},
	})
	if err != nil {
		return shamir{}, err
	}
	held := shamir{Share: hex.EncodeToString(result.SecretShares[0]), Root: result.RootToken}
	text, err := json.Marshal(held)
	if err != nil {
		return held, err
	}
	return held, os.WriteFile(file, text, 0o600)
}

// mountTransit mounts the engine over the API, as an operator would; that it is there already is
// well.
func mountTransit(url, root string) error {
	body := bytes.NewReader([]byte(`{"type":"transit"}`))
	request, err := http.NewRequest(http.MethodPost, url+"/v1/sys/mounts/transit", body)
	if err != nil {
		return err
	}
	request.Header.Set("X-Vault-Token", root)
	answer, err := itself.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	if answer.StatusCode == http.StatusNoContent || bytes.Contains(text, []byte("already in use")) {
		return nil
	}
	return fmt.Errorf("mounting transit: %s: %s", answer.Status, text)
}
