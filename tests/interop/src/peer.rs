//! The implementations of others, as `cargo xtask setup` installs them.

use std::collections::BTreeSet;
use std::env;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tokio::process::Command;

use crate::process::{Process, within};

/// An implementation of WebSocket that is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The package `websockets`, for Python.
    Websockets,
    /// The package `ws`, for Node.
    Ws,
}

impl Peer {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Websockets, Self::Ws];

    /// Runs a test with each, one after the other; none is left out when it is missing.
    ///
    /// # Panics
    ///
    /// When a test does, or takes too long.
    pub async fn each(test: impl AsyncFn(Self)) {
        for peer in Self::ALL {
            // Shown beside what fails.
            println!("with {peer:?}:");
            within(&format!("the test with {peer:?}"), test(peer)).await;
        }
    }

    /// Starts its server.
    pub async fn server(self) -> PeerServer {
        let (process, line) = start(&mut self.command("server")).await;
        let (versions, port) = line
            .split_once(" listens on port ")
            .expect("a peer's first line tells its port");
        show_once(versions);
        PeerServer {
            url: format!("ws://127.0.0.1:{port}"),
            process,
        }
    }

    /// Starts its client, with these arguments.
    pub async fn client(self, arguments: &[&str]) -> Process {
        let (process, versions) = start(self.command("client").args(arguments)).await;
        show_once(&versions);
        process
    }

    fn command(self, script: &str) -> Command {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
        match self {
            Self::Websockets => {
                let python = tool("CHAPPE_PYTHON", "python/bin/python");
                let mut command = Command::new(python);
                // No files beside the scripts, no lines held back, UTF-8 whatever the locale.
                command.args(["-B", "-u", "-X", "utf8"]);
                command.arg(scripts.join(script).with_extension("py"));
                command
            }
            Self::Ws => {
                let modules = tool("CHAPPE_NODE_MODULES", "node/node_modules");
                let mut command = Command::new("node");
                command.arg(scripts.join(script).with_extension("mjs"));
                command.env("CHAPPE_NODE_MODULES", modules);
                command
            }
        }
    }
}

/// A peer's server, which ends with this value.
#[derive(Debug)]
pub struct PeerServer {
    url: String,
    process: Process,
}

impl PeerServer {
    /// The URL of a path, which begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// The process: of its lines the first was read.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// Starts a script; gives its first line too.
async fn start(command: &mut Command) -> (Process, String) {
    let mut process = Process::start(command);
    match process.try_line().await {
        Ok(line) => (process, line),
        Err(stderr) => panic!("a peer can't start: run `cargo xtask setup`; it said:\n{stderr}"),
    }
}

/// What the environment names, or else what is below `target/tools`.
fn tool(variable: &str, place: &str) -> PathBuf {
    let path = env::var_os(variable).map_or_else(|| tools().join(place), PathBuf::from);
    assert!(
        path.exists(),
        "{} is missing: run `cargo xtask setup`",
        path.display()
    );
    path
}

fn tools() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    root.join(target).join("tools")
}

/// Tells who the peer is, past the test harness, which shows only what failed.
fn show_once(versions: &str) {
    static SHOWN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut shown = SHOWN.lock().expect("nobody panics with it");
    if shown.insert(versions.to_owned()) {
        let _ = writeln!(io::stderr(), "peer: {versions}");
    }
}
