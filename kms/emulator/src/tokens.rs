//! Access tokens: JWTs that only this process makes. It publishes the key, as Entra does, so that
//! others than Key Vault can believe them too.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::world::material::numbers;
use crate::world::principal::Principal;

/// Makes and checks tokens.
#[derive(Debug)]
pub(crate) struct Tokens {
    key: KeyPair,
    key_id: String,
    generation: AtomicU64,
}

/// What a token says; the names are Entra's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) aud: String,
    pub(crate) iss: String,
    pub(crate) iat: i64,
    pub(crate) nbf: i64,
    pub(crate) exp: i64,
    pub(crate) appid: String,
    pub(crate) oid: String,
    pub(crate) tid: String,
    sub: String,
    idtyp: String,
    ver: String,
    /// The resource whose identity it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    xms_mirid: Option<String>,
    /// The machine that the identity was used on, where it is not that resource itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    xms_az_rid: Option<String>,
    jti: String,
    generation: u64,
}

/// Why a token is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenError {
    NotAToken,
    Expired,
    Revoked,
}

impl Tokens {
    pub(crate) fn new() -> Result<Self, Unspecified> {
        let key = KeyPair::generate(KeySize::Rsa2048)?;
        let thumbprint = digest(&SHA256, key.public_key().as_ref());
        let key_id = URL_SAFE_NO_PAD.encode(thumbprint).chars().take(27).collect();
        Ok(Self { key, key_id, generation: AtomicU64::new(0) })
    }

    /// The key set that tokens are verified with.
    pub(crate) fn key_set(&self) -> Value {
        let (modulus, exponent) = numbers(self.key.public_key().as_ref()).unwrap_or_default();
        json!({ "keys": [{
            "kty": "RSA", "use": "sig", "kid": self.key_id, "x5t": self.key_id,
            "n": URL_SAFE_NO_PAD.encode(modulus), "e": URL_SAFE_NO_PAD.encode(exponent),
        }] })
    }

    /// A token for a principal.
    pub(crate) fn issue(
        &self,
        holder: &Principal,
        tenant: &str,
        audience: &str,
        now: i64,
        lifetime_seconds: u32,
    ) -> String {
        let claims = Claims {
            aud: audience.into(),
            iss: issuer(tenant),
            iat: now,
            nbf: now,
            exp: now.saturating_add(i64::from(lifetime_seconds)),
            appid: holder.client_id.clone(),
            oid: holder.object_id.clone(),
            tid: tenant.into(),
            sub: holder.object_id.clone(),
            xms_mirid: holder.resource_id.clone(),
            xms_az_rid: holder.machine_id.clone(),
            idtyp: "app".into(),
            ver: "1.0".into(),
            jti: uuid::Uuid::new_v4().simple().to_string(),
            generation: self.generation.load(Ordering::Relaxed),
        };
        let claims = serde_json::to_vec(&claims).unwrap_or_default();
        let header =
            json!({ "typ": "JWT", "alg": "RS256", "kid": self.key_id, "x5t": self.key_id });
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        let random = SystemRandom::new();
        let done = self.key.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature);
        debug_assert!(done.is_ok(), "the signature has the length of the modulus");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// What a token says, if it is one of ours and its time has not passed.
    pub(crate) fn check(&self, token: &str, now: i64) -> Result<Claims, TokenError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::NotAToken)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_e| TokenError::NotAToken)?;
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.key.public_key().as_ref())
            .verify(signed.as_bytes(), &signature)
            .map_err(|_e| TokenError::NotAToken)?;
        let claims = signed.split_once('.').map(|(_, claims)| claims);
        let claims = URL_SAFE_NO_PAD
            .decode(claims.unwrap_or_default())
            .map_err(|_e| TokenError::NotAToken)?;
        let claims: Claims = serde_json::from_slice(&claims).map_err(|_e| TokenError::NotAToken)?;
        if claims.generation < self.generation.load(Ordering::Relaxed) {
            return Err(TokenError::Revoked);
        }
        if claims.exp <= now { Err(TokenError::Expired) } else { Ok(claims) }
    }

    /// Nothing issued until now is believed any more.
    pub(crate) fn revoke_all(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
    }
}

/// The issuer of a tenant's tokens.
pub(crate) fn issuer(tenant: &str) -> String {
    format!("https://sts.windows.net/{tenant}/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder() -> Principal {
        Principal {
            name: "a".into(),
            client_id: "c".into(),
            object_id: "o".into(),
            resource_id: None,
            machine_id: None,
        }
    }

    #[test]
    fn a_token_is_believed_until_it_expires_is_revoked_or_changed() {
        let tokens = Tokens::new().unwrap();
        let token = tokens.issue(&holder(), "t", "https://vault.azure.net", 1000, 60);
        let claims = tokens.check(&token, 1059).unwrap();
        assert_eq!((claims.oid.as_str(), claims.aud.as_str()), ("o", "https://vault.azure.net"));
        assert_eq!(tokens.check(&token, 1060).unwrap_err(), TokenError::Expired);
        let forged = token.replacen('.', ".e30", 1);
        assert_eq!(tokens.check(&forged, 1000).unwrap_err(), TokenError::NotAToken);
        assert_eq!(tokens.check("x", 1000).unwrap_err(), TokenError::NotAToken);
        assert!(Tokens::new().unwrap().check(&token, 1000).is_err(), "another emulator's");
        tokens.revoke_all();
        assert_eq!(tokens.check(&token, 1000).unwrap_err(), TokenError::Revoked);
    }
}
