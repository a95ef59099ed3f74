//! The WebSocket protocol (RFC 6455) as a state machine.
//!
//! In: the bytes that a peer sent, the time, what the application wants sent. Out: events, bytes
//! to write, and the time by which to come back. Nothing here does I/O, reads a clock or awaits;
//! a *driver* does that, and decides nothing. So every rule of the RFC is a row in a table test,
//! and one machine serves an asynchronous library, a server's own event loop and a blocking
//! program alike.
//!
//! An endpoint goes through two machines:
//!
//! 1. [`handshake`]: heads parsed from bytes, checked, accepted or refused (section 4).
//! 2. [`Connection`]: frames, messages, keepalive and the closing handshake (sections 5 to 7).
//!
//! ```
//! use std::borrow::Cow;
//! use std::sync::Arc;
//! use chappe_proto::{Connection, Event, Limits, Payload, Time};
//!
//! let limits = Arc::new(Limits::default());
//! let mut client = Connection::client(Time::ZERO, limits.clone());
//! let mut server = Connection::server(Time::ZERO, limits);
//!
//! let mut wire = Vec::new();
//! client.send(Payload::Text("hello"), &mut wire)?;
//! let (consumed, event) = server.handle_input(Time::ZERO, &mut wire);
//! assert_eq!(consumed, 11); // 2 bytes of header, 4 of masking key, 5 of payload
//! assert_eq!(event, Some(Event::Text(Cow::Borrowed("hello"))));
//! # Ok::<(), chappe_proto::SendError>(())
//! ```

pub mod handshake;

mod chunk;
mod close_code;
mod closing;
mod connection;
mod copy;
mod error;
mod event;
mod frame;
mod joining;
mod keepalive;
mod limits;
mod mask;
mod message;

mod page;
mod payload;
mod prepared;
mod random;
mod reading;
mod terms;
mod time;
mod utf8;

pub use chunk::FrameRange;
pub use close_code::CloseCode;
pub use closing::{Cause, CloseFrame, Ended};
pub use connection::Connection;
pub use error::{ProtocolError, SendError};
pub use event::Event;
pub use limits::Limits;
pub use message::Message;
pub use page::Page;
pub use payload::{FrameSink, Payload};
pub use prepared::{Prepared, SharedFrame};
pub use random::{Random, SystemRandom};
pub use reading::PartialMessage;
pub use terms::{Kind, Role, Side, State};
pub use time::Time;
pub use utf8::Utf8Bytes;

#[cfg(test)]
mod tests;

/// The README's examples are compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
