//! Joins fragments into messages (RFC 6455, section 5.4).
//!
//! In: the headers of data frames, and their payloads in pieces of any size. Out: whole messages,
//! unmasked, text checked, within [`Limits`]. Control frames never come here, and nothing
//! here knows which side of the connection we are.
//!
//! Memory grows with the bytes that arrived, never with the length that was declared: a message
//! in progress holds at most twice what the peer has sent of it.

use bytes::BufMut;

use crate::copy::PIECE_BYTES;
use crate::error::ProtocolError;
use crate::frame::{Header, Opcode};
use crate::limits::Limits;
use crate::mask::Mask;
use crate::time::Time;
use crate::utf8::{InvalidUtf8, TextBuffer};

/// The message in progress, from its first frame's header to its last byte.
#[derive(Debug)]
pub(crate) struct Joining {
    buffer: Buffer,
    /// Payload bytes declared by the frames so far: `held <= declared <= message_bytes_max`.
    declared: u64,
    fragments: u32,
    /// Whether the frame that was begun last is the message's last.
    fin: bool,
    /// When the message has to be complete.
    pub(crate) deadline: Time,
}

#[derive(Debug)]
enum Buffer {
    Text(TextBuffer),
    Binary {
        bytes: Vec<u8>,
        /// How many of them are unmasked.
        unmasked: usize,
    },
}

/// Whether a data frame with this header may come now, within the limits.
pub(crate) fn check_frame(
    joining: Option<&Joining>,
    header: &Header,
    limits: &Limits,
) -> Result<(), ProtocolError> {
    match (header.opcode, joining) {
        (Opcode::Continuation, None) => return Err(ProtocolError::UnexpectedContinuation),
        (Opcode::Text | Opcode::Binary, Some(_)) => {
            return Err(ProtocolError::ExpectedContinuation);
        }
        _ => {}
    }
    if header.length > limits.frame_bytes_max as u64 {
        let max = limits.frame_bytes_max;
        return Err(ProtocolError::FrameTooBig {
            length: header.length,
            max,
        });
    }
    let before = joining.map_or(0, |joining| joining.declared);
    let length = before.saturating_add(header.length);
    if length > limits.message_bytes_max as u64 {
        return Err(ProtocolError::MessageTooBig {
            length,
            max: limits.message_bytes_max,
        });
    }
    let fragments = joining.map_or(0, |joining| joining.fragments);
    if fragments >= limits.fragments_max && limits.fragments_max != u32::MAX {
        return Err(ProtocolError::TooManyFragments {
            max: limits.fragments_max,
        });
    }
    Ok(())
}

impl Joining {
    /// Begins a message with the header of its first frame, which [`check_frame`] let pass.
    pub(crate) fn begin(header: &Header, deadline: Time) -> Self {
        let buffer = match header.opcode {
            Opcode::Text => Buffer::Text(TextBuffer::default()),
            _ => Buffer::Binary {
                bytes: Vec::new(),
                unmasked: 0,
            },
        };
        Self {
            buffer,
            declared: header.length,
            fragments: 1,
            fin: header.fin,
            deadline,
        }
    }

    /// Goes on with a continuation frame's header, which [`check_frame`] let pass.
    pub(crate) fn resume(&mut self, header: &Header) {
        self.declared = self.declared.saturating_add(header.length);
        self.fragments = self.fragments.saturating_add(1);
        self.fin = header.fin;
    }

    /// Appends a piece of the current frame's payload, and unmasks it.
    pub(crate) fn push(
        &mut self,
        piece: &[u8],
        mask: &mut Option<Mask>,
    ) -> Result<(), ProtocolError> {
        let held = self.bytes();
        if held.capacity() - held.len() < piece.len() {
            let more = self.missing().min(held.len() + piece.len());
            self.reserve(more.max(piece.len()));
        }
        for piece in piece.chunks(PIECE_BYTES) {
            match &mut self.buffer {
                Buffer::Text(text) => text.push(piece, |bytes| unmask(mask, bytes))?,
                Buffer::Binary { bytes, unmasked } => {
                    bytes.extend_from_slice(piece);
                    unmask(mask, &mut bytes[*unmasked..]);
                    *unmasked = bytes.len();
                }
            }
        }
        Ok(())
    }

    /// Makes room for at least `bytes_min` more bytes, if that is no more than doubles what is
    /// held; gives the room that there is.
    pub(crate) fn make_room(&mut self, bytes_min: usize) -> usize {
        let held = self.bytes();
        let more = self.missing().min(held.len());
        if held.capacity() - held.len() < bytes_min && more >= bytes_min {
            self.reserve(more);
        }
        let held = self.bytes();
        held.capacity() - held.len()
    }

    /// Lends room for at most `bytes_max` bytes of the current frame's payload, behind what is
    /// held. [`accept`](Self::accept) has to follow.
    pub(crate) fn fill<R>(
        &mut self,
        bytes_max: usize,
        fill: impl FnOnce(&mut dyn BufMut) -> R,
    ) -> R {
        match &mut self.buffer {
            Buffer::Text(text) => text.fill(bytes_max, fill),
            Buffer::Binary { bytes, .. } => fill(&mut bytes.limit(bytes_max)),
        }
    }

    /// Unmasks what was filled in.
    pub(crate) fn accept(&mut self, mask: &mut Option<Mask>) -> Result<(), ProtocolError> {
        match &mut self.buffer {
            Buffer::Text(text) => text.accept(|bytes| unmask(mask, bytes))?,
            Buffer::Binary { bytes, unmasked } => {
                unmask(mask, &mut bytes[*unmasked..]);
                *unmasked = bytes.len();
            }
        }
        Ok(())
    }

    /// Bytes of memory that hold the message so far.
    pub(crate) fn held_bytes(&self) -> usize {
        self.bytes().capacity()
    }

    /// Payload bytes of the message so far.
    pub(crate) fn bytes(&self) -> &Vec<u8> {
        match &self.buffer {
            Buffer::Text(text) => text.bytes(),
            Buffer::Binary { bytes, .. } => bytes,
        }
    }

    fn reserve(&mut self, additional: usize) {
        match &mut self.buffer {
            Buffer::Text(text) => text.reserve(additional),
            Buffer::Binary { bytes, .. } => bytes.reserve_exact(additional),
        }
    }

    /// Payload bytes that have not arrived; behind a frame that is not the last, any number.
    ///
    /// Room is made for what is missing, but no more than doubles what is held: so the cost of
    /// growing is linear in whatever fragments and pieces the message comes, and no memory is
    /// taken on credit.
    fn missing(&self) -> usize {
        if !self.fin {
            return usize::MAX;
        }
        let missing = self.declared - self.bytes().len() as u64;
        usize::try_from(missing).unwrap_or(usize::MAX)
    }

    /// Whether the frame in progress is the message's last one.
    pub(crate) fn is_last_frame(&self) -> bool {
        self.fin
    }

    /// Gives the message out, after the last byte of its last frame.
    pub(crate) fn finish(self) -> Result<Joined, ProtocolError> {
        match self.buffer {
            Buffer::Text(text) => Ok(Joined::Text(text.finish()?)),
            Buffer::Binary { bytes, .. } => Ok(Joined::Binary(bytes)),
        }
    }
}

/// A message that came in pieces, whole.
#[derive(Debug)]
pub(crate) enum Joined {
    Text(String),
    Binary(Vec<u8>),
}

impl From<InvalidUtf8> for ProtocolError {
    fn from(InvalidUtf8: InvalidUtf8) -> Self {
        Self::InvalidUtf8
    }
}

fn unmask(mask: &mut Option<Mask>, bytes: &mut [u8]) {
    if let Some(mask) = mask {
        mask.apply(bytes);
    }
}
