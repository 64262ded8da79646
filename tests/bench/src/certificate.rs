//! The certificate that all measured servers present, so that their handshakes cost the same.

use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{CertificateParams, DnType, KeyPair};

/// Writes a self-signed ECDSA P-256 certificate for 127.0.0.1 as `cert.pem` and its key as
/// `key.pem`.
pub(crate) fn write(directory: &Path) -> Result<()> {
    let mut parameters = CertificateParams::new(["127.0.0.1".to_owned()])?;
    parameters.distinguished_name.push(DnType::CommonName, "Selkie's benchmark");
    let key = KeyPair::generate()?;
    let certificate = parameters.self_signed(&key)?.pem();
    for (name, text) in [("cert.pem", certificate), ("key.pem", key.serialize_pem())] {
        let file = directory.join(name);
        std::fs::write(&file, text).with_context(|| file.display().to_string())?;
    }
    Ok(())
}
