//! The `chappe` command: a WebSocket server with an echo page, and a client for the terminal.

mod connect;
mod plain_http;
mod printable;
mod refusal;
mod serve;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// WebSocket from the terminal. Without a command: `chappe serve`.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Arguments),
    Connect(connect::Arguments),
}

fn main() -> ExitCode {
    log_to_stderr();
    let command = Arguments::parse().command;
    match command.unwrap_or_else(|| Command::Serve(serve::Arguments::default())) {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Connect(arguments) => connect::run(&arguments),
    }
}

/// For people on a terminal, as JSON elsewhere; times are UTC. `CHAPPE_LOG` sets the level:
/// `debug` tells of each connection's begin and end, `chappe=trace` of one crate's alone.
fn log_to_stderr() {
    let level = std::env::var("CHAPPE_LOG").unwrap_or_default();
    let targets: Targets = level
        .parse()
        .ok()
        .filter(|_| !level.is_empty())
        .unwrap_or_else(|| Targets::new().with_default(tracing::Level::INFO));
    let registry = tracing_subscriber::registry().with(targets);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        registry.with(layer.with_target(false)).init();
    } else {
        registry.with(layer.json().flatten_event(true)).init();
    }
}

/// Says on standard error what went wrong.
fn complain(what: impl std::fmt::Display) {
    eprintln!("chappe: {what}");
}
