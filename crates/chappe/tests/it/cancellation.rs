//! Every future polled n times and dropped, for every n, over a stream that is pending at each
//! byte: what is received and what is on the wire is the same as without that.

use std::fmt::Debug;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use chappe::{
    Acceptor, BoxError, CloseCode, Connector, Limits, Message, MessageStream, Prepared, WebSocket,
};
use futures_core::Stream;
use futures_sink::Sink;

use crate::endpoint::{self, REQUEST, accepted_by, ended, served_by, settle};
use crate::frame::{self, Frame};
use crate::wire::{Options, Peer, wire};

const STUTTER: Options = Options {
    vectored: true,
    stutter: true,
    cooperative: true,
};

/// So many polls that no future is dropped.
const POLLS_MAX: usize = 100_000;

/// Makes a future, polls it `polls` times and drops it unless it is done; then makes it anew and
/// waits for it.
async fn cancelled<F: Future>(polls: usize, mut make: impl FnMut() -> F) -> F::Output {
    {
        let mut future = pin!(make());
        let mut left = polls;
        let output = poll_fn(|cx| {
            if left == 0 {
                return Poll::Ready(None);
            }
            left -= 1;
            match future.as_mut().poll(cx) {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                // Other tasks have their turn, and then it is polled whether woken or not.
                Poll::Pending => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            }
        });
        if let Some(output) = output.await {
            return output;
        }
    }
    make().await
}

/// More polls than any future here needs.
const fn every_number_of_polls() -> impl Iterator<Item = usize> {
    // A message has less than 64 bytes, a byte takes two polls, and each is read and answered.
    0..160
}

/// What the peer sends in the scenarios: messages whole and in pieces, and a ping among them.
fn inbound() -> Vec<u8> {
    [
        frame::text("one"),
        frame::masked(0x01, b"two, "),
        frame::ping("p"),
        frame::masked(0x80, b"in pieces"),
        frame::masked(0x82, &[3; 40]),
        frame::text(""),
    ]
    .concat()
}

/// The messages in that.
fn received() -> Vec<Message> {
    vec![
        "one".into(),
        "two, in pieces".into(),
        Bytes::from_static(&[3; 40]).into(),
        "".into(),
    ]
}

/// Compares a scenario in which each future is polled n times and dropped, for every n, with the
/// one in which none is.
async fn check<R, F>(scenario: impl Fn(usize) -> F)
where
    R: PartialEq + Debug,
    F: Future<Output = R>,
{
    let expected = scenario(POLLS_MAX).await;
    for polls in every_number_of_polls() {
        let found = scenario(polls).await;
        assert_eq!(
            found, expected,
            "with each future dropped after {polls} polls"
        );
    }
}

/// A little room, so that `send` has to wait for it.
fn acceptor() -> Acceptor {
    Acceptor::new().outbox_bytes_max(16)
}

#[tokio::test(start_paused = true)]
async fn recv_that_is_cancelled_loses_nothing() {
    check(|polls| async move {
        let (mut ws, peer) = accepted_by(acceptor(), STUTTER).await;
        peer.send(inbound());
        peer.send(frame::close(1000, "bye"));
        let mut messages = Vec::new();
        while let Some(message) = receive(polls, &mut ws).await {
            messages.push(message);
        }
        assert_eq!(messages, received());
        peer.shut_down().await;
        peer.take_written()
    })
    .await;
}

/// The next message, by way of a `recv` that was polled and dropped.
async fn receive(polls: usize, ws: &mut WebSocket) -> Option<Message> {
    let cell = tokio::sync::Mutex::new(ws);
    let recv = || async { cell.try_lock().expect("one at a time").recv().await };
    cancelled(polls, recv).await.expect("a clean end")
}

#[tokio::test(start_paused = true)]
async fn send_that_is_cancelled_sends_once_or_not_at_all() {
    check(|polls| async move {
        let (ws, peer) = accepted_by(acceptor(), STUTTER).await;
        let prepared = Prepared::text("prepared");
        for number in 0..6 {
            let text = format!("message {number}");
            cancelled(polls, || ws.send(text.as_str())).await.unwrap();
            cancelled(polls, || ws.send_prepared(&prepared))
                .await
                .unwrap();
            cancelled(polls, || ws.ready()).await.unwrap();
        }
        cancelled(polls, || ws.flush()).await.unwrap();
        let frames = peer.take_frames();
        assert_eq!(frames.len(), 12, "{frames:?}");
        frames
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn ping_that_is_cancelled_is_not_sent_again_while_it_is_under_way() {
    check(|polls| async move {
        let (ws, peer) = accepted_by(acceptor(), STUTTER).await;
        let pongs = tokio::spawn(async move {
            for number in 1_u32.. {
                let ping = peer.frame().await;
                assert!(ping.is_ping(), "{ping:?}");
                assert_eq!(ping.payload, number.to_be_bytes(), "pings are numbered");
                peer.send(frame::pong(&ping.payload));
            }
        });
        for _ in 0..3 {
            cancelled(polls, || ws.ping()).await.unwrap();
        }
        assert!(!pongs.is_finished(), "the pings were in order");
        pongs.abort();
        ws.state()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn close_that_is_cancelled_closes_once() {
    check(|polls| async move {
        let (ws, peer) = accepted_by(acceptor(), STUTTER).await;
        ws.send("queued before").await.unwrap();
        let answer = tokio::spawn({
            let peer = peer.clone();
            async move {
                while peer.frame().await.close_code().is_none() {}
                peer.send(frame::close(4001, ""));
                peer.shut_down().await;
                peer.send_end();
            }
        });
        let result = cancelled(polls, || ws.close(4001.into(), "done")).await;
        assert!(result.is_ok(), "{result:?}");
        let ended = cancelled(polls, || ws.closed()).await;
        answer.await.unwrap();
        assert!(peer.written().is_empty(), "bytes behind the close frame");
        (
            ended.by(),
            ended.code(),
            ended.reason().to_owned(),
            ended.is_clean(),
        )
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn handler_whose_every_future_is_cancelled_loses_nothing() {
    check(|polls| async move {
        let (peer, task) = served_by(acceptor(), STUTTER, move |mut ws, _| async move {
            let mut messages = Vec::new();
            while let Some(message) = receive(polls, &mut ws).await {
                cancelled(polls, || ws.send(message.clone())).await?;
                if message.is_empty() {
                    cancelled(polls, || ws.flush()).await?;
                }
                messages.push(message);
            }
            assert_eq!(messages, received());
            Ok(())
        })
        .await;
        peer.send(inbound());
        while peer.frame().await != Frame::text("") {}
        peer.send(frame::close(1000, "bye"));
        peer.shut_down().await;
        peer.send_end();
        let ended = ended(task).await;
        (ended.to_string(), peer.take_frames())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn stream_and_sink_that_are_cancelled_lose_nothing() {
    check(|polls| async move {
        let (ws, peer) = accepted_by(acceptor(), STUTTER).await;
        let mut stream = ws.into_stream();
        peer.send(inbound());
        for expected in received() {
            let cell = tokio::sync::Mutex::new(&mut stream);
            let next = || async {
                let mut stream = cell.try_lock().expect("one at a time");
                poll_fn(|cx| Pin::new(&mut **stream).poll_next(cx)).await
            };
            let message = cancelled(polls, next).await.expect("no end").unwrap();
            assert_eq!(message, expected);
            let ready = || async {
                let mut stream = cell.try_lock().expect("one at a time");
                poll_fn(|cx| Sink::poll_ready(Pin::new(&mut **stream), cx)).await
            };
            cancelled(polls, ready).await.unwrap();
            Pin::new(&mut stream).start_send(message).unwrap();
            flush(polls, &mut stream).await;
        }
        peer.take_frames()
    })
    .await;
}

async fn flush(polls: usize, stream: &mut MessageStream) {
    let cell = tokio::sync::Mutex::new(stream);
    let flush = || async {
        let mut stream = cell.try_lock().expect("one at a time");
        poll_fn(|cx| Sink::poll_flush(Pin::new(&mut **stream), cx)).await
    };
    cancelled(polls, flush).await.unwrap();
}

/// What a peer sees of an endpoint that is dropped after so many polls.
struct Seen {
    written: Vec<u8>,
    done: bool,
}

/// Polls a whole endpoint `polls` times, drops it, and looks at what it has written.
async fn dropped_after<F: Future>(polls: usize, peer: &Peer, endpoint: F) -> Seen {
    let done = {
        let mut endpoint = pin!(endpoint);
        let mut left = polls;
        poll_fn(|cx| {
            if left == 0 {
                return Poll::Ready(false);
            }
            left -= 1;
            cx.waker().wake_by_ref();
            endpoint.as_mut().poll(cx).map(|_| true)
        })
        .await
    };
    settle().await;
    assert!(peer.is_dropped(), "the stream lives on after {polls} polls");
    let written = peer.take_written();
    Seen { written, done }
}

/// Drops an endpoint after n polls, for every n until it is done: what it has written then is the
/// begin of what it writes in all.
async fn check_dropped<F: Future>(start: impl Fn() -> (Peer, F)) {
    let (peer, endpoint) = start();
    let whole = dropped_after(POLLS_MAX, &peer, endpoint).await;
    assert!(whole.done, "{POLLS_MAX} polls are too few");
    let mut polls = 0;
    loop {
        let (peer, endpoint) = start();
        let seen = dropped_after(polls, &peer, endpoint).await;
        let begin = &whole.written[..seen.written.len().min(whole.written.len())];
        assert_eq!(seen.written, begin, "dropped after {polls} polls");
        if seen.done {
            assert_eq!(seen.written, whole.written, "done after {polls} polls");
            return;
        }
        polls += 1;
    }
}

#[tokio::test(start_paused = true)]
async fn serve_that_is_dropped_has_written_the_begin_of_what_it_would_have() {
    check_dropped(|| {
        let (wire, peer) = wire(STUTTER);
        peer.send(REQUEST);
        // What follows is sent when the request is answered.
        let sender = peer.clone();
        tokio::spawn(async move {
            while !sender.written().ends_with(b"\r\n\r\n") && !sender.is_dropped() {
                tokio::task::yield_now().await;
            }
            sender.send([inbound(), frame::close(1000, "")].concat());
            sender.send_end();
        });
        (peer, async move {
            Acceptor::new().serve(wire, endpoint::echo).await
        })
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn accept_that_is_dropped_has_written_the_begin_of_its_response() {
    check_dropped(|| {
        let (wire, peer) = wire(STUTTER);
        peer.send(REQUEST);
        let accept = async move {
            let ws = Acceptor::new().accept(wire).await.unwrap();
            // The connection lives on in its own task: the comparison ends with the handshake.
            drop(ws);
        };
        peer.send_end();
        (peer, accept)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn refusal_that_is_dropped_has_written_the_begin_of_its_response() {
    check_dropped(|| {
        let (wire, peer) = wire(STUTTER);
        peer.send(REQUEST.replace("13", "12"));
        peer.send_end();
        (
            peer,
            async move { Acceptor::new().accept(wire).await.is_err() },
        )
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn connect_that_is_dropped_drops_its_stream() {
    for polls in 0..1000 {
        let (wire, peer) = wire(STUTTER);
        let connect = Connector::new("ws://localhost/").connect_on(wire);
        let seen = dropped_after(polls, &peer, connect).await;
        assert!(!seen.done, "nobody has answered");
        let begin = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n";
        let length = begin.len().min(seen.written.len());
        assert_eq!(
            seen.written[..length],
            begin[..length],
            "after {polls} polls"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn handler_that_selects_between_receiving_and_a_timer_loses_nothing() {
    let mut limits = Limits::default();
    limits.ping_interval = None;
    let acceptor = Acceptor::new().limits(limits);
    let (peer, task) = served_by(acceptor, STUTTER, |mut ws, _| async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(3));
        let mut messages = Vec::new();
        let result: Result<(), BoxError> = loop {
            tokio::select! {
                biased;
                _ = ticks.tick() => {}
                message = ws.recv() => match message? {
                    Some(message) => messages.push(message),
                    None => break Ok(()),
                },
            }
        };
        assert_eq!(messages, received());
        result
    })
    .await;
    for byte in inbound() {
        peer.send([byte]);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    peer.send(frame::close(1000, ""));
    peer.shut_down().await;
    peer.send_end();
    assert_eq!(ended(task).await.code(), CloseCode::NORMAL);
}
