//! Floods on one connection, which then is still in good order (kind 12), and on many, which keep
//! nobody else waiting (kind 25).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::bytes::masked;
use super::server::Server;
use super::wire::{PROMPT, Peer, is_timeout};
use super::{Attack, Script, Told};

pub(super) fn attacks() -> impl Iterator<Item = Attack> {
    let rows: [(&str, Script); 4] = [
        ("100,000 pings, and reads", pings),
        ("500,000 pings before it reads", pings_unread),
        ("100,000 pongs", pongs),
        ("20,000 messages before it reads", messages),
    ];
    let rows = rows.map(|(name, act)| Attack::new(12, name, "\"hi\" 1000", act));
    let many = Attack::new(25, "50 flood with tiny messages, and read", "echoed", many)
        .echoing_within(Duration::from_millis(300));
    let rows = rows.into_iter().chain([many]);
    rows.map(|row| row.growing_at_most(4096))
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

/// Each sends as much as it is let, and reads what comes. One thread does it for all, so that the
/// server has a processor of its own.
fn many(server: &mut Server) -> Told {
    const CROWD: usize = 50;
    const TIME: Duration = Duration::from_secs(3);
    let open = |_| {
        let stream = Peer::upgraded(server.address())?.into_stream();
        let made = stream.set_nonblocking(true);
        made.map(|()| stream).map_err(|error| error.to_string())
    };
    let mut crowd = (0..CROWD)
        .map(open)
        .collect::<Result<Vec<TcpStream>, String>>()?;
    let messages = masked(0x81, b"a").repeat(8192);
    let mut sent = [0; CROWD];
    let mut chunk = vec![0; 65536];
    let (end, mut received) = (Instant::now() + TIME, 0);
    while Instant::now() < end {
        for (stream, sent) in crowd.iter_mut().zip(&mut sent) {
            match stream.write(&messages[*sent..]) {
                Ok(count) => *sent = (*sent + count) % messages.len(),
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(format!("sending failed: {error}")),
            }
            match stream.read(&mut chunk) {
                Ok(0) => return Err("the stream ended".to_owned()),
                Ok(count) => received += count,
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(format!("reading failed: {error}")),
            }
        }
    }
    match received {
        0 => Err("nothing came back".to_owned()),
        _ => Ok("echoed".to_owned()),
    }
}
