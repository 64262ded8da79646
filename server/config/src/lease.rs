//! `default_lease_ttl` and `max_lease_ttl`: how long tokens live.

use std::time::Duration;

use selkie_hcl::Section;

use crate::quantity::duration;

/// 768 hours, as Vault's.
const USUAL: Duration = Duration::from_secs(768 * 3600);
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The limits of tokens' lifetimes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTimes {
    /// `default_lease_ttl`: how long a token lives that was made without a lifetime.
    pub default: Duration,
    /// `max_lease_ttl`: the most that renewals make of one without a period, and the longest
    /// period.
    pub max: Duration,
}

impl Default for LeaseTimes {
    fn default() -> Self {
        Self { default: USUAL, max: USUAL }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("field \"default_lease_ttl\": must not be longer than \"max_lease_ttl\", which is {}s", max.as_secs())]
struct AboveMax {
    max: Duration,
}

pub(crate) fn decode(root: &mut Section<'_>) -> LeaseTimes {
    let max = duration(root, "max_lease_ttl", LONGEST).unwrap_or(USUAL);
    let default = root.field("default_lease_ttl").duration().and_then(|value| {
        let within = |value: Duration| (Duration::from_secs(1)..=max).contains(&value);
        value.try_map(|value| if within(value) { Ok(value) } else { Err(AboveMax { max }) })
    });
    LeaseTimes { default: default.map_or(USUAL.min(max), |default| default.value), max }
}
