//! Connections that the system refuses, lacks descriptors for, or brings all at once (kind 25).

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::closing::ending;
use super::crowds::serves;
use super::server::{Options, Server};
use super::wire::{PROMPT, Peer, plain_request};
use super::{Attack, Told};

pub(super) fn attacks() -> impl Iterator<Item = Attack> {
    let burst = Attack::new(25, "500 connect at once", "in time", burst).growing_at_most(8 * 1024);
    let scarce = Attack::new(
        25,
        "200 connections for 128 descriptors and 16 shards",
        "served or refused | refused to start",
        many_shards,
    );
    [burst, scarce].into_iter()
}

pub(super) fn patient_attacks() -> impl Iterator<Item = Attack> {
    FAILURES
        .iter()
        .map(|(name, errors, shards)| accept_fails(name, errors, *shards))
}

/// What `accept` fails with, one after the other, and for how many shards.
#[rustfmt::skip]
const FAILURES: &[(&str, &[i32], u32)] = &[
    ("accept fails by EPERM", &[EPERM], 1),
    ("accept fails by EPERM, in one of two shards", &[EPERM], 2),
    ("accept fails by EMFILE, EMFILE, ENFILE", &[EMFILE, EMFILE, ENFILE], 1),
    ("accept fails by ENOMEM, ENOBUFS, ENOBUFS", &[ENOMEM, ENOBUFS, ENOBUFS], 1),
    ("accept fails by ECONNABORTED, EPROTO, EHOSTUNREACH", &[ECONNABORTED, EPROTO, EHOSTUNREACH], 1),
];

/// Linux's numbers.
const EPERM: i32 = 1;
const ENOMEM: i32 = 12;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const EPROTO: i32 = 71;
const ECONNABORTED: i32 = 103;
const ENOBUFS: i32 = 105;
const EHOSTUNREACH: i32 = 113;

fn accept_fails(name: &'static str, errors: &[i32], shards: u32) -> Attack {
    let list: Vec<String> = errors.iter().map(i32::to_string).collect();
    let options = Options {
        shards,
        accept: Some(("ACCEPT_ERRORS", list.join(","))),
        ..Options::default()
    };
    let act = move |server: &mut Server| {
        // The first is accepted, and some of the others are not.
        for _ in 0..10 {
            drop(Peer::upgraded(server.address()));
        }
        let end = Instant::now() + PROMPT * 2;
        while let Err(failure) = serves(server) {
            if Instant::now() > end {
                return Err(failure);
            }
        }
        server.terminate()?;
        Ok(format!("served, then {}", ending(server)?))
    };
    let row = Attack::new(25, name, "served, then ended", act);
    row.without_bystander().with_options(options)
}

/// All connect before the server gets to run, and nine in ten are served before a SYN that was
/// dropped would be sent again.
fn burst(server: &mut Server) -> Told {
    const CROWD: usize = 500;
    const IN_TIME: Duration = Duration::from_millis(500);
    let connect = |_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        // It says that the handshake of TCP is under way.
        let _ = socket.connect(&server.address().into());
        Ok(socket.into())
    };
    let start = Instant::now();
    server.freeze()?;
    let connecting: io::Result<Vec<TcpStream>> = (0..CROWD).map(connect).collect();
    server.thaw()?;
    let mut connecting = connecting.map_err(|error| error.to_string())?;
    let request = plain_request(server.address());
    let (mut waiting, mut answered) = (Vec::new(), Vec::new());
    while start.elapsed() < IN_TIME && answered.len() < CROWD {
        // Until it is connected, a socket does not take anything.
        let sent = connecting.extract_if(.., |stream| stream.write(&request).is_ok());
        waiting.extend(sent);
        let read = waiting.extract_if(.., |stream| stream.read(&mut [0; 1024]).is_ok());
        answered.extend(read);
        thread::sleep(Duration::from_millis(1));
    }
    if answered.len() < CROWD * 9 / 10 {
        return Err(format!("{} of {CROWD} in time", answered.len()));
    }
    Ok("in time".to_owned())
}

/// More shards than there is room for: it may refuse to start, in words. If it starts, it keeps
/// nobody waiting.
fn many_shards(server: &mut Server) -> Told {
    const CROWD: usize = 200;
    let options = Options {
        shards: 16,
        descriptors_max: Some(128),
        ..Options::default()
    };
    let crowded = match server.start_another(&options) {
        Ok(crowded) => crowded,
        Err(failure) if failure.contains("descriptor") || failure.contains("open files") => {
            return Ok("refused to start".to_owned());
        }
        Err(failure) => return Err(failure),
    };
    let (mut inside, mut refused) = (Vec::new(), 0);
    for number in 0..CROWD {
        let mut peer = Peer::connect(crowded.address())?;
        peer.send(&plain_request(crowded.address()))?;
        match peer.read_head(PROMPT / 3) {
            Some(head) if head.starts_with(b"HTTP/1.1 101 ") => inside.push(peer),
            Some(head) if head.starts_with(b"HTTP/1.1 503 ") => refused += 1,
            Some(_) => return Err(format!("connection {number} got neither 101 nor 503")),
            None => {
                return Err(format!(
                    "connection {number} waits, {} are in",
                    inside.len()
                ));
            }
        }
    }
    if inside.is_empty() || refused == 0 {
        return Err(format!("{} are in, {refused} refused", inside.len()));
    }
    drop(inside);
    thread::sleep(Duration::from_millis(200));
    serves(&crowded)?;
    Ok("served or refused".to_owned())
}
