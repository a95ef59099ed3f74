//! What a connection hands out: messages, control frames, the peer's violation of a rule.

use std::borrow::Cow;
use std::time::Duration;

use crate::closing::CloseFrame;
use crate::error::ProtocolError;
use crate::joining::Joined;

/// What [`Connection::handle_input`](crate::Connection::handle_input) found.
///
/// ```
/// use std::sync::Arc;
/// use chappe_proto::{Connection, Event, Limits, Time};
///
/// let mut client = Connection::client(Time::ZERO, Arc::new(Limits::default()));
/// let mut input = *b"\x89\x02hi\x82\x01\x07"; // a ping, and a binary message
/// let (consumed, event) = client.handle_input(Time::ZERO, &mut input);
/// assert_eq!((consumed, event), (4, Some(Event::Ping(b"hi"))));
/// let (_, event) = client.handle_input(Time::ZERO, &mut input[4..]);
/// assert!(matches!(event, Some(Event::Binary(bytes)) if bytes == &[7][..]));
/// ```
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A text message; borrowed from the input when it came in one frame and in one piece.
    Text(Cow<'a, str>),
    /// A binary message; borrowed from the input when it came in one frame and in one piece.
    Binary(Cow<'a, [u8]>),
    /// The peer's ping; a pong is ready to transmit.
    Ping(&'a [u8]),
    /// The peer's pong. `round_trip` is known when it answers our latest ping.
    Pong {
        /// From our ping to this pong.
        round_trip: Option<Duration>,
    },
    /// The peer's close frame. Its answer is ready to transmit, unless the application may still reply
    /// ([`Connection::is_replying`](crate::Connection::is_replying)); nothing more will be read.
    Close(&'a CloseFrame),
    /// The peer broke a rule; a close frame is ready to transmit, and nothing more will be read.
    Failed(ProtocolError),
}

impl From<Joined> for Event<'_> {
    fn from(joined: Joined) -> Self {
        match joined {
            Joined::Text(text) => Self::Text(Cow::Owned(text)),
            Joined::Binary(bytes) => Self::Binary(Cow::Owned(bytes)),
        }
    }
}
