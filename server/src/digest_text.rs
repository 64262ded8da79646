//! Digests and MACs as the files of a server have them: 64 hexadecimal digits in lower case, with no
//! sign among them.

/// The 32 bytes that `text` stands for; `None` if it is spelled otherwise.
pub(crate) fn parse(text: &str) -> Option<[u8; 32]> {
    base16ct::lower::decode(text, &mut [0; 32]).ok()?.try_into().ok()
}
