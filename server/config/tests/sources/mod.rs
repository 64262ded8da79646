//! An environment and a file system that exist only in a test.

use std::path::Path;

use selkie_config::{SourceError, Sources};
use zeroize::Zeroizing;

/// Every key it knows is another one; `raw` and `raw_as_hex` are the same.
#[derive(Debug, Default)]
pub(crate) struct TestSources;

impl Sources for TestSources {
    fn variable(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        (name == "KEY_HEX").then(|| Zeroizing::new("a1".repeat(32).into_bytes()))
    }

    fn secret_file(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, SourceError> {
        let bytes = match path.to_str().ok_or(SourceError::Missing)? {
            "/keys/raw" => vec![0x11; 32],
            "/keys/raw_as_hex" => "11".repeat(32).into_bytes(),
            "/keys/new" => vec![0x12; 32],
            "/keys/retired" => vec![0x13; 32],
            "/keys/origin" => vec![0x14; 32],
            "/keys/exposed" => vec![0x15; 32],
            "/keys/base64" => b"ExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTFBU=\n".to_vec(),
            "/keys/printable" => vec![b'k'; 32],
            "/keys/short" => vec![0x11; 16],
            _ => return Err(SourceError::Missing),
        };
        Ok(Zeroizing::new(bytes))
    }

    fn text_file(&self, path: &Path) -> Result<String, SourceError> {
        match path.to_str().ok_or(SourceError::Missing)? {
            "/etc/selkie/shared.hcl" => {
                Ok("path \"auth/token/lookup-self\" {\n  capabilities = [\"read\"]\n}\n".to_owned())
            }
            "/etc/selkie/broken.hcl" => Ok("path \"x\" {\n  capabilites = []\n}\n".to_owned()),
            "/etc/selkie/broken.json" => Ok("{\"path\":".to_owned()),
            _ => Err(SourceError::Missing),
        }
    }

    fn is_exposed(&self, path: &Path) -> bool {
        matches!(path.to_str(), Some("/keys/exposed" | "/etc/selkie/tls.key"))
    }
}
