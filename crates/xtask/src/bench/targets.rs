//! The targets of the project, held against what was measured.
//!
//! A target is met when the median says so, unrounded; the quartiles stand beside it.

use super::peers::{CHAPPE, CHAPPE_CHANGED, Kind, Peer, TOKIO_TUNGSTENITE, UWEBSOCKETS, find};
use super::results::{Figure, Results};
use super::rows::{self, Row};
use super::statistics::{self, Summary};
use super::{tables, units};

struct Target {
    row: &'static str,
    bound: Bound,
}

enum Bound {
    /// Chappe's cost in parts of this peer's.
    Cost(&'static str, f64),
    /// The cost of another of Chappe's loops, in parts of the plain one's.
    Loop(&'static str, f64),
    /// No other Rust library costs less.
    NoRustPeerCheaper,
    /// No other library or server costs less.
    NoPeerCheaper,
    /// Bytes of an idle connection.
    Bytes(f64),
    /// Chappe's 99th percentile in parts of this peer's, in an open loop.
    Latency(&'static str, f64),
}

const TARGETS: &[Target] = &[
    target("echo-20-16x16", Bound::Cost(UWEBSOCKETS, 1.10)),
    target("echo-20-16x16", Bound::Cost(TOKIO_TUNGSTENITE, 1.0 / 8.0)),
    target("echo-20-100x1", Bound::Cost(UWEBSOCKETS, 1.10)),
    target("echo-1k-16x16", Bound::Cost(UWEBSOCKETS, 1.0)),
    target("echo-16k-16x1", Bound::Cost(UWEBSOCKETS, 0.6)),
    target("echo-16k-16x1", Bound::NoRustPeerCheaper),
    target("echo-1m-1x1", Bound::NoPeerCheaper),
    target("broadcast-1000x1", Bound::Cost(UWEBSOCKETS, 1.10)),
    target("broadcast-1000x16", Bound::Cost(UWEBSOCKETS, 1.0)),
    target("broadcast-15000x4", Bound::Cost(UWEBSOCKETS, 1.0)),
    target("idle-fresh", Bound::Bytes(1_536.0)),
    target("idle-used", Bound::Bytes(1_536.0)),
    target("idle-large", Bound::Bytes(1_536.0)),
    target("idle-storm", Bound::Bytes(1_536.0)),
    target("idle-slow", Bound::Bytes(1_536.0)),
    target("handshake", Bound::Cost(UWEBSOCKETS, 1.10)),
    target("handshake", Bound::NoRustPeerCheaper),
    target("echo-20-16x16", Bound::Loop(CHAPPE_CHANGED, 1.10)),
    target("echo-20-100x1", Bound::Loop(CHAPPE_CHANGED, 1.10)),
    target("echo-20-16x16", Bound::Latency(UWEBSOCKETS, 1.2)),
    target("echo-20-100x1", Bound::Latency(UWEBSOCKETS, 1.2)),
    target("echo-1k-16x16", Bound::Latency(UWEBSOCKETS, 1.2)),
];

const NOT_MET: &str = "**not met**";

const fn target(row: &'static str, bound: Bound) -> Target {
    Target { row, bound }
}

/// What was measured for a target.
struct Measured {
    summary: Summary,
    max: f64,
    /// Which peer is meant, where it is found by measuring.
    peer: Option<&'static Peer>,
}

/// The targets, with what was measured and whether they are met.
pub(super) fn table(results: &Results) -> String {
    let mut text = tables::line(&["row", "target", "measured", "quartiles", ""]);
    text += "|---|---|--:|--:|---|\n";
    for target in TARGETS {
        let row = rows::find(target.row).expect("targets name rows of the table");
        let (measured, quartiles, verdict) = match target.bound.measured(results, row) {
            Some(measured) => measured.cells(&target.bound),
            None => target.bound.reason(results, row),
        };
        let name = format!("`{}`", row.name);
        let words = target.bound.words();
        text += &tables::line(&[&name, &words, &measured, &quartiles, verdict]);
    }
    text
}

impl Bound {
    fn words(&self) -> String {
        let title = |name| find(name).map_or(name, |peer| peer.title);
        match self {
            Self::Cost(peer, max) => format!("at most {} × {}", plain(*max), title(peer)),
            Self::Loop(peer, max) => {
                format!("{} at most {} × Chappe", title(peer), plain(*max))
            }
            Self::NoRustPeerCheaper => "no other Rust library cheaper".to_owned(),
            Self::NoPeerCheaper => "nobody cheaper".to_owned(),
            Self::Bytes(max) => format!("at most {}", units::bytes(*max)),
            Self::Latency(peer, max) => {
                format!("p99 at most {} × {}", plain(*max), title(peer))
            }
        }
    }

    /// Why nothing was measured. A rate that Chappe can't keep up with is a target that is not met.
    fn reason(&self, results: &Results, row: &Row) -> (String, String, &'static str) {
        let failure = |peer| {
            let cell = match self {
                Self::Latency(..) => results.open(row, peer),
                _ => results.closed(row, peer),
            };
            cell?.failures.first().cloned()
        };
        let peer = match self {
            Self::Cost(peer, _) | Self::Loop(peer, _) | Self::Latency(peer, _) => failure(peer),
            Self::NoRustPeerCheaper | Self::NoPeerCheaper | Self::Bytes(_) => None,
        };
        let (reason, verdict) = match (self, failure(CHAPPE)) {
            (Self::Latency(..), Some(ours)) => (ours, NOT_MET),
            (_, ours) => (ours.or(peer).unwrap_or_default(), "not measured"),
        };
        (reason, String::new(), verdict)
    }

    fn measured(&self, results: &Results, row: &Row) -> Option<Measured> {
        let of = |summary, max| Measured {
            summary,
            max,
            peer: None,
        };
        match *self {
            Self::Cost(peer, max) => {
                let cell = results.closed(row, peer)?;
                Some(of(Summary::of(&cell.ratios)?, max))
            }
            Self::Loop(peer, max) => {
                let cell = results.closed(row, peer)?;
                Some(of(Summary::of(&cell.inverse_ratios())?, max))
            }
            Self::NoRustPeerCheaper => cheapest(results, row, |peer| peer.kind == Kind::Rust),
            Self::NoPeerCheaper => cheapest(results, row, |peer| {
                matches!(peer.kind, Kind::Rust | Kind::Other)
            }),
            Self::Bytes(max) => {
                let cell = results.closed(row, CHAPPE)?;
                Some(of(cell.summary(Figure::Cost)?, max))
            }
            Self::Latency(peer, max) => {
                let latencies =
                    |peer| Some(results.open(row, peer)?.per_run(Figure::Latency("p99")));
                let ratios = statistics::ratios(&latencies(CHAPPE)?, &latencies(peer)?);
                Some(of(Summary::of(&ratios)?, max))
            }
        }
    }
}

fn cheapest(results: &Results, row: &Row, is_asked: impl Fn(&Peer) -> bool) -> Option<Measured> {
    let (peer, cell) = tables::cheapest(results, row, is_asked)?;
    Some(Measured {
        summary: Summary::of(&cell.ratios)?,
        max: 1.0,
        peer: Some(peer),
    })
}

impl Measured {
    /// The median, the quartiles, and the verdict.
    fn cells(&self, bound: &Bound) -> (String, String, &'static str) {
        let write: fn(f64) -> String = match bound {
            Bound::Bytes(_) => units::bytes,
            _ => |ratio| format!("{ratio:.3}"),
        };
        let median = write(self.summary.median);
        let measured = match self.peer {
            Some(peer) => format!("{median} × {}", peer.title),
            None => median,
        };
        let [lower, upper] = [self.summary.lower_quartile, self.summary.upper_quartile].map(write);
        let verdict = if self.summary.median <= self.max {
            "met"
        } else {
            NOT_MET
        };
        (measured, format!("{lower} – {upper}"), verdict)
    }
}

/// `1.10` as people write a bound.
fn plain(bound: f64) -> String {
    if bound < 0.2 {
        format!("{bound:.3}")
    } else {
        format!("{bound:.2}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::bench::peers::CHAPPE_YIELDS;
    use crate::bench::results::Cell;

    fn cell(runs: Vec<Value>, ratios: &[f64]) -> Cell {
        Cell {
            runs,
            ratios: ratios.to_vec(),
            ..Cell::default()
        }
    }

    fn verdict(results: &Results, row: &str, bound: &Bound) -> Option<&'static str> {
        let row = rows::find(row).expect("the row is in the table");
        Some(bound.measured(results, row)?.cells(bound).2)
    }

    #[test]
    fn targets_name_rows_and_peers_of_the_tables() {
        for target in TARGETS {
            assert!(rows::find(target.row).is_some(), "{}", target.row);
            if let Bound::Cost(peer, _) | Bound::Latency(peer, _) = target.bound {
                assert!(find(peer).is_some(), "{peer}");
            }
            if let Bound::Loop(peer, _) = target.bound {
                let peer = find(peer).expect("the loop is in the table");
                let row = rows::find(target.row).expect("the row is in the table");
                assert_eq!(peer.kind, Kind::Loop);
                assert!(peer.takes_part_in(row), "{} in {}", peer.name, row.name);
            }
        }
    }

    #[test]
    fn a_target_is_met_by_the_median() {
        let mut results = Results::default();
        let row = rows::find("handshake").expect("the row is in the table");
        let cells = &mut results.row_mut(row).closed;
        cells.insert("uwebsockets".to_owned(), cell(vec![], &[1.2, 1.0, 1.11]));
        cells.insert("yawc".to_owned(), cell(vec![], &[0.9]));
        cells.insert("ws".to_owned(), cell(vec![], &[1.3]));
        for (bound, expected) in [
            (Bound::Cost("uwebsockets", 1.10), "**not met**"),
            (Bound::Cost("uwebsockets", 1.11), "met"),
            (Bound::NoRustPeerCheaper, "met"),
            (Bound::NoPeerCheaper, "**not met**"),
        ] {
            assert_eq!(verdict(&results, "handshake", &bound), Some(expected));
        }
        assert_eq!(
            verdict(&results, "handshake", &Bound::Cost("bun", 1.0)),
            None
        );
    }

    #[test]
    fn a_loop_is_held_against_the_plain_one_and_is_nobody_s_competitor() {
        let mut results = Results::default();
        let row = rows::find("echo-20-16x16").expect("the row is in the table");
        let cells = &mut results.row_mut(row).closed;
        // The plain loop in parts of the others: these cost 1.05 and 1.25 times as much.
        let changed = cell(vec![], &[1.0 / 1.05]);
        cells.insert(CHAPPE_CHANGED.to_owned(), changed);
        cells.insert(CHAPPE_YIELDS.to_owned(), cell(vec![], &[0.8, 0.8, 1.0]));
        for (bound, expected) in [
            (Bound::Loop(CHAPPE_CHANGED, 1.10), Some("met")),
            (Bound::Loop(CHAPPE_YIELDS, 1.10), Some("**not met**")),
            (Bound::Loop(CHAPPE_YIELDS, 1.26), Some("met")),
            (Bound::NoRustPeerCheaper, None),
            (Bound::NoPeerCheaper, None),
        ] {
            assert_eq!(verdict(&results, "echo-20-16x16", &bound), expected);
        }
    }

    #[test]
    fn bytes_are_held_against_a_bound_of_their_own() {
        let mut results = Results::default();
        let row = rows::find("idle-used").expect("the row is in the table");
        let runs = vec![json!({ "bytes_per_connection": 1_500 })];
        let cells = &mut results.row_mut(row).closed;
        cells.insert(CHAPPE.to_owned(), cell(runs, &[1.0]));
        for (max, expected) in [(1_536.0, "met"), (1_499.0, "**not met**")] {
            assert_eq!(
                verdict(&results, "idle-used", &Bound::Bytes(max)),
                Some(expected)
            );
        }
    }
}
