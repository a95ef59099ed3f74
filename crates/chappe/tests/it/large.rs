//! Messages larger than a read, which are read to where they belong.

use chappe::Message;
use tokio::sync::oneshot;

use crate::endpoint::{accepted, connected, echo, served, settle};
use crate::frame::{self, Frame};

const MIB: usize = 1024 * 1024;

/// Text of this many bytes, in which characters of one to four bytes take turns.
fn text(bytes: usize) -> String {
    let mut text = "aé漢🚀".repeat(bytes / 10);
    text.push_str(&"x".repeat(bytes % 10));
    text
}

/// A large message of either kind, and the first byte of its frame.
fn messages() -> [(u8, Message); 2] {
    let text = text(MIB);
    [
        (0x82, text.clone().into_bytes().into()),
        (0x81, text.into()),
    ]
}

#[tokio::test(start_paused = true)]
async fn message_that_is_there_is_read_in_few_calls() {
    for (first, message) in messages() {
        for from_client in [true, false] {
            let payload = message.as_bytes();
            let (mut ws, peer, input) = if from_client {
                let (ws, peer) = accepted().await;
                (ws, peer, frame::masked(first, payload))
            } else {
                let (ws, peer) = connected().await;
                (ws, peer, frame::plain(first, payload))
            };
            peer.take_calls();
            peer.send(input);
            let received = ws.recv().await.unwrap().expect("a message");
            assert!(received == message, "{first:02x}, {from_client}");
            // 64 KiB, then each time as much as is there already, then what is left.
            let reads = peer.take_calls().reads;
            assert!(reads <= 6, "{reads} reads for 1 MiB");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn message_comes_back_however_it_is_cut() {
    for (first, message) in messages() {
        let payload = message.as_bytes();
        let whole = [
            frame::ping("before"),
            frame::masked(first, payload),
            frame::ping("behind"),
            frame::text("next"),
        ]
        .concat();
        let fragments = [
            frame::ping("before"),
            frame::masked(first & 0x0f, &payload[..300_001]),
            frame::masked(0x00, &payload[300_001..300_001]),
            frame::masked(0x00, &payload[300_001..700_003]),
            frame::masked(0x80, &payload[700_003..]),
            frame::ping("behind"),
            frame::text("next"),
        ]
        .concat();
        for input in [whole, fragments] {
            for piece_bytes in [1001, 32 * 1024, 65_535, 100_003, 400_009, usize::MAX] {
                let (peer, _task) = served(echo).await;
                for piece in input.chunks(piece_bytes) {
                    peer.send(piece);
                }
                assert_eq!(peer.frame().await, Frame::pong("before"), "{piece_bytes}");
                // The pong is ready as soon as its ping is decoded, the reply once its handler
                // was asked: either may come first.
                let mut frames = [peer.frame().await, peer.frame().await];
                frames.sort_by_key(|frame| frame.payload.len());
                assert_eq!(frames[0], Frame::pong("behind"), "{piece_bytes}");
                let reply = &frames[1];
                assert!(
                    reply.first == first && reply.payload == payload[..],
                    "{piece_bytes}"
                );
                assert_eq!(peer.frame().await, Frame::text("next"), "{piece_bytes}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn invalid_text_fails_as_soon_as_it_is_there() {
    let mut text = text(MIB).into_bytes();
    text[700_000] = 0xff;
    let input = frame::masked(0x81, &text);
    let (mut ws, peer) = accepted().await;
    peer.send(&input[..699_000]);
    settle().await;
    assert_eq!(peer.take_frames(), [], "nothing is wrong so far");
    peer.send(&input[699_000..710_000]);
    assert_eq!(peer.frame().await.close_code(), Some(1007));
    peer.send(&input[710_000..]);
    peer.send_end();
    let ended = ws.recv().await.unwrap_err();
    assert_eq!(u16::from(ended.code()), 1007, "{ended}");
}

#[tokio::test(start_paused = true)]
async fn message_that_is_cut_off_is_not_handed_out() {
    for (first, message) in messages() {
        let (mut ws, peer) = accepted().await;
        peer.send(&frame::masked(first, message.as_bytes())[..MIB]);
        peer.send_end();
        let ended = ws.recv().await.unwrap_err();
        assert!(!ended.is_clean(), "{ended}");
        peer.dropped().await;
    }
}

#[tokio::test(start_paused = true)]
async fn amid_a_message_others_are_sent_at_once() {
    let (ws, peer) = accepted().await;
    let (sender, mut receiver) = ws.split();
    let (tell, told) = oneshot::channel();
    tokio::spawn(async move {
        tell.send(receiver.recv().await).unwrap();
    });
    let (first, message) = &messages()[0];
    let input = frame::masked(*first, message.as_bytes());
    let mut sent = 0;
    for end in [65_536, 65_537, 131_072, 500_000, 1_000_000, 1_040_000] {
        peer.send(&input[sent..end]);
        sent = end;
        settle().await;
        sender.send(end.to_string()).await.unwrap();
        settle().await;
        assert_eq!(
            peer.take_frames(),
            [Frame::text(&end.to_string())],
            "after {end} bytes"
        );
    }
    peer.send(&input[sent..]);
    let arrived = told.await.unwrap().unwrap().expect("a message");
    assert!(arrived == *message);
}
