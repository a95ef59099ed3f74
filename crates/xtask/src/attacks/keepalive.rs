//! Peers that are slow and alive, and one that reads and is not (kind 16).
//!
//! A ping is sent every 20 s, and its pong may take 20 s more. A pong that waits behind data, in
//! either direction, is no reason to fail a peer as long as the data flows.

use std::time::{Duration, Instant};

use super::bytes::masked;
use super::server::Server;
use super::wire::{PROMPT, Peer};
use super::{Attack, Script, Told};

pub(super) fn attacks() -> impl Iterator<Item = Attack> {
    let rows: [(&str, &str, Script); 3] = [
        (
            "reads 600 kB slowly, and answers pings",
            "alive",
            reads_slowly,
        ),
        (
            "sends 50 kB a second, its pongs 25 s behind",
            "alive",
            sends_slowly,
        ),
        (
            "sends 200 messages, reads on, never answers a ping",
            "1011",
            reads_only,
        ),
    ];
    let rows = rows.map(|(name, expected, act)| Attack::new(16, name, expected, act));
    rows.into_iter().map(|row| row.growing_at_most(4096))
}

/// Past a pong that is due 40 s after the handshake.
const LONG: Duration = Duration::from_secs(48);
const TICK: Duration = Duration::from_millis(100);

fn is_alive(peer: &mut Peer) -> Told {
    match peer.last_words()?.as_str() {
        "\"hi\" 1000" => Ok("alive".to_owned()),
        other => Err(other.to_owned()),
    }
}

fn reads_slowly(server: &mut Server) -> Told {
    const BYTES_EACH_TICK: usize = 800;
    const MESSAGES: usize = 10;
    let start = Instant::now();
    let mut peer = Peer::upgraded_with_little_room(server.address())?;
    peer.send(&masked(0x82, &vec![b'a'; 60_000]).repeat(MESSAGES))?;
    let mut echoes = 0;
    while echoes < MESSAGES {
        // What is left after a long time is read at once.
        let (bytes, pause) = if start.elapsed() < LONG {
            (BYTES_EACH_TICK, TICK)
        } else {
            (65536, Duration::ZERO)
        };
        match peer.read_some(bytes) {
            Some(frame) if frame.first_byte == 0x89 => peer.send(&masked(0x8a, &frame.payload))?,
            Some(frame) if frame.payload.len() == 60_000 => echoes += 1,
            Some(frame) => return Err(format!("{} after {:.1?}", frame.tell(), start.elapsed())),
            None if peer.has_ended() || start.elapsed() > LONG + PROMPT => {
                return Err(format!("{echoes} echoes in {:.1?}", start.elapsed()));
            }
            None => std::thread::sleep(pause),
        }
    }
    is_alive(&mut peer)
}

fn sends_slowly(server: &mut Server) -> Told {
    const BYTES_EACH_TICK: usize = 5_000;
    const BACKLOG: usize = 25 * 10 * BYTES_EACH_TICK;
    const MORE: Duration = Duration::from_secs(22);
    let start = Instant::now();
    let mut peer = Peer::upgraded(server.address())?;
    // Five fill a tick, so that nothing but time stands between one and the next.
    let message = masked(0x82, &[b'a'; 992]);
    let (mut backlog, mut sent) = (Vec::new(), 0);
    let (mut messages, mut echoes) = (0, 0);
    while sent < backlog.len() || start.elapsed() < MORE {
        while start.elapsed() < MORE && backlog.len() - sent < BACKLOG {
            backlog.extend_from_slice(&message);
            messages += 1;
        }
        let end = backlog.len().min(sent + BYTES_EACH_TICK);
        peer.send(&backlog[sent..end])
            .map_err(|failure| format!("{failure} after {:.1?}", start.elapsed()))?;
        sent = end;
        let tick = Instant::now() + TICK;
        while let Some(frame) = peer.read_frame(tick.saturating_duration_since(Instant::now())) {
            match frame.first_byte {
                0x89 => backlog.extend_from_slice(&masked(0x8a, &frame.payload)),
                _ if frame.payload.len() == 992 => echoes += 1,
                _ => return Err(format!("{} after {:.1?}", frame.tell(), start.elapsed())),
            }
        }
        if peer.has_ended() {
            return Err(format!("closed after {:.1?}", start.elapsed()));
        }
    }
    while echoes < messages {
        match peer.read_frame(PROMPT) {
            Some(frame) if frame.payload.len() == 992 => echoes += 1,
            _ => return Err(format!("{echoes} of {messages} echoes")),
        }
    }
    is_alive(&mut peer)
}

fn reads_only(server: &mut Server) -> Told {
    const MESSAGES: usize = 200;
    let start = Instant::now();
    let mut peer = Peer::upgraded(server.address())?;
    peer.send(&masked(0x82, &[b'a'; 1000]).repeat(MESSAGES))?;
    let mut echoes = 0;
    while let Some(frame) = peer.read_frame(LONG.saturating_sub(start.elapsed())) {
        match frame.first_byte {
            0x89 => {}
            0x82 => echoes += 1,
            _ if echoes == MESSAGES => return Ok(frame.tell()),
            _ => return Err(format!("{} after {echoes} echoes", frame.tell())),
        }
    }
    Err(format!("{echoes} echoes, then left open"))
}
