//! What the driver promises, on a stream that counts its calls.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use chappe::{Acceptor, Message};
use tokio::sync::{Notify, oneshot};

use crate::endpoint::{accepted, accepted_by, echo, ended, limits, served, served_by, settle};
use crate::frame::{self, Frame};
use crate::wire::{Calls, Options};

/// Client frames of this many messages, one behind the other.
pub(crate) fn messages(count: usize) -> Vec<u8> {
    (0..count)
        .flat_map(|number| frame::text(&number.to_string()))
        .collect()
}

/// The replies to them.
pub(crate) fn replies(count: usize) -> Vec<Frame> {
    (0..count)
        .map(|number| Frame::text(&number.to_string()))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn natural_loop_makes_one_read_and_one_write_for_messages_that_arrive_together() {
    let (peer, _task) = served(echo).await;
    settle().await;
    peer.take_calls();
    peer.send(messages(16));
    settle().await;
    assert_eq!(peer.take_frames(), replies(16));
    let expected = Calls {
        reads: 1,
        writes: 1,
        flushes: 1,
    };
    assert_eq!(peer.take_calls(), expected, "for 16 messages");
}

#[tokio::test(start_paused = true)]
async fn natural_loop_with_its_driver_in_another_task_makes_one_read_for_messages_that_arrive_together()
 {
    let (ws, peer) = accepted().await;
    tokio::spawn(async move {
        let mut ws = ws;
        while let Some(message) = ws.recv().await.unwrap() {
            ws.send(message).await.unwrap();
        }
    });
    settle().await;
    peer.send(messages(16));
    settle().await;
    assert_eq!(peer.take_frames(), replies(16));
    let expected = Calls {
        reads: 1,
        writes: 1,
        flushes: 1,
    };
    assert_eq!(peer.take_calls(), expected, "for 16 messages");
}

#[tokio::test(start_paused = true)]
async fn natural_loop_makes_one_write_for_messages_of_more_than_is_decoded_ahead() {
    let (peer, _task) = served(echo).await;
    let message = "x".repeat(1000);
    peer.send(frame::text(&message).repeat(60));
    settle().await;
    assert_eq!(peer.take_frames(), vec![Frame::text(&message); 60]);
    let expected = Calls {
        reads: 1,
        writes: 1,
        flushes: 1,
    };
    assert_eq!(peer.take_calls(), expected, "for 60 messages");
}

#[tokio::test(start_paused = true)]
async fn reply_leaves_before_the_next_message_when_its_handler_waits_for_something_else() {
    let step = Arc::new(Notify::new());
    let steps = step.clone();
    let (peer, _task) = served(|mut ws, _| async move {
        while let Some(message) = ws.recv().await? {
            ws.send(message).await?;
            steps.notified().await;
        }
        Ok(())
    })
    .await;
    peer.send(messages(3));
    for number in 0..3 {
        settle().await;
        let expected = [Frame::text(&number.to_string())];
        assert_eq!(peer.take_frames(), expected, "while the handler waits");
        step.notify_one();
    }
}

#[tokio::test(start_paused = true)]
async fn reply_is_written_before_the_next_message_is_delivered_when_its_handler_yields() {
    let (peers, received) = oneshot::channel::<crate::wire::Peer>();
    let (peer, _task) = served(|mut ws, _| async move {
        let peer = received.await?;
        let mut replies = Vec::new();
        while let Some(message) = ws.recv().await? {
            assert_eq!(peer.written(), replies, "before {message:?} is delivered");
            replies.extend(frame::plain(0x81, message.as_bytes()));
            ws.send(message).await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    })
    .await;
    peers.send(peer.clone()).unwrap();
    peer.send(messages(16));
    settle().await;
    assert_eq!(peer.take_frames(), replies(16));
}

#[tokio::test(start_paused = true)]
async fn what_arrives_while_the_handler_yields_is_read() {
    let step = Arc::new(Notify::new());
    let steps = step.clone();
    let (peers, received) = oneshot::channel::<crate::wire::Peer>();
    let (peer, _task) = served(|mut ws, _| async move {
        let peer = received.await?;
        // The others are decoded meanwhile, and the stream is asked for more.
        let first = ws.recv().await?.expect("a message");
        steps.notified().await;
        ws.send(first).await?;
        let second = ws.recv().await?.expect("a message");
        peer.send(frame::text("3"));
        // Unlike the runtime's own, this yield wakes the task at once, and only once.
        let mut yielded = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        ws.send(second).await?;
        while let Some(message) = ws.recv().await? {
            ws.send(message).await?;
        }
        Ok(())
    })
    .await;
    peers.send(peer.clone()).unwrap();
    peer.send(messages(3));
    settle().await;
    step.notify_one();
    settle().await;
    assert_eq!(peer.take_frames(), replies(4));
}

#[tokio::test(start_paused = true)]
async fn reply_leaves_while_the_handler_waits_before_it_replies_to_the_next() {
    let step = Arc::new(Notify::new());
    let steps = step.clone();
    let (peer, _task) = served(|mut ws, _| async move {
        while let Some(message) = ws.recv().await? {
            steps.notified().await;
            ws.send(message).await?;
        }
        Ok(())
    })
    .await;
    peer.send(messages(3));
    for number in 0..3 {
        settle().await;
        assert_eq!(peer.take_frames(), [], "while the handler waits");
        step.notify_one();
        settle().await;
        let expected = [Frame::text(&number.to_string())];
        assert_eq!(peer.take_frames(), expected, "while it waits again");
    }
}

#[tokio::test(start_paused = true)]
async fn lone_send_leaves_at_once_from_the_handler_itself() {
    let (peer, _task) = served(|ws, _| async move {
        ws.send("hello").await?;
        std::future::pending().await
    })
    .await;
    settle().await;
    assert_eq!(peer.take_frames(), [Frame::text("hello")]);
}

#[tokio::test(start_paused = true)]
async fn lone_send_leaves_at_once_from_another_task() {
    let (senders, sender) = oneshot::channel();
    let (peer, _task) = served(|ws, _| async move {
        let _ = senders.send(ws.sender());
        std::future::pending().await
    })
    .await;
    let sender: chappe::Sender = sender.await.unwrap();
    for text in ["one", "two"] {
        settle().await;
        sender.send(text).await.unwrap();
        settle().await;
        assert_eq!(peer.take_frames(), [Frame::text(text)]);
    }
}

#[tokio::test(start_paused = true)]
async fn lone_send_leaves_at_once_from_either_half_of_an_accepted_connection() {
    let (ws, peer) = accepted().await;
    let (sender, receiver) = ws.split();
    settle().await;
    sender.send("one").await.unwrap();
    settle().await;
    assert_eq!(peer.take_frames(), [Frame::text("one")]);
    drop(receiver);
    settle().await;
    sender.try_send("two").unwrap();
    settle().await;
    assert_eq!(peer.take_frames(), [Frame::text("two")]);
}

#[test]
fn lone_send_leaves_at_once_from_a_thread_without_a_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (ws, peer) = accepted().await;
        let sender = ws.sender();
        settle().await;
        let thread = std::thread::spawn(move || sender.try_send("hello").is_ok());
        assert_eq!(peer.frame().await, Frame::text("hello"));
        assert!(thread.join().unwrap());
    });
}

#[tokio::test(start_paused = true)]
async fn send_waits_for_room_and_not_for_the_wire() {
    let acceptor = Acceptor::new().outbox_bytes_max(100);
    let (ws, peer) = accepted_by(acceptor, Options::default()).await;
    peer.take_only(0);
    let payload = vec![7; 98];
    ws.send(payload.clone()).await.unwrap();
    assert_eq!(peer.written(), b"", "the wire takes nothing");
    let (second, flushed) = (ws.sender(), ws.sender());
    let second = tokio::spawn(async move { second.send("second").await });
    let flushed = tokio::spawn(async move { flushed.flush().await });
    settle().await;
    assert!(
        !second.is_finished(),
        "100 bytes wait, and no more than 100 may"
    );
    assert!(!flushed.is_finished(), "100 bytes wait");
    peer.take_only(1);
    second.await.unwrap().unwrap();
    settle().await;
    assert!(!flushed.is_finished(), "107 bytes wait");
    peer.take_all();
    flushed.await.unwrap().unwrap();
    assert_eq!(
        peer.take_frames(),
        [Frame::binary(&payload), Frame::text("second")]
    );
}

#[tokio::test(start_paused = true)]
async fn flush_waits_until_the_stream_has_flushed() {
    let (ws, peer) = accepted().await;
    peer.block_flush(true);
    ws.send("hello").await.unwrap();
    let flush = tokio::spawn(async move { ws.flush().await });
    settle().await;
    assert_eq!(peer.take_frames(), [Frame::text("hello")]);
    assert!(!flush.is_finished(), "the stream holds the bytes back");
    peer.block_flush(false);
    flush.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn flush_in_a_handler_waits_for_the_wire() {
    let (done, mut is_done) = oneshot::channel();
    let (peer, _task) = served(|ws, _| async move {
        ws.send("hello").await?;
        ws.flush().await?;
        let _ = done.send(());
        std::future::pending().await
    })
    .await;
    peer.frame().await;
    settle().await;
    assert_eq!(is_done.try_recv(), Ok(()));
}

/// A handler that takes one message and then waits for what never comes.
async fn stuck(mut ws: chappe::WebSocket, _: chappe::Request) -> Result<(), chappe::BoxError> {
    ws.recv().await?;
    std::future::pending().await
}

#[tokio::test(start_paused = true)]
async fn ping_is_answered_while_the_handler_waits_for_something_else() {
    let (one, ping) = (frame::text("one"), frame::ping("p"));
    let together: [(&str, Vec<Vec<u8>>); 5] = [
        ("[ping]", vec![ping.clone()]),
        ("[message][ping]", vec![[&one[..], &ping].concat()]),
        (
            "[message][message][ping]",
            vec![[&one[..], &one, &ping].concat()],
        ),
        ("[message], [ping]", vec![one.clone(), ping.clone()]),
        (
            "[message][100 messages][ping]",
            vec![[&one.repeat(101)[..], &ping].concat()],
        ),
    ];
    for (name, pieces) in together {
        let (peer, _task) = served(stuck).await;
        for piece in pieces {
            peer.send(piece);
            settle().await;
        }
        assert_eq!(peer.take_frames(), [Frame::pong("p")], "to {name}");
    }
}

#[tokio::test(start_paused = true)]
async fn keepalive_pings_and_fails_a_silent_peer_while_the_handler_waits_for_something_else() {
    let (peer, task) = served(stuck).await;
    peer.send(messages(2));
    settle().await;
    let begin = tokio::time::Instant::now();
    assert!(peer.frame().await.is_ping());
    assert_eq!(begin.elapsed().as_secs(), 20);
    assert_eq!(peer.frame().await.close_code(), Some(1011));
    assert_eq!(begin.elapsed().as_secs(), 40);
    peer.dropped().await;
    assert_eq!(begin.elapsed().as_secs(), 45);
    settle().await;
    assert!(!task.is_finished(), "the handler is not done");
}

#[tokio::test(start_paused = true)]
async fn keepalive_goes_on_while_pings_are_answered_and_the_handler_waits() {
    let (peer, task) = served(stuck).await;
    for _ in 0..10 {
        let ping = peer.frame().await;
        assert!(ping.is_ping(), "{ping:?}");
        peer.send(frame::pong(&ping.payload));
    }
    assert!(!task.is_finished(), "the connection is alive");
}

#[tokio::test(start_paused = true)]
async fn message_that_is_never_completed_is_failed_while_the_handler_waits() {
    let limits = limits(|limits| limits.ping_interval = None);
    let acceptor = Acceptor::new().limits(limits);
    let (peer, _task) = served_by(acceptor, Options::default(), stuck).await;
    peer.send(messages(1));
    peer.send(frame::masked(0x01, b"begun"));
    let begin = tokio::time::Instant::now();
    assert_eq!(peer.frame().await.close_code(), Some(1008));
    assert_eq!(begin.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn pings_are_answered_and_sent_while_the_handler_waits_for_room() {
    let acceptor = Acceptor::new().outbox_bytes_max(10);
    let start = Arc::new(Notify::new());
    let waits = start.clone();
    let (peer, task) = served_by(acceptor, Options::default(), |ws, _| async move {
        waits.notified().await;
        ws.send("0123456789").await?;
        ws.send("more").await?;
        std::future::pending().await
    })
    .await;
    peer.take_only(0);
    start.notify_one();
    settle().await;
    peer.send(frame::ping("p"));
    settle().await;
    // The peer reads a byte a second: enough to be alive.
    let mut frames = Vec::new();
    for _ in 0..60 {
        peer.take_only(1);
        tokio::time::sleep(Duration::from_secs(1)).await;
        for frame in peer.take_frames() {
            if frame.is_ping() {
                peer.send(frame::pong(&frame.payload));
            }
            frames.push(frame);
        }
    }
    assert!(!task.is_finished(), "the connection is alive");
    assert_eq!(frames[0], Frame::text("0123456789"));
    assert!(frames.contains(&Frame::text("more")), "{frames:?}");
    assert!(frames.contains(&Frame::pong("p")), "{frames:?}");
    assert!(frames.iter().any(Frame::is_ping), "{frames:?}");
}

#[tokio::test(start_paused = true)]
async fn silent_peer_that_does_not_read_is_failed_while_the_handler_waits_for_room() {
    let (peer, task) = served(|ws, _| async move {
        loop {
            ws.send(Message::from(vec![0; 10_000])).await?;
        }
    })
    .await;
    peer.take_only(0);
    let begin = tokio::time::Instant::now();
    peer.dropped().await;
    assert_eq!(
        begin.elapsed().as_secs(),
        45,
        "20 to the ping, 20 to the pong, 5 to close"
    );
    let ended = ended(task).await;
    assert_eq!(ended.code().to_string(), "1011 (internal error)");
}

#[tokio::test(start_paused = true)]
async fn input_that_is_held_back_is_kept_through_many_turns() {
    let woken = Arc::new(Notify::new());
    let waits = woken.clone();
    let (peer, _task) = served(|mut ws, _| async move {
        while let Some(message) = ws.recv().await? {
            // Several turns of the driver go by, woken for something else each time.
            for _ in 0..5 {
                waits.notified().await;
            }
            ws.send(message).await?;
        }
        Ok(())
    })
    .await;
    let large: Vec<_> = (0..5).map(|number| vec![number; 12_000]).collect();
    peer.send(
        large
            .iter()
            .flat_map(|payload| frame::masked(0x82, payload))
            .collect::<Vec<_>>(),
    );
    for payload in &large {
        for _ in 0..5 {
            settle().await;
            assert_eq!(peer.take_frames(), [], "the handler waits");
            woken.notify_one();
        }
        settle().await;
        assert_eq!(peer.take_frames(), [Frame::binary(payload)]);
    }
}
