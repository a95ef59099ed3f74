//! What a connection, and a message that is kept, hold of memory, and how often it is asked for:
//! counted by the allocator.
//!
//! A binary of its own, as the allocator is the whole program's. Each thread counts for itself, and
//! each test is one thread.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]
#![expect(
    unsafe_code,
    reason = "an allocator that counts is an allocator, and the trait is unsafe"
)]

#[allow(dead_code, reason = "shared with the other tests, which use all of it")]
#[path = "it/endpoint.rs"]
mod endpoint;
#[allow(dead_code, reason = "shared with the other tests, which use all of it")]
#[path = "it/frame.rs"]
mod frame;
#[allow(dead_code, reason = "shared with the other tests, which use all of it")]
#[path = "it/wire.rs"]
mod wire;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::{Future, pending};

use chappe::{Acceptor, BoxError, Message, Prepared, WebSocket};

use crate::endpoint::{REQUEST, accepted, served, settle};
use crate::wire::{Options, Peer, wire};

/// The system's allocator, which counts the bytes that live, and how often it gave some.
struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that ends has nobody left who would ask.
    let _ = LIVE.try_with(|live| live.set(live.get() + bytes));
    if bytes > 0 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
    }
}

// SAFETY: every call goes to the system's allocator as it is; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: the caller keeps the trait's rules, which are the system's allocator's too.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: the caller keeps the trait's rules, which are the system's allocator's too.
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    // SAFETY: the caller keeps the trait's rules, which are the system's allocator's too.
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size.cast_signed() - layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that live on this thread.
fn live() -> isize {
    LIVE.get()
}

/// What sharing costs beside the bytes that are shared: a reference count and the like.
const SHARING_BYTES: isize = 64;

#[tokio::test(start_paused = true)]
async fn small_message_that_is_kept_pins_four_kibibytes_at_most() {
    for size in [0, 1, 20, 500, 1024] {
        let (mut ws, peer) = accepted().await;
        let frame = frame::masked(0x82, &vec![1; size]);
        let mut kept = Vec::with_capacity(100);
        let mut before = 0;
        for number in 0..5_000 {
            peer.send(&frame);
            let message = ws.recv().await.unwrap().unwrap();
            if number == 1000 {
                // Buffers of the thread and of the stream are there.
                before = live();
            }
            // One in a hundred: mostly the only one that is kept of its page.
            if number > 1000 && number % 100 == 0 {
                kept.push(message);
            }
        }
        settle().await;
        let pinned = (live() - before) / isize::try_from(kept.len()).unwrap();
        assert!(
            pinned <= 4096 + SHARING_BYTES,
            "{pinned} bytes for a message of {size}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn large_message_that_is_kept_pins_twice_its_size_at_most() {
    for size in [1025, 2000, 5000, 16 * 1024, 65_000, 100_000, 300_000] {
        let payload = vec![b'x'; size];
        let half = size / 2;
        let pieces = [
            vec![frame::masked(0x81, &payload)],
            vec![frame::masked(0x82, &payload)],
            vec![
                frame::masked(0x01, &payload[..half]),
                frame::masked(0x80, &payload[half..]),
            ],
            vec![
                frame::masked(0x02, &payload[..1]),
                frame::masked(0x80, &payload[1..]),
            ],
            frame::masked(0x82, &payload)
                .chunks(700)
                .map(<[u8]>::to_vec)
                .collect(),
            frame::masked(0x81, &payload)
                .chunks(50_000)
                .map(<[u8]>::to_vec)
                .collect(),
        ];
        for (way, pieces) in pieces.into_iter().enumerate() {
            let (mut ws, peer) = accepted().await;
            // Once before, so that buffers of the thread are there.
            let mut pinned = 0;
            let mut kept = Vec::with_capacity(2);
            for _ in 0..2 {
                for piece in &pieces {
                    peer.send(piece);
                }
                settle().await;
                peer.all_read().await;
                let before = live();
                let message = ws.recv().await.unwrap().unwrap();
                assert_eq!(message.len(), size);
                kept.push(message);
                settle().await;
                let with_message = live();
                drop(kept.pop());
                settle().await;
                pinned = with_message - live();
                assert!(before >= 0);
            }
            let most = 2 * size.cast_signed() + SHARING_BYTES;
            assert!(
                pinned <= most,
                "{pinned} bytes for a message of {size}, sent in way {way}"
            );
            assert!(pinned >= size.cast_signed(), "the message was kept");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn handler_that_is_parked_with_unread_input_holds_no_more_than_that() {
    let stuck = |mut ws: WebSocket, _| async move {
        ws.recv().await?;
        pending().await
    };
    // Once before, so that buffers of the thread are there.
    for warm in [false, true] {
        let (peer, _task) = served(stuck).await;
        settle().await;
        let first = frame::text("first");
        let ahead = frame::masked(0x82, &vec![1; 20_000]);
        let parked = frame::masked(0x82, &vec![2; 30_000]);
        let bytes = [first, ahead, parked.clone()].concat();
        let before = live();
        peer.send(&bytes);
        settle().await;
        assert_eq!(peer.unread(), 0, "all was read at once");
        let held = live() - before;
        // One message decoded ahead, in a queue, and the rest of the bytes.
        let exact = 20_000 + parked.len().cast_signed();
        assert!(
            !warm || (exact..exact + 1024).contains(&held),
            "{held} bytes, and not {exact}"
        );
    }
}

/// Bytes that each of many idle connections holds: right after its handshake, and after it
/// has echoed a small and a large message.
async fn bytes_of_idle_connections<F>(start: impl Fn(wire::Wire) -> F) -> (isize, isize)
where
    F: Future<Output = ()>,
{
    const CONNECTIONS: isize = 20;
    let mut wires = Vec::new();
    let mut peers: Vec<Peer> = Vec::new();
    for _ in 0..CONNECTIONS {
        let (wire, peer) = wire(Options::default());
        peer.send(REQUEST);
        wires.push(wire);
        peers.push(peer);
    }
    let before = live();
    for wire in wires {
        start(wire).await;
    }
    settle().await;
    for peer in &peers {
        peer.head().await;
        // What the stream holds of its own is not counted.
        peer.take_written();
        peer.take_slices();
        peer.take_calls();
    }
    let opened = live() - before;
    for peer in &peers {
        for length in [10, 10_000, 200_000] {
            peer.send(frame::masked(0x82, &vec![1; length]));
            assert_eq!(peer.frame().await.payload.len(), length);
        }
        peer.take_written();
        peer.take_slices();
    }
    settle().await;
    let used = live() - before;
    (opened / CONNECTIONS, used / CONNECTIONS)
}

async fn echo(mut ws: WebSocket) -> Result<(), BoxError> {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}

async fn serve_echo(wire: wire::Wire) {
    // The request is dropped here; a handler that keeps it keeps its headers.
    let handler = |ws, _| echo(ws);
    tokio::spawn(async move { Acceptor::new().serve(wire, handler).await });
}

async fn accept_echo(wire: wire::Wire) {
    let ws = Acceptor::new().accept(wire).await.unwrap();
    tokio::spawn(echo(ws));
}

#[tokio::test(start_paused = true)]
async fn idle_connection_holds_little() {
    // Once before, so that buffers of the thread are there.
    bytes_of_idle_connections(serve_echo).await;
    let (opened, used) = bytes_of_idle_connections(serve_echo).await;
    assert!(opened <= 1536, "{opened} bytes with its handler");
    assert!(
        used <= opened + 256,
        "{used} bytes with its handler, after use"
    );
    let (opened, used) = bytes_of_idle_connections(accept_echo).await;
    assert!(opened <= 1536, "{opened} bytes with two tasks");
    assert!(
        used <= opened + 256,
        "{used} bytes with two tasks, after use"
    );
}

#[tokio::test(start_paused = true)]
async fn natural_loop_allocates_once_per_page_of_messages_at_most() {
    for size in [20, 125, 1000] {
        let (peer, _task) = served(|ws, _| echo(ws)).await;
        let together = 16;
        let segment = frame::masked(0x82, &vec![b'x'; size]).repeat(together);
        let mut allocations = 0;
        for round in 0..110 {
            peer.send(&segment);
            let before = ALLOCATIONS.get();
            settle().await;
            // Ten rounds to get the buffers of the thread and of the stream.
            if round >= 10 {
                allocations += ALLOCATIONS.get() - before;
            }
            assert_eq!(peer.take_frames().len(), together);
        }
        let pages = 100 * together * size / 4096;
        assert!(
            allocations <= pages,
            "{allocations} allocations for {pages} pages of messages of {size} bytes"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn prepared_message_costs_a_connection_that_does_not_read_a_reference() {
    let prepared = Prepared::binary(&vec![0; 60_000]);
    let mut connections = Vec::new();
    for _ in 0..100 {
        let (ws, peer) = accepted().await;
        peer.take_only(0);
        connections.push((ws, peer));
    }
    settle().await;
    let before = live();
    for (ws, _) in &connections {
        ws.try_send_prepared(&prepared).unwrap();
    }
    settle().await;
    let each = (live() - before) / 100;
    assert!(each < 1024, "{each} bytes for a reference");
}

#[tokio::test(start_paused = true)]
async fn cloning_a_message_copies_nothing() {
    let message = Message::from(vec![1; 100_000]);
    drop(message.clone());
    let before = live();
    let clones = std::array::from_fn::<_, 100, _>(|_| message.clone());
    assert!(live() - before < 1000, "{} clones", clones.len());
}
