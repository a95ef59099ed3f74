//! The bytes that peers send: frames, masked by clients, and the payloads in them.

/// Twenty bytes of text.
pub(crate) const SHORT: &str = "twenty bytes of text";

/// Bytes of a long message.
pub(crate) const LONG_BYTES: usize = 16 * 1024;

/// The key that clients mask with. Its bytes leave ASCII what it is, so that a frame that was
/// unmasked in place, and so is masked anew when it is read again, is valid every time.
const KEY: [u8; 4] = [1, 2, 3, 4];

/// The first byte of a frame: a whole text message.
pub(crate) const TEXT: u8 = 0x81;

/// The first byte of a frame: a whole binary message.
pub(crate) const BINARY: u8 = 0x82;

/// The bit of a frame's first byte that says: the message's last.
const FIN: u8 = 0x80;

/// A frame as a client sends it.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(first, 0x80, payload.len());
    frame.extend_from_slice(&KEY);
    frame.extend(
        payload
            .iter()
            .zip(KEY.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    frame
}

/// A frame as a server sends it.
pub(crate) fn plain(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(first, 0, payload.len());
    frame.extend_from_slice(payload);
    frame
}

/// A message as a client sends it, in this many frames of the same length.
pub(crate) fn fragmented(first: u8, payload: &[u8], fragments: usize) -> Vec<u8> {
    let pieces = payload.chunks(payload.len() / fragments);
    let frames = pieces.enumerate().flat_map(|(index, piece)| {
        let opcode = if index == 0 { first & !FIN } else { 0 };
        let fin = if index == fragments - 1 { FIN } else { 0 };
        masked(opcode | fin, piece)
    });
    frames.collect()
}

/// Sixteen KiB of text that is mostly not ASCII, of characters of two and of three bytes.
pub(crate) fn long_text() -> String {
    const SENTENCE: &str = "Καλημέρα κόσμε, доброе утро, мир, 世界の皆さん、おはよう. ";
    let mut text = SENTENCE.repeat(LONG_BYTES / SENTENCE.len());
    while text.len() < LONG_BYTES {
        text.push('.');
    }
    text
}

fn header(first: u8, mask_bit: u8, length: usize) -> Vec<u8> {
    let long = u16::try_from(length).expect("no payload has 64 KiB");
    if length < 126 {
        vec![first, mask_bit | length as u8]
    } else {
        let [high, low] = long.to_be_bytes();
        vec![first, mask_bit | 0x7e, high, low]
    }
}
