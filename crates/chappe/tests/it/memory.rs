//! The memory that connections may hold together: who holds most pays when it is spent.

use chappe::{Acceptor, Cause, Memory, Message, Prepared, State};

use crate::endpoint::{accepted_by, echo, ended, limits, served_by, settle};
use crate::frame::{self, Frame};
use crate::wire::{Options, Peer, wire};

/// A message of so many bytes, all but its last byte, and that.
fn nearly_whole(bytes: usize) -> (Vec<u8>, Vec<u8>) {
    let mut begin = frame::masked(0x82, &vec![7; bytes]);
    let last = begin.split_off(begin.len() - 1);
    (begin, last)
}

#[tokio::test(start_paused = true)]
async fn connection_that_holds_most_is_closed_when_the_memory_is_spent() {
    let memory = Memory::new(300_000);
    let acceptor = Acceptor::new().memory(&memory);
    let (small, _task) = served_by(acceptor.clone(), Options::default(), echo).await;
    let (large, large_task) = served_by(acceptor.clone(), Options::default(), echo).await;
    let (third, _task) = served_by(acceptor, Options::default(), echo).await;
    let (small_begin, small_last) = nearly_whole(20_000);
    let (large_begin, large_last) = nearly_whole(250_000);
    let (third_begin, third_last) = nearly_whole(60_000);
    small.send(small_begin);
    large.send(&large_begin);
    settle().await;
    for peer in [&small, &large] {
        assert_eq!(peer.take_frames(), [], "there is enough");
    }
    // It is not the one that grows who is closed, but the one that holds most.
    third.send(third_begin);
    assert_eq!(large.frame().await, Frame::close(1013, "out of memory"));
    large.send(large_last);
    large.send_end();
    assert_eq!(ended(large_task).await.cause(), Cause::Overloaded);
    assert!(memory.held_bytes() < 300_000, "{memory:?}");

    // The others never notice.
    small.send(small_last);
    assert_eq!(small.frame().await, Frame::binary(&vec![7; 20_000]));
    third.send(third_last);
    assert_eq!(third.frame().await, Frame::binary(&vec![7; 60_000]));
}

#[tokio::test(start_paused = true)]
async fn what_a_peer_does_not_read_counts_unless_it_is_prepared() {
    let acceptor = Acceptor::new()
        .memory(&Memory::new(50_000))
        .outbox_bytes_max(1_000_000);
    let (ws, peer) = accepted_by(acceptor, Options::default()).await;
    peer.take_only(0);
    let prepared = Prepared::binary(&[7; 10_000]);
    for _ in 0..10 {
        ws.send_prepared(&prepared).await.unwrap();
        settle().await;
    }
    assert_eq!(
        ws.state(),
        State::Open,
        "100,000 bytes, which are shared with all"
    );
    ws.send(Message::from(vec![7; 60_000])).await.unwrap();
    assert_eq!(ws.closed().await.cause(), Cause::Overloaded);
}

/// How connections take their memory one after the other.
#[derive(Clone, Copy, Debug)]
enum Taking {
    /// By a message that is not complete.
    Partial,
    /// By replies that are not read.
    Unread,
    /// By a message that the handler holds while it waits for room to send another.
    Held,
}

#[tokio::test(start_paused = true)]
async fn the_sum_stays_within_the_bound_however_it_is_taken() {
    const BOUND: usize = 4_000_000;
    const EACH: usize = 100_000;
    for taking in [Taking::Partial, Taking::Unread, Taking::Held] {
        let memory = Memory::new(BOUND);
        let acceptor = Acceptor::new().memory(&memory).outbox_bytes_max(10_000);
        let (bystander, _task) = served_by(acceptor.clone(), Options::default(), echo).await;
        let mut peers = Vec::new();
        for number in 0..100 {
            let acceptor = acceptor.clone();
            let (peer, _) = served_by(acceptor, Options::default(), echo).await;
            let message = frame::masked(0x82, &vec![7; EACH]);
            match taking {
                Taking::Partial => peer.send(&message[..message.len() - 1]),
                Taking::Unread => {
                    peer.take_only(0);
                    peer.send(&message);
                }
                Taking::Held => {
                    peer.take_only(0);
                    peer.send(frame::masked(0x82, &[7; 10_000]));
                    peer.send(&message);
                }
            }
            settle().await;
            let held = memory.held_bytes();
            assert!(held <= BOUND + EACH, "{taking:?}: {held} bytes by {number}");
            peers.push(peer);
        }
        assert!(memory.held_bytes() > BOUND / 2, "{taking:?}: {memory:?}");
        // Those that can't be told are dropped after the closing timeout.
        tokio::time::sleep(std::time::Duration::from_secs(6)).await;
        let shed = peers.iter().filter(|peer| {
            let closed = Frame::close(1013, "out of memory");
            peer.is_dropped() || peer.take_frames().contains(&closed)
        });
        let shed = shed.count();
        assert!(shed >= 60, "{taking:?}: {shed} of 100 are closed");
        bystander.send(frame::text("still here"));
        assert_eq!(bystander.frame().await, Frame::text("still here"));
        // All that is held is given back.
        for peer in peers {
            peer.fail_reads(std::io::ErrorKind::ConnectionReset);
            peer.fail_writes(std::io::ErrorKind::ConnectionReset);
        }
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        assert_eq!(memory.held_bytes(), 0, "{taking:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_closing_is_cut_off_for_what_it_holds() {
    let memory = Memory::new(100_000);
    let acceptor = Acceptor::new().memory(&memory).outbox_bytes_max(1_000_000);
    let (ws, peer) = accepted_by(acceptor.clone(), Options::default()).await;
    peer.take_only(0);
    ws.send(vec![0; 90_000]).await.unwrap();
    ws.begin_close(1000.into(), "").unwrap();
    settle().await;
    let (other, reader) = accepted_by(acceptor, Options::default()).await;
    assert!(!peer.is_dropped(), "there is enough");
    reader.take_only(0);
    other.send(vec![0; 50_000]).await.unwrap();
    settle().await;
    assert!(peer.is_dropped(), "there is not");
    assert_eq!(ws.closed().await.cause(), Cause::Eof);
    assert_eq!(other.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn heads_that_are_not_complete_count() {
    let memory = Memory::new(160_000);
    let acceptor = Acceptor::new().memory(&memory);
    let begin = format!("GET / HTTP/1.1\r\nCookie: {}", "c".repeat(9000));
    let mut handshakes = Vec::new();
    for number in 0..8 {
        let (wire, peer) = wire(Options::default());
        let acceptor = acceptor.clone();
        let handshake = tokio::spawn(async move { acceptor.accept(wire).await.map(drop) });
        peer.send(&begin);
        settle().await;
        let held = memory.held_bytes();
        assert!(held <= 40_000 + 10_000, "{held} bytes by {number}");
        handshakes.push((peer, handshake));
    }
    assert!(memory.held_bytes() > 30_000, "{memory:?}");
    let refused = |(peer, _): &&(Peer, _)| peer.written().starts_with(b"HTTP/1.1 503 ");
    assert_eq!(handshakes.iter().filter(refused).count(), 4);
    for (peer, _) in &handshakes {
        peer.send_end();
    }
    for (_, handshake) in handshakes {
        assert!(handshake.await.unwrap().is_err());
    }
    assert_eq!(memory.held_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_received_and_dropped_is_not_held() {
    let memory = Memory::new(usize::MAX);
    let limits = limits(|limits| limits.ping_interval = None);
    let acceptor = Acceptor::new().memory(&memory).limits(limits);
    let (mut ws, peer) = accepted_by(acceptor, Options::default()).await;
    peer.send(frame::masked(0x82, &vec![7; 200_000]));
    assert_eq!(ws.recv().await.unwrap().unwrap().len(), 200_000);
    settle().await;
    assert!(memory.held_bytes() >= 200_000, "the application has it");
    let receiving = tokio::spawn(async move { ws.recv().await.map(drop) });
    settle().await;
    assert_eq!(memory.held_bytes(), 0, "it has asked for the next");
    peer.send_end();
    assert!(receiving.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_message_that_a_handler_holds_counts_though_it_sends_others() {
    let memory = Memory::new(usize::MAX);
    let acceptor = Acceptor::new().memory(&memory);
    let (peer, _task) = served_by(acceptor, Options::default(), |mut ws, _| async move {
        let message = ws.recv().await?.ok_or("a message comes first")?;
        ws.send("ack").await?;
        std::future::pending::<()>().await;
        drop(message);
        Ok(())
    })
    .await;
    peer.send(frame::masked(0x82, &vec![7; 200_000]));
    assert_eq!(peer.frame().await, Frame::text("ack"));
    settle().await;
    assert!(memory.held_bytes() >= 200_000, "{memory:?}");
}

#[tokio::test(start_paused = true)]
async fn messages_of_a_connection_that_is_gone_count_until_they_are_taken() {
    let memory = Memory::new(usize::MAX);
    let acceptor = Acceptor::new().memory(&memory);
    let (mut ws, peer) = accepted_by(acceptor, Options::default()).await;
    peer.send(frame::masked(0x82, &vec![7; 200_000]));
    settle().await;
    peer.fail_reads(std::io::ErrorKind::ConnectionReset);
    peer.dropped().await;
    settle().await;
    assert!(memory.held_bytes() >= 200_000, "{memory:?}");
    assert_eq!(ws.recv().await.unwrap().unwrap().len(), 200_000);
    assert!(ws.recv().await.is_err());
    assert_eq!(memory.held_bytes(), 0);
}
