//! The RFC's terms that all files share: roles, kinds, sides, states. They know nobody.

use std::fmt;

/// Which end of the connection one is. Clients mask what they send, servers don't (section 5.1).
///
/// ```
/// use chappe_proto::Role;
///
/// assert_eq!(Role::Client.peer(), Role::Server);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The side that opened the connection.
    Client,
    /// The side that accepted it.
    Server,
}

impl Role {
    /// The other side.
    #[must_use]
    pub const fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// What a message carries (section 5.6).
///
/// ```
/// use chappe_proto::{Kind, Prepared};
///
/// assert_eq!(Prepared::text("hello").kind(), Kind::Text);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// Any bytes.
    Binary,
}

/// One end of the connection, as seen from here.
///
/// ```
/// use std::sync::Arc;
/// use chappe_proto::{Connection, Limits, Side, Time};
///
/// let mut client = Connection::client(Time::ZERO, Arc::new(Limits::default()));
/// client.handle_eof(Time::ZERO);
/// assert_eq!(client.ended().map(|ended| ended.by), Some(Side::Peer));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// This end.
    Local,
    /// The other end.
    Peer,
}

/// The states of a connection, in the RFC's words (sections 4.1 and 7.1).
///
/// ```
/// use std::sync::Arc;
/// use chappe_proto::{CloseCode, Connection, Limits, State, Time};
///
/// let mut client = Connection::client(Time::ZERO, Arc::new(Limits::default()));
/// assert_eq!(client.state(), State::Open);
/// client.close(Time::ZERO, CloseCode::NORMAL, "bye")?;
/// assert_eq!(client.state().to_string(), "CLOSING");
/// # Ok::<(), chappe_proto::SendError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// The opening handshake is not complete.
    Connecting,
    /// Messages flow.
    Open,
    /// A close frame was sent or received.
    Closing,
    /// The stream has ended, or is to be ended.
    Closed,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connecting => "CONNECTING",
            Self::Open => "OPEN",
            Self::Closing => "CLOSING",
            Self::Closed => "CLOSED",
        })
    }
}
