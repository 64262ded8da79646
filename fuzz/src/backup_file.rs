use std::collections::BTreeMap;

use selkie::backup::{ContentError, Opened, read, read_frame};
use selkie_crypto::Plaintext;
use selkie_crypto::stream::{CHUNK_BYTES, StreamKey, StreamSealer};
use serde::Deserialize;

/// Takes the bytes for a backup file, for the content of one that is then sealed, and for changes of
/// the sealed content.
///
/// What is sealed opens exactly if its content is well-formed, which is decided here by hand; and
/// nothing of it opens once a byte is changed, cut off, or its chunks are moved.
pub fn backup_file(data: &[u8]) -> bool {
    as_it_is(data);
    let content = many(data);
    let sealed = sealed(&content);
    let file = [b"selkie-backup 1\n{}\n", &sealed[..]].concat();
    assert_eq!(read_frame(&file), Ok((&b"{}"[..], &sealed[..])), "a frame of our own");
    let is_opened = agrees(&content, read(&sealed, key()));
    if let Some([high, low, by]) = data.first_chunk().filter(|chunk| chunk[2] != 0) {
        let at = usize::from(u16::from_be_bytes([*high, *low])) % sealed.len();
        let mut changed = sealed.clone();
        changed[at] ^= by;
        for wrong in
            [&changed[..], &sealed[..at], &[&sealed[..], &[*by]].concat(), &rotated(&sealed)]
        {
            let is_same = *wrong == *sealed;
            let outcome = read(wrong, key());
            assert!(
                is_same
                    || matches!(outcome, Err(ContentError::Chunk { .. } | ContentError::Malformed)),
                "{outcome:?}"
            );
            assert!(
                is_same || wrong.is_empty() || matches!(outcome, Err(ContentError::Chunk { .. })),
                "{outcome:?}"
            );
        }
    }
    is_opened
}

/// What is read of this content.
#[cfg(test)]
pub(crate) fn opened(content: &[u8]) -> Result<Opened, ContentError> {
    read(&sealed(content), key())
}

fn key() -> StreamKey {
    StreamKey::from_plaintext(&Plaintext::new(vec![8; 32])).expect("32 bytes")
}

fn as_it_is(file: &[u8]) {
    let Ok((envelope, sealed)) = read_frame(file) else { return };
    assert_eq!([b"selkie-backup 1\n", envelope, b"\n", sealed].concat(), file);
    assert!(!envelope.contains(&b'\n'));
    let opened = read(sealed, key());
    assert!(opened.is_err(), "a backup was forged");
}

/// Some contents are of several chunks: the first bit of the last byte says whether.
fn many(data: &[u8]) -> Vec<u8> {
    match data.last() {
        Some(last) if last & 0x80 != 0 => [data, &vec![b' '; CHUNK_BYTES]].concat(),
        _ => data.to_vec(),
    }
}

fn sealed(content: &[u8]) -> Vec<u8> {
    let mut sealer = StreamSealer::new(key());
    let mut chunks = content.chunks(CHUNK_BYTES).peekable();
    if content.is_empty() {
        return sealer.seal(Vec::new(), true).expect("the first");
    }
    let mut sealed = Vec::new();
    while let Some(chunk) = chunks.next() {
        sealed.extend(sealer.seal(chunk.to_vec(), chunks.peek().is_none()).expect("in turn"));
    }
    sealed
}

/// The chunks in another order, where there are several.
fn rotated(sealed: &[u8]) -> Vec<u8> {
    let mut chunks: Vec<&[u8]> = sealed.chunks(CHUNK_BYTES + 16).collect();
    chunks.rotate_left(1);
    chunks.concat()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read to see whether they are there")]
struct Format {
    format: u32,
    realm: String,
    store: String,
    created: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    #[serde(rename = "format")]
    _format: Format,
    #[serde(rename = "sequence")]
    _sequence: u64,
    records: u64,
}

/// Whether the content was opened.
pub(crate) fn agrees(content: &[u8], opened: Result<Opened, ContentError>) -> bool {
    let expected = by_hand(content);
    match opened {
        Ok(opened) => {
            let records = expected.expect("malformed content was opened");
            let state_key = opened.sealed_state_key().ok().map(|value| value.as_bytes().to_vec());
            assert_eq!(state_key.as_ref(), records.get("state-key"));
            true
        }
        Err(error) => {
            assert_eq!(error, ContentError::Malformed);
            assert!(expected.is_none(), "well-formed content was refused");
            false
        }
    }
}

fn by_hand(content: &[u8]) -> Option<BTreeMap<String, Vec<u8>>> {
    let mut at = 0;
    let mut part = || {
        let length = content.get(at..at + 4)?;
        let length = length.iter().fold(0, |sum, byte| sum * 256 + usize::from(*byte));
        let part = content.get(at + 4..at + 4 + length)?;
        at += 4 + length;
        Some(part)
    };
    let header: Header = serde_json::from_slice(part()?).ok()?;
    let mut records = BTreeMap::new();
    for _ in 0..header.records {
        let key = str::from_utf8(part()?).ok()?;
        let value = part()?;
        key.parse::<selkie_storage::RecordKey>().ok()?;
        if key.starts_with("state-key-local/")
            || value.len() > selkie_storage::MAX_VALUE_BYTES
            || records.insert(key.to_owned(), value.to_vec()).is_some()
        {
            return None;
        }
    }
    (at == content.len()).then_some(records)
}
