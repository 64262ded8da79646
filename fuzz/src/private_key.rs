use pkcs8::der::Decode as _;
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::Kdf;
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef};
use selkie_crypto::{EcPrivateKey, UnprotectError};

/// Feeds the bytes to the reader of private keys, and as a key file under a passphrase to that of
/// break-glass keys.
///
/// What is a key is one to the `pkcs8` crate too, with the same number, and its own spelling is read
/// back as the same key; a file that opens does so with its own passphrase alone, and what it may
/// cost us is bounded before any of it is paid.
pub fn private_key(data: &[u8]) -> bool {
    let is_key = agrees(data, |der| {
        let key = EcPrivateKey::from_pkcs8(der).ok()?;
        Some(key.to_pkcs8().expose_for_writing().to_vec())
    });
    key_file(data) | is_key
}

const X25519_START: usize = 16;

pub(crate) fn agrees(der: &[u8], read: impl Fn(&[u8]) -> Option<Vec<u8>>) -> bool {
    let Some(canonical) = read(der) else { return false };
    assert_eq!(read(&canonical).as_ref(), Some(&canonical), "its own spelling is another key");
    if let Ok(info) = PrivateKeyInfoRef::from_der(der) {
        let inside = info.private_key.as_bytes();
        let number = match canonical.len() {
            // RFC 8410 §7: an octet string within.
            48 => &canonical[X25519_START..],
            // RFC 5915 §3: a sequence of 1, the number, and more.
            _ => &canonical[36..68],
        };
        assert!(inside.windows(32).any(|window| window == number), "another number");
    }
    for cut in (0..der.len()).filter(|cut| *cut < 64) {
        assert!(read(&der[..cut]).is_none(), "a part of a key was one");
    }
    true
}

const PASSPHRASE: &[u8] = b"correct horse battery staple";

fn key_file(data: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(data) else { return false };
    if !is_cheap(text) {
        return false;
    }
    match EcPrivateKey::unprotect(text, PASSPHRASE) {
        Ok(key) => {
            let wrong = EcPrivateKey::unprotect(text, b"correct horse battery stapler");
            assert!(matches!(wrong, Err(UnprotectError::Passphrase | UnprotectError::Key(_))));
            let der = key.to_pkcs8();
            let again =
                EcPrivateKey::from_pkcs8(der.expose_for_writing()).expect("its own spelling");
            assert_eq!(again.public_key().spki_der(), key.public_key().spki_der());
            true
        }
        Err(_) => false,
    }
}

/// Whether opening it takes little enough for a fuzzer: what is no key file costs nothing.
fn is_cheap(text: &str) -> bool {
    let base64: String = text
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .flat_map(str::split_whitespace)
        .collect();
    let der = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, base64);
    let Ok(der) = der else { return true };
    let Ok(info) = EncryptedPrivateKeyInfoRef::from_der(&der) else { return true };
    match info.encryption_algorithm {
        EncryptionScheme::Pbes2(ref parameters) => match &parameters.kdf {
            Kdf::Pbkdf2(kdf) => kdf.iteration_count <= 64,
            Kdf::Scrypt(kdf) => {
                let cost = u64::from(kdf.block_size) * u64::from(kdf.parallelization);
                kdf.cost_parameter.saturating_mul(cost) <= 1024
            }
            _ => true,
        },
        _ => true,
    }
}
