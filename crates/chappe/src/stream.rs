//! A connection as a `Stream` and a `Sink`, for code that is written against those traits.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use chappe_proto::{CloseCode, Message};
use futures_core::{FusedStream, Stream};
use futures_sink::Sink;

use crate::error::{Ended, NotSent, SendError};
use crate::socket::WebSocket;

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
}

impl MessageStream {
    pub(crate) fn new(ws: WebSocket) -> Self {
        Self {
            ws,
            over: false,
            ready: false,
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
        let result = ready!(self.ws.poll_ready(cx));
        self.ready = result.is_ok();
        Poll::Ready(result.map_err(not_sent))
    }

    /// Takes a message after `poll_ready`, though another sender may have taken the room since.
    /// Fails where there is no room and nobody asked for it.
    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Self::Error> {
        if std::mem::take(&mut self.ready) {
            return self.ws.send_now(&message).map_err(not_sent);
        }
        self.ws
            .try_send(message)
            .map_err(SendError::without_message)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.ws.poll_flush(cx).map_err(not_sent)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.ws
            .begin_close(CloseCode::NORMAL, "")
            .expect("1000 may be sent");
        let ended = ready!(self.ws.poll_closed(cx));
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
