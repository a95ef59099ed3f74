//! Frame headers and masks.

use std::io;

/// The largest frame that is accepted.
const MAX_PAYLOAD: u64 = 16 * 1024 * 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Opcode(u8);

impl Opcode {
    pub const CONTINUATION: Self = Self(0);
    pub const TEXT: Self = Self(1);
    pub const BINARY: Self = Self(2);
    pub const CLOSE: Self = Self(8);
    pub const PING: Self = Self(9);
    pub const PONG: Self = Self(10);
}

pub struct Header {
    pub fin: bool,
    pub opcode: Opcode,
    pub mask: [u8; 4],
    /// How long the header itself is.
    pub length: usize,
    pub payload_length: usize,
}

impl Header {
    /// Reads the header at the start of the input, if all of it is there.
    pub fn parse(input: &[u8]) -> io::Result<Option<Self>> {
        let &[first, second, ref rest @ ..] = input else {
            return Ok(None);
        };
        let (payload_length, rest) = match (second & 0x7f, rest) {
            (126, [a, b, rest @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), rest),
            (127, [a, b, c, d, e, f, g, h, rest @ ..]) => {
                (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), rest)
            }
            (126 | 127, _) => return Ok(None),
            (short, rest) => (u64::from(short), rest),
        };
        if payload_length > MAX_PAYLOAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let (mask, rest) = match rest {
            [a, b, c, d, rest @ ..] if second & 0x80 != 0 => ([*a, *b, *c, *d], rest),
            _ if second & 0x80 != 0 => return Ok(None),
            _ => ([0; 4], rest),
        };
        Ok(Some(Self {
            fin: first & 0x80 != 0,
            opcode: Opcode(first & 0x0f),
            mask,
            length: input.len() - rest.len(),
            payload_length: payload_length as usize,
        }))
    }
}

/// The header of a frame without a mask, and how many bytes of the array it is.
pub fn header(opcode: Opcode, payload_length: usize) -> ([u8; 10], usize) {
    let mut header = [0; 10];
    header[0] = 0x80 | opcode.0;
    let length = match payload_length {
        0..=125 => {
            header[1] = payload_length as u8;
            2
        }
        126..=0xffff => {
            header[1] = 126;
            header[2..4].copy_from_slice(&(payload_length as u16).to_be_bytes());
            4
        }
        _ => {
            header[1] = 127;
            header[2..10].copy_from_slice(&(payload_length as u64).to_be_bytes());
            10
        }
    };
    (header, length)
}

/// Takes the mask off a payload, with the widest vectors that are worth it.
pub fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    #[cfg(target_arch = "x86_64")]
    if payload.len() >= 64 && std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { unmask_avx2(payload, mask) };
    }
    unmask_anywhere(payload, mask);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn unmask_avx2(payload: &mut [u8], mask: [u8; 4]) {
    unmask_anywhere(payload, mask);
}

/// The compiler makes vector instructions of the loop, of those it is allowed to use.
#[inline(always)]
fn unmask_anywhere(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let key = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ key).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}
