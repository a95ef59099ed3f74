//! Masking (RFC 6455, section 5.3): exclusive-or with a key of four bytes that repeats.
//!
//! The same operation masks and unmasks. Nothing here knows what a frame is.

/// A masking key, turned so that its first byte is the one for the next payload byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mask([u8; 4]);

impl Mask {
    pub(crate) const fn new(key: [u8; 4]) -> Self {
        Self(key)
    }

    /// Masks or unmasks the next bytes of a payload and moves the key on past them.
    pub(crate) fn apply(&mut self, bytes: &mut [u8]) {
        // Eight bytes at a time: the compiler makes vectors of this loop.
        let [a, b, c, d] = self.0;
        let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
        let mut chunks = bytes.chunks_exact_mut(8);
        for chunk in &mut chunks {
            let word = u64::from_ne_bytes(chunk.try_into().expect("a chunk is eight bytes"));
            chunk.copy_from_slice(&(word ^ wide).to_ne_bytes());
        }
        let rest = chunks.into_remainder();
        for (byte, key) in rest.iter_mut().zip(wide.to_ne_bytes()) {
            *byte ^= key;
        }
        self.0.rotate_left(rest.len() % 4);
    }
}
