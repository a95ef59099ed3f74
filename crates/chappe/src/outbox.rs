//! What is to be written to one connection, in order: bytes of its own, and bytes it refers to.
//!
//! ```text
//!   base:    [ frames.............|........|............ ]   its own buffer, of the thread's pool
//!   pieces:                       ▲ A      ▲ B               written where they stand
//!
//!   base:    [ short frames that were prepared for many ]    a range, while there is nothing else
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::io::IoSlice;

use bytes::Bytes;
use chappe_proto::{FrameRange, SharedFrame};

use crate::buffer;

/// Bytes of frames that wait to be written.
#[derive(Default)]
pub(crate) struct Outbox {
    base: Base,
    /// Bytes of the own buffer that are written: at most all of them.
    own_written: usize,
    /// Boxed, because most connections refer to none. While there is one, the base is a buffer.
    pieces: Option<Box<Pieces>>,
}

enum Base {
    Own(Vec<u8>),
    /// Frames that follow each other, referred to. It is not empty.
    Range(FrameRange),
}

impl Default for Base {
    fn default() -> Self {
        Self::Own(Vec::new())
    }
}

/// What is referred to, among the own bytes. There is at least one, and none is empty.
#[derive(Default)]
struct Pieces {
    queue: VecDeque<Piece>,
    /// Bytes of them that are not written.
    bytes: usize,
}

struct Piece {
    /// How many own bytes come before these.
    after: usize,
    bytes: Bytes,
    /// Bytes of memory that may be freed with the last of them; 0 of what was prepared for many.
    held_bytes: usize,
}

impl Outbox {
    /// Bytes that are not written.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        let pieces = self.pieces.as_ref().map_or(0, |pieces| pieces.bytes);
        match &self.base {
            Base::Own(own) => own.len() - self.own_written + pieces,
            Base::Range(range) => range.len(),
        }
    }

    /// Bytes of memory that this outbox holds for itself. A range counts, though others may refer
    /// to it as well: it is short, and may be the last that does.
    pub(crate) fn held_bytes(&self) -> usize {
        let pieces = self.pieces.as_ref().map_or(0, |pieces| pieces.held_bytes());
        match &self.base {
            Base::Own(own) => own.capacity() + pieces,
            Base::Range(range) => range.len(),
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        match &self.base {
            Base::Own(own) => own.len() == self.own_written && self.pieces.is_none(),
            Base::Range(_) => false,
        }
    }

    /// What comes next, where it is all in one piece.
    pub(crate) fn in_one_piece(&self) -> Option<&[u8]> {
        match &self.base {
            Base::Own(own) => self.pieces.is_none().then(|| &own[self.own_written..]),
            Base::Range(range) => Some(range),
        }
    }

    /// Fills `slices` with what comes next, and tells how many it used.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        let mut put = |bytes: &'a [u8]| {
            if !bytes.is_empty() && used < slices.len() {
                slices[used] = IoSlice::new(bytes);
                used += 1;
            }
        };
        match &self.base {
            Base::Range(range) => put(range),
            Base::Own(own) => {
                let mut at = self.own_written;
                let mut queue = self.pieces.iter().flat_map(|pieces| &pieces.queue);
                // One refers to two slices at most; the rest of a long queue comes next time.
                for piece in queue.by_ref().take(SLICES_MAX) {
                    put(&own[at..piece.after]);
                    put(&piece.bytes);
                    at = piece.after;
                }
                if queue.next().is_none() {
                    put(&own[at..]);
                }
            }
        }
        used
    }

    /// Takes note that this many bytes are written.
    pub(crate) fn advance(&mut self, written: usize) {
        match (&mut self.base, &mut self.pieces) {
            (Base::Range(range), _) => {
                range.advance(written);
                if range.is_empty() {
                    self.base = Base::default();
                }
            }
            (Base::Own(_), None) => self.own_written += written,
            (Base::Own(_), Some(pieces)) => {
                self.own_written = pieces.advance(self.own_written, written);
                if pieces.queue.is_empty() {
                    self.pieces = None;
                }
            }
        }
        if self.is_empty() {
            self.clear();
        }
    }

    /// Makes one piece of it, for streams that can't write several at once.
    pub(crate) fn join(&mut self) {
        let (Some(pieces), Base::Own(own)) = (&self.pieces, &self.base) else {
            return;
        };
        let mut joined = Vec::with_capacity(self.len());
        let mut at = self.own_written;
        for piece in &pieces.queue {
            joined.extend_from_slice(&own[at..piece.after]);
            joined.extend_from_slice(&piece.bytes);
            at = piece.after;
        }
        joined.extend_from_slice(&own[at..]);
        *self = Self {
            base: Base::Own(joined),
            ..Self::default()
        };
    }

    /// Drops what is not written, and gives the buffer back.
    pub(crate) fn clear(&mut self) {
        if let Base::Own(own) = std::mem::take(self).base {
            buffer::return_write_buffer(own);
        }
    }

    /// The own buffer. A range is copied there: something comes that it is not one piece with.
    #[inline]
    fn own(&mut self) -> &mut Vec<u8> {
        if let Base::Range(range) = &self.base {
            let mut own = buffer::take_write_buffer();
            own.extend_from_slice(range);
            self.base = Base::Own(own);
        }
        match &mut self.base {
            Base::Own(own) => own,
            Base::Range(_) => unreachable!("it was copied"),
        }
    }

    fn refer_to(&mut self, bytes: &Bytes, held_bytes: usize) {
        if bytes.is_empty() {
            return;
        }
        let after = self.own().len();
        let pieces = self.pieces.get_or_insert_default();
        pieces.bytes += bytes.len();
        pieces.queue.push_back(Piece {
            after,
            bytes: bytes.clone(),
            held_bytes,
        });
    }
}

impl Pieces {
    fn held_bytes(&self) -> usize {
        self.queue.iter().map(|piece| piece.held_bytes).sum()
    }

    /// Takes note that this many bytes are written, where so many were of the outbox's own; tells
    /// how many are then.
    fn advance(&mut self, mut own_written: usize, mut written: usize) -> usize {
        while let Some(piece) = self.queue.front_mut() {
            let own = written.min(piece.after - own_written);
            own_written += own;
            written -= own;
            let of_piece = written.min(piece.bytes.len());
            bytes::Buf::advance(&mut piece.bytes, of_piece);
            self.bytes -= of_piece;
            written -= of_piece;
            if !piece.bytes.is_empty() {
                return own_written;
            }
            self.queue.pop_front();
        }
        own_written + written
    }
}

impl fmt::Debug for Outbox {
    /// Without the bytes, which are payloads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Outbox").field(&self.len()).finish()
    }
}

impl chappe_proto::FrameSink for Outbox {
    #[inline]
    fn tail(&mut self) -> &mut Vec<u8> {
        let own = self.own();
        if own.capacity() == 0 {
            *own = buffer::take_write_buffer();
        }
        own
    }

    fn put_shared(&mut self, bytes: &Bytes) {
        self.refer_to(bytes, bytes.len());
    }

    #[inline]
    fn put_prepared(&mut self, frame: &SharedFrame) {
        let frame = match frame {
            SharedFrame::Short(frame) => frame,
            SharedFrame::Long(bytes) => return self.refer_to(bytes, 0),
        };
        if let Base::Range(range) = &mut self.base
            && range.extend(frame)
        {
            return;
        }
        if self.is_empty() {
            self.base = Base::Range(frame.clone());
        } else {
            self.tail().extend_from_slice(frame);
        }
    }
}

/// Pieces that one write takes at most.
pub(crate) const SLICES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use chappe_proto::{FrameSink as _, Prepared};

    /// What is appended.
    #[derive(Clone, Copy, Debug)]
    enum Part {
        Own,
        Shared,
        Nothing,
        /// A short frame that was prepared right behind the one before.
        Next,
        /// A short frame that is the same each time.
        Same,
        Long,
    }

    const PARTS: [Part; 6] = {
        use Part::{Long, Next, Nothing, Own, Same, Shared};
        [Own, Shared, Nothing, Next, Same, Long]
    };

    /// An outbox with these parts, and the bytes that they are.
    fn filled(parts: &[Part]) -> (Outbox, Vec<u8>) {
        let mut outbox = Outbox::default();
        let mut expected = Vec::new();
        let same = Prepared::text("same");
        for (number, part) in parts.iter().enumerate() {
            let prepared = match part {
                Part::Own => {
                    outbox.tail().extend_from_slice(b"ab");
                    expected.extend_from_slice(b"ab");
                    continue;
                }
                Part::Shared | Part::Nothing => {
                    let bytes: &[u8] = if matches!(part, Part::Nothing) {
                        b""
                    } else {
                        b"CDE"
                    };
                    outbox.put_shared(&Bytes::from_static(bytes));
                    expected.extend_from_slice(bytes);
                    continue;
                }
                Part::Next => Prepared::text(&number.to_string()),
                Part::Same => same.clone(),
                Part::Long => Prepared::binary(&[number as u8; 600]),
            };
            outbox.put_prepared(prepared.frame());
            expected.extend_from_slice(prepared.frame());
        }
        (outbox, expected)
    }

    /// What is left, as one string of bytes.
    fn left(outbox: &Outbox) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let used = outbox.slices(&mut slices);
        let bytes = slices[..used].iter().flat_map(|slice| slice.to_vec());
        let bytes = bytes.collect();
        if let Some(piece) = outbox.in_one_piece() {
            assert_eq!(piece, bytes, "one piece is what the slices are");
        }
        bytes
    }

    /// Whether all that is left is a range.
    fn is_range(outbox: &Outbox) -> bool {
        matches!(outbox.base, Base::Range(_))
    }

    /// All ways to append so many parts.
    fn ways(count: usize) -> Vec<Vec<Part>> {
        (0..count).fold(vec![Vec::new()], |ways, _| {
            let longer = |way: &Vec<Part>| PARTS.map(|part| [&way[..], &[part]].concat());
            ways.iter().flat_map(longer).collect()
        })
    }

    #[test]
    fn outbox_keeps_the_order_whatever_is_appended() {
        for parts in (0..=5).flat_map(ways) {
            let (outbox, expected) = filled(&parts);
            assert_eq!(left(&outbox), expected, "{parts:?}");
            assert_eq!(outbox.len(), expected.len(), "{parts:?}");
            assert_eq!(outbox.is_empty(), expected.is_empty(), "{parts:?}");
        }
    }

    #[test]
    fn outbox_keeps_the_order_however_it_is_written() {
        for parts in (1..=3).flat_map(ways) {
            let (_, expected) = filled(&parts);
            // Within a long frame every byte is like the next.
            let cuts: Vec<_> = (0..=expected.len()).filter(|at| at % 600 < 12).collect();
            for first in &cuts {
                for second in cuts.iter().filter(|second| *second >= first) {
                    let (mut outbox, expected) = filled(&parts);
                    outbox.advance(*first);
                    outbox.advance(second - first);
                    let what = format!("{parts:?}, written up to {first}, then up to {second}");
                    assert_eq!(left(&outbox), expected[*second..], "{what}");
                    assert_eq!(outbox.len(), expected.len() - second, "{what}");
                    outbox.tail().extend_from_slice(b"more");
                    assert_eq!(
                        left(&outbox),
                        [&expected[*second..], b"more"].concat(),
                        "{what}"
                    );
                }
            }
        }
    }

    #[test]
    fn outbox_joins_what_is_left() {
        for parts in ways(4) {
            for written in 0..=4 {
                let (mut outbox, expected) = filled(&parts);
                let written = written.min(expected.len());
                outbox.advance(written);
                outbox.join();
                assert_eq!(
                    left(&outbox),
                    expected[written..],
                    "{parts:?} after {written}"
                );
                assert!(outbox.in_one_piece().is_some(), "{parts:?} after {written}");
            }
        }
    }

    #[test]
    fn outbox_holds_what_it_refers_to_until_all_of_it_is_written() {
        let mut outbox = Outbox::default();
        let payload = Bytes::from(vec![0; 10_000]);
        outbox.put_shared(&payload);
        for left in [10_000, 9_999, 1] {
            outbox.advance(outbox.len() - left);
            assert_eq!(outbox.held_bytes(), 10_000, "{left} are left");
        }
        outbox.advance(1);
        assert_eq!(outbox.held_bytes(), 0, "nothing is left");
    }

    #[test]
    fn outbox_refers_to_short_frames_that_follow_each_other() {
        let (mut outbox, expected) = filled(&[Part::Next; 100]);
        assert!(is_range(&outbox), "{outbox:?}");
        assert_eq!(outbox.held_bytes(), expected.len());
        outbox.advance(expected.len() - 1);
        assert!(is_range(&outbox), "{outbox:?}");
        outbox.advance(1);
        assert!(outbox.is_empty() && !is_range(&outbox), "{outbox:?}");
    }

    #[test]
    fn outbox_copies_short_frames_that_do_not() {
        for parts in [
            [Part::Same, Part::Same],
            [Part::Own, Part::Next],
            [Part::Next, Part::Own],
        ] {
            let (outbox, _) = filled(&parts);
            assert!(
                !is_range(&outbox) && outbox.in_one_piece().is_some(),
                "{parts:?}"
            );
        }
    }

    #[test]
    fn outbox_of_many_pieces_is_written_in_turns() {
        let (mut outbox, expected) = filled(&[Part::Own, Part::Long].repeat(300));
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
