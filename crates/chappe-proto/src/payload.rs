//! What is sent, and where it is put: payloads that are copied or referred to, and the outbox that
//! a driver writes from.

use bytes::Bytes;

use crate::prepared::{Prepared, SharedFrame};
use crate::terms::Kind;
use crate::utf8::Utf8Bytes;

/// What is sent as one message, in one frame.
///
/// ```
/// use std::sync::Arc;
/// use chappe_proto::{Connection, Limits, Payload, Time};
///
/// let mut server = Connection::server(Time::ZERO, Arc::new(Limits::default()));
/// let mut out = Vec::new();
/// server.send(Payload::Binary(&[1, 2]), &mut out)?;
/// assert_eq!(out, [0x82, 2, 1, 2]);
/// # Ok::<(), chappe_proto::SendError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// Text, which is copied.
    Text(&'a str),
    /// Bytes, which are copied.
    Binary(&'a [u8]),
    /// Text that a server's outbox may refer to.
    SharedText(&'a Utf8Bytes),
    /// Bytes that a server's outbox may refer to.
    SharedBinary(&'a Bytes),
    /// A message with its frame, which a server's outbox may refer to.
    Prepared(&'a Prepared),
}

impl Payload<'_> {
    /// Payload bytes.
    pub fn len(&self) -> usize {
        self.parts().1.len()
    }

    /// Whether there are none, which is a valid message.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The message's kind and its payload.
    pub(crate) fn parts(&self) -> (Kind, &[u8]) {
        match self {
            Self::Text(text) => (Kind::Text, text.as_bytes()),
            Self::Binary(bytes) => (Kind::Binary, bytes),
            Self::SharedText(text) => (Kind::Text, text.as_bytes()),
            Self::SharedBinary(bytes) => (Kind::Binary, bytes),
            Self::Prepared(prepared) => (prepared.kind(), prepared.payload()),
        }
    }
}

impl<'a> From<&'a Prepared> for Payload<'a> {
    fn from(prepared: &'a Prepared) -> Self {
        Self::Prepared(prepared)
    }
}

/// Where frames are put until they are written: bytes of its own, and bytes it refers to.
///
/// What is appended through either method keeps its order.
///
/// ```
/// use bytes::Bytes;
/// use chappe_proto::FrameSink;
///
/// /// Keeps shared bytes as they are, behind a piece of its own.
/// #[derive(Default)]
/// struct Pieces(Vec<Bytes>, Vec<u8>);
///
/// impl FrameSink for Pieces {
///     fn tail(&mut self) -> &mut Vec<u8> {
///         &mut self.1
///     }
///
///     fn put_shared(&mut self, bytes: &Bytes) {
///         self.0.push(std::mem::take(&mut self.1).into());
///         self.0.push(bytes.clone());
///     }
/// }
/// let mut out = Pieces::default();
/// out.put_shared(&Bytes::from_static(b"shared"));
/// assert_eq!(out.0[1], "shared");
/// ```
pub trait FrameSink {
    /// The buffer at the outbox's end, to which frames are appended.
    fn tail(&mut self) -> &mut Vec<u8>;

    /// Appends bytes that need not be copied: whoever holds them will not change them.
    fn put_shared(&mut self, bytes: &Bytes) {
        self.tail().extend_from_slice(bytes);
    }

    /// Appends a frame that was prepared for many. A short one is copied unless this says otherwise.
    fn put_prepared(&mut self, frame: &SharedFrame) {
        match frame {
            SharedFrame::Short(range) => self.tail().extend_from_slice(range),
            SharedFrame::Long(bytes) => self.put_shared(bytes),
        }
    }
}

impl FrameSink for Vec<u8> {
    fn tail(&mut self) -> &mut Vec<u8> {
        self
    }
}
