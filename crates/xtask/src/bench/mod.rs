//! `cargo xtask bench`: Chappe and its peers under the same load, in turns.
//!
//! A row is measured in runs: one of each peer, then the next of each, in another order, so that
//! what changes on the machine changes for all. What each run gave goes to
//! `docs/benchmarks/results.json`, and [`report`] writes the document from that.

mod calls;
mod measure;
mod peers;
mod plot;
mod quick;
mod report;
mod results;
mod rows;
mod statistics;
mod tables;
mod targets;
mod turns;
mod units;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::run::Outcome;
use peers::{CHAPPE, PEERS, Peer};
use results::Results;
use rows::{Pace, ROWS, Row};

const USAGE: &str = "\
usage: cargo xtask bench [OPTION...]

  --row NAME    only this row; may be given several times
  --peers A,B   only these peers, and Chappe; shown, but not kept, as a row of the document
                compares what was measured in turns
  --runs N      alternating runs of each row (by default 9 to 42; 3 or 1 of idle connections)
  --seconds S   the measured time of a run (by default 0.06 to 0.25)
  --list        the rows and the peers, by name
  --report      write the document from what was measured before
  --quick       instructions and system calls only, against the kept figures";

pub(crate) fn run(arguments: &[String]) -> Outcome {
    match arguments.split_first() {
        Some((flag, rest)) if flag == "--quick" => return quick::run(rest),
        Some((flag, [])) if flag == "--list" => {
            list();
            return Ok(());
        }
        Some((flag, [])) if flag == "--report" => return report::write(&Results::load()?),
        Some((flag, [])) if flag == "--help" => {
            println!("{USAGE}");
            return Ok(());
        }
        _ => {}
    }
    Plan::from(arguments)?.carry_out()
}

fn list() {
    for row in ROWS {
        println!("{:<26} {}", row.name, row.title());
    }
    let names: Vec<&str> = PEERS.iter().map(|peer| peer.name).collect();
    println!("\npeers: {}", names.join(", "));
}

/// What is to be measured.
struct Plan {
    rows: Vec<&'static Row>,
    /// All of them, or those that were asked for.
    peers: Vec<&'static Peer>,
    /// Where a row is not to have a pace of its own.
    runs: Option<usize>,
    seconds: Option<f64>,
}

impl Plan {
    fn from(arguments: &[String]) -> Outcome<Self> {
        let mut plan = Self {
            rows: Vec::new(),
            peers: Vec::new(),
            runs: None,
            seconds: None,
        };
        let mut arguments = arguments.iter();
        while let Some(option) = arguments.next() {
            let mut value = || {
                let missing = || format!("{option} takes a value\n\n{USAGE}");
                arguments.next().ok_or_else(missing)
            };
            match option.as_str() {
                "--row" => plan.rows.push(row(value()?)?),
                "--peers" => plan.peers = some_peers(value()?)?,
                "--runs" => plan.runs = Some(number(option, value()?)?),
                "--seconds" => plan.seconds = Some(number(option, value()?)?),
                _ => return Err(format!("bench has no option {option:?}\n\n{USAGE}")),
            }
        }
        if plan.rows.is_empty() {
            plan.rows = ROWS.iter().collect();
        }
        if plan.peers.is_empty() {
            plan.peers = PEERS.iter().collect();
        }
        let can_be_measured = |seconds| (0.01..=30.0).contains(&seconds);
        if plan.runs == Some(0) || !plan.seconds.is_none_or(can_be_measured) {
            return Err("a row takes at least one run, of 0.01 to 30 seconds".to_owned());
        }
        Ok(plan)
    }

    /// Builds, measures row after row, and writes the document. What a row gave is kept as soon as
    /// the row is over. A plan for some of the peers keeps nothing.
    fn carry_out(&self) -> Outcome {
        measure::check_machine()?;
        peers::build(&self.peers)?;
        let mut results = Results::load()?;
        results.machine = machine();
        for peer in &self.peers {
            let version = peer.version();
            results.versions.insert(peer.name.to_owned(), version);
        }
        let start = Instant::now();
        for (place, row) in self.rows.iter().enumerate() {
            let number = place + 1;
            println!(
                "\n{number}/{}  {}: {}",
                self.rows.len(),
                row.name,
                row.title()
            );
            *results.row_mut(row) = turns::measure(row, self);
            if self.is_kept() {
                results.save()?;
            }
            println!("{} so far", minutes(start.elapsed()));
        }
        if self.is_kept() {
            report::write(&results)?;
        }
        Ok(())
    }

    fn pace(&self, row: &Row) -> Pace {
        let own = row.pace();
        Pace {
            runs: self.runs.unwrap_or(own.runs),
            seconds: self.seconds.unwrap_or(own.seconds),
        }
    }

    fn is_kept(&self) -> bool {
        self.peers.len() == PEERS.len()
    }
}

fn row(name: &str) -> Outcome<&'static Row> {
    rows::find(name)
        .ok_or_else(|| format!("no row is called {name:?}; `cargo xtask bench --list` names them"))
}

/// Chappe is always among them, as the others are compared with it.
fn some_peers(names: &str) -> Outcome<Vec<&'static Peer>> {
    let names: Vec<&str> = names.split(',').collect();
    for name in &names {
        if peers::find(name).is_none() {
            return Err(format!(
                "no peer is called {name:?}; `cargo xtask bench --list` names them"
            ));
        }
    }
    let is_chosen = |peer: &&Peer| peer.name == CHAPPE || names.contains(&peer.name);
    Ok(PEERS.iter().filter(is_chosen).collect())
}

fn number<T: std::str::FromStr>(option: &str, value: &str) -> Outcome<T> {
    value
        .parse()
        .map_err(|_| format!("{option} takes a number, but got {value:?}"))
}

/// What the figures depend on, by words for the document.
fn machine() -> BTreeMap<String, String> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpu.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let flags = field("flags").unwrap_or_default();
    let is_virtual = flags.split(' ').any(|flag| flag == "hypervisor");
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let kind = if is_virtual { "virtual" } else { "physical" };
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // What a distribution or a host appends tells where, not what.
    let kernel = release.trim().split('-').next().unwrap_or_default();
    let rust = measure::first_line(Command::new("rustc").arg("--version"));
    let compiler = rust.split(' ').nth(1).unwrap_or_default();
    [
        ("processor", field("model name").unwrap_or_default()),
        ("cores", format!("{cores}, {kind}")),
        ("kernel", format!("Linux {kernel}")),
        ("compiler", format!("Rust {compiler}")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn minutes(time: Duration) -> String {
    format!("{}:{:02} min", time.as_secs() / 60, time.as_secs() % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(words: &str) -> Outcome<Plan> {
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        Plan::from(&words)
    }

    #[test]
    fn a_plan_is_everything_or_what_is_named() {
        let all = plan("").expect("no option is needed");
        assert_eq!(all.rows.len(), ROWS.len());
        assert_eq!(all.peers.len(), PEERS.len());
        let some = plan("--row handshake --row idle-used --peers ws --runs 3 --seconds 0.2");
        let some = some.expect("these exist");
        let names: Vec<_> = some.rows.iter().map(|row| row.name).collect();
        assert_eq!(names, ["handshake", "idle-used"]);
        let names: Vec<_> = some.peers.iter().map(|peer| peer.name).collect();
        assert_eq!(names, [CHAPPE, "ws"]);
        for row in &some.rows {
            assert_eq!((some.pace(row).runs, some.pace(row).seconds), (3, 0.2));
            assert_eq!(all.pace(row), row.pace(), "{}", row.name);
        }
    }

    #[test]
    fn what_does_not_exist_is_named() {
        for (words, named) in [
            ("--row echo-21", "echo-21"),
            ("--peers ws,nobody", "nobody"),
            ("--runs many", "many"),
            ("--runs", "--runs takes a value"),
            ("--runs 0", "at least one run"),
            ("--seconds 31", "30 seconds"),
            ("--slowly", "--slowly"),
        ] {
            let failure = plan(words).err().expect("it is refused");
            assert!(failure.contains(named), "{words}: {failure}");
        }
    }
}
