//! The handlers of encrypt, decrypt and rewrap.

use std::time::Duration;

use futures_util::future::join_all;
use selkie_access::{Capability, Denied, Permit, operation};
use selkie_crypto::Plaintext;

use crate::api::base64;
use crate::api::batch::BatchItem;
use crate::api::call::{Call, Refusal};
use crate::api::data;
use crate::api::error::{ApiError, ItemError, KeyError, batch_status};
use crate::api::failed_items::FailedItems;
use crate::api::fields::Fields;
use crate::api::reply::{DecryptedItem, Reply};
use crate::api::request::{self, Input};
use crate::api::route::KeyPath;
use crate::seal::{UNWRAP_PATIENCE, WRAP_PATIENCE};
use crate::transit::{
    Decryption, DecryptionItem, Encrypted, Encryption, EncryptionItem, NewKey, Transit,
    TransitError,
};

/// The type of every key here, in Vault's words.
pub(super) const KEY_TYPE: &str = "aes256-gcm96";

/// Why an item failed: its own form, which is told at once, or the engine.
enum Failure {
    Form(ItemError),
    Engine(TransitError),
}

impl From<TransitError> for Failure {
    fn from(error: TransitError) -> Self {
        Self::Engine(error)
    }
}

impl From<ItemError> for Failure {
    fn from(error: ItemError) -> Self {
        Self::Form(error)
    }
}

impl Failure {
    fn of_the_only_item(self, key: &str) -> Refusal {
        match self {
            Self::Form(error) => ApiError::Item(error).into(),
            Self::Engine(error) => Refusal::of_item(error, key),
        }
    }

    fn of_item(self, index: usize, failed: &mut FailedItems) -> ItemError {
        match self {
            Self::Form(error) => error,
            Self::Engine(error) => failed.add(index, error),
        }
    }
}

pub(super) fn denied(_: Denied) -> Refusal {
    ApiError::PolicyDenies.into()
}

/// Requires the permit for a path that ends in `rest`, whose names are the same in upper and lower
/// case: what a policy says of the one that is meant holds however it is spelled.
pub(super) fn require_in_any_case(
    call: &Call<'_>,
    fields: &Fields<'_>,
    path: &str,
    rest: &str,
    capability: Capability,
) -> Result<(), Refusal> {
    let acl = call.acl(fields);
    let _permit = acl.check(path, capability).map_err(denied)?;
    if rest.bytes().any(|byte| byte.is_ascii_uppercase()) {
        let before = path.strip_suffix(rest).unwrap_or_default();
        let meant = [before, &rest.to_ascii_lowercase()].concat();
        let _permit = acl.check(&meant, capability).map_err(denied)?;
    }
    Ok(())
}

/// How many items of a batch are unwrapped at a time: a slow KMS is waited for once for all of
/// them, and most of the equal ones among them are asked for once.
const ITEMS_AT_A_TIME: usize = 128;

pub(super) async fn encrypt(
    call: &Call<'_>,
    at: &KeyPath,
    mut fields: Fields<'_>,
) -> Result<Reply, Refusal> {
    let name = at.key.as_str();
    let hurried = call.transit_within(WRAP_PATIENCE);
    let (permit, request, has_key) = match hurried.held(&at.mount, &at.key) {
        Ok(Some(_)) => {
            let (mount, key) = (at.mount.clone(), at.key.clone());
            let permit = call.acl(&fields).permit(operation::Encrypt, mount, key);
            (permit.map_err(denied)?, request::Encrypt::decode(&mut fields)?, true)
        }
        // In a box of its own: no other request need be as large as it.
        Ok(None) | Err(_) => Box::pin(look_up_or_make(call, at, &mut fields, &hurried)).await?,
    };
    let transit = match request.input {
        // To make a key takes longer than a seal client waits, which never asks for that.
        Input::Single(_) if has_key => hurried,
        Input::Single(_) | Input::Batch(_) => call.transit(),
    };
    let refused = |error| Refusal::of_item(error, name);
    let encryption = transit.encryption(&permit).await.map_err(refused)?;
    call.note_key_use();
    let mut warnings = fields.into_warnings(&["name"]);
    match request.input {
        Input::Single(item) => {
            let made = encrypt_item(&encryption, item).await;
            let made = made.map_err(|failure| failure.of_the_only_item(name))?;
            call.require_decryptable(&made.ciphertext)?;
            Ok(call.frame(&warnings).ciphertext(&wire(&made)))
        }
        Input::Batch(items) => {
            let _bytes = call.take_for(&items).await?;
            let mut results = Vec::with_capacity(items.len());
            let mut failed = FailedItems::default();
            for (index, mut item) in items.into_iter().enumerate() {
                let reference = std::mem::take(&mut item.reference);
                let made = encrypt_item(&encryption, item).await;
                let made = decryptable(call, made)?;
                results.push((made.map_err(|one| one.of_item(index, &mut failed)), reference));
                tokio::task::consume_budget().await;
            }
            failed.log(call, name);
            let failures = results.iter().map(|(made, _)| made.as_ref().err().map(|e| e.blame()));
            let wanted = request.partial_failure_response_code;
            let status = batch_status(failures, wanted, &mut warnings);
            let items: Vec<_> = results.iter().map(wire_item).collect();
            let batch = data::EncryptedBatch { batch_results: &items };
            Ok(call.frame(&warnings).encrypted(&batch, status))
        }
    }
}

pub(super) async fn decrypt(
    call: &Call<'_>,
    at: &KeyPath,
    mut fields: Fields<'_>,
) -> Result<Reply, Refusal> {
    let name = at.key.as_str();
    let (mount, key) = (at.mount.clone(), at.key.clone());
    let permit = call.acl(&fields).permit(operation::Decrypt, mount, key).map_err(denied)?;
    let request = request::Decrypt::decode(&mut fields)?;
    let refused = |error| Refusal::of_item(error, name);
    let transit = transit_for(call, &request.input, UNWRAP_PATIENCE);
    let decryption = transit.decryption(&permit).await.map_err(refused)?;
    call.note_key_use();
    let mut warnings = fields.into_warnings(&["name"]);
    match request.input {
        Input::Single(item) => {
            let opened = decrypt_item(&decryption, &item).await;
            let opened = opened.map_err(|failure| failure.of_the_only_item(name))?;
            Ok(call.frame(&warnings).plaintext(&opened))
        }
        Input::Batch(items) => {
            let _bytes = call.take_for(&items).await?;
            let mut results = Vec::with_capacity(items.len());
            let mut failed = FailedItems::default();
            for some in items.chunks(ITEMS_AT_A_TIME) {
                let opened = some.iter().map(|item| decrypt_item(&decryption, item));
                for opened in join_all(opened).await {
                    let index = results.len();
                    results.push(opened.map_err(|one| one.of_item(index, &mut failed)));
                }
                transit.forget_unwraps();
                tokio::task::consume_budget().await;
            }
            failed.log(call, name);
            let failures = results.iter().map(|opened| opened.as_ref().err().map(|e| e.blame()));
            let wanted = request.partial_failure_response_code;
            let status = batch_status(failures, wanted, &mut warnings);
            let items: Vec<_> = results.iter().zip(&items).map(opened_item).collect();
            Ok(call.frame(&warnings).plaintexts(&items, status))
        }
    }
}

pub(super) async fn rewrap(
    call: &Call<'_>,
    at: KeyPath,
    mut fields: Fields<'_>,
) -> Result<Reply, Refusal> {
    let name = at.key.to_string();
    let permit = call.acl(&fields).permit(operation::Rewrap, at.mount, at.key).map_err(denied)?;
    let request = request::Rewrap::decode(&mut fields)?;
    let refused = |error| Refusal::of_item(error, &name);
    let transit = transit_for(call, &request.input, UNWRAP_PATIENCE + WRAP_PATIENCE);
    let rewrapping = Rewrapping::begin(&transit, &permit).await.map_err(refused)?;
    let warnings = fields.into_warnings(&["name"]);
    match request.input {
        Input::Single(item) => {
            let made = rewrapping.item(&item).await;
            let made = made.map_err(|failure| failure.of_the_only_item(&name))?;
            call.require_decryptable(&made.ciphertext)?;
            Ok(call.frame(&warnings).ciphertext(&wire(&made)))
        }
        Input::Batch(items) => {
            let _bytes = call.take_for(&items).await?;
            let mut results = Vec::with_capacity(items.len());
            let mut failed = FailedItems::default();
            for some in items.chunks(ITEMS_AT_A_TIME) {
                let made = join_all(some.iter().map(|item| rewrapping.item(item))).await;
                for (made, item) in made.into_iter().zip(some) {
                    let index = results.len();
                    let made = decryptable(call, made)?;
                    let made = made.map_err(|one| one.of_item(index, &mut failed));
                    results.push((made, item.reference.clone()));
                }
                transit.forget_unwraps();
                tokio::task::consume_budget().await;
            }
            failed.log(call, &name);
            let items: Vec<_> = results.iter().map(wire_item).collect();
            let batch = data::EncryptedBatch { batch_results: &items };
            Ok(call.frame(&warnings).encrypted(&batch, None))
        }
    }
}

/// The right to encrypt under a key that this replica does not hold, which is made if there is none;
/// and whether there was. Who has no right to either learns nothing of the key, and causes no look
/// for it in the store.
async fn look_up_or_make<'f>(
    call: &Call<'_>,
    at: &KeyPath,
    fields: &mut Fields<'f>,
    transit: &Transit,
) -> Result<(Permit<operation::Encrypt>, request::Encrypt<'f>, bool), Refusal> {
    let place = || (at.mount.clone(), at.key.clone());
    let ((mount, key), (other_mount, other_key)) = (place(), place());
    let permit = call.acl(fields).permit(operation::Encrypt, mount, key);
    let to_make = call.acl(fields).permit(operation::EncryptUpsert, other_mount, other_key);
    if let (Err(_), Err(neither)) = (&permit, &to_make) {
        return Err(denied(*neither));
    }
    let has_key = transit.has_key(&at.mount, &at.key).await;
    if has_key.map_err(|error| Refusal::of_item(error, at.key.as_str()))? {
        let permit = permit.map_err(denied)?;
        return Ok((permit, request::Encrypt::decode(fields)?, true));
    }
    let to_make = to_make.map_err(denied)?;
    let request = request::Encrypt::decode(fields)?;
    Ok((upsert(&call.transit(), to_make, &request).await?, request, false))
}

async fn upsert(
    transit: &Transit,
    permit: Permit<operation::EncryptUpsert>,
    request: &request::Encrypt<'_>,
) -> Result<Permit<operation::Encrypt>, Refusal> {
    let derived = match &request.input {
        Input::Single(item) => item.context.is_some(),
        Input::Batch(items) => items.iter().any(|item| item.context.is_some()),
    };
    if request.convergent_encryption {
        return Err(if derived {
            ApiError::Key(KeyError::OptionNotSupported("convergent_encryption")).into()
        } else {
            ApiError::ConvergentWithoutContext.into()
        });
    }
    super::keys::require_type(request.key_type.as_deref())?;
    let name = permit.key().to_string();
    let created = transit.upsert_key(permit, NewKey { derived, allow_missing_seals: false }).await;
    created.map_err(|error| super::keys::refusal(error, &name, ApiError::KeyNotFound))
}

/// The operations for one request; the items of a batch share what they unwrap. What the looks for
/// token and key took counts in the `patience` for a single one (invariant I10).
fn transit_for(call: &Call<'_>, input: &Input<'_>, patience: Duration) -> Transit {
    match input {
        Input::Single(_) => call.transit_within(patience),
        Input::Batch(_) => call.transit().for_batch(),
    }
}

/// Decrypts and encrypts anew under one permit.
struct Rewrapping<'t> {
    decryption: Decryption<'t>,
    encryption: Encryption<'t>,
}

impl<'t> Rewrapping<'t> {
    async fn begin(
        transit: &'t Transit,
        permit: &Permit<operation::Rewrap>,
    ) -> Result<Self, TransitError> {
        let decryption = transit.rewrap_decryption(permit).await?;
        Ok(Self { decryption, encryption: transit.re_encryption(permit).await? })
    }

    async fn item(&self, item: &BatchItem<'_>) -> Result<Encrypted, Failure> {
        let plaintext = decrypt_item(&self.decryption, item).await?;
        let item = EncryptionItem {
            plaintext,
            associated_data: associated_data(item)?,
            context: context(item)?,
            version: Some(item.key_version),
        };
        Ok(self.encryption.encrypt(item).await?)
    }
}

async fn encrypt_item(
    encryption: &Encryption<'_>,
    item: BatchItem<'_>,
) -> Result<Encrypted, Failure> {
    let item = EncryptionItem {
        plaintext: base64::decode(item.text.expose_to_decode())
            .map_err(ItemError::IllegalBase64)?,
        associated_data: associated_data(&item)?,
        context: context(&item)?,
        version: Some(item.key_version),
    };
    Ok(encryption.encrypt(item).await?)
}

async fn decrypt_item(
    decryption: &Decryption<'_>,
    item: &BatchItem<'_>,
) -> Result<Plaintext, Failure> {
    if item.text.is_empty() {
        return Err(ItemError::MissingCiphertext.into());
    }
    let item = DecryptionItem {
        ciphertext: item.text.expose_to_decode(),
        associated_data: associated_data(item)?,
        context: context(item)?,
    };
    Ok(decryption.decrypt(&item).await?)
}

fn associated_data(item: &BatchItem<'_>) -> Result<Vec<u8>, ItemError> {
    let Some(text) = &item.associated_data else { return Ok(Vec::new()) };
    let bytes = base64::decode(text.expose_to_decode());
    Ok(bytes.map_err(ItemError::IllegalAssociatedData)?.expose_for_own_use().to_vec())
}

/// The context; a nonce, which only convergent keys of an old Vault have a use for, is refused.
fn context(item: &BatchItem<'_>) -> Result<Vec<u8>, ItemError> {
    if item.nonce.is_some() {
        return Err(ItemError::NonceNotAllowed);
    }
    let Some(text) = &item.context else { return Ok(Vec::new()) };
    let bytes = base64::decode(text.expose_to_decode()).map_err(ItemError::IllegalBase64)?;
    Ok(bytes.expose_for_own_use().to_vec())
}

/// One such item is no reason to give out the others: the client would not look for it.
fn decryptable(
    call: &Call<'_>,
    made: Result<Encrypted, Failure>,
) -> Result<Result<Encrypted, Failure>, ApiError> {
    if let Ok(made) = &made {
        call.require_decryptable(&made.ciphertext)?;
    }
    Ok(made)
}

fn wire(made: &Encrypted) -> data::Encrypted<'_> {
    data::Encrypted { ciphertext: &made.ciphertext, key_version: made.version.get() }
}

fn wire_item<'a>(
    (made, reference): &'a (Result<Encrypted, ItemError>, std::borrow::Cow<'_, str>),
) -> data::EncryptedItem<'a> {
    data::EncryptedItem { result: made.as_ref().map(wire).map_err(|error| *error), reference }
}

fn opened_item<'a>(
    (opened, item): (&'a Result<Plaintext, ItemError>, &'a BatchItem<'_>),
) -> DecryptedItem<'a> {
    DecryptedItem { result: opened.as_ref().map_err(|error| *error), reference: &item.reference }
}
