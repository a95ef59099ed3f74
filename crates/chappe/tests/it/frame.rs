//! Frames on the wire, built and read by hand: the tests' own idea of RFC 6455, section 5.2.

use std::fmt;

/// The masking key of the tests' clients: that of RFC 6455, section 5.7.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame as a client sends it: `first` is its first byte, FIN and opcode.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(first, payload.len(), 0x80);
    frame.extend_from_slice(&KEY);
    frame.extend(mask(payload, KEY));
    frame
}

/// A frame as a server sends it.
pub(crate) fn plain(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(first, payload.len(), 0);
    frame.extend_from_slice(payload);
    frame
}

/// A client's text message.
pub(crate) fn text(text: &str) -> Vec<u8> {
    masked(0x81, text.as_bytes())
}

/// A client's ping.
pub(crate) fn ping(payload: &str) -> Vec<u8> {
    masked(0x89, payload.as_bytes())
}

/// A client's pong.
pub(crate) fn pong(payload: &[u8]) -> Vec<u8> {
    masked(0x8a, payload)
}

/// A client's close frame.
pub(crate) fn close(code: u16, reason: &str) -> Vec<u8> {
    masked(0x88, &close_payload(code, reason))
}

/// A close frame's payload.
pub(crate) fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

fn header(first: u8, length: usize, mask_bit: u8) -> Vec<u8> {
    let bytes = (length as u64).to_be_bytes();
    let (short, long) = match length {
        0..=125 => (bytes[7], &bytes[..0]),
        126..=0xffff => (126, &bytes[6..]),
        _ => (127, &bytes[..]),
    };
    [&[first, mask_bit | short], long].concat()
}

fn mask(payload: &[u8], key: [u8; 4]) -> impl Iterator<Item = u8> {
    payload
        .iter()
        .zip(key.into_iter().cycle())
        .map(|(byte, key)| byte ^ key)
}

/// A frame that the library sent, unmasked.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// FIN, reserved bits and opcode.
    pub(crate) first: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn text(text: &str) -> Self {
        Self::new(0x81, text.as_bytes())
    }

    pub(crate) fn binary(bytes: &[u8]) -> Self {
        Self::new(0x82, bytes)
    }

    pub(crate) fn pong(payload: &str) -> Self {
        Self::new(0x8a, payload.as_bytes())
    }

    pub(crate) fn close(code: u16, reason: &str) -> Self {
        Self::new(0x88, &close_payload(code, reason))
    }

    pub(crate) fn is_ping(&self) -> bool {
        self.first == 0x89
    }

    /// The code of a close frame.
    pub(crate) fn close_code(&self) -> Option<u16> {
        match self.payload[..] {
            [high, low, ..] if self.first == 0x88 => Some(u16::from_be_bytes([high, low])),
            _ => None,
        }
    }

    fn new(first: u8, payload: &[u8]) -> Self {
        let payload = payload.to_vec();
        Self { first, payload }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = &self.payload[..self.payload.len().min(64)];
        let length = self.payload.len();
        write!(
            f,
            "{:#04x} \"{}\" ({length} bytes)",
            self.first,
            cut.escape_ascii()
        )
    }
}

/// The frame that `bytes` begin with, and its length; `None` if it is not complete.
pub(crate) fn decode(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (length, mut at) = match second & 0x7f {
        126 => (
            u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap())),
            4,
        ),
        127 => (
            u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()),
            10,
        ),
        short => (u64::from(short), 2),
    };
    let mut key = [0; 4];
    if second & 0x80 != 0 {
        key = bytes.get(at..at + 4)?.try_into().unwrap();
        at += 4;
    }
    let end = at + usize::try_from(length).unwrap();
    let payload = mask(bytes.get(at..end)?, key).collect();
    Some((Frame { first, payload }, end))
}

/// The whole frames that `bytes` begin with, and the length of all of them.
pub(crate) fn decode_all(bytes: &[u8]) -> (Vec<Frame>, usize) {
    let (mut frames, mut length) = (Vec::new(), 0);
    while let Some((frame, next)) = decode(&bytes[length..]) {
        frames.push(frame);
        length += next;
    }
    (frames, length)
}
