use selkie_access::{TokenHash, TokenText, draw_accessor};

/// Feeds a header's value to the readers of tokens, and the same bytes, as randomness, to what draws
/// new ones.
///
/// What is a token comes out as it went in, and by either header; whatever is drawn is one, of 24
/// characters of base62 behind its prefix; 64 digits are a hash and nothing else is.
pub fn token_text(data: &[u8]) -> bool {
    let is_token = agrees(data, |value| {
        TokenText::from_header(value).ok().map(|token| token.expose_for_reply().as_bytes().to_vec())
    });
    drawn(data);
    hash(data) | is_token
}

pub(crate) fn agrees(data: &[u8], read: impl Fn(&[u8]) -> Option<Vec<u8>>) -> bool {
    let seen = read(data);
    let expected = is_token_by_hand(data).then(|| data.to_vec());
    assert_eq!(seen, expected, "of a header of its own");
    let padded = [b"Bearer  ", data, b" "].concat();
    let bearer = TokenText::from_authorization(&padded).expect("it says Bearer");
    let bearer = bearer.ok().map(|token| token.expose_for_hash().to_vec());
    let trimmed = data.trim_ascii();
    assert_eq!(bearer, is_token_by_hand(trimmed).then(|| trimmed.to_vec()));
    seen.is_some()
}

fn is_token_by_hand(value: &[u8]) -> bool {
    (1..=8192).contains(&value.len())
        && value.iter().all(|byte| (0x20..0x7f).contains(byte))
        && value[0] != b' '
        && value[value.len() - 1] != b' '
}

fn drawn(data: &[u8]) {
    let mut rest = data.iter();
    let mut calls = 0;
    let mut fill = |buffer: &mut [u8]| {
        calls += 1;
        for byte in buffer {
            *byte = *rest.next().ok_or(())?;
        }
        Ok::<(), ()>(())
    };
    if let Ok(token) = TokenText::draw("hvs.", &mut fill) {
        let text = token.expose_for_reply();
        let drawn = text.strip_prefix("hvs.").expect("its prefix");
        assert_eq!(drawn.len(), 24);
        assert!(drawn.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert!(is_token_by_hand(text.as_bytes()));
    }
    if let Ok(accessor) = draw_accessor(&mut fill) {
        assert_eq!(accessor.len(), 24);
    }
    assert!(calls <= data.len() / 32 + 2, "randomness was wasted");
}

fn hash(data: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(data) else { return false };
    let by_hand = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let hash = text.parse::<TokenHash>();
    assert_eq!(hash.is_ok(), by_hand);
    let Ok(hash) = hash else { return false };
    assert_eq!(hash.to_string(), text.to_ascii_lowercase());
    assert_eq!(TokenHash::new(*hash.as_bytes()), hash);
    true
}
