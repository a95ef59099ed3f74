//! Messages as the user holds them: owned, safe to keep, cheap to clone.

use bytes::Bytes;

use crate::payload::Payload;
use crate::utf8::Utf8Bytes;

/// A message, as received or to be sent.
///
/// Keeping one pins at most 4 KiB of memory, or twice its size. Cloning copies nothing.
///
/// ```
/// use chappe_proto::Message;
///
/// assert_eq!(Message::from("hello"), Message::Text("hello".into()));
/// assert_eq!(Message::from(vec![1, 2]).len(), 2);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// UTF-8 text.
    Text(Utf8Bytes),
    /// Any bytes.
    Binary(Bytes),
}

impl Message {
    /// Payload bytes.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether the payload is empty, which is a valid message.
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    /// The text, unless the message is binary.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// The payload of either kind.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

/// Up to so many bytes, copying costs less than one more piece to write.
const COPY_BYTES_MAX: usize = 4096;

impl<'a> From<&'a Message> for Payload<'a> {
    /// Up to 4 KiB are to be copied behind their header; more may be referred to.
    #[inline]
    fn from(message: &'a Message) -> Self {
        match message {
            Message::Text(text) if text.len() <= COPY_BYTES_MAX => Self::Text(text),
            Message::Text(text) => Self::SharedText(text),
            Message::Binary(bytes) if bytes.len() <= COPY_BYTES_MAX => Self::Binary(bytes),
            Message::Binary(bytes) => Self::SharedBinary(bytes),
        }
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<Utf8Bytes> for Message {
    fn from(text: Utf8Bytes) -> Self {
        Self::Text(text)
    }
}

impl From<&[u8]> for Message {
    fn from(bytes: &[u8]) -> Self {
        Self::Binary(Bytes::copy_from_slice(bytes))
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes.into())
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}
