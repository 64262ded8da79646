//! How long a token lives, by Vault's rules.

use std::time::Duration;

use selkie_access::PolicyName;

use super::NewToken;

/// `default_lease_ttl` and `max_lease_ttl` of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseLimits {
    /// How long a token lives that was made without a lifetime.
    pub default: Duration,
    /// The most that renewals make of one that has no period, and the longest period.
    pub max: Duration,
    /// How long one without a period is taken while nothing is heard of a store that others share;
    /// `None`: for ever.
    pub max_staleness: Option<Duration>,
    /// The same for one with a period, such as seals use.
    pub max_periodic_staleness: Option<Duration>,
}

impl Default for LeaseLimits {
    /// 768 hours, as Vault's.
    fn default() -> Self {
        let days_32 = Duration::from_secs(768 * 3600);
        Self { default: days_32, max: days_32, max_staleness: None, max_periodic_staleness: None }
    }
}

/// Why a token has no lifetime left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LifetimeError {
    /// It is as old as it can be.
    #[error("past the max TTL, cannot renew")]
    PastMax,
}

/// A lifetime is shorter than it was asked to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifetimeWarning {
    /// The period was above the maximum.
    Period {
        /// What was asked for.
        asked: Duration,
        /// What it is.
        capped: Duration,
    },
    /// The lifetime was above the maximum.
    Ttl {
        /// What was asked for.
        asked: Duration,
        /// What it is.
        capped: Duration,
    },
}

/// What is asked of a lifetime.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestedLifetime {
    pub(super) ttl: Option<Duration>,
    pub(super) period: Option<Duration>,
    pub(super) explicit_max: Option<Duration>,
    /// How old the token is.
    pub(super) age: Duration,
}

/// How long a token lives from now on, by Vault's rules (`framework.CalculateTTL`).
pub(super) fn lifetime(
    asked: RequestedLifetime,
    limits: LeaseLimits,
) -> Result<(Duration, Option<LifetimeWarning>), LifetimeError> {
    let max = asked.explicit_max.map_or(limits.max, |explicit| explicit.min(limits.max));
    let (ttl, most, warning) = match asked.period {
        Some(period) => {
            let capped = period.min(max);
            let warning = LifetimeWarning::Period { asked: period, capped };
            (capped, asked.explicit_max, (capped < period).then_some(warning))
        }
        None => (asked.ttl.unwrap_or(limits.default), Some(max), None),
    };
    let Some(most) = most else { return Ok((ttl, warning)) };
    let left = most.saturating_sub(asked.age);
    if left.is_zero() {
        return Err(LifetimeError::PastMax);
    }
    if ttl > left {
        return Ok((left, Some(LifetimeWarning::Ttl { asked: ttl, capped: left })));
    }
    Ok((ttl, warning))
}

/// Gives `new` the lifetime that it begins with: none is without end but root's.
pub(super) fn settle(
    new: &mut NewToken,
    limits: LeaseLimits,
) -> Result<Vec<LifetimeWarning>, LifetimeError> {
    new.ttl = new.ttl.filter(|ttl| !ttl.is_zero());
    new.period = new.period.filter(|period| !period.is_zero());
    new.explicit_max_ttl = new.explicit_max_ttl.filter(|most| !most.is_zero());
    let is_root = new.policies.iter().any(PolicyName::is_root);
    if is_root && new.ttl.is_none() && new.period.is_none() {
        new.ttl = new.explicit_max_ttl;
        if new.ttl.is_none() {
            new.renewable = false;
            return Ok(Vec::new());
        }
    }
    let asked = RequestedLifetime {
        ttl: new.ttl,
        period: new.period,
        explicit_max: new.explicit_max_ttl,
        age: Duration::ZERO,
    };
    let (ttl, warning) = lifetime(asked, limits)?;
    new.ttl = Some(ttl);
    Ok(warning.into_iter().collect())
}
