//! What many connections send is copied for none of them.

use chappe::{Acceptor, Message, Prepared, Utf8Bytes};

use crate::endpoint::{accepted, accepted_by, connected, settle};
use crate::frame::Frame;
use crate::wire::Options;

/// Whether the bytes were offered to be written from where they stand.
fn is_where_it_stands(slices: &[std::ops::Range<usize>], bytes: &[u8]) -> bool {
    let range = bytes.as_ptr_range();
    slices.contains(&(range.start.addr()..range.end.addr()))
}

#[tokio::test(start_paused = true)]
async fn prepared_message_is_written_to_every_connection_from_where_it_stands() {
    let news = "news ".repeat(200);
    let prepared = Prepared::text(&news);
    for _ in 0..100 {
        let (ws, peer) = accepted().await;
        ws.send("before").await.unwrap();
        ws.send_prepared(&prepared).await.unwrap();
        ws.send("between").await.unwrap();
        ws.try_send_prepared(&prepared).unwrap();
        settle().await;
        let news = Frame::text(&news);
        let expected = [
            Frame::text("before"),
            news.clone(),
            Frame::text("between"),
            news,
        ];
        assert_eq!(peer.take_frames(), expected);
        let slices = peer.take_slices();
        assert_eq!(slices.len(), 4, "{slices:?}");
        assert!(
            is_where_it_stands(&slices[1..2], prepared.frame()),
            "it was copied"
        );
        assert!(
            is_where_it_stands(&slices[3..], prepared.frame()),
            "it was copied"
        );
        assert_eq!(peer.take_calls().writes, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn large_payload_is_written_from_where_it_stands() {
    let large = "x".repeat(5000);
    for message in [
        Message::from(Utf8Bytes::from(large.clone())),
        large.into_bytes().into(),
    ] {
        let (ws, peer) = accepted().await;
        ws.send(message.clone()).await.unwrap();
        settle().await;
        let slices = peer.take_slices();
        assert!(
            is_where_it_stands(&slices, message.as_bytes()),
            "it was copied"
        );
        assert_eq!(peer.take_frames()[0].payload, message.as_bytes());
    }
}

#[tokio::test(start_paused = true)]
async fn small_payloads_are_written_in_one_slice() {
    let (ws, peer) = accepted().await;
    for _ in 0..10 {
        ws.send("x".repeat(4096)).await.unwrap();
    }
    settle().await;
    assert_eq!(peer.take_slices().len(), 1);
    assert_eq!(peer.take_frames().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn many_prepared_messages_leave_in_order_in_few_writes() {
    let (ws, peer) = accepted().await;
    let payload = |number: u16| number.to_be_bytes().repeat(260);
    let prepared: Vec<_> = (0..120_u16)
        .map(|number| Prepared::binary(&payload(number)))
        .collect();
    for prepared in &prepared {
        ws.send_prepared(prepared).await.unwrap();
    }
    settle().await;
    let expected: Vec<_> = (0..120_u16)
        .map(|number| Frame::binary(&payload(number)))
        .collect();
    assert_eq!(peer.take_frames(), expected);
    assert_eq!(peer.take_calls().writes, 2, "64 slices in each");
}

#[tokio::test(start_paused = true)]
async fn small_prepared_messages_are_written_in_one_slice() {
    let (ws, peer) = accepted().await;
    let prepared = Prepared::text(&"x".repeat(500));
    for _ in 0..10 {
        ws.send_prepared(&prepared).await.unwrap();
    }
    settle().await;
    assert_eq!(peer.take_slices().len(), 1);
    assert_eq!(peer.take_frames().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn short_messages_prepared_one_after_the_other_are_written_from_where_they_stand() {
    let mut connections = Vec::new();
    for _ in 0..10 {
        connections.push(accepted().await);
    }
    let news: Vec<_> = (0..16).map(|number| format!("news {number}")).collect();
    let prepared: Vec<_> = news.iter().map(|news| Prepared::text(news)).collect();
    for prepared in &prepared {
        for (ws, _) in &connections {
            ws.try_send_prepared(prepared).unwrap();
        }
    }
    settle().await;
    let first = prepared[0].frame().as_ptr().addr();
    let end = prepared[15].frame().as_ptr_range().end.addr();
    for (_, peer) in &connections {
        assert_eq!(peer.take_slices(), vec![first..end], "they were copied");
        let frames: Vec<_> = news.iter().map(|news| Frame::text(news)).collect();
        assert_eq!(peer.take_frames(), frames);
        assert_eq!(peer.take_calls().writes, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn stream_that_takes_one_slice_at_a_time_gets_all_in_one() {
    let options = Options {
        vectored: false,
        ..Options::default()
    };
    let (ws, peer) = accepted_by(Acceptor::new(), options).await;
    let news = "news ".repeat(200);
    let prepared = Prepared::text(&news);
    for _ in 0..50 {
        ws.send("own").await.unwrap();
        ws.send_prepared(&prepared).await.unwrap();
    }
    settle().await;
    let expected = vec![[Frame::text("own"), Frame::text(&news)]; 50].concat();
    assert_eq!(peer.take_frames(), expected);
    assert_eq!(peer.take_calls().writes, 1);
}

#[tokio::test(start_paused = true)]
async fn prepared_messages_leave_in_order_however_few_bytes_the_stream_takes() {
    for vectored in [true, false] {
        let options = Options {
            vectored,
            stutter: true,
            cooperative: true,
        };
        let (ws, peer) = accepted_by(Acceptor::new(), options).await;
        let news = "news ".repeat(200);
        let prepared = Prepared::text(&news);
        for _ in 0..5 {
            ws.send("own").await.unwrap();
            ws.send_prepared(&prepared).await.unwrap();
        }
        ws.flush().await.unwrap();
        let expected = vec![[Frame::text("own"), Frame::text(&news)]; 5].concat();
        assert_eq!(peer.take_frames(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn client_masks_what_was_prepared_and_leaves_it_as_it_is() {
    let (ws, peer) = connected().await;
    let prepared = Prepared::text("news");
    let large = Message::from(vec![5; 10_000]);
    ws.send_prepared(&prepared).await.unwrap();
    ws.send(large.clone()).await.unwrap();
    settle().await;
    assert!(!is_where_it_stands(&peer.take_slices(), prepared.frame()));
    let written = peer.written();
    assert_eq!(written[1] & 0x80, 0x80, "masked");
    assert_eq!(
        peer.take_frames(),
        [Frame::text("news"), Frame::binary(large.as_bytes())]
    );
    assert_eq!(&prepared.frame()[..], b"\x81\x04news");
}
