//! Connecting to a server: the stream, the handshake, then the driver.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use chappe_proto::handshake::{ClientHandshake, ClientRequest, RequestError};
use chappe_proto::{Connection, Limits, SystemRandom, Time};
use http::Response;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use crate::accept::{OUTBOX_BYTES_MAX, read};
use crate::deadline::timeout;
use crate::dial::dial;
use crate::driver::{Driver, drive};
use crate::error::ConnectError;
use crate::memory::Memory;
use crate::rewind::Rewind;
use crate::send_queue::unsent_bytes_of;
use crate::shared::Shared;
use crate::socket::WebSocket;

/// Connects to a URL such as `ws://example.com/chat`, with [`Connector`]'s defaults. Call it
/// within a tokio runtime: the connection gets a task of its own.
///
/// # Errors
///
/// See [`Connector::connect`].
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let mut ws = chappe::connect("ws://127.0.0.1:8000/echo").await?;
/// ws.send("hello").await?;
/// # Ok(())
/// # }
/// ```
pub async fn connect(url: &str) -> Result<WebSocket, ConnectError> {
    Connector::new(url).connect().await
}

/// Connects to a URL, with more than the defaults.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let ws = chappe::Connector::new("ws://127.0.0.1:8000/echo")
///     .subprotocol("chat")
///     .header("Authorization", "Bearer 1234")
///     .connect()
///     .await?;
/// assert_eq!(ws.subprotocol(), Some("chat"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Connector {
    /// What is wrong with it is told when connecting, so that calls can be chained.
    request: Result<ClientRequest, RequestError>,
    limits: Limits,
    outbox_bytes_max: usize,
    memory: Memory,
}

impl Connector {
    /// A connector with the default limits.
    pub fn new(url: &str) -> Self {
        Self {
            request: ClientRequest::new(url),
            limits: Limits::default(),
            outbox_bytes_max: OUTBOX_BYTES_MAX,
            memory: Memory::of_the_process(),
        }
    }

    /// Offers a subprotocol, after those that are preferred to it.
    #[must_use]
    pub fn subprotocol(mut self, name: &str) -> Self {
        self.request = self.request.and_then(|request| request.subprotocol(name));
        self
    }

    /// Adds a header, such as `Origin`, `Authorization` or `Cookie`.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.and_then(|request| request.header(name, value));
        self
    }

    /// Bounds on what the server may send and on how long it may take.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Bytes that may wait to be written before `send` waits. Default: 65,536.
    #[must_use]
    pub fn outbox_bytes_max(mut self, bytes: usize) -> Self {
        self.outbox_bytes_max = bytes;
        self
    }

    /// The memory that the connection holds, for what the server sent that is incomplete or not
    /// received, and for what it does not read. Default: [`Memory::of_the_process`].
    #[must_use]
    pub fn memory(mut self, memory: &Memory) -> Self {
        self.memory = memory.clone();
        self
    }

    /// Connects by TCP; looking the host up, connecting and the handshake together take
    /// [`Limits::handshake_timeout`] at most. Where a host has several addresses, the first that
    /// answers is taken: another is tried every 250 ms (RFC 8305). Redirects are not followed.
    ///
    /// # Errors
    ///
    /// - [`ConnectError::Request`] when the URL, a subprotocol or a header is invalid.
    /// - [`ConnectError::Tls`] for a `wss` URL.
    /// - [`ConnectError::Io`] when no address was found, or none could be connected to in time.
    /// - [`ConnectError::Handshake`] when the server answered something else than it must.
    pub async fn connect(self) -> Result<WebSocket, ConnectError> {
        let request = self.request.clone()?;
        if request.is_secure() {
            return Err(ConnectError::Tls);
        }
        let begin = Instant::now();
        let after = self.limits.handshake_timeout;
        let dial = dial(request.host(), request.port());
        let Ok(stream) = timeout(after, dial).await else {
            let text = format!("no address answered within {} s", after.as_secs_f64());
            return Err(io::Error::new(ErrorKind::TimedOut, text).into());
        };
        let stream = stream?;
        stream.set_nodelay(true)?;
        let time_left = after.saturating_sub(begin.elapsed());
        self.handshake(request, stream, time_left).await
    }

    /// Opens a connection on a stream that leads to the server, such as a Unix socket.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_on<S>(self, stream: S) -> Result<WebSocket, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let request = self.request.clone()?;
        let time_left = self.limits.handshake_timeout;
        self.handshake(request, stream, time_left).await
    }

    async fn handshake<S>(
        self,
        request: ClientRequest,
        mut stream: S,
        time_left: Duration,
    ) -> Result<WebSocket, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let epoch = Instant::now();
        let limits = Arc::new(self.limits);
        let mut handshake =
            ClientHandshake::new(Time::ZERO, request, limits.clone(), &mut SystemRandom);
        let Ok(asked) = timeout(time_left, ask(&mut stream, &mut handshake)).await else {
            // A refusal is told though its body has not come to its end.
            let error = handshake.handle_timeout(handshake.poll_timeout());
            return Err(error.expect("its deadline has passed").into());
        };
        let (_, early) = asked?;
        let connection = Connection::client(Time::ZERO + epoch.elapsed(), limits);
        let share = self.memory.share();
        let shared = Shared::new(connection, epoch, self.outbox_bytes_max, share);
        let ws = WebSocket::new(&shared, handshake.subprotocol());
        let stream = Rewind::new(early, stream);
        let unsent = |stream: &Rewind<S>| unsent_bytes_of(stream.get_ref());
        tokio::spawn(drive(Driver::new(stream, shared, unsent)));
        Ok(ws)
    }
}

/// Sends the request and reads the response; gives the bytes that came behind that too.
async fn ask<S>(
    stream: &mut S,
    handshake: &mut ClientHandshake,
) -> Result<(Response<()>, Vec<u8>), ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(handshake.request()).await?;
    stream.flush().await?;
    loop {
        let found = read(stream, |input| {
            let (consumed, found) = handshake.handle_input(input);
            found.map(|result| result.map(|response| (response, input[consumed..].to_vec())))
        });
        match found.await? {
            Some(Some(result)) => return Ok(result?),
            Some(None) => {}
            None => return Err(handshake.handle_eof().into()),
        }
    }
}
