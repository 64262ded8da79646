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
        let digits = value.to_string();
        self.member(name).extend_from_slice(digits.as_bytes());
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

/// `value` between quotes.
pub(super) fn push_text(value: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if value.bytes().all(is_plain) {
        out.extend_from_slice(value.as_bytes());
    } else {
        for byte in value.bytes() {
            match byte {
                b'"' => out.extend_from_slice(b"\\\""),
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\t' => out.extend_from_slice(b"\\t"),
                b'\r' => out.extend_from_slice(b"\\r"),
                0..b' ' => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
                _ => out.push(byte),
            }
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_read_back_as_they_were() {
        for text in ["", "plain", "\"\\\n\t\r\u{1}\u{1f}é😀\u{7f}"] {
            let mut out = Vec::new();
            push_text(text, &mut out);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
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
