//! The closing handshake, from both sides and in every order (RFC 6455, section 7).

use std::time::Duration;

use chappe::{
    Acceptor, Cause, CloseCode, CloseError, Ended, ProtocolError, Side, State, WebSocket,
};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::endpoint::{accepted, accepted_by, connected, ended, limits, served, settle};
use crate::frame::{self, Frame};
use crate::wire::{Options, Peer};

/// Closes in a task of its own.
fn close(ws: &WebSocket, code: u16, reason: &'static str) -> JoinHandle<Result<(), CloseError>> {
    let sender = ws.sender();
    tokio::spawn(async move { sender.close(code.into(), reason).await })
}

/// The code and reason of each side's close frame.
fn said(ended: &Ended) -> [Option<(u16, &str)>; 2] {
    [ended.sent(), ended.received()]
        .map(|frame| frame.map(|frame| (frame.code.into(), frame.reason.as_str())))
}

#[tokio::test(start_paused = true)]
async fn server_closes_and_the_client_answers() {
    let (ws, peer) = accepted().await;
    let closing = close(&ws, 4000, "enough");
    assert_eq!(peer.frame().await, Frame::close(4000, "enough"));
    assert_eq!(ws.state(), State::Closing);
    settle().await;
    assert!(!closing.is_finished(), "the peer has not answered");
    peer.send(frame::close(4000, ""));
    closing.await.unwrap().unwrap();
    // Section 7.1.1: the server ends its direction first.
    peer.shut_down().await;
    assert!(!peer.is_dropped(), "the peer may have more to say");
    peer.send_end();
    peer.dropped().await;
    let ended = ws.closed().await;
    assert_eq!(
        (ended.by(), ended.cause()),
        (Side::Local, Cause::ClosingHandshake)
    );
    assert_eq!((ended.code(), ended.reason()), (4000.into(), "enough"));
    assert_eq!(said(&ended), [Some((4000, "enough")), Some((4000, ""))]);
    assert_eq!(
        ended.to_string(),
        "closed by this side: 4000 (private use): \"enough\""
    );
    assert_eq!(ws.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn client_closes_and_the_server_answers() {
    let (ws, peer) = connected().await;
    let closing = close(&ws, 1000, "");
    assert_eq!(peer.frame().await, Frame::close(1000, ""));
    peer.send(frame::plain(0x88, &frame::close_payload(1000, "")));
    closing.await.unwrap().unwrap();
    settle().await;
    assert!(!peer.is_shut_down(), "the server ends its direction first");
    peer.send_end();
    peer.dropped().await;
}

#[tokio::test(start_paused = true)]
async fn client_does_not_wait_for_ever_for_a_server_that_leaves_the_stream_open() {
    let (ws, peer) = connected().await;
    let begin = Instant::now();
    let closing = close(&ws, 1000, "");
    peer.frame().await;
    peer.send(frame::plain(0x88, &frame::close_payload(1000, "")));
    closing.await.unwrap().unwrap();
    assert_eq!(
        begin.elapsed().as_secs(),
        0,
        "the closing handshake was complete"
    );
    peer.dropped().await;
    assert_eq!(begin.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn peer_closes_and_its_code_is_sent_back_behind_the_replies() {
    let (peer, task) = served(crate::endpoint::echo).await;
    peer.send([frame::text("last words"), frame::close(1001, "bye")].concat());
    settle().await;
    assert_eq!(
        peer.take_frames(),
        [Frame::text("last words"), Frame::close(1001, "")]
    );
    assert!(peer.is_shut_down());
    peer.send_end();
    let ended = ended(task).await;
    assert_eq!((ended.by(), ended.is_clean()), (Side::Peer, true));
    assert_eq!(said(&ended), [Some((1001, "")), Some((1001, "bye"))]);
    assert_eq!(
        ended.to_string(),
        "closed by the peer: 1001 (going away): \"bye\""
    );
}

#[tokio::test(start_paused = true)]
async fn messages_before_a_close_frame_are_received_and_those_behind_it_are_not() {
    let (mut ws, peer) = accepted().await;
    let pieces = [
        frame::text("one"),
        frame::text("two"),
        frame::close(1000, ""),
        frame::text("behind"),
        frame::ping("behind"),
        frame::close(4000, ""),
        frame::plain(0xff, b"no frame at all"),
    ];
    peer.send(pieces.concat());
    assert_eq!(ws.recv().await.unwrap(), Some("one".into()));
    assert_eq!(ws.recv().await.unwrap(), Some("two".into()));
    assert_eq!(ws.recv().await.unwrap(), None);
    settle().await;
    assert_eq!(peer.take_frames(), [Frame::close(1000, "")]);
    assert_eq!(ws.closed().await.code(), CloseCode::NORMAL);
}

#[tokio::test(start_paused = true)]
async fn empty_close_frames_are_sent_and_answered() {
    let (ws, peer) = accepted().await;
    let closing = close(&ws, 1005, "");
    let empty = Frame {
        first: 0x88,
        payload: vec![],
    };
    assert_eq!(peer.frame().await, empty);
    peer.send(frame::masked(0x88, b""));
    closing.await.unwrap().unwrap();
    assert_eq!(ws.closed().await.code(), CloseCode::NO_STATUS);

    let (ws, peer) = accepted().await;
    peer.send(frame::masked(0x88, b""));
    assert_eq!(peer.frame().await, empty);
    assert_eq!(ws.closed().await.code(), CloseCode::NO_STATUS);
}

#[tokio::test(start_paused = true)]
async fn close_frames_that_cross_each_other_end_it_cleanly() {
    let (ws, peer) = accepted().await;
    peer.take_only(0);
    let closing = close(&ws, 4000, "ours");
    settle().await;
    peer.send(frame::close(4001, "theirs"));
    closing.await.unwrap().unwrap();
    peer.take_all();
    settle().await;
    assert_eq!(
        peer.take_frames(),
        [Frame::close(4000, "ours")],
        "one close frame"
    );
    let ended = ws.closed().await;
    assert_eq!((ended.by(), ended.is_clean()), (Side::Local, true));
    assert_eq!(said(&ended), [Some((4000, "ours")), Some((4001, "theirs"))]);
}

#[tokio::test(start_paused = true)]
async fn closing_again_waits_for_the_first_and_changes_nothing() {
    let (ws, peer) = accepted().await;
    let closings = [close(&ws, 4000, "first"), close(&ws, 4001, "second")];
    assert_eq!(peer.frame().await, Frame::close(4000, "first"));
    peer.send(frame::close(4000, ""));
    for closing in closings {
        closing.await.unwrap().unwrap();
    }
    ws.close(CloseCode::NORMAL, "third").await.unwrap();
    settle().await;
    assert_eq!(peer.written(), b"");
    assert_eq!(ws.closed().await.reason(), "first");
}

#[tokio::test(start_paused = true)]
async fn messages_behind_our_close_frame_are_dropped_and_the_answer_among_them_counts() {
    let (mut ws, peer) = accepted().await;
    let closing = close(&ws, 1000, "");
    peer.frame().await;
    peer.send(
        [
            frame::text("late"),
            frame::ping("late"),
            frame::masked(0x01, b"la"),
        ]
        .concat(),
    );
    settle().await;
    peer.send([frame::masked(0x80, b"te"), frame::close(1000, "")].concat());
    closing.await.unwrap().unwrap();
    assert_eq!(ws.recv().await.unwrap(), None);
    assert_eq!(peer.written(), b"", "nothing follows a close frame");
}

#[tokio::test(start_paused = true)]
async fn end_of_the_stream_in_place_of_the_answer_is_no_clean_end() {
    let (mut ws, peer) = accepted().await;
    let closing = close(&ws, 1000, "");
    peer.frame().await;
    peer.send_end();
    let error = closing.await.unwrap().unwrap_err();
    let CloseError::Ended(ended) = error else {
        panic!("{error:?}");
    };
    assert_eq!((ended.by(), ended.cause()), (Side::Peer, Cause::Eof));
    assert_eq!(said(&ended), [Some((1000, "")), None]);
    assert!(ws.recv().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn violation_behind_our_close_frame_sends_no_second_one() {
    let (ws, peer) = accepted().await;
    let closing = close(&ws, 1000, "");
    peer.frame().await;
    peer.send(frame::plain(0x81, b"not masked"));
    let error = closing.await.unwrap().unwrap_err();
    assert!(matches!(error, CloseError::Ended(_)), "{error:?}");
    let cause = ws.closed().await.cause();
    assert!(
        matches!(cause, Cause::Protocol(ProtocolError::Masking { .. })),
        "{cause}"
    );
    peer.shut_down().await;
    assert_eq!(peer.written(), b"");
}

/// Lets the peer send without end, until the stream is dropped; gives the time that took.
async fn send_until_dropped(peer: &Peer, bytes: Vec<u8>) -> Duration {
    let begin = Instant::now();
    while !peer.is_dropped() {
        peer.send(&bytes);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    begin.elapsed()
}

#[tokio::test(start_paused = true)]
async fn close_frame_for_a_violation_is_delivered_while_the_peer_goes_on_sending() {
    let (mut ws, peer) = accepted().await;
    peer.send([frame::text("before"), frame::plain(0x81, b"not masked")].concat());
    assert_eq!(ws.recv().await.unwrap(), Some("before".into()));
    let ended = ws.recv().await.unwrap_err();
    assert_eq!(
        (ended.by(), ended.code()),
        (Side::Local, CloseCode::PROTOCOL_ERROR)
    );
    peer.shut_down().await;
    let close = peer.frame().await;
    assert_eq!(
        close,
        Frame::close(1002, "frame from a client must be masked")
    );
    // Dropping the stream with input unread could reset it, and the close frame be lost.
    let time = send_until_dropped(&peer, frame::text("more")).await;
    assert_eq!(time.as_secs(), 5);
    assert!(peer.unread() < 100, "{} bytes are unread", peer.unread());
}

#[tokio::test(start_paused = true)]
async fn stream_is_dropped_as_soon_as_a_peer_that_broke_a_rule_has_ended_its_side() {
    let (_ws, peer) = accepted().await;
    let begin = Instant::now();
    peer.send(frame::plain(0x81, b"not masked"));
    peer.shut_down().await;
    peer.send_end();
    peer.dropped().await;
    assert_eq!(begin.elapsed().as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_budget_of_time_bounds_the_closing_handshake_whatever_the_peer_does() {
    let never = [
        vec![],
        frame::text("x"),
        frame::ping("x"),
        vec![0x82],
        frame::pong(b"x"),
    ];
    for bytes in never {
        let (ws, peer) = accepted().await;
        let closing = close(&ws, 1000, "");
        let time = send_until_dropped(&peer, bytes.clone()).await;
        assert_eq!(
            time.as_secs(),
            5,
            "where the peer goes on sending {bytes:02x?}"
        );
        let error = closing.await.unwrap().unwrap_err();
        assert!(matches!(error, CloseError::Ended(_)), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn budget_begins_with_the_first_close_frame() {
    let (ws, peer) = accepted().await;
    let begin = Instant::now();
    let closing = close(&ws, 1000, "");
    peer.frame().await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    peer.send(frame::close(1000, ""));
    closing.await.unwrap().unwrap();
    peer.dropped().await;
    assert_eq!(
        begin.elapsed().as_secs(),
        5,
        "the peer never ended its side"
    );
}

#[tokio::test(start_paused = true)]
async fn close_while_a_write_is_blocked_takes_no_longer_than_its_budget() {
    let limits = limits(|limits| limits.close_timeout = Duration::from_secs(3));
    let (ws, peer) = accepted_by(Acceptor::new().limits(limits), Options::default()).await;
    peer.take_only(10);
    ws.send(vec![0; 100_000]).await.unwrap();
    settle().await;
    let begin = Instant::now();
    let error = ws.close(CloseCode::NORMAL, "").await.unwrap_err();
    let CloseError::Ended(ended) = error else {
        panic!("{error:?}");
    };
    assert_eq!(
        (ended.by(), ended.cause()),
        (Side::Local, Cause::CloseTimeout)
    );
    assert_eq!(ended.to_string(), "close frame was not answered in time");
    settle().await;
    assert!(peer.is_dropped());
    assert_eq!(begin.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn stream_that_never_shuts_down_is_dropped_in_time() {
    let (ws, peer) = accepted().await;
    let begin = Instant::now();
    let closing = close(&ws, 1000, "");
    peer.frame().await;
    peer.block_flush(true);
    peer.send(frame::close(1000, ""));
    peer.send_end();
    closing.await.unwrap().unwrap();
    peer.dropped().await;
    assert_eq!(begin.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn every_end_is_told_by_its_name() {
    let ends: [(Vec<u8>, &str); 3] = [
        (
            frame::masked(0x82, &[0; 200]),
            "message of 200 bytes exceeds the limit of 100",
        ),
        (frame::masked(0x81, b"\xff"), "text is not UTF-8"),
        (frame::masked(0x83, b""), "opcode 0x3 is reserved"),
    ];
    for (bytes, expected) in ends {
        let limits = limits(|limits| limits.message_bytes_max = 100);
        let (mut ws, peer) = accepted_by(Acceptor::new().limits(limits), Options::default()).await;
        peer.send(bytes);
        let ended = ws.recv().await.unwrap_err();
        assert_eq!(ended.to_string(), format!("protocol error: {expected}"));
        assert_eq!(ended.reason(), expected);
        assert_eq!(
            peer.frame().await,
            Frame::close(ended.code().into(), expected)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_ping_that_came_before_is_answered_before_the_close_frame() {
    let (mut ws, peer) = accepted().await;
    // The second message and the ping are received and not decoded.
    let large = frame::masked(0x82, &vec![7; 20_000]);
    peer.send([large.clone(), large, frame::ping("before")].concat());
    settle().await;
    assert!(ws.recv().await.unwrap().is_some());
    assert!(ws.recv().await.unwrap().is_some());
    ws.begin_close(1000.into(), "").unwrap();
    settle().await;
    let expected = [Frame::pong("before"), Frame::close(1000, "")];
    assert_eq!(peer.take_frames(), expected);
}
