//! Messages framed once and sent many times.
//!
//! In: a message. Out: the frame that a server sends, in shared memory. A client masks each frame
//! with a new key (RFC 6455, section 5.3), so it only takes the payload from here.

use std::cell::RefCell;
use std::fmt;
use std::ops::Deref;

use bytes::Bytes;

use crate::chunk::{ChunkWriter, FrameRange};
use crate::frame::{self, HEADER_BYTES_MAX};
use crate::terms::Kind;

/// A message with its frame, ready for any number of server connections. Cloning copies nothing.
///
/// Keeping one pins at most 4 KiB of memory, or its size.
///
/// ```
/// use chappe_proto::Prepared;
///
/// let news = Prepared::text("hello");
/// assert_eq!(&news.frame()[..], b"\x81\x05hello");
/// ```
#[derive(Clone)]
pub struct Prepared {
    frame: SharedFrame,
    kind: Kind,
    payload_start: u8,
}

/// A frame as a server sends it, header and payload, not masked. Cloning copies nothing.
///
/// ```
/// use chappe_proto::{Prepared, SharedFrame};
///
/// assert!(matches!(Prepared::text("hello").frame(), SharedFrame::Short(_)));
/// assert!(matches!(Prepared::binary(&[0; 1000]).frame(), SharedFrame::Long(_)));
/// ```
#[derive(Clone, Debug)]
pub enum SharedFrame {
    /// Up to 512 bytes: mostly right behind the frame that the same thread prepared before.
    Short(FrameRange),
    /// In memory of its own.
    Long(Bytes),
}

impl Deref for SharedFrame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Short(range) => range,
            Self::Long(bytes) => bytes,
        }
    }
}

/// Longer frames have memory of their own: they would waste too much of a chunk.
const SHORT_BYTES_MAX: usize = 512;

thread_local! {
    static WRITER: RefCell<ChunkWriter> = RefCell::default();
}

impl Prepared {
    /// Frames a text message.
    pub fn text(text: &str) -> Self {
        Self::new(Kind::Text, text.as_bytes())
    }

    /// Frames a binary message.
    pub fn binary(bytes: &[u8]) -> Self {
        Self::new(Kind::Binary, bytes)
    }

    fn new(kind: Kind, payload: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(HEADER_BYTES_MAX);
        frame::put_header(kind.into(), payload.len(), None, &mut bytes);
        let payload_start = bytes.len() as u8;
        let frame = if bytes.len() + payload.len() <= SHORT_BYTES_MAX {
            let range = WRITER.with_borrow_mut(|writer| writer.put([&bytes, payload]));
            SharedFrame::Short(range)
        } else {
            bytes.reserve_exact(payload.len());
            bytes.extend_from_slice(payload);
            SharedFrame::Long(bytes.into())
        };
        Self {
            frame,
            kind,
            payload_start,
        }
    }

    /// The frame as a server sends it.
    pub fn frame(&self) -> &SharedFrame {
        &self.frame
    }

    /// The message's payload.
    pub fn payload(&self) -> &[u8] {
        &self.frame[usize::from(self.payload_start)..]
    }

    /// Whether the message is text or binary.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl PartialEq for Prepared {
    fn eq(&self, other: &Self) -> bool {
        self.frame[..] == other.frame[..]
    }
}

impl Eq for Prepared {}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared")
            .field("kind", &self.kind)
            .field("payload_bytes", &self.payload().len())
            .finish_non_exhaustive()
    }
}
