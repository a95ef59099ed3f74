//! Memory that frames for many connections stand in, one behind the other, so that those that
//! follow each other are written as one piece.
//!
//! ```text
//!   chunk:  [ frame 1 | frame 2 | frame 3 |                  ]   a thread's; it grows at its end
//!             ▲─────────────────▲                                a range, in somebody's outbox,
//!             ▲───────────────────────────▲                      and what frame 3 made of it
//! ```
//!
//! What a range covers is never written again: there lies the `unsafe` of this file.

#![expect(
    unsafe_code,
    reason = "a chunk is written while what was written before is read"
)]

use std::cell::UnsafeCell;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Bytes of a chunk. A range that is kept pins as many.
const CHUNK_BYTES: usize = 4096;

struct Chunk([UnsafeCell<u8>; CHUNK_BYTES]);

// SAFETY: bytes are written by the one writer that has the chunk, and only where no range is yet;
// ranges are made of bytes that were written before, and only read.
unsafe impl Sync for Chunk {}

impl Chunk {
    fn new() -> Arc<Self> {
        Arc::new(Self([const { UnsafeCell::new(0) }; CHUNK_BYTES]))
    }
}

/// Writes chunks.
#[derive(Default)]
pub(crate) struct ChunkWriter {
    chunk: Option<Arc<Chunk>>,
    /// How many bytes of it ranges were made of.
    filled: usize,
}

impl ChunkWriter {
    /// Writes pieces one behind the other, and behind what was written before if there is room.
    ///
    /// # Panics
    ///
    /// When they are longer than a chunk.
    pub(crate) fn put(&mut self, pieces: [&[u8]; 2]) -> FrameRange {
        let length = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        assert!(
            length <= CHUNK_BYTES,
            "{length} bytes are more than a chunk"
        );
        if self
            .chunk
            .as_mut()
            .is_some_and(|chunk| Arc::get_mut(chunk).is_some())
        {
            // No range of it is left.
            self.filled = 0;
        }
        if length > CHUNK_BYTES - self.filled {
            (self.chunk, self.filled) = (None, 0);
        }
        let chunk = self.chunk.get_or_insert_with(Chunk::new);
        let start = self.filled;
        for piece in pieces {
            let room = &chunk.0[self.filled..self.filled + piece.len()];
            // SAFETY: the room is as long as the piece, and all of it in the chunk. No range covers
            // it, so nobody reads it, nor does the piece lie there; and nobody else writes it:
            // `filled` only grows while there are ranges, and no two writers have one chunk.
            unsafe {
                let room = UnsafeCell::raw_get(room.as_ptr());
                room.copy_from_nonoverlapping(piece.as_ptr(), piece.len());
            }
            self.filled += piece.len();
        }
        FrameRange {
            chunk: chunk.clone(),
            start: start as u32,
            end: self.filled as u32,
        }
    }
}

/// One or more frames, one behind the other, in memory that others refer to as well.
///
/// ```
/// use chappe_proto::{Prepared, SharedFrame};
///
/// let (first, second) = (Prepared::text("one"), Prepared::text("two"));
/// let (SharedFrame::Short(first), SharedFrame::Short(second)) = (first.frame(), second.frame())
/// else {
///     unreachable!("they are short");
/// };
/// let mut both = first.clone();
/// assert!(both.extend(second));
/// assert_eq!(&both[..], b"\x81\x03one\x81\x03two");
/// ```
#[derive(Clone)]
pub struct FrameRange {
    chunk: Arc<Chunk>,
    /// `0 <= start <= end`, and all bytes before `end` are written.
    start: u32,
    end: u32,
}

impl FrameRange {
    /// How many bytes it covers.
    #[inline]
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether it covers none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes in what stands right behind; otherwise nothing happens. Tells whether it did.
    pub fn extend(&mut self, next: &Self) -> bool {
        let follows = self.end == next.start && Arc::ptr_eq(&self.chunk, &next.chunk);
        if follows {
            self.end = next.end;
        }
        follows
    }

    /// Leaves out so many bytes at the begin.
    ///
    /// # Panics
    ///
    /// When there are fewer.
    pub fn advance(&mut self, bytes: usize) {
        assert!(bytes <= self.len(), "{bytes} of {} bytes", self.len());
        self.start += bytes as u32;
    }
}

impl Deref for FrameRange {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let (start, end) = (self.start as usize, self.end as usize);
        let bytes = &self.chunk.0[start..end];
        // SAFETY: a range covers bytes that were written before it was made, or before the one was
        // that it was extended by; they are not written again while a range of the chunk is left.
        unsafe { std::slice::from_raw_parts(UnsafeCell::raw_get(bytes.as_ptr()), end - start) }
    }
}

impl fmt::Debug for FrameRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FrameRange").field(&self.len()).finish()
    }
}
