//! The tables of the document, in Markdown: costs, latencies, system calls, handshakes.
//!
//! A cell without a figure says why, in a line below its table.

#![expect(
    clippy::format_push_string,
    reason = "a document is short, and is read best in one piece"
)]

use super::peers::{CHAPPE, Kind, PEERS, Peer, TOKIO_TUNGSTENITE, UWEBSOCKETS};
use super::results::{Calls, Cell, Figure, Results};
use super::rows::{self, Group, ROWS, Row};
use super::statistics::Summary;
use super::units::{bytes, nanoseconds, per_second, times};

/// Behind a figure whose runs differ by more than a third.
const WIDE: &str = "\\*";
/// Behind a throughput at which the generator had no time to spare.
const BUSY: &str = "†";
const BUSY_MIN: f64 = 0.95;
/// Where nothing was measured.
const NONE: &str = "–";

/// The rows of the summary.
const SUMMARY: [&str; 11] = [
    "echo-20-16x16",
    "echo-20-100x1",
    "echo-1k-16x16",
    "echo-16k-16x1",
    "echo-1m-1x1",
    "broadcast-1000x1",
    "broadcast-1000x16",
    "broadcast-1000x16-singly",
    "broadcast-15000x4",
    "broadcast-15000x4-singly",
    "handshake",
];

/// A few rows against the peers that are asked for most.
pub(super) fn summary(results: &Results) -> String {
    let mut text = line(&[
        "work",
        "Chappe",
        "uWebSockets",
        "cheapest other Rust library",
        "tokio-tungstenite",
    ]);
    text += &rule(5);
    let rows = SUMMARY.iter().filter_map(|name| rows::find(name));
    for row in rows.filter(|row| is_measured(results, row)) {
        let (group, title) = (row.group(), row.title());
        let work = match group {
            Group::Broadcast => format!("broadcast {title}"),
            Group::Handshake => title,
            _ => format!("echo {title}"),
        };
        let best = cheapest(results, row, |peer| peer.kind == Kind::Rust);
        let best = best.map_or(NONE.to_owned(), |(peer, cell)| {
            format!("{} {}", ratio(cell), peer.title)
        });
        let ratio_of = |peer| cell_or_none(results.closed(row, peer), ratio);
        text += &line(&[
            &work,
            &format!(
                "**{}**",
                cell_or_none(results.closed(row, CHAPPE), cost(group))
            ),
            &ratio_of(UWEBSOCKETS),
            &best,
            &ratio_of(TOKIO_TUNGSTENITE),
        ]);
    }
    text
}

/// The peer that costs least in a row, of those that are asked for.
pub(super) fn cheapest<'a>(
    results: &'a Results,
    row: &Row,
    is_asked: impl Fn(&Peer) -> bool,
) -> Option<(&'static Peer, &'a Cell)> {
    let peers = PEERS.iter().filter(|peer| is_asked(peer));
    let cells = peers.filter_map(|peer| Some((peer, results.closed(row, peer.name)?)));
    let ours = |cell: &Cell| Some(Summary::of(&cell.ratios)?.median);
    let cells = cells.filter(|(_, cell)| ours(cell).is_some());
    cells.max_by(|(_, a), (_, b)| ours(a).unwrap_or(0.0).total_cmp(&ours(b).unwrap_or(0.0)))
}

fn is_measured(results: &Results, row: &Row) -> bool {
    results.row(row).is_some_and(|row| !row.closed.is_empty())
}

/// What Chappe costs in each row of a group, and how many times as much each peer.
pub(super) fn costs(results: &Results, group: Group) -> String {
    if !group.rows().any(|row| is_measured(results, row)) {
        return "Not measured.\n".to_owned();
    }
    let peers = with_figures(results, group);
    let mut header = vec![group.cost()];
    header.extend(peers.iter().map(|peer| peer.title));
    let mut text = line(&header) + &rule(header.len());
    for row in group.rows().filter(|row| is_measured(results, row)) {
        let mut cells = vec![row.title()];
        for peer in &peers {
            let cell = results.closed(row, peer.name);
            cells.push(match peer.kind {
                Kind::Chappe => format!("**{}**", cell_or_none(cell, cost(group))),
                _ if group == Group::Idle => cell_or_none(cell, cost(group)),
                _ => cell_or_none(cell, ratio),
            });
        }
        text += &line(&cells);
    }
    text + &failures(results, group)
}

/// What Chappe's plain loop costs, and how many times as much each other loop of it.
pub(super) fn loops(results: &Results) -> String {
    let rows = ROWS.iter().filter(|row| row.has_loops());
    let rows: Vec<&Row> = rows.filter(|row| is_measured(results, row)).collect();
    if rows.is_empty() {
        return "Not measured.\n".to_owned();
    }
    let loops = || PEERS.iter().filter(|peer| peer.kind == Kind::Loop);
    let mut header = vec!["server CPU per message", "Chappe"];
    header.extend(loops().map(|peer| peer.title));
    let mut text = line(&header) + &rule(header.len());
    for row in rows {
        let plain = cell_or_none(results.closed(row, CHAPPE), cost(row.group()));
        let mut cells = vec![row.title(), format!("**{plain}**")];
        cells.extend(loops().map(|peer| cell_or_none(results.closed(row, peer.name), ratio)));
        text += &line(&cells);
    }
    text
}

/// Of each peer, from the cheapest on.
pub(super) fn handshakes(results: &Results) -> String {
    let group = Group::Handshake;
    let mut text = String::new();
    for row in group.rows() {
        if !is_measured(results, row) {
            return "Not measured.\n".to_owned();
        }
        text += &line(&["", group.cost(), "× Chappe", "per second"]);
        text += &rule(4);
        for (peer, cell) in by_cost(results, row) {
            text += &line(&[
                peer.title,
                &cost(group)(cell),
                &ratio(cell),
                &throughput(cell),
            ]);
        }
    }
    text + &failures(results, group)
}

/// The peers that have figures in a row, from the cheapest on.
pub(super) fn by_cost<'a>(results: &'a Results, row: &Row) -> Vec<(&'static Peer, &'a Cell)> {
    let mut cells: Vec<(&Peer, &Cell, Summary)> = PEERS
        .iter()
        .filter_map(|peer| {
            let cell = results.closed(row, peer.name)?;
            Some((peer, cell, cell.summary(Figure::Cost)?))
        })
        .collect();
    cells.sort_by(|(_, _, a), (_, _, b)| a.median.total_cmp(&b.median));
    cells
        .into_iter()
        .map(|(peer, cell, _)| (peer, cell))
        .collect()
}

/// The percentiles of each peer, in the rows that have an open loop.
pub(super) fn latencies(results: &Results) -> String {
    let rows: Vec<&Row> = ROWS.iter().filter(|row| row.has_open_loop()).collect();
    let mut header = vec![String::new()];
    for row in &rows {
        let rate = results.open(row, CHAPPE).and_then(|cell| cell.rate);
        let rate = rate.map_or(NONE.to_owned(), per_second);
        header.push(format!("{}, at {rate}", row.title()));
    }
    let mut text = line(&header) + &rule(header.len());
    for peer in PEERS {
        let cells = rows.iter().map(|row| {
            let cell = results.open(row, peer.name);
            cell_or_none(cell, |cell| {
                let percentiles = ["p50", "p99", "p999"]
                    .map(|percentile| figure(cell, Figure::Latency(percentile), nanoseconds));
                match cell.failures.first() {
                    Some(failure) if percentiles.iter().any(|text| text == NONE) => failure.clone(),
                    _ => percentiles.join(" / ") + &failed(cell),
                }
            })
        });
        let mut line_of: Vec<String> = vec![peer.title.to_owned()];
        line_of.extend(cells);
        text += &line(&line_of);
    }
    text
}

/// How many runs failed, where others did not.
fn failed(cell: &Cell) -> String {
    match cell.failures.len() {
        0 => String::new(),
        count => format!(" ({count} failed: {})", cell.failures[0]),
    }
}

/// Reads, writes and waits per message, in the rows where they are counted.
pub(super) fn calls(results: &Results) -> String {
    let rows: Vec<&Row> = ROWS.iter().filter(|row| row.is_counted()).collect();
    let mut header = vec![String::new()];
    header.extend(rows.iter().map(|row| row.title()));
    let mut text = line(&header) + &rule(header.len());
    let mut failed = Vec::new();
    for peer in PEERS {
        let mut columns = vec![peer.title.to_owned()];
        for row in &rows {
            let calls = results.row(row).and_then(|row| row.calls.get(peer.name));
            columns.push(match calls {
                Some(Calls::Failed(failure)) => {
                    failed.push((peer.title, row.title(), failure.clone()));
                    "failed".to_owned()
                }
                Some(counted) => counted.to_string(),
                None => NONE.to_owned(),
            });
        }
        text += &line(&columns);
    }
    text + &told(&failed, rows.len())
}

/// Every figure of every row, with its quartiles.
pub(super) fn everything(results: &Results) -> String {
    let mut text = String::new();
    for group in Group::ALL {
        text += &format!("\n## {}\n", group.title());
        let (title, second, second_unit): (_, _, fn(f64) -> String) = match group {
            Group::Idle => ("before that second", Figure::BytesBefore, bytes),
            _ => ("per second", Figure::Throughput, per_second),
        };
        for row in group.rows().filter(|row| is_measured(results, row)) {
            text += &format!("\n`{}`: {}\n\n", row.name, row.title());
            text += &line(&[
                "",
                group.cost(),
                "Chappe's cost in parts of this",
                title,
                "generator busy",
            ]);
            text += &rule(5);
            for (peer, cell) in by_cost(results, row) {
                let unit = unit(group);
                let busy = figure(cell, Figure::GeneratorBusy, |part| format!("{part:.2}"));
                text += &line(&[
                    peer.title,
                    &spread(cell.summary(Figure::Cost), unit),
                    &spread(Summary::of(&cell.ratios), |ratio| format!("{ratio:.3}")),
                    &spread(cell.summary(second), second_unit),
                    &busy,
                ]);
            }
        }
    }
    text + &open_loops(results)
}

/// Of the open loops, also how late the generator itself was.
fn open_loops(results: &Results) -> String {
    let mut text = String::from("\n## Latency, in an open loop\n");
    for row in ROWS.iter().filter(|row| row.has_open_loop()) {
        text += &format!("\n`{}`: {}\n\n", row.name, row.title());
        text += &line(&["", "p50", "p99", "p99.9", "max", "generator late, p99"]);
        text += &rule(6);
        for peer in PEERS {
            let Some(cell) = results.open(row, peer.name) else {
                continue;
            };
            let mut columns = vec![peer.title.to_owned()];
            for figure in [
                Figure::Latency("p50"),
                Figure::Latency("p99"),
                Figure::Latency("p999"),
                Figure::Latency("max"),
                Figure::GeneratorLate,
            ] {
                columns.push(spread(cell.summary(figure), nanoseconds));
            }
            text += &line(&columns);
        }
    }
    text
}

/// The peers that have a figure in any row of the group; Chappe's other loops have a table of their
/// own.
fn with_figures(results: &Results, group: Group) -> Vec<&'static Peer> {
    let has_figure = |peer: &&Peer| {
        group.rows().any(|row| {
            let cell = results.closed(row, peer.name);
            cell.is_some_and(|cell| cell.summary(Figure::Cost).is_some())
        })
    };
    PEERS
        .iter()
        .filter(|peer| peer.kind != Kind::Loop)
        .filter(|peer| peer.is_chappe() || has_figure(peer))
        .collect()
}

fn failures(results: &Results, group: Group) -> String {
    let mut failed = Vec::new();
    for row in group.rows() {
        for peer in PEERS {
            let Some(cell) = results.closed(row, peer.name) else {
                continue;
            };
            if let Some(failure) = cell.failures.first() {
                let (runs, count) = (cell.runs.len(), cell.failures.len());
                let work = match cell.summary(Figure::Cost) {
                    Some(_) => format!("{} ({count} of {runs} runs)", row.title()),
                    None => row.title(),
                };
                failed.push((peer.title, work, failure.clone()));
            }
        }
    }
    let all = group.rows().filter(|row| is_measured(results, row)).count();
    told(&failed, all)
}

/// Failures with the same reason stand together; `all` is how many rows the table has.
fn told(failed: &[(&str, String, String)], all: usize) -> String {
    let mut lines: Vec<(&str, &str, Vec<&str>)> = Vec::new();
    for (peer, work, failure) in failed {
        match lines
            .iter_mut()
            .find(|(other, reason, _)| other == peer && reason == failure)
        {
            Some((_, _, works)) => works.push(work),
            None => lines.push((peer, failure, vec![work])),
        }
    }
    if lines.is_empty() {
        return String::new();
    }
    let mut text = String::from("\nFailed:\n\n");
    for (peer, failure, works) in lines {
        let works = if works.len() == all && all > 1 {
            "in all".to_owned()
        } else {
            works.join("; ")
        };
        text += &format!("- {peer}: {failure} ({works})\n");
    }
    text
}

/// What stands in a cell, or why nothing does.
fn cell_or_none(cell: Option<&Cell>, write: impl Fn(&Cell) -> String) -> String {
    let Some(cell) = cell else {
        return NONE.to_owned();
    };
    match write(cell) {
        text if text == NONE && !cell.failures.is_empty() => "failed".to_owned(),
        text => text,
    }
}

/// The median of a figure, marked where the runs differ much.
fn figure(cell: &Cell, figure: Figure, write: impl Fn(f64) -> String) -> String {
    cell.summary(figure).map_or(NONE.to_owned(), |summary| {
        let mark = if summary.is_wide() { WIDE } else { "" };
        format!("{}{mark}", write(summary.median))
    })
}

fn cost(group: Group) -> impl Fn(&Cell) -> String {
    move |cell| figure(cell, Figure::Cost, unit(group))
}

/// How many times Chappe's cost this one is.
fn ratio(cell: &Cell) -> String {
    Summary::of(&cell.inverse_ratios()).map_or(NONE.to_owned(), |summary| {
        let mark = if summary.is_wide() { WIDE } else { "" };
        format!("{}{mark}", times(summary.median))
    })
}

fn throughput(cell: &Cell) -> String {
    let busy = cell.summary(Figure::GeneratorBusy);
    let mark = if busy.is_some_and(|busy| busy.median >= BUSY_MIN) {
        BUSY
    } else {
        ""
    };
    format!("{}{mark}", figure(cell, Figure::Throughput, per_second))
}

/// The median and, in brackets, the quartiles.
fn spread(summary: Option<Summary>, write: impl Fn(f64) -> String) -> String {
    summary.map_or(NONE.to_owned(), |summary| {
        let mark = if summary.is_wide() { WIDE } else { "" };
        let [median, lower, upper] = [
            summary.median,
            summary.lower_quartile,
            summary.upper_quartile,
        ]
        .map(write);
        format!("{median}{mark} ({lower} – {upper})")
    })
}

/// How a cost of the group is written.
fn unit(group: Group) -> fn(f64) -> String {
    match group {
        Group::Idle => bytes,
        _ => nanoseconds,
    }
}

pub(super) fn line<T: AsRef<str>>(cells: &[T]) -> String {
    let cells: Vec<&str> = cells.iter().map(AsRef::as_ref).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// Below a header: words to the left, figures to the right.
pub(super) fn rule(columns: usize) -> String {
    format!("|---{}|\n", "|--:".repeat(columns - 1))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn failures_with_the_same_reason_stand_together() {
        let failed = [
            ("ws", "a".to_owned(), "is gone".to_owned()),
            ("ws", "b".to_owned(), "is gone".to_owned()),
            ("Bun", "a".to_owned(), "is late".to_owned()),
        ];
        let text = "\nFailed:\n\n- ws: is gone (a; b)\n- Bun: is late (a)\n";
        assert_eq!(told(&failed, 3), text);
        let text = "\nFailed:\n\n- ws: is gone (in all)\n- Bun: is late (a)\n";
        assert_eq!(told(&failed, 2), text);
        assert_eq!(told(&[], 2), "");
    }

    #[test]
    fn other_loops_have_a_table_of_their_own() {
        let mut results = Results::default();
        assert_eq!(loops(&results), "Not measured.\n");
        let row = rows::find("echo-20-16x16").expect("the row is in the table");
        let cell = |nanoseconds: u32, ratios: &[f64]| Cell {
            runs: vec![json!({ "messages": 1, "server_cpu_ns": nanoseconds })],
            ratios: ratios.to_vec(),
            ..Cell::default()
        };
        let cells = &mut results.row_mut(row).closed;
        cells.insert(CHAPPE.to_owned(), cell(400, &[]));
        cells.insert("chappe-changed".to_owned(), cell(500, &[0.8]));
        let table = loops(&results);
        let last = table.lines().last().expect("there is a line for the row");
        let figures = format!("| **{}** | {} | – |", nanoseconds(400.0), times(1.25));
        assert!(last.ends_with(&figures), "{last}");
        let titles = with_figures(&results, Group::EchoPipelined);
        let titles: Vec<&str> = titles.iter().map(|peer| peer.title).collect();
        assert_eq!(titles, ["Chappe"]);
    }
}
