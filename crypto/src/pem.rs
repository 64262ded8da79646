//! PEM (RFC 7468) of what is no secret: one object, without headers.

use crate::base64::{decode_public, encode_public};

const LINE: usize = 64;

/// `der` under `label`, in lines that each end with a line feed.
pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    let base64 = encode_public(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for (index, letter) in base64.chars().enumerate() {
        if index > 0 && index.is_multiple_of(LINE) {
            text.push('\n');
        }
        text.push(letter);
    }
    text.push_str(&format!("\n-----END {label}-----\n"));
    text
}

/// The DER that stands under `label`, alone but for white space; `None` for anything else.
pub(crate) fn decode(label: &str, text: &str) -> Option<Vec<u8>> {
    let inside = text
        .trim()
        .strip_prefix(&format!("-----BEGIN {label}-----"))?
        .strip_suffix(&format!("-----END {label}-----"))?;
    let base64: String = inside.split_ascii_whitespace().collect();
    decode_public(base64.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_decoded_whatever_ends_its_lines() {
        for length in 0..200 {
            let der: Vec<u8> = (0..=u8::MAX).cycle().take(length).collect();
            let text = encode("PUBLIC KEY", &der);
            assert!(text.lines().all(|line| line.len() <= 64));
            assert_eq!(decode("PUBLIC KEY", &text).unwrap(), der);
            assert_eq!(decode("PUBLIC KEY", &text.replace('\n', "\r\n")).unwrap(), der);
        }
    }

    #[test]
    fn another_label_a_second_object_and_noise_are_refused() {
        let text = encode("PUBLIC KEY", b"abc");
        assert!(decode("PUBLIC KEY", &text).is_some(), "control");
        assert_eq!(decode("PRIVATE KEY", &text), None);
        for bad in [text.repeat(2), format!("{text}x"), text.replace("YWJj", "YWJ*"), String::new()]
        {
            assert_eq!(decode("PUBLIC KEY", &bad), None, "{bad}");
        }
    }

    #[test]
    fn lines_are_full_but_the_last_and_stand_between_the_labels() {
        for length in [0, 1, 48, 49, 96, 100, 144] {
            let text = encode("PUBLIC KEY", &vec![0xA5; length]);
            let lines: Vec<_> = text.lines().collect();
            let [first, inside @ .., last] = &lines[..] else { panic!("{text}") };
            assert_eq!((*first, *last), ("-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"));
            assert_eq!(inside.len(), length.div_ceil(48).max(1), "{text}");
            let full = inside.iter().rev().skip(1);
            assert!(full.into_iter().all(|line| line.len() == LINE), "{text}");
        }
    }
}
