//! Numbers and durations within limits.

use std::ops::RangeInclusive;
use std::time::Duration;

use selkie_hcl::{Located, Section};

/// A number or duration that makes no sense where it stands.
#[derive(Debug, thiserror::Error)]
enum QuantityError {
    #[error("field {field:?}: must be from {least} to {most}")]
    Number { field: &'static str, least: u64, most: u64 },
    #[error("field {field:?}: must be from 1s to {}s", most.as_secs())]
    Duration { field: &'static str, most: Duration },
}

/// The number in `field`, if it is set and within `range`.
pub(crate) fn number<'d, N: TryFrom<u64>>(
    section: &mut Section<'d>,
    field: &'static str,
    range: RangeInclusive<u64>,
) -> Option<Located<'d, N>> {
    limited(section.field(field).unsigned()?, field, range)
}

/// `value`, if it is within `range`.
pub(crate) fn limited<'d, N: TryFrom<u64>>(
    value: Located<'d, u64>,
    field: &'static str,
    range: RangeInclusive<u64>,
) -> Option<Located<'d, N>> {
    let (least, most) = range.into_inner();
    value.try_map(|value| {
        let within = (least..=most).contains(&value);
        let converted = if within { N::try_from(value).ok() } else { None };
        converted.ok_or(QuantityError::Number { field, least, most })
    })
}

/// The time in `field`, if it is set and from one second to `most`. Zero never means "no limit"
/// (I10).
pub(crate) fn duration(
    section: &mut Section<'_>,
    field: &'static str,
    most: Duration,
) -> Option<Duration> {
    let value = section.field(field).duration()?.try_map(|value| {
        let within = (Duration::from_secs(1)..=most).contains(&value);
        if within { Ok(value) } else { Err(QuantityError::Duration { field, most }) }
    });
    value.map(|located| located.value)
}
