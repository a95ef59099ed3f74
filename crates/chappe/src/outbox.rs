//! What is to be written to one connection, in order: bytes of its own, and bytes it refers to.
//!
//! ```text
//!   own:     [ frames.............|........|............ ]   one buffer, from the thread's pool
//!   shared:                       ▲ A      ▲ B               written where they stand
//! ```

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use crate::buffer;

/// Bytes of frames that wait to be written.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    own: Vec<u8>,
    /// Bytes of `own` that are written: `0 <= own_written <= own.len()`.
    own_written: usize,
    /// In a box, as most connections refer to none.
    shared: Option<Box<Shared>>,
    /// Whether the bytes that come are referred to by many: then none of them is this one's.
    pub(crate) prepared: bool,
}

/// What is referred to. There is at least one piece.
#[derive(Debug, Default)]
struct Shared {
    pieces: VecDeque<Piece>,
    /// Bytes in `pieces` that are not written.
    bytes: usize,
}

#[derive(Debug)]
struct Piece {
    /// How many bytes of `own` come before these.
    after: usize,
    bytes: Bytes,
    prepared: bool,
}

impl Outbox {
    /// Bytes that are not written.
    pub(crate) fn len(&self) -> usize {
        let shared = self.shared.as_ref().map_or(0, |shared| shared.bytes);
        self.own.len() - self.own_written + shared
    }

    /// Bytes of memory that this outbox holds for itself.
    pub(crate) fn held_bytes(&self) -> usize {
        let alone = self.pieces().filter(|piece| !piece.prepared);
        self.own.len() + alone.map(|piece| piece.bytes.len()).sum::<usize>()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.shared.iter().flat_map(|shared| &shared.pieces)
    }

    /// What comes next, where it is all in one piece.
    pub(crate) fn in_one_piece(&self) -> Option<&[u8]> {
        self.shared.is_none().then(|| &self.own[self.own_written..])
    }

    /// Fills `slices` with what comes next, and tells how many it used.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        let mut at = self.own_written;
        let mut put = |bytes: &'a [u8]| {
            if !bytes.is_empty() && used < slices.len() {
                slices[used] = IoSlice::new(bytes);
                used += 1;
            }
        };
        // One piece refers to two slices at most; the rest of a long queue comes next time.
        for piece in self.pieces().take(SLICES_MAX) {
            put(&self.own[at..piece.after]);
            put(&piece.bytes);
            at = piece.after;
        }
        if self.pieces().nth(SLICES_MAX).is_none() {
            put(&self.own[at..]);
        }
        used
    }

    /// Takes note that this many bytes are written.
    pub(crate) fn advance(&mut self, mut written: usize) {
        while let Some(shared) = &mut self.shared {
            let piece = shared.pieces.front_mut().expect("there is at least one");
            let own = written.min(piece.after - self.own_written);
            self.own_written += own;
            written -= own;
            let of_piece = written.min(piece.bytes.len());
            bytes::Buf::advance(&mut piece.bytes, of_piece);
            shared.bytes -= of_piece;
            written -= of_piece;
            if !piece.bytes.is_empty() {
                break;
            }
            shared.pieces.pop_front();
            if shared.pieces.is_empty() {
                self.shared = None;
            }
        }
        self.own_written += written;
        if self.is_empty() {
            self.clear();
        }
    }

    /// Makes one piece of it, for streams that can't write several at once.
    pub(crate) fn join(&mut self) {
        let Some(shared) = self.shared.take() else {
            return;
        };
        let left = self.own.len() - self.own_written + shared.bytes;
        let mut joined = Vec::with_capacity(left);
        let mut at = self.own_written;
        for piece in shared.pieces {
            joined.extend_from_slice(&self.own[at..piece.after]);
            joined.extend_from_slice(&piece.bytes);
            at = piece.after;
        }
        joined.extend_from_slice(&self.own[at..]);
        (self.own, self.own_written) = (joined, 0);
    }

    /// Drops what is not written, and gives the buffer back.
    pub(crate) fn clear(&mut self) {
        buffer::return_write_buffer(std::mem::take(&mut self.own));
        self.own_written = 0;
        self.shared = None;
    }
}

impl chappe_proto::Outbox for Outbox {
    #[inline]
    fn tail(&mut self) -> &mut Vec<u8> {
        if self.own.capacity() == 0 {
            self.own = buffer::take_write_buffer();
        }
        &mut self.own
    }

    fn put_shared(&mut self, bytes: &Bytes) {
        if bytes.len() <= COPY_BYTES_MAX {
            self.tail().extend_from_slice(bytes);
        } else {
            let shared = self.shared.get_or_insert_default();
            shared.bytes += bytes.len();
            shared.pieces.push_back(Piece {
                after: self.own.len(),
                bytes: bytes.clone(),
                prepared: self.prepared,
            });
        }
    }
}

/// Up to so many bytes, copying costs less than one more piece to write.
const COPY_BYTES_MAX: usize = 512;

/// Pieces that one write takes at most.
pub(crate) const SLICES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use chappe_proto::Outbox as _;

    /// What is left, as one string of bytes.
    fn left(outbox: &Outbox) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let used = outbox.slices(&mut slices);
        slices[..used]
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect()
    }

    fn filled() -> Outbox {
        let mut outbox = Outbox::default();
        outbox.tail().extend_from_slice(b"ab");
        outbox.put_shared(&Bytes::from_static(b"CDE"));
        outbox.put_shared(&Bytes::from_static(b""));
        outbox.put_shared(&Bytes::from_static(b"F"));
        outbox.tail().extend_from_slice(b"gh");
        outbox
    }

    #[test]
    fn outbox_keeps_the_order_however_it_is_written() {
        for first in 0..=8 {
            for second in 0..=8 - first {
                let mut outbox = filled();
                outbox.advance(first);
                assert_eq!(left(&outbox), b"abCDEFgh"[first..], "after {first}");
                outbox.advance(second);
                assert_eq!(
                    left(&outbox),
                    b"abCDEFgh"[first + second..],
                    "{first}, {second}"
                );
                assert_eq!(outbox.len(), 8 - first - second);
            }
        }
    }

    #[test]
    fn outbox_joins_what_is_left() {
        for written in 0..=8 {
            let mut outbox = filled();
            outbox.advance(written);
            outbox.join();
            assert_eq!(left(&outbox), b"abCDEFgh"[written..], "after {written}");
            assert_eq!(outbox.len(), 8 - written);
        }
    }

    #[test]
    fn outbox_of_many_pieces_is_written_in_turns() {
        let mut outbox = Outbox::default();
        let mut expected = Vec::new();
        for index in 0..300_u32 {
            outbox.tail().extend_from_slice(&index.to_be_bytes());
            outbox.put_shared(&Bytes::copy_from_slice(&index.to_le_bytes()));
            expected.extend_from_slice(&index.to_be_bytes());
            expected.extend_from_slice(&index.to_le_bytes());
        }
        let mut written = Vec::new();
        while !outbox.is_empty() {
            let piece = left(&outbox);
            assert!(!piece.is_empty(), "{} bytes are left", outbox.len());
            outbox.advance(piece.len());
            written.extend_from_slice(&piece);
        }
        assert_eq!(written, expected);
    }
}
