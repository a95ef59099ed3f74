//! Futures that wait on a connection: what they leave behind, whom they wake, and for what they wait.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use chappe::{Acceptor, Connector, Message, Prepared, Sender};
use futures_sink::Sink;

use crate::endpoint::{accepted, accepted_by, limits, settle};
use crate::frame::{self, Frame};
use crate::wire::{Options, wire};

/// Counts how often it was woken.
#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Polls a future once.
fn poll_once<F: Future>(future: F, waker: &Waker) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(waker))
}

#[tokio::test(start_paused = true)]
async fn futures_that_are_dropped_leave_no_waker_behind() {
    let acceptor = Acceptor::new().outbox_bytes_max(10);
    let (mut ws, peer) = accepted_by(acceptor, Options::default()).await;
    peer.take_only(0);
    ws.send(vec![0; 100]).await.unwrap();
    settle().await;
    let counter = Arc::<Counter>::default();
    let waker = Waker::from(counter.clone());
    let prepared = Prepared::text("more");
    for _ in 0..1000 {
        let sender = ws.sender();
        assert!(poll_once(sender.closed(), &waker).is_pending());
        assert!(poll_once(sender.flush(), &waker).is_pending());
        assert!(poll_once(sender.ready(), &waker).is_pending());
        assert!(poll_once(sender.ping(), &waker).is_pending());
        assert!(poll_once(sender.send("more"), &waker).is_pending());
        assert!(poll_once(sender.send_prepared(&prepared), &waker).is_pending());
    }
    assert_eq!(Arc::strong_count(&counter), 2, "here, and in the waker");
    assert!(poll_once(ws.recv(), &waker).is_pending());
    peer.take_all();
    settle().await;
    assert_eq!(
        counter.0.load(Ordering::Relaxed),
        0,
        "nobody waits for room"
    );
}

/// A waker that comes back to the connection, and is the last to hold a handle.
struct ComesBack(Mutex<Option<Sender>>);

impl Wake for ComesBack {
    fn wake(self: Arc<Self>) {
        if let Some(sender) = &*self.0.lock().unwrap() {
            // Each of these locks the connection.
            sender.state();
            let _ = sender.try_send("woken");
            let _ = poll_once(sender.closed(), Waker::noop());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn wakers_may_come_back_to_the_connection_and_hold_it() {
    let (ws, peer) = accepted().await;
    let (sender, mut receiver) = ws.split();
    let comes_back = || Waker::from(Arc::new(ComesBack(Mutex::new(Some(sender.clone())))));
    // It is replaced, and so dropped, while the connection is in use,
    for _ in 0..3 {
        assert!(poll_once(receiver.recv(), &comes_back()).is_pending());
    }
    // and woken by what arrives, and by the end.
    peer.send(frame::text("wakes the receiver"));
    settle().await;
    assert_eq!(peer.take_frames(), [Frame::text("woken")]);
    let waker = comes_back();
    let mut context = Context::from_waker(&waker);
    let mut closed = pin!(sender.closed());
    assert!(closed.as_mut().poll(&mut context).is_pending());
    assert!(receiver.recv().await.unwrap().is_some());
    peer.send(frame::close(1000, ""));
    peer.send_end();
    peer.dropped().await;
    assert!(closed.as_mut().poll(&mut context).is_ready());
}

#[tokio::test(start_paused = true)]
async fn flush_waits_for_what_was_queued_when_it_was_called() {
    let acceptor = Acceptor::new().limits(limits(|limits| limits.ping_interval = None));
    let (ws, peer) = accepted_by(acceptor, Options::default()).await;
    peer.take_only(0);
    ws.send("first").await.unwrap();
    let flushing = ws.sender();
    let flushing = tokio::spawn(async move { flushing.flush().await });
    settle().await;
    // Others go on sending, and the outbox is never empty.
    for taken in 1..=6 {
        ws.send("others").await.unwrap();
        settle().await;
        assert!(!flushing.is_finished(), "{taken} bytes of 7 are written");
        peer.take_only(1);
        settle().await;
    }
    ws.send("others").await.unwrap();
    peer.take_only(1);
    settle().await;
    assert!(flushing.is_finished(), "all seven are written");
    flushing.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn flush_gives_no_error_where_all_was_written_before_the_end() {
    let (ws, peer) = accepted().await;
    ws.send("first").await.unwrap();
    ws.flush().await.unwrap();
    // The answer to the peer's close frame waits, but nobody flushes that.
    peer.take_only(0);
    peer.send(frame::close(1000, ""));
    assert!(ws.closed().await.is_clean());
    let flushing = ws.sender();
    let flushing = tokio::spawn(async move { flushing.flush().await });
    settle().await;
    peer.take_all();
    flushing.await.unwrap().unwrap();
    peer.shut_down().await;
    peer.send_end();
    peer.dropped().await;
    ws.flush().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_flush_that_was_given_up_does_not_stand_for_the_next() {
    let (ws, peer) = accepted().await;
    peer.take_only(0);
    let mut stream = pin!(ws.into_stream());
    let mut context = Context::from_waker(Waker::noop());
    for number in 0..2 {
        assert!(Sink::<Message>::poll_ready(stream.as_mut(), &mut context).is_ready());
        stream.as_mut().start_send("text".into()).unwrap();
        settle().await;
        let flushed = Sink::<Message>::poll_flush(stream.as_mut(), &mut context);
        assert!(flushed.is_pending(), "message {number}");
    }
    // The first is written, which is all that the flush before waited for.
    peer.take_only(6);
    settle().await;
    assert_eq!(peer.take_frames(), [Frame::text("text")]);
    let flushed = Sink::<Message>::poll_flush(stream.as_mut(), &mut context);
    assert!(flushed.is_pending(), "the second message is not written");
    peer.take_all();
    settle().await;
    assert!(Sink::<Message>::poll_flush(stream.as_mut(), &mut context).is_ready());
}

#[tokio::test(start_paused = true)]
async fn closing_the_sink_drops_messages_that_were_not_received() {
    let (ws, peer) = accepted().await;
    let begin = tokio::time::Instant::now();
    peer.send(frame::masked(0x82, &[7; 10_000]).repeat(15));
    settle().await;
    let mut stream = pin!(ws.into_stream());
    let close = std::future::poll_fn(|cx| Sink::<Message>::poll_close(stream.as_mut(), cx));
    let answer = async {
        assert_eq!(peer.frame().await, Frame::close(1000, ""));
        peer.send(frame::close(1000, ""));
        peer.send_end();
    };
    let (closed, ()) = tokio::join!(close, answer);
    closed.unwrap();
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_outbox_of_no_bytes_takes_one_message_at_a_time() {
    let acceptor = Acceptor::new().outbox_bytes_max(0);
    let (ws, peer) = accepted_by(acceptor, Options::default()).await;
    for _ in 0..3 {
        ws.send("message").await.unwrap();
    }
    ws.flush().await.unwrap();
    assert_eq!(peer.take_frames().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn nothing_that_is_shown_has_payloads_in_it() {
    let acceptor = Acceptor::new().outbox_bytes_max(10);
    let (ws, peer) = accepted_by(acceptor, Options::default()).await;
    peer.take_only(3);
    peer.send(frame::text("secret").repeat(3));
    settle().await;
    ws.send("secret of some length").await.unwrap();
    let error = ws.try_send("secret").unwrap_err();
    let (stream, http) = wire(Options::default());
    http.send("GET /secret HTTP/1.1\r\nHost: localhost\r\nCookie: secret\r\n\r\nsecret");
    let plain = chappe::accept(stream).await.unwrap_err();
    let connector = Connector::new("ws://localhost/?secret").header("Authorization", "secret");
    let shown = format!("{ws:?} {error:?} {error} {:?} {connector:?}", ws.sender());
    let shown = format!("{shown} {plain:?}").replace("/secret", "/path");
    for part in ["secret", "115, 101", "sss"] {
        assert!(!shown.contains(part), "{part}: {shown}");
    }
    assert!(
        shown.contains("Outbox(") && shown.contains("Inbound"),
        "{shown}"
    );
}
