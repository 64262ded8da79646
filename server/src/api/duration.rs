//! Durations in the words of Go's libraries, as Vault answers with them.

use selkie_hcl::DurationProblem;
pub(super) use selkie_hcl::parse_seconds;

use super::quote::{Quoted, QuotedBytes};

/// What Vault says of `value`, which is no duration.
pub(super) fn fault_text(problem: DurationProblem<'_>, value: &str) -> String {
    let value = QuotedBytes(value);
    match problem {
        DurationProblem::Invalid => format!("time: invalid duration {value}"),
        DurationProblem::MissingUnit => format!("time: missing unit in duration {value}"),
        DurationProblem::UnknownUnit(unit) => {
            format!("time: unknown unit {} in duration {value}", QuotedBytes(unit))
        }
        DurationProblem::DaysNotANumber(days) => {
            format!("strconv.ParseInt: parsing {}: invalid syntax", Quoted(days))
        }
        DurationProblem::TooLong => TOO_LONG.to_owned(),
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
            assert_eq!(fault_text(problem, text), expected);
        }
    }
}
