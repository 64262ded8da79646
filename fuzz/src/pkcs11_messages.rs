use selkie_pkcs11_protocol::{MAX_MESSAGE_BYTES, Message, Reply, Request, message_bytes};

/// Feeds what stands behind a frame's length to the readers of both ends of the socket to
/// `selkie-pkcs11`.
///
/// What is heard is said again by the same bytes, and no part of it is a message, nor is it one with
/// something behind it.
pub fn pkcs11_messages(data: &[u8]) -> bool {
    if data.len() > MAX_MESSAGE_BYTES {
        return false;
    }
    let request = is_heard(data, Request::parse, |number, heard| said(number, heard));
    request | is_heard(data, Reply::parse, |number, heard| said(number, heard))
}

fn said<M: Message>(number: u64, message: &M) -> Vec<u8> {
    message.frame(number).expect("what was heard can be said").to_vec()
}

pub(crate) fn is_heard<M, E>(
    data: &[u8],
    parse: impl Fn(&[u8]) -> Result<(u64, M), E>,
    say: impl Fn(u64, &M) -> Vec<u8>,
) -> bool {
    let Ok((number, message)) = parse(data) else { return false };
    let frame = say(number, &message);
    let (length, said) = frame.split_first_chunk().expect("a frame has a length");
    assert_eq!(message_bytes(*length).ok(), Some(data.len()));
    assert_eq!(said, data, "heard otherwise than it was said");
    assert!(parse(&[data, &[0]].concat()).is_err(), "something followed a message");
    // All cuts of short messages; of long ones those near the ends.
    let cuts = (0..data.len()).filter(|cut| *cut < 128 || data.len() - cut < 128);
    for cut in cuts {
        assert!(parse(&data[..cut]).is_err(), "{cut} of {} bytes were a message", data.len());
    }
    true
}
