//! The claims of a token, under the checks that they have passed: all of [`Compact::verify`], or all but
//! the signature where somebody else is asked about that.

use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::compact::{Compact, Malformed};
use super::key::VerificationKey;
use super::period::{Leeways, NotNow};

/// What a token must be.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// How it may be signed; empty: by any algorithm there is.
    pub algorithms: &'a [Algorithm],
    /// Who must have made it: one of these; empty: anyone who has the key.
    pub issuers: &'a [String],
    /// Whom it must be about.
    pub subject: Option<&'a str>,
    /// Whom it must be for: one of these; empty: for nobody named.
    pub audiences: &'a [String],
    /// How exactly its times are taken.
    pub leeways: Leeways,
}

/// The claims of a token whose time, issuer and audience were checked, and whose signature was verified
/// or is somebody else's to judge ([`Compact::claims_for_review`]).
#[derive(Clone, Debug, PartialEq)]
pub struct Claims(Map<String, Value>);

/// Why a token is not believed. The texts are those of Vault's library `cap`, which say no more
/// than the client knows: it holds the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unbelievable {
    /// It is no token.
    #[error("error verifying token signature: {0}")]
    Malformed(#[from] Malformed),
    /// It is signed with an algorithm that is not allowed.
    #[error("invalid algorithm (alg) header parameter: token signed with unexpected algorithm")]
    Algorithm(Algorithm),
    /// None of the keys has signed it.
    #[error(
        "error verifying token signature: no known key successfully validated the token signature"
    )]
    Signature,
    /// It is not its time.
    #[error(transparent)]
    Time(#[from] NotNow),
    /// It is from another issuer.
    #[error("invalid issuer (iss) claim")]
    Issuer,
    /// It is for another subject.
    #[error("invalid subject (sub) claim")]
    Subject,
    /// It is for none of the audiences expected.
    #[error("invalid audience (aud) claim: audience claim does not match any expected audience")]
    Audience,
    /// It is for an audience, and the role expects none.
    #[error("audience claim found in JWT but no audiences bound to the role")]
    AudienceUnbound,
}

impl Compact<'_> {
    /// The claims, if one of `keys` has signed them and they are as `expected` at `now`, in seconds
    /// since 1970.
    ///
    /// # Errors
    ///
    /// [`Unbelievable`]; nothing of the claims is looked at before the signature.
    pub fn verify(
        self,
        keys: &[VerificationKey],
        expected: &Expected<'_>,
        now: u64,
    ) -> Result<Claims, Unbelievable> {
        self.check_signature(expected.algorithms, keys)?;
        Self::check_claims(Claims(self.claims), expected, now)
    }

    /// The claims of a token whose signature somebody else must be asked about, who knows more of
    /// it than a key does: nothing may follow from them before that.
    pub(crate) fn claims_for_review(
        self,
        expected: &Expected<'_>,
        now: u64,
    ) -> Result<Claims, Unbelievable> {
        Self::check_claims(Claims(self.claims), expected, now)
    }

    fn check_claims(
        claims: Claims,
        expected: &Expected<'_>,
        now: u64,
    ) -> Result<Claims, Unbelievable> {
        let text = |claim| claims.0.get(claim).and_then(Value::as_str);
        let issuer = text("iss").unwrap_or_default();
        if !expected.issuers.is_empty() && !expected.issuers.iter().any(|one| one == issuer) {
            return Err(Unbelievable::Issuer);
        }
        if expected.subject.is_some_and(|wanted| text("sub") != Some(wanted)) {
            return Err(Unbelievable::Subject);
        }
        let has_audience = claims.check_audience(expected.audiences)?;
        expected.leeways.check(&claims.0, now)?;
        let is_unbound = has_audience && expected.audiences.is_empty();
        if is_unbound { Err(Unbelievable::AudienceUnbound) } else { Ok(claims) }
    }

    /// Whether one of `keys` has signed it by one of `algorithms`.
    ///
    /// # Errors
    ///
    /// [`Unbelievable::Algorithm`], [`Unbelievable::Signature`].
    pub fn check_signature(
        &self,
        algorithms: &[Algorithm],
        keys: &[VerificationKey],
    ) -> Result<(), Unbelievable> {
        if !algorithms.is_empty() && !algorithms.contains(&self.algorithm) {
            return Err(Unbelievable::Algorithm(self.algorithm));
        }
        let signed = keys.iter().any(|key| key.has_signed(self));
        if signed { Ok(()) } else { Err(Unbelievable::Signature) }
    }
}

impl Claims {
    /// A claim of this name, or, from `/` on, at this place (RFC 6901).
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        let mut steps = match name.strip_prefix('/') {
            None => return self.0.get(name),
            Some(pointer) => {
                pointer.split('/').map(|step| step.replace("~1", "/").replace("~0", "~"))
            }
        };
        let first = self.0.get(&steps.next()?)?;
        steps.try_fold(first, |value, step| match value {
            Value::Object(members) => members.get(&step),
            Value::Array(values) => values.get(step.parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// A claim that is a text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// Whether the token is for anybody; it must be for one of `bound`, where there are any.
    fn check_audience(&self, bound: &[String]) -> Result<bool, Unbelievable> {
        let audiences: Vec<&str> = match self.0.get("aud") {
            None => Vec::new(),
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(many)) => {
                let texts: Option<Vec<_>> = many.iter().map(Value::as_str).collect();
                texts.ok_or(Unbelievable::Audience)?
            }
            Some(_) => return Err(Unbelievable::Audience),
        };
        let is_meant = |wanted: &String| audiences.contains(&wanted.as_str());
        if !bound.is_empty() && !bound.iter().any(is_meant) {
            return Err(Unbelievable::Audience);
        }
        Ok(!audiences.is_empty())
    }

    /// For tests of what stands on claims.
    #[cfg(test)]
    pub(crate) fn of(value: Value) -> Self {
        let Value::Object(claims) = value else { panic!("no object: {value}") };
        Self(claims)
    }
}
