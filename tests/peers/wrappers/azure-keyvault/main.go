// Command azure-keyvault runs HashiCorp's azurekeyvault seal wrapper v2.0.14, the native `seal
// "azurekeyvault"` of Vault, against an emulator: set-up with its read of the key, envelopes under
// its current version, and envelopes that were made before a rotation. It prints one JSON object
// and exits with 0 only if all was right.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"

	wrapping "github.com/hashicorp/go-kms-wrapping/v2"
	"github.com/hashicorp/go-kms-wrapping/wrappers/azurekeyvault/v2"
)

// report is what is printed.
type report struct {
	// KeyIDs are the versions under which the two envelopes were made.
	KeyIDs []string `json:"key_ids"`
}

func main() {
	vaultName := flag.String("vault-name", "kv1", "the vault")
	resource := flag.String("resource", "vault.emulator.test", "the DNS suffix after its name")
	keyName := flag.String("key-name", "selkie", "the key")
	emulator := flag.String("emulator", "", "host:port that stands for every host")
	rotate := flag.String("rotate", "", "URL to POST to for a new key version, between two envelopes")
	flag.Parse()
	fields := map[string]string{"vault_name": *vaultName, "resource": *resource, "key_name": *keyName}
	outcome, err := exercise(fields, *emulator, *rotate)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(outcome); err != nil {
		os.Exit(1)
	}
}

func exercise(fields map[string]string, emulator, rotate string) (*report, error) {
	if err := sendAllTo(emulator); err != nil {
		return nil, err
	}
	ctx := context.Background()
	wrapper := azurekeyvault.NewWrapper()
	if _, err := wrapper.SetConfig(ctx, wrapping.WithConfigMap(fields)); err != nil {
		return nil, fmt.Errorf("set-up: %w", err)
	}
	before, err := roundTrip(ctx, wrapper, []byte("made before the rotation"))
	if err != nil {
		return nil, err
	}
	if rotate != "" {
		if err := post(rotate); err != nil {
			return nil, fmt.Errorf("rotate: %w", err)
		}
	}
	after, err := roundTrip(ctx, wrapper, []byte("made after the rotation"))
	if err != nil {
		return nil, err
	}
	plaintext, err := wrapper.Decrypt(ctx, before)
	if err != nil || !bytes.Equal(plaintext, []byte("made before the rotation")) {
		return nil, fmt.Errorf("the old envelope: %q, %w", plaintext, err)
	}
	return &report{KeyIDs: []string{before.KeyInfo.KeyId, after.KeyInfo.KeyId}}, nil
}

func roundTrip(ctx context.Context, wrapper *azurekeyvault.Wrapper, plaintext []byte) (*wrapping.BlobInfo, error) {
	blob, err := wrapper.Encrypt(ctx, plaintext)
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	opened, err := wrapper.Decrypt(ctx, blob)
	if err != nil || !bytes.Equal(opened, plaintext) {
		return nil, fmt.Errorf("decrypt: %q, %w", opened, err)
	}
	return blob, nil
}
