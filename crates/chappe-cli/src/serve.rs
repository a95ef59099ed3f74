//! `chappe serve`: the echo page and the WebSocket behind it, on one port.
//!
//! Each shard is a thread with a runtime of its own that accepts on the same socket, so a
//! connection stays on one core for its life. The main thread waits for signals and for the shards, and
//! gives memory back to the system.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write as _};
use std::iter;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use chappe::{BoxError, Memory, Refusal, Request, Server, WebSocket};
use http::StatusCode;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::log::{self, complain};
use crate::memory;
use crate::plain_http;
use crate::trim;

/// Serves a page that talks through a WebSocket at /echo, which sends every message back.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The address and port to listen on; port 0 takes one that is free.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = LISTEN, value_parser = parse_address)]
    listen: SocketAddr,
    /// Threads that connections are spread over [default: one per core, or per 128 MiB of
    /// `ulimit -v` if those are fewer].
    #[arg(long, value_name = "N")]
    shards: Option<NonZeroUsize>,
    /// Memory that connections may hold together, for what peers did not finish sending or do not
    /// read: bytes, or KiB, MiB, GiB, such as 512MiB. When it is spent, those who hold most are
    /// closed with 1013 [default: 1GiB, or a quarter of what the process may use if that is less].
    #[arg(long, value_name = "SIZE", value_parser = memory::parse)]
    memory_max: Option<usize>,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            listen: parse_address(LISTEN).expect("it is an address"),
            shards: None,
            memory_max: None,
        }
    }
}

const LISTEN: &str = "127.0.0.1:8000";

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "give an IP address and a port, such as 127.0.0.1:8000, 0.0.0.0:8000 or [::1]:8000"
            .to_owned()
    })
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match serve(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(words) => {
            complain(words);
            ExitCode::FAILURE
        }
    }
}

/// Serves until a signal comes, or a shard fails. An error is in words, with its cure.
fn serve(arguments: &Arguments) -> Result<(), String> {
    let shards = arguments
        .shards
        .map_or_else(default_shards, NonZeroUsize::get);
    check_descriptors(shards)?;
    let cannot_start =
        |error| format!("can't start {shards} shards ({error}): try fewer, with --shards");

    // All that a shard needs is there before anybody is served.
    let waiting = runtime().map_err(cannot_start)?;
    let runtimes: Vec<Runtime> = (0..shards)
        .map(|_| runtime())
        .collect::<io::Result<_>>()
        .map_err(cannot_start)?;
    let bytes_max = arguments.memory_max;
    let memory = Memory::new(bytes_max.unwrap_or_else(|| memory::default_bytes_max(shards)));
    let cannot_serve = |error| explain(&error, arguments.listen);
    let server = waiting
        .block_on(Server::bind(arguments.listen))
        .map_err(cannot_serve)?
        .subprotocol("chat")
        .subprotocol("superchat")
        .memory(&memory)
        .check(check_path)
        .http(plain_http::answer);
    let address = server.local_addr().map_err(cannot_serve)?;
    let monitor = server.monitor();
    let signals = {
        let _inside = waiting.enter();
        Signals::new().map_err(cannot_start)?
    };
    let (stop, stopped) = watch::channel(());
    let (ended, endings) = mpsc::unbounded_channel();
    let clones: Vec<Server> = (1..shards)
        .map(|_| server.try_clone())
        .collect::<io::Result<_>>()
        .map_err(cannot_start)?;
    for (number, (runtime, server)) in runtimes
        .into_iter()
        .zip(iter::once(server).chain(clones))
        .enumerate()
    {
        start_shard(number, runtime, server, stopped.clone(), ended.clone())
            .map_err(cannot_start)?;
    }
    // Who waits for their end must not hold one itself.
    drop(ended);
    tracing::debug!(
        memory_bytes_max = memory.bytes_max(),
        "connections share this memory"
    );
    greet(address);
    let result = waiting.block_on(async {
        tokio::select! {
            biased;
            result = wait(signals, stop, endings) => result,
            never = trim::after_peaks(&memory, &monitor) => match never {},
        }
    });
    tracing::info!(counters = ?monitor.counters(), "stopped");
    result
}

/// One per core, as far as the address space has room for them.
fn default_shards() -> usize {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    cores.min(memory::shards_max())
}

/// Whether the limit on open files has room for so many shards, and for some connections.
fn check_descriptors(shards: usize) -> Result<(), String> {
    // A server's connections are what the limit is for; the hard limit is the operator's word.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let limit = rlimit::Resource::NOFILE.get_soft().unwrap_or(u64::MAX);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let needed = shards
        .saturating_mul(FILES_PER_SHARD)
        .saturating_add(FILES_BESIDE);
    if needed <= limit {
        return Ok(());
    }
    let mut words = format!(
        "the limit of {limit} open files is too low for {shards} shard{}: raise it to {needed} or \
         more (`ulimit -n {needed}`)",
        if shards == 1 { "" } else { "s" },
    );
    let possible = limit.saturating_sub(FILES_BESIDE) / FILES_PER_SHARD;
    if possible > 0 {
        let _ = write!(
            words,
            ", or choose fewer: `chappe serve --shards {possible}`"
        );
    }
    Err(words)
}

/// What the system counts for a shard: two epoll instances, what wakes them, what signals come by,
/// and the listening socket.
const FILES_PER_SHARD: usize = 5;

/// Input and outputs, what the main thread needs to wait for signals, the library's reserve, and a
/// few connections.
const FILES_BESIDE: usize = 40;

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// How a shard ended: by itself, or by a panic.
type Ending = (usize, thread::Result<io::Result<()>>);

/// Runs a shard in a thread of its own; `ended` is told when it is over, however that comes.
fn start_shard(
    number: usize,
    runtime: Runtime,
    server: Server,
    stopped: watch::Receiver<()>,
    ended: mpsc::UnboundedSender<Ending>,
) -> io::Result<()> {
    let run = move || {
        let run = || runtime.block_on(run_shard(server, stopped));
        let result = catch_unwind(AssertUnwindSafe(run));
        drop(runtime);
        let _ = ended.send((number, result));
    };
    let name = format!("shard {number}");
    thread::Builder::new().name(name).spawn(run).map(|_| ())
}

/// Waits until all shards have ended, and stops them at a signal, or when one of them has ended by
/// itself: half a server is worse than one that is started again.
///
/// It runs in a thread that does little else, so that a signal is heard whatever the shards do.
async fn wait(
    mut signals: Signals,
    stop: watch::Sender<()>,
    mut endings: mpsc::UnboundedReceiver<Ending>,
) -> Result<(), String> {
    let mut result = Ok(());
    let mut deadline = None;
    loop {
        let overdue = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            kind = signals.recv() => match deadline {
                None => tracing::info!("closing all connections; a second signal ends at once"),
                // A terminal that is closed tells so twice: by its shell, and by the kernel.
                Some(_) if kind == SignalKind::hangup() => {}
                Some(_) => {
                    log::flush();
                    std::process::exit(1);
                }
            },
            () = overdue => {
                return result.and(Err("a shard hangs, and did not stop in time".to_owned()));
            }
            ending = endings.recv() => match ending {
                None => return result,
                Some((number, ending)) => {
                    if let Some(reason) = failure(ending) {
                        tracing::error!(shard = number, reason, "a shard failed; stopping all");
                        result = result.and(Err(format!("shard {number} has failed: {reason}")));
                    }
                }
            },
        }
        deadline = deadline.or_else(|| Some(Instant::now() + STOP_TIMEOUT));
        let _ = stop.send(());
    }
}

/// Why a shard failed, if it did.
fn failure(ending: thread::Result<io::Result<()>>) -> Option<String> {
    match ending {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("it panicked".to_owned()),
    }
}

/// How long shards get to stop: the time that they give their connections, and some.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// The signals that stop a server, and do so gracefully.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// None where whoever started us has said that its terminal's end is not ours (nohup).
    hangup: Option<Signal>,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let hangup = SignalKind::hangup();
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: if is_ignored(hangup) {
                None
            } else {
                Some(signal(hangup)?)
            },
        })
    }

    /// Which one has come.
    async fn recv(&mut self) -> SignalKind {
        let hangup = async {
            match &mut self.hangup {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = hangup => SignalKind::hangup(),
        }
    }
}

/// Whether the process was started with this signal ignored; on Linux, where that can be read.
fn is_ignored(signal: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal.as_raw_value() - 1) & 1 == 1)
}

async fn run_shard(server: Server, mut stopped: watch::Receiver<()>) -> io::Result<()> {
    let stop = async move {
        // An error says that the sender is gone, which is as good a reason to stop.
        let _ = stopped.changed().await;
    };
    // The request is dropped here: a function that takes it would keep it, a kilobyte each.
    server.run_until(|ws, _request| echo(ws), stop).await
}

async fn echo(mut ws: WebSocket) -> Result<(), BoxError> {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}

fn check_path(request: &Request) -> Result<(), Refusal> {
    if request.uri().path() == "/echo" {
        return Ok(());
    }
    let text = "there is no WebSocket at this path; there is one at /echo".to_owned();
    Err(Refusal::Application {
        status: StatusCode::NOT_FOUND,
        text,
    })
}

/// Says where to go. Whoever reads it may be slow or gone, and the server serves all the same.
fn greet(address: SocketAddr) {
    let command = std::env::args()
        .next()
        .unwrap_or_else(|| "chappe".to_owned());
    let words = format!(
        "Chappe {} serves on http://{address}\n\n  \
         In a browser:           http://{address}/\n  \
         In another terminal:    {command} connect ws://{address}/echo\n\n\
         Ctrl-C stops it.\n",
        env!("CARGO_PKG_VERSION"),
    );
    let write = move || {
        let mut output = io::stdout().lock();
        let written = output.write_all(words.as_bytes());
        if let Err(error) = written.and_then(|()| output.flush()) {
            tracing::warn!(%error, %address, "serving, though nobody could be told where");
        }
    };
    // Where no thread is left, nobody is greeted.
    let _ = thread::Builder::new()
        .name("greeting".to_owned())
        .spawn(write);
}

/// What went wrong, and the cure.
fn explain(error: &io::Error, address: SocketAddr) -> String {
    let port = address.port();
    let cure = match error.kind() {
        ErrorKind::AddrInUse => format!(
            "another program listens on it. Stop that one (`ss -ltnp 'sport = :{port}'` names it), \
             or choose another port: `chappe serve --listen {}:{}`",
            address.ip(),
            if port == 8000 { 8001 } else { 8000 },
        ),
        ErrorKind::PermissionDenied => format!(
            "ports below 1024 are for privileged programs. Choose another one: \
             `chappe serve --listen {}:8000`",
            address.ip(),
        ),
        ErrorKind::AddrNotAvailable => {
            "this machine does not have that address. `ip address` lists those that it has; \
             0.0.0.0 stands for all of them"
                .to_owned()
        }
        _ => "that was unexpected".to_owned(),
    };
    format!("can't serve on {address} ({error}): {cure}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What waiting comes to when this shard ends by itself, and another one when it is told to.
    async fn wait_for(ending: Ending) -> Result<(), String> {
        let (stop, mut stopped) = watch::channel(());
        let (ended, endings) = mpsc::unbounded_channel();
        assert!(ended.send(ending).is_ok());
        let other = async move {
            assert!(stopped.changed().await.is_ok(), "it is told to stop");
            assert!(ended.send((0, Ok(Ok(())))).is_ok());
        };
        let signals = Signals::new().unwrap();
        tokio::join!(wait(signals, stop, endings), other).0
    }

    #[tokio::test]
    async fn shard_that_fails_or_panics_ends_the_server_with_the_reason() {
        let failed = Ok(Err(io::Error::from(ErrorKind::InvalidInput)));
        let words = "shard 1 has failed: invalid input parameter";
        assert_eq!(wait_for((1, failed)).await, Err(words.to_owned()));
        let panicked = Err(Box::new("a panic") as Box<_>);
        let words = "shard 2 has failed: it panicked";
        assert_eq!(wait_for((2, panicked)).await, Err(words.to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn shard_that_hangs_is_not_waited_for_longer_than_the_others_take() {
        let (stop, _stopped) = watch::channel(());
        let (ended, endings) = mpsc::unbounded_channel();
        assert!(ended.send((0, Ok(Ok(())))).is_ok());
        let begin = Instant::now();
        let result = wait(Signals::new().unwrap(), stop, endings).await;
        assert!(result.unwrap_err().contains("hangs"));
        assert_eq!(begin.elapsed(), STOP_TIMEOUT);
        drop(ended);
    }
}
