// Command api-client calls a server with HashiCorp's plain Go API client, as operators' own
// programs do: the system paths, the token's own paths, and one transit key from its creation to
// its end.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"

	"github.com/hashicorp/vault/api"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 64
)

type settings struct {
	address, token, mount, key, caCert string
	load                               bool
}

func main() {
	var s settings
	flags := flag.NewFlagSet("api-client", flag.ContinueOnError)
	flags.StringVar(&s.address, "address", "", "URL of the server")
	flags.StringVar(&s.token, "token", "", "token for it")
	flags.StringVar(&s.mount, "mount", "transit", "mount path of its transit engine")
	flags.StringVar(&s.key, "key", "api-client", "name of a transit key to be made and deleted")
	flags.StringVar(&s.caCert, "ca-cert", "", "file with the CA certificate")
	flags.BoolVar(&s.load, "load", false, "encrypt and decrypt until SIGTERM, and nothing else")
	if err := flags.Parse(os.Args[1:]); err != nil {
		os.Exit(exitUsage)
	}
	got, err := run(s)
	if err != nil {
		got["error"] = err.Error()
	}
	if encodeErr := json.NewEncoder(os.Stdout).Encode(got); err != nil || encodeErr != nil {
		os.Exit(exitFailed)
	}
	os.Exit(exitOK)
}

// answers holds what each call returned, by the call's name.
type answers map[string]any

// call is one step; the steps run in order, up to the first error.
type call struct {
	name string
	do   func() (any, error)
}

func (a answers) take(calls []call) error {
	for _, c := range calls {
		answer, err := c.do()
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		a[c.name] = answer
	}
	return nil
}

func run(s settings) (answers, error) {
	got := answers{}
	client, err := newClient(s)
	if err != nil {
		return got, err
	}
	if s.load {
		got["load"] = load(client, s)
		return got, nil
	}
	if err := got.take(systemCalls(client, s)); err != nil {
		return got, err
	}
	if err := got.take(tokenCalls(client)); err != nil {
		return got, err
	}
	return got, got.take(keyCalls(client, s))
}

func newClient(s settings) (*api.Client, error) {
	config := api.DefaultConfig()
	if config.Error != nil {
		return nil, config.Error
	}
	config.Address = s.address
	if s.caCert != "" {
		if err := config.ConfigureTLS(&api.TLSConfig{CACert: s.caCert}); err != nil {
			return nil, err
		}
	}
	client, err := api.NewClient(config)
	if err != nil {
		return nil, err
	}
	client.SetToken(s.token)
	return client, nil
}

func systemCalls(client *api.Client, s settings) []call {
	sys := client.Sys()
	encryptPath := s.mount + "/encrypt/" + s.key
	return []call{
		{"health", func() (any, error) { return sys.Health() }},
		{"seal-status", func() (any, error) { return sys.SealStatus() }},
		{"leader", func() (any, error) { return sys.Leader() }},
		{"init", func() (any, error) { return sys.InitStatus() }},
		{"mounts", func() (any, error) { return sys.ListMounts() }},
		{"capabilities-self", func() (any, error) { return sys.CapabilitiesSelf(encryptPath) }},
	}
}

func tokenCalls(client *api.Client) []call {
	token := client.Auth().Token()
	renewable := false
	return []call{
		{"lookup-self", func() (any, error) {
			secret, err := token.LookupSelf()
			if err != nil {
				return nil, err
			}
			renewable, err = secret.TokenIsRenewable()
			return secret.Data, err
		}},
		{"renew-self", func() (any, error) {
			secret, err := token.RenewSelf(0)
			if !renewable {
				return refusal(err)
			}
			if err != nil {
				return nil, err
			}
			return secret.Auth, nil
		}},
	}
}

// refusal returns the texts of a 400: what Vault answers to the renewal of a token that does not
// expire.
func refusal(err error) ([]string, error) {
	var answer *api.ResponseError
	if errors.As(err, &answer) && answer.StatusCode == http.StatusBadRequest {
		return answer.Errors, nil
	}
	return nil, fmt.Errorf("a token that is not renewable: expected status 400, got %w", err)
}
