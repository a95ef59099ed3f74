//! Many connections, at a time or one after the other (kinds 1, 10, 11, 16, 21, 22 and 25).

use std::fs;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::bytes::{bytes_of, masked};
use super::server::{Options, Server};
use super::wire::{PROMPT, Peer, plain_request};
use super::{Attack, Script, Told};

pub(super) fn attacks() -> impl Iterator<Item = Attack> {
    let rows: [(u8, &str, &str, Script); 8] = [
        (
            21,
            "300 leave after each prefix of an exchange",
            "released",
            leave_after_prefixes,
        ),
        (
            21,
            "300 end their direction after each prefix",
            "released",
            finish_after_prefixes,
        ),
        (
            16,
            "300 reset after each prefix",
            "released",
            reset_after_prefixes,
        ),
        (25, "2,000 connect and leave", "released", connect_and_leave),
        (
            25,
            "1,000 come, echo and close, one by one",
            "released",
            come_and_go,
        ),
        (
            25,
            "1,000 refused requests, one by one",
            "released",
            refused_requests,
        ),
        (
            25,
            "terminal controls in all that a log could hold",
            "none in the log",
            controls,
        ),
        (
            22,
            "200 idle after an echo of 64 KiB each",
            "200 held",
            idle_after_large_messages,
        ),
    ];
    let rows = rows.map(|(topic, name, expected, act)| {
        Attack::new(topic, name, expected, act).growing_at_most(4096)
    });
    let scarce = Attack::new(
        25,
        "200 connections for 64 descriptors",
        "served",
        scarce_descriptors,
    );
    HELD.iter()
        .map(held)
        .chain(rows)
        .chain([scarce.with_options(Options {
            descriptors_max: Some(64),
            ..Options::default()
        })])
}

const CROWD: usize = 200;

/// Holds connections after having sent this on each: they stay open, and cost no more than so many
/// KiB each. What is declared but not there must cost nothing.
#[rustfmt::skip]
const HELD: &[(u8, &str, &str, u64)] = &[
    (25, "200 idle connections", "", 4),
    (10, "200 times 1 MiB declared, nothing sent", "82 ff 0000000000100000 key", 8),
    (10, "200 times 1 MiB declared, a byte sent", "82 ff 0000000000100000 key 61", 8),
    (10, "200 times a fragment, 1 MiB declared", "02 81 key 61 00 ff 00000000000fffff key 61", 8),
    (10, "200 times 10,000 bytes of 1 MiB", "82 ff 0000000000100000 key 61*10000", 32),
    (10, "200 times 3 bytes of a header", "82 ff 00", 8),
    (11, "200 times 5 empty fragments", "02 80 key 0080 key 0080 key 0080 key 0080 key", 8),
];

fn held(&(topic, name, words, kib_each): &'static (u8, &str, &str, u64)) -> Attack {
    let row = Attack::new(topic, name, "200 held", move |server| {
        hold(server, |peer| peer.send(&bytes_of(words)))
    });
    row.growing_at_most(2048 + CROWD as u64 * kib_each)
}

/// Opens a crowd of connections, each of which does `act`, and counts those that stay open.
fn hold(server: &Server, act: impl Fn(&mut Peer) -> Result<(), String>) -> Told {
    let open = |number| {
        let mut peer = Peer::upgraded(server.address())?;
        act(&mut peer).map_err(|failure| format!("connection {number}: {failure}"))?;
        Ok(peer)
    };
    let mut peers = (0..CROWD)
        .map(open)
        .collect::<Result<Vec<Peer>, String>>()?;
    serves(server)?;
    peers.retain_mut(|peer| !peer.read_until(Duration::from_millis(1), |_| false));
    Ok(format!("{} held", peers.len()))
}

/// Lets the server read what was sent, and checks that it serves a newcomer.
pub(super) fn serves(server: &Server) -> Result<(), String> {
    thread::sleep(Duration::from_millis(200));
    match Peer::upgraded(server.address())?.last_words()?.as_str() {
        "\"hi\" 1000" => Ok(()),
        other => Err(format!("a newcomer got {other}")),
    }
}

/// What a connection held for a large message goes back when it is over.
fn idle_after_large_messages(server: &mut Server) -> Told {
    let message = masked(0x82, &vec![b'a'; 65536]);
    hold(server, |peer| {
        peer.send(&message)?;
        let echo = peer.read_frame(PROMPT).ok_or("no echo")?;
        if echo.payload.len() == 65536 {
            Ok(())
        } else {
            Err("no whole echo".into())
        }
    })
}

/// Each holds a head of 8,000 bytes, without its end; all are refused when the time is up.
pub(super) fn half_heads() -> Attack {
    let act = |server: &mut Server| {
        let head = format!("GET /echo HTTP/1.1\r\nX: {}", "a".repeat(8000));
        let open = |_| {
            let mut peer = Peer::connect(server.address())?;
            peer.send(head.as_bytes())?;
            Ok(peer)
        };
        let mut peers = (0..CROWD)
            .map(open)
            .collect::<Result<Vec<Peer>, String>>()?;
        serves(server)?;
        let limit = Duration::from_secs(15);
        let answers = peers
            .iter_mut()
            .map(|peer| peer.answer_to_request("", limit));
        Ok(format!(
            "{} got 408",
            answers.filter(|answer| answer == "408").count()
        ))
    };
    let row = Attack::new(
        1,
        "200 times half a head of 8,000 bytes",
        "200 got 408",
        act,
    );
    row.growing_at_most(2048 + CROWD as u64 * 32)
}

fn leave_after_prefixes(server: &mut Server) -> Told {
    after_prefixes(server, |peer| {
        drop(peer);
        Ok(())
    })
}

fn finish_after_prefixes(server: &mut Server) -> Told {
    after_prefixes(server, |mut peer| {
        peer.finish();
        if peer.read_until(PROMPT, |_| false) {
            Ok(())
        } else {
            Err("left open".to_owned())
        }
    })
}

/// Closing a socket that holds what was not read sends a reset.
fn reset_after_prefixes(server: &mut Server) -> Told {
    after_prefixes(server, |mut peer| {
        peer.wait_for_unread(Duration::from_millis(5));
        Ok(())
    })
}

/// Cuts an exchange at each byte: a handshake, a message in fragments around a ping, a close.
fn after_prefixes(server: &Server, end: fn(Peer) -> Result<(), String>) -> Told {
    let descriptors = server.descriptors();
    let frames =
        bytes_of("81 82 key \"hi\" 01 82 key \"He\" 89 81 key \"a\" 80 83 key \"llo\" bye");
    let exchange = [plain_request(server.address()), frames].concat();
    for length in 0..=exchange.len() {
        let mut peer = Peer::connect(server.address())?;
        peer.send(&exchange[..length])?;
        end(peer).map_err(|failure| format!("{failure} after {length} bytes"))?;
    }
    released(server, descriptors)
}

fn released(server: &Server, descriptors: usize) -> Told {
    server.released(descriptors, PROMPT)?;
    serves(server)?;
    server.released(descriptors, PROMPT)?;
    Ok("released".to_owned())
}

fn connect_and_leave(server: &mut Server) -> Told {
    let descriptors = server.descriptors();
    for _ in 0..2000 {
        TcpStream::connect(server.address()).map_err(|error| error.to_string())?;
    }
    released(server, descriptors)
}

fn come_and_go(server: &mut Server) -> Told {
    let descriptors = server.descriptors();
    for number in 0..1000 {
        match Peer::upgraded(server.address())?.last_words()?.as_str() {
            "\"hi\" 1000" => {}
            other => return Err(format!("connection {number} got {other}")),
        }
    }
    released(server, descriptors)
}

fn refused_requests(server: &mut Server) -> Told {
    let descriptors = server.descriptors();
    for number in 0..1000 {
        let mut peer = Peer::connect(server.address())?;
        peer.send(b"\x16\x03\x01\r\n\r\n")?;
        match peer.answer_to_request("", PROMPT).as_str() {
            "400" => {}
            other => return Err(format!("request {number} got {other}")),
        }
    }
    released(server, descriptors)
}

/// What an attacker sends must not steer the terminal of who reads the log.
fn controls(server: &mut Server) -> Told {
    for request in [
        "GET /\x1b[2J HTTP/1.1\r\n\r\n",
        "\x1b]0;a\x07 / HTTP/1.1\r\n\r\n",
        "GET /echo HTTP/1.1\r\nHost: \x1b[31m\r\n\r\n",
        "GET /echo HTTP/1.1\r\n\x1b[31m: a\r\n\r\n",
        "GET /echo \x1b[31m\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: \x1b[31m\r\n\r\n",
    ] {
        let mut peer = Peer::connect(server.address())?;
        peer.send(request.as_bytes())?;
        peer.answer_to_request("", PROMPT);
    }
    let mut peer = Peer::upgraded(server.address())?;
    peer.send(&masked(0x88, b"\x03\xe8\x1b[31m"))?;
    peer.answer(PROMPT);
    let log = fs::read_to_string(server.log()).map_err(|error| error.to_string())?;
    match log.chars().find(|c| c.is_control() && *c != '\n') {
        None => Ok("none in the log".to_owned()),
        Some(control) => Err(format!("{control:?} in the log")),
    }
}

/// With 64 descriptors and 200 who want in, those who are in are served, the process does not
/// spin, and who comes later is served once others leave.
fn scarce_descriptors(server: &mut Server) -> Told {
    const FLOOD: Duration = Duration::from_secs(3);
    /// The bystander's echoes and ours cost some of it.
    const PROCESSOR_MAX: Duration = Duration::from_secs(1);
    let open = |_| Peer::upgraded(server.address());
    let mut held = (0..20).map(open).collect::<Result<Vec<_>, _>>()?;
    let before = server.processor_time();
    let start = Instant::now();
    let connect = |_| TcpStream::connect_timeout(&server.address(), Duration::from_millis(5)).ok();
    let crowd: Vec<TcpStream> = (0..CROWD).filter_map(connect).collect();
    while start.elapsed() < FLOOD {
        for peer in &mut held {
            peer.send(&masked(0x81, b"hi"))?;
            let echo = peer
                .read_frame(PROMPT)
                .ok_or("one who was in got no echo")?;
            if echo.payload != b"hi" {
                return Err(format!("one who was in got {}", echo.tell()));
            }
        }
        thread::sleep(Duration::from_millis(100));
    }
    let used = server.processor_time().saturating_sub(before);
    if used > PROCESSOR_MAX {
        return Err(format!("used {used:?} of the processor in {FLOOD:?}"));
    }
    drop(crowd);
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        match serves(server) {
            Ok(()) => return Ok("served".to_owned()),
            Err(failure) if Instant::now() > end => return Err(failure),
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}
