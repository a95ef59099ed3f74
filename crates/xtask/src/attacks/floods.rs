//! Floods on one connection (kind 12), which then is still in good order.

use super::bytes::masked;
use super::server::Server;
use super::wire::{PROMPT, Peer};
use super::{Attack, Script, Told};

pub(super) fn attacks() -> impl Iterator<Item = Attack> {
    let rows: [(&str, Script); 4] = [
        ("100,000 pings, and reads", pings),
        ("500,000 pings before it reads", pings_unread),
        ("100,000 pongs", pongs),
        ("20,000 messages before it reads", messages),
    ];
    let rows = rows.map(|(name, act)| Attack::new(12, name, "\"hi\" 1000", act));
    rows.into_iter().map(|row| row.growing_at_most(4096))
}

fn pings(server: &mut Server) -> Told {
    let mut peer = Peer::upgraded(server.address())?;
    let (some, last) = (masked(0x89, b"some").repeat(999), masked(0x89, b"last"));
    for _ in 0..100 {
        peer.send(&some)?;
        peer.send(&last)?;
        read_pongs_until(&mut peer, b"last")?;
    }
    peer.last_words()
}

fn pings_unread(server: &mut Server) -> Told {
    let mut peer = Peer::upgraded(server.address())?;
    let pings = masked(0x89, b"some").repeat(1000);
    for _ in 0..500 {
        peer.send(&pings)?;
    }
    peer.send(&masked(0x89, b"last"))?;
    read_pongs_until(&mut peer, b"last")?;
    peer.last_words()
}

/// Pongs may be left out, save the one for the latest ping (RFC 6455, section 5.5.3).
fn read_pongs_until(peer: &mut Peer, payload: &[u8]) -> Result<(), String> {
    loop {
        let frame = peer
            .read_frame(PROMPT)
            .ok_or("no pong for the latest ping")?;
        match frame.first_byte {
            0x8a if frame.payload == payload => return Ok(()),
            0x8a => {}
            _ => return Err(format!("{} for a pong", frame.tell())),
        }
    }
}

fn pongs(server: &mut Server) -> Told {
    let mut peer = Peer::upgraded(server.address())?;
    let pongs = masked(0x8a, b"some").repeat(1000);
    for _ in 0..100 {
        peer.send(&pongs)?;
    }
    peer.last_words()
}

fn messages(server: &mut Server) -> Told {
    const COUNT: usize = 20_000;
    let mut peer = Peer::upgraded(server.address())?;
    peer.send(&masked(0x81, b"hello").repeat(COUNT))?;
    for number in 0..COUNT {
        let echo = peer
            .read_frame(PROMPT)
            .ok_or_else(|| format!("no echo {number}"))?;
        if echo.payload != b"hello" {
            return Err(format!("{} for echo {number}", echo.tell()));
        }
    }
    peer.last_words()
}
