//! Durations as the fields of Vault's API have them.

/// Why a text is no duration, as Go's libraries tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DurationProblem<'a> {
    /// It has not the form of one.
    Invalid,
    /// A number, but no unit.
    MissingUnit,
    /// No such unit.
    UnknownUnit(&'a str),
    /// `<number>d`, of which the number is none.
    DaysNotANumber(&'a str),
    /// Go has no number for it.
    TooLong,
}

/// Whole seconds of what Vault takes for a duration: seconds as a number, `7d`, or Go's `1h30m`.
///
/// As in Vault a fraction of a second is cut off, and there is no number that is not a duration.
///
/// # Errors
///
/// [`DurationProblem`].
pub fn parse_seconds(text: &str) -> Result<i64, DurationProblem<'_>> {
    if text.is_empty() {
        return Ok(0);
    }
    if let Ok(seconds) = text.parse::<i64>() {
        return within_go(i128::from(seconds).saturating_mul(NANOS_PER_SECOND));
    }
    if let Some(days) = text.strip_suffix('d') {
        let number: i64 = days.parse().or(Err(DurationProblem::DaysNotANumber(days)))?;
        let nanos = i128::from(number).saturating_mul(86_400 * NANOS_PER_SECOND);
        return within_go(nanos);
    }
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest.is_empty() {
        return Err(DurationProblem::Invalid);
    }
    let mut nanos: i128 = 0;
    while !rest.is_empty() {
        let (part, after) = component(rest)?;
        nanos = nanos.saturating_add(part);
        rest = after;
    }
    within_go(nanos.saturating_mul(sign)).or(Err(DurationProblem::Invalid))
}

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// Go counts a duration in nanoseconds, in 64 bits.
fn within_go(nanos: i128) -> Result<i64, DurationProblem<'static>> {
    i64::try_from(nanos)
        .ok()
        .and_then(|_| i64::try_from(nanos / NANOS_PER_SECOND).ok())
        .ok_or(DurationProblem::TooLong)
}

/// One `<number><unit>` of Go's form, in nanoseconds, and what follows it.
fn component(text: &str) -> Result<(i128, &str), DurationProblem<'_>> {
    let (whole, after_whole) = digits(text);
    let (fraction, after) = match after_whole.strip_prefix('.') {
        Some(rest) => digits(rest),
        None => ("", after_whole),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(DurationProblem::Invalid);
    }
    // Go looks at the number's size before it looks for the unit.
    let whole = match whole {
        "" => 0,
        digits => digits
            .parse()
            .ok()
            .filter(|number| *number <= 1_u64 << 63)
            .ok_or(DurationProblem::Invalid)?,
    };
    let is_number = |c: char| c == '.' || c.is_ascii_digit();
    let (unit, rest) = after.split_at(after.find(is_number).unwrap_or(after.len()));
    if unit.is_empty() {
        return Err(DurationProblem::MissingUnit);
    }
    let scale = nanos_per(unit).ok_or(DurationProblem::UnknownUnit(unit))?;
    let nanos = i128::from(whole).saturating_mul(scale);
    Ok((nanos.saturating_add(fraction_of(fraction, scale)), rest))
}

fn fraction_of(digits: &str, scale: i128) -> i128 {
    let mut place = scale;
    digits.bytes().fold(0, |sum: i128, digit| {
        place /= 10;
        sum.saturating_add(i128::from(digit.saturating_sub(b'0')).saturating_mul(place))
    })
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

fn nanos_per(unit: &str) -> Option<i128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => NANOS_PER_SECOND,
        "m" => 60 * NANOS_PER_SECOND,
        "h" => 3600 * NANOS_PER_SECOND,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_days_and_go_durations_are_understood() {
        for (text, seconds) in [
            ("", 0),
            ("0", 0),
            ("3600", 3600),
            ("-5", -5),
            ("7d", 604_800),
            ("24h", 86_400),
            ("1h30m5s", 5405),
            ("1.5h", 5400),
            (".5m", 30),
            ("1999ms", 1),
            ("-1m", -60),
            ("3µs", 0),
        ] {
            assert_eq!(parse_seconds(text), Ok(seconds), "{text}");
        }
    }
}
