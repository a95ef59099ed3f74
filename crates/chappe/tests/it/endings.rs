//! How a peer's end meets an application that is still at work: nothing that came before is lost, nor
//! what is replied to it, and no connection outlives its peer.

use std::future::pending;
use std::io::ErrorKind;
use std::time::Duration;

use chappe::{Acceptor, BoxError, Cause, Message, Request, State, WebSocket};
use tokio::time::{Instant, sleep, timeout};

use crate::endpoint::{accepted, accepted_by, echo, ended, limits, served, served_by, settle};
use crate::frame::{self, Frame};
use crate::promises::{messages, replies};
use crate::wire::{Options, Peer};

/// How a peer ends its side, behind what it has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PeersEnd {
    CloseFrame,
    CloseFrameAndStream,
    Stream,
}

const PEERS_ENDS: [PeersEnd; 3] = [
    PeersEnd::CloseFrame,
    PeersEnd::CloseFrameAndStream,
    PeersEnd::Stream,
];

impl PeersEnd {
    /// Sends all this at once, and ends.
    fn send_behind(self, peer: &Peer, mut bytes: Vec<u8>) {
        if self != Self::Stream {
            bytes.extend(frame::close(4321, "bye"));
        }
        peer.send(bytes);
        if self != Self::CloseFrame {
            peer.send_end();
        }
    }

    /// What the library answers, behind its replies.
    fn answer(self) -> Vec<Frame> {
        match self {
            Self::Stream => vec![],
            _ => vec![Frame::close(4321, "")],
        }
    }

    fn cause(self) -> Cause {
        match self {
            Self::Stream => Cause::Eof,
            _ => Cause::ClosingHandshake,
        }
    }
}

/// Replies to each message after a while.
async fn think_and_reply(mut ws: WebSocket, _: Request) -> Result<(), BoxError> {
    while let Some(message) = ws.recv().await? {
        sleep(Duration::from_millis(100)).await;
        ws.send(message).await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_last_requests_are_replied_to_before_the_peers_end_is_answered() {
    for end in PEERS_ENDS {
        for count in [1, 3, 20] {
            let (peer, task) = served(think_and_reply).await;
            end.send_behind(&peer, messages(count));
            peer.shut_down().await;
            let expected = [replies(count), end.answer()].concat();
            assert_eq!(peer.take_frames(), expected, "{end:?}");
            peer.send_end();
            let ended = ended(task).await;
            assert_eq!(ended.cause(), end.cause(), "{end:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_requests_are_replied_to_by_another_task_too() {
    for end in PEERS_ENDS {
        let (ws, peer) = accepted().await;
        let (sender, mut receiver) = ws.split();
        end.send_behind(&peer, messages(2));
        for number in 0..2 {
            let message = receiver.recv().await.unwrap().expect("a message");
            settle().await;
            sender.send(message).await.unwrap();
            settle().await;
            assert_eq!(peer.take_frames(), [Frame::text(&number.to_string())]);
            assert_eq!(sender.state(), State::Closing, "the peer has ended");
        }
        let last = receiver.recv().await;
        assert_eq!(last.is_ok(), end != PeersEnd::Stream, "{end:?}: {last:?}");
        settle().await;
        assert_eq!(peer.take_frames(), end.answer());
        assert!(sender.send("late").await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn echoes_of_a_full_outbox_come_before_the_answer_to_a_close_frame() {
    for end in PEERS_ENDS {
        let (peer, _task) = served(echo).await;
        peer.take_only(0);
        let large = vec![7; 65_536];
        let bytes = [frame::masked(0x82, &large), messages(10)].concat();
        end.send_behind(&peer, bytes);
        settle().await;
        peer.take_all();
        peer.shut_down().await;
        let expected = [vec![Frame::binary(&large)], replies(10), end.answer()].concat();
        assert_eq!(peer.take_frames(), expected, "{end:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_waits_for_nothing_is_answered_at_once() {
    for end in PEERS_ENDS {
        // The application waits for the next message,
        let (peer, _task) = served(echo).await;
        peer.send(frame::text("0"));
        settle().await;
        // or for the end, after it was given a message,
        let (feed, _task) = served(|mut ws, _| async move {
            let message = ws.recv().await?.ok_or("a message comes first")?;
            ws.send(message).await?;
            ws.closed().await;
            Ok(())
        })
        .await;
        feed.send(frame::text("0"));
        settle().await;
        // or never asked for any,
        let (deaf, _task) = served(|_ws, _| pending()).await;
        // or has gone.
        let (ws, left) = accepted().await;
        let (_sender, receiver) = ws.split();
        drop(receiver);
        for (peer, count) in [(peer, 1), (feed, 1), (deaf, 0), (left, 0)] {
            let begin = Instant::now();
            end.send_behind(&peer, vec![]);
            settle().await;
            if end == PeersEnd::Stream {
                assert!(peer.is_dropped() || peer.is_shut_down(), "{count}");
            }
            let expected = [replies(count), end.answer()].concat();
            assert_eq!(peer.take_frames(), expected, "{end:?}");
            assert_eq!(begin.elapsed(), Duration::ZERO);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_application_that_does_not_take_what_came_before_is_waited_for_in_vain() {
    for end in PEERS_ENDS {
        for (count, later) in [1, 16, 17, 60]
            .map(|count| [(count, false), (count, true)])
            .concat()
        {
            for waits_for in ["the end", "something else"] {
                let (peer, task) = served(move |ws, _| async move {
                    if waits_for == "the end" {
                        ws.closed().await;
                    } else {
                        sleep(Duration::from_secs(3600)).await;
                    }
                    Ok(())
                })
                .await;
                let begin = Instant::now();
                let mut bytes = frame::masked(0x82, &[7; 1000]).repeat(count);
                if later {
                    // It comes when nothing more is decoded.
                    peer.send(std::mem::take(&mut bytes));
                    settle().await;
                }
                end.send_behind(&peer, bytes);
                let what = format!("{end:?} behind {count} messages, waiting for {waits_for}");
                let dropped = timeout(Duration::from_secs(60), peer.dropped()).await;
                dropped.unwrap_or_else(|_| panic!("{what}: still there"));
                assert_eq!(peer.take_frames(), end.answer(), "{what}");
                // The closing timeout, and as long again if the peer does not end its stream.
                let seconds = if end == PeersEnd::CloseFrame { 10 } else { 5 };
                assert_eq!(begin.elapsed().as_secs(), seconds, "{what}");
                assert_eq!(ended(task).await.cause(), end.cause(), "{what}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_fails_while_nothing_is_read_is_found_out() {
    // More than is kept, so that reading stops.
    let bytes = frame::masked(0x82, &[7; 1000]).repeat(100);
    let waits: [fn(WebSocket) -> _; 3] = [
        |ws| Box::pin(async move { drop(ws.closed().await) }) as Waits,
        |ws| Box::pin(async move { drop(ws.ping().await) }) as Waits,
        |ws| Box::pin(async move { while ws.send(vec![0; 1000]).await.is_ok() {} }) as Waits,
    ];
    for wait in waits {
        let (peer, task) = served(move |ws, _| async move {
            wait(ws).await;
            Ok(())
        })
        .await;
        peer.send(&bytes);
        settle().await;
        peer.send_end();
        peer.fail_writes(ErrorKind::BrokenPipe);
        let begin = Instant::now();
        let ended = timeout(Duration::from_secs(3600), ended(task)).await;
        let ended = ended.expect("it is found out");
        assert_eq!(ended.cause(), Cause::Eof);
        // A ping, its pong's timeout, another ping at the latest, and the closing timeout.
        assert!(
            begin.elapsed() <= Duration::from_secs(45),
            "{:?}",
            begin.elapsed()
        );
        assert!(peer.is_dropped());
    }
}

type Waits = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

#[tokio::test(start_paused = true)]
async fn messages_that_were_read_before_the_stream_failed_are_received() {
    let (mut ws, peer) = accepted().await;
    peer.send(messages(3));
    settle().await;
    peer.fail_writes(ErrorKind::BrokenPipe);
    ws.send("lost").await.unwrap();
    settle().await;
    assert!(ws.send("late").await.is_err());
    for number in 0..3 {
        let message = ws.recv().await.unwrap().expect("a message");
        assert_eq!(message, Message::from(number.to_string()));
    }
    peer.send(frame::close(1008, "why"));
    assert_eq!(ws.recv().await.unwrap(), None);
    let ended = ws.closed().await;
    assert_eq!((u16::from(ended.code()), ended.reason()), (1008, "why"));
}

#[tokio::test(start_paused = true)]
async fn no_message_is_received_after_some_were_dropped() {
    for arrives in ["before", "after"] {
        let acceptor = Acceptor::new().limits(limits(|limits| limits.ping_interval = None));
        let (ws, peer) = accepted_by(acceptor, Options::default()).await;
        let (sender, mut receiver) = ws.split();
        if arrives == "before" {
            peer.send(messages(8));
            settle().await;
        }
        let first = match arrives {
            "before" => receiver.recv().await.unwrap(),
            _ => None,
        };
        let closing = sender.clone();
        let close = tokio::spawn(async move { closing.close(1000.into(), "").await });
        settle().await;
        if arrives == "after" {
            peer.send(messages(8));
        }
        let last = tokio::spawn(async move { receiver.recv().await });
        settle().await;
        assert!(!last.is_finished(), "{arrives}: {first:?}, and then?");
        peer.send(frame::close(1000, ""));
        peer.send_end();
        assert_eq!(last.await.unwrap().unwrap(), None);
        close.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn handler_that_is_done_answers_the_peers_close_frame() {
    let (peer, task) = served_by(
        Acceptor::new(),
        Options::default(),
        |mut ws, _| async move {
            let message = ws.recv().await?.ok_or("a message comes first")?;
            sleep(Duration::from_millis(100)).await;
            ws.send(message).await?;
            Ok(())
        },
    )
    .await;
    let bytes = [messages(3), frame::close(4321, "bye")].concat();
    peer.send(bytes);
    peer.shut_down().await;
    let expected = [Frame::text("0"), Frame::close(4321, "")];
    assert_eq!(peer.take_frames(), expected);
    peer.send_end();
    assert!(ended(task).await.is_clean());
}
