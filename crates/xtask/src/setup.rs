//! `cargo xtask setup`: the programs and peers that the tests need.
//!
//! Programs come from the system's packages: on Debian, as root, what is missing is installed;
//! elsewhere it is named, with the way to install it. Peers are pinned and go below
//! `target/tools`. When everything is there this takes no network and under two seconds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::autobahn;
use crate::run::{self, Outcome, command_in};
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
        packages: &["gcc"],
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
];

const CHROMIUM: &[&str] = &["chromium", "chromium-browser", "google-chrome"];

pub(crate) fn run(arguments: &[String]) -> Outcome {
    if let Some(argument) = arguments.first() {
        return Err(format!("setup takes no argument, but got {argument:?}"));
    }
    let missing = missing();
    if !missing.is_empty() {
        install_programs(&missing)?;
    }
    for program in PROGRAMS {
        let version = program
            .version()
            .ok_or_else(|| format!("{} is missing", program.names[0]))?;
        println!("{:<12} {version}", program.names[0]);
    }
    install_python_peers()?;
    install_node_peers()?;
    install_browser_driver()?;
    let suite = autobahn::find()?;
    suite.install()?;
    println!("{:<12} {suite}", "autobahn");
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

fn install_programs(missing: &[&Program]) -> Outcome {
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

/// The folder with the pins of our peers.
fn pins() -> PathBuf {
    workspace::root().join("crates").join("xtask").join("peers")
}

fn install_python_peers() -> Outcome {
    let folder = workspace::tools().join("python");
    let pins = pins().join("requirements.txt");
    once(&folder, &pins, || {
        run::run_with_retries(|| {
            let mut command = Command::new("python3");
            command.args(["-m", "venv", "--clear"]).arg(&folder);
            command
        })?;
        run::run_with_retries(|| {
            let mut command = Command::new(workspace::python());
            command.args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ]);
            command.args(["--no-deps", "--requirement"]).arg(&pins);
            command
        })
    })?;
    let script = "import websockets; print(websockets.__version__)";
    let version = run::output(Command::new(workspace::python()).args(["-c", script]))?;
    println!("{:<12} {}", "websockets", version.trim());
    Ok(())
}

fn install_node_peers() -> Outcome {
    let folder = workspace::node();
    let lock = pins().join("package-lock.json");
    once(&folder, &lock, || {
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        for name in ["package.json", "package-lock.json"] {
            copy(&pins().join(name), &folder.join(name))?;
        }
        run::run_with_retries(|| npm_ci(&folder))
    })?;
    println!("{:<12} {}", "ws", package_version(&folder, "ws")?);
    Ok(())
}

fn install_browser_driver() -> Outcome {
    let folder = workspace::browser();
    let [lock, package] = ["package-lock.json", "package.json"].map(|name| folder.join(name));
    if !package.exists() {
        return Ok(());
    }
    let modules = folder.join("node_modules");
    if lock.exists() {
        once(&modules, &lock, || {
            run::run_with_retries(|| npm_ci(&folder))
        })?;
    } else {
        // The package itself pins what has no dependencies of its own.
        once(&modules, &package, || {
            run::run_with_retries(|| npm_install(&folder))
        })?;
    }
    println!(
        "{:<12} {}",
        "playwright",
        package_version(&folder, "playwright-core")?
    );
    Ok(())
}

fn npm_ci(folder: &Path) -> Command {
    npm(folder, &["ci"])
}

fn npm_install(folder: &Path) -> Command {
    npm(folder, &["install", "--no-package-lock"])
}

fn npm(folder: &Path, words: &[&str]) -> Command {
    let mut command = command_in(folder, "npm");
    command.args(words).args([
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--loglevel=error",
    ]);
    command
}

/// The version of an npm package that is installed below a folder.
pub(crate) fn package_version(folder: &Path, package: &str) -> Outcome<String> {
    let file = folder
        .join("node_modules")
        .join(package)
        .join("package.json");
    let text = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let value: serde_json::Value =
        serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(value["version"]
        .as_str()
        .unwrap_or("of unknown version")
        .to_owned())
}

/// Installs into `folder` unless that was done already from pins of the same text.
pub(crate) fn once(folder: &Path, pins: &Path, install: impl FnOnce() -> Outcome) -> Outcome {
    let stamp = folder.join(".installed");
    let wanted = fs::read(pins).map_err(|error| format!("{}: {error}", pins.display()))?;
    if fs::read(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    install()?;
    fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))
}

fn copy(source: &Path, target: &Path) -> Outcome {
    match fs::copy(source, target) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("cannot copy {}: {error}", source.display())),
    }
}
