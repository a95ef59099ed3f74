//! The `chappe` command: a WebSocket server with an echo page, and a client for the terminal.

mod connect;
mod log;
mod memory;
mod plain_http;
mod printable;
mod refusal;
mod serve;
mod trim;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    log::start();
    let command = Arguments::parse().command;
    let code = match command.unwrap_or_else(|| Command::Serve(serve::Arguments::default())) {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Connect(arguments) => connect::run(&arguments),
    };
    log::flush();
    code
}
