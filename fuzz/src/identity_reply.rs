use std::time::{Duration, SystemTime};

use selkie_kms::azure::Outcome;
use selkie_kms::fuzzing::{managed_identity_refusal, token_in};
use serde_json::Value;

use crate::second_parser::is_beyond;

const NOW: u64 = 1_767_225_600;

/// Feeds the bytes to the reader of what IMDS answers: as a token, and, behind a byte that chooses a
/// status, as a refusal.
///
/// The token and its time are those that a second JSON parser sees; an answer that holds none says
/// so without repeating a word of it; and of a refusal nothing but a code gets into the diagnosis.
pub fn identity_reply(data: &[u8]) -> bool {
    refusal(data);
    agrees(data, |answer| token_in(answer, SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)))
}

pub(crate) fn agrees(
    data: &[u8],
    read: impl Fn(&[u8]) -> Result<(String, Duration), String>,
) -> bool {
    let json = serde_json::from_slice::<Value>(data);
    let (token, lifetime) = match read(data) {
        Ok(token) => token,
        Err(said) => {
            let known = [
                "the answer is not a token endpoint's",
                "the token is malformed",
                "the answer does not say when the token expires",
            ];
            assert!(known.contains(&&*said), "an error says more: {said}");
            if let Ok(json) = &json {
                assert!(
                    expected(json).is_none() || is_named_twice(data),
                    "a token was refused: {json}"
                );
            }
            return false;
        }
    };
    if is_beyond(data) {
        return true;
    }
    let json = json.expect("accepted, so JSON");
    let (expected, seconds) = expected(&json).expect("accepted, so a token");
    assert_eq!(token, expected, "another token");
    assert!(token.bytes().all(|byte| byte.is_ascii_graphic()) && !token.is_empty());
    assert_eq!(lifetime, Duration::from_secs(seconds.clamp(5, 48 * 3600)));
    true
}

/// The reader takes no member twice; a `Value` takes the last.
fn is_named_twice(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let members = ["access_token", "expires_in", "expires_on"];
    members.iter().any(|name| text.matches(name).count() > 1) || text.contains("\\u")
}

fn expected(json: &Value) -> Option<(String, u64)> {
    let object = json.as_object()?;
    let token = object.get("access_token")?.as_str()?;
    let seconds = |name| match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => number.as_u64().map(Some).ok_or(()),
        Some(Value::String(text)) => Ok(text.parse().ok()),
        Some(_) => Err(()),
    };
    let (relative, absolute) = (seconds("expires_in").ok()?, seconds("expires_on").ok()?);
    let lifetime = relative.or(absolute.map(|at: u64| at.saturating_sub(NOW)))?;
    let is_plain = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    is_plain.then(|| (token.to_owned(), lifetime))
}

fn refusal(data: &[u8]) {
    let Some((choice, body)) = data.split_first() else { return };
    let status = [400, 401, 403, 404, 410, 418, 429, 500, 503][usize::from(choice % 9)];
    let diagnosis = managed_identity_refusal(status, body).expect("a client");
    assert_eq!(diagnosis.status, Some(status));
    assert!(status == 400 || diagnosis.outcome != Outcome::IdentityAmbiguous);
    if let Some(code) = &diagnosis.code {
        assert!(
            code.len() <= 64
                && code.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
        );
        // What nobody asked for is not looked at, be it text or not.
        let Ok(json) = serde_json::from_slice::<Value>(body) else { return };
        let named = json["error"].as_str().or_else(|| json["error"]["code"].as_str());
        assert_eq!(named, Some(&**code));
    }
}
