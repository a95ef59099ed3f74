//! The document: `docs/benchmarks.md`, with its plots and the page of all figures, written from the
//! raw results alone.

#![expect(
    clippy::format_push_string,
    reason = "a document is short, and is read best in one piece"
)]

use std::fs;

use super::peers::{CHAPPE, Kind, PEERS};
use super::plot::{self, Line, Panel, Unit};
use super::results::{self, Figure, Results};
use super::rows::{Group, Row};
use super::statistics::Summary;
use super::{tables, targets, units};
use crate::run::Outcome;
use crate::workspace;

/// What people wrote; it stands at the end of the document as it is.
const NOTES: &str = "notes.md";
const FIGURES: &str = "figures.md";

const INTRODUCTION: &str = "\
# Benchmarks

<!-- Written by `cargo xtask bench`; the sections at the end come from benchmarks/notes.md. -->

What Chappe costs a server, beside other libraries and servers under the same load. The figure is
the server's CPU time per message, as the kernel accounts it: it does not depend on how busy the
generator is, and it is what one pays for. **A peer's figure is its cost in multiples of Chappe's:
at 2×, Chappe does the same with half the CPU time.**
";

const METHOD: &str = "\
- The server has one core and the generator another (`taskset`). The generator (`benches/load`)
  shares no code with Chappe and checks every byte that comes back.
- All peers take turns: run 1 of each, run 2 of each, …, in another order each time, Chappe and
  uWebSockets next to each other. A run begins when the server before it has come to rest. A ratio
  is the median of the ratios of such pairs. Virtual machines drift by half; pairs drift together.
- Runs are many and short, as the machine changes its speed within seconds: 21 of 0.06 s, or of 0.1 s
  with 1,000 connections (42 in four rows of short messages where uWebSockets is near); nine of
  0.25 s with 5,000 and more. Each opens its connections and warms up for 0.1 s first. 10,000
  handshakes are counted, 21 times. Idle connections are opened nine times, each time on a server
  that was just started.
- A broadcast is over when the last connection has it, and then another is published. Where several
  are in flight, those that are due at a time are published by one write, so that a server reads them
  together and can send each connection all of them in one piece. In the rows *published singly* each
  has a write of its own, as a publisher does it who has one thing to say at a time: a server may find
  one alone, and then pays for sending to everybody each time. The first tells what a delivery costs,
  the second what gathering deliveries saves, and when it can.
- Each figure is the median of the runs. \\* stands where the runs differ by more than a third of it.
  † stands where the generator was busy for 95 % of the time or more: the server could do more.
- All figures, with quartiles: [benchmarks/figures.md](benchmarks/figures.md); each run:
  [benchmarks/results.json](benchmarks/results.json).

Again, all of it (some two and a half hours) or one row (Debian, as root, for `strace` and `unshare`; two cores):

```sh
cargo xtask setup
cargo xtask bench
cargo xtask bench --row echo-20-16x16
cargo xtask bench --list
```
";

/// Writes the document, the page of figures and the plots.
pub(super) fn write(results: &Results) -> Outcome {
    if results.days().is_none() {
        return Err("nothing was measured; `cargo xtask bench` measures".to_owned());
    }
    let page = results::folder().join(FIGURES);
    results::write(&page, &figures(results))?;
    for group in Group::ALL {
        let plot = results::folder().join(format!("{}.svg", group.file()));
        match panels(results, group) {
            panels if panels.is_empty() => {
                let _ = fs::remove_file(&plot);
            }
            panels => {
                let unit = unit(group);
                let text = plot::draw(group.title(), group.cost(), &panels, unit);
                results::write(&plot, &text)?;
            }
        }
    }
    let document = workspace::root().join("docs").join("benchmarks.md");
    results::write(&document, &text(results))?;
    println!("docs/benchmarks.md is written");
    Ok(())
}

fn text(results: &Results) -> String {
    let mut text = INTRODUCTION.to_owned();
    section(&mut text, "At a glance", &tables::summary(results));
    section(&mut text, "How it is measured", METHOD);
    text += &format!("\nMeasured on {}.\n", machine(results));
    section(&mut text, "Peers", &peers(results));
    for group in [
        Group::EchoPipelined,
        Group::EchoOneInFlight,
        Group::Broadcast,
    ] {
        let costs = tables::costs(results, group);
        section(&mut text, group.title(), &(costs + &image(results, group)));
    }
    let loops = format!(
        "The plain loop is no special case: what Chappe costs in it, and how many times as much in \
         others.\n\n{}",
        tables::loops(results)
    );
    section(&mut text, "Other loops", &loops);
    let latencies = format!(
        "Messages leave on a schedule that is fixed in advance, at half the rate that uWebSockets \
         can sustain, and a reply's latency counts from the moment its message was due: a server \
         that stalls is charged for all who would have had to wait. Medians of p50 / p99 / p99.9.\
         \n\n{}",
        tables::latencies(results)
    );
    section(&mut text, "Latency", &latencies);
    let calls = format!(
        "Reads / writes / waits per message (of a broadcast: per delivery), by `strace`, which \
         slows the server: more messages may wait for it at each read than otherwise.\n\n{}",
        tables::calls(results)
    );
    section(&mut text, "System calls", &calls);
    let idle = format!(
        "Resident memory of the server per connection, of 15,000 that are open and idle; what it \
         takes for the first one is not counted. It has a second to return to that; \
         [all figures](benchmarks/figures.md) tell what it was before. Those who did not read had \
         asked for three messages of 16 KiB each, with sockets of 16 KiB, so that the server had to \
         hold the rest or stop reading. With messages of 1 MiB they are 2,000, as some peers keep 2 MiB for \
         each.\n\n{}",
        tables::costs(results, Group::Idle)
    );
    section(
        &mut text,
        Group::Idle.title(),
        &(idle + &image(results, Group::Idle)),
    );
    let handshakes = tables::handshakes(results) + &image(results, Group::Handshake);
    section(&mut text, Group::Handshake.title(), &handshakes);
    let targets = format!(
        "Chappe's figure in parts of the peer's, or in bytes.\n\n{}",
        targets::table(results)
    );
    section(&mut text, "Targets", &targets);
    if let Ok(notes) = fs::read_to_string(results::folder().join(NOTES)) {
        text += &format!("\n{}\n", notes.trim());
    }
    text
}

fn section(text: &mut String, title: &str, body: &str) {
    *text += &format!("\n## {title}\n\n{}\n", body.trim_end());
}

fn machine(results: &Results) -> String {
    let words = |name: &str| results.machine.get(name).map_or("unknown", String::as_str);
    let [processor, cores, kernel, compiler] =
        ["processor", "cores", "kernel", "compiler"].map(words);
    let days = match results.days() {
        Some((first, last)) if first == last => format!(", on {first}"),
        Some((first, last)) => format!(", from {first} to {last}"),
        None => String::new(),
    };
    format!("{processor} (cores: {cores}), {kernel}, {compiler}{days}")
}

fn peers(results: &Results) -> String {
    let mut text = tables::line(&["", "version", "what was chosen"]);
    text += "|---|---|---|\n";
    for peer in PEERS {
        let version = results.versions.get(peer.name);
        let version = match version.map(String::as_str) {
            Some("") => "–",
            Some(version) => version,
            None => "not measured",
        };
        text += &tables::line(&[peer.title, version, peer.options]);
    }
    text + "\nAll have one thread and no compression. How each is written, and why: \
            [benches/peers](../benches/peers/README.md).\n"
}

fn image(results: &Results, group: Group) -> String {
    if panels(results, group).is_empty() {
        return String::new();
    }
    format!(
        "\n![{}: dots are medians, bars the range of all runs](benchmarks/{}.svg)\n",
        group.title(),
        group.file()
    )
}

fn unit(group: Group) -> Unit {
    match group {
        Group::Idle => Unit {
            figure: units::bytes,
            tick: units::bytes_of_tick,
        },
        _ => Unit {
            figure: units::nanoseconds,
            tick: units::nanoseconds_of_tick,
        },
    }
}

fn panels(results: &Results, group: Group) -> Vec<Panel> {
    let panel = |row: &Row| Panel {
        title: row.title(),
        lines: lines(results, row),
    };
    let panels = group.rows().map(panel);
    panels.filter(|panel| !panel.lines.is_empty()).collect()
}

fn lines(results: &Results, row: &Row) -> Vec<Line> {
    let cells = tables::by_cost(results, row).into_iter();
    cells
        // Chappe's other loops have a table of their own.
        .filter(|(peer, _)| peer.kind != Kind::Loop)
        .filter_map(|(peer, cell)| {
            let ratio = Summary::of(&cell.inverse_ratios()).filter(|_| peer.name != CHAPPE);
            Some(Line {
                label: peer.title,
                kind: peer.kind,
                summary: cell.summary(Figure::Cost)?,
                remark: ratio.map_or_else(String::new, |ratio| units::times(ratio.median)),
            })
        })
        .collect()
}

fn figures(results: &Results) -> String {
    format!(
        "# All figures\n\n\
         Medians, with quartiles in brackets, of the runs that [benchmarks](../benchmarks.md) \
         explains. {} Measured on {}.\n{}",
        "\\* stands where the runs differ by more than a third of the median.",
        machine(results),
        tables::everything(results)
    )
}
