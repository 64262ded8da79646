use std::sync::LazyLock;

use selkie_crypto::{Plaintext, StateKey, unwrap_response, wrap_response};

static KEY: LazyLock<StateKey> =
    LazyLock::new(|| StateKey::init_with(|key| key.fill(7)).expect("a page for a key"));

const PLACE: &str = "transit/transit/autounseal";
pub(crate) const CONTENT: &[u8] = br#"{"latest":3}"#;
const TOKEN: &[u8] = b"hvs.wrapping";

/// Always the same randomness, so that an input says all there is to say.
fn fixed(buffer: &mut [u8]) -> Result<(), selkie_crypto::RandomError> {
    buffer.fill(5);
    Ok(())
}

fn record() -> Vec<u8> {
    KEY.seal_record(PLACE, 9, CONTENT.to_vec(), &fixed).expect("short")
}

fn response() -> Vec<u8> {
    wrap_response(TOKEN, Plaintext::new(CONTENT.to_vec()), &fixed).expect("short")
}

/// Seals the bytes as a record and as a wrapped response, and takes them for changes of a sealed one.
///
/// What was sealed opens at its own place with its own token alone; nothing else opens, neither the
/// bytes as they are nor a genuine record that they change.
pub fn sealed_record(data: &[u8]) -> bool {
    let at_place = |sealed: &[u8], place: &str| {
        let opened = KEY.open_record(place, sealed).ok()?;
        Some((opened.sequence, opened.content))
    };
    let with_token = |sealed: &[u8], token: &[u8]| {
        Some(unwrap_response(token, sealed).ok()?.expose_for_reply().to_vec())
    };
    round_trip(data);
    let changed = changed(&record(), data);
    is_refused_unless_genuine(&changed, &record(), |sealed| {
        at_place(sealed, PLACE).map(|(_, content)| content)
    }) | is_refused_unless_genuine(data, &record(), |sealed| {
        at_place(sealed, PLACE).map(|(_, content)| content)
    }) | is_refused_unless_genuine(&self::changed(&response(), data), &response(), |sealed| {
        with_token(sealed, TOKEN)
    })
}

fn round_trip(data: &[u8]) {
    let sealed = KEY.seal_record(PLACE, u64::MAX, data.to_vec(), &fixed).expect("short");
    let opened = KEY.open_record(PLACE, &sealed).expect("just sealed");
    assert_eq!((opened.sequence, &opened.content[..]), (u64::MAX, data));
    let elsewhere = String::from_utf8_lossy(data);
    assert!(elsewhere == PLACE || KEY.open_record(&elsewhere, &sealed).is_err(), "moved");
    let summand = KEY.summand(PLACE, &sealed);
    assert_eq!(summand.toggled(summand), Default::default(), "a sum is its own inverse");
    let wrapped = wrap_response(data, Plaintext::new(data.to_vec()), &fixed).expect("short");
    let unwrapped = unwrap_response(data, &wrapped).expect("just wrapped");
    assert_eq!(unwrapped.expose_for_reply(), data);
    assert!(unwrap_response(&[data, b"x"].concat(), &wrapped).is_err(), "another token");
}

/// Every three bytes of `changes` are one change: where (two bytes), and by what, or how much is cut
/// off if that is 0.
pub(crate) fn changed(genuine: &[u8], changes: &[u8]) -> Vec<u8> {
    let mut bytes = genuine.to_vec();
    for [high, low, by] in changes.as_chunks().0.iter().take(16) {
        let at = usize::from(u16::from_be_bytes([*high, *low])) % (bytes.len() + 1);
        match (by, bytes.get_mut(at)) {
            (0, _) => bytes.truncate(at),
            (by, Some(byte)) => *byte ^= by,
            (by, None) => bytes.push(*by),
        }
    }
    bytes
}

pub(crate) fn is_refused_unless_genuine(
    sealed: &[u8],
    genuine: &[u8],
    open: impl Fn(&[u8]) -> Option<Vec<u8>>,
) -> bool {
    let expected = (sealed == genuine).then(|| CONTENT.to_vec());
    assert_eq!(open(sealed), expected, "a changed record was opened, or a genuine one was not");
    expected.is_some()
}
