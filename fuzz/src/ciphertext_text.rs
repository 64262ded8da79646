use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use selkie_crypto::{Ciphertext, CiphertextError, KeyVersion};

/// Feeds the text form `vault:v<N>:<base64>` to its parser.
///
/// What is printed parses back to itself; what parses and is in our own spelling prints back to
/// itself; the base64 agrees with a second implementation.
pub fn ciphertext_text(data: &[u8]) -> bool {
    parse_inverts_print(data);
    let Ok(text) = str::from_utf8(data) else {
        return false;
    };
    match Ciphertext::parse(text) {
        Ok(parsed) => print_inverts_parse(text, parsed),
        Err(error) => {
            assert_ne!(error, CiphertextError::BadBase64, "parse leaves the base64 for later");
            false
        }
    }
}

fn parse_inverts_print(data: &[u8]) {
    let Some((number, envelope)) = data.split_first_chunk() else {
        return;
    };
    let Some(version) = KeyVersion::new(u32::from_le_bytes(*number)) else {
        return;
    };
    let text = Ciphertext::print(version, envelope);
    let parsed = Ciphertext::parse(&text).expect("what we print parses");
    assert_eq!(parsed.canonical_version(), Some(version));
    assert_eq!(parsed.version(), i64::from(version.get()));
    assert_eq!(parsed.into_envelope_bytes().as_deref(), Ok(envelope));
}

fn print_inverts_parse(text: &str, parsed: Ciphertext<'_>) -> bool {
    let version = parsed.canonical_version();
    if let Some(version) = version {
        assert_eq!(parsed.version(), i64::from(version.get()));
    }
    let body = text.splitn(3, ':').nth(2).expect("parse found two colons");
    let envelope = parsed.into_envelope_bytes();
    assert_eq!(envelope.clone().ok(), STANDARD.decode(body).ok(), "base64 disagrees");
    let (Some(version), Ok(envelope)) = (version, envelope) else {
        return false;
    };
    assert_eq!(Ciphertext::print(version, &envelope), text);
    true
}
