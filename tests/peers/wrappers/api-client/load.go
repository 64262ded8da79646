package main

import (
	"context"
	"encoding/base64"
	"net/http"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/vault/api"
)

// workers is how many goroutines share the client: as many as it keeps connections on two cores, so
// that behind a round robin over three servers each of them has one.
const workers = 3

// loaded is what came of a load. A request counts once, however often the client tried it.
type loaded struct {
	Requests  int            `json:"requests"`
	Retries   int            `json:"retries"`
	Failed    map[string]int `json:"failed"`
	SlowestMS int64          `json:"slowest_ms"`
	mutex     sync.Mutex
}

// load encrypts and decrypts in turn until SIGTERM, with the client's own retries and no others.
func load(client *api.Client, s settings) *loaded {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	got := &loaded{Failed: map[string]int{}}
	client.SetCheckRetry(func(ctx context.Context, answer *http.Response, err error) (bool, error) {
		again, err := api.DefaultRetryPolicy(ctx, answer, err)
		if again {
			got.note(func() { got.Retries++ })
		}
		return again, err
	})
	var all sync.WaitGroup
	for range workers {
		all.Add(1)
		go func() {
			defer all.Done()
			got.work(ctx, client, s)
		}()
	}
	all.Wait()
	return got
}

func (l *loaded) note(what func()) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	what()
}

func (l *loaded) work(ctx context.Context, client *api.Client, s settings) {
	plain := map[string]any{"plaintext": base64.StdEncoding.EncodeToString([]byte("secret"))}
	var sealed map[string]any
	for ctx.Err() == nil {
		if sealed == nil {
			sealed = l.send(client, s.mount+"/encrypt/"+s.key, plain)
			continue
		}
		l.send(client, s.mount+"/decrypt/"+s.key, map[string]any{"ciphertext": sealed["ciphertext"]})
		sealed = nil
	}
}

func (l *loaded) send(client *api.Client, path string, body map[string]any) map[string]any {
	begun := time.Now()
	secret, err := client.Logical().Write(path, body)
	took := time.Since(begun).Milliseconds()
	l.note(func() {
		l.Requests++
		l.SlowestMS = max(l.SlowestMS, took)
		if err != nil {
			l.Failed[err.Error()]++
		}
	})
	if err != nil {
		return nil
	}
	return secret.Data
}
