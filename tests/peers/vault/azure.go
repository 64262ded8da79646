package main

import (
	"io"
	"net"
	"net/http"
	"os"
)

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
