//! System calls per message of the example `echo`, as strace counts them.
//!
//! A client sends a segment of messages and waits for all replies before it sends the next. So
//! what is counted is a server that has nothing else to do: the least that a message costs when
//! it comes alone, and when it comes among others.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::baseline::{Figures, Unit};
use super::{per_operation, program};
use crate::run::{Outcome, Running};
use crate::workspace;

/// Messages in a segment, and the name under which its figures stand.
const SEGMENTS: [(usize, &str); 2] = [(1, "echo-1"), (16, "echo-16")];

/// Segments of the shorter of two runs.
const SEGMENTS_SENT: u64 = 2_000;

/// How long the server gets to start, to reply, and strace to tell what it counted.
const LIMIT: Duration = Duration::from_secs(15);

/// Counts the calls per message, of each sort.
pub(super) fn measure(figures: &mut Figures) -> Outcome {
    for (together, name) in SEGMENTS {
        let once = count(together, SEGMENTS_SENT)?;
        let twice = count(together, 2 * SEGMENTS_SENT)?;
        let messages = SEGMENTS_SENT * together as u64;
        for (sort, once, twice) in [
            ("reads", once.reads, twice.reads),
            ("writes", once.writes, twice.writes),
            ("waits", once.waits, twice.waits),
            ("others", once.others, twice.others),
        ] {
            let figure = per_operation(once, twice, messages);
            figures.add(Unit::Calls, format!("{name} {sort}"), figure);
        }
    }
    Ok(())
}

/// System calls by what they are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Calls {
    reads: u64,
    writes: u64,
    /// For anything to happen.
    waits: u64,
    others: u64,
}

/// The calls of a server from its start to its end, of which it echoes segments.
fn count(together: usize, segments: u64) -> Outcome<Calls> {
    let file = workspace::target().join("strace.out");
    match fs::remove_file(&file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(format!("{}: {error}", file.display()));
        }
        _ => {}
    }
    let (server, address) = start(&file)?;
    echo(address, together, segments).map_err(|error| format!("echo at {address}: {error}"))?;
    drop(server);
    let end = Instant::now() + LIMIT;
    loop {
        let calls = fs::read_to_string(&file).ok().and_then(|text| parse(&text));
        match calls {
            Some(calls) => return Ok(calls),
            None if Instant::now() < end => thread::sleep(Duration::from_millis(1)),
            None => return Err(format!("strace wrote no table into {}", file.display())),
        }
    }
}

/// Starts the server with strace beside it, not above: what is started here is the server, and
/// when that is ended, strace writes its table and ends too.
fn start(file: &Path) -> Outcome<(Running, SocketAddr)> {
    let mut command = Command::new(program("strace")?);
    command
        .args(["--daemonize", "--follow-forks", "--summary-only", "-qq"])
        .arg("--output")
        .arg(file)
        .arg(workspace::release("examples/echo"))
        .arg("127.0.0.1:0");
    Running::start_until(&mut command, LIMIT, |line| {
        let (_, port) = line.trim_end().rsplit_once(':')?;
        Some((Ipv4Addr::LOCALHOST, port.parse().ok()?).into())
    })
}

/// Sends segments, each when the one before has come back.
fn echo(address: SocketAddr, together: usize, segments: u64) -> io::Result<()> {
    const PAYLOAD: &[u8; 20] = b"twenty bytes of text";
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    shake_hands(&mut stream)?;
    // A mask of zeros leaves the payload as it is.
    let sent = [b"\x81\x94\0\0\0\0", &PAYLOAD[..]]
        .concat()
        .repeat(together);
    let expected = [b"\x81\x14", &PAYLOAD[..]].concat().repeat(together);
    let mut received = vec![0; expected.len()];
    for _ in 0..segments {
        stream.write_all(&sent)?;
        stream.read_exact(&mut received)?;
        if received != expected {
            return Err(io::Error::other("what was sent did not come back"));
        }
    }
    Ok(())
}

fn shake_hands(stream: &mut TcpStream) -> io::Result<()> {
    const REQUEST: &[u8] = b"\
        GET / HTTP/1.1\r\n\
        Host: localhost\r\n\
        Connection: Upgrade\r\n\
        Upgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        \r\n";
    stream.write_all(REQUEST)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    if head.starts_with(b"HTTP/1.1 101 ") {
        Ok(())
    } else {
        let head = String::from_utf8_lossy(&head).into_owned();
        Err(io::Error::other(format!("the handshake failed: {head:?}")))
    }
}

/// Reads strace's table, which is complete once it has its total.
fn parse(table: &str) -> Option<Calls> {
    let mut calls = Calls::default();
    for line in table.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        // The fifth column, errors, is mostly empty.
        let [_, _, _, count, .., name] = words[..] else {
            continue;
        };
        let Ok(count) = count.parse::<u64>() else {
            continue;
        };
        match name {
            "total" => return Some(calls),
            "read" | "readv" | "recvfrom" | "recvmsg" => calls.reads += count,
            "write" | "writev" | "sendto" | "sendmsg" => calls.writes += count,
            "epoll_wait" | "epoll_pwait" | "epoll_pwait2" => calls.waits += count,
            _ => calls.others += count,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ------------------
 47.28    0.014847          14      1001           sendto
 27.02    0.008483           8      1002           epoll_wait
 25.70    0.008069           8      1001         1 recvfrom
  0.00    0.000000           0         7           read
  0.00    0.000000           0         2           write
  0.00    0.000000           0         2         1 accept4
  0.00    0.000000           0        17           mmap
------ ----------- ----------- --------- --------- ------------------
100.00    0.031399          10      3032         2 total
";

    #[test]
    fn table_is_read_by_what_calls_are_for() {
        let calls = Calls {
            reads: 1008,
            writes: 1003,
            waits: 1002,
            others: 19,
        };
        assert_eq!(parse(TABLE), Some(calls));
    }

    #[test]
    fn table_without_its_total_is_not_complete() {
        let (incomplete, _) = TABLE.rsplit_once("100.00").expect("the table has a total");
        assert_eq!(parse(incomplete), None);
        assert_eq!(parse(""), None);
    }
}
