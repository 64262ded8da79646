//! Operations with keys.

use std::sync::Arc;

use aws_lc_rs::digest::{self, Digest, SHA256, SHA384, SHA512};
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap};
use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepAlgorithm};
use aws_lc_rs::signature::{self, KeyPair, RsaEncoding, RsaParameters, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::json;

use super::failure::Failure;
use super::objects;
use super::route::Crypto;
use super::{Call, Plan, keys};
use crate::reply::Reply;
use crate::world::key::{KeyType, KeyUse, Version};
use crate::world::material::{Made, Material, RsaKey};
use crate::world::vault::Vault;

#[derive(Deserialize)]
struct Body {
    alg: String,
    value: String,
    digest: Option<String>,
}

/// How something is encrypted.
#[derive(Clone, Copy)]
enum Cipher {
    Oaep(&'static OaepAlgorithm),
    Pkcs1,
    AesKeyWrap,
}

/// How something is signed.
#[derive(Clone, Copy)]
struct Signer {
    hash: &'static digest::Algorithm,
    encoding: &'static dyn RsaEncoding,
    parameters: &'static RsaParameters,
}

impl Crypto {
    const fn key_use(self) -> KeyUse {
        match self {
            Self::Wrap => KeyUse::WrapKey,
            Self::Unwrap => KeyUse::UnwrapKey,
            Self::Encrypt => KeyUse::Encrypt,
            Self::Decrypt => KeyUse::Decrypt,
            Self::Sign => KeyUse::Sign,
            Self::Verify => KeyUse::Verify,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Wrap => "wrapKey",
            Self::Unwrap => "unwrapKey",
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::Sign => "sign",
            Self::Verify => "verify",
        }
    }

    /// Whether it protects something new, which keys outside their dates refuse.
    const fn protects(self) -> bool {
        matches!(self, Self::Wrap | Self::Encrypt | Self::Sign)
    }
}

/// Checks the state of the key, and leaves the arithmetic for later.
pub(super) fn plan(vault: &mut Vault, call: &Call<'_>, crypto: Crypto) -> Result<Plan, Failure> {
    let id = objects::version(call);
    let missing = || Failure::key_not_found(objects::name(call), id);
    let key_type = keys::find(vault, call)?.key_type;
    let key = vault.keys.get(&objects::name(call).to_ascii_lowercase()).ok_or_else(missing)?;
    let version = key.version(id).ok_or_else(missing)?;
    check_state(vault, version, crypto, call.now)?;
    let body: Body = objects::body(call)?;
    let value = decode("value", &body.value)?;
    let kid = objects::key_id(vault, call, key, version);
    let material = Arc::clone(&version.material);
    let quick = material.is_made() && matches!(crypto, Crypto::Wrap | Crypto::Encrypt);
    let work: super::Work = if matches!(crypto, Crypto::Sign | Crypto::Verify) {
        let signer = signer(&body.alg, key_type)?;
        let digest = body.digest.as_deref().map(|text| decode("digest", text)).transpose()?;
        Box::new(move || match crypto {
            Crypto::Verify => verify(&material, signer, &digest.unwrap_or_default(), &value),
            _ => sign(&material, signer, &value, &kid),
        })
    } else {
        let cipher = cipher(&body.alg, key_type, crypto)?;
        let opens = matches!(crypto, Crypto::Unwrap | Crypto::Decrypt);
        Box::new(move || {
            let made = material.get().ok_or_else(Failure::internal)?;
            let result =
                if opens { open(made, cipher, &value) } else { seal(made, cipher, &value) };
            let result = result.ok_or_else(invalid_value)?;
            Ok(Reply::ok(json!({ "kid": kid, "value": URL_SAFE_NO_PAD.encode(result) })))
        })
    };
    Ok(if quick { Plan::Quick(work) } else { Plan::Slow(work) })
}

fn check_state(vault: &Vault, version: &Version, crypto: Crypto, now: i64) -> Result<(), Failure> {
    let name = crypto.name();
    let lenient = vault.settings.disabled_key_wraps
        && matches!(crypto, Crypto::Wrap | Crypto::Encrypt | Crypto::Verify);
    if !version.enabled && !lenient {
        let message = format!("Operation {name} is not allowed on a disabled key.");
        return Err(Failure::forbidden("KeyDisabled", message));
    }
    if crypto.protects() && version.exp.is_some_and(|exp| exp <= now) {
        let message = format!("Operation {name} is not allowed on an expired key.");
        return Err(Failure::forbidden("KeyExpired", message));
    }
    if crypto.protects() && version.nbf.is_some_and(|nbf| nbf > now) {
        let message = format!("Operation {name} is not allowed on a key that is not yet valid.");
        return Err(Failure::forbidden("KeyNotYetValid", message));
    }
    if !version.uses.contains(&crypto.key_use()) {
        let message = format!("Operation {name} is not permitted on this key.");
        return Err(Failure::forbidden("KeyOperationForbidden", message));
    }
    Ok(())
}

fn cipher(alg: &str, key_type: KeyType, crypto: Crypto) -> Result<Cipher, Failure> {
    let wraps = matches!(crypto, Crypto::Wrap | Crypto::Unwrap);
    match (alg, key_type) {
        ("RSA-OAEP-256", KeyType::Rsa | KeyType::RsaHsm) => {
            Ok(Cipher::Oaep(&OAEP_SHA256_MGF1SHA256))
        }
        ("RSA-OAEP", KeyType::Rsa | KeyType::RsaHsm) => Ok(Cipher::Oaep(&OAEP_SHA1_MGF1SHA1)),
        ("RSA1_5", KeyType::Rsa | KeyType::RsaHsm) => Ok(Cipher::Pkcs1),
        ("A256KW", KeyType::OctHsm) if wraps => Ok(Cipher::AesKeyWrap),
        _ => Err(wrong_algorithm(alg, key_type)),
    }
}

fn signer(alg: &str, key_type: KeyType) -> Result<Signer, Failure> {
    let (hash, encoding, parameters): (_, &dyn RsaEncoding, _) = match alg {
        "RS256" => (&SHA256, &signature::RSA_PKCS1_SHA256, &signature::RSA_PKCS1_2048_8192_SHA256),
        "RS384" => (&SHA384, &signature::RSA_PKCS1_SHA384, &signature::RSA_PKCS1_2048_8192_SHA384),
        "RS512" => (&SHA512, &signature::RSA_PKCS1_SHA512, &signature::RSA_PKCS1_2048_8192_SHA512),
        "PS256" => (&SHA256, &signature::RSA_PSS_SHA256, &signature::RSA_PSS_2048_8192_SHA256),
        "PS384" => (&SHA384, &signature::RSA_PSS_SHA384, &signature::RSA_PSS_2048_8192_SHA384),
        "PS512" => (&SHA512, &signature::RSA_PSS_SHA512, &signature::RSA_PSS_2048_8192_SHA512),
        _ => return Err(wrong_algorithm(alg, key_type)),
    };
    if key_type == KeyType::OctHsm {
        return Err(wrong_algorithm(alg, key_type));
    }
    Ok(Signer { hash, encoding, parameters })
}

fn wrong_algorithm(alg: &str, key_type: KeyType) -> Failure {
    Failure::bad(format!(
        "Property alg has invalid value: {alg:?} is not an algorithm for this operation with a key of type \
         {}.\r\n",
        key_type.name()
    ))
}

fn invalid_value() -> Failure {
    Failure::bad("The parameter is incorrect.\r\n")
}

fn seal(made: &Made, cipher: Cipher, plaintext: &[u8]) -> Option<Vec<u8>> {
    match (made, cipher) {
        (Made::Rsa(key), Cipher::Oaep(algorithm)) => {
            let mut out = vec![0; key.oaep_public.ciphertext_size()];
            let sealed = key.oaep_public.encrypt(algorithm, plaintext, &mut out, None).ok()?;
            Some(sealed.to_vec())
        }
        (Made::Rsa(key), Cipher::Pkcs1) => {
            let mut out = vec![0; key.pkcs1_public.ciphertext_size()];
            Some(key.pkcs1_public.encrypt(plaintext, &mut out).ok()?.to_vec())
        }
        (Made::Aes(key), Cipher::AesKeyWrap) => {
            let mut out = vec![0; plaintext.len().checked_add(8)?];
            let kek = AesKek::new(&AES_256, key).ok()?;
            Some(kek.wrap(plaintext, &mut out).ok()?.to_vec())
        }
        _ => None,
    }
}

fn open(made: &Made, cipher: Cipher, sealed: &[u8]) -> Option<Vec<u8>> {
    match (made, cipher) {
        (Made::Rsa(key), Cipher::Oaep(algorithm)) => {
            let mut out = vec![0; key.oaep.min_output_size()];
            Some(key.oaep.decrypt(algorithm, sealed, &mut out, None).ok()?.to_vec())
        }
        (Made::Rsa(key), Cipher::Pkcs1) => {
            let mut out = vec![0; key.pkcs1.min_output_size()];
            Some(key.pkcs1.decrypt(sealed, &mut out).ok()?.to_vec())
        }
        (Made::Aes(key), Cipher::AesKeyWrap) => {
            let mut out = vec![0; sealed.len()];
            let kek = AesKek::new(&AES_256, key).ok()?;
            Some(kek.unwrap(sealed, &mut out).ok()?.to_vec())
        }
        _ => None,
    }
}

fn rsa(material: &Material) -> Result<&RsaKey, Failure> {
    match material.get() {
        Some(Made::Rsa(key)) => Ok(key),
        Some(Made::Aes(_)) | None => Err(Failure::internal()),
    }
}

fn import_digest(signer: Signer, bytes: &[u8]) -> Result<Digest, Failure> {
    Digest::import_less_safe(bytes, signer.hash)
        .map_err(|_e| Failure::bad("The digest has not the length of the algorithm's.\r\n"))
}

fn sign(material: &Material, signer: Signer, digest: &[u8], kid: &str) -> Result<Reply, Failure> {
    let key = rsa(material)?;
    let digest = import_digest(signer, digest)?;
    let mut out = vec![0; key.signing.public_modulus_len()];
    key.signing.sign_digest(signer.encoding, &digest, &mut out).map_err(|_e| invalid_value())?;
    Ok(Reply::ok(json!({ "kid": kid, "value": URL_SAFE_NO_PAD.encode(out) })))
}

fn verify(
    material: &Material,
    signer: Signer,
    digest: &[u8],
    signed: &[u8],
) -> Result<Reply, Failure> {
    let key = rsa(material)?;
    let digest = import_digest(signer, digest)?;
    let public = UnparsedPublicKey::new(signer.parameters, key.signing.public_key().as_ref());
    Ok(Reply::ok(json!({ "value": public.verify_digest(&digest, signed).is_ok() })))
}

/// base64url, with padding or without, as the service takes it.
fn decode(field: &str, text: &str) -> Result<Vec<u8>, Failure> {
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('='));
    let bytes = bytes.ok().filter(|bytes| !bytes.is_empty());
    bytes.ok_or_else(|| Failure::bad(format!("Property {field} has invalid value\r\n")))
}
