//! Frame headers: read strictly, written in their shortest form (RFC 6455, section 5.2).
//!
//! In: the first bytes of a frame. Out: what they declare, or the rule that they break, at the
//! first byte that breaks it. Payloads, limits and the order of frames are others' business.

use crate::error::ProtocolError;
use crate::terms::{Kind, Role};

/// What a frame is for (sections 5.4 to 5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xa,
}

impl Opcode {
    const fn decode(bits: u8) -> Option<Self> {
        match bits {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xa => Some(Self::Pong),
            _ => None,
        }
    }

    pub(crate) const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

impl From<Kind> for Opcode {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text,
            Kind::Binary => Self::Binary,
        }
    }
}

/// What the header of a valid frame declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) fin: bool,
    pub(crate) opcode: Opcode,
    pub(crate) mask: Option<[u8; 4]>,
    /// Payload bytes: `0 <= length < 2^63`, and `length <= 125` for control frames.
    pub(crate) length: u64,
}

/// Bytes of the longest header: two, eight of extended length, four of masking key.
pub(crate) const HEADER_BYTES_MAX: usize = 14;

/// The length's seven bits that say: it stands in the next 16 bits.
const LENGTH_16: u8 = 0x7e;

/// The length's seven bits that say: it stands in the next 64 bits.
const LENGTH_64: u8 = 0x7f;

/// Payload bytes that a control frame may have (section 5.5).
pub(crate) const CONTROL_BYTES_MAX: usize = 125;

impl Header {
    /// Reads the header that `bytes` begin with, as sent by `sender`, and tells its length.
    ///
    /// `None`: the header is not complete, and breaks no rule so far.
    #[inline]
    pub(crate) fn decode(
        bytes: &[u8],
        sender: Role,
    ) -> Result<Option<(Self, usize)>, ProtocolError> {
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };
        let (fin, opcode) = decode_first(first)?;
        let Some(&second) = bytes.get(1) else {
            return Ok(None);
        };
        let masked = second & 0x80 != 0;
        // Section 5.1: a client MUST mask all frames; a server MUST NOT mask any.
        if masked != (sender == Role::Client) {
            return Err(ProtocolError::Masking { sender });
        }
        if opcode.is_control() && second & 0x7f > CONTROL_BYTES_MAX as u8 {
            return Err(ProtocolError::ControlFrameTooLong);
        }
        let Some((length, length_end)) = decode_length(second & 0x7f, bytes)? else {
            return Ok(None);
        };
        let end = length_end + if masked { 4 } else { 0 };
        let Some(key) = bytes.get(length_end..end) else {
            return Ok(None);
        };
        let mask = key.try_into().ok();
        Ok(Some((
            Self {
                fin,
                opcode,
                mask,
                length,
            },
            end,
        )))
    }
}

/// Appends the header, in its shortest form, of a frame that is a whole message or a control frame.
#[inline]
pub(crate) fn put_header(opcode: Opcode, length: usize, mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    let first = 0x80 | opcode as u8;
    let mask_bit = if mask.is_some() { 0x80 } else { 0 };
    match length {
        0..=125 => out.extend_from_slice(&[first, mask_bit | length as u8]),
        126..=0xffff => {
            out.extend_from_slice(&[first, mask_bit | LENGTH_16]);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.extend_from_slice(&[first, mask_bit | LENGTH_64]);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    if let Some(key) = mask {
        out.extend_from_slice(&key);
    }
}

/// The kind of a message that is whole in one frame, by the frame's first byte: FIN is set, RSV1 to
/// RSV3 are not, the opcode is text or binary.
pub(crate) const fn whole_message(first: u8) -> Option<Kind> {
    match first {
        0x81 => Some(Kind::Text),
        0x82 => Some(Kind::Binary),
        _ => None,
    }
}

fn decode_first(byte: u8) -> Result<(bool, Opcode), ProtocolError> {
    // Section 5.2: RSV1 to RSV3 MUST be 0 unless an extension gives them a meaning.
    if byte & 0x70 != 0 {
        return Err(ProtocolError::ReservedBits {
            bits: byte >> 4 & 0x7,
        });
    }
    let fin = byte & 0x80 != 0;
    let Some(opcode) = Opcode::decode(byte & 0x0f) else {
        return Err(ProtocolError::ReservedOpcode {
            opcode: byte & 0x0f,
        });
    };
    if opcode.is_control() && !fin {
        return Err(ProtocolError::ControlFrameFragmented);
    }
    Ok((fin, opcode))
}

/// The payload's length, and where in the header its bytes end.
fn decode_length(short: u8, bytes: &[u8]) -> Result<Option<(u64, usize)>, ProtocolError> {
    let (length, end, least) = match short {
        LENGTH_16 => {
            let Some(long) = bytes.get(2..4) else {
                return Ok(None);
            };
            let long = u16::from_be_bytes(long.try_into().expect("two bytes"));
            (u64::from(long), 4, 126)
        }
        LENGTH_64 => {
            // Section 5.2: the most significant bit MUST be 0.
            if bytes.get(2).is_some_and(|byte| byte & 0x80 != 0) {
                return Err(ProtocolError::LengthOutOfRange);
            }
            let Some(long) = bytes.get(2..10) else {
                return Ok(None);
            };
            let long = u64::from_be_bytes(long.try_into().expect("eight bytes"));
            (long, 10, 0x1_0000)
        }
        _ => return Ok(Some((u64::from(short), 2))),
    };
    // Section 5.2: the minimal number of bytes MUST be used.
    if length < least {
        return Err(ProtocolError::LengthNotMinimal { length });
    }
    Ok(Some((length, end)))
}
