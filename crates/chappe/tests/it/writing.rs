//! The way out: a queue that is bounded, a stream that is full, slow or broken.

use std::future::pending;
use std::io::ErrorKind;

use chappe::{Acceptor, Cause, CloseCode, Message, Prepared, Side};
use tokio::sync::oneshot;

use crate::endpoint::{accepted, accepted_by, connected, ended, limits, served, served_by, settle};
use crate::frame::{self, Frame};
use crate::wire::{Options, Peer};

/// Waits in the queue without leaving room for more, where nothing else waits.
static FULL: [u8; 70_000] = [7; 70_000];

#[tokio::test(start_paused = true)]
async fn message_queued_while_the_stream_is_full_leaves_when_it_is_not() {
    let (ws, peer) = accepted().await;
    peer.take_only(0);
    ws.send("first").await.unwrap();
    settle().await;
    ws.send("second").await.unwrap();
    settle().await;
    peer.take_all();
    settle().await;
    assert_eq!(
        peer.take_frames(),
        [Frame::text("first"), Frame::text("second")]
    );
}

#[tokio::test(start_paused = true)]
async fn close_frame_leaves_behind_all_that_was_queued_while_the_stream_was_full() {
    let (ws, peer) = accepted().await;
    peer.take_only(0);
    ws.send("first").await.unwrap();
    settle().await;
    ws.send("second").await.unwrap();
    let close = tokio::spawn(async move { ws.close(CloseCode::NORMAL, "").await });
    // The close frames cross each other.
    peer.send(frame::close(1000, ""));
    settle().await;
    assert!(close.await.unwrap().is_ok());
    peer.take_all();
    peer.shut_down().await;
    let expected = [
        Frame::text("first"),
        Frame::text("second"),
        Frame::close(1000, ""),
    ];
    assert_eq!(peer.take_frames(), expected);
}

#[tokio::test(start_paused = true)]
async fn close_frame_for_a_violation_leaves_behind_all_that_was_queued() {
    let (ws, peer) = accepted().await;
    peer.take_only(0);
    ws.send("first").await.unwrap();
    settle().await;
    ws.send("second").await.unwrap();
    peer.send(frame::plain(0x81, b"a client must mask"));
    settle().await;
    peer.take_all();
    peer.shut_down().await;
    let frames = peer.take_frames();
    assert_eq!(frames[..2], [Frame::text("first"), Frame::text("second")]);
    assert_eq!(frames[2].close_code(), Some(1002), "{frames:?}");
}

#[tokio::test(start_paused = true)]
async fn answer_to_a_close_frame_leaves_though_the_peer_has_ended_its_side() {
    let (ws, peer) = accepted().await;
    peer.take_only(0);
    ws.send("first").await.unwrap();
    settle().await;
    peer.send(frame::close(1001, ""));
    peer.send_end();
    settle().await;
    peer.take_all();
    peer.dropped().await;
    assert_eq!(
        peer.take_frames(),
        [Frame::text("first"), Frame::close(1001, "")]
    );
    drop(ws);
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_is_written_though_the_peer_has_ended_its_side_without_a_close_frame() {
    let (ws, peer) = accepted().await;
    peer.take_only(0);
    ws.send("first").await.unwrap();
    settle().await;
    peer.send_end();
    settle().await;
    assert!(!peer.is_dropped(), "it waits for room");
    assert_eq!(ws.closed().await.cause(), Cause::Eof);
    peer.take_all();
    ws.flush().await.unwrap();
    peer.dropped().await;
    assert_eq!(peer.take_frames(), [Frame::text("first")]);
}

#[tokio::test(start_paused = true)]
async fn stream_is_dropped_when_a_peer_that_has_ended_its_side_does_not_read() {
    let (ws, peer) = accepted().await;
    peer.take_only(0);
    ws.send("first").await.unwrap();
    settle().await;
    let begin = tokio::time::Instant::now();
    peer.send_end();
    peer.dropped().await;
    assert_eq!(begin.elapsed().as_secs(), 5, "the closing timeout");
    assert!(ws.flush().await.is_err(), "nothing was written");
}

#[tokio::test(start_paused = true)]
async fn pings_of_a_peer_that_does_not_read_cost_one_pong_of_memory() {
    let acceptor = Acceptor::new().outbox_bytes_max(1000);
    let (ws, peer) = accepted_by(acceptor, Options::default()).await;
    peer.take_only(0);
    for number in 0..1000 {
        peer.send(frame::ping(&format!("{number:0100}")));
        settle().await;
    }
    peer.take_all();
    settle().await;
    let pongs = peer.take_frames();
    assert!(
        pongs.len() < 15,
        "{} pongs waited, where 1000 bytes may wait",
        pongs.len()
    );
    assert_eq!(
        pongs.last(),
        Some(&Frame::pong(&format!("{:0100}", 999))),
        "the latest"
    );
    drop(ws);
}

#[tokio::test(start_paused = true)]
async fn queue_is_bounded_and_gives_back_the_message_that_has_no_room() {
    let acceptor = Acceptor::new().outbox_bytes_max(100);
    let (ws, peer) = accepted_by(acceptor, Options::default()).await;
    peer.take_only(0);
    for _ in 0..10 {
        ws.try_send("12345678").expect("less than 100 bytes wait");
    }
    let large = Message::from(vec![1; 5000]);
    settle().await;
    for message in [Message::from(""), "text".into(), large] {
        let error = ws.try_send(message.clone()).expect_err("the queue is full");
        assert!(error.is_full() && error.ended().is_none(), "{error}");
        assert_eq!(
            error.to_string(),
            "message was not sent: the outbox is full"
        );
        assert_eq!(error.into_message(), message);
    }
    let error = ws
        .try_send_prepared(&Prepared::text(""))
        .expect_err("the queue is full");
    assert!(error.is_full());
    peer.take_all();
    settle().await;
    ws.try_send("text").expect("nothing waits");
}

#[tokio::test(start_paused = true)]
async fn message_larger_than_the_bound_is_queued_when_less_than_the_bound_waits() {
    let acceptor = Acceptor::new().outbox_bytes_max(100);
    let (ws, peer) = accepted_by(acceptor, Options::default()).await;
    peer.take_only(0);
    ws.try_send("x".repeat(97)).expect("nothing waits");
    ws.try_send(FULL.to_vec())
        .expect("99 bytes wait, and 100 may");
    assert!(
        ws.try_send("")
            .expect_err("more than 100 bytes wait")
            .is_full()
    );
    peer.take_all();
    settle().await;
    assert_eq!(peer.take_frames()[1], Frame::binary(&FULL));
}

#[tokio::test(start_paused = true)]
async fn senders_wait_until_the_peer_reads() {
    let (ws, peer) = accepted().await;
    peer.take_only(0);
    ws.send(FULL.to_vec()).await.unwrap();
    let mut senders = Vec::new();
    for number in 0..10 {
        let sender = ws.sender();
        senders.push(tokio::spawn(async move {
            sender.send(number.to_string()).await
        }));
    }
    let ready = ws.sender();
    let ready = tokio::spawn(async move { ready.ready().await });
    settle().await;
    assert!(
        !senders.iter().any(tokio::task::JoinHandle::is_finished),
        "nothing was read"
    );
    assert!(!ready.is_finished(), "nothing was read");
    peer.take_all();
    for sender in senders {
        sender.await.unwrap().unwrap();
    }
    ready.await.unwrap().unwrap();
    ws.flush().await.unwrap();
    assert_eq!(peer.take_frames().len(), 11);
}

#[tokio::test(start_paused = true)]
async fn input_is_not_read_while_the_handler_waits_for_room() {
    let (peer, _task) = served(|mut ws, _| async move {
        while ws.recv().await?.is_some() {
            ws.send(FULL.to_vec()).await?;
        }
        Ok(())
    })
    .await;
    peer.take_only(0);
    for _ in 0..100 {
        peer.send(frame::masked(0x82, &FULL[..16 * 1024]));
    }
    settle().await;
    let held = 100 * 16 * 1024 - peer.unread();
    // Two messages are taken, one is decoded ahead, and 64 KiB wait.
    assert!(
        held <= 7 * 16 * 1024,
        "{held} bytes were read for a handler that does not take them"
    );
}

#[tokio::test(start_paused = true)]
async fn messages_are_given_back_when_the_connection_is_closing_or_closed() {
    let (ws, peer) = accepted().await;
    peer.take_only(0);
    ws.send(FULL.to_vec()).await.unwrap();
    let sender = ws.sender();
    let waiting = tokio::spawn(async move { sender.send("waited for room").await });
    settle().await;
    let closer = ws.sender();
    tokio::spawn(async move { closer.close(CloseCode::NORMAL, "").await });
    settle().await;
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(error.into_message(), Message::from("waited for room"));
    let error = ws.send("late").await.unwrap_err();
    assert!(!error.is_full() && error.ended().is_none(), "{error}");
    assert_eq!(
        error.to_string(),
        "message was not sent: connection is closing"
    );
    assert_eq!(error.into_message(), Message::from("late"));
    let ended = ws.closed().await;
    assert_eq!(ended.cause(), Cause::CloseTimeout);
    let error = ws.try_send("later").unwrap_err();
    assert_eq!(
        error.ended().map(chappe::Ended::cause),
        Some(Cause::CloseTimeout)
    );
    assert_eq!(error.into_message(), Message::from("later"));
    assert!(ws.ready().await.is_err());
    assert!(ws.send_prepared(&Prepared::text("")).await.is_err());
    assert!(ws.flush().await.is_err(), "70,000 bytes were not written");
}

#[tokio::test(start_paused = true)]
async fn close_frame_of_the_peer_counts_though_writing_has_failed() {
    let (ws, peer) = accepted().await;
    peer.fail_writes(ErrorKind::BrokenPipe);
    ws.send("lost").await.unwrap();
    settle().await;
    peer.send(frame::close(4000, "why"));
    peer.send_end();
    let ended = ws.closed().await;
    assert_eq!(
        (ended.by(), ended.code(), ended.reason()),
        (Side::Peer, 4000.into(), "why")
    );
    peer.dropped().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_after_writing_has_failed_is_given_back() {
    let (ws, peer) = accepted().await;
    peer.fail_writes(ErrorKind::BrokenPipe);
    ws.send("lost").await.unwrap();
    settle().await;
    let error = ws.send("late").await.unwrap_err();
    assert_eq!(error.into_message(), Message::from("late"));
}

#[tokio::test(start_paused = true)]
async fn connection_ends_when_writing_has_failed_and_the_peer_is_silent() {
    let limits = limits(|limits| limits.ping_interval = None);
    let acceptor = Acceptor::new().limits(limits.clone());
    let (mut ws, peer) = accepted_by(acceptor, Options::default()).await;
    peer.fail_writes(ErrorKind::BrokenPipe);
    ws.send("lost").await.unwrap();
    let begin = tokio::time::Instant::now();
    let flush = ws.flush().await;
    assert!(flush.is_err(), "nothing was written");
    assert!(
        begin.elapsed() <= limits.close_timeout,
        "after {:?}",
        begin.elapsed()
    );
    let ended = ws.recv().await.unwrap_err();
    assert_eq!(ended.to_string(), "connection was lost");
    let source = std::error::Error::source(&ended).expect("the error of the stream");
    assert_eq!(source.to_string(), "broken pipe");
    peer.dropped().await;
}

#[tokio::test(start_paused = true)]
async fn error_of_reading_is_the_source_of_the_end() {
    let (mut ws, peer) = connected().await;
    peer.send(frame::plain(0x81, b"before"));
    peer.fail_reads(ErrorKind::ConnectionReset);
    assert_eq!(ws.recv().await.unwrap(), Some("before".into()));
    for _ in 0..2 {
        let ended = ws.recv().await.unwrap_err();
        assert_eq!((ended.by(), ended.cause()), (Side::Peer, Cause::Eof));
        assert_eq!((ended.code(), ended.reason()), (CloseCode::ABNORMAL, ""));
        assert_eq!(ended.to_string(), "connection was lost");
        let source = std::error::Error::source(&ended).expect("the error of the stream");
        assert_eq!(source.to_string(), "connection reset");
    }
    peer.dropped().await;
}

#[tokio::test(start_paused = true)]
async fn end_of_the_stream_without_a_close_frame_is_an_error() {
    let (mut ws, peer) = connected().await;
    peer.send(frame::plain(0x81, b"before"));
    peer.send(&frame::plain(0x81, b"cut off")[..5]);
    peer.send_end();
    assert_eq!(ws.recv().await.unwrap(), Some("before".into()));
    let ended = ws.recv().await.unwrap_err();
    assert_eq!((ended.by(), ended.cause()), (Side::Peer, Cause::Eof));
    assert_eq!(ended.to_string(), "stream ended without a close frame");
    assert!(std::error::Error::source(&ended).is_none());
}

#[tokio::test(start_paused = true)]
async fn stream_that_takes_nothing_and_does_not_wait_has_failed() {
    let (peer, task) = served(|ws, _| async move {
        ws.send("lost").await?;
        ws.flush().await?;
        Ok(())
    })
    .await;
    peer.fail_writes(ErrorKind::WriteZero);
    settle().await;
    peer.send_end();
    assert_eq!(ended(task).await.cause(), Cause::Eof);
}

#[tokio::test(start_paused = true)]
async fn silent_peer_that_does_not_read_is_failed_within_the_time_of_a_ping_and_its_pong() {
    let (ws, peer) = accepted().await;
    peer.take_only(0);
    let begin = tokio::time::Instant::now();
    ws.send(FULL.to_vec()).await.unwrap();
    let ended = ws.closed().await;
    assert_eq!(ended.code(), CloseCode::INTERNAL_ERROR);
    assert_eq!(
        begin.elapsed().as_secs(),
        40,
        "20 to the ping, 20 to the pong"
    );
    peer.dropped().await;
    assert_eq!(begin.elapsed().as_secs(), 45, "and 5 to close");
}

#[tokio::test(start_paused = true)]
async fn peer_that_sends_but_does_not_read_is_failed_too() {
    let (peer, task) = served(|mut ws, _| async move {
        while let Some(message) = ws.recv().await? {
            ws.send(message).await?;
        }
        Ok(())
    })
    .await;
    peer.take_only(0);
    let begin = tokio::time::Instant::now();
    let sender = peer.clone();
    tokio::spawn(async move {
        loop {
            sender.send(frame::masked(0x82, &[0; 5000]));
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
    });
    assert_eq!(ended(task).await.code(), CloseCode::INTERNAL_ERROR);
    assert!(
        begin.elapsed().as_secs() <= 65,
        "after {:?}",
        begin.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn peer_that_reads_slowly_is_not_failed() {
    let limits = limits(|limits| limits.message_bytes_max = 100_000);
    let acceptor = Acceptor::new().limits(limits);
    let (peer, task) = served_by(acceptor, Options::default(), |mut ws, _| async move {
        ws.send(FULL.to_vec()).await?;
        while let Some(message) = ws.recv().await? {
            ws.send(message).await?;
        }
        Ok(())
    })
    .await;
    peer.take_only(0);
    // The begin of a message, which stays where it is while the handler waits for room.
    peer.send(frame::masked(0x82, &FULL));
    peer.send(frame::masked(0x01, b"begin, "));
    let mut sent_end = false;
    let mut frames = Vec::new();
    for second in 0..600 {
        peer.take_only(500);
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        for frame in peer.take_frames() {
            if frame.is_ping() {
                peer.send(frame::pong(&frame.payload));
            } else {
                frames.push(frame);
            }
        }
        if second > 30 && !std::mem::replace(&mut sent_end, true) {
            peer.send(frame::masked(0x80, b"end"));
        }
    }
    let expected = [
        Frame::binary(&FULL),
        Frame::binary(&FULL),
        Frame::text("begin, end"),
    ];
    assert_eq!(frames, expected);
    assert!(!task.is_finished(), "the connection is alive");
}

#[tokio::test(start_paused = true)]
async fn all_that_was_queued_is_written_though_it_is_more_than_one_poll_may_write() {
    let acceptor = Acceptor::new().outbox_bytes_max(1_000_000);
    let (peers, received) = oneshot::channel::<Peer>();
    let (makes_room, room) = oneshot::channel::<()>();
    let (peer, _task) = served_by(acceptor, Options::default(), |ws, _| async move {
        let peer = received.await?;
        ws.send(vec![1; 400_000]).await?;
        tokio::task::yield_now().await;
        ws.send(vec![2; 300_000]).await?;
        room.await?;
        // In the same poll of the task, after the stream was seen to be full.
        peer.take_all();
        pending().await
    })
    .await;
    peer.take_only(0);
    peers.send(peer.clone()).unwrap();
    settle().await;
    peer.send_end();
    settle().await;
    makes_room.send(()).unwrap();
    peer.dropped().await;
    let expected = [
        Frame::binary(&vec![1; 400_000]),
        Frame::binary(&vec![2; 300_000]),
    ];
    assert!(peer.take_frames() == expected, "both are whole");
}
