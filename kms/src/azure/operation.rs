//! The body of a wrap or an unwrap, and of its answer: neither leaves a copy of a DEK behind, nor
//! lets the DEK decide a branch or an index.
//!
//! The SDK's own models would: they keep a plain `String` and a plain `Vec`, and code base64 by
//! tables. So the request is written here into a buffer that is wiped with its last holder, and of
//! the answer the text of `value` is decoded in place. `serde_json` borrows that text; its search
//! for the closing quote and the check for UTF-8 take the same way for all of base64's characters.

use std::borrow::Cow;

use base64ct::{Base64UrlUnpadded, Encoding};
use bytes::Bytes;
use selkie_crypto::{RecipientSecret, WrapAlgorithm};
use selkie_memory::{ByteBuffer, WipedVec, wipe};
use serde::Deserialize;

use crate::http::object;

/// `{"alg":...,"value":...}`, where `value` may be a DEK.
pub(super) fn request_body(algorithm: WrapAlgorithm, value: &[u8]) -> Bytes {
    let parts = [r#"{"alg":""#, algorithm.jose_name(), r#"","value":""#];
    let encoded = Base64UrlUnpadded::encoded_len(value);
    let length = parts.iter().map(|part| part.len()).sum::<usize>() + encoded + 2;
    let mut body = WipedVec::with_capacity(length);
    for part in parts {
        body.extend_from_slice(part.as_bytes());
    }
    let written = Base64UrlUnpadded::encode(value, body.append_filled(encoded, b'='));
    debug_assert!(written.is_ok(), "the place is exactly as long as the encoding");
    body.extend_from_slice(br#""}"#);
    Bytes::from_owner(body)
}

/// The body of an answer, which is wiped when dropped if nobody else holds it.
pub(super) struct AnswerBody(Bytes);

/// Why an answer holds nothing of use; says nothing more, it may be secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnswerError {
    /// It is not an answer to a wrap or an unwrap.
    Malformed,
    /// What was unwrapped is not 32 bytes.
    OtherLength,
}

/// `{"kid":...,"value":...}`; it borrows from its [`AnswerBody`].
#[derive(Deserialize)]
pub(super) struct Answer<'a> {
    #[serde(borrow)]
    pub(super) kid: Cow<'a, str>,
    value: &'a str,
}

impl AnswerBody {
    pub(super) const fn new(body: Bytes) -> Self {
        Self(body)
    }

    pub(super) fn parse(&self) -> Result<Answer<'_>, AnswerError> {
        object(&self.0).ok_or(AnswerError::Malformed)
    }
}

impl Answer<'_> {
    #[expect(clippy::map_err_ignore, reason = "one failure, no detail")]
    pub(super) fn wrapped(&self) -> Result<Vec<u8>, AnswerError> {
        Base64UrlUnpadded::decode_vec(self.value).map_err(|_| AnswerError::Malformed)
    }

    pub(super) fn dek(&self) -> Result<RecipientSecret, AnswerError> {
        RecipientSecret::try_init_with(|dek| match Base64UrlUnpadded::decode(self.value, dek) {
            Ok(decoded) if decoded.len() == 32 => Ok(()),
            _ => Err(self.why_no_dek()),
        })
    }

    fn why_no_dek(&self) -> AnswerError {
        let mut place = WipedVec::new(vec![0; self.value.len()]);
        let decoded = Base64UrlUnpadded::decode(self.value, &mut place);
        if decoded.is_ok() { AnswerError::OtherLength } else { AnswerError::Malformed }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        if let Ok(mut body) = std::mem::take(&mut self.0).try_into_mut() {
            wipe(&mut body);
        }
    }
}

impl std::fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AnswerBody")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> AnswerBody {
        AnswerBody::new(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn request_is_the_one_that_key_vault_documents() {
        let body = request_body(WrapAlgorithm::RsaOaep256, &[0xFB, 0xFF]);
        assert_eq!(&*body, br#"{"alg":"RSA-OAEP-256","value":"-_8"}"#);
        let body = request_body(WrapAlgorithm::A256Kw, &[]);
        assert_eq!(&*body, br#"{"alg":"A256KW","value":""}"#);
    }

    fn dek(text: &str) -> Result<[u8; 32], AnswerError> {
        answer(text).parse()?.dek().map(|dek| *dek.expose_for_wrap())
    }

    #[test]
    fn only_32_bytes_are_a_dek() {
        for length in 0..70 {
            let value = Base64UrlUnpadded::encode_string(&vec![7; length]);
            let text = format!(r#"{{"kid":"k","value":"{value}"}}"#);
            let wanted = if length == 32 { Ok([7; 32]) } else { Err(AnswerError::OtherLength) };
            assert_eq!(dek(&text), wanted, "{length}");
            let answer = answer(&text);
            let parsed = answer.parse().unwrap();
            assert_eq!((&*parsed.kid, parsed.wrapped()), ("k", Ok(vec![7; length])));
        }
    }

    #[test]
    fn answers_that_are_none_are_refused() {
        let value = "A".repeat(43);
        for bad in [
            "",
            "null",
            "[]",
            "<html></html>",
            &format!(r#"["k","{value}"]"#),
            r#"{"kid":"k"}"#,
            r#"{"kid":"k","value":null}"#,
            r#"{"kid":"k","value":7}"#,
            &format!(r#"{{"value":"{value}"}}"#),
            &format!(r#"{{"kid":"k","value":"{value}"#),
            &format!(r#"{{"kid":"k","value":"{value}="}}"#),
            &format!(r#"{{"kid":"k","value":"{}+"}}"#, &value[1..]),
            &format!(r#"{{"kid":"k","value":"{}B"}}"#, &value[1..]),
            &format!(r#"{{"kid":"k","value":"{value}","value":"{value}"}}"#),
        ] {
            assert_eq!(dek(bad), Err(AnswerError::Malformed), "{bad}");
        }
        let surrounded = format!(r#"{{"aad":null,"value":"{value}","tag":"","kid":"k"}}"#);
        assert_eq!(dek(&surrounded), Ok([0; 32]));
    }

    #[test]
    fn body_of_an_answer_is_never_printed() {
        assert_eq!(format!("{:?}", answer("secret")), "AnswerBody");
    }
}
