package main

import (
	"flag"
	"fmt"

	"github.com/hashicorp/go-hclog"
	wrapping "github.com/hashicorp/go-kms-wrapping/v2"
	aead "github.com/hashicorp/go-kms-wrapping/wrappers/aead/v2"
	"github.com/hashicorp/go-kms-wrapping/wrappers/transit/v2"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/vault"
	"github.com/hashicorp/vault/vault/seal"
)

// sealOptions maps our flags to the fields of the `seal "transit"` and `seal "azurekeyvault"`
// stanzas. Before each stands "seal-", or "old-seal-" for the disabled one of a migration.
var sealOptions = []struct{ flag, field, usage string }{
	{"address", "address", "URL of the transit server"},
	{"token", "token", "token for the transit server"},
	{"mount", "mount_path", "mount path of its transit engine"},
	{"key", "key_name", "name of the key, in transit or in Key Vault"},
	{"namespace", "namespace", "namespace, sent as a header"},
	{"ca-cert", "tls_ca_cert", "file with the CA certificate"},
	{"client-cert", "tls_client_cert", "file with the client certificate"},
	{"client-key", "tls_client_key", "file with the client's private key"},
	{"server-name", "tls_server_name", "name expected in the server's certificate"},
	{"vault-name", "vault_name", "name of the vault in Azure"},
	{"resource", "resource", "DNS suffix after that name"},
}

// sealStanza is what the configuration file says in `seal "..." { ... }`.
type sealStanza struct {
	kind   string
	fields map[string]string
}

// sealFlags declares a seal's flags; only those given on the command line enter the stanza.
func sealFlags(flags *flag.FlagSet, prefix, kind string) *sealStanza {
	stanza := &sealStanza{kind: kind, fields: map[string]string{}}
	usage := "transit, azurekeyvault or shamir"
	flags.StringVar(&stanza.kind, prefix+"type", kind, usage)
	for _, option := range sealOptions {
		flags.Func(prefix+option.flag, option.usage, func(value string) error {
			stanza.fields[option.field] = value
			return nil
		})
	}
	flags.BoolFunc(prefix+"disable-renewal", "leave the token alone", func(value string) error {
		stanza.fields["disable_renewal"] = value
		return nil
	})
	return stanza
}

// newSeal goes through Vault's own set-up of a seal, test encryption included. Its error carries
// the words of `vault server`, which ends on it.
func newSeal(stanza *sealStanza, logger hclog.Logger) (vault.Seal, error) {
	logger = logger.Named("seal." + stanza.kind)
	if stanza.kind == wrapping.WrapperTypeShamir.String() {
		return vault.NewDefaultSeal(seal.NewAccess(aead.NewShamirWrapper())), nil
	}
	kms := &configutil.KMS{Type: stanza.kind, Config: stanza.fields}
	var options []wrapping.Option
	if stanza.kind == wrapping.WrapperTypeTransit.String() {
		options = append(options, transit.WithLogger(logger))
	}
	wrapper, err := configutil.ConfigureWrapper(kms, nil, nil, logger, options...)
	if err != nil {
		return nil, fmt.Errorf("Error parsing Seal configuration: %s", err)
	}
	return vault.NewAutoSeal(seal.NewAccess(wrapper))
}

// newOldSeal is the seal of the stanza with `disabled = "true"`, which a migration decrypts with;
// nil if there is none.
func newOldSeal(stanza *sealStanza, logger hclog.Logger) (vault.Seal, error) {
	if stanza.kind == "" {
		return nil, nil
	}
	return newSeal(stanza, logger)
}
