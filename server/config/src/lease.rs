//! How long tokens live, and how long they are believed while a shared store is away.

use std::time::Duration;

use selkie_hcl::Section;

use crate::quantity::duration;
use crate::storage::Storage;

/// 768 hours, as Vault's.
const USUAL: Duration = Duration::from_secs(768 * 3600);
/// By then, whoever waits for the store has been told.
const STALENESS: Duration = Duration::from_secs(3600);
/// That a store is there is heard of every 20 seconds.
const SHORTEST_STALENESS: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The limits of tokens' lifetimes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTimes {
    /// `default_lease_ttl`: how long a token lives that was made without a lifetime.
    pub default: Duration,
    /// `max_lease_ttl`: the most that renewals make of one without a period, and the longest
    /// period.
    pub max: Duration,
    /// `max_staleness`: how long a token without a period is believed while nothing is heard of a
    /// store that others share, who may have revoked it; `None`: for ever.
    pub max_staleness: Option<Duration>,
    /// `max_periodic_staleness`: the same for one with a period, such as seals use.
    pub max_periodic_staleness: Option<Duration>,
}

impl Default for LeaseTimes {
    fn default() -> Self {
        Self {
            default: USUAL,
            max: USUAL,
            max_staleness: Some(STALENESS),
            max_periodic_staleness: None,
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("field \"default_lease_ttl\": must not be longer than \"max_lease_ttl\", which is {}s", max.as_secs())]
struct AboveMax {
    max: Duration,
}

#[derive(Debug, thiserror::Error)]
#[error("field {field:?}: must be 0, which is for ever, or from 60s to {}s", LONGEST.as_secs())]
struct BadStaleness {
    field: &'static str,
}

/// Only where the store is shared can a revocation be missed.
pub(crate) fn decode(root: &mut Section<'_>, storage: Option<&Storage>) -> LeaseTimes {
    let is_shared = matches!(storage, Some(Storage::Etcd(_)));
    let mut staleness = |field, usual| staleness(root, field, usual).filter(|_| is_shared);
    let max_staleness = staleness("max_staleness", Some(STALENESS));
    let max_periodic_staleness = staleness("max_periodic_staleness", None);
    let max = duration(root, "max_lease_ttl", LONGEST).unwrap_or(USUAL);
    let default = root.field("default_lease_ttl").duration().and_then(|value| {
        let within = |value: Duration| (Duration::from_secs(1)..=max).contains(&value);
        value.try_map(|value| if within(value) { Ok(value) } else { Err(AboveMax { max }) })
    });
    LeaseTimes {
        default: default.map_or(USUAL.min(max), |default| default.value),
        max,
        max_staleness,
        max_periodic_staleness,
    }
}

fn staleness(
    root: &mut Section<'_>,
    field: &'static str,
    usual: Option<Duration>,
) -> Option<Duration> {
    let Some(given) = root.field(field).duration() else { return usual };
    let within =
        |value: &Duration| value.is_zero() || (SHORTEST_STALENESS..=LONGEST).contains(value);
    let given =
        given.try_map(|value| within(&value).then_some(value).ok_or(BadStaleness { field }));
    given.map(|given| given.value).filter(|value| !value.is_zero())
}
