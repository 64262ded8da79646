//! Which ciphertexts are the old server's.

use selkie_crypto::{Ciphertext, KeyVersion};

/// A nonce and a tag: the least that the transit engine makes, of an empty plaintext.
const LEAST_BYTES: usize = 12 + 16;

/// The version of `ciphertext` if it may be one of another server. What cannot be costs that server
/// no call.
pub(crate) fn foreign_version(ciphertext: Ciphertext<'_>) -> Option<KeyVersion> {
    let version = ciphertext.canonical_version()?;
    let payload = ciphertext.into_envelope_bytes().ok()?;
    is_foreign(&payload).then_some(version)
}

/// Whether `payload` may be what another server made.
pub(crate) fn is_foreign(payload: &[u8]) -> bool {
    payload.len() >= LEAST_BYTES && !is_like_ours(payload)
}

/// Whether `payload` is JSON to look at, as all our envelopes are. Of the old server's, whose bytes
/// are as good as random, less than one in 10^14 is.
pub(crate) fn is_like_ours(payload: &[u8]) -> bool {
    let is_text = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    payload.starts_with(b"{") && payload.iter().all(is_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: u32) -> KeyVersion {
        KeyVersion::new(number).unwrap()
    }

    fn judged(number: u32, payload: &[u8]) -> Option<u32> {
        let text = Ciphertext::print(version(number), payload);
        let parsed = Ciphertext::parse(&text).unwrap();
        foreign_version(parsed).map(KeyVersion::get)
    }

    #[test]
    fn what_is_long_enough_and_no_json_is_foreign() {
        assert_eq!(judged(3, &[0x8a; 28]), Some(3));
        assert_eq!(judged(3, &[0x8a; 27]), None);
    }

    #[test]
    fn a_foreign_nonce_may_begin_like_json() {
        let mut payload = [0x8a; 44];
        payload[0] = b'{';
        assert_eq!(judged(1, &payload), Some(1));
    }

    #[test]
    fn envelopes_whole_and_cut_are_never_foreign() {
        let envelope = br#"{"ciphertext":"igg3SUxN","iv":"5_rNkw7hUbXPCrMN","protected":"eyJl"}"#;
        assert_eq!(judged(1, envelope), None);
        assert_eq!(judged(1, &envelope[..40]), None);
    }

    #[test]
    fn other_spellings_of_a_version_and_bad_base64_are_never_foreign() {
        let body = "ioqKioqKioqKioqKioqKioqKioqKioqKioqKioqKig==";
        for text in ["vault:v0:", "vault:v-1:", "vault:v01:", "vault:v4294967296:", "vault:v1:!"] {
            let text = format!("{text}{body}");
            assert_eq!(foreign_version(Ciphertext::parse(&text).unwrap()), None, "{text}");
        }
        let text = format!("vault:v1:{body}");
        assert!(foreign_version(Ciphertext::parse(&text).unwrap()).is_some());
    }
}
