//! The likely meaning of a typo.

use strsim::damerau_levenshtein;

/// A longer name is no typo of ours, and distance costs time in both lengths.
const LONGEST_TYPO: usize = 64;

/// The known name that `name` most likely was meant to be: a third of it may differ.
pub(crate) fn closest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    if name.len() > LONGEST_TYPO {
        return None;
    }
    known
        .iter()
        .map(|candidate| (damerau_levenshtein(name, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= name.len().max(candidate.len()) / 3)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["address", "tls_cert_file", "tls_key_file", "ui"];

    #[test]
    fn a_slip_of_the_finger_is_understood() {
        assert_eq!(closest("tls_cert_fle", KNOWN), Some("tls_cert_file"));
        assert_eq!(closest("adress", KNOWN), Some("address"));
        assert_eq!(closest("tls_keyfile", KNOWN), Some("tls_key_file"));
    }

    #[test]
    fn another_word_is_not_guessed_at() {
        assert_eq!(closest("ha", KNOWN), None);
        assert_eq!(closest("plugin_directory", KNOWN), None);
        assert_eq!(closest(&"address".repeat(100), KNOWN), None);
    }
}
