// Package exercise puts a published transit seal wrapper through what a Vault does with it: set-up
// with its test encryption, encryption and decryption, and token renewal while time passes. It
// imports no HashiCorp code, so that each wrapper program is built with the API client of its own
// era.
package exercise

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"
)

// Wrapper is what the eras of the transit wrapper have in common.
type Wrapper interface {
	// SetConfig takes the fields of a `seal "transit"` stanza.
	SetConfig(fields map[string]string) error
	Encrypt(plaintext []byte) (Sealed, error)
	Decrypt(Sealed) ([]byte, error)
	// Finalize ends token renewal.
	Finalize() error
}

// Sealed is a ciphertext and the key version that the wrapper read from it.
type Sealed struct {
	Ciphertext []byte
	KeyID      string
}

// The program's exit codes.
const (
	exitOK        = 0
	exitFailed    = 1
	exitSetConfig = 2
	exitUsage     = 64
)

// plaintextSizes: Vault's test byte, a recovery key, its stored keys, and one that fills more than
// a block.
var plaintextSizes = []int{1, 32, 48, 4096}

// Report is printed as one JSON object.
type Report struct {
	Wrapper        string `json:"wrapper"`
	KeyID          string `json:"key_id,omitempty"`
	KeyIDAfter     string `json:"key_id_after_watch,omitempty"`
	RoundTrips     int    `json:"round_trips"`
	Renewals       int    `json:"renewals"`
	RenewalStopped bool   `json:"renewal_stopped"`
	Error          string `json:"error,omitempty"`
}

// Main is the whole program around one wrapper, whose log goes to the given writer. It exits with 0
// only if everything was right, with 2 if SetConfig failed (which would end a Vault server), else
// with 1.
func Main(name string, newWrapper func(log io.Writer) Wrapper) {
	args, err := parseArguments(name, os.Args[1:])
	if err != nil {
		os.Exit(exitUsage)
	}
	log := &renewalLog{to: os.Stderr}
	report := Report{Wrapper: name}
	code := run(args, newWrapper(log), log, &report)
	report.Renewals, report.RenewalStopped = log.counts()
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		code = exitFailed
	}
	os.Exit(code)
}

func run(args arguments, wrapper Wrapper, log *renewalLog, report *Report) (code int) {
	// Wrappers of the first era panic on an answer without data, and Go's exit code for a panic
	// would read as a failed SetConfig.
	defer func() {
		if cause := recover(); cause != nil {
			report.Error, code = fmt.Sprintf("panic: %v", cause), exitFailed
		}
	}()
	if err := wrapper.SetConfig(args.stanza); err != nil {
		report.Error = err.Error()
		return exitSetConfig
	}
	defer wrapper.Finalize()
	if err := work(args, wrapper, log, report); err != nil {
		report.Error = err.Error()
		return exitFailed
	}
	return exitOK
}

func work(args arguments, wrapper Wrapper, log *renewalLog, report *Report) error {
	first, err := encryptAll(wrapper)
	if err != nil {
		return err
	}
	report.KeyID = first[0].sealed.KeyID
	if err := decryptAll(wrapper, first, report); err != nil || args.watch == 0 {
		return err
	}
	time.Sleep(args.watch)
	if renewals, _ := log.counts(); renewals < args.minRenewals {
		return fmt.Errorf("%d renewals in %s, not %d", renewals, args.watch, args.minRenewals)
	}
	second, err := encryptAll(wrapper)
	if err != nil {
		return err
	}
	report.KeyIDAfter = second[0].sealed.KeyID
	return decryptAll(wrapper, append(first, second...), report)
}

type sample struct {
	plaintext []byte
	sealed    Sealed
}

func encryptAll(wrapper Wrapper) ([]sample, error) {
	samples := make([]sample, 0, len(plaintextSizes))
	for _, size := range plaintextSizes {
		plaintext := make([]byte, size)
		rand.Read(plaintext)
		sealed, err := wrapper.Encrypt(plaintext)
		if err != nil {
			return nil, fmt.Errorf("encrypt %d bytes: %w", size, err)
		}
		samples = append(samples, sample{plaintext, sealed})
	}
	return samples, nil
}

func decryptAll(wrapper Wrapper, samples []sample, report *Report) error {
	for _, s := range samples {
		opened, err := wrapper.Decrypt(s.sealed)
		if err != nil {
			return fmt.Errorf("decrypt %d bytes: %w", len(s.plaintext), err)
		}
		if !bytes.Equal(opened, s.plaintext) {
			return fmt.Errorf("decrypt %d bytes: another plaintext came back", len(s.plaintext))
		}
		report.RoundTrips++
	}
	return nil
}
