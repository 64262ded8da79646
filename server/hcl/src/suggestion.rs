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

    #[test]
    fn a_third_may_differ_and_no_more() {
        assert_eq!(closest("abcdXX", &["abcdef"]), Some("abcdef"));
        assert_eq!(closest("abcXXX", &["abcdef"]), None);
        assert_eq!(closest("abXX", &["abcdef"]), None, "four of six");
        assert_eq!(closest("abcd", &["abcdef"]), Some("abcdef"), "two of the longer one's six");
    }

    #[test]
    fn a_name_that_is_too_long_for_a_typo_is_not_compared() {
        const KNOWN: &str = "a123456789b123456789c123456789d123456789e123456789f123456789ghij";
        assert_eq!(closest(KNOWN, &[KNOWN]), Some(KNOWN), "{} bytes", KNOWN.len());
        assert_eq!(closest(&format!("{KNOWN}k"), &[KNOWN]), None);
    }
}
