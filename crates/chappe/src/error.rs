//! Errors by operation: connecting, accepting, sending, closing, and how a connection ended.

use std::fmt;
use std::io;
use std::sync::Arc;

use chappe_proto::handshake::{HandshakeError, Refusal, RequestError};
use chappe_proto::{Cause, CloseCode, CloseFrame, Message, ProtocolError, Side};

use crate::plain::Plain;

/// What a handler may fail with.
///
/// ```
/// async fn handle(ws: chappe::WebSocket, _request: chappe::Request) -> Result<(), chappe::BoxError> {
///     let number: u32 = "7".parse()?; // an error here closes with 1011
///     ws.send(number.to_string()).await?;
///     Ok(())
/// }
/// # let _ = handle;
/// ```
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How a connection ended: who ended it, what each side said, and why. Cheap to clone.
///
/// It is an error only where the end was not clean: [`recv`](crate::WebSocket::recv) gives
/// `Ok(None)` after a closing handshake.
///
/// ```no_run
/// # async fn run(mut ws: chappe::WebSocket) {
/// match ws.recv().await {
///     Ok(Some(message)) => println!("{message:?}"),
///     Ok(None) => println!("closed cleanly"),
///     Err(ended) => println!("{ended}; by {:?}, code {}", ended.by(), ended.code()),
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Ended(Arc<End>);

#[derive(Debug)]
struct End {
    ended: chappe_proto::Ended,
    io: Option<io::Error>,
}

impl Ended {
    pub(crate) fn new(ended: chappe_proto::Ended, io: Option<io::Error>) -> Self {
        Self(Arc::new(End { ended, io }))
    }

    /// Who began to close. `Local` when this end closed or failed the connection, else `Peer`.
    pub fn by(&self) -> Side {
        self.0.ended.by
    }

    /// The code that the side which ended it gave; [`CloseCode::ABNORMAL`] when it gave none.
    pub fn code(&self) -> CloseCode {
        self.0.ended.code()
    }

    /// The reason that the side which ended it gave. If it was the peer, its words: escape them.
    pub fn reason(&self) -> &str {
        self.0.ended.reason()
    }

    /// Why.
    pub fn cause(&self) -> Cause {
        self.0.ended.cause
    }

    /// The close frame that this end sent.
    pub fn sent(&self) -> Option<&CloseFrame> {
        self.0.ended.sent.as_ref()
    }

    /// The close frame that the peer sent.
    pub fn received(&self) -> Option<&CloseFrame> {
        self.0.ended.received.as_ref()
    }

    /// Whether both sides sent a close frame and no rule was broken (RFC 6455, section 7.1.4).
    pub fn is_clean(&self) -> bool {
        self.0.ended.is_clean()
    }

    /// A short name for the cause that never changes, for counts and logs.
    pub(crate) fn name(&self) -> &'static str {
        match self.cause() {
            Cause::ClosingHandshake => "closed",
            Cause::Protocol(error) => ProtocolError::name(&error),
            Cause::CloseTimeout => "close_timeout",
            Cause::Overloaded => "overloaded",
            _ if self.0.io.is_some() => "io",
            _ => "eof",
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.io {
            Some(_) if self.cause() == Cause::Eof => f.write_str("connection was lost"),
            _ => fmt::Display::fmt(&self.0.ended, f),
        }
    }
}

impl std::error::Error for Ended {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.io.as_ref().map(|error| error as _)
    }
}

/// A message that was not sent. It is given back.
///
/// ```no_run
/// # async fn run(ws: chappe::WebSocket) {
/// if let Err(error) = ws.send("hello").await {
///     let message = error.into_message(); // for another connection
///     println!("{message:?}");
/// }
/// # }
/// ```
pub struct SendError<M = Message> {
    /// Boxed, because whoever sends moves the room for it around, and most have no error.
    message: Box<M>,
    reason: NotSent,
}

/// Why a message was not sent.
#[derive(Clone, Debug)]
pub(crate) enum NotSent {
    /// There was no room, and the caller did not want to wait.
    Full,
    /// The connection is closing, or how it has ended.
    Closed(Option<Ended>),
}

impl<M> SendError<M> {
    pub(crate) fn new(message: M, reason: NotSent) -> Self {
        Self {
            message: Box::new(message),
            reason,
        }
    }

    /// The message that was not sent.
    pub fn into_message(self) -> M {
        *self.message
    }

    pub(crate) fn without_message(self) -> SendError<()> {
        SendError {
            message: Box::new(()),
            reason: self.reason,
        }
    }

    /// Whether there was no room, while the connection is open. Only `try_send` gives this.
    pub fn is_full(&self) -> bool {
        matches!(self.reason, NotSent::Full)
    }

    /// How the connection ended, if it has.
    pub fn ended(&self) -> Option<&Ended> {
        match &self.reason {
            NotSent::Closed(ended) => ended.as_ref(),
            NotSent::Full => None,
        }
    }
}

impl<M> fmt::Display for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            NotSent::Full => f.write_str("message was not sent: the outbox is full"),
            NotSent::Closed(None) => f.write_str("message was not sent: connection is closing"),
            NotSent::Closed(Some(ended)) => write!(f, "message was not sent: {ended}"),
        }
    }
}

impl<M> fmt::Debug for SendError<M> {
    /// Without the message, as this gets into logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError")
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

impl<M> std::error::Error for SendError<M> {}

/// What may not stand in a close frame; or how the connection had ended before.
///
/// ```no_run
/// # async fn run(ws: chappe::WebSocket) {
/// match ws.close(chappe::CloseCode::NORMAL, "bye").await {
///     Ok(()) => {}
///     Err(chappe::CloseError::Argument(error)) => println!("not sent: {error}"),
///     Err(error) => println!("closed, but not cleanly: {error}"),
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CloseError {
    /// A code that must not be sent, or a reason of more than 123 bytes. Nothing was sent.
    Argument(chappe_proto::SendError),
    /// The connection ended, and not with a closing handshake.
    Ended(Ended),
}

impl fmt::Display for CloseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(error) => fmt::Display::fmt(error, f),
            Self::Ended(ended) => fmt::Display::fmt(ended, f),
        }
    }
}

impl std::error::Error for CloseError {}

/// Why there is no connection to a server.
///
/// ```no_run
/// use chappe::{ConnectError, HandshakeError};
///
/// # async fn run() {
/// match chappe::connect("ws://127.0.0.1:8000/echo").await {
///     Ok(_) => println!("connected"),
///     Err(ConnectError::Handshake(HandshakeError::Refused { response })) => {
///         println!("refused with {}", response.status());
///     }
///     Err(error) => println!("{error}"),
/// }
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The request is invalid: its URL, a subprotocol or a header.
    Request(RequestError),
    /// A `wss` URL; this version speaks `ws` only.
    Tls,
    /// No address was found for the host, or none could be connected to.
    Io(io::Error),
    /// The server did not answer as a WebSocket server does.
    Handshake(HandshakeError),
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<RequestError> for ConnectError {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<HandshakeError> for ConnectError {
    fn from(error: HandshakeError) -> Self {
        Self::Handshake(error)
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(error) => write!(f, "invalid request: {error}"),
            Self::Tls => f.write_str("wss needs TLS, which this version does not have; use ws"),
            Self::Io(error) => write!(f, "no connection to the server: {error}"),
            Self::Handshake(error) => write!(f, "opening handshake failed: {error}"),
        }
    }
}

impl std::error::Error for ConnectError {
    /// What is behind the cause: that itself is in the text, as many print nothing else.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Request(error) => error.source(),
            Self::Tls => None,
            Self::Io(error) => error.source(),
            Self::Handshake(error) => error.source(),
        }
    }
}

/// Why a stream did not become a connection.
///
/// ```no_run
/// use chappe::AcceptError;
///
/// # async fn run(stream: tokio::net::TcpStream) {
/// match chappe::accept(stream).await {
///     Ok(_) => println!("accepted"),
///     Err(AcceptError::Http(plain)) => println!("plain HTTP: {}", plain.request().uri()),
///     Err(AcceptError::Refused(refusal)) => println!("refused: {refusal}"),
///     Err(error) => println!("{error}"),
/// }
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum AcceptError<S> {
    /// A request that is no WebSocket handshake, handed back whole.
    Http(Box<Plain<S>>),
    /// The handshake was refused, and the client was told.
    Refused(Refusal),
    /// The stream failed or ended before the request was complete.
    Io(io::Error),
}

impl<S> From<io::Error> for AcceptError<S> {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl<S> fmt::Display for AcceptError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(_) => f.write_str("request is not a WebSocket handshake"),
            Self::Refused(_) => f.write_str("handshake was refused"),
            Self::Io(_) => f.write_str("stream failed before the request was complete"),
        }
    }
}

impl<S: fmt::Debug> std::error::Error for AcceptError<S> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Http(_) => None,
            Self::Refused(refusal) => Some(refusal),
            Self::Io(error) => Some(error),
        }
    }
}
