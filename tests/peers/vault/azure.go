package main

import (
	"flag"
	"io"
	"net"
	"net/http"
	"os"
)

// azure is where the emulator is that stands for Azure.
type azure struct{ address, authority, identity string }

func azureFlags(flags *flag.FlagSet, a *azure) {
	flags.StringVar(&a.address, "azure", "", "HOST:PORT that stands for every host of Azure")
	flags.StringVar(&a.authority, "azure-ca", "", "file with its CA certificate")
	flags.StringVar(&a.identity, "azure-identity", "", "URL of its managed identity")
}

// emulate points the Azure SDK to the emulator by the only means that it takes: its environment.
func (a *azure) emulate() error {
	if a.address == "" {
		return nil
	}
	for name, value := range map[string]string{
		"SSL_CERT_FILE":     a.authority,
		"IDENTITY_ENDPOINT": a.identity,
		"IDENTITY_HEADER":   "emulator-header",
	} {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return sendAllTo(a.address)
}

// sendAllTo makes the Azure SDK of the seal "azurekeyvault", which takes proxies from the environment, reach the emulator
// whatever host it names, so that vaults keep the names that the SDK insists on.
func sendAllTo(emulator string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() {
		_ = http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			tunnel(w, r, emulator)
		}))
	}()
	return os.Setenv("HTTPS_PROXY", "http://"+listener.Addr().String())
}

func tunnel(w http.ResponseWriter, r *http.Request, emulator string) {
	if r.Method != http.MethodConnect {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	server, err := net.Dial("tcp", emulator)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer server.Close()
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		return
	}
	client, _, err := hijacker.Hijack()
	if err != nil {
		return
	}
	defer client.Close()
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	go func() { _, _ = io.Copy(server, client) }()
	_, _ = io.Copy(client, server)
}
