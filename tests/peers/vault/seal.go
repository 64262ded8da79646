package main

import (
	"flag"
	"fmt"

	"github.com/hashicorp/go-hclog"
	wrapping "github.com/hashicorp/go-kms-wrapping/v2"
	"github.com/hashicorp/go-kms-wrapping/wrappers/transit/v2"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/vault"
	"github.com/hashicorp/vault/vault/seal"
)

// sealOptions maps our flags to the fields of the `seal "transit"` stanza.
var sealOptions = []struct{ flag, field, usage string }{
	{"seal-address", "address", "URL of the transit server"},
	{"seal-token", "token", "token for the transit server"},
	{"seal-mount", "mount_path", "mount path of its transit engine"},
	{"seal-key", "key_name", "name of its transit key"},
	{"seal-namespace", "namespace", "namespace, sent as a header"},
	{"seal-ca-cert", "tls_ca_cert", "file with the CA certificate"},
	{"seal-client-cert", "tls_client_cert", "file with the client certificate"},
	{"seal-client-key", "tls_client_key", "file with the client's private key"},
	{"seal-server-name", "tls_server_name", "name expected in the server's certificate"},
}

// sealStanza is what the configuration file says in `seal "transit" { ... }`.
type sealStanza map[string]string

// sealFlags declares the seal's flags; only those given on the command line enter the stanza.
func sealFlags(flags *flag.FlagSet) sealStanza {
	stanza := sealStanza{}
	for _, option := range sealOptions {
		flags.Func(option.flag, option.usage, func(value string) error {
			stanza[option.field] = value
			return nil
		})
	}
	flags.BoolFunc("seal-disable-renewal", "leave the token alone", func(value string) error {
		stanza["disable_renewal"] = value
		return nil
	})
	return stanza
}

// newSeal goes through Vault's own set-up of a transit seal, test encryption included. Its error
// carries the words of `vault server`, which ends on it.
func newSeal(stanza sealStanza, logger hclog.Logger) (vault.Seal, error) {
	kms := &configutil.KMS{Type: wrapping.WrapperTypeTransit.String(), Config: stanza}
	wrapper, err := configutil.ConfigureWrapper(kms, nil, nil, logger, transit.WithLogger(logger))
	if err != nil {
		return nil, fmt.Errorf("Error parsing Seal configuration: %s", err)
	}
	return vault.NewAutoSeal(seal.NewAccess(wrapper))
}
