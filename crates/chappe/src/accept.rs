//! Accepting a connection on a stream: the handshake, then the driver.
//!
//! In: any stream. Out: a connection, a plain HTTP request handed back whole, or a refusal that
//! the client was told of.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use chappe_proto::handshake::{Acceptance, Hosts, Origins, Policy, Refusal, ServerHandshake};
use chappe_proto::{Connection, Limits, Time};
use http::Method;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;

use crate::buffer;
use crate::deadline::timeout;
use crate::driver::{Driver, drive, drive_with_handler};
use crate::error::{AcceptError, BoxError, Ended};
use crate::memory::{HeadShare, Memory};
use crate::plain::Plain;
use crate::request::Request;
use crate::rewind::Rewind;
use crate::send_queue::unsent_bytes_of;
use crate::shared::Shared;
use crate::socket::WebSocket;

/// Bytes that may wait to be written before `send` waits, unless told otherwise.
pub(crate) const OUTBOX_BYTES_MAX: usize = 64 * 1024;

/// Accepts a connection on any stream, with [`Acceptor`]'s defaults. Call it within a tokio
/// runtime: the connection gets a task of its own.
///
/// # Errors
///
/// See [`Acceptor::accept`].
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = tokio::net::UnixListener::bind("/tmp/echo.socket")?;
/// let (stream, _) = listener.accept().await?;
/// let mut ws = chappe::accept(stream).await?;
/// ws.send("welcome").await?;
/// # Ok(())
/// # }
/// ```
pub async fn accept<S>(stream: S) -> Result<WebSocket, AcceptError<S>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    Acceptor::new().accept(stream).await
}

type Check = Arc<dyn Fn(&Request) -> Result<(), Refusal> + Send + Sync>;

/// Accepts connections, with more than the defaults. Cheap to clone.
///
/// ```
/// use chappe::{Acceptor, Origins};
///
/// let acceptor = Acceptor::new()
///     .subprotocol("chat")
///     .origins(Origins::Listed(vec!["https://example.com".to_owned()]));
/// ```
#[derive(Clone)]
pub struct Acceptor {
    limits: Arc<Limits>,
    policy: Arc<Policy>,
    outbox_bytes_max: usize,
    memory: Memory,
    check: Option<Check>,
}

impl Acceptor {
    /// An acceptor with the default limits, for pages of the same origin.
    pub fn new() -> Self {
        Self {
            limits: Arc::default(),
            policy: Arc::default(),
            outbox_bytes_max: OUTBOX_BYTES_MAX,
            memory: Memory::of_the_process(),
            check: None,
        }
    }

    /// Bounds on what peers may send and on how long they may take.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = Arc::new(limits);
        self
    }

    /// Bytes that may wait to be written before `send` waits. Default: 65,536.
    #[must_use]
    pub fn outbox_bytes_max(mut self, bytes: usize) -> Self {
        self.outbox_bytes_max = bytes;
        self
    }

    /// The memory that connections hold, for what peers sent that is incomplete or not received, and
    /// for what they do not read. Default: [`Memory::of_the_process`].
    ///
    /// When it is spent, the connections that hold most are closed with 1013. A handshake whose head is
    /// not complete is refused with 503 then, and where such heads hold a quarter of it.
    #[must_use]
    pub fn memory(mut self, memory: &Memory) -> Self {
        self.memory = memory.clone();
        self
    }

    /// Adds a subprotocol that is spoken, after those that are preferred to it.
    #[must_use]
    pub fn subprotocol(mut self, name: &str) -> Self {
        Arc::make_mut(&mut self.policy)
            .subprotocols
            .push(name.to_owned());
        self
    }

    /// Which pages may connect. Default: those of the same origin.
    #[must_use]
    pub fn origins(mut self, origins: Origins) -> Self {
        Arc::make_mut(&mut self.policy).origins = origins;
        self
    }

    /// Which names the server may be reached by. Default: any.
    #[must_use]
    pub fn hosts(mut self, hosts: Hosts) -> Self {
        Arc::make_mut(&mut self.policy).hosts = hosts;
        self
    }

    /// Lets the application refuse handshakes, after all else was found in order.
    ///
    /// ```
    /// use chappe::{Acceptor, Refusal};
    ///
    /// let acceptor = Acceptor::new().check(|request| match request.uri().path() {
    ///     "/echo" => Ok(()),
    ///     path => Err(Refusal::Application {
    ///         status: http::StatusCode::NOT_FOUND,
    ///         text: format!("there is no WebSocket at {path}"),
    ///     }),
    /// });
    /// ```
    #[must_use]
    pub fn check(
        mut self,
        check: impl Fn(&Request) -> Result<(), Refusal> + Send + Sync + 'static,
    ) -> Self {
        self.check = Some(Arc::new(check));
        self
    }

    /// Accepts a connection on any stream. Call it within a tokio runtime: the connection gets a
    /// task of its own, which answers pings and keeps deadlines whatever the caller does.
    ///
    /// # Errors
    ///
    /// - [`AcceptError::Http`] for a request that is no WebSocket handshake, handed back whole.
    /// - [`AcceptError::Refused`] when a rule of RFC 6455, section 4.2.1, a limit, the origin or
    ///   the host was not kept; the client was told with the right status.
    /// - [`AcceptError::Io`] when the stream failed or ended before that.
    pub async fn accept<S>(&self, stream: S) -> Result<WebSocket, AcceptError<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let accepted = self.handshake(stream, unsent_bytes_of).await?;
        tokio::spawn(drive(accepted.driver));
        Ok(accepted.ws)
    }

    /// Accepts a connection on any stream and runs its handler, both in the caller's task: what
    /// the handler sends while it has messages to receive leaves in one write.
    ///
    /// The handler gets the connection and the request that opened it. Its end closes the
    /// connection: with 1000, or with 1011 if it failed or panicked. Gives how the connection
    /// ended, once the handler is done and the stream is closed.
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept).
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let acceptor = chappe::Acceptor::new();
    /// let listener = tokio::net::UnixListener::bind("/tmp/echo.socket")?;
    /// loop {
    ///     let (stream, _) = listener.accept().await?;
    ///     let acceptor = acceptor.clone();
    ///     tokio::spawn(async move {
    ///         let echo = |mut ws: chappe::WebSocket, _request| async move {
    ///             while let Some(message) = ws.recv().await? {
    ///                 ws.send(message).await?;
    ///             }
    ///             Ok(())
    ///         };
    ///         acceptor.serve(stream, echo).await
    ///     });
    /// }
    /// # }
    /// ```
    pub async fn serve<S, F>(
        &self,
        stream: S,
        handler: impl FnOnce(WebSocket, Request) -> F,
    ) -> Result<Ended, AcceptError<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
        F: Future<Output = Result<(), BoxError>>,
    {
        // Boxed, so that the task does not keep the size of the handshake.
        let accepted = Box::pin(self.handshake(stream, nothing_unsent)).await?;
        Ok(accepted.run(handler).await)
    }

    /// The handshake alone: whoever calls it has the driver to run. `unsent_bytes` tells how many bytes
    /// a stream has taken that have not reached the peer.
    ///
    /// What is decided between reading and answering does not wait, so it stands elsewhere: the
    /// future would have room for all of it.
    pub(crate) async fn handshake<S>(
        &self,
        stream: S,
        unsent_bytes: fn(&S) -> usize,
    ) -> Result<Accepted<S>, AcceptError<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.handshake_after(Vec::new(), stream, unsent_bytes).await
    }

    /// As [`handshake`](Self::handshake), where some bytes of the stream were received already.
    pub(crate) async fn handshake_after<S>(
        &self,
        received: Vec<u8>,
        mut stream: S,
        unsent_bytes: fn(&S) -> usize,
    ) -> Result<Accepted<S>, AcceptError<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let epoch = Instant::now();
        let (request, acceptance) = match self.read(&received, &mut stream).await? {
            Asked::WebSocket(request, acceptance) => (request, acceptance),
            Asked::Http(plain) => {
                let stream = Rewind::new(plain.received, stream);
                let plain = Plain::new(plain.request, plain.head_bytes, stream);
                return Err(AcceptError::Http(Box::new(plain)));
            }
        };
        drop(received);
        let answer = async {
            stream.write_all(&acceptance.response()).await?;
            stream.flush().await
        };
        let time_left = self
            .limits
            .handshake_timeout
            .saturating_sub(epoch.elapsed());
        timeout(time_left, answer)
            .await
            .map_err(io::Error::from)??;
        let connection = Connection::server(Time::ZERO + epoch.elapsed(), self.limits.clone());
        let share = self.memory.share();
        let shared = Shared::new(connection, epoch, self.outbox_bytes_max, share);
        let ws = WebSocket::new(&shared, acceptance.subprotocol());
        let driver = Driver::new(stream, shared.clone(), unsent_bytes);
        Ok(Accepted {
            ws,
            driver,
            shared,
            request,
        })
    }

    /// Reads a request's head; gives what it asks for, unless that is refused.
    async fn read<S>(&self, received: &[u8], stream: &mut S) -> Result<Asked, AcceptError<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let after = self.limits.handshake_timeout;
        let mut handshake = ServerHandshake::new(Time::ZERO, self.limits.clone());
        let mut share = self.memory.head();
        let request = read_request(received, stream, &mut handshake, &mut share);
        let result = match timeout(after, request).await {
            Ok(result) => result?,
            Err(_) => Err(Refusal::Timeout { after }),
        };
        let mut method = None;
        let decided = result.and_then(|(request, early)| {
            method = Some(request.method().clone());
            self.decide((request, early), handshake)
        });
        drop(share);
        let refusal = match decided {
            Ok(asked) => return Ok(asked),
            Err(refusal) => refusal,
        };
        refuse(stream, &refusal, method.as_ref(), self.limits.close_timeout).await;
        Err(AcceptError::Refused(refusal))
    }

    fn decide(
        &self,
        (request, early): (Request, Vec<u8>),
        handshake: ServerHandshake,
    ) -> Result<Asked, Refusal> {
        let result = self.policy.accept(&request);
        if let Err(Refusal::NotUpgrade) = result {
            // Plain HTTP needs the right name too, or a page of an attacker's could read it.
            self.policy.check_host(&request)?;
            let mut received = handshake.into_head();
            let head_bytes = received.len();
            received.extend(early);
            return Ok(Asked::Http(AskedPlainly {
                request,
                head_bytes,
                received,
            }));
        }
        if !early.is_empty() {
            return Err(Refusal::EarlyData);
        }
        let acceptance = result?;
        if let Some(check) = &self.check {
            check(&request)?;
        }
        Ok(Asked::WebSocket(request, acceptance))
    }
}

/// How much a stream holds back that does not tell.
fn nothing_unsent<S>(_: &S) -> usize {
    0
}

/// What a request asks for.
enum Asked {
    /// A connection, which it gets.
    WebSocket(Request, Acceptance),
    /// Something else.
    Http(AskedPlainly),
}

/// A request that is no WebSocket handshake.
struct AskedPlainly {
    request: Request,
    head_bytes: usize,
    /// The head, and what came behind it.
    received: Vec<u8>,
}

impl Default for Acceptor {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor")
            .field("limits", &self.limits)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// A handshake that succeeded.
pub(crate) struct Accepted<S> {
    pub(crate) ws: WebSocket,
    pub(crate) driver: Driver<S>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) request: Request,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Accepted<S> {
    /// Runs handler and driver until both are done.
    pub(crate) fn run<F>(
        self,
        handler: impl FnOnce(WebSocket, Request) -> F,
    ) -> impl Future<Output = Ended> + Unpin
    where
        F: Future<Output = Result<(), BoxError>>,
    {
        let (ws, request) = (self.ws, self.request);
        drive_with_handler(self.driver, move || handler(ws, request))
    }
}

/// Reads a request's head, which begins with what was received; gives the bytes that came behind
/// it too.
async fn read_request<S>(
    received: &[u8],
    stream: &mut S,
    handshake: &mut ServerHandshake,
    share: &mut HeadShare,
) -> io::Result<Result<(Request, Vec<u8>), Refusal>>
where
    S: AsyncRead + Unpin,
{
    let find = |handshake: &mut ServerHandshake, input: &[u8]| {
        let (consumed, found) = handshake.handle_input(input);
        found.map(|result| result.map(|request| (request, input[consumed..].to_vec())))
    };
    if let Some(result) = find(handshake, received) {
        return Ok(result);
    }
    loop {
        match read(stream, |input| find(handshake, input)).await? {
            Some(Some(result)) => return Ok(result),
            Some(None) if share.hold(handshake.held_bytes()) => {}
            Some(None) => return Ok(Err(Refusal::Full)),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Reads once, into the thread's buffer: a handshake that drips holds no buffer while it waits.
///
/// `None` at the end of the stream.
pub(crate) async fn read<S, R>(
    stream: &mut S,
    mut handle: impl FnMut(&[u8]) -> R,
) -> io::Result<Option<R>>
where
    S: AsyncRead + Unpin,
{
    std::future::poll_fn(|cx| {
        let mut buffer = buffer::take_read_buffer();
        let mut filled = ReadBuf::new(&mut buffer);
        let poll = Pin::new(&mut *stream).poll_read(cx, &mut filled);
        let result = poll.map_ok(|()| match filled.filled() {
            [] => None,
            input => Some(handle(input)),
        });
        buffer::return_read_buffer(buffer);
        Poll::Ready(ready!(result))
    })
    .await
}

/// Answers with a refusal, and [lingers](linger).
///
/// `method`: the request's, where there was one to read. HEAD gets the head alone (RFC 9110, 9.3.2).
pub(crate) async fn refuse<S>(
    mut stream: S,
    refusal: &Refusal,
    method: Option<&Method>,
    time: Duration,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut response = refusal.response();
    if method == Some(&Method::HEAD)
        && let Some(end) = response.windows(4).position(|bytes| bytes == b"\r\n\r\n")
    {
        response.truncate(end + 4);
    }
    let _ = timeout(time, async {
        stream.write_all(&response).await?;
        linger(&mut stream).await
    })
    .await;
}

/// Ends a response, and reads on, so that it is not lost, as it may be where a stream is dropped
/// with input unread.
pub(crate) async fn linger<S>(stream: &mut S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.shutdown().await?;
    let mut left = LINGER_BYTES_MAX;
    while let Some(length) = read(stream, <[u8]>::len).await? {
        left = left
            .checked_sub(length)
            .ok_or(io::ErrorKind::FileTooLarge)?;
    }
    Ok(())
}

/// Bytes of a refused client's that are read and dropped.
const LINGER_BYTES_MAX: usize = 1024 * 1024;
