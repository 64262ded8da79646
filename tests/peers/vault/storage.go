package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/hashicorp/go-hclog"
	wrapping "github.com/hashicorp/go-kms-wrapping/v2"
	"github.com/hashicorp/vault/physical/raft"
	"github.com/hashicorp/vault/sdk/physical"
	"github.com/hashicorp/vault/sdk/physical/file"
	"google.golang.org/protobuf/proto"
)

// sealedRecords are the two places where Vault keeps what its seal has encrypted.
var sealedRecords = []string{"core/hsm/barrier-unseal-keys", "core/recovery-key"}

var errNotInitialised = errors.New("no sealed keys: never initialised, or not a Vault's storage")

// openStorage opens an existing directory as `storage "file"` or `storage "raft"` does.
func openStorage(
	dir string, useRaft bool, node string, logger hclog.Logger,
) (physical.Backend, error) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("-storage %q is not a directory", dir)
	}
	conf := map[string]string{"path": dir}
	if useRaft {
		conf["node_id"] = node
		return raft.NewRaftBackend(conf, logger.Named("storage.raft"))
	}
	return file.NewFileBackend(conf, logger.Named("storage.file"))
}

// printKeyIDs prints, as JSON, under which version of the transit key each sealed record was last
// encrypted. It reads the storage directly, so no server may be running on it.
func printKeyIDs(args []string, stdout, stderr io.Writer) error {
	flags := newFlags("key-ids", stderr)
	dir := flags.String("storage", "", "directory of the storage")
	useRaft := flags.Bool("raft", false, "the storage is raft, not file")
	if err := flags.Parse(args); err != nil {
		return err
	}
	storage, err := openStorage(*dir, *useRaft, "", hclog.NewNullLogger())
	if err != nil {
		return err
	}
	ids := map[string]string{}
	for _, record := range sealedRecords {
		if err := readKeyID(storage, record, ids); err != nil {
			return err
		}
	}
	if len(ids) == 0 {
		return errNotInitialised
	}
	return json.NewEncoder(stdout).Encode(ids)
}

func readKeyID(storage physical.Backend, record string, ids map[string]string) error {
	entry, err := storage.Get(context.Background(), record)
	if err != nil || entry == nil {
		return err
	}
	var blob wrapping.BlobInfo
	if err := proto.Unmarshal(entry.Value, &blob); err != nil {
		return fmt.Errorf("%s: %w", record, err)
	}
	ids[record] = blob.GetKeyInfo().GetKeyId()
	return nil
}
