package main

import (
	"errors"
	"fmt"

	"github.com/hashicorp/vault/api"
)

var (
	errOutlivedDelete = errors.New("the key can be read after its deletion")
	errNotListed      = errors.New("the new key is not in the list")
	errOtherPlaintext = errors.New("another plaintext came back")
)

// plaintext is as long as the keys that a Vault stores: 48 bytes, in base64 as the API wants it.
const plaintext = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVm"

// keyCalls make, list, use, rotate and delete one transit key.
func keyCalls(client *api.Client, s settings) []call {
	k := transitKey{client.Logical(), s.mount, s.key}
	return []call{
		{"key-create", func() (any, error) { return data(k.Write(k.path("keys"), nil)) }},
		{"key-read", func() (any, error) { return data(k.Read(k.path("keys"))) }},
		{"key-list", k.listed},
		{"round-trip", k.roundTrip},
		{"key-rotate", func() (any, error) { return data(k.Write(k.path("keys")+"/rotate", nil)) }},
		{"round-trip-rotated", k.roundTrip},
		{"key-config", func() (any, error) {
			return data(k.Write(k.path("keys")+"/config", map[string]any{"deletion_allowed": true}))
		}},
		{"key-delete", func() (any, error) { return data(k.Delete(k.path("keys"))) }},
		{"key-read-deleted", func() (any, error) {
			secret, err := k.Read(k.path("keys"))
			if err == nil && secret != nil {
				err = errOutlivedDelete
			}
			return nil, err
		}},
	}
}

type transitKey struct {
	*api.Logical
	mount, name string
}

func (k transitKey) path(verb string) string { return k.mount + "/" + verb + "/" + k.name }

func (k transitKey) listed() (any, error) {
	secret, err := k.List(k.mount + "/keys")
	if err != nil || secret == nil {
		return nil, errors.Join(err, errNotListed)
	}
	names, _ := secret.Data["keys"].([]any)
	for _, name := range names {
		if name == k.name {
			return names, nil
		}
	}
	return names, errNotListed
}

// roundTrip encrypts, rewraps and decrypts, and returns the rewrapped ciphertext.
func (k transitKey) roundTrip() (any, error) {
	ciphertext, err := k.exchange("encrypt", "plaintext", plaintext, "ciphertext")
	if err != nil {
		return nil, err
	}
	rewrapped, err := k.exchange("rewrap", "ciphertext", ciphertext, "ciphertext")
	if err != nil {
		return nil, err
	}
	opened, err := k.exchange("decrypt", "ciphertext", rewrapped, "plaintext")
	if err == nil && opened != plaintext {
		err = errOtherPlaintext
	}
	return rewrapped, err
}

// exchange sends one field to an operation and takes one from its answer.
func (k transitKey) exchange(operation, field, value, want string) (string, error) {
	secret, err := k.Write(k.path(operation), map[string]any{field: value})
	if err != nil {
		return "", err
	}
	if secret == nil {
		return "", fmt.Errorf("%s: no data", operation)
	}
	answer, ok := secret.Data[want].(string)
	if !ok {
		return "", fmt.Errorf("%s: no %s in the answer", operation, want)
	}
	return answer, nil
}

// data is what a call returned; some calls return nothing.
func data(secret *api.Secret, err error) (any, error) {
	if err != nil || secret == nil {
		return nil, err
	}
	return secret.Data, nil
}
