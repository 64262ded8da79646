package exercise

import (
	"flag"
	"time"
)

// arguments are the flags: the wrapper's stanza and how long to stay.
type arguments struct {
	stanza      map[string]string
	watch       time.Duration
	minRenewals int
}

// stanzaFlags maps our flags to the fields of the `seal "transit"` stanza.
var stanzaFlags = []struct{ flag, field, usage string }{
	{"address", "address", "URL of the transit server"},
	{"token", "token", "token for it"},
	{"mount", "mount_path", "mount path of its transit engine"},
	{"key", "key_name", "name of its transit key"},
	{"namespace", "namespace", "namespace, sent as a header"},
	{"ca-cert", "tls_ca_cert", "file with the CA certificate"},
	{"client-cert", "tls_client_cert", "file with the client certificate"},
	{"client-key", "tls_client_key", "file with the client's private key"},
}

func parseArguments(name string, args []string) (arguments, error) {
	parsed := arguments{stanza: map[string]string{}}
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	for _, option := range stanzaFlags {
		flags.Func(option.flag, option.usage, func(value string) error {
			parsed.stanza[option.field] = value
			return nil
		})
	}
	flags.BoolFunc("disable-renewal", "leave the token alone", func(value string) error {
		parsed.stanza["disable_renewal"] = value
		return nil
	})
	flags.DurationVar(&parsed.watch, "watch", 0, "let the token be renewed this long, then repeat")
	flags.IntVar(&parsed.minRenewals, "min-renewals", 0, "with -watch: fail after fewer renewals")
	err := flags.Parse(args)
	return parsed, err
}
