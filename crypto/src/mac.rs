//! HMAC under a key that is taken in once, for whoever makes many.

use hmac::{Hmac, KeyInit, Mac};
use selkie_memory::{PageError, SecretPage, with_scrubbed_bytes};
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Of a hash that was begun, as `sha2` writes it.
const BEGUN_BYTES: usize = size_of::<SerializedState<Sha256>>();
/// Of one MAC: two hashes and what they are read from, less than 1 KiB.
const STACK_BYTES: usize = 2048;

/// A key for HMAC-SHA-256 that has been taken in already, for whoever makes many MACs under it: each
/// costs two compressions less. What is kept is as good as the key, and lies as it does.
pub(crate) struct Absorbed {
    key: SecretPage<32>,
    /// SHA-256 after the inner pad (RFC 2104 §2).
    inner: SecretPage<BEGUN_BYTES>,
    /// And after the outer.
    outer: SecretPage<BEGUN_BYTES>,
}

impl Absorbed {
    /// Takes in the key that `fill` writes in place.
    ///
    /// # Errors
    ///
    /// [`PageError`] when there is no page to hold it.
    pub(crate) fn init_with(fill: impl FnOnce(&mut [u8; 32])) -> Result<Self, PageError> {
        let key = SecretPage::new(fill)?;
        let [inner, outer] = [0x36, 0x5c].map(|pad| begin(key.expose(), pad));
        Ok(Self { inner: inner?, outer: outer?, key })
    }

    pub(crate) fn expose(&self) -> &[u8; 32] {
        self.key.expose()
    }

    /// The same as [`hmac_sha256`] under the key.
    pub(crate) fn mac<const PARTS: usize>(
        &self,
        label: &[u8],
        message: [&[u8]; PARTS],
    ) -> [u8; 32] {
        with_scrubbed_bytes::<STACK_BYTES, _>(|| {
            let begun =
                [&self.inner, &self.outer].map(|page| Sha256::deserialize(page.expose().into()));
            let [Ok(mut inner), Ok(outer)] = begun else {
                // Never, as `sha2` has written both; and the key itself says the same.
                return hmac_sha256(self.key.expose(), label, message);
            };
            inner.update(label);
            inner.update([0]);
            message.iter().for_each(|part| inner.update(part));
            outer.chain_update(inner.finalize()).finalize().into()
        })
    }
}

/// SHA-256 after the key, with each byte changed by `pad`.
fn begin(key: &[u8; 32], byte: u8) -> Result<SecretPage<BEGUN_BYTES>, PageError> {
    SecretPage::new(|page| {
        with_scrubbed_bytes::<STACK_BYTES, _>(|| {
            let mut block = pad(key);
            block.iter_mut().for_each(|to| *to ^= byte);
            let hash = Sha256::new_with_prefix(&block);
            page.copy_from_slice(&hash.serialize());
        });
    })
}

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn absorbed(key: &[u8; 32]) -> Absorbed {
        Absorbed::init_with(|page| *page = *key).unwrap()
    }

    #[test]
    fn an_absorbed_key_makes_the_same_macs_at_every_length() {
        let (key, message) = ([7; 32], [0xa5; 300]);
        let absorbed = absorbed(&key);
        for length in 0..=message.len() {
            let message = &message[..length];
            assert_eq!(
                absorbed.mac(b"label", [message]),
                hmac_sha256(&key, b"label", [message]),
                "{length}"
            );
        }
    }

    proptest! {
        #[test]
        fn an_absorbed_key_makes_the_same_macs_wherever_the_message_is_cut(
            key: [u8; 32],
            label in proptest::collection::vec(any::<u8>(), 0..90),
            parts: [Vec<u8>; 3],
        ) {
            let parts = parts.each_ref().map(Vec::as_slice);
            prop_assert_eq!(absorbed(&key).mac(&label, parts), hmac_sha256(&key, &label, parts));
        }
    }
}
