//! The servers that are compared: how each is built, started, and what version it is.
//!
//! All but Chappe's, which are its examples and `benches/loops`, stand in `benches/peers`. Each is a
//! program that takes `echo` or `broadcast` and says `listening on 127.0.0.1:PORT`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::measure;
use super::rows::Row;
use crate::run::{self, Outcome, command_in};
use crate::setup::peer;
use crate::workspace;

#[derive(Debug)]
pub(super) struct Peer {
    /// As `--peers` takes it.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) kind: Kind,
    program: Program,
    /// What was chosen where there is a choice.
    pub(super) options: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Chappe,
    /// Chappe as well, by a loop that is not the plain one: nobody the others compete with.
    Loop,
    /// No library, but what no library can be cheaper than.
    Floor,
    Rust,
    Other,
}

#[derive(Debug, Clone, Copy)]
enum Program {
    /// An example of the crate `chappe`, named by the mode.
    Example,
    /// The binary of `benches/loops`, with the name of the loop.
    Loop(Loop),
    /// The binary of the peer's name, of the cargo workspace of the peers.
    Cargo,
    /// A script of the peer's folder, run by Node.js.
    Node(&'static str),
    /// A script of the peer's folder, run by Bun.
    Bun(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loop {
    Changed,
    Yields,
}

/// The one that the others are compared with.
pub(super) const CHAPPE: &str = "chappe";
/// The one that the targets and the rate of open loops come from.
pub(super) const UWEBSOCKETS: &str = "uwebsockets";
pub(super) const CHAPPE_CHANGED: &str = "chappe-changed";
pub(super) const CHAPPE_YIELDS: &str = "chappe-yields";
pub(super) const TOKIO_TUNGSTENITE: &str = "tokio-tungstenite";

/// The crate that carries the sources of uWebSockets.
const UWEBSOCKETS_SOURCES: &str = "libuwebsockets-sys";

pub(super) const PEERS: &[Peer] = &[
    Peer {
        name: CHAPPE,
        title: "Chappe",
        kind: Kind::Chappe,
        program: Program::Example,
        options: "the examples `echo` and `broadcast`: the loop of the README, default limits \
                  but for messages of 16 MiB; UTF-8 checked, keepalive",
    },
    Peer {
        name: CHAPPE_CHANGED,
        title: "Chappe, one byte changed",
        kind: Kind::Loop,
        program: Program::Loop(Loop::Changed),
        options: "the same, but the last byte of each message is changed, in a copy",
    },
    Peer {
        name: CHAPPE_YIELDS,
        title: "Chappe, yielding before it sends",
        kind: Kind::Loop,
        program: Program::Loop(Loop::Yields),
        options: "the same, but the loop lets others run before each message is sent",
    },
    Peer {
        name: "floor",
        title: "floor",
        kind: Kind::Floor,
        program: Program::Cargo,
        options: "no library: epoll, one read and one write per batch; nothing checked, no \
                  broadcast",
    },
    Peer {
        name: "floor-tokio",
        title: "floor on tokio",
        kind: Kind::Floor,
        program: Program::Cargo,
        options: "no library: a task per connection, one read and one write per batch; nothing \
                  checked; a broadcast is framed once",
    },
    Peer {
        name: UWEBSOCKETS,
        title: "uWebSockets",
        kind: Kind::Other,
        program: Program::Cargo,
        options: "C++, `g++ -O3 -flto`, no TLS, no zlib; UTF-8 checked, keepalive; broadcasts by \
                  topic",
    },
    Peer {
        name: "bun",
        title: "Bun",
        kind: Kind::Other,
        program: Program::Bun("server.js"),
        options: "JavaScript; UTF-8 checked, keepalive; broadcasts by topic",
    },
    Peer {
        name: "fastwebsockets",
        title: "fastwebsockets",
        kind: Kind::Rust,
        program: Program::Cargo,
        options: "default limits, UTF-8 checked with SIMD, no keepalive; upgraded by hyper",
    },
    Peer {
        name: "tokio-websockets",
        title: "tokio-websockets",
        kind: Kind::Rust,
        program: Program::Cargo,
        options: "default limits, UTF-8 checked with SIMD, no keepalive; one frame per message",
    },
    Peer {
        name: "yawc",
        title: "yawc",
        kind: Kind::Rust,
        program: Program::Cargo,
        options: "UTF-8 check switched on, with SIMD, no keepalive; upgraded by hyper",
    },
    Peer {
        name: "sockudo-ws",
        title: "sockudo-ws",
        kind: Kind::Rust,
        program: Program::Cargo,
        options: "default limits, UTF-8 checked with SIMD, keepalive; echo fed in batches, \
                  mimalloc",
    },
    Peer {
        name: TOKIO_TUNGSTENITE,
        title: "tokio-tungstenite",
        kind: Kind::Rust,
        program: Program::Cargo,
        options: "default limits, UTF-8 checked, no keepalive; the plain loop",
    },
    Peer {
        name: "tokio-tungstenite-forward",
        title: "tokio-tungstenite, forwarding",
        kind: Kind::Rust,
        program: Program::Cargo,
        options: "the same, but echo forwards the stream into the sink, as its example does; no \
                  broadcast of its own",
    },
    Peer {
        name: "ws",
        title: "ws",
        kind: Kind::Other,
        program: Program::Node("server.mjs"),
        options: "JavaScript, on Node.js; default limits, UTF-8 checked, no keepalive, no native \
                  add-ons",
    },
];

pub(super) fn find(name: &str) -> Option<&'static Peer> {
    PEERS.iter().find(|peer| peer.name == name)
}

/// Builds the generator and the peers; installs what they need.
pub(super) fn build(peers: &[&Peer]) -> Outcome {
    cargo(&["--package", "chappe-load"])?;
    let mut binaries = Vec::new();
    let mut scripts = false;
    for peer in peers {
        match peer.program {
            Program::Example => cargo(&["--package", "chappe", "--examples"])?,
            // Together with the example, so that both have what they depend on with the same
            // features.
            Program::Loop(_) => cargo(&[
                "--package",
                "chappe",
                "--package",
                "chappe-loops",
                "--examples",
                "--bins",
            ])?,
            Program::Cargo => binaries.extend(["--bin", peer.name]),
            Program::Node(_) | Program::Bun(_) => scripts = true,
        }
    }
    if !binaries.is_empty() {
        let mut command = command_in(&folder(), "cargo");
        command.args(["build", "--release", "--locked"]);
        command.args(binaries).arg("--target-dir").arg(target());
        run::run(&mut command).map_err(|failure| {
            format!("{failure}\nA peer that does not build can be left out: see `--peers`.")
        })?;
    }
    if scripts {
        install_scripts()?;
    }
    Ok(())
}

fn cargo(words: &[&str]) -> Outcome {
    let mut command = command_in(&workspace::root(), "cargo");
    run::run(command.args(["build", "--release"]).args(words))
}

/// The package pins what it needs to the version. Bun comes as a script that fetches it, so scripts
/// are run here.
fn install_scripts() -> Outcome {
    let package = peer::read(&folder().join("package.json"))?;
    peer::once(&modules(), &package, || {
        run::run_with_retries(|| {
            let mut command = command_in(&folder(), "npm");
            command.args(["install", "--no-package-lock", "--loglevel=error"]);
            command
        })
    })
}

fn folder() -> PathBuf {
    workspace::root().join("benches").join("peers")
}

fn target() -> PathBuf {
    workspace::target().join("peers")
}

fn modules() -> PathBuf {
    folder().join("node_modules")
}

fn bun() -> PathBuf {
    modules().join(".bin").join("bun")
}

impl Peer {
    pub(super) fn is_chappe(&self) -> bool {
        self.kind == Kind::Chappe
    }

    /// Whether it is measured in the row at all.
    pub(super) fn takes_part_in(&self, row: &Row) -> bool {
        self.kind != Kind::Loop || row.has_loops()
    }

    /// What the generator has to know of the server.
    pub(super) fn generator_arguments(&self) -> &'static [&'static str] {
        match self.program {
            Program::Loop(Loop::Changed) => &["--changed"],
            _ => &[],
        }
    }

    /// What starts it in the mode `echo` or `broadcast`.
    pub(super) fn command(&self, mode: &str) -> Command {
        let script = |file| folder().join(self.name).join(file);
        let mut command = match self.program {
            Program::Example => {
                let mut command = Command::new(workspace::release("examples").join(mode));
                command.arg("127.0.0.1:0");
                return command;
            }
            Program::Loop(variant) => {
                let mut command = Command::new(workspace::release("loops"));
                command.args(["127.0.0.1:0", variant.name()]);
                return command;
            }
            Program::Cargo => Command::new(target().join("release").join(self.name)),
            Program::Node(file) => {
                let mut command = Command::new("node");
                command.arg(script(file));
                command
            }
            Program::Bun(file) => {
                let mut command = Command::new(bun());
                command.arg(script(file));
                command
            }
        };
        command.arg(mode);
        command
    }

    /// What is compared, to the digit.
    pub(super) fn version(&self) -> String {
        match self.program {
            Program::Example | Program::Loop(_) => locked(&workspace::root(), "chappe"),
            Program::Cargo if self.kind == Kind::Floor => String::new(),
            Program::Cargo if self.name == UWEBSOCKETS => {
                let version = locked(&folder(), UWEBSOCKETS_SOURCES);
                format!("20, as in the crate {UWEBSOCKETS_SOURCES} {version}")
            }
            Program::Cargo => {
                let package = self.name.strip_suffix("-forward").unwrap_or(self.name);
                locked(&folder(), package)
            }
            Program::Node(_) => {
                let version = peer::package_version(&folder(), self.name).unwrap_or_default();
                let node = measure::first_line(Command::new("node").arg("--version"));
                format!("{version}, Node.js {}", node.trim_start_matches('v'))
            }
            Program::Bun(_) => measure::first_line(Command::new(bun()).arg("--version")),
        }
    }
}

impl Loop {
    fn name(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Yields => "yields",
        }
    }
}

/// The version that the lock file of a workspace has of a package.
fn locked(workspace: &Path, package: &str) -> String {
    let text = fs::read_to_string(workspace.join("Cargo.lock")).unwrap_or_default();
    version_in(&text, package).unwrap_or_default().to_owned()
}

fn version_in<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name);
    let version = lines.nth(1)?.strip_prefix("version = \"")?;
    version.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::rows;

    #[test]
    fn other_loops_take_part_only_where_they_are_held_against_the_plain_one() {
        for (name, row, takes_part) in [
            (CHAPPE, "handshake", true),
            ("floor-tokio", "broadcast-10x1", true),
            (CHAPPE_CHANGED, "echo-20-16x16", true),
            (CHAPPE_YIELDS, "echo-1k-16x16", true),
            (CHAPPE_CHANGED, "echo-20-1x1", false),
            (CHAPPE_YIELDS, "broadcast-10x1", false),
        ] {
            let (peer, row) = (find(name), rows::find(row));
            let (peer, row) = (peer.expect("it is a peer"), row.expect("it is a row"));
            assert_eq!(peer.takes_part_in(row), takes_part, "{name}, {}", row.name);
        }
    }

    #[test]
    fn the_generator_is_told_of_what_a_server_changes() {
        for peer in PEERS {
            let is_told = peer.generator_arguments() == ["--changed"];
            assert_eq!(is_told, peer.name == CHAPPE_CHANGED, "{}", peer.name);
        }
    }

    #[test]
    fn versions_are_read_from_the_lock_file() {
        let lock = "[[package]]\nname = \"yawc-macros\"\nversion = \"0.1.0\"\n\n\
                    [[package]]\nname = \"yawc\"\nversion = \"0.5.0\"\n";
        assert_eq!(version_in(lock, "yawc"), Some("0.5.0"));
        assert_eq!(version_in(lock, "ws"), None);
    }
}
