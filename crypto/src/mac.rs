use hmac::{Hmac, KeyInit, Mac};
use selkie_memory::{PageError, SecretPage, with_scrubbed_bytes};
use sha2::Sha256;
use sha2::block_api::compress256;
use zeroize::Zeroizing;

/// SHA-256's (FIPS 180-4 §5.3.3).
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];
const BLOCK_BYTES: usize = 64;
const HASH_BYTES: usize = 32;
/// Of one MAC: two states and a block, less than 1 KiB.
const STACK_BYTES: usize = 2048;

/// A key for HMAC-SHA-256 that has been taken in already, for whoever makes many MACs under it: each
/// costs two compressions less. What is kept is as good as the key, and lies where that would.
pub(crate) struct Absorbed(SecretPage<{ 2 * HASH_BYTES }>);

impl Absorbed {
    /// Takes in the key that `fill` writes in place.
    ///
    /// # Errors
    ///
    /// [`PageError`] when there is no page to hold it.
    pub(crate) fn init_with(fill: impl FnOnce(&mut [u8; 32])) -> Result<Self, PageError> {
        SecretPage::new(|page: &mut [u8; 2 * HASH_BYTES]| {
            if let Some(key) = page.first_chunk_mut() {
                fill(key);
            }
            with_scrubbed_bytes::<STACK_BYTES, _>(|| {
                // RFC 2104 §2: the inner and the outer pad.
                let states = [0x36, 0x5c].map(|pad| after(&INITIAL, &padded(page, pad)));
                let (words, _) = page.as_chunks_mut();
                let states = states.as_flattened().iter();
                words.iter_mut().zip(states).for_each(|(to, from)| *to = from.to_be_bytes());
            });
        })
        .map(Self)
    }

    /// The same as [`hmac_sha256`] under the key.
    pub(crate) fn mac<const PARTS: usize>(
        &self,
        label: &[u8],
        message: [&[u8]; PARTS],
    ) -> [u8; HASH_BYTES] {
        with_scrubbed_bytes::<STACK_BYTES, _>(|| {
            let mut hash = Hash::resume(self.state(0));
            hash.update(label);
            hash.update(&[0]);
            message.iter().for_each(|part| hash.update(part));
            let inner = hash.finish();
            let mut hash = Hash::resume(self.state(1));
            hash.update(&inner);
            hash.finish()
        })
    }

    /// The inner state, then the outer.
    fn state(&self, which: usize) -> [u32; 8] {
        let (words, _) = self.0.expose().as_chunks();
        let mut state = [0; 8];
        let words = words.iter().skip(which.saturating_mul(state.len()));
        state.iter_mut().zip(words).for_each(|(to, from)| *to = u32::from_be_bytes(*from));
        state
    }
}

/// SHA-256 that goes on after one block.
struct Hash {
    state: [u32; 8],
    /// The start of an incomplete block; `bytes` says how long it is.
    begun: [u8; BLOCK_BYTES],
    bytes: usize,
}

impl Hash {
    const fn resume(state: [u32; 8]) -> Self {
        Self { state, begun: [0; BLOCK_BYTES], bytes: BLOCK_BYTES }
    }

    fn update(&mut self, mut part: &[u8]) {
        let at = self.bytes % BLOCK_BYTES;
        self.bytes = self.bytes.saturating_add(part.len());
        if at > 0 {
            let room = self.begun.get_mut(at..).unwrap_or_default();
            let (now, later) = part.split_at(room.len().min(part.len()));
            room.iter_mut().zip(now).for_each(|(to, from)| *to = *from);
            if now.len() < room.len() {
                return;
            }
            compress256(&mut self.state, &[self.begun]);
            part = later;
        }
        let (blocks, rest) = part.as_chunks();
        compress256(&mut self.state, blocks);
        self.begun.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    }

    /// FIPS 180-4 §5.1.1: a bit, zeroes, and the length in bits.
    fn finish(mut self) -> [u8; HASH_BYTES] {
        let bits = u64::try_from(self.bytes).unwrap_or(u64::MAX).saturating_mul(8);
        let at = self.bytes % BLOCK_BYTES;
        let mut last = [[0; BLOCK_BYTES]; 2];
        for (to, from) in last.as_flattened_mut().iter_mut().zip(self.begun.iter().take(at)) {
            *to = *from;
        }
        let blocks = if at < BLOCK_BYTES - 8 { 1 } else { 2 };
        let last = last.get_mut(..blocks).unwrap_or_default();
        if let Some(end) = last.as_flattened_mut().get_mut(at) {
            *end = 0x80;
        }
        if let Some(length) = last.as_flattened_mut().last_chunk_mut() {
            *length = bits.to_be_bytes();
        }
        compress256(&mut self.state, last);
        bytes_of(&self.state)
    }
}

fn after(state: &[u32; 8], block: &[u8; BLOCK_BYTES]) -> [u32; 8] {
    let mut state = *state;
    compress256(&mut state, &[*block]);
    state
}

/// The key that `page` begins with.
fn padded(page: &[u8; 2 * HASH_BYTES], pad: u8) -> [u8; BLOCK_BYTES] {
    let mut block = [pad; BLOCK_BYTES];
    block.iter_mut().zip(page.iter().take(32)).for_each(|(to, from)| *to ^= from);
    block
}

fn bytes_of(state: &[u32; 8]) -> [u8; HASH_BYTES] {
    let mut bytes = [0; HASH_BYTES];
    let (words, _) = bytes.as_chunks_mut();
    words.iter_mut().zip(state).for_each(|(to, from)| *to = from.to_be_bytes());
    bytes
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
