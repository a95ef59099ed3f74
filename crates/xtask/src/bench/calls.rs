//! System calls per message, counted by `strace`.
//!
//! The server is watched twice, for one and for two times as many messages: the difference is
//! what the messages cost, without the handshakes before and the closing after. A server that is
//! watched is slow, so that more messages may wait for it at each read than otherwise.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::measure::{Extent, Server};
use super::peers::Peer;
use super::results::Calls;
use super::rows::Row;
use crate::run::{self, Outcome, Running};
use crate::workspace;

const READS: &[&str] = &["read", "readv", "recvfrom", "recvmsg", "recvmmsg"];
const WRITES: &[&str] = &["write", "writev", "sendto", "sendmsg", "sendmmsg"];
/// With an `io_uring` the reads and writes are part of these.
const WAITS: &[&str] = &[
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "io_uring_enter",
];

const MESSAGES: u32 = 20_000;
/// `strace` attaches to a process, and lets it go, at once; it is not waited for longer.
const ATTACH_LIMIT: Duration = Duration::from_secs(10);

/// Calls of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Count {
    reads: i64,
    writes: i64,
    waits: i64,
}

/// Counts the calls that a server of the peer makes under the row's load.
pub(super) fn count(peer: &Peer, row: &Row) -> Calls {
    match differences(peer, row) {
        Ok(calls) => calls,
        Err(failure) => Calls::Failed(failure),
    }
}

fn differences(peer: &Peer, row: &Row) -> Outcome<Calls> {
    if workspace::find_program("strace").is_none() {
        return Err("strace is missing; on Debian: sudo apt-get install strace".to_owned());
    }
    let once = watch(peer, row, MESSAGES)?;
    let twice = watch(peer, row, 2 * MESSAGES)?;
    #[expect(clippy::cast_precision_loss, reason = "calls are counted in thousands")]
    let per_message = |twice: i64, once: i64| (twice - once).max(0) as f64 / f64::from(MESSAGES);
    Ok(Calls::Counted {
        reads: per_message(twice.reads, once.reads),
        writes: per_message(twice.writes, once.writes),
        waits: per_message(twice.waits, once.waits),
    })
}

/// Counts the calls of a server that is started for this.
fn watch(peer: &Peer, row: &Row, messages: u32) -> Outcome<Count> {
    let server = Server::start(peer, row)?;
    let table = workspace::target().join("bench").join("calls.txt");
    let _ = fs::remove_file(&table);
    let mut watcher = attach(server.id(), &table)?;
    let measured = server.measure(row, Extent::Messages(messages));
    run::output(Command::new("kill").args(["-INT", &watcher.id().to_string()]))?;
    watcher.wait(ATTACH_LIMIT);
    measured?;
    let text = fs::read_to_string(&table)
        .map_err(|error| format!("strace left no table of the calls: {error}"))?;
    Ok(Count::of(&text))
}

fn attach(process: u32, table: &Path) -> Outcome<Running> {
    // What it says goes to standard error; the table goes to the file.
    let script = "exec \"$@\" 2>&1";
    let names = [READS, WRITES, WAITS].concat().join(",");
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", "strace", "-c", "-f"]);
    command.args(["-p", &process.to_string(), "-e"]);
    command.arg(format!("trace={names}"));
    command.arg("-o").arg(table);
    let attached = Running::start_until(&mut command, ATTACH_LIMIT, |line| {
        line.contains("attached").then_some(())
    });
    match attached {
        Ok((watcher, ())) => Ok(watcher),
        Err(_) => Err("strace may not attach to the server; run this as root".to_owned()),
    }
}

impl Count {
    /// From the table that `strace -c` prints: the share of the time, seconds, microseconds per
    /// call, calls, errors (or nothing), and the name.
    fn of(table: &str) -> Self {
        let calls = |names: &[&str]| {
            let lines = table.lines().map(|line| line.split_whitespace().collect());
            let counts = lines.filter_map(|words: Vec<&str>| {
                let name = words.last()?;
                let calls = words.get(3)?.parse::<i64>().ok()?;
                names.contains(name).then_some(calls)
            });
            counts.sum()
        };
        Self {
            reads: calls(READS),
            writes: calls(WRITES),
            waits: calls(WAITS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_from_the_table() {
        let table = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 61.09    0.012300           2      5000        12 recvfrom
 30.00    0.006000           1      4000           writev
  5.00    0.001000           1      1000           write
  3.91    0.000700           0       900           epoll_pwait
------ ----------- ----------- --------- --------- ----------------
100.00    0.020000           1     10900        12 total
";
        let expected = Count {
            reads: 5_000,
            writes: 5_000,
            waits: 900,
        };
        assert_eq!(Count::of(table), expected);
    }
}
