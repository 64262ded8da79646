//! An environment and a file system that exist only in a test.

use std::path::Path;
use std::sync::LazyLock;

use rcgen::{CertificateParams, KeyPair, SignatureAlgorithm};
use selkie_config::{Exposure, SourceError, Sources};
use zeroize::Zeroizing;

/// A certificate and the private key it is of, each in PEM.
#[expect(clippy::expect_used, reason = "a part of tests")]
fn issued(algorithm: &'static SignatureAlgorithm) -> (String, String) {
    let key = KeyPair::generate_for(algorithm).expect("a key");
    let params = CertificateParams::new(["selkie".to_owned()]).expect("a name");
    (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
}

static RSA: LazyLock<(String, String)> = LazyLock::new(|| issued(&rcgen::PKCS_RSA_SHA256));
static EC: LazyLock<(String, String)> = LazyLock::new(|| issued(&rcgen::PKCS_ECDSA_P256_SHA256));

fn joined((certificate, key): &(String, String)) -> Vec<u8> {
    format!("{certificate}{key}").into_bytes()
}

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
            "/keys/secret" => b"s3cret of the file\n".to_vec(),
            "/keys/tenant" => b"46646709-b63e-4747-be42-516edeaf1e14\n".to_vec(),
            "/keys/proxy" => b"http://user:hunter2@proxy.test:3128".to_vec(),
            "/keys/client.pem" | "/keys/exposed.pem" => joined(&RSA),
            "/keys/ec.pem" => joined(&EC),
            "/keys/no-key.pem" => RSA.0.clone().into_bytes(),
            "/keys/encrypted.pem" => {
                let key = RSA.1.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
                joined(&(RSA.0.clone(), key))
            }
            "/keys/client.pfx" => vec![0x30, 0x82, 0x0a, 0x11],
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
            "/etc/selkie/ca.pem" => Ok(format!("{}{}", RSA.0, EC.0)),
            "/etc/selkie/broken.hcl" => Ok("path \"x\" {\n  capabilites = []\n}\n".to_owned()),
            "/etc/selkie/broken.json" => Ok("{\"path\":".to_owned()),
            _ => Err(SourceError::Missing),
        }
    }

    fn exposure(&self, path: &Path) -> Option<Exposure> {
        match path.to_str()? {
            "/keys/exposed" => Some(Exposure::Everyone { mode: 0o644 }),
            "/keys/exposed.pem" => Some(Exposure::Group { mode: 0o640, group: 12 }),
            "/etc/selkie/exposed.key" => Some(Exposure::Owner { owner: 34 }),
            _ => None,
        }
    }
}
