//! `chappe serve`: the echo page and the WebSocket behind it, on one port.
//!
//! Each shard is a thread with a runtime of its own that accepts on the same socket, so a
//! connection stays on one core for its life.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::thread;

use chappe::{BoxError, Refusal, Request, Server, WebSocket};
use http::StatusCode;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::log::complain;
use crate::plain_http;

/// Serves a page that talks through a WebSocket at /echo, which sends every message back.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The address and port to listen on; port 0 takes one that is free.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = LISTEN, value_parser = parse_address)]
    listen: SocketAddr,
    /// Threads that connections are spread over [default: one per core].
    #[arg(long, value_name = "N")]
    shards: Option<NonZeroUsize>,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            listen: parse_address(LISTEN).expect("it is an address"),
            shards: None,
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
        Err(error) => {
            complain(explain(&error, arguments.listen));
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: &Arguments) -> io::Result<()> {
    // A server's connections are what the limit is for; the hard limit is the operator's word.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let shards = arguments
        .shards
        .map_or_else(thread::available_parallelism, Ok)?;
    let runtime = runtime()?;
    let server = runtime.block_on(Server::bind(arguments.listen))?;
    let server = server
        .subprotocol("chat")
        .subprotocol("superchat")
        .check(check_path)
        .http(plain_http::answer);
    let address = server.local_addr()?;
    let clones: Vec<Server> = (1..shards.get())
        .map(|_| server.try_clone())
        .collect::<io::Result<_>>()?;
    let (stop, stopped) = watch::channel(());
    greet(address);

    // The first shard runs here, beside the signals that end them all.
    let threads: Vec<_> = clones
        .into_iter()
        .map(|clone| {
            let stopped = stopped.clone();
            thread::spawn(move || self::runtime()?.block_on(run_shard(clone, stopped)))
        })
        .collect();
    let counts = server.try_clone()?;
    let result = runtime.block_on(async {
        tokio::spawn(stop_at_signal(stop)?);
        run_shard(server, stopped).await
    });
    for thread in threads {
        thread.join().expect("a shard does not panic")?;
    }
    tracing::info!(counters = ?counts.counters(), "stopped");
    result
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
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

/// Stops the shards at the first signal; at a second one the process ends at once.
fn stop_at_signal(stop: watch::Sender<()>) -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        for time in 0.. {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if time > 0 {
                std::process::exit(1);
            }
            tracing::info!("closing all connections; a second signal ends at once");
            let _ = stop.send(());
        }
    })
}

fn greet(address: SocketAddr) {
    let command = std::env::args()
        .next()
        .unwrap_or_else(|| "chappe".to_owned());
    println!(
        "Chappe {} serves on http://{address}\n\n  \
         In a browser:           http://{address}/\n  \
         In another terminal:    {command} connect ws://{address}/echo\n\n\
         Ctrl-C stops it.",
        env!("CARGO_PKG_VERSION"),
    );
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
