//! What a server does with each connection, from `accept` to its end.
//!
//! In: connections. Each has one task: for its requests, until one of them is a handshake, and then
//! with its handler. The requests' part is boxed, because a task keeps the size of its largest state.
//! A connection holds its [`Slot`] all the while.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use chappe_proto::handshake::Refusal;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::accept::{Accepted, Acceptor, linger, read, refuse};
use crate::counters::Counts;
use crate::deadline::timeout;
use crate::error::{AcceptError, BoxError, Ended};
use crate::gate::{Gate, Slot};
use crate::listen::{Patience, Told};
use crate::open::{OpenConnections, Place};
use crate::plain::Plain;
use crate::request::Request;
use crate::send_queue::unsent_bytes;
use crate::socket::WebSocket;

/// What a server was told.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) acceptor: Acceptor,
    pub(crate) gate: Arc<Gate>,
    pub(crate) http: Option<Http>,
    /// How many refusals may be under way that hold no slot, on all clones.
    pub(crate) refusals: Arc<Semaphore>,
    /// What was logged of accepting, on all clones.
    pub(crate) told: Arc<Told>,
    pub(crate) shutdown_timeout: Duration,
}

/// Answers plain HTTP requests.
pub(crate) type Http = Arc<dyn Fn(Plain<TcpStream>) -> Answer + Send + Sync>;
pub(crate) type Answer = Pin<Box<dyn Future<Output = Option<Plain<TcpStream>>> + Send>>;

/// What every connection needs of its server.
pub(crate) struct Front<H> {
    pub(crate) settings: Settings,
    pub(crate) counts: Arc<Counts>,
    pub(crate) connections: OpenConnections,
    pub(crate) handler: H,
}

impl<H, F> Front<H>
where
    H: Fn(WebSocket, Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    /// Accepts and serves connections, until the listener is broken.
    pub(crate) async fn accept_all(self: &Arc<Self>, listener: &TcpListener) -> io::Result<()> {
        let mut patience = Patience::new(self.settings.told.clone());
        let freed = &self.settings.gate.freed;
        loop {
            let (stream, address) = patience.accept(|| listener.accept(), freed).await?;
            match self.settings.gate.enter(address.ip()) {
                Some(slot) => self.handle(stream, slot),
                None => self.turn_away(stream),
            }
        }
    }

    /// The caps are reached: says so and closes. Beyond a few at a time it only closes.
    fn turn_away(&self, stream: TcpStream) {
        self.counts.refuse(Refusal::Full.name());
        if let Ok(permit) = self.settings.refusals.clone().try_acquire_owned() {
            let place = Arc::new(self.connections.enter(None, self.counts.clone()));
            let held = (permit, place.clone());
            let task = tokio::spawn(async move {
                refuse(stream, &Refusal::Full, None, LINGER_TIMEOUT).await;
                drop(held);
            });
            place.set_task(task.abort_handle());
        }
    }

    fn handle(self: &Arc<Self>, stream: TcpStream, slot: Slot) {
        let place = Arc::new(self.connections.enter(Some(slot), self.counts.clone()));
        let held = place.clone();
        let mut stage = Stage::Handshake(Box::pin(self.clone().handshake(stream, place.clone())));
        // No `async` block: it would have room for each stage, and for the second one twice.
        let task = tokio::spawn(std::future::poll_fn(move |cx| {
            loop {
                match &mut stage {
                    Stage::Handshake(handshake) => match ready!(handshake.as_mut().poll(cx)) {
                        Some(run) => stage = Stage::Open(run),
                        None => return Poll::Ready(()),
                    },
                    Stage::Open(run) => {
                        let ended = ready!(Pin::new(run).poll(cx));
                        tracing::debug!(%ended, "connection ended");
                        held.count_end(ended.name());
                        return Poll::Ready(());
                    }
                }
            }
        }));
        place.set_task(task.abort_handle());
    }

    /// Gives what is to be run for the connection, if it comes to be one; else all of its requests
    /// were answered.
    async fn handshake(
        self: Arc<Self>,
        mut stream: TcpStream,
        place: Arc<Place>,
    ) -> Option<impl Future<Output = Ended> + Unpin> {
        let mut received = Vec::new();
        loop {
            let handshake = self
                .settings
                .acceptor
                .handshake_after(received, stream, unsent_bytes);
            let plain = match handshake.await {
                Ok(accepted) => return Some(self.open(accepted, &place)),
                Err(AcceptError::Http(plain)) => plain,
                Err(AcceptError::Refused(refusal)) => {
                    tracing::debug!(%refusal, "handshake refused");
                    self.counts.refuse(refusal.name());
                    return None;
                }
                Err(AcceptError::Io(error)) => {
                    tracing::debug!(%error, "stream failed before the handshake");
                    self.counts.refuse("io");
                    return None;
                }
            };
            let answered = self.answer(*plain, &place).await?;
            (received, stream) = next_request(answered).await?;
        }
    }

    /// Has a plain HTTP request answered; gives it back if another one may follow.
    async fn answer(&self, plain: Plain<TcpStream>, place: &Place) -> Option<Plain<TcpStream>> {
        self.counts.pass_to_http();
        let Some(answer) = &self.settings.http else {
            let method = plain.request().method().clone();
            let stream = plain.into_stream();
            refuse(stream, &Refusal::NotUpgrade, Some(&method), LINGER_TIMEOUT).await;
            return None;
        };
        place.begin_answer();
        let answered = answer(plain).await;
        place.end_answer().then_some(answered)?
    }

    fn open(
        &self,
        accepted: Accepted<TcpStream>,
        place: &Place,
    ) -> impl Future<Output = Ended> + Unpin + use<H, F> {
        self.counts.accept();
        tracing::debug!(path = accepted.request.uri().path(), "connection opened");
        place.set_shared(&accepted.shared);
        accepted.run(self.handler.clone())
    }
}

/// Waits for the next request on a connection; gives its first bytes, and the stream. `None` where
/// none comes.
async fn next_request<S>(answered: Plain<S>) -> Option<(Vec<u8>, S)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let can_go_on = answered.can_go_on();
    let mut stream = answered.into_stream();
    if !can_go_on {
        let _ = timeout(LINGER_TIMEOUT, linger(&mut stream)).await;
        return None;
    }
    let (received, mut stream) = stream.into_parts();
    if !received.is_empty() {
        return Some((received, stream));
    }
    let received = timeout(IDLE_TIMEOUT, read(&mut stream, <[u8]>::to_vec)).await;
    Some((received.ok()?.ok()??, stream))
}

/// What the task of a connection is at.
enum Stage<Handshake, Open> {
    Handshake(Handshake),
    /// Driver and handler.
    Open(Open),
}

/// Refusals under way at a time to those who found no slot.
pub(crate) const REFUSALS_MAX: usize = 8;

/// How long a client gets to read the last response.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a connection is kept for another request. Longer than the minute that load balancers
/// keep theirs for: else they send a request on one that was just closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    use super::*;

    /// A request that was answered, and the client that it came from.
    async fn answered(head: &str) -> (Plain<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
        let (mut client, stream) = tokio::io::duplex(1_000);
        client
            .write_all(head.as_bytes())
            .await
            .expect("there is room");
        let result = Acceptor::new().accept(stream).await;
        let Err(AcceptError::Http(mut plain)) = result else {
            panic!("{result:?}");
        };
        plain
            .read_to_end(&mut Vec::new())
            .await
            .expect("it was received");
        (*plain, client)
    }

    #[tokio::test(start_paused = true)]
    async fn connection_is_kept_75_s_for_another_request() {
        let head = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let (plain, mut client) = answered(head).await;
        let late = async {
            tokio::time::sleep(Duration::from_secs(74)).await;
            client.write_all(b"GE").await.expect("there is room");
        };
        let (next, ()) = tokio::join!(next_request(plain), late);
        let (received, _) = next.expect("it came in time");
        assert_eq!(received, b"GE");

        let (plain, _client) = answered(head).await;
        let begin = Instant::now();
        assert!(next_request(plain).await.is_none());
        assert_eq!(begin.elapsed().as_secs(), 75);
    }

    #[tokio::test(start_paused = true)]
    async fn client_gets_a_second_to_read_the_last_answer() {
        let head = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let (plain, _client) = answered(head).await;
        let begin = Instant::now();
        assert!(next_request(plain).await.is_none());
        assert_eq!(begin.elapsed().as_secs(), 1);
    }
}
