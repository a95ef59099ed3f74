//! Peers that are slow or silent (kinds 1, 11, 12 and 16).
//!
//! The answer is a timeout, so these rows run all at the same time, each with a server of its own.
//! An answer at another time than the row says is told with its time.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use super::bytes::{bytes_of, masked};
use super::crowds::half_heads;
use super::tell::Frame;
use super::wire::{PROMPT, Peer};
use super::{Attack, Told};

pub(super) fn attacks() -> impl Iterator<Item = Attack> {
    let heads = HEADS.iter().map(slow_head).chain([half_heads()]);
    heads.chain(TALKS.iter().map(slow_talk)).chain([
        never_reads("never reads its echoes of 60 kB", 60_000),
        never_reads("never reads its echoes of a byte", 1),
    ])
}

/// Longer than any timeout of the server's.
const LIMIT: Duration = Duration::from_secs(80);
/// When an opening handshake is given up, in seconds.
const HANDSHAKE: RangeInclusive<u64> = 9..=14;
/// When a pong is given up: 20 s to the ping and 20 s from it.
const PONG: RangeInclusive<u64> = 35..=50;
/// When a message is given up.
const MESSAGE: RangeInclusive<u64> = 55..=70;

/// An answer, if it came when it should.
fn timed(seconds: &RangeInclusive<u64>, start: Instant, answer: impl Into<String>) -> Told {
    let took = start.elapsed();
    let answer = answer.into();
    if seconds.contains(&took.as_secs()) {
        Ok(answer)
    } else {
        Err(format!("{answer} after {took:.1?}"))
    }
}

/// Requests that do not end: what is sent at once, what goes on and how often, and the answer.
type Head = (
    &'static str,
    &'static str,
    &'static str,
    Duration,
    &'static str,
);

#[rustfmt::skip]
const HEADS: &[Head] = &[
    ("sends nothing", "", "", Duration::from_secs(1), "408 | closed"),
    ("sends a byte", "G", "", Duration::from_secs(1), "408"),
    ("sends half a request line", "GET /ec", "", Duration::from_secs(1), "408"),
    ("sends no headers", "GET /echo HTTP/1.1\r\n", "", Duration::from_secs(1), "408"),
    ("sends all but the last byte", "GET /echo HTTP/1.1\r\nHost: 127.0.0.1\r\n\r", "", Duration::from_secs(1), "408"),
    ("sends a request line without end, slowly", "GET /", "a", Duration::from_millis(200), "408"),
    ("sends a header without end, slowly", "GET /echo HTTP/1.1\r\nX: ", "a", Duration::from_millis(200), "408"),
    ("sends headers without end, slowly", "GET /echo HTTP/1.1\r\n", "X: a\r\n", Duration::from_millis(300), "408"),
    ("sends a plain request without end, slowly", "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ", "a", Duration::from_secs(1), "408"),
];

fn slow_head(&(name, at_once, then, pause, expected): &'static Head) -> Attack {
    Attack::new(1, name, expected, move |server| {
        let start = Instant::now();
        let mut peer = Peer::connect(server.address())?;
        peer.send(at_once.as_bytes())?;
        let mut drip = then.as_bytes().iter().cycle();
        while start.elapsed() < LIMIT && !peer.read_until(pause, |bytes| !bytes.is_empty()) {
            if let Some(byte) = drip.next() {
                let _ = peer.send(&[*byte]);
            }
        }
        timed(&HANDSHAKE, start, peer.answer_to_request("", PROMPT))
    })
}

/// How a peer answers pings.
#[derive(Clone, Copy, Debug)]
enum Pongs {
    Right,
    Wrong,
    None,
}

impl Pongs {
    fn answer(self, ping: &Frame) -> Option<Vec<u8>> {
        match self {
            Self::Right => Some(masked(0x8a, &ping.payload)),
            Self::Wrong => Some(masked(0x8a, b"not what you sent")),
            Self::None => None,
        }
    }
}

/// After the handshake: what is sent at once, what goes on byte by byte each second, how pings are
/// answered, what comes back and within which seconds.
type Talk = (
    u8,
    &'static str,
    &'static str,
    &'static str,
    Pongs,
    &'static str,
    RangeInclusive<u64>,
);

/// Amid a data frame a peer cannot answer a ping, so there the message's own time may hold.
const STOPPED: &str = "ping 1011 | ping ping 1011 | ping 1008 | ping ping 1008";
/// A second ping may leave at the moment at which the first one's pong is given up.
const GONE: &str = "ping 1011 | ping ping 1011";

#[rustfmt::skip]
const TALKS: &[Talk] = &[
    (16, "never answers a ping", "", "", Pongs::None, GONE, PONG),
    (12, "answers pings by pongs nobody asked for", "", "", Pongs::Wrong, "1011", PONG),
    (16, "stops in a frame's header", "81", "", Pongs::None, GONE, PONG),
    (16, "stops in a frame", "81 85 key \"Hel\"", "", Pongs::None, STOPPED, 35..=70),
    (16, "sends a byte each second in a frame", "82 ff 0000000000010000 key", "61", Pongs::None, STOPPED, 35..=70),
    (11, "begins a message and goes silent", "01 82 key \"He\"", "", Pongs::Right, "1008", MESSAGE),
    (11, "begins an empty message and goes silent", "01 80 key", "", Pongs::Right, "1008", MESSAGE),
];

fn slow_talk((topic, name, at_once, then, pongs, expected, seconds): &'static Talk) -> Attack {
    Attack::new(*topic, *name, *expected, move |server| {
        let start = Instant::now();
        let mut peer = Peer::upgraded(server.address())?;
        peer.send(&bytes_of(at_once))?;
        let drip = bytes_of(then);
        let pong = |ping: &Frame| pongs.answer(ping);
        timed(
            seconds,
            start,
            peer.converse((&drip, Duration::from_secs(1)), pong, LIMIT),
        )
    })
}

/// Sends messages for as long as they are taken, and reads none of the echoes.
fn never_reads(name: &'static str, length: usize) -> Attack {
    let messages = masked(0x82, &vec![b'a'; length]).repeat(60_000 / length);
    let row = Attack::new(16, name, "refused", move |server| {
        let start = Instant::now();
        let mut peer = Peer::upgraded(server.address())?;
        let refused = peer.send_until_refused(&messages, Duration::ZERO, LIMIT);
        timed(&(1..=60), start, if refused { "refused" } else { "taken" })
    });
    row.growing_at_most(8 * 1024)
}
