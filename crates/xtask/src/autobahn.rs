//! `cargo xtask autobahn`: Autobahn|Testsuite, all cases without compression, both sides.
//!
//! The suite is written for Python 2.7; `setup` installs it, and `autobahn/port.py` ports it to
//! Python 3. The verdicts are read from the reports that it writes. A case that passes only
//! non-strictly must be among those that `docs/conformance.md` explains.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::run::{self, Outcome, Running};
use crate::setup::peer;
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
    peer::AUTOBAHN.check()?;
    for side in sides {
        side.test()?;
    }
    Ok(())
}

#[derive(Clone, Copy, Debug)]
enum Side {
    Server,
    Client,
}

impl Side {
    fn test(self) -> Outcome {
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
        let mut verdicts = self.run(&program, &folder)?;
        // The suite's own server takes a port that it found free a moment before, and now and
        // then another program has it by then. A side that died is found out the second time.
        for _ in 1..RUNS_MAX {
            if verdicts.len() == CASES {
                break;
            }
            println!("{name}: {} cases have a result; once more", verdicts.len());
            verdicts = self.run(&program, &folder)?;
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

    fn run(self, program: &Path, folder: &Path) -> Outcome<BTreeMap<Case, String>> {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let address = free_address()?;
        let url = format!("ws://{address}");
        write_spec(folder, &url)?;
        let ended = match self {
            Self::Server => {
                let _server = Running::start(Command::new(program).arg(&address))?;
                wait_for(&address)?;
                run::run(&mut suite("fuzzingclient", folder)?)
            }
            Self::Client => {
                let _suite = Running::start(&mut suite("fuzzingserver", folder)?)?;
                wait_for(&address)?;
                let mut client = Command::new(program);
                client
                    .env("AUTOBAHN_URL", &url)
                    .env("AUTOBAHN_AGENT", AGENT);
                run::run(&mut client)
            }
        };
        if let Err(failure) = ended {
            println!("{failure}");
        }
        read_report(folder)
    }
}

/// What the suite is told: as a client where the server is, as a server where to listen.
fn write_spec(folder: &Path, url: &str) -> Outcome {
    let spec = json!({
        "url": url,
        "servers": [{ "agent": AGENT, "url": url }],
        "outdir": folder,
        "cases": ["*"],
        "exclude-cases": EXCLUDED,
        "exclude-agent-cases": {},
    });
    let file = folder.join("spec.json");
    fs::write(&file, spec.to_string()).map_err(|error| format!("{}: {error}", file.display()))
}

/// The suite in one of its modes, for the spec in the folder. What it says goes there, too.
fn suite(mode: &str, folder: &Path) -> Outcome<Command> {
    let failure = |error| format!("{}: {error}", folder.display());
    let log = File::create(folder.join("output.log")).map_err(failure)?;
    let mut command = Command::new(workspace::python(&workspace::autobahn()));
    command
        .arg(workspace::root().join("crates/xtask/autobahn/wstest.py"))
        .arg(mode)
        .arg(folder.join("spec.json"))
        .stderr(log.try_clone().map_err(failure)?)
        .stdout(log);
    Ok(command)
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

/// The verdicts of one run by case: the case's own, or its closing's where that one is worse. None
/// where there is no report.
fn read_report(folder: &Path) -> Outcome<BTreeMap<Case, String>> {
    let Ok(text) = fs::read(folder.join("index.json")) else {
        return Ok(BTreeMap::new());
    };
    let index: Value = serde_json::from_slice(&text)
        .map_err(|error| format!("the report in {}: {error}", folder.display()))?;
    let cases = index[AGENT].as_object().into_iter().flatten();
    Ok(cases
        .map(|(name, row)| {
            let numbers = name.split('.').filter_map(|number| number.parse().ok());
            (numbers.collect(), verdict(row))
        })
        .collect())
}

fn verdict(row: &Value) -> String {
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
            let row = json!({ "behavior": behavior, "behaviorClose": closing });
            assert_eq!(verdict(&row), expected);
        }
        assert_eq!(verdict(&json!({})), "MISSING");
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
