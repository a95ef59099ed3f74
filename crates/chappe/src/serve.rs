//! A server: accepts TCP connections and runs a handler for each, until it is told to stop.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chappe_proto::Limits;
use chappe_proto::handshake::{Hosts, Origins, Refusal};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::sync::Semaphore;

use crate::accept::Acceptor;
use crate::counters::{Counters, Counts, Monitor};
use crate::error::BoxError;
use crate::front::{Front, REFUSALS_MAX, Settings};
use crate::gate::Gate;
use crate::memory::Memory;
use crate::open::OpenConnections;
use crate::plain::Plain;
use crate::request::Request;
use crate::socket::WebSocket;
use crate::unix;

/// Serves WebSocket connections on an address, with [`Server`]'s defaults, without end.
///
/// The handler gets the connection and the request that opened it. Its end closes the connection:
/// with 1000, or with 1011 if it failed or panicked. A handler that does not need the request
/// should drop it, as `|ws, _request| async move { … }` does: it is a kilobyte that would be kept
/// as long as the connection.
///
/// # Errors
///
/// When the address can't be listened on, or listening fails for good.
///
/// ```no_run
/// # async fn run() -> std::io::Result<()> {
/// chappe::serve("127.0.0.1:9001", |mut ws, _request| async move {
///     while let Some(message) = ws.recv().await? {
///         ws.send(message).await?;
///     }
///     Ok(())
/// })
/// .await
/// # }
/// ```
pub async fn serve<H, F>(address: impl ToSocketAddrs, handler: H) -> io::Result<()>
where
    H: Fn(WebSocket, Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    Server::bind(address).await?.run(handler).await
}

/// Accepts connections on an address, with more than the defaults.
///
/// ```no_run
/// # async fn run() -> std::io::Result<()> {
/// let server = chappe::Server::bind("127.0.0.1:0").await?.subprotocol("chat");
/// println!("listening on {}", server.local_addr()?);
/// let greet = |ws: chappe::WebSocket, _request| async move {
///     ws.send("welcome").await?;
///     Ok(())
/// };
/// let stop = tokio::time::sleep(std::time::Duration::from_secs(60));
/// server.run_until(greet, stop).await
/// # }
/// ```
pub struct Server {
    listener: StdListener,
    settings: Settings,
    counts: Arc<Counts>,
}

impl Server {
    /// Listens on an address, or on the first of several that can be listened on. As many
    /// connections wait to be accepted as the system allows (`net.core.somaxconn` on Linux).
    ///
    /// On loopback, only requests to `localhost`, `127.0.0.1`, `[::1]` or the address itself are
    /// answered ([`hosts`](Self::hosts) says otherwise).
    ///
    /// # Errors
    ///
    /// When the address can't be listened on.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        // It listens already, with a queue that a burst of connections fills: then each of them
        // that finds no room tries again a second later. The system cuts the length to its own.
        SockRef::from(&listener).listen(i32::MAX)?;
        Self::from_listener(listener.into_std()?)
    }

    /// Serves on a socket that listens already. How many connections may wait on it to be accepted
    /// is as whoever made it has chosen; it is few by default.
    ///
    /// # Errors
    ///
    /// When it is not a socket that listens.
    pub fn from_listener(listener: StdListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        // Connections inherit it: a reply must not wait for the acknowledgement of the one before.
        SockRef::from(&listener).set_tcp_nodelay(true)?;
        let ip = listener.local_addr()?.ip().to_canonical();
        let hosts = if ip.is_loopback() {
            Hosts::Listed(vec![ip.to_string()])
        } else {
            Hosts::Any
        };
        let settings = Settings {
            acceptor: Acceptor::new().hosts(hosts),
            gate: Arc::new(Gate::new(unix::files_left())),
            http: None,
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
            told: Arc::default(),
            shutdown_timeout: Duration::from_secs(10),
        };
        Ok(Self {
            listener,
            settings,
            counts: Arc::default(),
        })
    }

    /// Another server on the same socket, for another runtime: caps and counts are shared. When one
    /// stops, the others go on; only when all have stopped is the address free.
    ///
    /// # Errors
    ///
    /// When there is no descriptor left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            listener: self.listener.try_clone()?,
            settings: self.settings.clone(),
            counts: self.counts.clone(),
        })
    }

    /// Bounds on what peers may send and on how long they may take.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        self.with_acceptor(|acceptor| acceptor.limits(limits))
    }

    /// Bytes of one connection that may wait to be written before `send` waits. Default: 65,536.
    #[must_use]
    pub fn outbox_bytes_max(self, bytes: usize) -> Self {
        self.with_acceptor(|acceptor| acceptor.outbox_bytes_max(bytes))
    }

    /// The memory that connections hold together; see [`Acceptor::memory`]. Default:
    /// [`Memory::of_the_process`].
    #[must_use]
    pub fn memory(self, memory: &Memory) -> Self {
        self.with_acceptor(|acceptor| acceptor.memory(memory))
    }

    /// Adds a subprotocol that is spoken, after those that are preferred to it.
    #[must_use]
    pub fn subprotocol(self, name: &str) -> Self {
        self.with_acceptor(|acceptor| acceptor.subprotocol(name))
    }

    /// Which pages may connect. Default: those of the same origin.
    #[must_use]
    pub fn origins(self, origins: Origins) -> Self {
        self.with_acceptor(|acceptor| acceptor.origins(origins))
    }

    /// Which names the server may be reached by. Default: on loopback `localhost`, `127.0.0.1`,
    /// `[::1]` and the address itself, elsewhere any.
    #[must_use]
    pub fn hosts(self, hosts: Hosts) -> Self {
        self.with_acceptor(|acceptor| acceptor.hosts(hosts))
    }

    /// Lets the application refuse handshakes; see [`Acceptor::check`].
    #[must_use]
    pub fn check(
        self,
        check: impl Fn(&Request) -> Result<(), Refusal> + Send + Sync + 'static,
    ) -> Self {
        self.with_acceptor(|acceptor| acceptor.check(check))
    }

    /// Caps the connections in all, those in their handshake and plain HTTP included; others are
    /// answered with 503.
    ///
    /// The cap is one for all clones. Default: what the limit on open files leaves when the last
    /// of them begins to run, less a reserve.
    #[must_use]
    pub fn connections_max(self, connections: usize) -> Self {
        self.settings.gate.set_connections_max(connections);
        self
    }

    /// Caps the connections per address; others are answered with 503. Loopback is not counted.
    ///
    /// The cap is one for all clones, and is to be set before any of them runs. Default: no cap, as
    /// thousands of people may share one address.
    #[must_use]
    pub fn connections_per_address_max(self, connections: usize) -> Self {
        self.settings.gate.set_per_address_max(connections);
        self
    }

    /// How long connections get to end when the server stops. Default: 10 s.
    #[must_use]
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.settings.shutdown_timeout = timeout;
        self
    }

    /// Lets an HTTP stack answer requests that are no WebSocket handshakes, on the same port.
    /// Default: they are answered with 426.
    ///
    /// `answer` gets each such request on the stream it came on, and answers it. It has as much time
    /// as it takes: a bound is its own. Then it gives the request back, and the next one on the
    /// connection is read as the first was, which may ask for a WebSocket: the same limits, origins
    /// and hosts hold for it, the same check, and the connection has kept its slot. If none comes
    /// within 75 s, the connection is closed; so is it if it can't go on
    /// ([`Plain::can_go_on`] says when), once the client has had time to read the answer.
    ///
    /// `None` says that `answer` is done with the connection by itself. An HTTP stack that reads
    /// further requests from [`Plain::into_stream`] ends so; it is not told when the server stops.
    ///
    /// ```no_run
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    ///
    /// # async fn run() -> std::io::Result<()> {
    /// let server = chappe::Server::bind("127.0.0.1:9001").await?.http(|mut plain| async move {
    ///     // As long as a client likes, so with a bound; else what is left closes the connection.
    ///     (&mut plain).take(64 * 1024).read_to_end(&mut Vec::new()).await.ok()?;
    ///     let response = match plain.request().uri().path() {
    ///         "/health" => "HTTP/1.1 204 No Content\r\n\r\n",
    ///         _ => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    ///     };
    ///     plain.write_all(response.as_bytes()).await.ok()?;
    ///     Some(plain)
    /// });
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn http<F>(mut self, answer: impl Fn(Plain<TcpStream>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Option<Plain<TcpStream>>> + Send + 'static,
    {
        self.settings.http = Some(Arc::new(move |plain| Box::pin(answer(plain))));
        self
    }

    /// The address that is listened on.
    ///
    /// # Errors
    ///
    /// When the socket has none.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// What happened so far, on all clones.
    pub fn counters(&self) -> Counters {
        self.counts.snapshot()
    }

    /// How many connections are open, on all clones.
    pub fn connections(&self) -> usize {
        self.settings.gate.connections()
    }

    /// Looks at the server from outside, where counts are wanted while it runs: unlike a clone it
    /// does not keep the address taken.
    pub fn monitor(&self) -> Monitor {
        Monitor::new(self.counts.clone(), self.settings.gate.clone())
    }

    /// Runs the handler for each connection, without end; see [`serve`].
    ///
    /// # Errors
    ///
    /// When listening fails for good.
    pub async fn run<H, F>(self, handler: H) -> io::Result<()>
    where
        H: Fn(WebSocket, Request) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.run_until(handler, std::future::pending()).await
    }

    /// Runs the handler for each connection until `stop` is done.
    ///
    /// Then the socket is closed, so that others may listen on the address (unless there are clones
    /// that go on). Connections that are open are closed with 1001, and plain HTTP requests are
    /// still answered; what has not ended within [`shutdown_timeout`](Self::shutdown_timeout) is
    /// dropped. Who is in a handshake, is being refused, or has nothing to be answered is dropped at
    /// once.
    ///
    /// # Errors
    ///
    /// When listening fails for good.
    pub async fn run_until<H, F>(self, handler: H, stop: impl Future<Output = ()>) -> io::Result<()>
    where
        H: Fn(WebSocket, Request) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        let listener = TcpListener::from_std(self.listener)?;
        // Other runtimes, and what the application opened, have taken theirs.
        self.settings.gate.lower(unix::files_left());
        let front = Arc::new(Front {
            settings: self.settings,
            counts: self.counts,
            connections: OpenConnections::default(),
            handler,
        });
        let mut stop = pin!(stop);
        let result = tokio::select! {
            () = &mut stop => Ok(()),
            result = front.accept_all(&listener) => result,
        };
        drop(listener);
        front
            .connections
            .close_all(front.settings.shutdown_timeout)
            .await;
        result
    }

    fn with_acceptor(mut self, change: impl FnOnce(Acceptor) -> Acceptor) -> Self {
        self.settings.acceptor = change(self.settings.acceptor);
        self
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("listener", &self.listener)
            .field("acceptor", &self.settings.acceptor)
            .field("gate", &self.settings.gate)
            .finish_non_exhaustive()
    }
}
