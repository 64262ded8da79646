use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// `HMAC-SHA-256[key](label ‖ 0x00 ‖ message)` (RFC 2104), the message in parts; the label keeps
/// uses of one key apart.
pub(crate) fn hmac_sha256<const PARTS: usize>(
    key: &[u8; 32],
    label: &[u8],
    message: [&[u8]; PARTS],
) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new((&*pad(key)).into());
    mac.update(label);
    mac.update(&[0]);
    for part in message {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// `HMAC-SHA-256[key](message)` (RFC 2104), for a key that has this one use.
pub(crate) fn bare_hmac_sha256(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new((&*pad(key)).into());
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// The key filled up with zeroes to SHA-256's block, which RFC 2104 §2 makes the same key.
fn pad(key: &[u8; 32]) -> Zeroizing<[u8; 64]> {
    let mut block = Zeroizing::new([0; 64]);
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    block
}
