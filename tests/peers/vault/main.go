// Command vault-core is a real Vault 1.14.0 core as a program of ours: the seal client that
// Selkie's end-to-end tests run in place of the `vault server` binary, and the transit server that
// Selkie itself is a client of. Storage, barrier, seal, transit engine, unseal loop and HTTP handler
// are HashiCorp's own code; only the flags stand for the configuration file. It never ships: Vault is a dependency of the tests alone.
package main

//go:generate ./transit.sh

import (
	"flag"
	"fmt"
	"io"
	"os"
)

const usage = `usage:
  vault-core server  -listen HOST:PORT -storage DIR [-raft]
                     [-seal-type TYPE] -seal-address URL -seal-token T -seal-mount M -seal-key K
                     [-old-seal-type TYPE -old-seal-... as above] [-azure HOST:PORT] [...]
  vault-core key-ids -storage DIR [-raft]
  vault-core transit -listen HOST:PORT -storage DIR [-tls-cert FILE -tls-key FILE] [-sealed]
`

// Exit codes: 1 is what a real Vault answers to anything that keeps it from starting.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 64
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return exitUsage
	}
	switch args[0] {
	case "server":
		return report(serve(args[1:], stdout, stderr), stderr)
	case "key-ids":
		return report(printKeyIDs(args[1:], stdout, stderr), stderr)
	case "transit":
		return report(serveUpstream(args[1:], stdout, stderr), stderr)
	default:
		fmt.Fprint(stderr, usage)
		return exitUsage
	}
}

func report(err error, stderr io.Writer) int {
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(stderr, err)
	return exitFailed
}

// newFlags makes a flag set that returns its errors, so that a mistyped flag and a failed start end
// alike.
func newFlags(name string, stderr io.Writer) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	return flags
}
