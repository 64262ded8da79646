//! The table: what was seen, and what it means.

use std::collections::BTreeSet;
use std::io;
use std::mem::discriminant;
use std::time::{Duration, SystemTime};

use azure_core::error::{Error, ErrorKind};
use azure_core::http::RawResponse;
use azure_core::http::headers::Headers;

use super::fake::{HOST, NOW, failure as body};
use crate::KmsError;
use crate::azure::classify::failure;
use crate::azure::{Diagnosis, Hop, Outcome};
use crate::http::{HttpError, HttpHop, HttpReason};

/// As vaults and managed HSMs have said of good tokens.
pub(super) const UNVERIFIED: [&str; 2] = [
    "AKV10046: Unable to resolve the key used for signature validation. EncodedJwtHeader: 'ey'.",
    "Token not yet valid (Activity ID: 11111111-2222-3333-4444-555555555555)",
];

const OF_MANAGED_HSM: &str = "Not authorized to access Microsoft.KeyVault/managedHsm/keys/\
                              unwrap/action on /keys/kek (Activity ID: 1)";

const REQUEST: &str = "11111111-2222-3333-4444-555555555555";

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Error {
    let mut all = Headers::new();
    all.insert("x-ms-request-id", REQUEST);
    for (name, value) in headers {
        all.insert(*name, *value);
    }
    let response = RawResponse::from_bytes(status.into(), all, body.to_owned());
    let raw_response = Some(Box::new(response));
    ErrorKind::HttpResponse { status: status.into(), error_code: None, raw_response }.into_error()
}

fn key_vault(status: u16, code: &str, inner: Option<&str>, message: &str) -> Error {
    answer(status, &[], &body(code, inner, message).to_string())
}

fn forbidden(inner: &str) -> Error {
    // What makes the SDK's own parser give up: an escape in the message.
    key_vault(403, "Forbidden", Some(inner), "Caller is not \"it\".\r\nCaller: appid=1")
}

fn told(message: &str) -> Error {
    key_vault(403, "Forbidden", None, message)
}

fn http(hop: HttpHop, reason: HttpReason) -> Error {
    Error::new(ErrorKind::Connection, HttpError { hop, host: "there".to_owned(), reason })
}

fn identity(hop: Hop, outcome: Outcome) -> Error {
    Error::new(ErrorKind::Credential, Diagnosis::unanswered(hop, outcome, "login"))
        .with_context("non-transport error occurred which will not be retried")
}

fn refused() -> io::Error {
    io::ErrorKind::ConnectionRefused.into()
}

type Row = (Error, Outcome, KmsError);

/// What an unwrap met, and what it means.
fn table() -> Vec<Row> {
    let denied = || KmsError::Denied(None);
    let disabled = || KmsError::Disabled(None);
    let mut rows = answers();
    rows.extend(failures_on_the_way());
    rows.extend(denials().into_iter().map(|(error, outcome)| (error, outcome, denied())));
    rows.extend(unusable().into_iter().map(|(error, outcome)| (error, outcome, disabled())));
    rows
}

fn answers() -> Vec<Row> {
    let misbehaved = |error| (error, Outcome::AnswerWrong, KmsError::Misbehaved(None));
    let throttled = KmsError::Throttled { retry_after: None, cause: None };
    let rejected = key_vault(400, "badparameter", None, "a\r\nb");
    let missing = key_vault(404, "KeyNotFound", None, "A key with");
    let unnamed = key_vault(404, "NotFound", None, "Key not found");
    let bare = |code| answer(404, &[], &format!(r#"{{"error":{{"code":"{code}"}}}}"#));
    let mut rows = vec![
        (key_vault(429, "Throttled", None, ""), Outcome::Throttled, throttled),
        (rejected, Outcome::RequestRejected, KmsError::Rejected(None)),
        (missing, Outcome::KeyMissing, KmsError::UnknownKek(None)),
        (bare("KEYNOTFOUND"), Outcome::KeyMissing, KmsError::UnknownKek(None)),
        misbehaved(unnamed),
        misbehaved(bare("NotFound")),
        misbehaved(answer(404, &[], r#"{"error":{}}"#)),
        misbehaved(answer(404, &[], r#"{"error":{"message":"no such page"}}"#)),
        misbehaved(key_vault(404, "no such page", None, "")),
        misbehaved(answer(302, &[], "")),
        misbehaved(answer(400, &[], "<html>")),
        misbehaved(answer(400, &[], "")),
        misbehaved(answer(404, &[], "<html>")),
        misbehaved(answer(404, &[], "")),
        misbehaved(key_vault(400, "Other", None, "")),
        misbehaved(key_vault(409, "Conflict", None, "")),
        misbehaved(ErrorKind::DataConversion.into_error()),
        misbehaved(ErrorKind::Other.into_error()),
    ];
    let outage = |status| key_vault(status, "InternalError", None, "");
    let outage = |status| (outage(status), Outcome::Outage, KmsError::Unavailable(None));
    rows.extend([408, 500, 502, 503, 504, 599].map(outage));
    let unverified = |message| {
        let error = key_vault(401, "Unauthorized", None, message);
        (error, Outcome::TokenUnverified, KmsError::Unavailable(None))
    };
    rows.extend(UNVERIFIED.map(unverified));
    rows
}

fn failures_on_the_way() -> Vec<Row> {
    let late = http(HttpHop::Exchange, HttpReason::TimedOut);
    let misbehaved = KmsError::Misbehaved;
    let rejected = identity(Hop::Entra, Outcome::RequestRejected);
    let ill_asked = identity(Hop::ManagedIdentity, Outcome::IdentityRequestRejected);
    let unknown = http(HttpHop::Dns, HttpReason::NameNotResolved(refused()));
    let connection = http(HttpHop::Tcp, HttpReason::Io(refused()));
    let tls = http(HttpHop::Tls, HttpReason::Tls(rustls::Error::DecryptError));
    let proxy = http(HttpHop::Proxy, HttpReason::ProxyStatus(407));
    let throttled = identity(Hop::ManagedIdentity, Outcome::Throttled);
    let mut rows = vec![
        (late, Outcome::TimedOut, KmsError::TimedOut(None)),
        (http(HttpHop::Exchange, HttpReason::TooLarge), Outcome::AnswerWrong, misbehaved(None)),
        (http(HttpHop::Request, HttpReason::UnfitUrl), Outcome::AnswerWrong, misbehaved(None)),
        (rejected, Outcome::RequestRejected, misbehaved(None)),
        (ill_asked, Outcome::IdentityRequestRejected, KmsError::Denied(None)),
    ];
    let unavailable = [
        (unknown, Outcome::NameNotResolved),
        (connection, Outcome::NotConnected),
        (ErrorKind::Io.into_error(), Outcome::NotConnected),
        (tls, Outcome::TlsFailed),
        (proxy, Outcome::ProxyRefused),
        (throttled, Outcome::Throttled),
    ];
    rows.extend(unavailable.map(|(error, outcome)| (error, outcome, KmsError::Unavailable(None))));
    rows
}

fn denials() -> Vec<(Error, Outcome)> {
    let unauthorised = |message| key_vault(401, "Unauthorized", None, message);
    let mut rows = vec![
        (answer(401, &[], ""), Outcome::CredentialRefused),
        (unauthorised("AKV10000: Request is missing a token."), Outcome::CredentialRefused),
        (unauthorised("AKV10032: Invalid issuer."), Outcome::WrongTenant),
        (unauthorised("AKV10022: Invalid audience."), Outcome::WrongTenant),
        (ErrorKind::Credential.into_error(), Outcome::CredentialRefused),
        (answer(403, &[], "<html>"), Outcome::Forbidden),
        (told("Denied by a policy of your company."), Outcome::Forbidden),
        (forbidden("ForbiddenByRbac"), Outcome::RoleMissing),
        (forbidden("FORBIDDENBYRBAC"), Outcome::RoleMissing),
        (told("Caller is not authorized to perform action on resource."), Outcome::RoleMissing),
        (forbidden("ForbiddenByPolicy"), Outcome::PolicyMissing),
        (forbidden("AccessDenied"), Outcome::PolicyMissing),
        (key_vault(403, "AccessDenied", None, OF_MANAGED_HSM), Outcome::RoleMissing),
        (told("The user does not have keys get permission"), Outcome::PolicyMissing),
        (forbidden("ForbiddenByFirewall"), Outcome::Firewall),
        (told("Client address is not authorized and caller"), Outcome::Firewall),
        (forbidden("ForbiddenByConnection"), Outcome::PrivateLink),
        (told("Public network access is disabled"), Outcome::PrivateLink),
    ];
    let identities = [
        (Hop::ManagedIdentity, Outcome::IdentityMissing),
        (Hop::ManagedIdentity, Outcome::IdentityAmbiguous),
        (Hop::Entra, Outcome::CredentialRefused),
        (Hop::Entra, Outcome::TokenFileUnreadable),
        (Hop::Entra, Outcome::WrongTenant),
    ];
    rows.extend(identities.map(|(hop, outcome)| (identity(hop, outcome), outcome)));
    rows
}

fn unusable() -> Vec<(Error, Outcome)> {
    let not_permitted = told("Operation decrypt is not permitted on this key.");
    vec![
        (forbidden("KeyDisabled"), Outcome::KeyDisabled),
        (told("Operation wrapKey is not allowed on a disabled key."), Outcome::KeyDisabled),
        (forbidden("KeyExpired"), Outcome::KeyExpired),
        (told("Operation is not allowed on an expired key."), Outcome::KeyExpired),
        (forbidden("KeyNotYetValid"), Outcome::KeyNotYetValid),
        (told("The key is not yet valid."), Outcome::KeyNotYetValid),
        (forbidden("KeyOperationForbidden"), Outcome::OperationNotAllowed),
        (not_permitted, Outcome::OperationNotAllowed),
    ]
}

#[test]
fn table_says_what_every_failure_means() {
    let mut met = BTreeSet::new();
    for (error, outcome, wanted) in table() {
        let found = failure(&error, Hop::Unwrap, HOST, now());
        let diagnosis = Diagnosis::of(&found).unwrap();
        assert_eq!(diagnosis.outcome, outcome, "{error:?}");
        assert_eq!(discriminant(&found), discriminant(&wanted), "{error:?}: {found:?}");
        met.insert(outcome);
    }
    let wrap = key_vault(400, "BadParameter", None, "");
    let found = failure(&wrap, Hop::Wrap, HOST, now());
    assert!(matches!(found, KmsError::Disabled(_)), "{found:?}");
    met.insert(Diagnosis::of(&found).unwrap().outcome);
    // What costs no call, and so never fails.
    met.insert(Outcome::OtherVault);
    assert_eq!(met, Outcome::ALL.into_iter().collect());
}

#[test]
fn only_an_unwrap_can_have_a_ciphertext_rejected() {
    for (error, ..) in table() {
        for hop in [Hop::Get, Hop::Wrap] {
            let found = failure(&error, hop, HOST, now());
            assert!(!matches!(found, KmsError::Rejected(_)), "{error:?}");
        }
    }
}

#[test]
fn bad_request_is_key_vaults_own_word_on_it() {
    let is_of_a_bad_request = |error| {
        let found = failure(&error, Hop::Unwrap, HOST, now());
        Diagnosis::of(&found).unwrap().is_of_a_bad_request()
    };
    assert!(is_of_a_bad_request(key_vault(400, "Other", None, "")));
    for other in [
        answer(400, &[], "<html>"),
        answer(400, &[], r#"{"error":{}}"#),
        key_vault(409, "Conflict", None, ""),
        key_vault(500, "InternalError", None, ""),
    ] {
        assert!(!is_of_a_bad_request(other));
    }
    let of_entra = Diagnosis {
        status: Some(400),
        code: Some("invalid_client".to_owned()),
        ..Diagnosis::unanswered(Hop::Entra, Outcome::RequestRejected, "login")
    };
    assert!(!of_entra.is_of_a_bad_request());
}

#[test]
fn inner_error_is_found_under_any_spelling() {
    for name in ["innererror", "innerError", "InnerError"] {
        let text = format!(
            r#"{{"error":{{"code":"Forbidden","message":"m","{name}":{{"code":"ForbiddenByRbac"}}}}}}"#
        );
        let found = failure(&answer(403, &[], &text), Hop::Get, HOST, now());
        assert_eq!(Diagnosis::of(&found).unwrap().outcome, Outcome::RoleMissing, "{name}");
    }
}

#[test]
fn diagnosis_is_one_line_with_all_that_support_asks_for() {
    let found = failure(&forbidden("ForbiddenByRbac"), Hop::Unwrap, HOST, now());
    let diagnosis = Diagnosis::of(&found).unwrap();
    let wanted = format!(
        "Key Vault unwrapKey at {HOST}: our identity lacks the role (status 403, ForbiddenByRbac, \
         request {REQUEST})"
    );
    assert_eq!(diagnosis.to_string(), wanted);
    assert!(diagnosis.remedy().contains("Key Vault Crypto Service Encryption User"));
    let akv = key_vault(401, "Unauthorized", None, "AKV10032: Invalid issuer.");
    let found = failure(&akv, Hop::Get, HOST, now());
    assert_eq!(Diagnosis::of(&found).unwrap().code.as_deref(), Some("AKV10032"));
}

#[test]
fn codes_that_are_prose_stay_out_of_the_log() {
    for code in ["", "two words", "line\nbreak", &"a".repeat(65), "\u{1b}[31m"] {
        let found = failure(&key_vault(403, code, None, ""), Hop::Get, HOST, now());
        assert_eq!(Diagnosis::of(&found).unwrap().code, None, "{code:?}");
    }
}

#[test]
fn wait_that_key_vault_asks_for_is_read_and_bounded() {
    for (headers, wanted) in [
        (&[][..], None),
        (&[("retry-after", "7")], Some(7_000)),
        (&[("retry-after", "3600")], Some(60_000)),
        (&[("retry-after", "-1")], None),
        (&[("retry-after", "soon")], None),
        (&[("retry-after", "Thu, 01 Jan 2026 00:00:09 GMT")], Some(9_000)),
        (&[("retry-after", "Wed, 31 Dec 2025 00:00:00 GMT")], Some(0)),
        (&[("retry-after-ms", "250"), ("retry-after", "7")], Some(250)),
        (&[("x-ms-retry-after-ms", "90000")], Some(60_000)),
    ] {
        let found = failure(&answer(429, headers, ""), Hop::Unwrap, HOST, now());
        let KmsError::Throttled { retry_after, .. } = found else { panic!("{found:?}") };
        assert_eq!(retry_after, wanted.map(Duration::from_millis), "{headers:?}");
    }
}

#[test]
fn identity_that_imds_does_not_know_yet_may_come() {
    let of = |status| {
        let host = "169.254.169.254".to_owned();
        let (hop, outcome) = (Hop::ManagedIdentity, Outcome::IdentityMissing);
        KmsError::from(Diagnosis { hop, outcome, host, status, code: None, request_id: None })
    };
    assert!(of(Some(404)).is_transient());
    assert!(!of(Some(400)).is_transient());
}
