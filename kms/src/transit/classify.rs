//! What an answer means that is no success: from its status and Vault's `errors` to a diagnosis.
//!
//! Of the texts only what is known is looked for; none is kept.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, Response, StatusCode};
use serde::Deserialize;

use super::{TransitDiagnosis, TransitHop, TransitOutcome};
use crate::KmsError;
use crate::http::{HttpError, HttpHop, HttpReason, object, tls_word};

/// No `Retry-After` makes us wait longer.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What the server answered to a call for `hop`.
pub(super) fn refusal(answer: &Response<bytes::Bytes>, hop: TransitHop, host: &str) -> KmsError {
    let outcome = outcome(answer.status(), &Errors::read(answer.body()), hop);
    let status = Some(answer.status().as_u16());
    let diagnosis = TransitDiagnosis { hop, outcome, host: host.to_owned(), status, tls: None };
    diagnosis.into_error(retry_after(answer.headers()))
}

/// What a call for `exchange` met that brought no whole answer.
pub(super) fn on_the_way(error: &HttpError, exchange: TransitHop) -> TransitDiagnosis {
    let hop = match error.hop {
        HttpHop::Dns => TransitHop::Dns,
        HttpHop::Tcp => TransitHop::Tcp,
        HttpHop::Proxy => TransitHop::Proxy,
        HttpHop::Tls => TransitHop::Tls,
        HttpHop::Request | HttpHop::Exchange => exchange,
    };
    let (status, tls) = match &error.reason {
        HttpReason::ProxyStatus(status) => (Some(*status), None),
        HttpReason::Tls(reason) => (None, tls_word(reason)),
        _ => (None, None),
    };
    let outcome = match &error.reason {
        HttpReason::TimedOut => TransitOutcome::TimedOut,
        HttpReason::NameNotResolved(_) => TransitOutcome::NameNotResolved,
        HttpReason::Io(_) | HttpReason::Cut(_) => TransitOutcome::NotConnected,
        HttpReason::Tls(_) => TransitOutcome::TlsFailed,
        HttpReason::ProxyStatus(_) => TransitOutcome::ProxyRefused,
        HttpReason::NotHttp(_)
        | HttpReason::TooLarge
        | HttpReason::OtherScheme
        | HttpReason::UnfitUrl
        | HttpReason::UnfitHeader
        | HttpReason::StreamedBody => TransitOutcome::AnswerWrong,
    };
    TransitDiagnosis { hop, outcome, host: error.host.clone(), status, tls }
}

/// Vault's `{"errors":[...]}`.
#[derive(Default, Deserialize)]
struct Errors {
    errors: Option<Vec<String>>,
}

impl Errors {
    fn read(body: &[u8]) -> Self {
        object(body).unwrap_or_default()
    }

    /// Whether the answer is in Vault's form, and not a page of whatever stands before it.
    const fn are_vaults(&self) -> bool {
        self.errors.is_some()
    }

    fn tell(&self, part: &str) -> bool {
        self.errors.iter().flatten().any(|text| text.contains(part))
    }

    fn first_of(&self, table: &[(&str, TransitOutcome)]) -> Option<TransitOutcome> {
        table.iter().find(|(part, _)| self.tell(part)).map(|(_, outcome)| *outcome)
    }
}

/// Texts that mean the same whatever was asked.
const OF_THE_KEY: [(&str, TransitOutcome); 15] = [
    ("encryption key not found", TransitOutcome::KeyMissing),
    ("no such key version", TransitOutcome::VersionMissing),
    ("version is too new", TransitOutcome::VersionMissing),
    ("higher than the latest key version", TransitOutcome::VersionMissing),
    ("disallowed by policy (too old)", TransitOutcome::VersionDisallowed),
    ("less than the minimum encryption key version", TransitOutcome::VersionDisallowed),
    ("soft-deleted", TransitOutcome::VersionDisallowed),
    ("not supported for key type", TransitOutcome::KeyUnsuitable),
    ("missing 'context' for key derivation", TransitOutcome::KeyUnsuitable),
    ("missing client token", TransitOutcome::TokenMissing),
    ("namespace not found", TransitOutcome::MountMissing),
    ("unsupported path", TransitOutcome::MountMissing),
    // Another Selkie's, of its own master key.
    ("the master key cannot be used: its KMS denies access", TransitOutcome::MasterKeyDenied),
    ("the master key cannot be used", TransitOutcome::MasterKeyUnusable),
    ("the version of this key is unknown", TransitOutcome::MasterKeyUnusable),
];

/// What a decrypt answers with 400, and Vault 1.6 to 1.9 with 500, of a ciphertext that is wrong.
const OF_A_CIPHERTEXT: [&str; 3] =
    ["message authentication failed", "unable to decrypt", "failed to RSA decrypt"];

fn outcome(status: StatusCode, errors: &Errors, hop: TransitHop) -> TransitOutcome {
    match status.as_u16() {
        300..=399 => TransitOutcome::RedirectRefused,
        429 => TransitOutcome::Throttled,
        412 | 472 | 473 => TransitOutcome::Standby,
        401 => TransitOutcome::TokenRefused,
        403 => forbidden(errors),
        500 if hop == TransitHop::Decrypt && is_of_a_ciphertext(errors) => {
            TransitOutcome::RequestRejected
        }
        503 if errors.tell("sealed") => TransitOutcome::Sealed,
        408 | 500.. => TransitOutcome::Outage,
        // A proxy's 400 or 404 says nothing about a key or a ciphertext.
        _ if !errors.are_vaults() => TransitOutcome::AnswerWrong,
        400 => bad_request(errors, hop),
        404 => not_found(errors, hop),
        405 => TransitOutcome::MountMissing,
        _ => TransitOutcome::AnswerWrong,
    }
}

fn is_of_a_ciphertext(errors: &Errors) -> bool {
    OF_A_CIPHERTEXT.iter().any(|part| errors.tell(part))
}

/// Vault's word for a token that is none is bare; for one without the right, it is a list.
fn forbidden(errors: &Errors) -> TransitOutcome {
    match () {
        () if !errors.are_vaults() => TransitOutcome::Forbidden,
        () if errors.tell("1 error occurred") => TransitOutcome::PolicyMissing,
        () => TransitOutcome::TokenRefused,
    }
}

fn bad_request(errors: &Errors, hop: TransitHop) -> TransitOutcome {
    match (errors.first_of(&OF_THE_KEY), hop) {
        (Some(outcome), _) => outcome,
        (None, TransitHop::Token) => TransitOutcome::TokenNotRenewable,
        // Whatever else it finds fault with, it is what a client sent: anyone can forge that.
        (None, TransitHop::Decrypt) => TransitOutcome::RequestRejected,
        (None, _) => TransitOutcome::AnswerWrong,
    }
}

fn not_found(errors: &Errors, hop: TransitHop) -> TransitOutcome {
    let nothing_said = errors.errors.as_ref().is_some_and(Vec::is_empty);
    match errors.first_of(&OF_THE_KEY) {
        Some(outcome) => outcome,
        None if errors.tell("no handler for route") => TransitOutcome::MountMissing,
        None if nothing_said && hop == TransitHop::ReadKey => TransitOutcome::KeyMissing,
        None => TransitOutcome::AnswerWrong,
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use TransitHop::{Decrypt, Encrypt, ReadKey, Token};
    use TransitOutcome as O;

    fn seen(hop: TransitHop, status: u16, body: &str) -> O {
        let answer = Response::builder().status(status);
        let answer = answer.body(Bytes::copy_from_slice(body.as_bytes())).unwrap();
        let error = refusal(&answer, hop, "vault.test");
        let diagnosis = TransitDiagnosis::of(&error).unwrap();
        assert_eq!((diagnosis.hop, diagnosis.status), (hop, Some(status)));
        assert_eq!(diagnosis.host, "vault.test");
        diagnosis.outcome
    }

    fn errors(text: &str) -> String {
        serde_json::json!({ "errors": [text] }).to_string()
    }

    fn list(text: &str) -> String {
        errors(&format!("1 error occurred:\n\t* {text}\n\n"))
    }

    #[test]
    fn ciphertext_that_does_not_open_is_rejected_in_the_words_of_every_era() {
        for (status, body) in [
            (400, errors("cipher: message authentication failed")),
            (400, errors("chacha20poly1305: message authentication failed")),
            (400, errors("invalid ciphertext: unable to decrypt")),
            (500, list("cipher: message authentication failed")),
            (500, list("failed to RSA decrypt the ciphertext: crypto/rsa: decryption error")),
            (400, errors("invalid ciphertext: no prefix")),
            (400, errors("invalid ciphertext: could not decode base64")),
            (400, errors("words that nobody knows yet")),
        ] {
            assert_eq!(seen(Decrypt, status, &body), O::RequestRejected, "{body}");
        }
        let body = list("cipher: message authentication failed");
        assert_eq!(seen(Encrypt, 500, &body), O::Outage);
        assert_eq!(seen(Encrypt, 400, &errors("words that nobody knows yet")), O::AnswerWrong);
    }

    #[test]
    fn refusals_of_token_policy_key_and_mount_are_told_apart() {
        for (hop, status, body, wanted) in [
            (Encrypt, 403, errors("permission denied"), O::TokenRefused),
            (Encrypt, 403, list("permission denied"), O::PolicyMissing),
            (Encrypt, 403, "<html>WAF</html>".to_owned(), O::Forbidden),
            (Encrypt, 400, errors("missing client token"), O::TokenMissing),
            (Decrypt, 400, errors("encryption key not found"), O::KeyMissing),
            (ReadKey, 404, r#"{"errors":[]}"#.to_owned(), O::KeyMissing),
            (Encrypt, 404, errors("no handler for route 'transit/encrypt/x'"), O::MountMissing),
            (Encrypt, 404, list("unsupported path"), O::MountMissing),
            (Encrypt, 405, list("unsupported operation"), O::MountMissing),
            (Decrypt, 400, errors("invalid ciphertext: version is too new"), O::VersionMissing),
            (
                Decrypt,
                400,
                errors("ciphertext or signature version is disallowed by policy (too old)"),
                O::VersionDisallowed,
            ),
            (
                Encrypt,
                400,
                errors("message encryption not supported for key type ed25519"),
                O::KeyUnsuitable,
            ),
            (Token, 400, errors("invalid lease ID"), O::TokenNotRenewable),
            (
                Decrypt,
                400,
                errors("the master key cannot be used: its KMS denies access"),
                O::MasterKeyDenied,
            ),
            (
                Decrypt,
                400,
                errors("the master key cannot be used: it is disabled or expired"),
                O::MasterKeyUnusable,
            ),
            (
                Encrypt,
                400,
                errors(
                    "the version of this key is unknown: grant the right to list the master key's \
                     versions, or declare version = N for the key",
                ),
                O::MasterKeyUnusable,
            ),
        ] {
            assert_eq!(seen(hop, status, &body), wanted, "{body}");
        }
    }

    #[test]
    fn what_passes_by_itself_is_told_apart() {
        for (status, body, wanted) in [
            (429, errors("rate limit quota exceeded"), O::Throttled),
            (503, errors("Vault is sealed"), O::Sealed),
            (503, errors("no master key answers"), O::Outage),
            (502, "<html>".to_owned(), O::Outage),
            (473, String::new(), O::Standby),
            (472, String::new(), O::Standby),
            (412, errors("required index state not present"), O::Standby),
            (307, String::new(), O::RedirectRefused),
            (404, "<html>nginx</html>".to_owned(), O::AnswerWrong),
            (400, "<html>nginx</html>".to_owned(), O::AnswerWrong),
            (204, String::new(), O::AnswerWrong),
            (418, errors("teapot"), O::AnswerWrong),
        ] {
            assert_eq!(seen(Decrypt, status, &body), wanted, "{status} {body}");
        }
    }

    #[test]
    fn retry_after_is_believed_for_a_minute_at_most() {
        for (given, wanted) in [("7", Some(7)), ("100000", Some(60)), ("soon", None), ("-1", None)]
        {
            let answer = Response::builder().status(429).header(RETRY_AFTER, given);
            let answer = answer.body(Bytes::new()).unwrap();
            let KmsError::Throttled { retry_after, .. } = refusal(&answer, Encrypt, "h") else {
                panic!("{given}");
            };
            assert_eq!(retry_after, wanted.map(Duration::from_secs), "{given}");
        }
    }
}
