//! The peers that `setup` installs: each from its package registry, pinned, into a folder of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{self, Outcome, command_in};
use crate::workspace;

/// What our tests talk to, installed from pins.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    folder: fn() -> PathBuf,
    /// The files of the checkout that its installation follows from.
    sources: &'static [&'static str],
    install: fn(&Path) -> Outcome,
    version: fn(&Path) -> Outcome<String>,
}

pub(crate) const WEBSOCKETS: Peer = Peer {
    name: "websockets",
    folder: workspace::websockets,
    sources: &["crates/xtask/peers/requirements.txt"],
    install: |folder| {
        make_environment(folder)?;
        pip(folder, "crates/xtask/peers/requirements.txt", &[])
    },
    version: |folder| python_version(folder, "websockets"),
};

pub(crate) const WS: Peer = Peer {
    name: "ws",
    folder: workspace::node,
    sources: &["crates/xtask/peers/package-lock.json"],
    install: |folder| {
        let pins = workspace::root().join("crates/xtask/peers");
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        for name in ["package.json", "package-lock.json"] {
            copy(&pins.join(name), &folder.join(name))?;
        }
        run::run_with_retries(|| npm(folder, &["ci"]))
    },
    version: |folder| package_version(folder, "ws"),
};

/// What drives the browser. The package itself pins what has no dependencies of its own.
pub(crate) const PLAYWRIGHT: Peer = Peer {
    name: "playwright",
    folder: || workspace::browser().join("node_modules"),
    sources: &["tests/interop/browser/package.json"],
    install: |_| {
        run::run_with_retries(|| npm(&workspace::browser(), &["install", "--no-package-lock"]))
    },
    version: |_| package_version(&workspace::browser(), "playwright-core"),
};

/// The conformance suite: written for Python 2.7, and ported to Python 3 where it is installed.
pub(crate) const AUTOBAHN: Peer = Peer {
    name: "autobahn",
    folder: workspace::autobahn,
    sources: &[
        "crates/xtask/autobahn/build.txt",
        "crates/xtask/autobahn/requirements.txt",
        "crates/xtask/autobahn/port.py",
    ],
    install: |folder| {
        make_environment(folder)?;
        pip(folder, "crates/xtask/autobahn/build.txt", &[])?;
        let requirements = "crates/xtask/autobahn/requirements.txt";
        pip(folder, requirements, &["--no-build-isolation"])?;
        let port = workspace::root().join("crates/xtask/autobahn/port.py");
        run::run(Command::new(workspace::python(folder)).arg(port))
    },
    version: |folder| python_version(folder, "autobahntestsuite"),
};

const PEERS: [Peer; 4] = [WEBSOCKETS, WS, PLAYWRIGHT, AUTOBAHN];

/// Keeps the text of the pins that a folder's content was installed from.
const STAMP: &str = ".installed";

/// Installs the peers that are not there yet. Gives the names of those that can't be had.
pub(crate) fn install_all() -> Vec<&'static str> {
    let mut missing = Vec::new();
    for peer in PEERS {
        match peer.ensure() {
            Ok(version) => println!("{:<12} {version}", peer.name),
            Err(failure) => {
                println!("{:<12} MISSING: {failure}", peer.name);
                missing.push(peer.name);
            }
        }
    }
    missing
}

impl Peer {
    /// Fails, with the cure, where it is not installed as the checkout pins it.
    pub(crate) fn check(&self) -> Outcome {
        if is_installed(&(self.folder)(), &self.pins()?) {
            return Ok(());
        }
        let name = self.name;
        Err(format!(
            "{name} is missing; `cargo xtask setup` installs it"
        ))
    }

    /// Installs it unless it is there, and tells its version.
    fn ensure(&self) -> Outcome<String> {
        let folder = (self.folder)();
        once(&folder, &self.pins()?, || (self.install)(&folder))?;
        (self.version)(&folder)
    }

    fn pins(&self) -> Outcome<Vec<u8>> {
        let texts = self
            .sources
            .iter()
            .map(|name| read(&workspace::root().join(name)));
        Ok(texts.collect::<Outcome<Vec<_>>>()?.concat())
    }
}

/// A Python of its own.
fn make_environment(folder: &Path) -> Outcome {
    run::run(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(folder),
    )
}

/// Installs into such a Python what a file of the checkout lists.
fn pip(folder: &Path, requirements: &str, options: &[&str]) -> Outcome {
    run::run_with_retries(|| {
        let mut command = Command::new(workspace::python(folder));
        command.args(["-m", "pip", "install", "--quiet", "--no-deps"]);
        command.args(["--disable-pip-version-check", "--requirement"]);
        command
            .arg(workspace::root().join(requirements))
            .args(options);
        command
    })
}

fn python_version(folder: &Path, package: &str) -> Outcome<String> {
    let script = format!("import importlib.metadata as m; print(m.version({package:?}))");
    let version = run::output(Command::new(workspace::python(folder)).args(["-c", &script]))?;
    Ok(version.trim().to_owned())
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
pub(crate) fn once(folder: &Path, pins: &[u8], install: impl FnOnce() -> Outcome) -> Outcome {
    if is_installed(folder, pins) {
        return Ok(());
    }
    install()?;
    let stamp = folder.join(STAMP);
    fs::write(&stamp, pins).map_err(|error| format!("{}: {error}", stamp.display()))
}

fn is_installed(folder: &Path, pins: &[u8]) -> bool {
    fs::read(folder.join(STAMP)).is_ok_and(|found| found == pins)
}

pub(crate) fn read(file: &Path) -> Outcome<Vec<u8>> {
    fs::read(file).map_err(|error| format!("{}: {error}", file.display()))
}

fn copy(source: &Path, target: &Path) -> Outcome {
    match fs::copy(source, target) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("cannot copy {}: {error}", source.display())),
    }
}
