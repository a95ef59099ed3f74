//! What the user holds: a connection, its halves and their clones, used from different tasks.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use chappe::{Acceptor, Cause, CloseCode, CloseError, Ended, SendError, Side, State, WebSocket};
use chappe_proto::SendError as Argument;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::endpoint::{REQUEST, accepted, connected, ended, limits, served, settle};
use crate::frame::{self, Frame};
use crate::wire::{Options, wire};

#[tokio::test(start_paused = true)]
async fn halves_work_in_tasks_of_their_own() {
    let (ws, peer) = connected().await;
    let (sender, mut receiver) = ws.split();
    let sending = tokio::spawn(async move {
        for number in 0..1000 {
            sender.send(number.to_string()).await?;
        }
        Ok::<_, SendError>(sender)
    });
    let receiving = tokio::spawn(async move {
        for number in 0..1000 {
            assert_eq!(receiver.recv().await?, Some(number.to_string().into()));
        }
        Ok::<_, Ended>(receiver)
    });
    for number in 0..1000 {
        peer.send(frame::plain(0x81, number.to_string().as_bytes()));
        assert_eq!(peer.frame().await, Frame::text(&number.to_string()));
    }
    let sender = sending.await.unwrap().unwrap();
    let mut receiver = receiving.await.unwrap().unwrap();
    let closing = tokio::spawn(async move { sender.close(CloseCode::NORMAL, "").await });
    assert_eq!(peer.frame().await, Frame::close(1000, ""));
    peer.send(frame::plain(0x88, &frame::close_payload(1000, "")));
    closing.await.unwrap().unwrap();
    assert_eq!(receiver.recv().await.unwrap(), None);
}

const MESSAGES: usize = 20_000;

/// How long a message may take.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn halves_on_two_threads_lose_no_wakeup() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        // Without pings of its own, nothing wakes a driver that missed something.
        let limits = limits(|limits| limits.ping_interval = None);
        let quiet = limits.clone();
        let (near, far) = tokio::io::duplex(300);
        let server = tokio::spawn(async move {
            let acceptor = Acceptor::new().limits(quiet).outbox_bytes_max(100);
            acceptor.serve(near, crate::endpoint::echo).await.unwrap()
        });
        let connector = chappe::Connector::new("ws://localhost/").limits(limits);
        let connector = connector.outbox_bytes_max(100);
        let ws = connector.connect_on(far).await.unwrap();
        let (sender, mut receiver) = ws.split();
        let sending = tokio::spawn(async move {
            for number in 0..MESSAGES {
                sender.send(number.to_string()).await.unwrap();
                if number % 7 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            sender.flush().await.unwrap();
            sender
        });
        for number in 0..MESSAGES {
            let message = timeout(PATIENCE, receiver.recv())
                .await
                .expect("a message in time");
            assert_eq!(
                message.unwrap(),
                Some(number.to_string().into()),
                "of {MESSAGES}"
            );
        }
        sending
            .await
            .unwrap()
            .close(CloseCode::NORMAL, "")
            .await
            .unwrap();
        assert!(server.await.unwrap().is_clean());
    });
}

/// Counts how often it is woken.
struct Count(std::sync::atomic::AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn connection_that_moves_to_another_task_while_its_handler_yields_wakes_that() {
    let (wire, peer) = wire(Options::default());
    let step = Arc::new(Notify::new());
    let steps = step.clone();
    let handler = |mut ws: WebSocket, _| async move {
        let mut first = true;
        while let Some(message) = ws.recv().await? {
            if std::mem::take(&mut first) {
                steps.notified().await;
            } else {
                tokio::task::yield_now().await;
            }
            ws.send(message).await?;
        }
        Ok(())
    };
    let mut serving = Box::pin(async move { Acceptor::new().serve(wire, handler).await });
    let mut poll = || {
        let mut context = Context::from_waker(Waker::noop());
        assert!(serving.as_mut().poll(&mut context).is_pending());
    };
    peer.send(REQUEST);
    poll();
    peer.take_written();
    peer.send([frame::text("one"), frame::text("two")].concat());
    // The first message is taken, the second is decoded ahead, and the stream has no more.
    poll();
    poll();
    step.notify_one();
    // The second is taken, and the handler yields.
    poll();
    tokio::spawn(serving);
    settle().await;
    assert_eq!(peer.take_frames(), ["one", "two"].map(Frame::text));
    peer.send(frame::text("three"));
    settle().await;
    assert_eq!(peer.take_frames(), [Frame::text("three")]);
}

#[tokio::test(start_paused = true)]
async fn receiver_that_moves_to_another_task_wakes_that() {
    let (ws, peer) = accepted().await;
    let (_sender, mut receiver) = ws.split();
    let count = Arc::new(Count(0.into()));
    let waker = Waker::from(count.clone());
    {
        let recv = std::pin::pin!(receiver.recv());
        assert!(recv.poll(&mut Context::from_waker(&waker)).is_pending());
    }
    let task = tokio::spawn(async move { receiver.recv().await });
    settle().await;
    peer.send(frame::text("hello"));
    assert_eq!(task.await.unwrap().unwrap(), Some("hello".into()));
    assert_eq!(
        count.0.load(std::sync::atomic::Ordering::Relaxed),
        0,
        "the first has left"
    );
}

#[tokio::test(start_paused = true)]
async fn everybody_who_waits_for_the_end_is_woken() {
    let (ws, peer) = accepted().await;
    let (sender, mut receiver) = ws.split();
    let mut tasks = vec![tokio::spawn(
        async move { receiver.recv().await.unwrap_err() },
    )];
    for _ in 0..3 {
        let (closed, ping) = (sender.clone(), sender.clone());
        tasks.push(tokio::spawn(async move { closed.closed().await }));
        tasks.push(tokio::spawn(async move { ping.ping().await.unwrap_err() }));
    }
    settle().await;
    peer.send(frame::plain(0x81, b"not masked"));
    for task in tasks {
        assert_eq!(task.await.unwrap().code(), CloseCode::PROTOCOL_ERROR);
    }
}

#[tokio::test(start_paused = true)]
async fn ping_behind_messages_is_answered_though_the_receiver_waits_for_something_else() {
    let large = frame::masked(0x82, &vec![0; 20_000]);
    let small = frame::masked(0x82, &[0; 20]);
    // So many messages come before the ping, and so many of them are received.
    let rows = [
        (large.clone(), 2, 2),
        (large, 3, 3),
        (small.clone(), 1000, 1000),
        (small, 1000, 900),
    ];
    for (message, count, received) in rows {
        let (mut ws, peer) = accepted().await;
        peer.send([message.repeat(count), frame::ping("p")].concat());
        settle().await;
        for _ in 0..received {
            ws.recv().await.unwrap().expect("no end");
        }
        settle().await;
        let expected = [Frame::pong("p")];
        assert_eq!(
            peer.take_frames(),
            expected,
            "behind {count} messages, {received} received"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_receiver_messages_are_dropped_and_pings_and_the_close_frame_count() {
    let (ws, peer) = accepted().await;
    let (sender, receiver) = ws.split();
    let large = frame::masked(0x82, &vec![0; 50_000]);
    for _ in 0..10 {
        peer.send(&large);
    }
    settle().await;
    assert!(
        peer.unread() > 0,
        "more than a receiver that does not receive may hold"
    );
    drop(receiver);
    peer.all_read().await;
    peer.send([large, frame::ping("p"), frame::text("dropped too")].concat());
    assert_eq!(peer.frame().await, Frame::pong("p"));
    sender.send("still open").await.unwrap();
    assert_eq!(peer.frame().await, Frame::text("still open"));
    peer.send(frame::close(4000, ""));
    let ended = sender.closed().await;
    assert_eq!(
        (ended.by(), ended.code(), ended.is_clean()),
        (Side::Peer, 4000.into(), true)
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_sender_messages_are_received() {
    let (ws, peer) = accepted().await;
    let (sender, mut receiver) = ws.split();
    drop(sender);
    peer.send([frame::text("one"), frame::ping("p")].concat());
    assert_eq!(receiver.recv().await.unwrap(), Some("one".into()));
    assert_eq!(peer.frame().await, Frame::pong("p"));
    drop(receiver);
    assert_eq!(peer.frame().await, Frame::close(1000, ""));
}

#[tokio::test(start_paused = true)]
async fn dropping_all_handles_closes_with_1000_after_what_was_queued() {
    let (ws, peer) = accepted().await;
    let other = ws.sender();
    peer.take_only(0);
    ws.send("one").await.unwrap();
    drop(ws);
    settle().await;
    other.send("two").await.unwrap();
    drop(other);
    settle().await;
    peer.take_all();
    settle().await;
    let expected = [
        Frame::text("one"),
        Frame::text("two"),
        Frame::close(1000, ""),
    ];
    assert_eq!(peer.take_frames(), expected);
    peer.send([frame::text("dropped"), frame::close(1000, "")].concat());
    peer.shut_down().await;
    peer.send_end();
    peer.dropped().await;
}

#[tokio::test(start_paused = true)]
async fn dropping_all_handles_of_a_peer_that_does_not_answer_takes_the_time_to_close() {
    let (ws, peer) = accepted().await;
    let begin = tokio::time::Instant::now();
    drop(ws);
    peer.dropped().await;
    assert_eq!(begin.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn task_that_panics_with_its_handles_closes_with_1011() {
    let (ws, peer) = accepted().await;
    let task = tokio::spawn(async move {
        ws.send("before").await.unwrap();
        panic!("a panic that this test wants");
    });
    assert!(task.await.is_err());
    assert_eq!(peer.frame().await, Frame::text("before"));
    assert_eq!(peer.frame().await, Frame::close(1011, ""));
}

#[tokio::test(start_paused = true)]
async fn close_refuses_what_may_not_stand_in_a_close_frame_and_sends_nothing() {
    let (ws, peer) = accepted().await;
    for code in [0, 999, 1004, 1006, 1015, 1016, 2999, 5000, u16::MAX] {
        let code = CloseCode::from(code);
        let error = ws.close(code, "").await.unwrap_err();
        let CloseError::Argument(argument) = error else {
            panic!("{error:?} for {code}");
        };
        assert_eq!(argument, Argument::InvalidCloseCode { code });
    }
    // An empty close frame has no place for a reason.
    let error = ws.close(CloseCode::NO_STATUS, "why").await.unwrap_err();
    assert!(
        matches!(
            error,
            CloseError::Argument(Argument::InvalidCloseCode { .. })
        ),
        "{error:?}"
    );
    let error = ws
        .close(CloseCode::NORMAL, &"x".repeat(124))
        .await
        .unwrap_err();
    let length = 124;
    let expected = Argument::CloseReasonTooLong { length };
    assert!(
        matches!(error, CloseError::Argument(found) if found == expected),
        "{error:?}"
    );
    assert_eq!(
        error.to_string(),
        "close reason of 124 bytes exceeds the limit of 123"
    );
    settle().await;
    assert_eq!(peer.written(), b"");
    assert_eq!(ws.state(), State::Open);
    ws.send("still open").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn ping_gives_the_time_until_its_pong() {
    let (peer, task) = served(|ws, _| async move {
        assert_eq!(ws.round_trip(), None, "before the first ping");
        let round_trip = ws.ping().await?;
        assert_eq!(round_trip.as_secs(), 3);
        assert_eq!(ws.round_trip(), Some(round_trip));
        Ok(())
    })
    .await;
    let ping = peer.frame().await;
    assert!(ping.is_ping(), "{ping:?}");
    tokio::time::sleep(Duration::from_secs(3)).await;
    peer.send(frame::pong(b"unsolicited"));
    peer.send(frame::pong(&ping.payload));
    assert_eq!(peer.frame().await, Frame::close(1000, ""));
    peer.send(frame::close(1000, ""));
    peer.send_end();
    assert!(ended(task).await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn pings_at_a_time_share_one_pong() {
    let (ws, peer) = accepted().await;
    let mut pings = Vec::new();
    for _ in 0..5 {
        let sender = ws.sender();
        pings.push(tokio::spawn(async move { sender.ping().await.unwrap() }));
    }
    let ping = peer.frame().await;
    settle().await;
    assert_eq!(peer.written(), b"", "a second ping");
    peer.send(frame::pong(&ping.payload));
    for ping in pings {
        ping.await.unwrap();
    }
    let sender = ws.sender();
    let next = tokio::spawn(async move { sender.ping().await.unwrap() });
    let second = peer.frame().await;
    assert_ne!(
        second.payload, ping.payload,
        "the next ping has a number of its own"
    );
    peer.send(frame::pong(&second.payload));
    next.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn ping_ends_with_the_connection() {
    let (ws, peer) = accepted().await;
    let sender = ws.sender();
    let ping = tokio::spawn(async move { sender.ping().await });
    assert!(peer.frame().await.is_ping());
    peer.send_end();
    assert_eq!(ping.await.unwrap().unwrap_err().cause(), Cause::Eof);
    assert_eq!(ws.ping().await.unwrap_err().cause(), Cause::Eof);
    assert_eq!(ws.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn recv_gives_the_end_again_and_again() {
    for (end, clean) in [
        (frame::close(1000, ""), true),
        (frame::plain(0x80, b""), false),
    ] {
        let (mut ws, peer) = accepted().await;
        peer.send([frame::text("before"), end].concat());
        assert_eq!(ws.recv().await.unwrap(), Some("before".into()));
        for _ in 0..3 {
            assert_eq!(ws.recv().await.ok(), clean.then_some(None));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn driver_that_is_dropped_with_its_runtime_ends_the_connection() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (ws, _peer) = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let connection = runtime.block_on(accepted());
                drop(runtime);
                connection
            })
            .join()
            .unwrap()
    });
    assert_eq!(ws.closed().await.cause(), Cause::Eof);
    assert!(ws.send("late").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn wakers_of_futures_that_were_dropped_do_not_pile_up_in_one_task() {
    let (ws, peer) = accepted().await;
    peer.take_only(0);
    ws.send(vec![0; 70_000]).await.unwrap();
    let never = Arc::new(Notify::new());
    for _ in 0..100 {
        tokio::select! {
            biased;
            _ = ws.send("no room") => panic!("there is no room"),
            () = never.notified() => {}
            () = std::future::ready(()) => {}
        }
    }
    let count = Arc::new(Count(0.into()));
    let waker = Waker::from(count.clone());
    for _ in 0..100 {
        let send = std::pin::pin!(ws.send("no room"));
        assert!(send.poll(&mut Context::from_waker(&waker)).is_pending());
    }
    peer.take_all();
    settle().await;
    let woken = count.0.load(std::sync::atomic::Ordering::Relaxed);
    assert!(woken <= 2, "one task was woken {woken} times");
}
