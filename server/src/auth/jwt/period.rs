//! When a token is good, with Vault's tolerances.

use serde_json::{Map, Value};

/// What Vault allows where a role says nothing (cap's `DefaultLeeway` and `DefaultLeewaySeconds`).
const CLOCK_SKEW: i64 = 60;
const MISSING_CLAIM: i64 = 150;

/// How exactly a token's times are taken, in seconds: 0 is Vault's default, below 0 none at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leeways {
    /// `clock_skew_leeway`: added at both ends.
    pub clock_skew: i64,
    /// `expiration_leeway`: how long a token without `exp` is good.
    pub expiration: i64,
    /// `not_before_leeway`: how long before `exp` a token with nothing else is good.
    pub not_before: i64,
    /// Whether a token without any time is good, because somebody else knows whether it is (cap's
    /// `ValidateAllowMissingIatNbfExp`).
    pub may_be_missing: bool,
}

/// Why it is not the token's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotNow {
    /// It says nothing of its time.
    #[error("no issued at (iat), not before (nbf), or expiration time (exp) claims in token")]
    NoTime,
    /// One of the three is no number of seconds.
    #[error("malformed token time")]
    NoNumber,
    /// Before `nbf`.
    #[error("invalid not before (nbf) claim: token not yet valid")]
    NotYet,
    /// At or after `exp`.
    #[error("invalid expiration time (exp) claim: token is expired")]
    Expired,
    /// Before `iat`.
    #[error("invalid issued at (iat) claim: token issued in the future")]
    IssuedLater,
}

impl Leeways {
    /// Whether a token with these claims is good at `now`, in seconds since 1970, by Vault's rules:
    /// what is missing of `exp` and `nbf` is taken from the others.
    ///
    /// # Errors
    ///
    /// [`NotNow`].
    pub fn check(&self, claims: &Map<String, Value>, now: u64) -> Result<(), NotNow> {
        let time = |claim| claims.get(claim).map_or(Ok(None), seconds);
        let (issued, begins, ends) = (time("iat")?, time("nbf")?, time("exp")?);
        let latest = issued.max(begins);
        let ends = match (ends, latest) {
            (Some(ends), _) => ends,
            (None, Some(start)) => start.saturating_add(leeway(self.expiration, MISSING_CLAIM)),
            (None, None) if self.may_be_missing => return Ok(()),
            (None, None) => return Err(NotNow::NoTime),
        };
        let begins = begins
            .or(issued)
            .unwrap_or_else(|| ends.saturating_sub(leeway(self.not_before, MISSING_CLAIM)));
        let skew = leeway(self.clock_skew, CLOCK_SKEW);
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        if begins > now.saturating_add(skew) {
            return Err(NotNow::NotYet);
        }
        if ends.saturating_add(skew) <= now {
            return Err(NotNow::Expired);
        }
        if issued.is_some_and(|issued| issued > now.saturating_add(skew)) {
            return Err(NotNow::IssuedLater);
        }
        Ok(())
    }
}

const fn leeway(configured: i64, default: i64) -> i64 {
    match configured {
        0 => default,
        ..0 => 0,
        _ => configured,
    }
}

/// A NumericDate (RFC 7519 section 2), which may have a fraction; 0 is none, as in Vault.
fn seconds(claim: &Value) -> Result<Option<i64>, NotNow> {
    const FURTHEST: f64 = 4e15;
    let seconds = match (claim.as_i64(), claim.as_f64()) {
        (Some(seconds), _) => seconds,
        (None, Some(seconds)) if seconds.abs() < FURTHEST => {
            #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
            let seconds = seconds as i64;
            seconds
        }
        _ => return Err(NotNow::NoNumber),
    };
    Ok((seconds != 0).then_some(seconds))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_000_000;

    fn check(leeways: Leeways, claims: Value) -> Result<(), NotNow> {
        let Value::Object(claims) = claims else { panic!("{claims}") };
        leeways.check(&claims, NOW)
    }

    #[test]
    fn times_are_taken_with_a_minute_of_skew_unless_the_role_says_otherwise() {
        let none = Leeways { clock_skew: -1, ..Leeways::default() };
        let hour = Leeways { clock_skew: 3600, ..Leeways::default() };
        let usual = Leeways::default();
        for (claims, by_none, by_usual, by_hour) in [
            (json!({ "exp": NOW + 1 }), Ok(()), Ok(()), Ok(())),
            (json!({ "exp": NOW }), Err(NotNow::Expired), Ok(()), Ok(())),
            (json!({ "exp": NOW - 59 }), Err(NotNow::Expired), Ok(()), Ok(())),
            (json!({ "exp": NOW - 60 }), Err(NotNow::Expired), Err(NotNow::Expired), Ok(())),
            (
                json!({ "exp": NOW + 9000, "nbf": NOW + 61 }),
                Err(NotNow::NotYet),
                Err(NotNow::NotYet),
                Ok(()),
            ),
            (json!({ "exp": NOW + 9000, "nbf": NOW + 60 }), Err(NotNow::NotYet), Ok(()), Ok(())),
            (
                json!({ "exp": NOW + 9000, "nbf": 1, "iat": NOW + 61 }),
                Err(NotNow::IssuedLater),
                Err(NotNow::IssuedLater),
                Ok(()),
            ),
        ] {
            assert_eq!(check(none, claims.clone()), by_none, "{claims}");
            assert_eq!(check(usual, claims.clone()), by_usual, "{claims}");
            assert_eq!(check(hour, claims.clone()), by_hour, "{claims}");
        }
    }

    #[test]
    fn a_missing_exp_is_taken_from_the_later_of_iat_and_nbf() {
        let exact = Leeways { clock_skew: -1, ..Leeways::default() };
        assert_eq!(check(exact, json!({ "iat": NOW - 149 })), Ok(()));
        assert_eq!(check(exact, json!({ "iat": NOW - 150 })), Err(NotNow::Expired));
        assert_eq!(check(exact, json!({ "iat": 1, "nbf": NOW - 149 })), Ok(()));
        let longer = Leeways { expiration: 1000, ..exact };
        assert_eq!(check(longer, json!({ "iat": NOW - 999 })), Ok(()));
        let none = Leeways { expiration: -1, ..exact };
        assert_eq!(check(none, json!({ "iat": NOW })), Err(NotNow::Expired));
    }

    #[test]
    fn a_missing_nbf_is_taken_from_iat_or_from_exp() {
        let exact = Leeways { clock_skew: -1, ..Leeways::default() };
        assert_eq!(check(exact, json!({ "exp": NOW + 150 })), Ok(()));
        assert_eq!(check(exact, json!({ "exp": NOW + 151 })), Err(NotNow::NotYet));
        let longer = Leeways { not_before: 1000, ..exact };
        assert_eq!(check(longer, json!({ "exp": NOW + 151 })), Ok(()));
        assert_eq!(check(exact, json!({ "exp": NOW + 9000, "iat": NOW })), Ok(()));
    }

    #[test]
    fn a_token_without_any_time_or_with_one_that_is_no_number_is_refused() {
        let usual = Leeways::default();
        assert_eq!(check(usual, json!({})), Err(NotNow::NoTime));
        assert_eq!(check(usual, json!({ "exp": 0, "iat": 0, "nbf": 0 })), Err(NotNow::NoTime));
        assert_eq!(check(usual, json!({ "exp": "2000000" })), Err(NotNow::NoNumber));
        assert_eq!(check(usual, json!({ "exp": null })), Err(NotNow::NoNumber));
        assert_eq!(check(usual, json!({ "exp": 1e300 })), Err(NotNow::NoNumber));
        assert_eq!(check(usual, json!({ "exp": 1_000_100.5 })), Ok(()));
        let furthest = json!({ "exp": i64::MAX, "nbf": i64::MIN, "iat": i64::MIN });
        assert_eq!(check(usual, furthest), Ok(()));
    }

    #[test]
    fn where_times_may_be_missing_those_that_are_there_count() {
        let free = Leeways { may_be_missing: true, ..Leeways::default() };
        assert_eq!(check(free, json!({})), Ok(()));
        assert_eq!(check(free, json!({ "exp": NOW - 60 })), Err(NotNow::Expired));
        assert_eq!(check(free, json!({ "nbf": NOW + 61 })), Err(NotNow::NotYet));
        assert_eq!(check(free, json!({ "iat": NOW - 210 })), Err(NotNow::Expired));
        assert_eq!(check(free, json!({ "exp": null })), Err(NotNow::NoNumber));
    }
}
