//! `cargo xtask autobahn`: Autobahn|Testsuite, all cases without compression, both sides.
//!
//! The suite needs Python 2.7 or a port of it, so it comes from outside: from the scripts of a
//! checkout named `shared/conformance` beside ours, from `wstest` on the `PATH`, or as the
//! official container image. The verdicts are read from the reports that each of them writes.
//! A case that passes only non-strictly must be among those that `docs/conformance.md` explains.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::run::{self, Outcome, Running};
use crate::workspace;

/// Cases of the suite that need permessage-deflate.
const EXCLUDED: [&str; 2] = ["12.*", "13.*"];
/// How many cases are left.
const CASES: usize = 301;
/// The server under test: takes the address to listen on, and echoes.
const SERVER: &str = "examples/echo";
/// The client under test: follows the suite's protocol at `AUTOBAHN_URL` as `AUTOBAHN_AGENT`.
const CLIENT: &str = "autobahn-client";
/// Where non-strict cases are explained.
const EXPLANATIONS: &str = "docs/conformance.md";
const IMAGE: &str = "crossbario/autobahn-testsuite";
const AGENT: &str = "chappe";
/// How often a run is made that did not come to its end.
const RUNS_MAX: usize = 3;

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let sides = match arguments.first().map_or("all", String::as_str) {
        "all" => &[Side::Server, Side::Client][..],
        "server" => &[Side::Server],
        "client" => &[Side::Client],
        other => {
            return Err(format!(
                "autobahn takes server, client or all, but got {other:?}"
            ));
        }
    };
    let suite = find()?;
    suite.install()?;
    println!("suite: {suite}");
    for side in sides {
        side.test(&suite)?;
    }
    Ok(())
}

/// Where the suite comes from.
#[derive(Debug)]
pub(crate) enum Suite {
    /// The folder of scripts beside the checkout, and the place of its installation.
    Scripts { folder: PathBuf, place: PathBuf },
    /// The suite's own program.
    Program(PathBuf),
    /// The official image.
    Container,
}

pub(crate) fn find() -> Outcome<Suite> {
    let venv = env::var_os("AUTOBAHN_VENV").map(PathBuf::from);
    let folder = workspace::root()
        .join("..")
        .join("shared")
        .join("conformance");
    if folder.join("server.sh").exists() {
        let place = venv.unwrap_or_else(|| workspace::tools().join("autobahn"));
        return Ok(Suite::Scripts { folder, place });
    }
    let installed = venv.map(|place| place.join("bin").join("wstest"));
    let program = installed.filter(|file| file.exists());
    if let Some(program) = program.or_else(|| workspace::find_program("wstest")) {
        return Ok(Suite::Program(program));
    }
    if run::output(Command::new("docker").arg("info")).is_ok() {
        return Ok(Suite::Container);
    }
    Err(format!(
        "the Autobahn suite is missing. Either start a Docker engine, so that the image {IMAGE} \
         can run, or install the package autobahntestsuite 0.8.2 for Python 2.7 so that its \
         program wstest is on the PATH or in the environment that AUTOBAHN_VENV names"
    ))
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scripts { .. } => f.write_str("0.8.2, by the scripts beside the checkout"),
            Self::Program(program) => write!(f, "{}", program.display()),
            Self::Container => write!(f, "the image {IMAGE}"),
        }
    }
}

impl Suite {
    /// Makes the suite ready; at once where it is.
    pub(crate) fn install(&self) -> Outcome {
        let Self::Scripts { folder, place } = self else {
            return Ok(());
        };
        if place.join(".installed").exists() {
            return run::output(&mut install_command(folder, place)).map(|_| ());
        }
        run::run_with_retries(|| install_command(folder, place))
    }

    /// The suite's own program in one of its modes, for a `spec.json` in `folder`.
    fn wstest(&self, mode: &str, folder: &Path) -> Command {
        let spec = folder.join("spec.json");
        match self {
            Self::Container => {
                let mut command = Command::new("docker");
                command.args(["run", "--rm", "--init", "--network", "host", "--name"]);
                command.arg(container_name()).arg("--volume");
                command.arg(format!("{0}:{0}", folder.display()));
                command
                    .args([IMAGE, "wstest", "--mode", mode, "--spec"])
                    .arg(spec);
                command
            }
            Self::Program(program) => {
                let mut command = Command::new(program);
                command.args(["--mode", mode, "--spec"]).arg(spec);
                command
            }
            Self::Scripts { .. } => unreachable!("the scripts run the suite themselves"),
        }
    }

    /// Runs the suite against the server at `url`.
    fn test_server(&self, url: &str, folder: &Path) -> Outcome {
        let mut command = if let Self::Scripts {
            folder: scripts,
            place,
        } = self
        {
            script(&scripts.join("server.sh"), place, folder, url)
        } else {
            write_spec(
                folder,
                &format!(r#""servers": [{{"agent": "{AGENT}", "url": "{url}"}}]"#),
            )?;
            self.wstest("fuzzingclient", folder)
        };
        logged(&mut command, folder)
    }

    /// Runs the client against the suite.
    fn test_client(&self, client: &Path, folder: &Path) -> Outcome {
        if let Self::Scripts {
            folder: scripts,
            place,
        } = self
        {
            // The scripts hand the command to a shell.
            let target = run::line(&Command::new(client));
            return logged(
                &mut script(&scripts.join("client.sh"), place, folder, &target),
                folder,
            );
        }
        let address = free_address()?;
        let url = format!("ws://{address}");
        write_spec(folder, &format!(r#""url": "{url}""#))?;
        let mut server = self.wstest("fuzzingserver", folder);
        let _guard = Stop {
            container: matches!(self, Self::Container),
        };
        let _server = Running::start(to_log(&mut server, folder)?)?;
        wait_for(&address)?;
        let mut command = Command::new(client);
        command
            .env("AUTOBAHN_URL", &url)
            .env("AUTOBAHN_AGENT", AGENT);
        run::run(&mut command)
    }
}

/// Killing docker's client leaves the container: this ends it.
struct Stop {
    container: bool,
}

impl Drop for Stop {
    fn drop(&mut self) {
        if self.container {
            let _ = run::output(Command::new("docker").args(["rm", "--force", &container_name()]));
        }
    }
}

fn container_name() -> String {
    format!("chappe-autobahn-{}", std::process::id())
}

fn install_command(folder: &Path, place: &Path) -> Command {
    let mut command = Command::new("bash");
    command.arg(folder.join("install.sh")).arg(place);
    command
}

/// One of the scripts beside the checkout.
fn script(file: &Path, place: &Path, folder: &Path, target: &str) -> Command {
    let mut command = Command::new("bash");
    command
        .arg(file)
        .arg("--venv")
        .arg(place)
        .arg("--out")
        .arg(folder);
    command.args(["--agent", AGENT, "--exclude", &EXCLUDED.join(" "), target]);
    command
}

fn write_spec(folder: &Path, target: &str) -> Outcome {
    let excluded = EXCLUDED.map(|pattern| format!("{pattern:?}")).join(", ");
    let text = format!(
        "{{{target}, \"outdir\": \"{}\", \"cases\": [\"*\"], \"exclude-cases\": [{excluded}], \
         \"exclude-agent-cases\": {{}}}}\n",
        folder.display()
    );
    let file = folder.join("spec.json");
    fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))
}

/// Runs a command of the suite. That it found faults is told by the reports, not by its status.
fn logged(command: &mut Command, folder: &Path) -> Outcome {
    println!("$ {}", run::line(command));
    let status = to_log(command, folder)?.status();
    status
        .map(|_| ())
        .map_err(|error| format!("cannot run `{}`: {error}", run::line(command)))
}

fn to_log<'a>(command: &'a mut Command, folder: &Path) -> Outcome<&'a mut Command> {
    let failure = |error| format!("{}: {error}", folder.display());
    let log = File::create(folder.join("output.log")).map_err(failure)?;
    Ok(command
        .stderr(log.try_clone().map_err(failure)?)
        .stdout(log))
}

#[derive(Clone, Copy, Debug)]
enum Side {
    Server,
    Client,
}

impl Side {
    fn test(self, suite: &Suite) -> Outcome {
        let (name, program) = match self {
            Self::Server => ("server", workspace::release(SERVER)),
            Self::Client => ("client", workspace::release(CLIENT)),
        };
        if !program.exists() {
            return Err(format!(
                "the {name} under test is not built: {}",
                program.display()
            ));
        }
        let folder = workspace::target().join("autobahn").join(name);
        let mut verdicts = self.run(suite, &program, &folder)?;
        // The suite's own server takes a port that it found free a moment before, and now and
        // then another program has it by then. A side that died is found out the second time.
        for _ in 1..RUNS_MAX {
            if verdicts.len() == CASES {
                break;
            }
            println!("{name}: {} cases have a result; once more", verdicts.len());
            verdicts = self.run(suite, &program, &folder)?;
        }
        println!("\n{name}");
        judge(&verdicts).map_err(|failure| {
            let log = fs::read_to_string(folder.join("output.log")).unwrap_or_default();
            format!(
                "{name}: {failure}\n{}\nreports: {}",
                end_of(&log),
                folder.display()
            )
        })
    }

    fn run(self, suite: &Suite, program: &Path, folder: &Path) -> Outcome<BTreeMap<Case, String>> {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        match self {
            Self::Server => {
                let address = free_address()?;
                let _server = Running::start(Command::new(program).arg(&address))?;
                wait_for(&address)?;
                suite.test_server(&format!("ws://{address}"), folder)?;
            }
            Self::Client => suite.test_client(program, folder)?,
        }
        read_reports(folder)
    }
}

/// The last lines of a log, without what is too long to be read.
fn end_of(log: &str) -> String {
    let lines: Vec<String> = log
        .lines()
        .map(|line| line.chars().take(160).collect())
        .collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

fn free_address() -> Outcome<String> {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    address
        .map(|address| address.to_string())
        .map_err(|error| format!("no free port: {error}"))
}

fn wait_for(address: &str) -> Outcome {
    let end = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(address).is_err() {
        if Instant::now() > end {
            return Err(format!("nobody listens on {address}"));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// A case's number, such as 9.1.1, ordered as the suite does.
type Case = Vec<u32>;

/// The verdicts of one run by case: the case's own, or its closing's where that one is worse.
fn read_reports(folder: &Path) -> Outcome<BTreeMap<Case, String>> {
    let mut verdicts = BTreeMap::new();
    let parts = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let parts = parts.flatten().map(|entry| entry.path());
    for file in parts
        .chain([folder.to_owned()])
        .map(|folder| folder.join("index.json"))
    {
        let Ok(text) = fs::read(&file) else { continue };
        let index: serde_json::Value = serde_json::from_slice(&text)
            .map_err(|error| format!("{}: {error}", file.display()))?;
        let cases = index.get(AGENT).and_then(serde_json::Value::as_object);
        for (name, row) in cases.into_iter().flatten() {
            let case = name
                .split('.')
                .filter_map(|part| part.parse().ok())
                .collect();
            verdicts.insert(case, verdict(row));
        }
    }
    Ok(verdicts)
}

fn verdict(row: &serde_json::Value) -> String {
    let [behavior, closing] = ["behavior", "behaviorClose"].map(|key| row[key].as_str());
    match (behavior.unwrap_or("MISSING"), closing.unwrap_or("MISSING")) {
        (good @ ("OK" | "NON-STRICT" | "INFORMATIONAL"), "OK" | "NON-STRICT" | "INFORMATIONAL") => {
            good.to_owned()
        }
        ("OK" | "NON-STRICT" | "INFORMATIONAL", closing) => format!("closing: {closing}"),
        (bad, _) => bad.to_owned(),
    }
}

/// Prints the table and says whether the run conforms.
fn judge(verdicts: &BTreeMap<Case, String>) -> Outcome {
    const COLUMNS: [&str; 4] = ["OK", "NON-STRICT", "INFORMATIONAL", "FAILED"];
    let column = |verdict: &str| {
        COLUMNS
            .iter()
            .position(|name| *name == verdict)
            .unwrap_or(3)
    };
    let mut sections: BTreeMap<u32, [usize; 4]> = BTreeMap::new();
    let mut of_column: [Vec<String>; 4] = Default::default();
    for (case, verdict) in verdicts {
        let column = column(verdict);
        sections.entry(case[0]).or_default()[column] += 1;
        of_column[column].push(
            case.iter()
                .map(u32::to_string)
                .collect::<Vec<_>>()
                .join("."),
        );
    }
    let [ok, non_strict, informational, failed] = COLUMNS;
    println!(
        "{:>7} {ok:>6} {non_strict:>10} {informational:>13} {failed:>6}",
        "section"
    );
    for (section, [ok, non_strict, informational, failed]) in &sections {
        println!("{section:>7} {ok:>6} {non_strict:>10} {informational:>13} {failed:>6}");
    }
    let [ok, non_strict, informational, failed] = of_column.each_ref().map(Vec::len);
    println!(
        "{:>7} {ok:>6} {non_strict:>10} {informational:>13} {failed:>6}",
        "all"
    );
    let [_, non_strict, _, failed] = of_column;
    if !non_strict.is_empty() {
        println!("non-strict: {}", non_strict.join(", "));
    }
    if !failed.is_empty() {
        return Err(format!("failed: {}", failed.join(", ")));
    }
    if verdicts.len() != CASES {
        return Err(format!("{} of {CASES} cases have a result", verdicts.len()));
    }
    let text = fs::read_to_string(workspace::root().join(EXPLANATIONS)).unwrap_or_default();
    check_explained(&non_strict, &text)
}

/// Each non-strict case stands in the text, in backticks, itself or by a pattern such as `3.*`.
fn check_explained(non_strict: &[String], text: &str) -> Outcome {
    let explained: Vec<&str> = text.split('`').skip(1).step_by(2).collect();
    let is_explained = |case: &String| {
        explained.iter().any(|name| match name.strip_suffix('*') {
            Some(start) => case.starts_with(start),
            None => case == name,
        })
    };
    let missing: Vec<_> = non_strict
        .iter()
        .filter(|case| !is_explained(case))
        .cloned()
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{EXPLANATIONS} does not explain the non-strict cases {}",
        missing.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worse_of_two_verdicts_counts() {
        for (behavior, closing, expected) in [
            ("OK", "OK", "OK"),
            ("NON-STRICT", "INFORMATIONAL", "NON-STRICT"),
            ("INFORMATIONAL", "OK", "INFORMATIONAL"),
            ("OK", "FAILED", "closing: FAILED"),
            ("OK", "WRONG CODE", "closing: WRONG CODE"),
            ("FAILED", "OK", "FAILED"),
            ("UNIMPLEMENTED", "OK", "UNIMPLEMENTED"),
        ] {
            let row = serde_json::json!({ "behavior": behavior, "behaviorClose": closing });
            assert_eq!(verdict(&row), expected);
        }
        assert_eq!(verdict(&serde_json::json!({})), "MISSING");
    }

    #[test]
    fn non_strict_cases_must_be_explained() {
        let text = "Races: `3.*` and `5.15`.";
        for (case, explained) in [
            ("3.2", true),
            ("5.15", true),
            ("5.1", false),
            ("13.2", false),
        ] {
            assert_eq!(
                check_explained(&[case.to_owned()], text).is_ok(),
                explained,
                "{case}"
            );
        }
    }
}
