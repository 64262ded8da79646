use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::deployment::{self, Origin};

/// Envelopes that open; a change takes members from the one into the other.
struct Genuine {
    declared: Origin,
    json: Vec<u8>,
    donor: Vec<u8>,
}

/// Made with and checked for an origin key, without, and made with it but not checked; then two that
/// need a quorum.
static GENUINE: LazyLock<[Genuine; 5]> = LazyLock::new(|| {
    use Origin::{Declared, Undeclared};
    [
        Genuine::new(Declared, Declared, deployment::encrypt),
        Genuine::new(Undeclared, Undeclared, deployment::encrypt),
        Genuine::new(Declared, Undeclared, deployment::encrypt),
        Genuine::new(Declared, Declared, deployment::encrypt_quorum),
        Genuine::new(Undeclared, Undeclared, deployment::encrypt_quorum),
    ]
});

impl Genuine {
    const PLAINTEXT: &'static [u8] = b"the root key of a Vault, 32 B...";
    const DONOR_PLAINTEXT: &'static [u8] = b"another";

    fn new(made: Origin, declared: Origin, encrypt: fn(&[u8], u8, Origin) -> Vec<u8>) -> Self {
        Self {
            declared,
            json: encrypt(Self::PLAINTEXT, 3, made),
            donor: encrypt(Self::DONOR_PLAINTEXT, 4, made),
        }
    }

    /// What `json` must open to: nothing, unless it is one of the two.
    fn expected(&self, json: &[u8]) -> Option<&'static [u8]> {
        let checked = |json: &[u8]| match self.declared {
            Origin::Declared => Some(json.to_vec()),
            Origin::Undeclared => without_claim(json),
        };
        let json = checked(json)?;
        if Some(&json) == checked(&self.json).as_ref() {
            Some(Self::PLAINTEXT)
        } else if Some(&json) == checked(&self.donor).as_ref() {
            Some(Self::DONOR_PLAINTEXT)
        } else {
            None
        }
    }
}

/// `json` without its claim of origin, which nobody looks at where no `origin_key` is declared.
///
/// `None` for what is not the one spelling of a JSON object, or whose claim is not 32 bytes.
fn without_claim(json: &[u8]) -> Option<Vec<u8>> {
    let mut value: Value = serde_json::from_slice(json).ok()?;
    if value.to_string().as_bytes() != json {
        return None;
    }
    let claim = value.as_object_mut()?.remove("unprotected");
    let plain = claim.is_none_or(|claim| {
        let text = claim["origin"].as_str().unwrap_or_default();
        let is_mac = URL_SAFE_NO_PAD.decode(text).is_ok_and(|mac| mac.len() == 32);
        is_mac && claim.to_string() == format!(r#"{{"origin":"{text}"}}"#)
    });
    plain.then(|| value.to_string().into_bytes())
}

/// Changes an envelope as `data` says, and demands that it no longer opens for anyone.
///
/// The first byte chooses an envelope and whether an `origin_key` is declared; every four further
/// bytes are one change: of the text, of the bytes inside a base64url member, or of a member for
/// that of another genuine envelope, so that changes also get past the checks of spelling.
pub fn changed_envelope(data: &[u8]) -> bool {
    let Some((choice, changes)) = data.split_first() else {
        return false;
    };
    let genuine = &GENUINE[usize::from(choice % 5)];
    let mut json = genuine.json.clone();
    let (changes, _) = changes.as_chunks();
    for change in changes.iter().take(64) {
        json = changed(&json, &genuine.donor, *change);
    }
    let opened = deployment::decrypt(&json, genuine.declared);
    assert_eq!(opened.as_deref(), genuine.expected(&json), "{}", json.escape_ascii());
    opened.is_some()
}

fn changed(json: &[u8], donor: &[u8], [kind, first, second, byte]: [u8; 4]) -> Vec<u8> {
    let at = usize::from(u16::from_be_bytes([first, second]));
    match kind % 5 {
        0 => with_text(json, at, |rest| rest.splice(..rest.len().min(1), [byte]).for_each(drop)),
        1 => with_text(json, at, |rest| rest.insert(0, byte)),
        2 => with_text(json, at, |rest| drop(rest.drain(..usize::from(byte).min(rest.len())))),
        3 => with_member(json, donor, first, |member, _| change_inside(member, second, byte)),
        _ => with_member(json, donor, first, |member, donor| member.clone_from(donor)),
    }
}

fn with_text(json: &[u8], at: usize, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let (before, rest) = json.split_at(at % (json.len() + 1));
    let mut rest = rest.to_vec();
    change(&mut rest);
    [before, &rest].concat()
}

/// The members of an envelope, smaller ones as well as those that contain them.
const MEMBERS: [&str; 24] = [
    "/ciphertext",
    "/iv",
    "/protected",
    "/tag",
    "/recipients",
    "/recipients/0",
    "/recipients/0/encrypted_key",
    "/recipients/0/header",
    "/recipients/0/header/alg",
    "/recipients/0/header/kid",
    "/recipients/0/header/seal",
    "/recipients/1",
    "/recipients/1/encrypted_key",
    "/recipients/1/header/kid",
    "/unprotected",
    "/unprotected/origin",
    "/recipients/0/header/share",
    "/recipients/0/header/share/index",
    "/recipients/0/header/share/mac",
    "/recipients/1/header/share",
    "/recipients/2",
    "/recipients/2/header/iv",
    "/recipients/2/header/tag",
    "/recipients/2/encrypted_key",
];

/// `json` after `change` to one member, which also sees the same member of `donor`. Text that is no
/// longer JSON stays as it is.
fn with_member(
    json: &[u8],
    donor: &[u8],
    choice: u8,
    change: impl FnOnce(&mut Value, &Value),
) -> Vec<u8> {
    let path = MEMBERS[usize::from(choice) % MEMBERS.len()];
    let (Ok(mut changed), Ok(donor)) =
        (serde_json::from_slice::<Value>(json), serde_json::from_slice::<Value>(donor))
    else {
        return json.to_vec();
    };
    if let (Some(member), Some(donor)) = (changed.pointer_mut(path), donor.pointer(path)) {
        change(member, donor);
    }
    changed.to_string().into_bytes()
}

/// Changes a byte of what the member encodes, and spells it properly again.
fn change_inside(member: &mut Value, at: u8, byte: u8) {
    let Some(mut bytes) = member.as_str().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()) else {
        return;
    };
    let length = bytes.len().max(1);
    match bytes.get_mut(usize::from(at) % length) {
        Some(place) => *place ^= byte,
        None => bytes.push(byte),
    }
    *member = URL_SAFE_NO_PAD.encode(bytes).into();
}
