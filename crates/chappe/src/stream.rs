//! A connection as a `Stream` and a `Sink`, for code that is written against those traits.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use chappe_proto::{CloseCode, Message};
use futures_core::{FusedStream, Stream};
use futures_sink::Sink;

use crate::error::{Ended, NotSent, SendError};
use crate::shared::{Shared, Waiting};
use crate::socket::{self, WebSocket};
use crate::wakers::Awaited;

impl WebSocket {
    /// The connection as a `Stream` and `Sink` of messages.
    pub fn into_stream(self) -> MessageStream {
        MessageStream::new(self)
    }
}

/// A connection as a `Stream` of messages received and a `Sink` of messages to send.
///
/// The stream ends after a closing handshake; any other end is its last item. Closing the sink
/// closes the connection with 1000.
///
/// ```no_run
/// # async fn run(ws: chappe::WebSocket) {
/// use futures_core::Stream;
/// use futures_sink::Sink;
///
/// fn takes_both<S>(_: &S)
/// where
///     S: Stream<Item = Result<chappe::Message, chappe::Ended>> + Sink<chappe::Message>,
/// {
/// }
/// takes_both(&ws.into_stream());
/// # }
/// ```
#[derive(Debug)]
pub struct MessageStream {
    ws: WebSocket,
    over: bool,
    /// Whether the sink has said that it takes a message, and was given none since.
    ready: bool,
    /// What a flush that was begun waits for.
    flushing: Option<u64>,
    waiting: Waiting<Arc<Shared>>,
}

impl MessageStream {
    pub(crate) fn new(ws: WebSocket) -> Self {
        let waiting = Waiting::new(ws.shared().clone(), Awaited::Progress);
        Self {
            ws,
            over: false,
            ready: false,
            flushing: None,
            waiting,
        }
    }

    /// The connection itself again.
    pub fn into_inner(self) -> WebSocket {
        self.ws
    }
}

impl Stream for MessageStream {
    type Item = Result<Message, Ended>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        let item = ready!(self.ws.receiver().poll_recv(cx)).transpose();
        self.over = !matches!(item, Some(Ok(_)));
        Poll::Ready(item)
    }
}

impl FusedStream for MessageStream {
    fn is_terminated(&self) -> bool {
        self.over
    }
}

impl Sink<Message> for MessageStream {
    type Error = SendError<()>;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let result = ready!(self.waiting.poll(cx, socket::poll_ready));
        self.ready = result.is_ok();
        Poll::Ready(result.map_err(not_sent))
    }

    /// Takes a message after `poll_ready`, though another sender may have taken the room since.
    /// Fails where there is no room and nobody asked for it.
    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Self::Error> {
        // A flush that was given up does not stand for one that follows.
        self.flushing = None;
        if std::mem::take(&mut self.ready) {
            let result = self.ws.shared().lock().send_now((&message).into());
            return result.map_err(not_sent);
        }
        self.ws
            .try_send(message)
            .map_err(SendError::without_message)
    }

    /// Flushes what was queued when this was first asked.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let queued = match self.flushing {
            Some(queued) => queued,
            None => self.ws.shared().lock().queued(),
        };
        self.flushing = Some(queued);
        let result = ready!(self.waiting.poll(cx, |shared| shared.poll_flushed(queued)));
        self.flushing = None;
        Poll::Ready(result.map_err(not_sent))
    }

    /// Closes the connection with 1000, as [`Sender::close`](crate::Sender::close) does: messages that
    /// were not received are dropped.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.ws
            .begin_close(CloseCode::NORMAL, "")
            .expect("1000 may be sent");
        self.ws.shared().lock().drop_messages();
        let ended = ready!(self.waiting.poll(cx, socket::poll_closed));
        Poll::Ready(if ended.is_clean() {
            Ok(())
        } else {
            Err(not_sent(NotSent::Closed(Some(ended))))
        })
    }
}

fn not_sent(reason: NotSent) -> SendError<()> {
    SendError::new((), reason)
}
