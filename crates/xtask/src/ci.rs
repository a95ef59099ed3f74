//! `cargo xtask ci`: all that CI runs, in order; it stops at the first step that fails.
//!
//! Each step tells its name and how long it took, and a table at the end tells all of them. What
//! a step needs from an earlier one (programs, release builds) is named where it is missing.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::attacks::{self, Server};
use crate::run::{self, Outcome, command_in};
use crate::{autobahn, bench, dependencies, setup, tidy, workspace};

struct Step {
    name: &'static str,
    run: fn() -> Outcome,
}

const STEPS: &[Step] = &[
    Step {
        name: "setup",
        run: || setup::run(&[]),
    },
    Step {
        name: "format",
        run: || cargo(&["fmt", "--all", "--check"]),
    },
    Step {
        name: "lints",
        run: lints,
    },
    Step {
        name: "tests",
        run: tests,
    },
    Step {
        name: "docs",
        run: docs,
    },
    Step {
        name: "tidy",
        run: || tidy::run(&[]),
    },
    Step {
        name: "budgets",
        run: dependencies::check_budgets,
    },
    Step {
        name: "licences",
        run: dependencies::check_licences_and_sources,
    },
    Step {
        name: "package",
        run: package,
    },
    Step {
        name: "release",
        run: release,
    },
    Step {
        name: "bench",
        run: || bench::run(&["--quick".to_owned()]),
    },
    Step {
        name: "autobahn",
        run: || autobahn::run(&[]),
    },
    Step {
        name: "attacks",
        run: || attacks::run(&[]),
    },
    Step {
        name: "interop",
        run: interop,
    },
    Step {
        name: "browser",
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
        let result = (step.run)();
        let took = start.elapsed();
        println!("<== {} took {:.1} s", step.name, took.as_secs_f64());
        finished.push((step.name, took, result.is_ok()));
        if let Err(failure) = result {
            outcome = Err(format!("step {} failed: {failure}", step.name));
            break;
        }
    }
    print_table(&finished);
    outcome
}

fn print_table(finished: &[(&str, Duration, bool)]) {
    println!();
    for (name, took, passed) in finished {
        let verdict = if *passed { "passed" } else { "FAILED" };
        println!("{name:<10} {:>7.1} s  {verdict}", took.as_secs_f64());
    }
    let total: Duration = finished.iter().map(|(_, took, _)| took).sum();
    println!("{:<10} {:>7.1} s", "all", total.as_secs_f64());
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
        .env("CHAPPE_PYTHON", workspace::python())
        .env(
            "CHAPPE_NODE_MODULES",
            workspace::node().join("node_modules"),
        )
        .env("CHROMIUM", chromium)
}
