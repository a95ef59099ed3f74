//! Peers that have got a close frame or a refusal, and do not leave (kind 24).
//!
//! The server has one absolute budget for a closing handshake, 5 s, after which it closes the
//! stream, whatever still comes. These rows run all at the same time, each with a server of its
//! own.

use std::thread;
use std::time::Duration;

use super::bytes::bytes_of;
use super::server::Server;
use super::tell::header;
use super::wire::{PROMPT, Peer, plain_request};
use super::{Attack, Script, Told};

pub(super) fn attacks() -> impl Iterator<Item = Attack> {
    let refused = [
        after_refusal("is refused, and sends on", FAST),
        after_refusal("is refused, and sends on slowly", SLOW),
    ];
    let others: [(&str, &str, Script); 4] = [
        (
            "is refused, and goes silent",
            "426, then released",
            silent_after_refusal,
        ),
        (
            "posts a body without end",
            "400 | 403 | 404 | 405 | 411 | 413",
            endless_body,
        ),
        (
            "ignores that the server ends",
            "1001, then ended",
            ignored_ending,
        ),
        (
            "is amid a request when the server ends",
            "ended",
            ending_amid_a_request,
        ),
    ];
    let others = others.map(|(name, expected, act)| Attack::new(24, name, expected, act));
    CLOSED.iter().map(after_close).chain(refused).chain(others)
}

/// When a peer that does not close is left alone: 5 s after our close frame, and some more.
const CLOSE_LIMIT: Duration = Duration::from_secs(8);
const FAST: Duration = Duration::from_micros(200);
const SLOW: Duration = Duration::from_millis(250);

/// What makes the server send its close frame, what goes on and at which pace, and what comes of
/// it. Nothing going on, the server's descriptors are counted.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    Duration,
    &'static str,
);

#[rustfmt::skip]
const CLOSED: &[Row] = &[
    ("is failed, and sends on", "ff 80 key", "82 fe 0fa0 key 61*4000", FAST, "1002, then refused"),
    ("is failed, and sends on slowly", "ff 80 key", "61", SLOW, "1002, then refused"),
    ("is failed, and goes silent", "ff 80 key", "", SLOW, "1002, then released"),
    ("closes, and sends on", "bye", "82 fe 0fa0 key 61*4000", FAST, "1000, then refused"),
    ("closes, and sends on slowly", "bye", "61", SLOW, "1000, then refused"),
    ("closes, and pings on", "bye", "89 81 key 61", SLOW, "1000, then refused"),
    ("closes, and goes silent", "bye", "", SLOW, "1000, then released"),
];

fn after_close(&(name, first, then, pause, expected): &'static Row) -> Attack {
    Attack::new(24, name, expected, move |server| {
        let descriptors = server.descriptors();
        let mut peer = Peer::upgraded(server.address())?;
        peer.send(&bytes_of(first))?;
        let frame = peer.read_frame(PROMPT).ok_or("no close frame")?;
        let then = bytes_of(then);
        if then.is_empty() {
            server.released(descriptors, CLOSE_LIMIT)?;
            return Ok(format!("{}, then released", frame.tell()));
        }
        let refused = peer.send_until_refused(&then, pause, CLOSE_LIMIT);
        Ok(format!(
            "{}, then {}",
            frame.tell(),
            if refused { "refused" } else { "taken" }
        ))
    })
}

fn after_refusal(name: &'static str, pause: Duration) -> Attack {
    Attack::new(24, name, "426, then refused", move |server| {
        let refused = refused_request(server)?.send_until_refused(b"a", pause, CLOSE_LIMIT);
        Ok(format!(
            "426, then {}",
            if refused { "refused" } else { "taken" }
        ))
    })
}

fn silent_after_refusal(server: &mut Server) -> Told {
    let descriptors = server.descriptors();
    let _held = refused_request(server)?;
    server.released(descriptors, CLOSE_LIMIT)?;
    Ok("426, then released".to_owned())
}

fn refused_request(server: &Server) -> Result<Peer, String> {
    let mut peer = Peer::connect(server.address())?;
    let request = String::from_utf8_lossy(&plain_request(server.address())).into_owned();
    peer.send(request.replace("Version: 13", "Version: 12").as_bytes())?;
    let head = peer.read_head(PROMPT).ok_or("no answer")?;
    header(&head, "Sec-WebSocket-Version")
        .map(|_| peer)
        .ok_or_else(|| "not 426".to_owned())
}

fn endless_body(server: &mut Server) -> Told {
    let mut peer = Peer::connect(server.address())?;
    let host = server.address();
    let head = format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000000000\r\n\r\n");
    peer.send(head.as_bytes())?;
    let refused = peer.send_until_refused(&[b'a'; 4000], FAST, CLOSE_LIMIT);
    let answer = peer.answer_to_request("", PROMPT);
    if refused {
        Ok(answer)
    } else {
        Err(format!("{answer}, but took all the same"))
    }
}

fn ignored_ending(server: &mut Server) -> Told {
    let mut peer = Peer::upgraded(server.address())?;
    server.terminate()?;
    let frame = peer.read_frame(PROMPT).ok_or("no close frame")?;
    Ok(format!("{}, then {}", frame.tell(), ending(server)?))
}

fn ending_amid_a_request(server: &mut Server) -> Told {
    let mut peer = Peer::connect(server.address())?;
    peer.send(b"GET /echo HTTP/1.1\r\n")?;
    // The half request is read before the signal comes.
    thread::sleep(Duration::from_millis(200));
    server.terminate()?;
    ending(server)
}

pub(super) fn ending(server: &mut Server) -> Told {
    match server.wait(CLOSE_LIMIT * 2) {
        Some(status) if status.success() => Ok("ended".to_owned()),
        Some(status) => Err(format!("ended with {status}")),
        None => Err("still running".to_owned()),
    }
}
