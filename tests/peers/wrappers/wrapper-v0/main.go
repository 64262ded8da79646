// Command wrapper-v0 runs HashiCorp's transit seal wrapper v0.7.0, the seal client of Vault 1.4 to
// 1.11, with the API client that it was released with (retries, renewal and parsing are that
// client's).
package main

import (
	"context"
	"io"

	"github.com/hashicorp/go-hclog"
	wrapping "github.com/hashicorp/go-kms-wrapping"
	"github.com/hashicorp/go-kms-wrapping/wrappers/transit"

	"selkie.example/peers/exercise"
)

func main() {
	exercise.Main("v0.7.0", func(log io.Writer) exercise.Wrapper {
		logger := hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Trace})
		return wrapper{transit.NewWrapper(&wrapping.WrapperOptions{Logger: logger})}
	})
}

type wrapper struct{ *transit.Wrapper }

func (w wrapper) SetConfig(fields map[string]string) error {
	_, err := w.Wrapper.SetConfig(fields)
	return err
}

func (w wrapper) Encrypt(plaintext []byte) (exercise.Sealed, error) {
	blob, err := w.Wrapper.Encrypt(context.Background(), plaintext, nil)
	if err != nil {
		return exercise.Sealed{}, err
	}
	return exercise.Sealed{Ciphertext: blob.Ciphertext, KeyID: blob.KeyInfo.KeyID}, nil
}

func (w wrapper) Decrypt(sealed exercise.Sealed) ([]byte, error) {
	blob := &wrapping.EncryptedBlobInfo{Ciphertext: sealed.Ciphertext}
	return w.Wrapper.Decrypt(context.Background(), blob, nil)
}

func (w wrapper) Finalize() error { return w.Wrapper.Finalize(context.Background()) }
