//! The committed figures, `benches/instructions.json`, and how measured ones compare to them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::fs;
use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::run::Outcome;
use crate::workspace;

const UPDATE: &str = "\
`cargo xtask bench --quick --update` writes benches/instructions.json; commit it with the change
that explains it.";
const DEAR: &str = "Make it cheaper again, or keep what is worth its price:";

/// By how much a figure may grow before it fails, and shrink before that is told.
const TOLERANCE: f64 = 0.05;

/// A handful of stray calls in some thousand messages is no growth.
const STRAY: f64 = 0.002;

/// What is counted, and per what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unit {
    Instructions,
    Calls,
}

impl Unit {
    const ALL: [Self; 2] = [Self::Instructions, Self::Calls];

    /// The name of its section in the file.
    fn name(self) -> &'static str {
        match self {
            Self::Instructions => "instructions per operation",
            Self::Calls => "calls per message",
        }
    }

    /// As exact as a figure is kept and shown.
    fn round(self, figure: f64) -> f64 {
        let scale = match self {
            Self::Instructions => 1.0,
            Self::Calls => 10_000.0,
        };
        (figure * scale).round() / scale
    }

    fn json(self, figure: f64) -> Value {
        match self {
            // Without the decimal point that a number of this type gets.
            Self::Instructions => Value::from(figure as i64),
            Self::Calls => Value::from(figure),
        }
    }
}

/// Figures by what they are counted in and by subject, rounded.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Figures(BTreeMap<(Unit, String), f64>);

impl Figures {
    pub(super) fn add(&mut self, unit: Unit, subject: impl Into<String>, figure: f64) {
        self.0.insert((unit, subject.into()), unit.round(figure));
    }
}

/// Figures, and the compiler that they were measured with.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Baseline {
    /// What `rustc --version` says.
    pub(super) rustc: String,
    pub(super) figures: Figures,
}

/// What was found, for the eye and for the gate.
#[derive(Debug, PartialEq)]
pub(super) struct Comparison {
    pub(super) table: String,
    pub(super) outcome: Outcome,
}

impl Baseline {
    pub(super) fn read() -> Outcome<Self> {
        let file = file();
        let text = fs::read_to_string(&file)
            .map_err(|error| format!("{}: {error}\n{UPDATE}", file.display()))?;
        Self::parse(&text).map_err(|error| format!("{}: {error}", file.display()))
    }

    pub(super) fn write(&self) -> Outcome {
        let file = file();
        fs::write(&file, self.text()).map_err(|error| format!("{}: {error}", file.display()))?;
        println!("{} is written", file.display());
        Ok(())
    }

    fn parse(text: &str) -> Outcome<Self> {
        let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let rustc = value["rustc"].as_str().ok_or("\"rustc\" is missing")?;
        let mut figures = Figures::default();
        for unit in Unit::ALL {
            let name = unit.name();
            let section = value[name].as_object();
            for (subject, figure) in section.ok_or(format!("{name:?} is missing"))? {
                let figure = figure
                    .as_f64()
                    .ok_or(format!("{subject:?} is not a number"))?;
                figures.add(unit, subject, figure);
            }
        }
        Ok(Self {
            rustc: rustc.to_owned(),
            figures,
        })
    }

    fn text(&self) -> String {
        let mut file = Map::new();
        file.insert("rustc".to_owned(), Value::from(self.rustc.as_str()));
        for unit in Unit::ALL {
            let ours = self.figures.0.iter().filter(|((of, _), _)| *of == unit);
            let section = ours
                .map(|((_, subject), figure)| (subject.clone(), unit.json(*figure)))
                .collect();
            file.insert(unit.name().to_owned(), Value::Object(section));
        }
        format!("{:#}\n", Value::Object(file))
    }

    /// How `now` differs from this.
    pub(super) fn compare(&self, now: &Self) -> Comparison {
        let mut table = line("", "before", "now", "change");
        let (mut grown, mut unknown) = (Vec::new(), Vec::new());
        let keys: BTreeSet<_> = self.figures.0.keys().chain(now.figures.0.keys()).collect();
        for key in keys {
            let (unit, subject) = key;
            let figures = (self.figures.0.get(key), now.figures.0.get(key));
            let (Some(&before), Some(&after)) = figures else {
                let is = if figures.0.is_some() { "only" } else { "not" };
                unknown.push(format!("{subject} is {is} in the file"));
                continue;
            };
            let change = change(before, after);
            let margin = (before * TOLERANCE).max(STRAY);
            let remark = if after > before + margin {
                grown.push(format!(
                    "{subject}: {after} {}, {change} against {before} before",
                    unit.name()
                ));
                "  GREW"
            } else if after < before - margin {
                "  shrank: run with --update to keep it"
            } else {
                ""
            };
            table += &line(subject, before, after, &format!("{change}{remark}"));
        }
        let outcome = if !unknown.is_empty() {
            Err(format!("{}\n{UPDATE}", unknown.join("\n")))
        } else if version(&self.rustc) != version(&now.rustc) {
            let (before, now) = (&self.rustc, &now.rustc);
            let notice = format!("The file is of {before}, this is {now}: growth does not fail.");
            table += &[&notice, UPDATE, ""].join("\n");
            Ok(())
        } else if grown.is_empty() {
            Ok(())
        } else {
            Err(format!("{}\n{DEAR}\n{UPDATE}", grown.join("\n")))
        };
        Comparison { table, outcome }
    }
}

fn file() -> PathBuf {
    workspace::root().join("benches").join("instructions.json")
}

fn line(subject: &str, before: impl Display, now: impl Display, change: &str) -> String {
    format!("{subject:<18} {before:>9} {now:>9}   {change}\n")
}

/// By how many percent `after` exceeds `before`.
fn change(before: f64, after: f64) -> String {
    let growth = after - before;
    if growth == 0.0 {
        "=".to_owned()
    } else if before == 0.0 {
        "new".to_owned()
    } else {
        format!("{:+.1} %", growth / before * 100.0)
    }
}

/// `1.95` of `rustc 1.95.0 (59807616e 2026-04-14)`.
fn version(rustc: &str) -> &str {
    let version = rustc.split(' ').nth(1).unwrap_or(rustc);
    version.rsplit_once('.').map_or(version, |(minor, _)| minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline(rustc: &str, echo: f64, reads: f64) -> Baseline {
        let mut figures = Figures::default();
        figures.add(Unit::Instructions, "echo-16", echo);
        figures.add(Unit::Calls, "echo-16 reads", reads);
        Baseline {
            rustc: rustc.to_owned(),
            figures,
        }
    }

    const RUSTC: &str = "rustc 1.95.0 (59807616e 2026-04-14)";

    #[test]
    fn file_is_read_as_it_was_written() {
        let baseline = baseline(RUSTC, 1247.8, 0.0625);
        let text = baseline.text();
        assert!(text.contains("\"echo-16\": 1248\n"), "{text}");
        assert!(text.contains("\"echo-16 reads\": 0.0625\n"), "{text}");
        assert_eq!(Baseline::parse(&text), Ok(baseline));
    }

    #[test]
    fn broken_file_says_what_is_missing() {
        for (text, complaint) in [
            ("{}", "\"rustc\" is missing"),
            (
                "{\"rustc\": \"\"}",
                "\"instructions per operation\" is missing",
            ),
            (
                "{\"rustc\": \"\", \"instructions per operation\": {\"a\": \"b\"}}",
                "\"a\" is not a number",
            ),
        ] {
            assert_eq!(Baseline::parse(text), Err(complaint.to_owned()));
        }
    }

    #[test]
    fn only_growth_beyond_the_tolerance_fails() {
        let before = baseline(RUSTC, 1000.0, 0.0625);
        for (rustc, echo, reads, grown) in [
            (RUSTC, 1000.0, 0.0625, None),
            (RUSTC, 1050.0, 0.0655, None),
            (RUSTC, 1051.0, 0.0625, Some("echo-16: 1051 instructions")),
            (RUSTC, 500.0, 0.0625, None),
            (RUSTC, 1000.0, 0.125, Some("echo-16 reads: 0.125 calls")),
            ("rustc 1.95.1 (of June)", 1100.0, 0.0625, Some("echo-16: ")),
            ("rustc 1.96.0 (of June)", 1100.0, 0.0625, None),
        ] {
            let outcome = before.compare(&baseline(rustc, echo, reads)).outcome;
            match (&outcome, grown) {
                (Ok(()), None) => {}
                (Err(failure), Some(start)) => assert!(failure.starts_with(start), "{failure}"),
                _ => panic!("{rustc}, {echo}, {reads}: {outcome:?}"),
            }
        }
    }

    #[test]
    fn growth_from_nothing_fails_unless_it_is_stray() {
        let before = baseline(RUSTC, 1000.0, 0.0);
        let after = |reads| before.compare(&baseline(RUSTC, 1000.0, reads)).outcome;
        assert_eq!(after(0.001), Ok(()));
        assert!(after(0.01).is_err());
    }

    #[test]
    fn subject_on_one_side_only_fails() {
        let before = baseline(RUSTC, 1000.0, 0.0625);
        let mut after = before.clone();
        after.figures.add(Unit::Instructions, "echo-17", 1.0);
        for (before, after, complaint) in [
            (&before, &after, "echo-17 is not in the file\n"),
            (&after, &before, "echo-17 is only in the file\n"),
        ] {
            let failure = before.compare(after).outcome.expect_err("it is unknown");
            assert!(failure.starts_with(complaint), "{failure}");
        }
    }
}
