//! Text: checked as it arrives, and kept with the proof that it was (RFC 6455, section 8.1).
//!
//! In: bytes, cut anywhere. Out: an error at the first byte that cannot belong to UTF-8, else
//! text. This file holds the crate's `unsafe`: it spares a second pass over what was checked.
#![allow(
    unsafe_code,
    reason = "checked bytes become `str` without a second check"
)]

use std::fmt;
use std::ops::Deref;

use bytes::{BufMut, Bytes};

use crate::copy::{PIECE_BYTES, copy};
use crate::page::Unmasked;

/// Bytes that are not UTF-8, and can't become it whatever follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidUtf8;

/// Checks text that is there as a whole.
pub(crate) fn check(bytes: &[u8]) -> Result<&str, InvalidUtf8> {
    // Below a vector's length the library goes byte by byte, and most short text is ASCII.
    if bytes.len() < SHORT_BYTES && bytes.is_ascii() {
        // SAFETY: ASCII is UTF-8.
        return Ok(unsafe { std::str::from_utf8_unchecked(bytes) });
    }
    simdutf8::basic::from_utf8(bytes).map_err(|_| InvalidUtf8)
}

/// Below this, `simdutf8` does what the standard library does.
const SHORT_BYTES: usize = 64;

/// Checks text that comes in pieces, each byte once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Utf8Checker {
    /// The first bytes of a character that is not complete: `0 <= pending <= 3`.
    character: [u8; 4],
    pending: u8,
}

impl Utf8Checker {
    /// Fails at the first byte that makes the text invalid, however the pieces are cut.
    pub(crate) fn check(&mut self, mut bytes: &[u8]) -> Result<(), InvalidUtf8> {
        while self.pending > 0 {
            let Some((&byte, rest)) = bytes.split_first() else {
                return Ok(());
            };
            bytes = rest;
            let end = usize::from(self.pending);
            self.character[end] = byte;
            match simdutf8::compat::from_utf8(&self.character[..=end]) {
                Ok(_) => self.pending = 0,
                Err(error) if error.error_len().is_some() => return Err(InvalidUtf8),
                Err(_) => self.pending += 1,
            }
        }
        let Err(error) = simdutf8::compat::from_utf8(bytes) else {
            return Ok(());
        };
        if error.error_len().is_some() {
            return Err(InvalidUtf8);
        }
        let tail = &bytes[error.valid_up_to()..];
        self.character[..tail.len()].copy_from_slice(tail);
        self.pending = tail.len() as u8;
        Ok(())
    }

    /// Whether what was checked ends where a character ends.
    pub(crate) fn is_complete(self) -> bool {
        self.pending == 0
    }
}

/// Text that is being joined from pieces.
///
/// Invariant: `bytes[..checked]` has passed through `checker`, all of it, in order.
#[derive(Debug, Default)]
pub(crate) struct TextBuffer {
    bytes: Vec<u8>,
    checked: usize,
    checker: Utf8Checker,
}

impl TextBuffer {
    /// Makes room for so many more bytes.
    pub(crate) fn reserve(&mut self, additional: usize) {
        self.bytes.reserve_exact(additional);
    }

    /// Lends room for at most `bytes_max` bytes behind what there is. Nothing else can be reached
    /// through it, so what was checked stays as it was. [`accept`](Self::accept) has to follow.
    pub(crate) fn fill<R>(
        &mut self,
        bytes_max: usize,
        fill: impl FnOnce(&mut dyn BufMut) -> R,
    ) -> R {
        fill(&mut (&mut self.bytes).limit(bytes_max))
    }

    /// Appends a piece once `unmask` has made text of it.
    pub(crate) fn push(
        &mut self,
        piece: &[u8],
        unmask: impl FnMut(&mut [u8]),
    ) -> Result<(), InvalidUtf8> {
        self.bytes.extend_from_slice(piece);
        self.accept(unmask)
    }

    /// Checks what was appended, once `unmask` has made text of it.
    pub(crate) fn accept(&mut self, mut unmask: impl FnMut(&mut [u8])) -> Result<(), InvalidUtf8> {
        for piece in self.bytes[self.checked..].chunks_mut(PIECE_BYTES) {
            unmask(piece);
            self.checker.check(piece)?;
            self.checked += piece.len();
        }
        Ok(())
    }

    /// The bytes so far.
    pub(crate) fn bytes(&self) -> &Vec<u8> {
        &self.bytes
    }

    pub(crate) fn finish(self) -> Result<String, InvalidUtf8> {
        if self.checked < self.bytes.len() || !self.checker.is_complete() {
            return Err(InvalidUtf8);
        }
        // SAFETY: every byte went through `checker`, which found no invalid sequence, and the
        // last character is complete: the whole is valid UTF-8.
        Ok(unsafe { String::from_utf8_unchecked(self.bytes) })
    }
}

/// Text in shared memory: what [`Bytes`] is to bytes. Cloning it copies nothing.
///
/// ```
/// use chappe_proto::Utf8Bytes;
///
/// let text = Utf8Bytes::from("grüezi");
/// assert_eq!(text.len(), 7);
/// assert_eq!(&*text, "grüezi");
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Utf8Bytes(Bytes);

impl Utf8Bytes {
    /// Wraps a constant without copying it.
    pub const fn from_static(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// The text as a string slice.
    pub fn as_str(&self) -> &str {
        // SAFETY: every constructor takes the bytes of a `str`, checks them, or has them from
        // `Unmasked`, which saw that they are ASCII; and they never change.
        unsafe { std::str::from_utf8_unchecked(&self.0) }
    }

    /// The text's bytes, shared.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Gives the bytes out of their wrapping, without copying them.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl Deref for Utf8Bytes {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Utf8Bytes {
    fn as_ref(&self) -> &str {
        self
    }
}

impl AsRef<[u8]> for Utf8Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for Utf8Bytes {
    fn from(text: &str) -> Self {
        Self(copy(text.as_bytes()).into())
    }
}

impl From<String> for Utf8Bytes {
    fn from(text: String) -> Self {
        Self(Bytes::from(text.into_bytes()))
    }
}

impl TryFrom<Unmasked> for Utf8Bytes {
    type Error = InvalidUtf8;

    #[inline]
    fn try_from(payload: Unmasked) -> Result<Self, InvalidUtf8> {
        let is_ascii = payload.is_ascii();
        let bytes = payload.into_bytes();
        if !is_ascii {
            check(&bytes)?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<Bytes> for Utf8Bytes {
    type Error = std::str::Utf8Error;

    fn try_from(bytes: Bytes) -> Result<Self, Self::Error> {
        std::str::from_utf8(&bytes)?;
        Ok(Self(bytes))
    }
}

impl PartialEq<str> for Utf8Bytes {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Utf8Bytes {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Debug for Utf8Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Utf8Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}
