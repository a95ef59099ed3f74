//! A connection as a `Stream` and a `Sink`.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use chappe::{Acceptor, Cause, Ended, Message, State};
use futures_core::{FusedStream, Stream};
use futures_sink::Sink;

use crate::endpoint::{accepted, accepted_by};
use crate::frame::{self, Frame};
use crate::wire::Options;

async fn next(stream: &mut chappe::MessageStream) -> Option<Result<Message, Ended>> {
    poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await
}

#[tokio::test(start_paused = true)]
async fn stream_ends_after_a_closing_handshake() {
    let (ws, peer) = accepted().await;
    let mut stream = ws.into_stream();
    peer.send([frame::text("one"), frame::close(1000, "")].concat());
    assert_eq!(next(&mut stream).await.unwrap().unwrap(), "one".into());
    assert!(!stream.is_terminated());
    for _ in 0..3 {
        assert!(next(&mut stream).await.is_none());
        assert!(stream.is_terminated());
    }
}

#[tokio::test(start_paused = true)]
async fn stream_gives_any_other_end_as_its_last_item() {
    let (ws, peer) = accepted().await;
    let mut stream = ws.into_stream();
    peer.send(frame::text("one"));
    peer.send_end();
    assert_eq!(next(&mut stream).await.unwrap().unwrap(), "one".into());
    assert_eq!(
        next(&mut stream).await.unwrap().unwrap_err().cause(),
        Cause::Eof
    );
    assert!(stream.is_terminated());
    assert!(next(&mut stream).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn sink_waits_for_room_flushes_and_closes() {
    let acceptor = Acceptor::new().outbox_bytes_max(8);
    let (ws, peer) = accepted_by(acceptor, Options::default()).await;
    let mut sink = ws.into_stream();
    let mut cx = Context::from_waker(Waker::noop());
    peer.take_only(0);
    assert!(matches!(
        Pin::new(&mut sink).poll_ready(&mut cx),
        Poll::Ready(Ok(()))
    ));
    Pin::new(&mut sink).start_send("123456".into()).unwrap();
    assert!(
        Pin::new(&mut sink).poll_ready(&mut cx).is_pending(),
        "8 bytes wait"
    );
    assert!(
        Pin::new(&mut sink).poll_flush(&mut cx).is_pending(),
        "8 bytes wait"
    );
    assert!(
        Pin::new(&mut sink)
            .start_send("".into())
            .unwrap_err()
            .is_full()
    );
    peer.take_all();
    poll_fn(|cx| Sink::poll_flush(Pin::new(&mut sink), cx))
        .await
        .unwrap();
    poll_fn(|cx| Sink::poll_ready(Pin::new(&mut sink), cx))
        .await
        .unwrap();
    let close = tokio::spawn(async move {
        poll_fn(|cx| Sink::poll_close(Pin::new(&mut sink), cx))
            .await
            .unwrap();
        sink
    });
    assert_eq!(peer.frame().await, Frame::text("123456"));
    assert_eq!(peer.frame().await, Frame::close(1000, ""));
    peer.send(frame::close(1000, ""));
    let mut sink = close.await.unwrap();
    let error = Pin::new(&mut sink).start_send("late".into()).unwrap_err();
    assert!(error.ended().is_some_and(Ended::is_clean), "{error}");
    assert!(next(&mut sink).await.is_none());
    assert_eq!(
        sink.into_inner().state(),
        State::Closing,
        "the stream has not ended"
    );
}

#[tokio::test(start_paused = true)]
async fn sink_that_was_ready_takes_a_message_though_another_sender_was_faster() {
    let acceptor = Acceptor::new().outbox_bytes_max(8);
    let (ws, peer) = accepted_by(acceptor, Options::default()).await;
    let other = ws.sender();
    let mut sink = ws.into_stream();
    peer.take_only(0);
    poll_fn(|cx| Sink::poll_ready(Pin::new(&mut sink), cx))
        .await
        .unwrap();
    other.try_send("123456").unwrap();
    Pin::new(&mut sink)
        .start_send("promised".into())
        .expect("it was ready");
    let error = Pin::new(&mut sink)
        .start_send("one more".into())
        .unwrap_err();
    assert!(error.is_full(), "it was ready for one");
    peer.take_all();
    assert_eq!(peer.frame().await, Frame::text("123456"));
    assert_eq!(peer.frame().await, Frame::text("promised"));
}
