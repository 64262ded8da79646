#!/usr/bin/env bash
# Puts Vault's own transit engine where it can be built: transit/, beside this file and not in git.
#
# Of the sdk that belongs to Vault 1.14.0 the module proxy has the commit that the core is built with,
# and not the later one with `WrapKey`, which a single path of the engine calls. So the engine is
# copied from the module, file by file and unchanged, but for that path.
set -euo pipefail
cd "$(dirname "$0")"
module=$(go list -m -f '{{.Dir}}' github.com/hashicorp/vault)
rm -rf transit
mkdir transit
for file in "$module"/builtin/logical/transit/*.go; do
    case $file in
    *_test.go) ;;
    *) install -m 644 "$file" transit/ ;;
    esac
done
cat >transit/path_byok.go <<'GO'
package transit

import "github.com/hashicorp/vault/sdk/framework"

// pathBYOKExportKeys is not Vault's own: `byok-export` needs a newer sdk.
func (b *backend) pathBYOKExportKeys() *framework.Path {
	return &framework.Path{Pattern: "byok-export-is-not-built"}
}
GO
