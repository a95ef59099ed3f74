//! A handler's end is the connection's: with which code, and what else it touches.

use std::fmt;
use std::future::{Future, pending, ready};
use std::sync::Arc;
use std::time::Duration;

use chappe::{Acceptor, BoxError, Cause, CloseCode, Request, State, WebSocket};
use tokio::sync::{mpsc, oneshot};

use crate::endpoint::{
    REQUEST, accepted, accepted_by, echo, ended, limits, served, served_by, settle,
};
use crate::frame::{self, Frame};
use crate::wire::{Options, wire};

/// Checks what a handler's end sends to the peer, behind what the handler has sent.
async fn check<F>(handler: impl FnOnce(WebSocket, Request) -> F + Send + 'static, sent: &[Frame])
where
    F: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let (peer, task) = served(handler).await;
    settle().await;
    assert_eq!(peer.take_frames(), sent);
    let code = sent
        .last()
        .and_then(Frame::close_code)
        .expect("a close frame is last");
    peer.send(frame::close(code, ""));
    peer.shut_down().await;
    peer.send_end();
    let ended = ended(task).await;
    assert!(ended.is_clean(), "{ended}");
    assert_eq!(ended.code(), code.into());
    assert!(peer.is_dropped());
}

#[tokio::test(start_paused = true)]
async fn handler_that_is_done_closes_with_1000_behind_what_it_has_sent() {
    let handler = |ws: WebSocket, _| async move {
        ws.send("last words").await?;
        Ok(())
    };
    check(
        handler,
        &[Frame::text("last words"), Frame::close(1000, "")],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn handler_that_fails_closes_with_1011_behind_what_it_has_sent() {
    let handler = |ws: WebSocket, _| async move {
        ws.send("last words").await?;
        Err("no database".into())
    };
    check(
        handler,
        &[Frame::text("last words"), Frame::close(1011, "")],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn handler_that_panics_closes_with_1011_behind_what_it_has_sent() {
    let handler = |ws: WebSocket, _| async move {
        ws.send("last words").await?;
        panic!("a panic that this test wants");
    };
    check(
        handler,
        &[Frame::text("last words"), Frame::close(1011, "")],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn handler_that_panics_before_it_gives_its_future_closes_with_1011() {
    fn handler(_: WebSocket, _: Request) -> std::future::Ready<Result<(), BoxError>> {
        panic!("a panic that this test wants");
    }
    check(handler, &[Frame::close(1011, "")]).await;
}

#[tokio::test(start_paused = true)]
async fn handler_that_drops_its_connection_and_goes_on_closes_when_it_is_done() {
    let (done, is_done) = oneshot::channel::<()>();
    let (peer, task) = served(|ws, _| async move {
        drop(ws);
        is_done.await?;
        Ok(())
    })
    .await;
    settle().await;
    assert_eq!(peer.written(), b"", "the handler may have failed yet");
    done.send(()).unwrap();
    settle().await;
    assert_eq!(peer.take_frames(), [Frame::close(1000, "")]);
    peer.send(frame::close(1000, ""));
    peer.send_end();
    assert!(ended(task).await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn handler_that_closes_itself_decides_the_code() {
    let (peer, task) = served(|ws, _| async move {
        ws.close(4000.into(), "enough").await?;
        Err("too late to matter".into())
    })
    .await;
    assert_eq!(peer.frame().await, Frame::close(4000, "enough"));
    peer.send(frame::close(4000, ""));
    peer.send_end();
    let ended = ended(task).await;
    assert_eq!((ended.code(), ended.reason()), (4000.into(), "enough"));
    assert_eq!(peer.take_frames(), []);
}

#[tokio::test(start_paused = true)]
async fn handler_whose_send_had_no_room_has_failed() {
    let handler = |ws: WebSocket, _| async move {
        ws.try_send(vec![0; 70_000])?;
        ws.try_send("no room")?;
        Ok(())
    };
    let sent = [Frame::binary(&vec![0; 70_000]), Frame::close(1011, "")];
    check(handler, &sent).await;
}

#[tokio::test(start_paused = true)]
async fn handler_that_fails_with_the_end_of_another_connection_has_failed() {
    let (other, peer) = accepted().await;
    peer.send_end();
    let handler = |_: WebSocket, _| async move {
        let mut other = other;
        other.recv().await?;
        Ok(())
    };
    check(handler, &[Frame::close(1011, "")]).await;
}

/// An error that holds what the handler was given, and uses it to say what it is.
struct Holding(WebSocket);

impl fmt::Debug for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed while {}", self.0.state())
    }
}

impl fmt::Display for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl std::error::Error for Holding {}

#[tokio::test(start_paused = true)]
async fn handler_may_fail_with_an_error_that_holds_its_connection() {
    let handler = |ws: WebSocket, _| async move { Err(Holding(ws).into()) };
    check(handler, &[Frame::close(1011, "")]).await;
}

#[tokio::test(start_paused = true)]
async fn panic_of_one_handler_leaves_other_connections_alone() {
    let (bystander, _task) = served(echo).await;
    let (peer, task) = served(|mut ws, _| async move {
        ws.recv().await?;
        panic!("a panic that this test wants");
    })
    .await;
    peer.send(frame::text("go"));
    assert_eq!(peer.frame().await, Frame::close(1011, ""));
    bystander.send(frame::text("hello"));
    assert_eq!(bystander.frame().await, Frame::text("hello"));
    peer.send_end();
    assert_eq!(ended(task).await.cause(), Cause::Eof);
}

#[tokio::test(start_paused = true)]
async fn handler_may_go_on_after_the_connection_has_ended_while_the_stream_is_gone() {
    let (done, is_done) = oneshot::channel::<()>();
    let (peer, task) = served(|mut ws, _| async move {
        while ws.recv().await.is_ok_and(|message| message.is_some()) {}
        is_done.await?;
        Ok(())
    })
    .await;
    peer.send_end();
    peer.dropped().await;
    settle().await;
    assert!(!task.is_finished(), "the handler has work to do");
    done.send(()).unwrap();
    assert_eq!(ended(task).await.cause(), Cause::Eof);
}

#[tokio::test(start_paused = true)]
async fn handler_gets_the_request_that_opened_the_connection() {
    let (wire, peer) = wire(Options::default());
    let request = REQUEST
        .replace("/chat", "/chat?room=7")
        .replace("Host:", "Cookie: a=b\r\nHost:");
    peer.send(request);
    let acceptor = Acceptor::new();
    let serve = acceptor.serve(wire, |ws, request| {
        assert_eq!(request.uri(), "/chat?room=7");
        assert_eq!(request.headers()["cookie"], "a=b");
        assert_eq!(ws.subprotocol(), None);
        ready(Ok(()))
    });
    let answer = async {
        peer.head().await;
        assert_eq!(peer.frame().await, Frame::close(1000, ""));
        peer.send(frame::close(1000, ""));
        peer.send_end();
    };
    let (ended, ()) = tokio::join!(serve, answer);
    assert!(ended.unwrap().is_clean());
}

#[tokio::test(start_paused = true)]
async fn handlers_that_talk_to_each_other_need_no_task_between_them() {
    let (to_second, from_first) = mpsc::channel::<chappe::Message>(1);
    let forward = |mut ws: WebSocket, _| async move {
        while let Some(message) = ws.recv().await? {
            to_second.send(message).await?;
        }
        Ok(())
    };
    let (first, _task) = served(forward).await;
    let deliver = |ws: WebSocket, _| async move {
        let mut from_first = from_first;
        while let Some(message) = from_first.recv().await {
            ws.send(message).await?;
        }
        Ok(())
    };
    let (second, _task) = served(deliver).await;
    for number in 0..100 {
        first.send(frame::text(&number.to_string()));
    }
    for number in 0..100 {
        assert_eq!(second.frame().await, Frame::text(&number.to_string()));
    }
}

#[tokio::test(start_paused = true)]
async fn serve_that_is_aborted_drops_the_stream_and_tells_the_handles() {
    let (handles, handle) = oneshot::channel();
    let (peer, task) = served(|ws, _| async move {
        let _ = handles.send(ws.sender());
        pending().await
    })
    .await;
    let sender: chappe::Sender = handle.await.unwrap();
    task.abort();
    peer.dropped().await;
    assert_eq!(sender.closed().await.cause(), Cause::Eof);
    assert!(sender.send("late").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn driver_has_its_turn_while_the_handler_never_waits() {
    let (jobs, mut job) = mpsc::unbounded_channel();
    for number in 0..100_000 {
        jobs.send(number).unwrap();
    }
    let (near, far) = tokio::io::duplex(1024);
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_done = done.clone();
    tokio::spawn(async move {
        let handler = |ws: WebSocket, _| async move {
            // A channel that always has something gives way only when the task's budget is spent.
            while job.recv().await.is_some_and(|number| number < 99_999) {}
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            drop(ws);
            Ok(())
        };
        Acceptor::new().serve(near, handler).await
    });
    let ws = chappe::Connector::new("ws://localhost/")
        .connect_on(far)
        .await
        .unwrap();
    ws.ping().await.unwrap();
    assert!(
        !is_done.load(std::sync::atomic::Ordering::Relaxed),
        "the pong came too late"
    );
    ws.close(CloseCode::NORMAL, "").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn slow_handler_does_not_blame_the_peer_for_what_is_held_back() {
    let limits = limits(|limits| limits.pong_timeout = Duration::from_secs(5));
    let acceptor = Acceptor::new().limits(limits);
    let (peer, task) = served_by(acceptor, Options::default(), |mut ws, _| async move {
        while let Some(message) = ws.recv().await? {
            // The peer's pongs stand behind messages that nobody asks for.
            tokio::time::sleep(Duration::from_secs(100)).await;
            ws.send(message).await?;
        }
        Ok(())
    })
    .await;
    let large = frame::masked(0x82, &vec![1; 40_000]);
    let answering = peer.clone();
    let answers = tokio::spawn(async move {
        let mut replies = 0;
        while replies < 12 {
            let frame = answering.frame().await;
            assert_eq!(frame.close_code(), None, "{frame:?}");
            if frame.is_ping() {
                answering.send(frame::pong(&frame.payload));
            } else {
                replies += 1;
            }
        }
    });
    for _ in 0..12 {
        peer.send(&large);
    }
    answers.await.unwrap();
    assert!(!task.is_finished(), "the connection is alive");
}

#[tokio::test(start_paused = true)]
async fn driver_that_is_late_looks_at_what_has_arrived_before_it_blames_the_peer() {
    let (ws, peer) = accepted().await;
    let ping = peer.frame().await;
    settle().await;
    // The task has its turn when the deadline has passed; the pong had come before.
    peer.send_unnoticed(frame::text("message"));
    peer.send_unnoticed(frame::pong(&ping.payload));
    tokio::time::advance(Duration::from_secs(21)).await;
    settle().await;
    assert_eq!(ws.state(), State::Open);
    let next = peer.frame().await;
    assert!(next.is_ping(), "{next:?}");
}

#[tokio::test(start_paused = true)]
async fn driver_that_is_late_keeps_its_deadline_though_the_peer_sends_without_end() {
    let (ws, peer) = accepted_by(Acceptor::new(), Options::default()).await;
    // A message in progress has a deadline, whatever arrives.
    peer.send(frame::masked(0x01, b"begun"));
    settle().await;
    for _ in 0..1000 {
        peer.send_unnoticed(frame::ping("not the end of the message"));
    }
    tokio::time::advance(Duration::from_secs(61)).await;
    settle().await;
    assert_eq!(ws.state(), State::Closing);
    assert_eq!(ws.closed().await.code(), CloseCode::POLICY_VIOLATION);
}
