//! Keys: made, read, configured, rotated, trimmed and deleted. An option that would silently not
//! hold is refused.

use std::collections::BTreeMap;

use selkie_access::{MountPath, operation};
use selkie_crypto::SealName;

use super::transit::{KEY_TYPE, denied};
use crate::api::call::{Call, Refusal, told};
use crate::api::data;
use crate::api::error::{ApiError, KeyError, TrimError, VersionError};
use crate::api::fields::{Fields, Warnings};
use crate::api::reply::Reply;
use crate::api::request;
use crate::api::route::KeyPath;
use crate::transit::{KeyChanges, NewKey, SettingError, TransitError, TransitKey};

/// Key types that Vault 1.14 has and that have no envelope form.
const OTHER_TYPES: [&str; 12] = [
    "aes128-gcm96",
    "chacha20-poly1305",
    "ecdsa-p256",
    "ecdsa-p384",
    "ecdsa-p521",
    "ed25519",
    "hmac",
    "managed_key",
    "rsa-2048",
    "rsa-3072",
    "rsa-4096",
    "xchacha20-poly1305",
];

/// Refuses every type but the one there is; no type is that one.
pub(super) fn require_type(key_type: Option<&str>) -> Result<(), ApiError> {
    match key_type {
        None | Some("" | KEY_TYPE) => Ok(()),
        Some(other) if OTHER_TYPES.contains(&other) => {
            Err(KeyError::TypeNotSupported(other.into()).into())
        }
        Some(other) => Err(KeyError::UnknownType(other.into()).into()),
    }
}

pub(super) async fn create(
    call: &Call<'_>,
    at: KeyPath,
    mut fields: Fields<'_>,
) -> Result<Reply, Refusal> {
    let name = at.key.to_string();
    let permit =
        call.acl(&fields).permit(operation::CreateKey, at.mount, at.key).map_err(denied)?;
    let request = request::CreateKey::decode(&mut fields)?;
    let new = new_key(&request)?;
    let key = call.transit().create_key(permit, new).await;
    let key = key.map_err(|error| refusal(error, &name, ApiError::KeyNotFound))?;
    Ok(reply(call, &key, &fields.into_warnings(&["name"])))
}

fn new_key(request: &request::CreateKey<'_>) -> Result<NewKey, ApiError> {
    check_auto_rotate(request.auto_rotate_period)?;
    if request.convergent_encryption && !request.derived {
        return Err(KeyError::ConvergentWithoutDerivation.into());
    }
    require_type(request.key_type.as_deref())?;
    if request.key_size != 0 {
        return Err(KeyError::SizeNotValidFor(KEY_TYPE.into()).into());
    }
    let refused = [
        (request.convergent_encryption, "convergent_encryption"),
        (request.exportable, "exportable"),
        (request.allow_plaintext_backup, "allow_plaintext_backup"),
    ];
    refuse_options(&refused)?;
    Ok(NewKey { derived: request.derived, allow_missing_seals: request.allow_missing_seals })
}

fn check_auto_rotate(period: i64) -> Result<(), ApiError> {
    match period {
        0 => Ok(()),
        1..3600 => Err(KeyError::AutoRotatePeriodTooShort.into()),
        _ => Err(KeyError::OptionNotSupported("auto_rotate_period").into()),
    }
}

/// An option that would silently not hold is refused.
fn refuse_options(options: &[(bool, &'static str)]) -> Result<(), ApiError> {
    match options.iter().find(|(wanted, _)| *wanted) {
        Some((_, option)) => Err(KeyError::OptionNotSupported(option).into()),
        None => Ok(()),
    }
}

pub(super) async fn read(
    call: &Call<'_>,
    at: KeyPath,
    mut fields: Fields<'_>,
) -> Result<Reply, Refusal> {
    let name = at.key.to_string();
    let permit = call.acl(&fields).permit(operation::ReadKey, at.mount, at.key).map_err(denied)?;
    request::ReadKey::decode(&mut fields)?;
    let found = call.transit().read_key(permit).await;
    let found = found.map_err(|error| refusal(error, &name, ApiError::NotFound))?;
    let key = found.ok_or(ApiError::NotFound)?;
    // A version that is not known is not guessed.
    key.require_counted(&call.deployment).map_err(|error| Refusal::of_item(error, &name))?;
    Ok(reply(call, &key, &fields.into_warnings(&["name"])))
}

pub(super) async fn delete(
    call: &Call<'_>,
    at: KeyPath,
    fields: &Fields<'_>,
) -> Result<Reply, Refusal> {
    let name = at.key.to_string();
    let permit = call.acl(fields).permit(operation::DeleteKey, at.mount, at.key).map_err(denied)?;
    let missing = ApiError::Key(KeyError::NothingToDelete(name.clone().into()));
    let deleted = call.transit().delete_key(permit).await;
    deleted.map_err(|error| refusal(error, &name, missing))?;
    Ok(Reply::no_content())
}

pub(super) async fn configure(
    call: &Call<'_>,
    at: KeyPath,
    mut fields: Fields<'_>,
) -> Result<Reply, Refusal> {
    let name = at.key.to_string();
    let permit =
        call.acl(&fields).permit(operation::ConfigureKey, at.mount, at.key).map_err(denied)?;
    let request = request::ConfigureKey::decode(&mut fields)?;
    let missing = ApiError::Key(KeyError::NothingToConfigure(name.clone().into()));
    check_auto_rotate(request.auto_rotate_period.unwrap_or(0))?;
    refuse_options(&[
        (request.exportable == Some(true), "exportable"),
        (request.allow_plaintext_backup == Some(true), "allow_plaintext_backup"),
    ])?;
    let changes = KeyChanges {
        min_decryption_version: request.min_decryption_version,
        min_encryption_version: request.min_encryption_version,
        deletion_allowed: request.deletion_allowed,
        allow_missing_seals: request.allow_missing_seals,
    };
    let key = call.transit().configure_key(permit, changes).await;
    let key = key.map_err(|error| refusal(error, &name, missing))?;
    let mut warnings = Warnings::default();
    if request.min_decryption_version == Some(0) {
        let text = "since Vault 0.3, transit key numbering starts at 1; forcing minimum to 1";
        warnings.add(text.to_owned());
    }
    warnings.extend(fields.into_warnings(&["name"]));
    Ok(reply(call, &key, &warnings))
}

pub(super) async fn rotate(
    call: &Call<'_>,
    at: KeyPath,
    mut fields: Fields<'_>,
) -> Result<Reply, Refusal> {
    let name = at.key.to_string();
    let permit =
        call.acl(&fields).permit(operation::RotateKey, at.mount, at.key).map_err(denied)?;
    request::decode_rotate(&mut fields)?;
    let key = call.transit().rotate_key(permit).await;
    let missing = ApiError::Key(KeyError::NothingToRotate);
    let key = key.map_err(|error| match error {
        TransitError::Declared => {
            let told = KeyError::DeclaredRotation(name.as_str().into());
            Refusal::of(TransitError::Declared, told.into(), &name)
        }
        error => refusal(error, &name, missing),
    })?;
    Ok(reply(call, &key, &fields.into_warnings(&["name"])))
}

pub(super) async fn trim(
    call: &Call<'_>,
    at: KeyPath,
    mut fields: Fields<'_>,
) -> Result<Reply, Refusal> {
    let name = at.key.to_string();
    let permit = call.acl(&fields).permit(operation::TrimKey, at.mount, at.key).map_err(denied)?;
    let request = request::TrimKey::decode(&mut fields)?;
    let key = call.transit().trim_key(permit, request.min_available_version).await;
    let missing = ApiError::Key(KeyError::Trim(TrimError::NoKey));
    let key = key.map_err(|error| refusal(error, &name, missing))?;
    Ok(reply(call, &key, &fields.into_warnings(&["name"])))
}

pub(super) fn list(
    call: &Call<'_>,
    mount: MountPath,
    fields: Fields<'_>,
) -> Result<Reply, Refusal> {
    let permit = call.acl(&fields).permit_list(mount).map_err(denied)?;
    let names = call.transit().list_keys(permit);
    let names = names.map_err(|error| refusal(error, "", ApiError::NotFound))?;
    if names.is_empty() {
        return Err(ApiError::NotFound.into());
    }
    let keys: Vec<&str> = names.iter().map(selkie_access::KeyName::as_str).collect();
    let warnings = fields.into_warnings(&[]);
    Ok(call.frame(&warnings).data(&data::KeyList { keys: &keys }))
}

fn reply(call: &Call<'_>, key: &TransitKey, warnings: &Warnings) -> Reply {
    let shown = key.versions.range(key.min_decryption..);
    let left_out: Vec<_> = key.left_out().iter().map(SealName::as_str).collect();
    let created = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
    let keys: BTreeMap<_, _> =
        shown.map(|(version, record)| (version.to_string(), created(record.created))).collect();
    call.frame(warnings).data(&data::Key {
        allow_missing_seals: key.allow_missing_seals.then_some(true),
        allow_plaintext_backup: false,
        auto_rotate_period: 0,
        deletion_allowed: key.deletion_allowed,
        derived: key.derived,
        exportable: false,
        imported_key: false,
        keys,
        latest_version: key.latest.get(),
        left_out_seals: (!left_out.is_empty()).then_some(left_out),
        min_available_version: key.min_available.map_or(0, |version| version.get()),
        min_decryption_version: key.min_decryption.get(),
        min_encryption_version: key.min_encryption.map_or(0, |version| version.get()),
        name: key.name.as_str(),
        supports_decryption: true,
        supports_derivation: true,
        supports_encryption: true,
        supports_signing: false,
        key_type: KEY_TYPE,
    })
}

/// What the client is told of a key that could not be changed; `missing` where there is none.
pub(super) fn refusal(error: TransitError, name: &str, missing: ApiError) -> Refusal {
    let answer = match &error {
        TransitError::KeyNotFound => missing,
        TransitError::Declared => KeyError::Declared(name.into()).into(),
        TransitError::NoStorage => KeyError::NoStorage.into(),
        TransitError::Setting(setting) => setting_error(*setting, name).into(),
        TransitError::StateSealed => ApiError::StateSealed,
        TransitError::Store(error) => ApiError::of_store(error),
        TransitError::NotLookedUp => ApiError::StorageUnavailable,
        TransitError::Seal(_) => ApiError::Item(told(&error)),
        TransitError::RequestedVersionNegative
        | TransitError::RequestedVersionTooHigh
        | TransitError::RequestedVersionTooLow
        | TransitError::ContextMissing
        | TransitError::Ciphertext(_)
        | TransitError::VersionTooNew
        | TransitError::NewerVersion(_)
        | TransitError::VersionTooOld
        | TransitError::VersionSpelling
        | TransitError::Refused(_)
        | TransitError::Foreign
        | TransitError::NoUsableRecipient
        | TransitError::OtherVault(_)
        | TransitError::SealRevoked(_)
        | TransitError::UnwrapRejected
        | TransitError::OldServerRejected(_)
        | TransitError::Encrypt(_)
        | TransitError::Quorum(_)
        | TransitError::Random(_)
        | TransitError::StoreAttached
        | TransitError::RecordUnreadable
        | TransitError::VersionsExhausted
        | TransitError::RecordFull
        | TransitError::NameTooLong
        | TransitError::ChangePanicked => ApiError::Internal,
    };
    Refusal::of(error, answer, name)
}

fn setting_error(error: SettingError, name: &str) -> KeyError {
    use SettingError as E;
    let version = match error {
        E::MinDecryptionNegative => VersionError::MinDecryptionNegative,
        E::MinEncryptionNegative => VersionError::MinEncryptionNegative,
        E::MinDecryptionAboveLatest { requested, latest } => {
            VersionError::MinDecryptionAboveLatest { wanted: requested, latest: latest.get() }
        }
        E::MinEncryptionAboveLatest { requested, latest } => {
            VersionError::MinEncryptionAboveLatest { wanted: requested, latest: latest.get() }
        }
        E::MinEncryptionBelowMinDecryption { encryption, decryption } => {
            let (encryption, decryption) = (encryption.get().into(), decryption.get().into());
            VersionError::MinEncryptionBelowMinDecryption { encryption, decryption }
        }
        E::MinEncryptionBelowAvailable => VersionError::MinEncryptionBelowAvailable,
        E::MinDecryptionBelowAvailable => VersionError::MinDecryptionBelowAvailable,
        E::DeletionNotAllowed => return KeyError::DeletionNotAllowed(name.into()),
        E::MinAvailableMissing => return TrimError::MissingVersion.into(),
        E::MinAvailableNegative => return TrimError::Negative.into(),
        E::MinAvailableZero => return TrimError::Zero.into(),
        E::MinAvailableDecremented => return TrimError::Decremented.into(),
        E::MinAvailableWithoutMinEncryption => return TrimError::MinEncryptionUnset.into(),
        E::MinAvailableWithoutMinDecryption => return TrimError::MinDecryptionUnset.into(),
        E::MinAvailableAboveMinEncryption => return TrimError::AboveMinEncryption.into(),
        E::MinAvailableAboveMinDecryption => return TrimError::AboveMinDecryption.into(),
    };
    version.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{SealError, SealFault};

    #[test]
    fn a_key_that_cannot_be_made_yet_is_to_be_tried_again() {
        let seal = SealName::new("weu").unwrap();
        let status = |source| {
            let error = TransitError::Seal(SealError { seal: seal.clone(), source });
            refusal(error, "k", ApiError::KeyNotFound).into_error().status().as_u16()
        };
        assert_eq!(status(SealFault::Undescribed), 503);
        assert_eq!(status(SealFault::Unlisted), 400);
    }
}
