//! The server stands still past a deadline, as on a laptop that was closed (kind 26).
//!
//! Who had done its part before the server came to, and in time, must not be blamed.

use std::thread;
use std::time::Duration;

use super::bytes::{bytes_of, masked};
use super::server::Server;
use super::wire::{PROMPT, Peer, SAMPLE_KEY, plain_request};
use super::{Attack, Script, Told};

pub(super) fn attacks() -> impl Iterator<Item = Attack> {
    let rows: [(&str, &str, Script); 3] = [
        (
            "a handshake ends while the server stands still",
            "101",
            handshake,
        ),
        (
            "a pong comes while the server stands still",
            "\"hi\" 1000",
            pong,
        ),
        (
            "a message ends while the server stands still",
            "\"Hello\" \"hi\" 1000 | \"Hello\" ping \"hi\" 1000",
            message,
        ),
    ];
    let rows = rows.map(|(name, expected, act)| Attack::new(26, name, expected, act));
    rows.into_iter().map(Attack::without_bystander)
}

/// A handshake may take 10 s.
fn handshake(server: &mut Server) -> Told {
    let request = plain_request(server.address());
    let (first, rest) = request.split_at(request.len() / 2);
    let mut peer = Peer::connect(server.address())?;
    peer.send(first)?;
    thread::sleep(Duration::from_secs(1));
    while_frozen(server, Duration::from_secs(12), || peer.send(rest))?;
    Ok(peer.answer_to_request(SAMPLE_KEY, PROMPT))
}

/// The ping comes after 20 s, and its pong may take 20 s.
fn pong(server: &mut Server) -> Told {
    let mut peer = Peer::upgraded(server.address())?;
    let ping = peer.read_frame(Duration::from_secs(25)).ok_or("no ping")?;
    while_frozen(server, Duration::from_secs(25), || {
        peer.send(&masked(0x8a, &ping.payload))
    })?;
    peer.last_words()
}

/// A message may take 60 s.
fn message(server: &mut Server) -> Told {
    let mut peer = Peer::upgraded(server.address())?;
    peer.send(&bytes_of("01 82 key \"He\""))?;
    let pong = |ping: &super::tell::Frame| Some(masked(0x8a, &ping.payload));
    let told = peer.converse((&[], Duration::from_secs(1)), pong, Duration::from_secs(53));
    if told != "left open" {
        return Ok(told);
    }
    while_frozen(server, Duration::from_secs(10), || {
        peer.send(&bytes_of("80 83 key \"llo\""))
    })?;
    peer.last_words()
}

fn while_frozen(
    server: &Server,
    time: Duration,
    act: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    server.freeze()?;
    let outcome = act();
    thread::sleep(time);
    server.thaw()?;
    outcome
}
