//! `cargo xtask setup`: the programs and peers that the tests need.
//!
//! Programs come from the system's packages: on Debian, as root, what is missing is installed;
//! elsewhere it is named, with the way to install it. Peers come from their package registries, are
//! pinned and go below `target/tools`. When everything is there this takes no network and under two
//! seconds.

pub(crate) mod peer;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::run::{self, Outcome};
use crate::workspace;

/// A program that is looked for on the `PATH`.
struct Program {
    /// The names it goes by; the first found is used.
    names: &'static [&'static str],
    /// What makes it print its version, or fail where the program is only half there.
    version: &'static [&'static str],
    /// Debian's packages for it.
    packages: &'static [&'static str],
}

const PROGRAMS: &[Program] = &[
    Program {
        names: CHROMIUM,
        version: &["--version"],
        packages: &["chromium"],
    },
    Program {
        names: &["node"],
        version: &["--version"],
        packages: &["nodejs"],
    },
    Program {
        names: &["npm"],
        version: &["--version"],
        packages: &["npm"],
    },
    Program {
        names: &["python3"],
        version: &[
            "-c",
            "import ensurepip, platform, venv; print(platform.python_version())",
        ],
        packages: &["python3", "python3-venv"],
    },
    Program {
        names: &["gcc", "cc"],
        version: &["-dumpfullversion"],
        packages: &["gcc", "libc6-dev"],
    },
    Program {
        names: &["valgrind"],
        version: &["--version"],
        packages: &["valgrind"],
    },
    Program {
        names: &["strace"],
        version: &["--version"],
        packages: &["strace"],
    },
    Program {
        names: &["taskset"],
        version: &["--version"],
        packages: &["util-linux"],
    },
    Program {
        names: &["ip"],
        version: &["-V"],
        packages: &["iproute2"],
    },
    Program {
        names: &["kill"],
        version: &["--version"],
        packages: &["procps"],
    },
];

const CHROMIUM: &[&str] = &["chromium", "chromium-browser", "google-chrome"];

pub(crate) fn run(arguments: &[String]) -> Outcome {
    if let Some(argument) = arguments.first() {
        return Err(format!("setup takes no argument, but got {argument:?}"));
    }
    install_programs()?;
    let missing = peer::install_all();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!("could not be installed: {}", missing.join(", ")))
}

/// Sees to it that all programs are there.
pub(crate) fn install_programs() -> Outcome {
    let missing = missing();
    if !missing.is_empty() {
        install_packages(&missing)?;
    }
    for program in PROGRAMS {
        let version = program
            .version()
            .ok_or_else(|| format!("{} is missing", program.names[0]))?;
        println!("{:<12} {version}", program.names[0]);
    }
    Ok(())
}

/// The browser that the tests drive.
pub(crate) fn chromium() -> Option<PathBuf> {
    CHROMIUM
        .iter()
        .find_map(|name| workspace::find_program(name))
}

impl Program {
    /// The first word with a digit of the first line, when the program runs.
    fn version(&self) -> Option<String> {
        let file = self
            .names
            .iter()
            .find_map(|name| workspace::find_program(name))?;
        let text = run::output(Command::new(file).args(self.version)).ok()?;
        let mut words = text.lines().next()?.split_whitespace();
        words
            .find(|word| word.contains(|c: char| c.is_ascii_digit()))
            .map(|word| word.trim_end_matches(',').to_owned())
    }
}

fn missing() -> Vec<&'static Program> {
    PROGRAMS
        .iter()
        .filter(|program| program.version().is_none())
        .collect()
}

fn install_packages(missing: &[&Program]) -> Outcome {
    let names = missing
        .iter()
        .map(|program| program.names[0])
        .collect::<Vec<_>>()
        .join(", ");
    let packages: Vec<_> = missing
        .iter()
        .flat_map(|program| program.packages)
        .copied()
        .collect();
    if !is_debian() || !is_root() {
        return Err(format!(
            "missing: {names}\n\
             On Debian: sudo apt-get install {}\n\
             Elsewhere install the programs of these names so that they are on the PATH.",
            packages.join(" ")
        ));
    }
    println!("missing: {names}");
    run::run_with_retries(|| apt(&["update", "--quiet"]))?;
    let words = ["install", "--quiet", "--yes", "--no-install-recommends"];
    run::run_with_retries(|| apt(&[&words[..], &packages[..]].concat()))
}

fn apt(words: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.args(words).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn is_debian() -> bool {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    release.lines().any(|line| line == "ID=debian")
}

fn is_root() -> bool {
    run::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}
