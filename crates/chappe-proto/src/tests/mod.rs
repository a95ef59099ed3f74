//! Tables of wire bytes and events, one file per topic of RFC 6455.
//!
//! A row says what the peer sends, what must be seen of it, and what must be sent back. Rows know
//! nothing of the API: [`Scenario::check`] feeds each of them whole, byte by byte and cut at every
//! place, by every [`Way`], and holds the connection to its contract all the while.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::BufMut;

use crate::{
    CloseCode, Connection, Ended, Event, Limits, Message, Page, ProtocolError, Random, Role, State,
    Time,
};

mod chunk;
mod close_frame;
mod closing;
mod control;
mod fragmentation;
mod framing;
mod handshake;
mod keepalive;
mod limits;
mod masking;
mod memory;
mod pair;
mod properties;
mod replying;
mod sending;
mod text;
mod vocabulary;

const ROLES: [Role; 2] = [Role::Client, Role::Server];

/// The masking key of every client in these tables: that of RFC 6455, section 5.7.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// When connections begin: not at the epoch, so that durations and times can't be confused.
const START: Time = Time::from_nanos(1_000_000_000_007);

/// An [`Event`] that owns what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Option<Duration>),
    Close(u16, String),
    Failed(ProtocolError),
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text(text.into_owned()),
            Event::Binary(bytes) => Self::Binary(bytes.into_owned()),
            Event::Ping(payload) => Self::Ping(payload.to_vec()),
            Event::Pong { round_trip } => Self::Pong(round_trip),
            Event::Close(frame) => Self::Close(frame.code.into(), frame.reason.clone()),
            Event::Failed(error) => Self::Failed(error),
        }
    }
}

impl Seen {
    fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// Whether nothing may be seen after this.
    fn is_last(&self) -> bool {
        matches!(self, Self::Close(..) | Self::Failed(_))
    }
}

/// A row on a fresh connection: what `role` is sent, what it sees, what it sends back.
#[track_caller]
fn check(role: Role, input: &[u8], events: &[Seen], transmitted: &[u8]) {
    Scenario::open(role).check(input, events, transmitted);
}

/// A row that ends with `error`, answered by a close frame with `code` and the error's text.
#[track_caller]
fn check_fails(role: Role, input: &[u8], error: ProtocolError, code: u16) {
    Scenario::open(role).check_fails(input, error, code);
}

/// Walks a connection into the state under test, as often as it is asked for one.
#[derive(Clone, Debug)]
struct Scenario {
    role: Role,
    limits: Limits,
    walk: Vec<Walk>,
}

#[derive(Clone, Debug)]
enum Walk {
    Receive(Vec<u8>),
    Close(u16, &'static str),
    Ping,
}

impl Scenario {
    /// A connection with default limits, right after the opening handshake.
    fn open(role: Role) -> Self {
        Self {
            role,
            limits: Limits::default(),
            walk: Vec::new(),
        }
    }

    fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    /// The peer has sent this, and what was due for it has been transmitted.
    fn receives(mut self, input: &[u8]) -> Self {
        self.walk.push(Walk::Receive(input.to_vec()));
        self
    }

    /// The application has closed, and the close frame has been transmitted.
    fn closes(mut self, code: u16, reason: &'static str) -> Self {
        self.walk.push(Walk::Close(code, reason));
        self
    }

    /// The application has sent a ping.
    fn pings(mut self) -> Self {
        self.walk.push(Walk::Ping);
        self
    }

    /// A connection in this state, with nothing left to transmit.
    fn connection(&self) -> Connection {
        let limits = Arc::new(self.limits.clone());
        let mut connection = match self.role {
            Role::Server => Connection::server(START, limits),
            Role::Client => Connection::client_with_random(START, limits, Box::new(SameKey)),
        };
        for step in &self.walk {
            match step {
                Walk::Receive(input) => {
                    feed(&mut connection, START, &[input]);
                }
                Walk::Close(code, reason) => {
                    let code = CloseCode::from(*code);
                    connection.close(START, code, reason).unwrap();
                }
                Walk::Ping => connection.ping(START),
            }
            connection.poll_transmit(&mut Vec::new());
        }
        connection
    }

    /// A row: what the peer sends next, what is seen of it, what is sent back.
    #[track_caller]
    fn check(&self, input: &[u8], events: &[Seen], transmitted: &[u8]) {
        for cuts in all_cuts(input.len()) {
            for way in Way::ALL {
                let mut connection = self.connection();
                let (seen, sent) = feed_by(way, &mut connection, START, &pieces(input, &cuts));
                let row = format!("{:?}, cut at {cuts:?}, by {way:?}", self.role);
                assert_eq!(seen, events, "{row}");
                assert_eq!(sent, transmitted, "{row}");
                if events.last().is_some_and(Seen::is_last) {
                    assert_over(&mut connection);
                }
            }
        }
    }

    /// A row that ends with `error`, answered by a close frame with `code` and the error's text.
    #[track_caller]
    fn check_fails(&self, input: &[u8], error: ProtocolError, code: u16) {
        let answer = close(self.role, code, &error.to_string());
        self.check(input, &[Seen::Failed(error)], &answer);
    }
}

/// How bytes get into a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// All by `handle_input`.
    Input,
    /// What belongs to a message in progress, by `lend_partial`.
    Partial,
    /// Whole messages by `take_message`.
    Message,
}

impl Way {
    const ALL: [Self; 3] = [Self::Input, Self::Partial, Self::Message];
}

/// Feeds the pieces one after the other, and transmits what is due after every call.
#[track_caller]
fn feed<T: AsRef<[u8]>>(
    connection: &mut Connection,
    now: Time,
    pieces: &[T],
) -> (Vec<Seen>, Vec<u8>) {
    feed_by(Way::Input, connection, now, pieces)
}

/// Fills some of `input` into the message in progress, if there is one: how much, and what the
/// connection made of it.
fn fill_partial(
    connection: &mut Connection,
    now: Time,
    input: &[u8],
) -> Option<(usize, Option<Seen>)> {
    let mut partial = connection.lend_partial(1)?;
    let length = partial.fill(|room| {
        let length = room.remaining_mut().min(input.len());
        room.put_slice(&input[..length]);
        length
    });
    let event = connection.return_partial(now, partial);
    Some((length, event.map(Seen::from)))
}

/// Takes the message that `input` begins with, if that is whole.
fn take_message(
    connection: &Connection,
    input: &[u8],
    page: &mut Page,
) -> Option<(usize, Option<Seen>)> {
    let (consumed, message) = connection.take_message(input, page)?;
    let seen = match message {
        Message::Text(text) => Seen::Text(text.to_string()),
        Message::Binary(bytes) => Seen::Binary(bytes.into()),
    };
    Some((consumed, Some(seen)))
}

#[track_caller]
fn feed_by<T: AsRef<[u8]>>(
    way: Way,
    connection: &mut Connection,
    now: Time,
    pieces: &[T],
) -> (Vec<Seen>, Vec<u8>) {
    let (mut seen, mut sent) = (Vec::new(), Vec::new());
    let mut page = Page::default();
    for piece in pieces {
        let mut piece = piece.as_ref().to_vec();
        let mut rest = &mut piece[..];
        loop {
            let length = rest.len();
            let by_other = match way {
                Way::Input => None,
                Way::Partial => fill_partial(connection, now, rest),
                Way::Message => take_message(connection, rest, &mut page),
            };
            let more = by_other.is_some();
            let (consumed, event) = by_other.unwrap_or_else(|| {
                let (consumed, event) = connection.handle_input(now, rest);
                (consumed, event.map(Seen::from))
            });
            assert!(consumed <= length, "consumed {consumed} of {length} bytes");
            connection.poll_transmit(&mut sent);
            assert_contract(connection, event.as_ref());
            rest = &mut rest[consumed..];
            if more && event.is_none() && !rest.is_empty() {
                continue;
            }
            let Some(event) = event else {
                assert!(rest.is_empty(), "{rest:02x?} are left without an event");
                break;
            };
            seen.push(event);
        }
    }
    (seen, sent)
}

/// What holds after every call of `handle_input`.
#[track_caller]
fn assert_contract(connection: &Connection, event: Option<&Seen>) {
    if event.is_some_and(Seen::is_last) {
        let ended = connection.ended().is_some() || connection.is_replying();
        assert!(ended, "not ended after {event:?}");
    }
    if connection.ended().is_some() {
        assert_eq!(connection.state(), State::Closing);
    }
    if connection.state() == State::Closing {
        assert!(connection.poll_timeout().is_some(), "no bound on closing");
    }
    assert!(!connection.is_finished(), "finished while the stream lives");
}

/// After a close frame or a failure nothing more is seen or sent, whatever the peer sends.
#[track_caller]
fn assert_over(connection: &mut Connection) {
    let ended = connection.ended().cloned();
    let peer = connection.role().peer();
    let more = [
        frame(peer, 0x89, b"ping"),
        frame(peer, 0x81, b"text"),
        frame(peer, 0x88, b""),
        vec![0xff; 32],
    ];
    let (seen, sent) = feed(connection, START, &more);
    assert_eq!((seen, sent), (vec![], vec![]), "after {ended:?}");
    assert_eq!(connection.ended().cloned(), ended);
}

/// Where an input of this length is cut: nowhere, everywhere, in two at every place, and when it
/// is short in three at every two places. Of a long one only some of the places, above all those
/// near its ends.
fn all_cuts(length: usize) -> Vec<Vec<usize>> {
    let mut all = vec![vec![], (1..length).collect()];
    let near = |cut: usize| cut < 300 || length - cut < 100 || cut.is_multiple_of(4093);
    all.extend((1..length).filter(|&cut| near(cut)).map(|cut| vec![cut]));
    if length <= 24 {
        for first in 1..length {
            all.extend((first + 1..length).map(|second| vec![first, second]));
        }
    }
    all
}

/// The input in pieces: `cuts` rise and lie within it.
fn pieces<'a>(mut input: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for &cut in cuts {
        let (piece, rest) = input.split_at(cut - start);
        pieces.push(piece);
        input = rest;
        start = cut;
    }
    pieces.push(input);
    pieces
}

/// A frame as `sender` sends it, masked with [`KEY`] by a client: the tests' own writer.
fn frame(sender: Role, first: u8, payload: &[u8]) -> Vec<u8> {
    match sender {
        Role::Client => masked_frame(first, KEY, payload),
        Role::Server => [header(first, payload.len(), 0), payload.to_vec()].concat(),
    }
}

fn masked_frame(first: u8, key: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let masked = payload.iter().zip(key.iter().cycle());
    let masked = masked.map(|(byte, key)| byte ^ key).collect();
    [header(first, payload.len(), 0x80), key.to_vec(), masked].concat()
}

fn header(first: u8, length: usize, mask_bit: u8) -> Vec<u8> {
    let [.., a, b] = length.to_be_bytes();
    match length {
        0..=0x7d => vec![first, mask_bit | b],
        0x7e..=0xffff => vec![first, mask_bit | 0x7e, a, b],
        _ => [&[first, mask_bit | 0x7f][..], &length.to_be_bytes()].concat(),
    }
}

/// A close frame as `sender` sends it.
fn close(sender: Role, code: u16, reason: &str) -> Vec<u8> {
    let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
    frame(sender, 0x88, &payload)
}

/// The header of a frame from `sender` that declares this many bytes, in as many as asked for.
fn declared(sender: Role, first: u8, length: &[u8]) -> Vec<u8> {
    let short = match length.len() {
        2 => 0x7e,
        8 => 0x7f,
        other => panic!("no header has a length of {other} bytes"),
    };
    match sender {
        Role::Client => [&[first, 0x80 | short], length, &KEY].concat(),
        Role::Server => [&[first, short], length].concat(),
    }
}

/// Bytes in hexadecimal digits, spaces between them at will.
#[track_caller]
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
    let pairs = digits.chunks(2).map(|pair| str::from_utf8(pair).unwrap());
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

fn just_before(time: Time) -> Time {
    Time::from_nanos(time.as_nanos() - 1)
}

/// Bytes in which every place differs from its neighbours.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}

/// A generator that gives every client the same masking key.
struct SameKey;

impl Random for SameKey {
    fn fill(&mut self, bytes: &mut [u8]) {
        for (byte, key) in bytes.iter_mut().zip(KEY.iter().cycle()) {
            *byte = *key;
        }
    }
}

/// The end of a connection whose end is decided.
#[track_caller]
fn ended(connection: &Connection) -> Ended {
    connection.ended().expect("the connection ended").clone()
}

/// Whether an event's payload was lent or copied.
fn is_borrowed(event: &Event<'_>) -> bool {
    matches!(
        event,
        Event::Text(Cow::Borrowed(_)) | Event::Binary(Cow::Borrowed(_))
    )
}
