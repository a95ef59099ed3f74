//! Crowds that make the server hold memory, up to its bound and away again (kind 22).
//!
//! With `--memory-max` the sum of all that connections hold has a bound. When it is reached, those
//! that hold most are closed, and whoever holds little goes on. They are closed with 1013, unless they
//! have not read much of what was sent before: then they are cut off.

use std::thread;
use std::time::{Duration, Instant};

use super::bytes::{bytes_of, masked};
use super::server::{Options, Server};
use super::wire::{PROMPT, Peer};
use super::{Attack, Told};

pub(super) fn attacks() -> impl Iterator<Item = Attack> {
    let bounded = [
        bounded(
            "300 send 50 x 1 KiB, 64 KiB, 1 MiB, and never read",
            unread(),
            CUT_OFF,
        ),
        bounded("300 times 1 MiB without its last byte", partial(), TOLD),
        bounded(
            "300 times 1 MiB in 16 fragments, without an end",
            fragments(),
            TOLD,
        ),
    ];
    let leaving = Attack::new(
        22,
        "4,000 half heads of 8,000 bytes, and all leave",
        "given back",
        half_heads,
    );
    let leaving = leaving.growing_at_most(4096 + HALF_HEADS as u64 * 24);
    bounded.into_iter().chain([leaving])
}

const TOLD: &str = "some got 1013";
const CUT_OFF: &str = "some were cut off";

/// A crowd that sends these against a bound.
fn bounded(name: &'static str, pieces: Vec<Vec<u8>>, expected: &str) -> Attack {
    let options = Options {
        arguments: &["--memory-max", "64MiB"],
        ..Options::with_little_room()
    };
    let act = move |server: &mut Server| hold(server, &pieces);
    let row = Attack::new(22, name, expected, act);
    row.growing_at_most(GROWTH_KIB_MAX).with_options(options)
}

const CROWD: usize = 300;
const BOUND_KIB: u64 = 64 * 1024;
/// Twice the bound, as glibc keeps what is free between buffers of many sizes; a page for each
/// connection, and what else a process does.
const GROWTH_KIB_MAX: u64 = BOUND_KIB * 2 + CROWD as u64 * 4 + 16 * 1024;

/// What each sends, piece by piece: one has sent a piece before the next one sends it.
fn unread() -> Vec<Vec<u8>> {
    let sizes: [(usize, usize); 3] = [(50, 1024), (1, 65536), (1, 1_048_576)];
    let pieces = sizes.map(|(count, bytes)| masked(0x82, &vec![b'a'; bytes]).repeat(count));
    pieces.into()
}

fn partial() -> Vec<Vec<u8>> {
    vec![bytes_of("82 ff 0000000000100000 key 61*1048575")]
}

fn fragments() -> Vec<Vec<u8>> {
    let first = bytes_of("02 ff 0000000000010000 key 61*65536");
    let more = bytes_of("00 ff 0000000000010000 key 61*65536");
    vec![[first, more.repeat(15)].concat()]
}

fn hold(server: &mut Server, pieces: &[Vec<u8>]) -> Told {
    let before = server.descriptors();
    let mut crowd = (0..CROWD)
        .map(|_| Peer::upgraded_with_little_room(server.address()))
        .collect::<Result<Vec<Peer>, String>>()?;
    for piece in pieces {
        send_by_turns(&mut crowd, piece);
    }
    thread::sleep(Duration::from_millis(500));
    let closed = close_codes(&mut crowd);
    match closed.iter().find(|code| *code != "1013") {
        Some(other) => Err(format!("one got {other}")),
        None if !closed.is_empty() => Ok(TOLD.to_owned()),
        None if server.descriptors() < before + CROWD => Ok(CUT_OFF.to_owned()),
        None => Err("nobody was closed".to_owned()),
    }
}

/// Each sends a piece, as much at a time as it is let, until nobody's is taken for a while: some are
/// closed, and some are not read.
fn send_by_turns(crowd: &mut [Peer], piece: &[u8]) {
    const PATIENCE: Duration = Duration::from_millis(500);
    let mut sent = vec![0; crowd.len()];
    let mut last = Instant::now();
    while last.elapsed() < PATIENCE && sent.iter().any(|sent| *sent < piece.len()) {
        for (peer, sent) in crowd.iter_mut().zip(&mut sent) {
            let count = peer.send_some(&piece[*sent..]);
            *sent += count;
            if count > 0 {
                last = Instant::now();
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// The codes of the first who turn out to be closed. Some have their echoes to read before.
fn close_codes(crowd: &mut [Peer]) -> Vec<String> {
    let end = Instant::now() + PROMPT * 2;
    loop {
        let frames = crowd.iter_mut().filter_map(|peer| peer.read_some(1 << 20));
        let closes = frames.filter(|frame| frame.first_byte == 0x88);
        let codes: Vec<String> = closes.map(|frame| frame.tell()).collect();
        if !codes.is_empty() || Instant::now() > end {
            return codes;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

const HALF_HEADS: usize = 4000;

fn half_heads(server: &mut Server) -> Told {
    /// What the runtime keeps for so many tasks.
    const KEPT_KIB_MAX: u64 = 8 * 1024;
    let head = format!("GET /echo HTTP/1.1\r\nX: {}", "a".repeat(8000));
    let before = server.held_kib();
    let descriptors = server.descriptors();
    let open = |_| {
        let mut peer = Peer::connect(server.address())?;
        peer.send(head.as_bytes())?;
        Ok(peer)
    };
    let crowd = (0..HALF_HEADS)
        .map(open)
        .collect::<Result<Vec<Peer>, String>>()?;
    drop(crowd);
    server.released(descriptors, PROMPT)?;
    let end = Instant::now() + PROMPT * 2;
    loop {
        let kept = server.held_kib().saturating_sub(before);
        if kept <= KEPT_KIB_MAX {
            return Ok("given back".to_owned());
        }
        if Instant::now() > end {
            return Err(format!("{kept} KiB kept"));
        }
        thread::sleep(Duration::from_millis(100));
    }
}
