// Command wrapper-v2 runs HashiCorp's transit seal wrapper v2.0.13, the seal client of Vault 1.12
// and later, with the API client that it was released with.
package main

import (
	"context"
	"io"

	"github.com/hashicorp/go-hclog"
	wrapping "github.com/hashicorp/go-kms-wrapping/v2"
	"github.com/hashicorp/go-kms-wrapping/wrappers/transit/v2"

	"selkie.example/peers/exercise"
)

func main() {
	exercise.Main("v2.0.13", func(log io.Writer) exercise.Wrapper {
		logger := hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Trace})
		return wrapper{transit.NewWrapper(), logger}
	})
}

type wrapper struct {
	*transit.Wrapper
	logger hclog.Logger
}

func (w wrapper) SetConfig(fields map[string]string) error {
	_, err := w.Wrapper.SetConfig(
		context.Background(), wrapping.WithConfigMap(fields), transit.WithLogger(w.logger))
	return err
}

func (w wrapper) Encrypt(plaintext []byte) (exercise.Sealed, error) {
	blob, err := w.Wrapper.Encrypt(context.Background(), plaintext)
	if err != nil {
		return exercise.Sealed{}, err
	}
	return exercise.Sealed{Ciphertext: blob.Ciphertext, KeyID: blob.KeyInfo.KeyId}, nil
}

func (w wrapper) Decrypt(sealed exercise.Sealed) ([]byte, error) {
	blob := &wrapping.BlobInfo{Ciphertext: sealed.Ciphertext}
	return w.Wrapper.Decrypt(context.Background(), blob)
}

func (w wrapper) Finalize() error { return w.Wrapper.Finalize(context.Background()) }
