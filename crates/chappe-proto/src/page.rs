//! Memory for messages that are kept: short ones are cut from a page, one behind the other.

use std::fmt;

use bytes::{Bytes, BytesMut};

use crate::copy::PIECE_BYTES;
use crate::mask::Mask;

/// Where [`Connection::take_message`](crate::Connection::take_message) puts payloads.
///
/// One serves any number of connections, but one at a time: one per thread is natural. It holds
/// 4 KiB, which are used again once none of the messages cut from them is kept.
#[derive(Default)]
pub struct Page(BytesMut);

impl fmt::Debug for Page {
    /// Without what it holds, which may be of messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").finish_non_exhaustive()
    }
}

/// A payload that was copied and unmasked. It is made here alone: text rests on it.
pub(crate) struct Unmasked {
    bytes: Bytes,
    /// Whether all of `bytes` was seen to be ASCII.
    is_ascii: bool,
}

impl Page {
    /// Bytes of a page: what a message that was cut from it pins, as long as it is kept.
    pub const BYTES: usize = 4096;

    /// Messages up to this size are cut from the page; a larger one would waste too much of it.
    pub const CUT_BYTES_MAX: usize = Self::BYTES / 4;

    /// Copies a payload, and unmasks it on the way.
    #[inline]
    pub(crate) fn unmask(&mut self, payload: &[u8], mask: Mask) -> Unmasked {
        if payload.len() > Self::CUT_BYTES_MAX {
            return unmask_long(payload, mask);
        }
        let page = &mut self.0;
        if page.len() < payload.len() {
            page.clear();
            // All of it again when none of its messages is held any more, else another.
            if !page.try_reclaim(Self::BYTES) {
                *page = BytesMut::with_capacity(Self::BYTES);
            }
            page.resize(Self::BYTES, 0);
        }
        let mut copy = page.split_to(payload.len());
        let is_ascii = mask.copy(payload, &mut copy);
        Unmasked {
            bytes: copy.freeze(),
            is_ascii,
        }
    }
}

/// A payload in memory of its own.
fn unmask_long(payload: &[u8], mask: Mask) -> Unmasked {
    const { assert!(PIECE_BYTES.is_multiple_of(4), "each piece has the same key") };
    let mut copy = Vec::with_capacity(payload.len());
    let mut is_ascii = true;
    // In pieces, so that the zeros are in the cache when they are written over.
    for piece in payload.chunks(PIECE_BYTES) {
        let start = copy.len();
        copy.resize(start + piece.len(), 0);
        is_ascii &= mask.copy(piece, &mut copy[start..]);
    }
    Unmasked {
        bytes: copy.into(),
        is_ascii,
    }
}

impl Unmasked {
    /// Whether it is known to be ASCII.
    pub(crate) fn is_ascii(&self) -> bool {
        self.is_ascii
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        self.bytes
    }
}
