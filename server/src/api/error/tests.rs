use selkie_storage::{Revision, StoreError};

use super::*;
use crate::api::base64::IllegalByte;

fn answer(error: &ApiError) -> (u16, Option<String>) {
    (error.status().as_u16(), error.message())
}

fn list(text: &str) -> String {
    format!("1 error occurred:\n\t* {text}\n\n")
}

#[test]
fn each_error_of_a_request_has_vaults_status_and_text() {
    for (error, status, text) in [
        (ApiError::MalformedJson, 400, "error parsing JSON".to_owned()),
        (BodyError::TooLarge.into(), 413, "http: request body too large".to_owned()),
        (ApiError::InvalidToken, 403, "permission denied".to_owned()),
        (ApiError::PolicyDenies, 403, list("permission denied")),
        (
            ApiError::NoMount { path: "a\"\\/bér".into() },
            404,
            "no handler for route \"a\\\"\\\\/bér\". route entry not found.".to_owned(),
        ),
        (ApiError::UnsupportedPath, 404, list("unsupported path")),
        (ApiError::UnsupportedOperation, 405, list("unsupported operation")),
        (ApiError::RelativePath, 400, list("relative paths not supported")),
        (ApiError::WriteToSlash, 400, "cannot write to a path ending in '/'".to_owned()),
        (
            ApiError::PreflightDenied { path: "nope/foo/".into() },
            403,
            "preflight capability check returned 403, please ensure client's policies grant \
             access to path \"nope/foo/\""
                .to_owned(),
        ),
        (ApiError::InvalidLease, 400, "invalid lease ID".to_owned()),
        (ApiError::Internal, 500, list("internal error")),
    ] {
        assert_eq!(answer(&error), (status, Some(text)));
    }
}

#[test]
fn each_error_of_an_operation_has_vaults_status_and_text() {
    let tag = "cipher: message authentication failed";
    let aad = "unable to get associated_data/additional_data from factory[0]: illegal base64 data \
               at input byte 0";
    for (error, status, text) in [
        (ItemError::Authentication.into(), 400, tag.to_owned()),
        (ItemError::IllegalAssociatedData(IllegalByte(0)).into(), 500, list(aad)),
        (
            ItemError::MasterKeyUnavailable.into(),
            503,
            "no master key of this key can be reached".to_owned(),
        ),
        (
            KeyError::NothingToDelete("k".into()).into(),
            400,
            "error deleting policy k: could not delete key; not found".to_owned(),
        ),
        (
            KeyError::from(TrimError::AboveMinEncryption).into(),
            400,
            "minimum available version cannot be greater than minmum encryption version".to_owned(),
        ),
        (
            KeyError::from(VersionError::MinDecryptionAboveLatest { wanted: 7, latest: 2 }).into(),
            400,
            "cannot set min decryption version of 7, latest key version is 2".to_owned(),
        ),
    ] {
        assert_eq!(answer(&error), (status, Some(text)));
    }
}

#[test]
fn where_vault_sends_an_empty_list_there_is_no_text() {
    for (error, status) in [
        (ApiError::OutsideApi, 404),
        (ApiError::NotFound, 404),
        (ApiError::UnknownMethod, 405),
        (ApiError::UnreadablePath, 400),
        (ApiError::BadListParameter, 400),
        (ApiError::BadHealthParameter, 400),
    ] {
        assert_eq!(answer(&error), (status, None));
    }
}

#[test]
fn a_store_that_answers_is_not_said_to_be_silent() {
    let away = || "away".into();
    let key = || "a/b".parse().unwrap();
    let contended = "others are changing the same at the same time; try again";
    let silent = "storage does not answer";
    let damaged = "storage does not hold what was written to it";
    for (error, status, text) in [
        (StoreError::GuardFailed { key: key() }, 503, contended.into()),
        (StoreError::WrittenTwice { key: key() }, 500, list("internal error")),
        (StoreError::Reserved { key: key() }, 500, list("internal error")),
        (StoreError::TooLarge, 500, list("internal error")),
        (StoreError::Compacted { oldest: Revision::new(2) }, 500, list("internal error")),
        (StoreError::NotReached { newest: Revision::new(2) }, 503, damaged.into()),
        (StoreError::Corrupt { key: None, source: away() }, 503, damaged.into()),
        (StoreError::Unavailable { source: away() }, 503, silent.into()),
        (StoreError::Undecided { source: away() }, 503, silent.into()),
    ] {
        assert_eq!(answer(&ApiError::of_store(&error)), (status, Some(text)), "{error}");
    }
}

/// What Vault up to 1.4 takes for success and then dies of.
#[test]
fn nothing_is_ever_answered_with_429() {
    let errors = [
        ApiError::Overloaded,
        ApiError::StateSealed,
        ApiError::StorageUnavailable,
        ApiError::StorageDamaged,
        ItemError::MasterKeyUnavailable.into(),
    ];
    for error in errors {
        assert_eq!(error.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}

fn batch(failures: &[Option<Blame>], wanted: Option<i64>) -> (Option<u16>, usize) {
    let mut warnings = Warnings::default();
    let status = batch_status(failures.iter().copied(), wanted, &mut warnings);
    (status.map(|status| status.as_u16()), warnings.0.len())
}

#[test]
fn a_batch_has_the_status_of_its_worst_item() {
    const CLIENT: Option<Blame> = Some(Blame::Client);
    const SERVER: Option<Blame> = Some(Blame::Server);
    const MASTER: Option<Blame> = Some(Blame::MasterKey);
    assert_eq!(batch(&[None, None], Some(418)), (None, 0));
    assert_eq!(batch(&[None, CLIENT], None), (Some(400), 0));
    assert_eq!(batch(&[SERVER, CLIENT], None), (Some(400), 0));
    assert_eq!(batch(&[SERVER, MASTER], None), (Some(503), 0));
    assert_eq!(batch(&[SERVER, None], None), (Some(500), 0));
}

#[test]
fn a_partial_failure_takes_the_code_that_was_asked_for() {
    const CLIENT: Option<Blame> = Some(Blame::Client);
    assert_eq!(batch(&[None, CLIENT], Some(207)), (Some(207), 0));
    assert_eq!(batch(&[CLIENT, CLIENT], Some(207)), (Some(400), 0));
    for wanted in [0, -1, 600, 199, i64::MAX] {
        assert_eq!(batch(&[None, CLIENT], Some(wanted)), (Some(400), 1), "{wanted}");
    }
}
