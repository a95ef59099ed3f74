//! Reads frames, up to the next message or control frame (RFC 6455, sections 5.2 to 5.5).
//!
//! In: bytes, cut anywhere. Out: messages and control frames, whole, or the rule that was broken.
//! What is incomplete is kept here, and nothing else: between whole frames this is one pointer.
//!
//! ```text
//!   header ─► payload ─┬─► data ─► joining.rs ─► Found::Message
//!  frame.rs   mask.rs  └─► control ────────────► Found::Control
//! ```

use std::fmt;
use std::ops::Range;

use bytes::BufMut;

use crate::error::ProtocolError;
use crate::frame::{self, HEADER_BYTES_MAX, Header, Opcode};
use crate::joining::{self, Joined, Joining};
use crate::limits::Limits;
use crate::mask::Mask;
use crate::terms::{Kind, Role};
use crate::time::Time;

/// What was read and is not complete.
#[derive(Default)]
pub(crate) struct Reading {
    /// Boxed, because most connections are between two frames.
    partial: Option<Box<Partial>>,
}

#[derive(Default)]
struct Partial {
    /// The first bytes of a header that is not complete: `0 <= header_length < 14`.
    header: [u8; HEADER_BYTES_MAX],
    header_length: u8,
    frame: Option<FrameInProgress>,
    joining: Option<Joining>,
    /// The payload of the control frame in progress.
    control: Vec<u8>,
}

/// A frame whose header was read, and whose payload was not, or not all.
struct FrameInProgress {
    opcode: Opcode,
    mask: Option<Mask>,
    /// Payload bytes that have not arrived.
    remaining: u64,
}

/// A message in progress, lent by [`Connection::lend_partial`](crate::Connection::lend_partial):
/// what comes next of its payload can be read straight to where it belongs.
pub struct PartialMessage {
    partial: Box<Partial>,
    /// Whether anything was filled in.
    filled: bool,
}

impl PartialMessage {
    /// Calls `read` with room for payload bytes, which it fills from the front as far as it can;
    /// gives what that gave.
    ///
    /// There is room for no byte behind the frame. What is held already can't be reached.
    pub fn fill<R>(&mut self, read: impl FnOnce(&mut dyn BufMut) -> R) -> R {
        let Partial {
            frame: Some(frame),
            joining: Some(joining),
            ..
        } = &mut *self.partial
        else {
            unreachable!("only a message in a data frame is lent");
        };
        let held = joining.bytes();
        let room = (held.capacity() - held.len()) as u64;
        let before = held.len();
        let result = joining.fill(room.min(frame.remaining) as usize, read);
        let filled = joining.bytes().len() - before;
        frame.remaining -= filled as u64;
        self.filled |= filled > 0;
        result
    }

    /// Whether anything was filled in.
    pub(crate) fn is_filled(&self) -> bool {
        self.filled
    }
}

impl fmt::Debug for PartialMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.partial.joining.as_ref().map(Joining::bytes);
        f.debug_struct("PartialMessage")
            .field("bytes", &held.map(Vec::len))
            .finish_non_exhaustive()
    }
}

/// Whom the bytes come from, when, and what they may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    pub(crate) now: Time,
    pub(crate) sender: Role,
    pub(crate) limits: &'a Limits,
}

/// What came, whole.
pub(crate) enum Found {
    Message(Joined),
    Control(Opcode, Vec<u8>),
}

/// A message in one frame that is there, all of it.
pub(crate) struct WholeMessage {
    pub(crate) kind: Kind,
    pub(crate) mask: Option<[u8; 4]>,
    /// Where it stands.
    pub(crate) payload: Range<usize>,
}

impl Reading {
    /// The common case: a message in one frame, all of it at the begin of `input`.
    ///
    /// Whatever is not so is [`read`](Self::read)'s, from the same first byte.
    #[inline]
    pub(crate) fn whole_message(
        &self,
        sender: Role,
        limits: &Limits,
        input: &[u8],
    ) -> Option<WholeMessage> {
        if self.partial.is_some() {
            return None;
        }
        let kind = frame::whole_message(*input.first()?)?;
        let (header, start) = Header::decode(input, sender).ok()??;
        let end = start.checked_add(usize::try_from(header.length).ok()?)?;
        if end > input.len() || joining::check_frame(None, &header, limits).is_err() {
            return None;
        }
        Some(WholeMessage {
            kind,
            mask: header.mask,
            payload: start..end,
        })
    }

    /// Whether a close frame, or a header that breaks a rule, is among the frames that `input` begins
    /// with; if not, the bytes of those that are whole.
    pub(crate) fn find_end(sender: Role, input: &[u8]) -> Result<usize, EndAhead> {
        let mut at = 0;
        while let Some((header, length)) =
            Header::decode(&input[at..], sender).map_err(|_| EndAhead)?
        {
            if header.opcode == Opcode::Close {
                return Err(EndAhead);
            }
            let payload = usize::try_from(header.length).unwrap_or(usize::MAX);
            let end = at.saturating_add(length).saturating_add(payload);
            if end > input.len() {
                break;
            }
            at = end;
        }
        Ok(at)
    }

    /// Consumes a prefix of `input`: what it found with that, or all of it.
    pub(crate) fn read(
        &mut self,
        rules: Rules<'_>,
        input: &[u8],
    ) -> Result<(usize, Option<Found>), ProtocolError> {
        // On the stack, so that a control frame that is whole takes no room for what is not.
        let mut partial = self
            .partial
            .take()
            .map(|partial| *partial)
            .unwrap_or_default();
        let mut rest = input;
        let found = loop {
            match partial.step(rules, &mut rest)? {
                Step::Again => {}
                Step::Starved => break None,
                Step::Found(found) => break Some(found),
            }
        };
        if !partial.is_empty() {
            self.partial = Some(Box::new(partial));
        }
        Ok((input.len() - rest.len(), found))
    }

    /// Lends the message in progress out, if its frame goes on for at least `bytes_min` bytes, and
    /// there may be room for them. [`take_back`](Self::take_back) has to follow, before anything
    /// else is read.
    pub(crate) fn lend(&mut self, bytes_min: usize) -> Option<PartialMessage> {
        let partial = self.partial.take_if(|it| it.make_room(bytes_min.max(1)))?;
        let filled = false;
        Some(PartialMessage { partial, filled })
    }

    /// Goes on with the message that was lent out: what it has become, if it is whole.
    pub(crate) fn take_back(
        &mut self,
        PartialMessage { mut partial, .. }: PartialMessage,
    ) -> Result<Option<Joined>, ProtocolError> {
        if let (Some(frame), Some(joining)) = (&mut partial.frame, &mut partial.joining) {
            joining.accept(&mut frame.mask)?;
            if frame.remaining == 0 {
                partial.frame = None;
            }
        }
        let joined = partial.finish_frame()?;
        if !partial.is_empty() {
            self.partial = Some(partial);
        }
        Ok(joined)
    }

    /// Whether something is incomplete.
    pub(crate) fn is_partial(&self) -> bool {
        self.partial.is_some()
    }

    /// Drops what is incomplete.
    pub(crate) fn stop(&mut self) {
        self.partial = None;
    }

    /// When the message in progress has to be complete.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let joining = self.partial.as_ref()?.joining.as_ref();
        joining.map(|joining| joining.deadline)
    }

    /// Bytes of memory that hold what is incomplete.
    pub(crate) fn held_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| {
            let message = partial.joining.as_ref().map_or(0, Joining::held_bytes);
            size_of::<Partial>() + message + partial.control.capacity()
        })
    }
}

impl Partial {
    fn is_empty(&self) -> bool {
        self.header_length == 0 && self.frame.is_none() && self.joining.is_none()
    }

    /// Reads one header, or one piece of a payload.
    fn step(&mut self, rules: Rules<'_>, rest: &mut &[u8]) -> Result<Step, ProtocolError> {
        let Some(mut frame) = self.frame.take() else {
            let Some(header) = self.read_header(rules.sender, rest)? else {
                return Ok(Step::Starved);
            };
            return self.begin_frame(rules, &header);
        };
        let length = frame.remaining.min(rest.len() as u64) as usize;
        let (piece, behind) = rest.split_at(length);
        *rest = behind;
        if frame.opcode.is_control() {
            let start = self.control.len();
            self.control.extend_from_slice(piece);
            if let Some(mask) = &mut frame.mask {
                mask.apply(&mut self.control[start..]);
            }
        } else {
            self.joining
                .as_mut()
                .expect("a data frame has a message")
                .push(piece, &mut frame.mask)?;
        }
        frame.remaining -= length as u64;
        if frame.remaining > 0 {
            self.frame = Some(frame);
            return Ok(Step::Starved);
        }
        if frame.opcode.is_control() {
            let payload = std::mem::take(&mut self.control);
            return Ok(Step::Found(Found::Control(frame.opcode, payload)));
        }
        Ok(match self.finish_frame()? {
            Some(joined) => Step::Found(Found::Message(joined)),
            None => Step::Again,
        })
    }

    /// The message whose last frame is complete.
    fn finish_frame(&mut self) -> Result<Option<Joined>, ProtocolError> {
        if self.frame.is_some() {
            return Ok(None);
        }
        let joining = self.joining.take_if(|joining| joining.is_last_frame());
        joining.map(Joining::finish).transpose()
    }

    /// Whether there is room for so many more bytes of the data frame in progress.
    fn make_room(&mut self, bytes_min: usize) -> bool {
        let (Some(frame), Some(joining)) = (&self.frame, &mut self.joining) else {
            return false;
        };
        !frame.opcode.is_control()
            && frame.remaining >= bytes_min as u64
            && joining.make_room(bytes_min) >= bytes_min
    }

    /// The header that `rest` begins or goes on with.
    fn read_header(
        &mut self,
        sender: Role,
        rest: &mut &[u8],
    ) -> Result<Option<Header>, ProtocolError> {
        let held = usize::from(self.header_length);
        if held == 0
            && let Some((header, length)) = Header::decode(rest, sender)?
        {
            *rest = &rest[length..];
            return Ok(Some(header));
        }
        let end = HEADER_BYTES_MAX.min(held + rest.len());
        self.header[held..end].copy_from_slice(&rest[..end - held]);
        let found = Header::decode(&self.header[..end], sender)?;
        let length = found.map_or(end, |(_, length)| length);
        *rest = &rest[length - held..];
        self.header_length = if found.is_some() { 0 } else { end as u8 };
        Ok(found.map(|(header, _)| header))
    }

    fn begin_frame(&mut self, rules: Rules<'_>, header: &Header) -> Result<Step, ProtocolError> {
        if !header.opcode.is_control() {
            joining::check_frame(self.joining.as_ref(), header, rules.limits)?;
            if let Some(joining) = &mut self.joining {
                joining.resume(header);
            } else {
                let deadline = rules.now + rules.limits.message_timeout;
                self.joining = Some(Joining::begin(header, deadline));
            }
        }
        self.frame = Some(FrameInProgress {
            opcode: header.opcode,
            mask: header.mask.map(Mask::new),
            remaining: header.length,
        });
        Ok(Step::Again)
    }
}

/// There is a close frame, or a header that breaks a rule.
pub(crate) struct EndAhead;

/// How far one step of reading came.
enum Step {
    /// There may be more to read.
    Again,
    /// All of the input is consumed.
    Starved,
    Found(Found),
}
