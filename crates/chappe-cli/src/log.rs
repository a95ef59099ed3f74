//! What goes to standard error, where nobody has to wait for it.
//!
//! In: log events, complaints, panics. Out: lines, written by a thread of their own. Whoever reads
//! standard error may be slow, or have stopped: then lines are lost and counted, and no shard waits.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::Dispatch;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

/// Logs for people on a terminal, as JSON elsewhere; times are UTC. `CHAPPE_LOG` sets the level:
/// `debug` tells of each connection's begin and end, `chappe=trace` of one crate's alone.
pub(crate) fn start() {
    let level = std::env::var("CHAPPE_LOG").unwrap_or_default();
    let targets: Targets = level
        .parse()
        .ok()
        .filter(|_| !level.is_empty())
        .unwrap_or_else(|| Targets::new().with_default(tracing::Level::INFO));
    let spawned = thread::Builder::new()
        .name("log".to_owned())
        .spawn(|| QUEUE.write_to(io::stderr, &log_to(targets_of_our_own(), io::stderr)));
    let dispatch = match spawned {
        Ok(_) => log_to(targets, || ToQueue),
        // No threads are left: nothing that serves will start.
        Err(_) => log_to(targets, io::stderr),
    };
    tracing::dispatcher::set_global_default(dispatch).expect("it is the first one");
    std::panic::set_hook(Box::new(tell_panic));
}

/// Says what went wrong.
pub(crate) fn complain(what: impl Display) {
    QUEUE.push(format!("chappe: {what}\n").as_bytes(), COMPLAINTS_BYTES_MAX);
}

/// Waits until all is written that was logged, but not for long: the reader may have stopped.
pub(crate) fn flush() {
    QUEUE.flush(FLUSH_TIMEOUT);
}

fn log_to<W>(targets: Targets, writer: W) -> Dispatch
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let registry = tracing_subscriber::registry().with(targets);
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    if io::stderr().is_terminal() {
        Dispatch::new(registry.with(layer.with_target(false)))
    } else {
        Dispatch::new(registry.with(layer.json().flatten_event(true)))
    }
}

/// For what is logged about logging.
fn targets_of_our_own() -> Targets {
    Targets::new().with_default(tracing::Level::WARN)
}

fn tell_panic(panic: &PanicHookInfo<'_>) {
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        tracing::error!(%backtrace, "{panic}");
    } else {
        tracing::error!("{panic}");
    }
    // Nobody else will: the process ends with its main thread.
    if thread::current().name() == Some("main") {
        flush();
    }
}

static QUEUE: Queue = Queue::new();

/// Lines that wait to be written.
struct Queue {
    state: Mutex<State>,
    /// Told when there is something to write, and when all was written.
    changed: Condvar,
}

struct State {
    /// Whole lines, at most [`COMPLAINTS_BYTES_MAX`].
    lines: Vec<u8>,
    /// Lines for which there was no room.
    lost: u64,
    /// Whether lines were taken that are not yet written.
    is_writing: bool,
}

impl Queue {
    const fn new() -> Self {
        Self {
            state: Mutex::new(State {
                lines: Vec::new(),
                lost: 0,
                is_writing: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Queues a line, if there are then no more bytes than these; else counts it as lost.
    fn push(&self, line: &[u8], bytes_max: usize) {
        let mut state = self.lock();
        if state.lines.len() + line.len() > bytes_max {
            state.lost += 1;
            return;
        }
        state.lines.extend_from_slice(line);
        drop(state);
        self.changed.notify_all();
    }

    /// Writes what is queued, without end. `own` is for events about the log itself.
    fn write_to<W: Write>(&self, writer: impl Fn() -> W, own: &Dispatch) {
        loop {
            let (lines, lost) = self.take();
            // Where writing fails there is nobody to tell.
            let _ = writer().write_all(&lines);
            if lost > 0 {
                tracing::dispatcher::with_default(own, || {
                    tracing::warn!(lost, "log lines were lost, as nobody read them in time");
                });
            }
            self.lock().is_writing = false;
            self.changed.notify_all();
        }
    }

    /// Waits for something to write.
    fn take(&self) -> (Vec<u8>, u64) {
        let state = self.lock();
        let nothing = |state: &mut State| state.lines.is_empty() && state.lost == 0;
        let result = self.changed.wait_while(state, nothing);
        let mut state = result.unwrap_or_else(PoisonError::into_inner);
        state.is_writing = true;
        (
            std::mem::take(&mut state.lines),
            std::mem::take(&mut state.lost),
        )
    }

    fn flush(&self, timeout: Duration) {
        let state = self.lock();
        let something =
            |state: &mut State| state.is_writing || !state.lines.is_empty() || state.lost > 0;
        let _ = self.changed.wait_timeout_while(state, timeout, something);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Queues each event, which is written in one piece.
struct ToQueue;

impl Write for ToQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        QUEUE.push(line, LOG_BYTES_MAX);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// More than a thousand lines, beside what a pipe holds.
const LOG_BYTES_MAX: usize = 256 * 1024;

/// Why the process ends is not to be lost behind what else was logged.
const COMPLAINTS_BYTES_MAX: usize = LOG_BYTES_MAX + 64 * 1024;

/// How long the end of the process is put off for a reader that is slow.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_for_which_there_is_no_room_are_counted() {
        let queue = Queue::new();
        let line = [b'x'; 1024];
        for _ in 0..300 {
            queue.push(&line, LOG_BYTES_MAX);
        }
        queue.push(b"why it ends", COMPLAINTS_BYTES_MAX);
        let (lines, lost) = queue.take();
        assert_eq!((lines.len(), lost), (LOG_BYTES_MAX + 11, 44));
        queue.push(&line, LOG_BYTES_MAX);
        // What was taken is not yet written, so this waits.
        queue.flush(Duration::from_millis(1));
        let (lines, lost) = queue.take();
        assert_eq!((lines.len(), lost), (1024, 0));
    }
}
