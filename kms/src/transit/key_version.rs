//! Versions of a transit key: as ids of KEKs, and as they stand in a ciphertext.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use selkie_crypto::KekId;

/// A DEK under many recipients of many envelopes within each other is still shorter.
const LONGEST_WRAPPED: usize = 256 * 1024;
/// Leaves room in a KEK id for the version.
const LONGEST_PREFIX: usize = 480;

/// The ids of a key's versions, `PREFIX/vN`. No address is in them: the key stays the same when its
/// server moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KekIds {
    prefix: String,
}

impl KekIds {
    /// Ids that begin with `prefix`, if such ids are possible.
    pub(super) fn new(prefix: &str) -> Option<Self> {
        let ids = Self { prefix: prefix.to_owned() };
        let fits = prefix.len() <= LONGEST_PREFIX && !prefix.is_empty();
        (fits && ids.id(NonZeroU32::MAX).is_some()).then_some(ids)
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The id of `version`; there is one.
    pub(super) fn id(&self, version: NonZeroU32) -> Option<KekId> {
        KekId::new(&format!("{}/v{version}", self.prefix)).ok()
    }

    /// The version that `id` means, if it is one of this key's.
    pub(super) fn version(&self, id: &KekId) -> Option<NonZeroU32> {
        number(id.as_str().strip_prefix(&self.prefix)?.strip_prefix("/v")?)
    }
}

/// The version in `ciphertext`, `vault:vN:BASE64`, if it is one that a transit engine can have made
/// of a DEK: garbage costs no call.
pub(super) fn version_of(ciphertext: &str) -> Option<NonZeroU32> {
    let (version, payload) = ciphertext.strip_prefix("vault:v")?.split_once(':')?;
    let fits = ciphertext.len() <= LONGEST_WRAPPED && !payload.is_empty();
    (fits && STANDARD.decode(payload).is_ok()).then(|| number(version))?
}

/// A number in its one spelling.
fn number(text: &str) -> Option<NonZeroU32> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    is_plain.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Option<u32> {
        version_of(text).map(NonZeroU32::get)
    }

    #[test]
    fn an_id_means_its_version_and_no_other_spelling_does() {
        let ids = KekIds::new("transit/a/b/unseal").unwrap();
        let three = NonZeroU32::new(3).unwrap();
        let id = ids.id(three).unwrap();
        assert_eq!(id.as_str(), "transit/a/b/unseal/v3");
        assert_eq!(ids.version(&id), Some(three));
        for other in [
            "transit/a/b/unseal/v03",
            "transit/a/b/unseal/v+3",
            "transit/a/b/unseal/v0",
            "transit/a/b/unseal/v",
            "transit/a/b/unseal3",
            "transit/a/b/unseal/v4294967296",
            "transit/other/v3",
            "v3",
        ] {
            assert_eq!(ids.version(&KekId::new(other).unwrap()), None, "{other}");
        }
    }

    #[test]
    fn a_prefix_is_what_an_id_can_begin_with() {
        for bad in ["", "a b", "a\"b", "ä", &"a".repeat(481)] {
            assert!(KekIds::new(bad).is_none(), "{bad}");
        }
        assert!(KekIds::new(&"a".repeat(480)).is_some());
    }

    #[test]
    fn only_what_a_transit_engine_can_have_made_has_a_version() {
        assert_eq!(version("vault:v7:YWI="), Some(7));
        for bad in [
            "",
            "vault:v7",
            "vault:v7:",
            "vault:v7:YWI",
            "vault:v7:YW-_",
            "vault:v7:YWI=\n",
            "vault:v7:YWI=:",
            "vault:v0:YWI=",
            "vault:v07:YWI=",
            "vault:v-7:YWI=",
            "vault:7:YWI=",
            "bao:v7:YWI=",
            "VAULT:v7:YWI=",
            &format!("vault:v7:{}", "A".repeat(LONGEST_WRAPPED)),
        ] {
            assert_eq!(version(bad), None, "{bad}");
        }
    }
}
