//! The memory that connections may hold together: who holds most pays when it is spent.

use chappe::{Acceptor, Cause, Memory, Message, Prepared, State};

use crate::endpoint::{accepted_by, echo, ended, served_by, settle};
use crate::frame::{self, Frame};
use crate::wire::Options;

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
