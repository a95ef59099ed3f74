//! Messages framed once and sent many times.
//!
//! In: a message. Out: the frame that a server sends, in shared memory. A client masks each frame
//! with a new key (RFC 6455, section 5.3), so it only takes the payload from here.

use bytes::Bytes;

use crate::frame;
use crate::terms::Kind;

/// A message with its frame, ready for any number of server connections. Cloning copies nothing.
///
/// ```
/// use chappe_proto::Prepared;
///
/// let news = Prepared::text("hello");
/// assert_eq!(&news.frame()[..], b"\x81\x05hello");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    frame: Bytes,
    kind: Kind,
    payload_start: u8,
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
        let mut frame = Vec::new();
        frame::put_header(kind.into(), payload.len(), None, &mut frame);
        let payload_start = frame.len() as u8;
        frame.reserve_exact(payload.len());
        frame.extend_from_slice(payload);
        Self {
            frame: Bytes::from(frame),
            kind,
            payload_start,
        }
    }

    /// The frame as a server sends it: header and payload, not masked.
    pub fn frame(&self) -> &Bytes {
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
