//! Access tokens: JWTs that only this process makes and believes.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::world::principal::Principal;

const HEADER: &str = r#"{"typ":"JWT","alg":"HS256","kid":"selkie-emulator"}"#;

/// Makes and checks tokens.
#[derive(Debug)]
pub(crate) struct Tokens {
    key: hmac::Key,
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
    idtyp: String,
    ver: String,
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
    pub(crate) fn new() -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        Ok(Self { key, generation: AtomicU64::new(0) })
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
            idtyp: "app".into(),
            ver: "1.0".into(),
            jti: uuid::Uuid::new_v4().simple().to_string(),
            generation: self.generation.load(Ordering::Relaxed),
        };
        let claims = serde_json::to_vec(&claims).unwrap_or_default();
        let signed =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode(claims));
        let signature = hmac::sign(&self.key, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// What a token says, if it is one of ours and its time has not passed.
    pub(crate) fn check(&self, token: &str, now: i64) -> Result<Claims, TokenError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::NotAToken)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_e| TokenError::NotAToken)?;
        hmac::verify(&self.key, signed.as_bytes(), &signature)
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
        Principal { name: "a".into(), client_id: "c".into(), object_id: "o".into() }
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
