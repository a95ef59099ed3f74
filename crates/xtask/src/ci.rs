//! `cargo xtask ci`: all that CI runs, in order; it stops at the first step that fails.
//!
//! Each step tells its name and how long it took, and a table at the end tells all of them. What
//! a step needs from an earlier one (programs, release builds) is named where it is missing. A step
//! whose peers could not be installed is skipped, and the table says so; where the environment
//! variable `CI` is set it fails instead.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::attacks::{self, Server};
use crate::run::{self, Outcome, command_in};
use crate::setup::peer::{self, AUTOBAHN, PLAYWRIGHT, Peer, WEBSOCKETS, WS};
use crate::{autobahn, bench, dependencies, setup, tidy, workspace};

struct Step {
    name: &'static str,
    /// What it can't do without.
    peers: &'static [Peer],
    run: fn() -> Outcome,
}

const STEPS: &[Step] = &[
    Step {
        name: "setup",
        peers: &[],
        run: setup,
    },
    Step {
        name: "format",
        peers: &[],
        run: || cargo(&["fmt", "--all", "--check"]),
    },
    Step {
        name: "lints",
        peers: &[],
        run: lints,
    },
    Step {
        name: "tests",
        peers: &[],
        run: tests,
    },
    Step {
        name: "docs",
        peers: &[],
        run: docs,
    },
    Step {
        name: "tidy",
        peers: &[],
        run: || tidy::run(&[]),
    },
    Step {
        name: "budgets",
        peers: &[],
        run: dependencies::check_budgets,
    },
    Step {
        name: "licences",
        peers: &[],
        run: dependencies::check_licences_and_sources,
    },
    Step {
        name: "package",
        peers: &[],
        run: package,
    },
    Step {
        name: "release",
        peers: &[],
        run: release,
    },
    Step {
        name: "bench",
        peers: &[],
        run: || bench::run(&["--quick".to_owned()]),
    },
    Step {
        name: "autobahn",
        peers: &[AUTOBAHN],
        run: || autobahn::run(&[]),
    },
    Step {
        name: "attacks",
        peers: &[],
        run: || attacks::run(&[]),
    },
    Step {
        name: "interop",
        peers: &[WEBSOCKETS, WS],
        run: interop,
    },
    Step {
        name: "browser",
        peers: &[PLAYWRIGHT],
        run: browser,
    },
];

/// The binary, stripped.
const BINARY_BYTES_MAX: u64 = 20_000_000;
/// The crate in `tests/interop` whose tests need the peers that `setup` installs.
const INTEROP: &str = "chappe-interop";

pub(crate) fn run(arguments: &[String]) -> Outcome {
    if arguments == ["--list"] {
        for step in STEPS {
            println!("{}", step.name);
        }
        return Ok(());
    }
    let is_known = |name: &&String| STEPS.iter().any(|step| step.name == *name);
    if let Some(unknown) = arguments.iter().find(|name| !is_known(name)) {
        return Err(format!(
            "no step is called {unknown:?}; `cargo xtask ci --list` names them"
        ));
    }
    let is_chosen = |step: &&Step| arguments.is_empty() || arguments.iter().any(|a| a == step.name);
    let mut finished = Vec::new();
    let mut outcome = Ok(());
    for step in STEPS.iter().filter(is_chosen) {
        println!("\n==> {}", step.name);
        let start = Instant::now();
        let verdict = step.perform();
        let took = start.elapsed();
        println!("<== {} took {:.1} s", step.name, took.as_secs_f64());
        if let Verdict::Failed(failure) = &verdict {
            outcome = Err(format!("step {} failed: {failure}", step.name));
        }
        finished.push((step.name, took, verdict));
        if outcome.is_err() {
            break;
        }
    }
    print_table(&finished);
    outcome
}

enum Verdict {
    Passed,
    /// What is missing.
    Skipped(String),
    Failed(String),
}

impl Step {
    fn perform(&self) -> Verdict {
        match self.peers.iter().find_map(|peer| peer.check().err()) {
            Some(missing) if is_strict() => return Verdict::Failed(missing),
            Some(missing) => {
                println!("SKIPPED: {missing}");
                return Verdict::Skipped(missing);
            }
            None => {}
        }
        match (self.run)() {
            Ok(()) => Verdict::Passed,
            Err(failure) => Verdict::Failed(failure),
        }
    }
}

/// Whether nothing may be skipped.
fn is_strict() -> bool {
    env::var_os("CI").is_some()
}

fn print_table(finished: &[(&str, Duration, Verdict)]) {
    println!();
    for (name, took, verdict) in finished {
        let took = took.as_secs_f64();
        match verdict {
            Verdict::Passed => println!("{name:<10} {took:>7.1} s  passed"),
            Verdict::Skipped(missing) => println!("SKIPPED {name}: {missing}"),
            Verdict::Failed(_) => println!("{name:<10} {took:>7.1} s  FAILED"),
        }
    }
    let total: Duration = finished.iter().map(|(_, took, _)| took).sum();
    println!("{:<10} {:>7.1} s", "all", total.as_secs_f64());
}

/// A peer that can't be had is no failure yet: the steps that need it are skipped.
fn setup() -> Outcome {
    setup::install_programs()?;
    let missing = peer::install_all();
    if missing.is_empty() || !is_strict() {
        return Ok(());
    }
    Err(format!("could not be installed: {}", missing.join(", ")))
}

fn cargo(arguments: &[&str]) -> Outcome {
    run::run(command_in(&workspace::root(), "cargo").args(arguments))
}

/// The lints include `incompatible_msrv`, which keeps `rust-version`.
fn lints() -> Outcome {
    cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ])
}

fn tests() -> Outcome {
    cargo(&["test", "--workspace", "--exclude", INTEROP])
}

fn docs() -> Outcome {
    let mut command = command_in(&workspace::root(), "cargo");
    command.args([
        "doc",
        "--workspace",
        "--no-deps",
        "--exclude",
        "xtask",
        "--exclude",
        INTEROP,
    ]);
    run::run(command.env("RUSTDOCFLAGS", "-D warnings"))
}

/// What would be published is complete. It is built by the other steps.
fn package() -> Outcome {
    cargo(&[
        "package",
        "--workspace",
        "--exclude",
        "xtask",
        "--exclude",
        INTEROP,
        "--exclude",
        "chappe-instructions",
        "--exclude",
        "chappe-load",
        "--exclude",
        "chappe-loops",
        "--no-verify",
        "--allow-dirty",
    ])
}

fn release() -> Outcome {
    cargo(&["build", "--release", "--package", "chappe-cli"])?;
    cargo(&["build", "--release", "--package", "chappe", "--examples"])?;
    cargo(&["build", "--release", "--package", INTEROP, "--bins"])?;
    let binary = workspace::release("chappe");
    let metadata = fs::metadata(&binary);
    let bytes = metadata
        .map_err(|error| format!("{}: {error}", binary.display()))?
        .len();
    println!("the binary has {bytes} bytes of at most {BINARY_BYTES_MAX}");
    if bytes > BINARY_BYTES_MAX {
        return Err(format!(
            "the binary of {bytes} bytes exceeds {BINARY_BYTES_MAX}"
        ));
    }
    Ok(())
}

fn interop() -> Outcome {
    let mut command = command_in(&workspace::root(), "cargo");
    command.args(["test", "--release", "--package", INTEROP]);
    run::run(with_tools(&mut command))
}

/// The page of a started server, in a real browser.
fn browser() -> Outcome {
    let script = workspace::browser().join("test.mjs");
    if !script.exists() {
        return Err(format!(
            "the browser's test is missing: {}",
            script.display()
        ));
    }
    let screenshots = workspace::target().join("screenshots");
    fs::create_dir_all(&screenshots)
        .map_err(|error| format!("{}: {error}", screenshots.display()))?;
    let server = Server::start(&workspace::release("chappe"))?;
    let mut command = command_in(&workspace::browser(), "node");
    command
        .arg("test.mjs")
        .arg(server.base_url())
        .arg(screenshots);
    run::run(with_tools(&mut command))
}

/// Tells a test where the binary, the peers and the browser are.
fn with_tools(command: &mut Command) -> &mut Command {
    let chromium = setup::chromium().unwrap_or_else(|| PathBuf::from("chromium"));
    command
        .env("CHAPPE_BINARY", workspace::release("chappe"))
        .env("CHAPPE_PYTHON", workspace::python(&workspace::websockets()))
        .env(
            "CHAPPE_NODE_MODULES",
            workspace::node().join("node_modules"),
        )
        .env("CHROMIUM", chromium)
}
