//! A token and how long it is good for, whatever the clocks say.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::pace::jittered;
use crate::http::object;

/// A token is used for this long at least, also if the clocks disagree so far that it seems expired:
/// whoever issued it knows better.
const SHORTEST: Duration = Duration::from_secs(5);
/// And never longer, whatever an answer claims.
const LONGEST: Duration = Duration::from_secs(48 * 3600);
/// A token is not sent when it expires on the way.
const MARGIN: Duration = Duration::from_secs(30);

/// A token for Key Vault; wiped with its last holder.
pub struct Token {
    text: Zeroizing<String>,
    fetched: Instant,
    lifetime: Duration,
}

impl Token {
    /// Reads a token endpoint's answer, which came at `fetched`, at the wall time `now`.
    pub(super) fn read(answer: &[u8], fetched: Instant, now: SystemTime) -> Result<Self, NoToken> {
        let answer = Answer::parse(answer)?;
        let lifetime = answer.remaining(now).ok_or(NoToken::NoExpiry)?;
        Ok(Self::new(Zeroizing::new(answer.access_token.into_owned()), fetched, lifetime))
    }

    /// A token that was fetched at `fetched` and is good for `lifetime` from then on.
    pub(super) fn new(text: Zeroizing<String>, fetched: Instant, lifetime: Duration) -> Self {
        Self { text, fetched, lifetime: lifetime.clamp(SHORTEST, LONGEST) }
    }

    /// What goes behind `Bearer`.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// When it expires.
    pub fn expires(&self) -> Instant {
        self.fetched + self.lifetime
    }

    pub(super) fn age(&self) -> Duration {
        self.fetched.elapsed()
    }

    pub(super) fn is_good(&self) -> bool {
        self.age() + MARGIN.min(self.lifetime / 10) < self.lifetime
    }

    /// About half of its lifetime, so that a day of outage costs no token of managed identity.
    pub(super) fn refresh(&self) -> Instant {
        self.fetched + jittered(self.lifetime / 2)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// Why an answer holds no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoToken {
    #[error("the answer is not a token endpoint's")]
    NotJson,
    #[error("the token is malformed")]
    Malformed,
    #[error("the answer does not say when the token expires")]
    NoExpiry,
}

/// Whether Azure's SDK reads this answer as it is meant. It takes a missing token for an empty one
/// and a missing expiry for now, and panics over an expiry beyond its calendar.
pub(super) fn check_for_sdk(answer: &[u8]) -> Result<(), NoToken> {
    match Answer::parse(answer)?.expires_in {
        Some(Seconds::Number(seconds)) if u32::try_from(seconds).is_ok() => Ok(()),
        _ => Err(NoToken::NoExpiry),
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    access_token: Cow<'a, str>,
    expires_in: Option<Seconds<'a>>,
    expires_on: Option<Seconds<'a>>,
}

impl<'a> Answer<'a> {
    /// How long the token is good for, at the wall time `now`.
    ///
    /// The relative time depends on nobody's clock, but is that of the token's issue: IMDS keeps
    /// tokens, and hands out for hours what it was given once. So the shorter of both counts. Only a
    /// token that has ended by our clock has not, as it is just handed out: that clock is wrong. By
    /// one that is behind, the absolute time is the longer one.
    fn remaining(&self, now: SystemTime) -> Option<Duration> {
        let relative = self.expires_in.as_ref().and_then(Seconds::read);
        let absolute = self.expires_on.as_ref().and_then(Seconds::read).and_then(|expires| {
            let now = now.duration_since(SystemTime::UNIX_EPOCH).ok()?;
            Some(expires.saturating_sub(now))
        });
        match (relative, absolute) {
            (Some(relative), Some(absolute)) if !absolute.is_zero() => Some(relative.min(absolute)),
            (Some(relative), _) => Some(relative),
            (None, absolute) => absolute,
        }
    }

    fn parse(answer: &'a [u8]) -> Result<Self, NoToken> {
        let answer: Self = object(answer).ok_or(NoToken::NotJson)?;
        let text = &answer.access_token;
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(NoToken::Malformed);
        }
        Ok(answer)
    }
}

/// A number, or one in quotes: it depends on the endpoint and its version.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds<'a> {
    Number(u64),
    #[serde(borrow)]
    Text(Cow<'a, str>),
}

impl Seconds<'_> {
    fn read(&self) -> Option<Duration> {
        match self {
            Self::Number(seconds) => Some(Duration::from_secs(*seconds)),
            Self::Text(text) => text.parse().ok().map(Duration::from_secs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifetime(fields: &str) -> Result<Duration, NoToken> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let answer = format!(r#"{{"access_token":"ey.J0","token_type":"Bearer"{fields}}}"#);
        Token::read(answer.as_bytes(), Instant::now(), now).map(|token| token.lifetime)
    }

    #[tokio::test(start_paused = true)]
    async fn expiry_is_read_as_number_and_as_text() {
        let hour = Ok(Duration::from_secs(3600));
        for fields in [
            r#","expires_on":"1003600""#,
            r#","expires_on":1003600"#,
            r#","expires_in":3600"#,
            r#","expires_in":"soon","expires_on":1003600"#,
            r#","expires_in":"3600","expires_on":"06/20/2019""#,
        ] {
            assert_eq!(lifetime(fields), hour, "{fields}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_was_kept_elsewhere_counts_from_its_issue_unless_our_clock_is_wrong() {
        for (expires_on, seconds, why) in [
            (1_000_600, 600, "it is hours old"),
            (1_086_400, 86_400, "it is new"),
            (1_090_000, 86_400, "our clock is behind"),
            (1_000_000, 86_400, "our clock is ahead"),
            (5, 86_400, "our clock is ahead by years"),
        ] {
            let fields = format!(r#","expires_in":"86400","expires_on":"{expires_on}""#);
            assert_eq!(lifetime(&fields), Ok(Duration::from_secs(seconds)), "{why}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn expiry_that_is_past_or_absurd_is_bounded_and_a_missing_one_refused() {
        assert_eq!(lifetime(r#","expires_on":"1""#), Ok(SHORTEST));
        assert_eq!(lifetime(r#","expires_in":99999999999999"#), Ok(LONGEST));
        for missing in ["", r#","expires_on":"06/20/2019""#] {
            assert_eq!(lifetime(missing), Err(NoToken::NoExpiry), "{missing}");
        }
        assert_eq!(lifetime(r#","expires_on":-5"#), Err(NoToken::NotJson));
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_is_no_answer() {
        let read = |answer: &str| {
            Token::read(answer.as_bytes(), Instant::now(), SystemTime::UNIX_EPOCH).map(drop)
        };
        assert_eq!(read(r#" {"access_token":"eyJ0","expires_in":10}"#), Ok(()));
        assert_eq!(read(r#"["eyJ0",10,null]"#), Err(NoToken::NotJson));
    }

    #[tokio::test(start_paused = true)]
    async fn token_that_would_break_a_header_is_refused() {
        for text in ["", r"a\r\nb", "a b", "\u{e4}"] {
            let answer = format!(r#"{{"access_token":"{text}","expires_in":10}}"#);
            let read = Token::read(answer.as_bytes(), Instant::now(), SystemTime::UNIX_EPOCH);
            assert_eq!(read.map(|_| ()), Err(NoToken::Malformed), "{text:?}");
        }
    }
}
