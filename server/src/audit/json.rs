//! JSON written by hand: a line is made for every request, twice.

use selkie_crypto::AuditKey;

use super::chain::push_hex;

/// What stands before the hash of a value, as in Vault.
const PREFIX: &[u8] = b"\"hmac-sha256:";

/// An object under construction: members separated, the last brace left to its owner.
#[derive(Debug)]
pub(super) struct Object<'o> {
    out: &'o mut Vec<u8>,
    is_empty: bool,
}

impl<'o> Object<'o> {
    pub(super) fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, is_empty: true }
    }

    /// Goes on with an object that has been begun.
    pub(super) const fn resume(out: &'o mut Vec<u8>, is_empty: bool) -> Self {
        Self { out, is_empty }
    }

    /// Members that are text already.
    pub(super) fn raw(&mut self, members: &[u8]) {
        if !std::mem::take(&mut self.is_empty) {
            self.out.push(b',');
        }
        self.out.extend_from_slice(members);
    }

    /// A member whose name may be anything.
    pub(super) fn any_member(&mut self, name: &str, value: &str) {
        self.raw(&[]);
        push_text(name, self.out);
        self.out.push(b':');
        push_text(value, self.out);
    }

    pub(super) fn end(self) {
        self.out.push(b'}');
    }

    /// Begins the member `name`, a name without special characters; its value is the caller's.
    pub(super) fn member(&mut self, name: &str) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.is_empty) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    pub(super) fn object(&mut self, name: &str) -> Object<'_> {
        Object::begin(self.member(name))
    }

    /// A text; left out if empty, as Vault's members are.
    pub(super) fn text(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            push_text(value, self.member(name));
        }
    }

    pub(super) fn number(&mut self, name: &str, value: u64) {
        push_number(value, self.member(name));
    }

    pub(super) fn truth(&mut self, name: &str, value: bool) {
        self.member(name).extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// A list of texts; left out if empty.
    pub(super) fn texts<'t>(&mut self, name: &str, values: impl Iterator<Item = &'t str>) {
        let mut values = values.peekable();
        if values.peek().is_none() {
            return;
        }
        let out = self.member(name);
        for (index, value) in values.enumerate() {
            out.push(if index == 0 { b'[' } else { b',' });
            push_text(value, out);
        }
        out.push(b']');
    }
}

/// `"hmac-sha256:<hex>"`
pub(crate) fn push_hash(hash: &[u8; 32], out: &mut Vec<u8>) {
    out.extend_from_slice(PREFIX);
    push_hex(hash, out);
    out.push(b'"');
}

pub(super) fn push_hash_of(value: &[u8], key: &AuditKey, out: &mut Vec<u8>) {
    push_hash(&key.value_hash(value), out);
}

/// `value` in digits.
pub(super) fn push_number(mut value: u64, out: &mut Vec<u8>) {
    let (mut digits, mut from) = ([b'0'; 20], 19);
    while let Some(digit) = digits.get_mut(from) {
        *digit = ascii_digit(value);
        value /= 10;
        if value == 0 {
            break;
        }
        from = from.saturating_sub(1);
    }
    out.extend_from_slice(digits.get(from..).unwrap_or_default());
}

/// The last digit of `value`.
pub(super) fn ascii_digit(value: u64) -> u8 {
    b'0' | u8::try_from(value % 10).unwrap_or_default()
}

/// `value` between quotes.
pub(super) fn push_text(value: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let (plain, rest) = value.as_bytes().split_at(plain_length(value.as_bytes()));
    out.extend_from_slice(plain);
    for byte in rest {
        match *byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\r' => out.extend_from_slice(b"\\r"),
            byte @ 0..b' ' => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            byte => out.push(byte),
        }
    }
    out.push(b'"');
}

/// How many bytes [`push_text`] makes of a character.
pub(super) const fn json_length(character: char) -> usize {
    match character {
        '"' | '\\' | '\n' | '\t' | '\r' => 2,
        '\0'..' ' => 6,
        other => other.len_utf8(),
    }
}

/// How many bytes come before the first that JSON writes otherwise. It looks at many at once, because
/// ciphertexts are long.
pub(super) fn plain_length(bytes: &[u8]) -> usize {
    let is_special = |byte: &u8| (*byte < b' ') | (*byte == b'"') | (*byte == b'\\');
    let (chunks, _) = bytes.as_chunks::<32>();
    let is_plain = |chunk: &&[u8; 32]| !chunk.iter().fold(false, |any, it| any | is_special(it));
    let plain = chunks.iter().take_while(is_plain).count() * 32;
    let rest = bytes.get(plain..).unwrap_or_default();
    rest.iter().position(is_special).map_or(bytes.len(), |at| plain + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_read_back_as_they_were() {
        let long = "é".repeat(100);
        let late = format!("{long}\"{long}\\");
        for text in ["", "plain", "\"\\\n\t\r\u{1}\u{1f}é😀\u{7f}", &long, &late] {
            let mut out = Vec::new();
            push_text(text, &mut out);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
            assert_eq!(text.chars().map(json_length).sum::<usize>() + 2, out.len(), "{text:?}");
        }
    }

    #[test]
    fn the_first_special_byte_is_found_wherever_it_is() {
        for at in 0..100 {
            for special in *b"\"\\\0\x1f" {
                let mut bytes = [b'~'; 100];
                assert_eq!(plain_length(&bytes), 100);
                bytes[at] = special;
                assert_eq!(plain_length(&bytes), at);
                assert_eq!(plain_length(&bytes[..at]), at);
            }
        }
    }

    #[test]
    fn numbers_are_written_in_digits() {
        for number in [0, 9, 10, 12_345, u64::MAX] {
            let mut out = Vec::new();
            push_number(number, &mut out);
            assert_eq!(out, number.to_string().into_bytes());
        }
    }

    #[test]
    fn members_are_separated_and_empty_ones_left_out() {
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out);
        object.text("a", "");
        object.texts("b", [].into_iter());
        object.number("c", 1);
        let mut inner = object.object("d");
        inner.truth("e", true);
        inner.end();
        object.texts("f", ["x", "y"].into_iter());
        object.end();
        assert_eq!(out, br#"{"c":1,"d":{"e":true},"f":["x","y"]}"#);
    }
}
