//! Masking (RFC 6455, section 5.3): exclusive-or with a key of four bytes that repeats.
//!
//! The same operation masks and unmasks. Nothing here knows what a frame is.

/// A masking key, turned so that its lowest byte is the one for the next payload byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mask(u32);

impl Mask {
    pub(crate) const fn new(key: [u8; 4]) -> Self {
        Self(u32::from_le_bytes(key))
    }

    /// Masks or unmasks the next bytes of a payload and moves the key on past them.
    pub(crate) fn apply(&mut self, bytes: &mut [u8]) {
        let end = self.after(bytes.len());
        if let Some(&last) = bytes.last_chunk::<WORD>() {
            // The last word may overlap the one before it, so it is masked from what it was. With
            // that there is no rest of single bytes, which would cost more than a short message.
            let last = u64::from_le_bytes(last) ^ end.word();
            // The compiler makes vectors of this loop.
            for chunk in bytes.chunks_exact_mut(WORD) {
                let word = u64::from_le_bytes(chunk.try_into().expect("a chunk is a word"));
                chunk.copy_from_slice(&(word ^ self.word()).to_le_bytes());
            }
            *bytes.last_chunk_mut().expect("there was a last word") = last.to_le_bytes();
        } else {
            for (byte, key) in bytes.iter_mut().zip(self.word().to_le_bytes()) {
                *byte ^= key;
            }
        }
        *self = end;
    }

    /// Copies bytes, masked or unmasked, to where there is room for as many. Tells whether the copy
    /// is ASCII, all of it.
    pub(crate) fn copy(self, from: &[u8], to: &mut [u8]) -> bool {
        assert_eq!(from.len(), to.len(), "there is room for as many bytes");
        let mut seen = 0;
        if let Some(&last) = from.last_chunk::<WORD>() {
            // The compiler makes vectors of this loop.
            for (from, to) in from.chunks_exact(WORD).zip(to.chunks_exact_mut(WORD)) {
                let word = u64::from_le_bytes(from.try_into().expect("a chunk is a word"));
                let word = word ^ self.word();
                seen |= word;
                to.copy_from_slice(&word.to_le_bytes());
            }
            // As in `apply`.
            let last = u64::from_le_bytes(last) ^ self.after(from.len()).word();
            seen |= last;
            *to.last_chunk_mut().expect("it is as long") = last.to_le_bytes();
        } else {
            for ((from, to), key) in from.iter().zip(to).zip(self.word().to_le_bytes()) {
                *to = from ^ key;
                seen |= u64::from(*to);
            }
        }
        seen & NOT_ASCII == 0
    }

    /// The key for what comes behind so many bytes. It is the key for their last word, too.
    const fn after(self, bytes: usize) -> Self {
        Self(self.0.rotate_right(bytes as u32 % 4 * 8))
    }

    /// The key, twice.
    fn word(self) -> u64 {
        let key = u64::from(self.0);
        key << 32 | key
    }
}

/// Bytes that are masked at a time.
const WORD: usize = size_of::<u64>();

/// The bits that no byte of a word has if they are ASCII.
const NOT_ASCII: u64 = u64::from_ne_bytes([0x80; WORD]);
