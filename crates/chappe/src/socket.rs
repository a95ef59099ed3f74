//! What the user holds: a connection, or its halves.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use chappe_proto::{CloseCode, Message, Payload, Prepared, State};

use crate::error::{CloseError, Ended, NotSent, SendError};
use crate::link::Link;
use crate::shared::{Shared, Waiting};
use crate::wakers::Awaited;

/// An open WebSocket connection.
///
/// Every method that waits is safe to cancel: a message is received once, or sent once, or not at
/// all. When all handles are dropped, the connection is closed with 1000, after what was sent; within
/// a handler of [`serve`](crate::serve), not before the handler is done.
///
/// All that [`Sender`] can do, a `WebSocket` can too.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let mut ws = chappe::connect("ws://127.0.0.1:8000/echo").await?;
/// ws.send("hello").await?;
/// assert_eq!(ws.recv().await?, Some("hello".into()));
/// ws.close(chappe::CloseCode::NORMAL, "bye").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct WebSocket {
    receiver: Receiver,
    sender: Sender,
    subprotocol: Option<Box<str>>,
}

impl WebSocket {
    pub(crate) fn new(shared: &Arc<Shared>, subprotocol: Option<&str>) -> Self {
        Self {
            receiver: Receiver {
                handle: Handle::new(shared.clone()),
            },
            sender: Sender {
                handle: Handle::new(shared.clone()),
            },
            subprotocol: subprotocol.map(Box::from),
        }
    }

    /// Waits for the next message; `None` after a closing handshake.
    ///
    /// # Errors
    ///
    /// [`Ended`] when the connection ended in any other way. Asking again gives the same again.
    #[inline]
    pub fn recv(&mut self) -> impl Future<Output = Result<Option<Message>, Ended>> + Unpin {
        self.receiver.recv()
    }

    /// The subprotocol that was agreed on.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// Another handle for sending, for other tasks and threads.
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// The two directions, to be used from different tasks.
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }

    pub(crate) fn receiver(&mut self) -> &mut Receiver {
        &mut self.receiver
    }
}

impl std::ops::Deref for WebSocket {
    type Target = Sender;

    fn deref(&self) -> &Sender {
        &self.sender
    }
}

/// The receiving direction of a connection.
///
/// When it is dropped while a [`Sender`] lives, messages are dropped as they arrive.
///
/// ```no_run
/// # async fn run(ws: chappe::WebSocket) -> Result<(), chappe::Ended> {
/// let (_sender, mut receiver) = ws.split();
/// while let Some(message) = receiver.recv().await? {
///     println!("{message:?}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Receiver {
    handle: Handle,
}

impl Receiver {
    /// Waits for the next message; `None` after a closing handshake.
    ///
    /// # Errors
    ///
    /// [`Ended`] when the connection ended in any other way. Asking again gives the same again.
    #[inline]
    pub fn recv(&mut self) -> impl Future<Output = Result<Option<Message>, Ended>> + Unpin {
        Recv { receiver: self }
    }

    #[expect(clippy::inline_always, reason = "as is said of `Recv`")]
    #[inline(always)]
    pub(crate) fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Message>, Ended>> {
        self.handle.shared.lock().poll_recv(cx)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.handle.shared.lock().drop_messages();
    }
}

/// What [`Receiver::recv`] waits with.
///
/// Neither it nor [`Sender::send`]'s is `async`, and this one is part of its caller: each layer
/// moves the message once more, which costs more than decoding it (10 of 50 ns).
struct Recv<'a> {
    receiver: &'a mut Receiver,
}

impl Future for Recv<'_> {
    type Output = Result<Option<Message>, Ended>;

    #[expect(clippy::inline_always, reason = "as is said above")]
    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.receiver.poll_recv(cx)
    }
}

/// The sending direction of a connection. Clones send on the same connection, from anywhere.
///
/// ```no_run
/// # async fn run(ws: chappe::WebSocket) -> Result<(), Box<dyn std::error::Error>> {
/// let (sender, mut receiver) = ws.split();
/// let clock = sender.clone();
/// tokio::spawn(async move { clock.send("tick").await });
/// while let Some(message) = receiver.recv().await? {
///     sender.send(message).await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Sender {
    handle: Handle,
}

impl Sender {
    /// Queues a message, waiting for room in the outbox but never for the wire.
    ///
    /// It leaves by itself, with all that is queued, when this task waits for something. So it does not
    /// if the runtime ends before: at the end of a program [`close`](Self::close) or
    /// [`flush`](Self::flush), which wait.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the message, when the connection is closing or closed.
    #[inline]
    pub fn send(
        &self,
        message: impl Into<Message>,
    ) -> impl Future<Output = Result<(), SendError>> + Unpin {
        let mut message = Some(message.into());
        let mut waiting = self.waiting();
        poll_fn(move |cx| {
            let payload = message.as_ref().expect("nobody polls what is done");
            let result = ready!(poll_send(&mut waiting, cx, payload.into()));
            let message = message.take();
            Poll::Ready(
                result
                    .map_err(|reason| SendError::new(message.expect("it was there above"), reason)),
            )
        })
    }

    /// Queues a message if there is room for it.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the message, when there is no room, or the connection is not open.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        let message = message.into();
        let result = self.handle.shared.lock().try_send((&message).into());
        result.map_err(|reason| SendError::new(message, reason))
    }

    /// Queues a message that was prepared once for many connections; see [`send`](Self::send).
    ///
    /// A server's connection does not frame it again. It is written from where it stands if its
    /// frame is longer than 512 bytes, or stands right behind what was queued before: messages that
    /// one thread prepares and sends one after the other, each to all, are not copied.
    ///
    /// # Errors
    ///
    /// [`SendError`] when the connection is closing or closed.
    pub async fn send_prepared(&self, message: &Prepared) -> Result<(), SendError<()>> {
        let mut waiting = self.waiting();
        let result = poll_fn(|cx| poll_send(&mut waiting, cx, message.into())).await;
        result.map_err(|reason| SendError::new((), reason))
    }

    /// Queues a prepared message if there is room for it; see [`try_send`](Self::try_send).
    ///
    /// # Errors
    ///
    /// [`SendError`] when there is no room, or the connection is not open.
    pub fn try_send_prepared(&self, message: &Prepared) -> Result<(), SendError<()>> {
        let result = self.handle.shared.lock().try_send(message.into());
        result.map_err(|reason| SendError::new((), reason))
    }

    /// Waits until a message can be queued without waiting.
    ///
    /// # Errors
    ///
    /// [`SendError`] when the connection is closing or closed.
    pub async fn ready(&self) -> Result<(), SendError<()>> {
        let mut waiting = self.waiting();
        poll_fn(|cx| waiting.poll(cx, poll_ready))
            .await
            .map_err(|reason| SendError::new((), reason))
    }

    /// Waits until all that was queued when this was called is written to the stream.
    ///
    /// # Errors
    ///
    /// [`SendError`] when the stream failed before that.
    pub async fn flush(&self) -> Result<(), SendError<()>> {
        let queued = self.handle.shared.lock().queued();
        let mut waiting = self.waiting();
        poll_fn(|cx| waiting.poll(cx, |shared| shared.poll_flushed(queued)))
            .await
            .map_err(|reason| SendError::new((), reason))
    }

    /// Sends a ping and waits for its pong; gives the time between.
    ///
    /// Pings are sent without this too ([`Limits::ping_interval`](crate::Limits)); while one is
    /// under way, its pong answers for both. The pong comes behind what the peer sent before it: where
    /// 16 KiB of messages wait to be received, it is seen only after some of them were.
    ///
    /// # Errors
    ///
    /// [`Ended`] when the connection ended before the pong came.
    pub async fn ping(&self) -> Result<Duration, Ended> {
        let before = self.handle.shared.lock().ping();
        let mut waiting = self.waiting();
        let ask = |shared: &mut Link| match (shared.pongs(), shared.ended()) {
            ((now, Some(round_trip)), _) if now != before => Poll::Ready(Ok(round_trip)),
            (_, Some(ended)) => Poll::Ready(Err(ended.clone())),
            _ => Poll::Pending,
        };
        poll_fn(|cx| waiting.poll(cx, ask)).await
    }

    /// The round-trip time of the last ping that was answered.
    pub fn round_trip(&self) -> Option<Duration> {
        self.handle.shared.lock().pongs().1
    }

    /// Closes the connection, after all that was queued, and waits for the peer's close frame.
    ///
    /// Takes [`Limits::close_timeout`](crate::Limits) at most. Messages that were not received yet
    /// are dropped, as in browsers; [`begin_close`](Self::begin_close) keeps them. Where the
    /// closing handshake has begun already, it only waits. [`CloseCode::NO_STATUS`] with no reason
    /// sends an empty close frame.
    ///
    /// # Errors
    ///
    /// [`CloseError::Argument`] for a code that must not be sent or a reason of more than 123
    /// bytes; [`CloseError::Ended`] when the end was not clean.
    pub async fn close(&self, code: CloseCode, reason: &str) -> Result<(), CloseError> {
        self.begin_close(code, reason)?;
        self.handle.shared.lock().drop_messages();
        let ended = self.closed().await;
        if ended.is_clean() {
            Ok(())
        } else {
            Err(CloseError::Ended(ended))
        }
    }

    /// Closes the connection, after all that was queued, and waits for nothing: what the peer
    /// sends before its own close frame can still be received, and has to be.
    ///
    /// # Errors
    ///
    /// [`CloseError::Argument`], as [`close`](Self::close).
    pub fn begin_close(&self, code: CloseCode, reason: &str) -> Result<(), CloseError> {
        self.handle
            .shared
            .lock()
            .close(code, reason)
            .map_err(CloseError::Argument)
    }

    /// Waits until the connection has ended, whoever ends it.
    ///
    /// Where all messages were received, whoever begins to wait for the end does not reply any more: a
    /// peer's close frame is answered at once, and a reply that comes later, of another task's too, is
    /// refused.
    pub async fn closed(&self) -> Ended {
        self.handle.shared.lock().await_end();
        let mut waiting: Waiting<&Shared> = Waiting::new(&self.handle.shared, Awaited::End);
        poll_fn(|cx| waiting.poll(cx, poll_closed)).await
    }

    /// OPEN, CLOSING or CLOSED (RFC 6455, section 7.1).
    pub fn state(&self) -> State {
        self.handle.shared.lock().state()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    fn waiting(&self) -> Waiting<&Shared> {
        Waiting::new(&self.handle.shared, Awaited::Progress)
    }
}

#[inline]
fn poll_send(
    waiting: &mut Waiting<&Shared>,
    cx: &Context<'_>,
    message: Payload<'_>,
) -> Poll<Result<(), NotSent>> {
    waiting.poll(cx, |shared| match shared.try_send(message) {
        Err(NotSent::Full) => Poll::Pending,
        result => Poll::Ready(result),
    })
}

pub(crate) fn poll_ready(shared: &mut Link) -> Poll<Result<(), NotSent>> {
    if !shared.can_send() {
        return Poll::Ready(Err(NotSent::Closed(shared.ended().cloned())));
    }
    if shared.has_room() {
        return Poll::Ready(Ok(()));
    }
    Poll::Pending
}

pub(crate) fn poll_closed(shared: &mut Link) -> Poll<Ended> {
    match shared.ended() {
        Some(ended) => Poll::Ready(ended.clone()),
        None => Poll::Pending,
    }
}

/// Counts the handles of a connection: when the last is dropped, it is closed.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    fn new(shared: Arc<Shared>) -> Self {
        shared.lock().add_handle();
        Self { shared }
    }
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        Self::new(self.shared.clone())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.lock().drop_handle();
    }
}
