//! The memory of `chappe serve`: what its connections may hold together.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "shared with the other tests, which use all of it")]
mod server;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::server::{Server, chappe, run};

/// A message of this length that is begun, and all but its last byte; then a ping, as it is the first
/// of two frames.
fn begin_message(length: usize) -> Vec<u8> {
    let mut bytes = b"\x02\xff".to_vec();
    bytes.extend_from_slice(&(length as u64).to_be_bytes());
    // The mask is zero, so all is as it stands here.
    bytes.resize(bytes.len() + 4 + length, 0);
    bytes.extend_from_slice(PING);
    bytes
}

const PING: &[u8] = b"\x89\x80\0\0\0\0";
const PONG: &[u8] = b"\x8a\0";

/// The frames that end a message: an empty one.
const MESSAGE_END: &[u8] = b"\x80\x80\0\0\0\0";

/// Whether a frame that begins so closes with 1013.
fn is_overload(begin: [u8; 4]) -> bool {
    begin[0] == 0x88 && begin[2..] == 1013_u16.to_be_bytes()
}

/// Whether the server has taken all that was sent so far; else it has closed with 1013.
fn is_taken(peer: &mut TcpStream) -> bool {
    let mut answer = [0; 4];
    peer.read_exact(&mut answer[..2]).unwrap();
    if answer.starts_with(PONG) {
        return true;
    }
    peer.read_exact(&mut answer[2..]).unwrap();
    assert!(is_overload(answer), "{answer:x?}");
    false
}

/// Whether what was begun comes back when it is ended; else the server has closed with 1013.
fn is_echoed(peer: &mut TcpStream, length: usize) -> bool {
    peer.write_all(MESSAGE_END).unwrap();
    let mut begin = [0; 4];
    peer.read_exact(&mut begin).unwrap();
    if is_overload(begin) {
        return false;
    }
    assert_eq!(begin[..2], [0x82, 127]);
    let mut rest = vec![0; 6 + length];
    peer.read_exact(&mut rest).unwrap();
    true
}

fn assert_serves(peer: &mut TcpStream) {
    peer.write_all(PING).unwrap();
    assert!(is_taken(peer), "the bystander is served");
}

/// A server with this bound on memory.
fn start_with_memory(size: &str, shards: &str) -> Server {
    let mut command = chappe(&["serve", "--listen", "127.0.0.1:0"]);
    command.args(["--shards", shards, "--memory-max", size]);
    Server::start_by(command.env("CHAPPE_LOG", "debug"))
}

#[test]
fn peer_that_takes_more_than_the_bound_on_memory_is_closed_with_1013() {
    let server = start_with_memory("256KiB", "1");
    let mut bystander = server.open();
    // A message in progress holds at most twice what has arrived, and its echo is held beside it.
    // Differences of less than 4 KiB are not told.
    for (kib, expected) in [(64, true), (261, false), (64, true)] {
        let mut peer = server.open();
        peer.write_all(&begin_message(kib * 1024)).unwrap();
        let taken = is_taken(&mut peer);
        assert_eq!(taken, expected, "{kib} KiB of 256");
        assert!(!taken || is_echoed(&mut peer, kib * 1024), "{kib} KiB");
        assert_serves(&mut bystander);
    }
    drop(bystander);
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains(r#""memory_bytes_max":262144"#), "{log}");
    assert!(log.contains(r#"\"overloaded\": 1"#), "{log}");
}

#[test]
fn shards_share_the_bound_on_memory() {
    let server = start_with_memory("1M", "2");
    let length = 100 * 1024;
    let mut peers: Vec<_> = (0..32).map(|_| server.open()).collect();
    for peer in &mut peers {
        peer.write_all(&begin_message(length)).unwrap();
    }
    peers.retain_mut(is_taken);
    // Some of those were closed after their pong, to make room for others.
    peers.retain_mut(|peer| is_echoed(peer, length));
    assert!(!peers.is_empty());
    assert!(peers.len() * length <= 1024 * 1024, "{}", peers.len());
}

#[test]
fn what_is_no_size_for_memory_is_told_with_what_is() {
    for size in ["0", "0K", "much", "1.5G", "64MB", "", "99999999999G"] {
        let output = run(&["serve", "--memory-max", size]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{size}: {said}");
        assert!(said.contains("such as 67108864, 64MiB or 64M"), "{said}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn limit_on_address_space_leaves_room_for_threads_and_is_survived() {
    let length = 1024 * 1024 - 64;
    // Where there is least room, not all threads find any for a heap of their own.
    for mib in [200, 300, 400] {
        let server = Server::start_after(&format!("ulimit -v {}", mib * 1024), "2");
        let mut bystander = server.open();
        let mut peers: Vec<_> = (0..200).map(|_| server.open()).collect();
        let message = begin_message(length);
        // All of them grow together.
        for piece in message.chunks(128 * 1024) {
            for peer in &mut peers {
                peer.write_all(piece).unwrap();
            }
        }
        assert_serves(&mut bystander);
        let before = peers.len();
        peers.retain_mut(is_taken);
        assert!(peers.len() < before, "somebody was closed");
        assert!(peers.len() * length <= mib * 1024 * 1024 / 4);
        assert_serves(&mut bystander);
        drop((bystander, peers));
        let (code, log) = server.stop();
        assert_eq!(code, Some(0), "{log}");
    }
}

/// Resident bytes of a process.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn resident(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<usize>().unwrap() * 1024
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn memory_of_a_peak_goes_back_to_the_system_though_something_outlives_it() {
    // Less than what the allocator takes from the system alone, and gives back as soon as it is free.
    let length = 100 * 1024;
    let message = begin_message(length);
    let server = Server::start("1");
    let process = server.process.id();
    let begin_one = || {
        let mut peer = server.open();
        peer.write_all(&message).unwrap();
        assert!(is_taken(&mut peer));
        peer
    };
    drop(begin_one());
    let before = resident(process);
    let mut peers: Vec<_> = (0..200).map(|_| begin_one()).collect();
    let peak = resident(process);
    assert!(peak > before + 200 * length * 9 / 10, "{before} {peak}");
    // What comes and goes between two looks is not seen.
    let mut bystander = server.open();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(1) {
        assert_serves(&mut bystander);
    }
    // The heap can't shrink below what the last ones hold.
    let outlive = peers.split_off(198);
    drop(peers);
    let enough = before + 200 * length / 8;
    let begin = Instant::now();
    while resident(process) > enough {
        let patience = Duration::from_secs(30);
        let after = resident(process);
        assert!(begin.elapsed() < patience, "{before} {peak} {after}");
        std::thread::yield_now();
    }
    drop(outlive);
}
