//! `chappe connect`: lines typed are sent, messages are shown.
//!
//! On a terminal for people; piped, a message a line and nothing else; with `--json`, an event a
//! line. The exit code is 0 only after a clean close.

mod command;
mod show;

use std::io::BufRead;
use std::process::ExitCode;
use std::thread;

use chappe::{CloseCode, Connector, Ended, Receiver, Sender};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::connect::command::Command;
use crate::connect::show::Show;
use crate::log::complain;
use crate::refusal;

/// Connects to a WebSocket: lines typed are sent, messages are shown.
///
/// A line that begins with a slash is a command: `/ping`, `/close [CODE [REASON]]`, `/help`. Begin
/// with two slashes to send one. The end of the input closes the connection with 1000, and what
/// the server still sends is shown. Exit code: 0 after a clean close, 1 otherwise, 2 for wrong usage.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where to connect to, such as <ws://127.0.0.1:8000/echo>.
    url: String,
    /// A header to send; may be given several times.
    #[arg(long, short = 'H', value_name = "NAME: VALUE", value_parser = parse_header)]
    header: Vec<(String, String)>,
    /// A subprotocol to offer; may be given several times, the preferred one first.
    #[arg(long, value_name = "NAME")]
    subprotocol: Vec<String>,
    /// The page to pretend to come from, such as <https://example.com>.
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,
    /// Show one JSON object per event.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// What is asked for, in short.
    fn asked(&self) -> String {
        let mut asked = vec![format!("{} as a WebSocket", self.url)];
        asked.extend(
            self.subprotocol
                .iter()
                .map(|name| format!("subprotocol {name}")),
        );
        asked.extend(self.origin.iter().map(|origin| format!("from {origin}")));
        asked.extend(
            self.header
                .iter()
                .map(|(name, _)| format!("with header {name}")),
        );
        asked.join(", ")
    }
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("give it as \"Name: value\"")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(talk(arguments)),
        Err(error) => {
            complain(format_args!("can't start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    if result {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Whether the connection came about, and ended with a clean close.
async fn talk(arguments: &Arguments) -> bool {
    let show = Show::new(arguments.json);
    let mut connector = Connector::new(&arguments.url);
    for name in &arguments.subprotocol {
        connector = connector.subprotocol(name);
    }
    for (name, value) in &arguments.header {
        connector = connector.header(name, value);
    }
    if let Some(origin) = &arguments.origin {
        connector = connector.header("Origin", origin);
    }
    let ws = match connector.connect().await {
        Ok(ws) => ws,
        Err(error) => {
            show.failed(&error);
            complain(refusal::explain(&error, &arguments.url, &arguments.asked()));
            return false;
        }
    };
    show.opened(&arguments.url, ws.subprotocol());
    let (sender, receiver) = ws.split();
    let (sent, ended) = tokio::join!(
        async {
            tokio::select! {
                biased;
                sent = send_lines(&sender, read_lines(), show) => sent,
                _ = sender.closed() => true,
            }
        },
        show_messages(receiver, &sender, show),
    );
    show.ended(&ended);
    sent && ended.is_clean()
}

/// Shows what comes, until the connection has ended.
async fn show_messages(mut receiver: Receiver, sender: &Sender, show: Show) -> Ended {
    while let Ok(Some(message)) = receiver.recv().await {
        if show.message(&message).is_err() {
            // Whoever read our output has gone.
            let _ = sender.close(CloseCode::GOING_AWAY, "").await;
        }
    }
    sender.closed().await
}

/// Sends what is typed, until the input ends. Tells whether all could be sent.
async fn send_lines(sender: &Sender, mut lines: mpsc::Receiver<Vec<u8>>, show: Show) -> bool {
    let mut all_sent = true;
    let mut pings = JoinSet::new();
    loop {
        let line = tokio::select! {
            line = lines.recv() => line,
            _ = tokio::signal::ctrl_c() => None,
        };
        let Some(line) = line else {
            let _ = sender.begin_close(CloseCode::NORMAL, "");
            break;
        };
        match Command::parse(line) {
            Ok(Command::Send(text)) => {
                if sender.send(text).await.is_err() {
                    return false;
                }
            }
            Ok(Command::Ping) => {
                let sender = sender.clone();
                pings.spawn(async move {
                    if let Ok(round_trip) = sender.ping().await {
                        show.pong(round_trip);
                    }
                });
                // The ping goes before what the next line asks for.
                tokio::task::yield_now().await;
            }
            Ok(Command::Close(code, reason)) => match sender.begin_close(code, &reason) {
                Ok(()) => break,
                Err(error) => {
                    complain(error);
                    all_sent = false;
                }
            },
            Ok(Command::Help) => eprintln!("{}", command::HELP),
            Err(error) => {
                complain(error);
                all_sent = false;
            }
        }
    }
    pings.join_all().await;
    all_sent
}

/// The lines of the standard input. A thread reads them, as nothing can cancel such a read: it
/// ends with the process.
fn read_lines() -> mpsc::Receiver<Vec<u8>> {
    let (lines, receiver) = mpsc::channel(64);
    thread::spawn(move || {
        for line in std::io::stdin().lock().split(b'\n').map_while(Result::ok) {
            if lines.blocking_send(line).is_err() {
                break;
            }
        }
    });
    receiver
}
