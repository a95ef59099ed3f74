//! The raw results: what each run measured, in `docs/benchmarks/results.json`.
//!
//! A row has a cell for each peer, and is replaced as a whole: its peers were measured in turns, and
//! can't be compared with what was measured at another time.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::rows::{self, Row};
use super::statistics::Summary;
use crate::run::Outcome;
use crate::workspace;

#[derive(Debug, Default)]
pub(super) struct Results {
    /// What the machine is, by words that the document shows.
    pub(super) machine: BTreeMap<String, String>,
    /// The version of each peer, as it was measured last.
    pub(super) versions: BTreeMap<String, String>,
    rows: BTreeMap<String, RowResults>,
}

/// What is known of a row, by the names of peers.
#[derive(Debug, Default)]
pub(super) struct RowResults {
    /// As fast as each peer can.
    pub(super) closed: BTreeMap<String, Cell>,
    /// At a rate that is the same for all.
    pub(super) open: BTreeMap<String, Cell>,
    pub(super) calls: BTreeMap<String, Calls>,
}

/// What the runs of one peer in one row gave.
#[derive(Debug, Default, Clone)]
pub(super) struct Cell {
    /// The day.
    pub(super) measured: String,
    /// Messages per second that were asked for, in an open loop.
    pub(super) rate: Option<f64>,
    /// What the generator told, in the order of the runs; null for a run that failed.
    pub(super) runs: Vec<Value>,
    /// Chappe's figure in parts of this peer's, for each pair of runs.
    pub(super) ratios: Vec<f64>,
    /// Why runs failed, or why there is none.
    pub(super) failures: Vec<String>,
}

/// System calls per message, or why they are not known.
#[derive(Debug, Clone)]
pub(super) enum Calls {
    Counted { reads: f64, writes: f64, waits: f64 },
    Failed(String),
}

/// What the figures of a run say.
#[derive(Debug, Clone, Copy)]
pub(super) enum Figure {
    /// What the row compares: nanoseconds, or bytes of an idle connection.
    Cost,
    /// Of an idle connection, when the server had most to hold. That of a storm counts for those who
    /// stay.
    BytesBefore,
    /// Messages, deliveries or handshakes per second.
    Throughput,
    /// The part of the time that the generator was busy.
    GeneratorBusy,
    /// Nanoseconds of this percentile, in an open loop.
    Latency(&'static str),
    /// Nanoseconds that the generator was late with a message, at the 99th percentile.
    GeneratorLate,
}

/// The folder of the results, plots and notes.
pub(super) fn folder() -> PathBuf {
    workspace::root().join("docs").join("benchmarks")
}

fn file() -> PathBuf {
    folder().join("results.json")
}

impl Results {
    /// What was measured before; nothing where there is no file.
    pub(super) fn load() -> Outcome<Self> {
        let path = file();
        let Ok(text) = fs::read(&path) else {
            return Ok(Self::default());
        };
        let value: Value = serde_json::from_slice(&text).map_err(|error| {
            format!(
                "{}: {error}. Repair it, or remove it and measure again.",
                path.display()
            )
        })?;
        Ok(Self {
            machine: texts(&value["machine"]),
            versions: texts(&value["peers"]),
            rows: by_name(&value["rows"], |row| RowResults {
                closed: by_name(&row["closed"], Cell::read),
                open: by_name(&row["open"], Cell::read),
                calls: by_name(&row["calls"], Calls::read),
            }),
        })
    }

    pub(super) fn save(&self) -> Outcome {
        let rows = rows_of_the_table(&self.rows, |row| {
            let mut value = json!({ "closed": object(&row.closed, Cell::write) });
            if !row.open.is_empty() {
                value["open"] = object(&row.open, Cell::write);
            }
            if !row.calls.is_empty() {
                value["calls"] = object(&row.calls, Calls::write);
            }
            value
        });
        let top = [
            ("machine", json!(self.machine)),
            ("peers", json!(self.versions)),
            ("rows", rows),
        ];
        let lines = top.map(|(name, value)| {
            let depth = if name == "rows" { 3 } else { 1 };
            format!("{}: {}", json!(name), in_lines(&value, depth))
        });
        write(&file(), &format!("{{\n{}\n}}\n", lines.join(",\n")))
    }

    pub(super) fn row(&self, row: &Row) -> Option<&RowResults> {
        self.rows.get(row.name)
    }

    pub(super) fn row_mut(&mut self, row: &Row) -> &mut RowResults {
        self.rows.entry(row.name.to_owned()).or_default()
    }

    /// As fast as the peer can.
    pub(super) fn closed(&self, row: &Row, peer: &str) -> Option<&Cell> {
        self.row(row)?.closed.get(peer)
    }

    /// At the rate that is the same for all.
    pub(super) fn open(&self, row: &Row, peer: &str) -> Option<&Cell> {
        self.row(row)?.open.get(peer)
    }

    /// The first and the last day of what stands here.
    pub(super) fn days(&self) -> Option<(&str, &str)> {
        let cells = self
            .rows
            .values()
            .flat_map(|row| row.closed.values().chain(row.open.values()));
        let days = || {
            cells
                .clone()
                .map(|cell| cell.measured.as_str())
                .filter(|day| !day.is_empty())
        };
        Some((days().min()?, days().max()?))
    }
}

pub(super) fn write(path: &Path, text: &str) -> Outcome {
    let folder = path.parent().expect("the file stands in a folder");
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(path, text));
    written.map_err(|error| format!("cannot write {}: {error}", path.display()))
}

impl Cell {
    /// One figure per run that succeeded.
    pub(super) fn figures(&self, figure: Figure) -> Vec<f64> {
        self.per_run(figure).into_iter().flatten().collect()
    }

    /// One figure per run; none for a run that failed.
    pub(super) fn per_run(&self, figure: Figure) -> Vec<Option<f64>> {
        self.runs.iter().map(|run| figure.of(run)).collect()
    }

    /// This peer's figure in parts of Chappe's.
    pub(super) fn inverse_ratios(&self) -> Vec<f64> {
        self.ratios.iter().map(|ratio| 1.0 / ratio).collect()
    }

    pub(super) fn summary(&self, figure: Figure) -> Option<Summary> {
        Summary::of(&self.figures(figure))
    }

    fn read(value: &Value) -> Self {
        let list = |name: &str| value[name].as_array().cloned().unwrap_or_default();
        let strings = list("failures").into_iter();
        Self {
            measured: value["measured"].as_str().unwrap_or_default().to_owned(),
            rate: value["rate"].as_f64(),
            runs: list("runs"),
            ratios: list("ratios").iter().filter_map(Value::as_f64).collect(),
            failures: strings
                .filter_map(|text| Some(text.as_str()?.to_owned()))
                .collect(),
        }
    }

    fn write(&self) -> Value {
        let ratios: Vec<f64> = self.ratios.iter().map(|ratio| rounded(*ratio)).collect();
        let mut value = json!({ "measured": self.measured, "runs": self.runs, "ratios": ratios });
        if let Some(rate) = self.rate {
            value["rate"] = json!(rate);
        }
        if !self.failures.is_empty() {
            value["failures"] = json!(self.failures);
        }
        value
    }
}

impl Calls {
    fn read(value: &Value) -> Self {
        let number = |name: &str| value[name].as_f64();
        match (number("reads"), number("writes"), number("waits")) {
            (Some(reads), Some(writes), Some(waits)) => Self::Counted {
                reads,
                writes,
                waits,
            },
            _ => Self::Failed(value["failure"].as_str().unwrap_or("not known").to_owned()),
        }
    }

    fn write(&self) -> Value {
        match self {
            Self::Counted {
                reads,
                writes,
                waits,
            } => {
                let [reads, writes, waits] = [reads, writes, waits].map(|calls| rounded(*calls));
                json!({ "reads": reads, "writes": writes, "waits": waits })
            }
            Self::Failed(failure) => json!({ "failure": failure }),
        }
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Counted {
                reads,
                writes,
                waits,
            } => write!(f, "{reads:.3} / {writes:.3} / {waits:.3}"),
            Self::Failed(failure) => write!(f, "failed: {failure}"),
        }
    }
}

impl Figure {
    fn of(self, run: &Value) -> Option<f64> {
        let number = |name: &str| run[name].as_f64();
        let done = || number("messages").or_else(|| number("handshakes"));
        let figure = match self {
            Self::Cost => match number("bytes_per_connection") {
                Some(bytes) => bytes,
                None => number("server_cpu_ns")? / done()?,
            },
            Self::BytesBefore => number("bytes_per_connection_before")?,
            Self::Throughput => done()? / number("seconds")?,
            Self::GeneratorBusy => number("generator_busy")?,
            Self::Latency(percentile) => run["latency_ns"][percentile].as_f64()?,
            Self::GeneratorLate => run["generator_late_ns"]["p99"].as_f64()?,
        };
        figure.is_finite().then_some(figure)
    }
}

fn rounded(number: f64) -> f64 {
    (number * 10_000.0).round() / 10_000.0
}

fn texts(value: &Value) -> BTreeMap<String, String> {
    by_name(value, |text| text.as_str().unwrap_or_default().to_owned())
}

fn by_name<T>(value: &Value, read: impl Fn(&Value) -> T) -> BTreeMap<String, T> {
    let fields = value.as_object().into_iter().flatten();
    fields
        .map(|(name, value)| (name.clone(), read(value)))
        .collect()
}

fn object<T>(map: &BTreeMap<String, T>, write: impl Fn(&T) -> Value) -> Value {
    let fields = map.iter().map(|(name, value)| (name.clone(), write(value)));
    Value::Object(fields.collect::<Map<_, _>>())
}

/// Rows that the table does not have are dropped with the next save.
fn rows_of_the_table(
    map: &BTreeMap<String, RowResults>,
    write: impl Fn(&RowResults) -> Value,
) -> Value {
    let known = rows::ROWS.iter().filter_map(|row| {
        let results = map.get(row.name)?;
        Some((row.name.to_owned(), write(results)))
    });
    Value::Object(known.collect::<Map<_, _>>())
}

/// JSON with a line for each field down to the given depth, and what is deeper in one line: so a
/// cell is a line, and a change of it a line of the difference.
fn in_lines(value: &Value, depth: usize) -> String {
    match value.as_object() {
        Some(fields) if depth > 0 && !fields.is_empty() => {
            let lines: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{}: {}", json!(name), in_lines(value, depth - 1)))
                .collect();
            format!("{{\n{}\n}}", lines.join(",\n"))
        }
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_per_message() {
        let run = json!({
            "messages": 500, "seconds": 0.5, "server_cpu_ns": 100_000, "generator_busy": 0.75,
            "latency_ns": { "p99": 7_000 },
        });
        for (figure, expected) in [
            (Figure::Cost, 200.0),
            (Figure::Throughput, 1_000.0),
            (Figure::GeneratorBusy, 0.75),
            (Figure::Latency("p99"), 7_000.0),
        ] {
            assert_eq!(figure.of(&run), Some(expected), "{figure:?}");
        }
        assert_eq!(Figure::Latency("p50").of(&run), None);
        let idle = json!({
            "connections": 15_000,
            "bytes_per_connection": 321.5,
            "bytes_per_connection_before": 400,
        });
        assert_eq!(Figure::Cost.of(&idle), Some(321.5));
        assert_eq!(Figure::BytesBefore.of(&idle), Some(400.0));
        assert_eq!(Figure::Cost.of(&Value::Null), None);
        let nothing = json!({ "messages": 0, "seconds": 1.0, "server_cpu_ns": 0 });
        assert_eq!(Figure::Cost.of(&nothing), None);
    }

    #[test]
    fn a_cell_is_read_as_it_was_written() {
        let cell = Cell {
            measured: "2026-01-02".to_owned(),
            rate: Some(1_000.0),
            runs: vec![json!({ "messages": 1 }), Value::Null],
            ratios: vec![0.98765],
            failures: vec!["ended early".to_owned()],
        };
        let read = Cell::read(&cell.write());
        assert_eq!(read.runs, cell.runs);
        assert_eq!(read.ratios, [0.9877]);
        assert_eq!(read.failures, cell.failures);
        assert_eq!((read.measured, read.rate), (cell.measured, cell.rate));
    }

    #[test]
    fn json_has_lines_down_to_a_depth() {
        let value = json!({ "a": { "b": [1, 2] }, "c": {} });
        assert_eq!(
            in_lines(&value, 1),
            "{\n\"a\": {\"b\":[1,2]},\n\"c\": {}\n}"
        );
        assert_eq!(in_lines(&value, 0), value.to_string());
    }
}
