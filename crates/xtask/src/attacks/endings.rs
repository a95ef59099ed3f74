//! A close, an end or a reset right behind messages (kinds 21 and 24).
//!
//! What came before an orderly end is answered before the end is (RFC 6455, section 5.5.1, lets an
//! endpoint finish what it is sending), and a connection that nobody reads is given up in the end.

use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use super::bytes::{BYE, masked};
use super::server::{Options, Server};
use super::wire::{PROMPT, Peer};
use super::{Attack, Told};

pub(super) fn attacks() -> impl Iterator<Item = Attack> {
    let closed = BEFORE.iter().map(|row| behind_messages(row, End::Close));
    closed.chain(BEFORE.iter().map(|row| behind_messages(row, End::Finish)))
}

pub(super) fn patient_attacks() -> impl Iterator<Item = Attack> {
    let rows = [
        ("ends its direction, its echoes unread", Leaving::Finish),
        ("resets, its echoes unread", Leaving::Reset),
    ];
    rows.into_iter().map(|(name, leaving)| {
        let act = move |server: &mut Server| leave_unread(server, leaving);
        let row = Attack::new(21, name, "released", act).growing_at_most(4096);
        row.with_options(Options::with_little_room())
    })
}

/// How often each row is tried: the order of things must not be a matter of luck.
const TRIES: usize = 10;

/// Lengths of messages that are sent in one write with the end.
#[rustfmt::skip]
const BEFORE: &[(&str, &[usize])] = &[
    ("a byte", &[1]),
    ("17 messages of 1,000 bytes", &[1000; 17]),
    ("200 messages of a byte", &[1; 200]),
    ("64 KiB and ten bytes, each a message", &[65536, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
    ("five messages of 60,000 bytes", &[60_000; 5]),
    ("1 MiB and a byte", &[1_048_576, 1]),
];

#[derive(Clone, Copy, Debug)]
enum End {
    Close,
    /// The end of our direction, without a close frame.
    Finish,
}

fn behind_messages(&(name, lengths): &'static (&str, &[usize]), end: End) -> Attack {
    let name = match end {
        End::Close => format!("{name}, then a close, in one write"),
        End::Finish => format!("{name}, then its end"),
    };
    let mut bytes: Vec<u8> = lengths
        .iter()
        .flat_map(|length| masked(0x82, &vec![b'a'; *length]))
        .collect();
    let expected = match end {
        End::Close => format!("{} echoes, then 1000", lengths.len()),
        End::Finish => format!("{} echoes", lengths.len()),
    };
    if matches!(end, End::Close) {
        bytes.extend_from_slice(&BYE);
    }
    let row = Attack::new(24, name, expected.clone(), move |server| {
        for _ in 0..TRIES {
            let mut peer = Peer::upgraded(server.address())?;
            peer.send(&bytes)?;
            if matches!(end, End::Finish) {
                peer.finish();
            }
            let told = echoes(&mut peer, lengths);
            if told != expected {
                return Err(told);
            }
        }
        Ok(expected.clone())
    });
    row.growing_at_most(8 * 1024)
}

/// How many echoes come, and what behind them, to the end of the stream.
fn echoes(peer: &mut Peer, lengths: &[usize]) -> String {
    let mut count = 0;
    let mut told = loop {
        match peer.read_frame(PROMPT) {
            Some(frame) if lengths.get(count) == Some(&frame.payload.len()) => count += 1,
            Some(frame) => break format!("{count} echoes, then {}", frame.tell()),
            None => break format!("{count} echoes"),
        }
    };
    match peer.answer(PROMPT).as_str() {
        "closed" => {}
        other => {
            let _ = write!(told, ", then {other}");
        }
    }
    told
}

#[derive(Clone, Copy, Debug)]
enum Leaving {
    Finish,
    Reset,
}

/// Fills all that the echoes can wait in, so that the handler waits to send, and leaves. The longest
/// that a server may hold on to it: 20 s to a ping, 20 s from it, and 5 s to close.
fn leave_unread(server: &mut Server, leaving: Leaving) -> Told {
    const RELEASED: Duration = Duration::from_secs(50);
    let descriptors = server.descriptors();
    let mut peer = Peer::upgraded_with_little_room(server.address())?;
    await_stuck(server, &mut peer)?;
    let held = match leaving {
        Leaving::Finish => {
            peer.finish();
            Some(peer)
        }
        Leaving::Reset => {
            peer.reset();
            None
        }
    };
    let outcome = server.released(descriptors, RELEASED);
    drop(held);
    outcome.map(|()| "released".to_owned())
}

/// Sends until the server has left some of it unread for a while.
fn await_stuck(server: &Server, peer: &mut Peer) -> Result<(), String> {
    let message = masked(0x82, &[b'a'; 1000]).repeat(17);
    let end = Instant::now() + PROMPT * 3;
    while Instant::now() < end {
        peer.send(&message)?;
        let read = (0..10).any(|_| {
            thread::sleep(Duration::from_millis(10));
            server.unread(peer.port()) == 0
        });
        if !read {
            return Ok(());
        }
    }
    Err("the server read all of it".to_owned())
}
