//! The memory that connections may hold together: who holds most pays when it is spent.

use chappe::{Acceptor, Cause, Message, Prepared, State};

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
    let acceptor = Acceptor::new().memory_bytes_max(300_000);
    let (small, _task) = served_by(acceptor.clone(), Options::default(), echo).await;
    let (large, large_task) = served_by(acceptor.clone(), Options::default(), echo).await;
    let (third, _task) = served_by(acceptor, Options::default(), echo).await;
    let (small_begin, small_last) = nearly_whole(20_000);
    let (large_begin, large_last) = nearly_whole(250_000);
    let (third_begin, third_last) = nearly_whole(60_000);
    small.send(small_begin);
    large.send(&large_begin);
    settle().await;
    // More than there is, by one that holds less than a third of it: nobody is closed.
    third.send(third_begin);
    settle().await;
    for peer in [&small, &large, &third] {
        assert_eq!(peer.take_frames(), []);
    }

    // What is whole and answered is held no more; who then takes most again is closed.
    large.send(large_last);
    assert_eq!(large.frame().await, Frame::binary(&vec![7; 250_000]));
    large.send(large_begin);
    assert_eq!(large.frame().await, Frame::close(1013, "out of memory"));
    large.send_end();
    assert_eq!(ended(large_task).await.cause(), Cause::Overloaded);

    // The others never notice.
    small.send(small_last);
    assert_eq!(small.frame().await, Frame::binary(&vec![7; 20_000]));
    third.send(third_last);
    assert_eq!(third.frame().await, Frame::binary(&vec![7; 60_000]));
}

#[tokio::test(start_paused = true)]
async fn what_a_peer_does_not_read_counts_unless_it_is_prepared() {
    let acceptor = Acceptor::new()
        .memory_bytes_max(50_000)
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
