//! What is put out for messages of ours (RFC 6455, section 6.1).

use bytes::Bytes;

use crate::{
    FrameSink, Kind, Payload, Prepared, ProtocolError, Role, SendError, SharedFrame, State,
    Utf8Bytes,
};

use super::{KEY, ROLES, START, Scenario, close, frame, hex, pattern};

/// An outbox that remembers what it was lent.
#[derive(Default)]
struct Recorder {
    parts: Vec<Part>,
    tail: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Own(Vec<u8>),
    /// Where the bytes lie, and how many they are.
    Shared(*const u8, usize),
}

impl Part {
    fn shared(bytes: &[u8]) -> Self {
        Self::Shared(bytes.as_ptr(), bytes.len())
    }
}

impl FrameSink for Recorder {
    fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.tail
    }

    fn put_shared(&mut self, bytes: &Bytes) {
        self.end_tail();
        self.parts.push(Part::shared(bytes));
    }

    fn put_prepared(&mut self, frame: &SharedFrame) {
        self.end_tail();
        self.parts.push(Part::shared(frame));
    }
}

impl Recorder {
    fn end_tail(&mut self) {
        if !self.tail.is_empty() {
            self.parts.push(Part::Own(std::mem::take(&mut self.tail)));
        }
    }

    fn into_parts(mut self) -> Vec<Part> {
        self.end_tail();
        self.parts
    }
}

/// What is put out for one message on a fresh connection.
fn put_out(role: Role, message: Payload<'_>) -> Vec<Part> {
    let mut outbox = Recorder::default();
    let mut connection = Scenario::open(role).connection();
    connection.send(message, &mut outbox).unwrap();
    outbox.into_parts()
}

const LENGTHS: [usize; 8] = [0, 1, 125, 126, 127, 65535, 65536, 70000];

#[test]
fn server_sends_the_frames_of_the_rfc() {
    // Section 5.7.
    let hello = Part::Own(hex("81 05 48656c6c6f"));
    assert_eq!(put_out(Role::Server, Payload::Text("Hello")), [hello]);
    let bytes = [hex("82 7e 0100"), vec![7; 256]].concat();
    let sent = put_out(Role::Server, Payload::Binary(&[7; 256]));
    assert_eq!(sent, [Part::Own(bytes)]);
    let bytes = [hex("82 7f 00000000 00010000"), vec![7; 65536]].concat();
    let sent = put_out(Role::Server, Payload::Binary(&vec![7; 65536]));
    assert_eq!(sent, [Part::Own(bytes)]);
}

#[test]
fn client_sends_the_masked_text_of_the_rfc() {
    let hello = Part::Own(hex("81 85 37fa213d 7f9f4d5158"));
    assert_eq!(put_out(Role::Client, Payload::Text("Hello")), [hello]);
}

#[test]
fn messages_of_every_form_of_length_are_sent() {
    for role in ROLES {
        for length in LENGTHS {
            let payload = pattern(length);
            let sent = put_out(role, Payload::Binary(&payload));
            assert_eq!(sent, [Part::Own(frame(role, 0x82, &payload))]);
            let text = "ü".repeat(length / 2);
            let sent = put_out(role, Payload::Text(&text));
            assert_eq!(sent, [Part::Own(frame(role, 0x81, text.as_bytes()))]);
        }
    }
}

#[test]
fn server_refers_to_shared_payloads() {
    for length in LENGTHS {
        let bytes = Bytes::from(pattern(length));
        let header = frame(Role::Server, 0x82, &bytes);
        let header = header[..header.len() - length].to_vec();
        let sent = put_out(Role::Server, Payload::SharedBinary(&bytes));
        assert_eq!(sent, [Part::Own(header), Part::shared(&bytes)]);

        let text = Utf8Bytes::from("x".repeat(length));
        let header = frame(Role::Server, 0x81, text.as_bytes());
        let header = header[..header.len() - length].to_vec();
        let sent = put_out(Role::Server, Payload::SharedText(&text));
        assert_eq!(sent, [Part::Own(header), Part::shared(text.as_bytes())]);
    }
}

#[test]
fn server_refers_to_prepared_messages() {
    for length in LENGTHS {
        let payload = pattern(length);
        let binary = Prepared::binary(&payload);
        assert_eq!(binary.frame()[..], frame(Role::Server, 0x82, &payload));
        assert_eq!(binary.payload(), payload);
        assert_eq!(binary.kind(), Kind::Binary);
        let text = Prepared::text(&"x".repeat(length));
        assert_eq!(text.frame()[..], frame(Role::Server, 0x81, text.payload()));
        assert_eq!(text.payload(), "x".repeat(length).as_bytes());
        assert_eq!(text.kind(), Kind::Text);
        for prepared in [binary, text] {
            let clone = prepared.clone();
            let sent = put_out(Role::Server, Payload::from(&clone));
            assert_eq!(sent, [Part::shared(prepared.frame())]);
        }
    }
}

#[test]
fn client_masks_its_own_copy_of_what_is_shared() {
    for length in LENGTHS {
        let text = "x".repeat(length);
        let shared = Utf8Bytes::from(text.clone());
        let bytes = Bytes::from(text.clone());
        let prepared = (Prepared::text(&text), Prepared::binary(text.as_bytes()));
        let rows = [
            (0x81, Payload::SharedText(&shared)),
            (0x82, Payload::SharedBinary(&bytes)),
            (0x81, Payload::from(&prepared.0)),
            (0x82, Payload::from(&prepared.1)),
        ];
        for (first, message) in rows {
            let sent = put_out(Role::Client, message);
            let expected = frame(Role::Client, first, text.as_bytes());
            assert_eq!(sent, [Part::Own(expected)]);
        }
        assert_eq!(shared, *text);
        assert_eq!(bytes, text);
        assert_eq!(prepared.0.payload(), text.as_bytes());
    }
}

#[test]
fn frames_are_appended_in_order() {
    let shared = Bytes::from_static(b"shared");
    let prepared = Prepared::text("prepared");
    let mut outbox = Recorder::default();
    let mut server = Scenario::open(Role::Server).connection();
    server.send(Payload::Text("a"), &mut outbox).unwrap();
    server
        .send(Payload::SharedBinary(&shared), &mut outbox)
        .unwrap();
    server.send(Payload::Binary(b"b"), &mut outbox).unwrap();
    server.send(Payload::from(&prepared), &mut outbox).unwrap();
    server.close(START, 1000.into(), "").unwrap();
    server.poll_transmit(&mut outbox);
    let expected = [
        Part::Own(hex("81 01 61 82 06")),
        Part::shared(&shared),
        Part::Own(hex("82 01 62")),
        Part::shared(prepared.frame()),
        Part::Own(hex("88 02 03e8")),
    ];
    assert_eq!(outbox.into_parts(), expected);
}

#[test]
fn a_plain_vector_takes_a_copy_of_what_is_shared() {
    let shared = Bytes::from_static(b"shared");
    let mut server = Scenario::open(Role::Server).connection();
    let mut out = hex("ff");
    server
        .send(Payload::SharedBinary(&shared), &mut out)
        .unwrap();
    assert_eq!(out, [hex("ff 82 06"), b"shared".to_vec()].concat());
}

#[test]
fn client_masks_every_frame_with_a_key_of_its_own() {
    let random = Box::new(super::pair::SplitMix(7));
    let limits = std::sync::Arc::new(crate::Limits::default());
    let mut client = crate::Connection::client_with_random(START, limits, random);
    let mut out = Vec::new();
    for _ in 0..100 {
        client.send(Payload::Binary(&[0; 4]), &mut out).unwrap();
    }
    let mut keys: Vec<&[u8]> = out.chunks(10).map(|frame| &frame[2..6]).collect();
    for frame in out.chunks(10) {
        assert_eq!(frame[2..6], frame[6..]);
    }
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 100);
}

#[test]
fn control_frames_of_a_client_are_masked() {
    let mut client = Scenario::open(Role::Client).connection();
    client.ping(START);
    client.handle_input(START, &mut frame(Role::Server, 0x89, b"Hello"));
    client.close(START, 1000.into(), "").unwrap();
    let mut out = Vec::new();
    client.poll_transmit(&mut out);
    let frames = [
        hex("8a 85 37fa213d 7f9f4d5158"),
        hex("89 84 37fa213d 37fa213c"),
        hex("88 82 37fa213d 3412"),
    ];
    assert_eq!(out, frames.concat());
    assert_eq!(KEY, *b"\x37\xfa\x21\x3d");
}

#[test]
fn message_after_close_is_refused_and_nothing_is_put_out() {
    let text = Utf8Bytes::from_static("late");
    let bytes = Bytes::from_static(b"late");
    let prepared = Prepared::text("late");
    for role in ROLES {
        let mut connection = Scenario::open(role).connection();
        connection.close(START, 1000.into(), "").unwrap();
        let messages = [
            Payload::Text("late"),
            Payload::Binary(b"late"),
            Payload::SharedText(&text),
            Payload::SharedBinary(&bytes),
            Payload::Prepared(&prepared),
        ];
        let mut outbox = Recorder::default();
        for message in messages {
            let refused = SendError::NotOpen {
                state: State::Closing,
            };
            assert_eq!(connection.send(message, &mut outbox), Err(refused));
        }
        assert_eq!(outbox.into_parts(), []);
    }
}

#[test]
fn echo_leaves_before_the_close_frame_for_a_violation_in_the_same_bytes() {
    for role in ROLES {
        let mut connection = Scenario::open(role).connection();
        let first = frame(role.peer(), 0x81, b"first");
        let mut input = [&first[..], &[0x83, 0xff]].concat();
        let (consumed, event) = connection.handle_input(START, &mut input);
        assert_eq!(consumed, first.len());
        let Some(crate::Event::Text(text)) = event else {
            panic!("{event:?}");
        };
        let text = text.into_owned();
        let mut out = Vec::new();
        connection.send(Payload::Text(&text), &mut out).unwrap();
        connection.poll_transmit(&mut out);
        let (_, event) = connection.handle_input(START, &mut input[consumed..]);
        let error = ProtocolError::ReservedOpcode { opcode: 3 };
        assert_eq!(event, Some(crate::Event::Failed(error)));
        connection.poll_transmit(&mut out);
        let expected = [
            frame(role, 0x81, b"first"),
            close(role, 1002, "opcode 0x3 is reserved"),
        ];
        assert_eq!(out, expected.concat());
    }
}
