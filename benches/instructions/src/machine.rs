//! Subjects of `chappe-proto`: the machine alone, without streams and tasks.
//!
//! Input is unmasked where it stands. Reading it again masks it anew, and costs the same: so no
//! fresh copy, which would be counted, is needed for each operation.

use std::hint::black_box;
use std::sync::Arc;

use chappe_proto::{Connection, Event, Limits, Payload, Random, Time};

use crate::wire::{self, BINARY, LONG_BYTES, SHORT, TEXT};

/// Messages that arrive together.
const SEGMENT_MESSAGES: usize = 16;

/// Decodes 16 messages of 20 bytes from one segment. An operation is one message.
pub(crate) fn parse_short(operations: usize) {
    let segment = wire::masked(TEXT, SHORT.as_bytes()).repeat(SEGMENT_MESSAGES);
    receive(server(), segment, operations, SHORT.len());
}

/// Decodes a binary message of 16 KiB, which is unmasked and not looked at.
pub(crate) fn unmask_long(operations: usize) {
    let segment = wire::masked(BINARY, &vec![7; LONG_BYTES]);
    receive(server(), segment, operations, LONG_BYTES);
}

/// Decodes a text message of 16 KiB, which is not masked, but checked.
pub(crate) fn validate_long(operations: usize) {
    let segment = wire::plain(TEXT, wire::long_text().as_bytes());
    receive(client(), segment, operations, LONG_BYTES);
}

/// Decodes a text message of 1 KiB in eight fragments.
pub(crate) fn join_fragments(operations: usize) {
    const BYTES: usize = 1024;
    let segment = wire::fragmented(TEXT, "x".repeat(BYTES).as_bytes(), 8);
    receive(server(), segment, operations, BYTES);
}

/// Frames a text message of 20 bytes, as a server.
pub(crate) fn frame_short(operations: usize) {
    send(server(), operations, 2 + SHORT.len());
}

/// Frames a text message of 20 bytes, as a client, whose generator costs next to nothing.
pub(crate) fn frame_short_masked(operations: usize) {
    send(client(), operations, 2 + 4 + SHORT.len());
}

fn server() -> Connection {
    Connection::server(Time::ZERO, Arc::new(Limits::default()))
}

fn client() -> Connection {
    let random = Box::new(Counting(0));
    Connection::client_with_random(Time::ZERO, Arc::new(Limits::default()), random)
}

/// Reads the segment again and again, until it held this many messages of this length.
fn receive(mut connection: Connection, mut segment: Vec<u8>, operations: usize, length: usize) {
    let mut received = 0;
    while received < operations {
        let mut rest = black_box(&mut segment[..]);
        while !rest.is_empty() {
            let (consumed, event) = connection.handle_input(Time::ZERO, rest);
            match black_box(event) {
                Some(Event::Text(text)) => assert_eq!(text.len(), length),
                Some(Event::Binary(bytes)) => assert_eq!(bytes.len(), length),
                other => panic!("a message was sent, but this was found: {other:?}"),
            }
            received += 1;
            rest = &mut rest[consumed..];
        }
    }
    assert_eq!(received, operations, "only whole segments are read");
}

/// Frames a short text again and again.
fn send(mut connection: Connection, operations: usize, length: usize) {
    let mut out = Vec::new();
    for _ in 0..operations {
        out.clear();
        let result = connection.send(Payload::Text(black_box(SHORT)), &mut out);
        result.expect("the connection is open");
        assert_eq!(black_box(&out).len(), length);
    }
}

/// Keys that differ from each other, and are the same in every run.
struct Counting(u32);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0 += 1;
        bytes.copy_from_slice(&self.0.to_ne_bytes()[..bytes.len()]);
    }
}
