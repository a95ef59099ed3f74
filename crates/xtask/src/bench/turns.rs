//! A row, measured in turns: run 1 of each peer, run 2 of each, …, in another order each time.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::process::Command;

use serde_json::Value;

use super::Plan;
use super::calls;
use super::measure::{self, Extent, Server};
use super::peers::{CHAPPE, Peer, UWEBSOCKETS};
use super::results::{Cell, Figure, RowResults};
use super::rows::{Pace, Row};
use super::statistics::{self, Summary};
use super::units;
use crate::run::Outcome;

/// A peer that failed so often in a row of the table is not tried again there.
const FAILURES_MAX: usize = 2;
/// The rate of an open loop, in parts of what uWebSockets can do.
const OPEN_LOOP_PART: f64 = 0.5;

/// Measures a row with those of the plan's peers that take part in it.
pub(super) fn measure(row: &Row, plan: &Plan) -> RowResults {
    let mut results = RowResults::default();
    let peers = plan.peers.iter().copied();
    let peers: Vec<&Peer> = peers.filter(|peer| peer.takes_part_in(row)).collect();
    let files = measure::files_max();
    if files < row.files() {
        let failure = format!(
            "needs {} open files, but the hard limit here is {}",
            units::thousands(row.files()),
            units::thousands(files)
        );
        println!("{failure}");
        let cell = Cell {
            failures: vec![failure],
            ..Cell::default()
        };
        results.closed = peers
            .iter()
            .map(|peer| (peer.name.to_owned(), cell.clone()))
            .collect();
        return results;
    }
    let Pace { runs, seconds } = plan.pace(row);
    let mut turns = Turns::new(row, peers, runs);
    results.closed = turns.take(|_| Some(Extent::Seconds(seconds)));
    print_cells(&results.closed);
    if row.has_open_loop() {
        results.open = open_loop(&mut turns, &results.closed, seconds);
        print_latencies(&results.open);
    }
    turns.servers.clear();
    if row.is_counted() {
        for peer in &turns.peers {
            let counted = calls::count(peer, row);
            println!("  {:<18} {counted}", peer.name);
            results.calls.insert(peer.name.to_owned(), counted);
        }
    }
    results
}

/// All peers at the same rate, which uWebSockets can do twice.
fn open_loop(
    turns: &mut Turns,
    closed: &BTreeMap<String, Cell>,
    seconds: f64,
) -> BTreeMap<String, Cell> {
    let throughput = |name: &str| Some(closed.get(name)?.summary(Figure::Throughput)?.median);
    let Some(most) = throughput(UWEBSOCKETS) else {
        println!("no open loop: its rate is half of what uWebSockets can do, which is not known");
        return BTreeMap::new();
    };
    let rate = (most * OPEN_LOOP_PART).round();
    println!("  open loop, {rate} messages per second");
    let can = |peer: &Peer| throughput(peer.name).is_some_and(|most| most >= rate);
    let mut cells = turns.take(|peer| can(peer).then_some(Extent::OpenLoop { seconds, rate }));
    for (name, cell) in &mut cells {
        cell.rate = Some(rate);
        if cell.runs.is_empty() {
            let reason = match throughput(name) {
                Some(_) => "saturated at this rate",
                None => "failed without a rate as well",
            };
            cell.failures.push(reason.to_owned());
        }
    }
    cells
}

/// The servers of a row, which take turns.
struct Turns<'a> {
    row: &'a Row,
    peers: Vec<&'static Peer>,
    runs: usize,
    /// Those that run, by the name of the peer.
    servers: BTreeMap<&'static str, Server>,
}

impl<'a> Turns<'a> {
    fn new(row: &'a Row, peers: Vec<&'static Peer>, runs: usize) -> Self {
        Self {
            row,
            peers,
            runs,
            servers: BTreeMap::new(),
        }
    }

    /// Lets each peer take its turns. A peer without an extent is left out.
    fn take(&mut self, extent: impl Fn(&Peer) -> Option<Extent>) -> BTreeMap<String, Cell> {
        let today = today();
        let mut cells: BTreeMap<String, Cell> = self
            .peers
            .iter()
            .map(|peer| {
                let cell = Cell {
                    measured: today.clone(),
                    ..Cell::default()
                };
                (peer.name.to_owned(), cell)
            })
            .collect();
        for run in 0..self.runs {
            for peer in shuffled(&self.peers, run) {
                let cell = cells.get_mut(peer.name).expect("each peer has a cell");
                let Some(extent) = extent(peer) else {
                    continue;
                };
                if cell.failures.len() < FAILURES_MAX {
                    self.turn(peer, extent, cell);
                }
            }
            print!(".");
            let _ = std::io::stdout().flush();
        }
        println!();
        add_ratios(&mut cells);
        cells
    }

    fn turn(&mut self, peer: &'static Peer, extent: Extent, cell: &mut Cell) {
        let row = self.row;
        let measured = self
            .server(peer)
            .and_then(|server| server.measure(row, extent));
        match measured {
            Ok(figures) => cell.runs.push(figures),
            Err(failure) => {
                cell.runs.push(Value::Null);
                cell.failures.push(failure);
                // What is left of the load is not the next run's.
                self.servers.remove(peer.name);
            }
        }
        if row.is_idle() {
            // What it holds on to would count for the next run.
            self.servers.remove(peer.name);
        } else if let Some(server) = self.servers.get(peer.name) {
            server.wait_until_quiet();
        }
    }

    /// The peer's server, started where it does not run.
    fn server(&mut self, peer: &'static Peer) -> Outcome<&Server> {
        if self
            .servers
            .get_mut(peer.name)
            .is_some_and(Server::has_ended)
        {
            self.servers.remove(peer.name);
        }
        if !self.servers.contains_key(peer.name) {
            let server = Server::start(peer, self.row)?;
            self.servers.insert(peer.name, server);
        }
        Ok(&self.servers[peer.name])
    }
}

/// The peers in an order of this run's own, so that none has the same before it each time. Chappe
/// and uWebSockets, which most targets compare, are next to each other: the machine changes its
/// speed within seconds.
fn shuffled(peers: &[&'static Peer], run: usize) -> Vec<&'static Peer> {
    let place = |name: &str| {
        let mut hasher = DefaultHasher::new();
        (run, name).hash(&mut hasher);
        hasher.finish()
    };
    let mut order = peers.to_vec();
    order.sort_by_cached_key(|peer| match peer.name {
        CHAPPE => (place(UWEBSOCKETS), run % 2),
        name => (place(name), (run + 1) % 2),
    });
    order
}

fn add_ratios(cells: &mut BTreeMap<String, Cell>) {
    let Some(chappe) = cells.get(CHAPPE) else {
        return;
    };
    let ours = chappe.per_run(Figure::Cost);
    for (_, cell) in cells.iter_mut().filter(|(name, _)| *name != CHAPPE) {
        cell.ratios = statistics::ratios(&ours, &cell.per_run(Figure::Cost));
    }
}

/// With Chappe's cost in parts of each peer's.
fn print_cells(cells: &BTreeMap<String, Cell>) {
    for (name, cell) in cells {
        if let Some(cost) = cell.summary(Figure::Cost) {
            let throughput = cell.summary(Figure::Throughput);
            let figures = match throughput {
                Some(throughput) => {
                    let (cost, throughput) = (cost.median, throughput.median);
                    format!("{cost:>12.1} ns  {throughput:>12.0} /s")
                }
                None => format!("{:>12.1} bytes", cost.median),
            };
            let ratio = Summary::of(&cell.ratios).map_or_else(String::new, |ratio| {
                let (lower, upper) = (ratio.lower_quartile, ratio.upper_quartile);
                format!("  Chappe {:.3} ({lower:.3} – {upper:.3})", ratio.median)
            });
            println!("  {name:<18} {figures}{ratio}");
        }
        for failure in &cell.failures {
            println!("  {name:<18} failed: {failure}");
        }
    }
}

fn print_latencies(cells: &BTreeMap<String, Cell>) {
    for (name, cell) in cells {
        match cell.summary(Figure::Latency("p99")) {
            Some(latency) => println!("  {name:<18} {:>12.0} ns at p99", latency.median),
            None => println!("  {name:<18} {}", cell.failures.join("; ")),
        }
    }
}

/// Such as 2026-01-31.
fn today() -> String {
    measure::first_line(Command::new("date").args(["-u", "+%Y-%m-%d"]))
}

#[cfg(test)]
mod tests {
    use super::super::peers::PEERS;
    use super::*;

    #[test]
    fn each_round_has_all_peers_with_chappe_beside_uwebsockets() {
        let peers: Vec<&Peer> = PEERS.iter().collect();
        let names = |run| -> Vec<&str> { shuffled(&peers, run).iter().map(|p| p.name).collect() };
        for run in 0..20 {
            let order = names(run);
            let place = |name| order.iter().position(|found| *found == name);
            let (chappe, peer) = (place(CHAPPE).unwrap(), place(UWEBSOCKETS).unwrap());
            assert_eq!(chappe.abs_diff(peer), 1, "run {run}: {order:?}");
            assert_eq!(chappe < peer, run % 2 == 0, "run {run}: {order:?}");
            let mut sorted = order.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), peers.len(), "run {run}: {order:?}");
            assert_ne!(order, names(run + 1), "run {run}");
        }
    }
}
