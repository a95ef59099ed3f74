//! WebSocket for tokio: strict, bounded and fast, as client and as server.
//!
//! A client:
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let mut ws = chappe::connect("ws://127.0.0.1:8000/echo").await?;
//! ws.send("hello").await?;
//! while let Some(message) = ws.recv().await? {
//!     println!("{message:?}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A server:
//!
//! ```no_run
//! # async fn run() -> std::io::Result<()> {
//! chappe::serve("127.0.0.1:9001", |mut ws, _request| async move {
//!     while let Some(message) = ws.recv().await? {
//!         ws.send(message).await?;
//!     }
//!     Ok(())
//! })
//! .await
//! # }
//! ```
//!
//! What happens by itself: pings are answered and sent, text is checked, the closing handshake is
//! carried out, limits and deadlines are kept ([`Limits`]). What was sent while a handler runs is
//! written in one piece as soon as the handler waits for anything: no call to flush is needed.
//!
//! The protocol is `chappe-proto`'s; this crate moves the bytes. Tested on Linux.

mod accept;
mod buffer;
mod connect;
mod counters;
mod deadline;
mod dial;
mod driver;
mod error;
mod front;
mod gate;
mod inbound;
mod link;
mod listen;
mod memory;
mod open;
mod outbox;
mod plain;
mod request;
mod rewind;
mod send_queue;
mod serve;
mod shared;
mod socket;
mod stream;
mod unix;
mod wakers;

pub use accept::{Acceptor, accept};
pub use chappe_proto::handshake::{HandshakeError, Hosts, Origins, Refusal, RequestError};
pub use chappe_proto::{
    Cause, CloseCode, CloseFrame, Limits, Message, Prepared, ProtocolError, Side, State, Utf8Bytes,
};
pub use connect::{Connector, connect};
pub use counters::{Counters, Monitor};
pub use error::{AcceptError, BoxError, CloseError, ConnectError, Ended, SendError};
pub use memory::Memory;
pub use plain::Plain;
pub use request::Request;
pub use rewind::Rewind;
pub use serve::{Server, serve};
pub use socket::{Receiver, Sender, WebSocket};
pub use stream::MessageStream;

/// The README's examples are compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
