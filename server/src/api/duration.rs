//! Durations as Vault reads them, with Go's words for those that are none.

use super::quote::{Quoted, QuotedBytes};

/// Why a text is no duration, in the words of Go's libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DurationProblem<'a> {
    Invalid,
    MissingUnit,
    UnknownUnit(&'a str),
    /// `<number>d`, of which the number is none.
    DaysNotANumber(&'a str),
    TooLong,
}

/// Whole seconds of what Vault takes for a duration: seconds as a number, `7d`, or Go's `1h30m`.
///
/// As in Vault a fraction of a second is cut off, and there is no number that is not a duration.
pub(super) fn parse_seconds(text: &str) -> Result<i64, DurationProblem<'_>> {
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

impl DurationProblem<'_> {
    /// Vault's text about it; `value` is what was sent.
    pub(super) fn text(self, value: &str) -> String {
        let value = QuotedBytes(value);
        match self {
            Self::Invalid => format!("time: invalid duration {value}"),
            Self::MissingUnit => format!("time: missing unit in duration {value}"),
            Self::UnknownUnit(unit) => {
                format!("time: unknown unit {} in duration {value}", QuotedBytes(unit))
            }
            Self::DaysNotANumber(days) => {
                format!("strconv.ParseInt: parsing {}: invalid syntax", Quoted(days))
            }
            Self::TooLong => TOO_LONG.to_owned(),
        }
    }
}

const TOO_LONG: &str =
    "multiplication of durations resulted in overflow, one operand may be too large";

/// Whole seconds as Go prints a duration, `768h0m0s`.
pub(super) fn go_text(duration: std::time::Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
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

    #[test]
    fn a_duration_is_printed_as_go_prints_it() {
        let text = |seconds| go_text(std::time::Duration::from_secs(seconds));
        assert_eq!(text(768 * 3600), "768h0m0s");
        assert_eq!((text(90), text(0)), ("1m30s".to_owned(), "0s".to_owned()));
    }

    #[test]
    fn each_fault_has_gos_text() {
        for (text, expected) in [
            ("x", "time: invalid duration \"x\""),
            ("-", "time: invalid duration \"-\""),
            (".s", "time: invalid duration \".s\""),
            ("1.5", "time: missing unit in duration \"1.5\""),
            ("5x", "time: unknown unit \"x\" in duration \"5x\""),
            ("1h<>&", "time: unknown unit \"h<>&\" in duration \"1h<>&\""),
            ("xd", "strconv.ParseInt: parsing \"x\": invalid syntax"),
            ("9999999999999h", "time: invalid duration \"9999999999999h\""),
            ("9223372036854775807", TOO_LONG),
        ] {
            let problem = parse_seconds(text).unwrap_err();
            assert_eq!(problem.text(text), expected);
        }
    }
}
