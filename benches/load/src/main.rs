//! `load`: puts a WebSocket server under a known load, checks every byte that comes back, and
//! tells what it cost the server.
//!
//! In: the server's address and process id, and what to do. Out: one line of JSON, or the reason
//! why there is none and status 1. The server's CPU time is the kernel's account of its process.
//!
//! It is one thread, which should have a core of its own.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "figures have three digits"
)]

mod account;
mod broadcast;
mod client;
mod clock;
mod echo;
mod exchange;
mod handshakes;
mod idle;
mod open_loop;
mod window;

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use serde_json::Value;

use exchange::Kind;

/// What every part here ends with; a failure says what the server did wrong.
type Outcome<T> = Result<T, String>;

#[derive(Parser)]
#[command(about = "Load for WebSocket servers")]
struct Arguments {
    #[command(subcommand)]
    load: Load,
}

#[derive(Subcommand)]
enum Load {
    /// Messages that the server sends back.
    Echo {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        traffic: Traffic,
        #[command(flatten)]
        measure: Measure,
        #[command(flatten)]
        form: Form,
        /// Open loop: messages per second in all, on a schedule that is fixed in advance, in
        /// bursts of `--in-flight` on one connection after the other.
        #[arg(long)]
        rate: Option<f64>,
    },
    /// Messages that the server sends to all; the first connection publishes.
    Broadcast {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        traffic: Traffic,
        #[command(flatten)]
        measure: Measure,
        /// Each message is published by a write of its own. Without this, all that are due at a
        /// time go in one.
        #[arg(long)]
        singly: bool,
    },
    /// Opening handshakes.
    Handshake {
        #[command(flatten)]
        server: Server,
        /// How many.
        #[arg(long, default_value_t = 10_000)]
        count: usize,
    },
    /// The server's memory while connections are idle.
    Idle {
        #[command(flatten)]
        server: Server,
        /// Connections that stay.
        #[arg(long, default_value_t = 15_000)]
        connections: usize,
        /// What happened to them before.
        #[arg(long)]
        scenario: Scenario,
    },
}

#[derive(clap::Args, Clone, Copy)]
struct Server {
    /// Where the server listens.
    #[arg(long)]
    address: SocketAddr,
    /// The server's process.
    #[arg(long)]
    pid: i32,
}

#[derive(clap::Args, Clone, Copy)]
struct Traffic {
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Messages that are under way at a time: per connection, or of the publisher.
    #[arg(long, default_value_t = 1)]
    in_flight: usize,
    /// Payload bytes of a message.
    #[arg(long, default_value_t = 20)]
    bytes: usize,
    #[arg(long, default_value = "text")]
    kind: Kind,
    /// Text of characters of one to four bytes each.
    #[arg(long)]
    non_ascii: bool,
}

/// In what form messages go, and come back.
#[derive(clap::Args, Clone, Copy)]
struct Form {
    /// Fragments that each message is sent in.
    #[arg(long, default_value_t = 1)]
    fragments: usize,
    /// The server changes the last byte of each message: its lowest bit is flipped.
    #[arg(long)]
    changed: bool,
}

impl Form {
    /// In one frame, and as they are.
    const PLAIN: Self = Self {
        fragments: 1,
        changed: false,
    };
}

#[derive(clap::Args, Clone, Copy)]
struct Measure {
    /// The measured time.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// The time before that.
    #[arg(long, default_value_t = 0.2)]
    warm_up: f64,
    /// Ends after so many messages, without warming up.
    #[arg(long)]
    messages: Option<u64>,
}

/// What idle connections have been through.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Nothing.
    Fresh,
    /// One message of 16 KiB each, echoed.
    Used,
    /// One message of 1 MiB each, echoed.
    Large,
    /// Thousands of others came, had messages echoed, and went.
    Storm,
    /// Three messages of 16 KiB each, which none reads until the server takes no more; then all do.
    /// The sockets have to be too small for so much.
    Slow,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().load {
        Load::Echo {
            server,
            traffic,
            measure,
            form,
            rate,
        } => match rate {
            Some(rate) => open_loop::run(server, traffic, measure, form, rate),
            None => echo::run(server, traffic, measure, form),
        },
        Load::Broadcast {
            server,
            traffic,
            measure,
            singly,
        } => broadcast::run(server, traffic, measure, singly),
        Load::Handshake { server, count } => handshakes::run(server, count),
        Load::Idle {
            server,
            connections,
            scenario,
        } => idle::run(server, connections, scenario),
    };
    report(result)
}

fn report(result: Outcome<Value>) -> ExitCode {
    match result {
        Ok(figures) => {
            println!("{figures}");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}
