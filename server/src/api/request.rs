//! What each endpoint takes, by its wire names: plain structs, filled from [`Fields`].
//!
//! Decode after the permit: Vault converts most fields only once the policy has let the request
//! through, so that a client without rights learns nothing about its fields.

pub mod token;

use std::borrow::Cow;

use super::{
    ApiError, SecretText,
    batch::{self, BatchItem, BatchOperation},
    fields::{FieldError, Fields},
};

/// One item, or a batch; the reply has the same form.
#[derive(Debug)]
pub enum Input<'a> {
    /// The fields of the request itself.
    Single(BatchItem<'a>),
    /// `batch_input`, never empty, of which either every item has a context or none.
    Batch(Vec<BatchItem<'a>>),
}

/// `encrypt/:name`
#[derive(Debug)]
pub struct Encrypt<'a> {
    /// What to encrypt.
    pub input: Input<'a>,
    /// Type of the key, should it be created by this request.
    pub key_type: Option<Cow<'a, str>>,
    /// Should the key be created: as a convergent one.
    pub convergent_encryption: bool,
    /// Status code of a batch of which only a part failed.
    pub partial_failure_response_code: Option<i64>,
}

/// `decrypt/:name`
#[derive(Debug)]
pub struct Decrypt<'a> {
    /// What to decrypt.
    pub input: Input<'a>,
    /// Status code of a batch of which only a part failed.
    pub partial_failure_response_code: Option<i64>,
}

/// `rewrap/:name`; Vault 1.14 knows no associated data here.
#[derive(Debug)]
pub struct Rewrap<'a> {
    /// What to rewrap.
    pub input: Input<'a>,
}

/// `keys/:name`, create.
#[derive(Debug)]
pub struct CreateKey<'a> {
    /// Vault's name of the key type; Vault's default is `aes256-gcm96`.
    pub key_type: Option<Cow<'a, str>>,
    /// Derive a key per context.
    pub derived: bool,
    /// Equal plaintexts give equal ciphertexts.
    pub convergent_encryption: bool,
    /// Its material may be exported.
    pub exportable: bool,
    /// Its material may be backed up in the clear.
    pub allow_plaintext_backup: bool,
    /// Rotate after so many seconds; 0 is never.
    pub auto_rotate_period: i64,
    /// Only for HMAC keys.
    pub key_size: i64,
    /// Ours: seals that are away are left out rather than waited for.
    pub allow_missing_seals: bool,
}

/// `keys/:name`, read.
#[derive(Debug)]
pub struct ReadKey<'a> {
    /// Base64 of the context to show a derived public key for.
    pub context: Option<SecretText<'a>>,
}

/// `keys/:name/config`; what is absent stays as it is.
#[derive(Debug)]
pub struct ConfigureKey {
    /// Oldest version that still decrypts.
    pub min_decryption_version: Option<i64>,
    /// Oldest version that still encrypts; 0 is the latest only by default.
    pub min_encryption_version: Option<i64>,
    /// Whether the key may be deleted.
    pub deletion_allowed: Option<bool>,
    /// Ours: whether seals that are away are left out rather than waited for.
    pub allow_missing_seals: Option<bool>,
    /// Can be switched on, never off.
    pub exportable: Option<bool>,
    /// Can be switched on, never off.
    pub allow_plaintext_backup: Option<bool>,
    /// In seconds; 0 is never.
    pub auto_rotate_period: Option<i64>,
}

/// `keys/:name/trim`
#[derive(Debug)]
pub struct TrimKey {
    /// Oldest version to keep; absent is an error of the operation's.
    pub min_available_version: Option<i64>,
}

/// `auth/token/renew-self`
#[derive(Debug)]
pub struct RenewSelf {
    /// Seconds asked for; 0 is the token's own period.
    pub increment: i64,
}

/// `sys/capabilities` and its siblings, whosoever they are about.
#[derive(Debug)]
pub struct Capabilities {
    /// Never empty.
    pub paths: Vec<String>,
}

impl<'a> Encrypt<'a> {
    /// Takes the endpoint's fields.
    ///
    /// # Errors
    ///
    /// A field that cannot be converted (in Vault's text for this endpoint alone), no plaintext,
    /// or a batch that is empty, malformed or mixed.
    pub fn decode(fields: &mut Fields<'a>) -> Result<Self, ApiError> {
        let item = single(fields, BatchOperation::Encrypt).map_err(ApiError::EncryptField)?;
        let encrypt = Self {
            key_type: fields.text("type").map_err(ApiError::EncryptField)?,
            convergent_encryption: fields
                .bool("convergent_encryption")
                .map_err(ApiError::EncryptField)?
                .unwrap_or_default(),
            partial_failure_response_code: fields
                .int("partial_failure_response_code")
                .map_err(ApiError::EncryptField)?,
            input: input(fields, BatchOperation::Encrypt, item)?,
        };
        Ok(encrypt)
    }
}

impl<'a> Decrypt<'a> {
    /// Takes the endpoint's fields.
    ///
    /// # Errors
    ///
    /// A field that cannot be converted, no ciphertext, or a batch that is empty, malformed or
    /// mixed.
    pub fn decode(fields: &mut Fields<'a>) -> Result<Self, ApiError> {
        let item = single(fields, BatchOperation::Decrypt)?;
        Ok(Self {
            partial_failure_response_code: fields.int("partial_failure_response_code")?,
            input: input(fields, BatchOperation::Decrypt, item)?,
        })
    }
}

impl<'a> Rewrap<'a> {
    /// Takes the endpoint's fields.
    ///
    /// # Errors
    ///
    /// As [`Decrypt::decode`].
    pub fn decode(fields: &mut Fields<'a>) -> Result<Self, ApiError> {
        let item = single(fields, BatchOperation::Rewrap)?;
        Ok(Self { input: input(fields, BatchOperation::Rewrap, item)? })
    }
}

impl CreateKey<'_> {
    fn ignore_unsupported(fields: &mut Fields<'_>) -> Result<(), FieldError> {
        // Known to Vault's schema, and so never the subject of a warning.
        fields.text("managed_key_name")?;
        fields.text("managed_key_id")?;
        fields.secret("context")?;
        Ok(())
    }
}

impl<'a> CreateKey<'a> {
    /// Takes the endpoint's fields.
    ///
    /// # Errors
    ///
    /// A field that cannot be converted.
    pub fn decode(fields: &mut Fields<'a>) -> Result<Self, ApiError> {
        Self::ignore_unsupported(fields)?;
        Ok(Self {
            key_type: fields.text("type")?,
            derived: fields.bool("derived")?.unwrap_or_default(),
            convergent_encryption: fields.bool("convergent_encryption")?.unwrap_or_default(),
            exportable: fields.bool("exportable")?.unwrap_or_default(),
            allow_plaintext_backup: fields.bool("allow_plaintext_backup")?.unwrap_or_default(),
            auto_rotate_period: fields.seconds("auto_rotate_period")?.unwrap_or_default(),
            key_size: fields.int("key_size")?.unwrap_or_default(),
            allow_missing_seals: fields.bool("allow_missing_seals")?.unwrap_or_default(),
        })
    }
}

impl<'a> ReadKey<'a> {
    /// Takes the endpoint's fields; Vault's schema for them is that of [`CreateKey`].
    ///
    /// # Errors
    ///
    /// A field that cannot be converted.
    pub fn decode(fields: &mut Fields<'a>) -> Result<Self, ApiError> {
        let context = non_empty(fields.secret("context")?);
        CreateKey::decode(fields)?;
        Ok(Self { context })
    }
}

impl ConfigureKey {
    /// Takes the endpoint's fields.
    ///
    /// # Errors
    ///
    /// A field that cannot be converted.
    pub fn decode(fields: &mut Fields<'_>) -> Result<Self, ApiError> {
        Ok(Self {
            min_decryption_version: fields.int("min_decryption_version")?,
            min_encryption_version: fields.int("min_encryption_version")?,
            deletion_allowed: fields.bool("deletion_allowed")?,
            allow_missing_seals: fields.bool("allow_missing_seals")?,
            exportable: fields.bool("exportable")?,
            allow_plaintext_backup: fields.bool("allow_plaintext_backup")?,
            auto_rotate_period: fields.seconds("auto_rotate_period")?,
        })
    }
}

impl TrimKey {
    /// Takes the endpoint's fields.
    ///
    /// # Errors
    ///
    /// A field that cannot be converted.
    pub fn decode(fields: &mut Fields<'_>) -> Result<Self, ApiError> {
        Ok(Self { min_available_version: fields.int("min_available_version")? })
    }
}

/// Takes the fields of `keys/:name/rotate`, which Selkie has no use for.
///
/// # Errors
///
/// A field that cannot be converted.
pub fn decode_rotate(fields: &mut Fields<'_>) -> Result<(), ApiError> {
    fields.text("managed_key_name")?;
    fields.text("managed_key_id")?;
    Ok(())
}

impl RenewSelf {
    /// Takes the endpoint's fields.
    ///
    /// # Errors
    ///
    /// A field that cannot be converted.
    pub fn decode(fields: &mut Fields<'_>) -> Result<Self, ApiError> {
        // The request's own token is what counts here.
        fields.secret("token")?;
        Ok(Self { increment: fields.seconds("increment")?.unwrap_or_default() })
    }
}

/// Takes the fields of `auth/token/lookup-self`: a token, which the request's own stands for.
///
/// # Errors
///
/// A field that cannot be converted.
pub fn decode_lookup_self(fields: &mut Fields<'_>) -> Result<(), ApiError> {
    fields.secret("token")?;
    Ok(())
}

impl Capabilities {
    /// Takes the endpoint's fields.
    ///
    /// # Errors
    ///
    /// A field that cannot be converted, or no path.
    pub fn decode(fields: &mut Fields<'_>) -> Result<Self, ApiError> {
        // Each is looked for in all rules of all policies, and told twice in the reply.
        const MOST_PATHS: usize = 1024;
        let mut list = |field| match fields.list(field)? {
            Some(paths) if paths.len() > MOST_PATHS => Err(FieldError::too_many(field)),
            few => Ok(few),
        };
        let (paths, path) = (list("paths")?, list("path")?);
        let paths = paths.filter(|paths| !paths.is_empty()).or(path).unwrap_or_default();
        if paths.is_empty() {
            return Err(ApiError::MissingPaths);
        }
        Ok(Self { paths })
    }
}

/// The fields of a request that is its own only item; `None` without the one that matters.
fn single<'a>(
    fields: &mut Fields<'a>,
    operation: BatchOperation,
) -> Result<Option<BatchItem<'a>>, FieldError> {
    let text = fields.secret(operation.text_field())?;
    let context = non_empty(fields.secret("context")?);
    let nonce = non_empty(fields.secret("nonce")?);
    let associated_data = match operation {
        BatchOperation::Rewrap => None,
        BatchOperation::Encrypt | BatchOperation::Decrypt => {
            non_empty(fields.secret("associated_data")?)
        }
    };
    let key_version = match operation {
        BatchOperation::Decrypt => 0,
        BatchOperation::Encrypt | BatchOperation::Rewrap => {
            fields.int("key_version")?.unwrap_or_default()
        }
    };
    Ok(text.map(|text| BatchItem {
        text,
        context,
        nonce,
        associated_data,
        key_version,
        reference: Cow::Borrowed(""),
    }))
}

fn input<'a>(
    fields: &mut Fields<'a>,
    operation: BatchOperation,
    item: Option<BatchItem<'a>>,
) -> Result<Input<'a>, ApiError> {
    if let Some(batch) = fields.batch() {
        return batch::decode(&batch, operation).map(Input::Batch);
    }
    match operation {
        // Nothing is a plaintext too, if it is there.
        BatchOperation::Encrypt => item.ok_or(ApiError::MissingPlaintext),
        BatchOperation::Decrypt | BatchOperation::Rewrap => {
            item.filter(|item| !item.text.is_empty()).ok_or(ApiError::MissingCiphertext)
        }
    }
    .map(Input::Single)
}

/// Vault does not tell an empty field from an absent one here.
fn non_empty(text: Option<SecretText<'_>>) -> Option<SecretText<'_>> {
    text.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
