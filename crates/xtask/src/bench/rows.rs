//! The rows of the comparison: what the generator is asked to do, once per server and run.

use super::units::thousands;

/// A row: one kind of work, by the name that `--row` takes.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) work: Work,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Work {
    Echo(Echo),
    Broadcast(Broadcast),
    Handshake,
    Idle(Idle),
}

/// Messages that come back to who sent them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Echo {
    message: Message,
    load: Load,
    fragments: u32,
}

#[derive(Debug, Clone, Copy)]
struct Message {
    bytes: u32,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ascii,
    /// Text of two to four bytes a character.
    NonAscii,
    Binary,
}

/// How many connections send, and how many messages each has under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    connections: u32,
    in_flight: u32,
}

/// Messages of one connection that go to all.
#[derive(Debug, Clone, Copy)]
pub(super) struct Broadcast {
    load: Load,
    /// Whether each is published by a write of its own, or all that are due in one piece.
    singly: bool,
}

/// Connections, and what they did before they are looked at, by the generator's name for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Idle {
    connections: u32,
    scenario: &'static str,
}

/// How often each peer is measured in a row, and for how long each time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pace {
    pub(super) runs: usize,
    /// Of the measured time, where a row is not a number of things to do.
    pub(super) seconds: f64,
}

/// Rows that stand in one table and one plot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    EchoPipelined,
    EchoOneInFlight,
    Broadcast,
    Idle,
    Handshake,
}

const B20: Message = text(20);
const B125: Message = text(125);
const K1: Message = text(1024);
const K16: Message = Message {
    bytes: 16 * 1024,
    kind: Kind::NonAscii,
};
const M1: Message = Message {
    bytes: 1024 * 1024,
    kind: Kind::Binary,
};
/// What is broadcast.
const BROADCAST: Message = B20;

const HANDSHAKES: u32 = 10_000;
const IDLE_CONNECTIONS: u32 = 15_000;
/// Those that get 1 MiB each: there are peers that keep 2 MiB for each then.
const IDLE_CONNECTIONS_LARGE: u32 = 2_000;
/// Connections that come and go beside the idle ones, by the generator's own table.
const STORM: u32 = 4_000;
/// Files that generator and server have open besides their connections, at most.
const FILES_BESIDES: u64 = 200;

pub(super) const ROWS: &[Row] = &[
    echo("echo-20-16x16", B20, 16, 16),
    echo("echo-20-1x16", B20, 1, 16),
    echo("echo-125-16x16", B125, 16, 16),
    echo("echo-1k-16x16", K1, 16, 16),
    in_fragments("echo-1k-16x16-8-fragments", K1, load(16, 16), 8),
    echo("echo-20-1x1", B20, 1, 1),
    echo("echo-20-100x1", B20, 100, 1),
    echo("echo-20-5000x1", B20, 5_000, 1),
    echo("echo-125-100x1", B125, 100, 1),
    echo("echo-1k-100x1", K1, 100, 1),
    in_fragments("echo-1k-100x1-8-fragments", K1, load(100, 1), 8),
    echo("echo-16k-16x1", K16, 16, 1),
    echo("echo-16k-100x1", K16, 100, 1),
    echo("echo-1m-1x1", M1, 1, 1),
    echo("echo-1m-4x1", M1, 4, 1),
    broadcast("broadcast-10x1", 10, 1),
    broadcast("broadcast-10x4", 10, 4),
    broadcast("broadcast-10x16", 10, 16),
    broadcast_singly("broadcast-10x16-singly", 10, 16),
    broadcast("broadcast-1000x1", 1_000, 1),
    broadcast("broadcast-1000x4", 1_000, 4),
    broadcast("broadcast-1000x16", 1_000, 16),
    broadcast_singly("broadcast-1000x16-singly", 1_000, 16),
    broadcast("broadcast-15000x1", 15_000, 1),
    broadcast("broadcast-15000x4", 15_000, 4),
    broadcast_singly("broadcast-15000x4-singly", 15_000, 4),
    broadcast("broadcast-15000x16", 15_000, 16),
    idle("idle-fresh", IDLE_CONNECTIONS, "fresh"),
    idle("idle-used", IDLE_CONNECTIONS, "used"),
    idle("idle-large", IDLE_CONNECTIONS_LARGE, "large"),
    idle("idle-storm", IDLE_CONNECTIONS, "storm"),
    idle("idle-slow", IDLE_CONNECTIONS, "slow"),
    Row {
        name: "handshake",
        work: Work::Handshake,
    },
];

/// Rows that are also measured in an open loop, for their latency.
const OPEN_LOOP: &[&str] = &["echo-20-16x16", "echo-20-100x1", "echo-1k-16x16"];
/// Rows whose system calls are counted.
const COUNTED: &[&str] = &[
    "echo-20-16x16",
    "echo-20-100x1",
    "echo-1k-16x16",
    "broadcast-1000x16",
];

/// Rows of short messages and short runs in which Chappe is near to uWebSockets: they are measured
/// twice as often.
const CLOSE: &[&str] = &[
    "echo-20-16x16",
    "echo-20-100x1",
    "broadcast-1000x1",
    "broadcast-1000x16",
];

/// Rows in which Chappe's plain loop is measured beside others of its loops.
const LOOPS: &[&str] = &["echo-20-16x16", "echo-20-100x1", "echo-1k-16x16"];

const fn text(bytes: u32) -> Message {
    Message {
        bytes,
        kind: Kind::Ascii,
    }
}

const fn load(connections: u32, in_flight: u32) -> Load {
    Load {
        connections,
        in_flight,
    }
}

const fn echo(name: &'static str, message: Message, connections: u32, in_flight: u32) -> Row {
    in_fragments(name, message, load(connections, in_flight), 1)
}

const fn in_fragments(name: &'static str, message: Message, load: Load, fragments: u32) -> Row {
    let work = Work::Echo(Echo {
        message,
        load,
        fragments,
    });
    Row { name, work }
}

const fn broadcast(name: &'static str, connections: u32, in_flight: u32) -> Row {
    let (load, singly) = (load(connections, in_flight), false);
    let work = Work::Broadcast(Broadcast { load, singly });
    Row { name, work }
}

const fn broadcast_singly(name: &'static str, connections: u32, in_flight: u32) -> Row {
    let (load, singly) = (load(connections, in_flight), true);
    let work = Work::Broadcast(Broadcast { load, singly });
    Row { name, work }
}

const fn idle(name: &'static str, connections: u32, scenario: &'static str) -> Row {
    let work = Work::Idle(Idle {
        connections,
        scenario,
    });
    Row { name, work }
}

pub(super) fn find(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name)
}

impl Row {
    /// What the row measures, in words.
    pub(super) fn title(&self) -> String {
        match self.work {
            Work::Echo(echo) => {
                let fragments = match echo.fragments {
                    1 => String::new(),
                    several => format!(" in {several} fragments"),
                };
                format!("{}{fragments}, {}", echo.message.title(), echo.load.title())
            }
            Work::Broadcast(Broadcast { load, singly }) => {
                let singly = if singly { ", published singly" } else { "" };
                format!("to {}{singly}", load.title())
            }
            Work::Handshake => "handshake".to_owned(),
            Work::Idle(idle) => match idle.scenario {
                "fresh" => "just opened".to_owned(),
                "used" => "after a message of 16 KiB on each".to_owned(),
                "large" => {
                    let connections = thousands(idle.connections.into());
                    format!("after a message of 1 MiB on each of {connections}")
                }
                "storm" => format!("after {} more came and went", thousands(STORM.into())),
                "slow" => "after none had read for a while".to_owned(),
                other => other.to_owned(),
            },
        }
    }

    pub(super) fn group(&self) -> Group {
        match self.work {
            Work::Echo(echo) if echo.load.in_flight > 1 => Group::EchoPipelined,
            Work::Echo(_) => Group::EchoOneInFlight,
            Work::Broadcast(_) => Group::Broadcast,
            Work::Handshake => Group::Handshake,
            Work::Idle(_) => Group::Idle,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.work, Work::Idle(_))
    }

    pub(super) fn has_open_loop(&self) -> bool {
        OPEN_LOOP.contains(&self.name)
    }

    pub(super) fn is_counted(&self) -> bool {
        COUNTED.contains(&self.name)
    }

    pub(super) fn has_loops(&self) -> bool {
        LOOPS.contains(&self.name)
    }

    /// What the server is started as.
    pub(super) fn mode(&self) -> &'static str {
        match self.work {
            Work::Broadcast(_) => "broadcast",
            Work::Echo(_) | Work::Handshake | Work::Idle(_) => "echo",
        }
    }

    /// Whether the sockets have to be so small that the server holds what is not read, not the
    /// kernel.
    pub(super) fn has_small_sockets(&self) -> bool {
        matches!(self.work, Work::Idle(idle) if idle.scenario == "slow")
    }

    /// How many files the server and the generator must each be allowed to open.
    pub(super) fn files(&self) -> u64 {
        let connections = match self.work {
            Work::Echo(echo) => echo.load.connections,
            Work::Broadcast(broadcast) => broadcast.load.connections,
            // They are all open at the end.
            Work::Handshake => HANDSHAKES,
            Work::Idle(idle) if idle.scenario == "storm" => idle.connections + STORM,
            Work::Idle(idle) => idle.connections,
        };
        u64::from(connections) + FILES_BESIDES
    }

    /// What the generator is told about the work. How long it takes is said by the caller, except
    /// where the work is a number of things to do.
    pub(super) fn arguments(&self) -> Vec<String> {
        let words = match self.work {
            Work::Echo(Echo {
                message,
                load,
                fragments,
            }) => {
                let words = format!("echo {} {}", load.arguments(), message.arguments());
                match fragments {
                    1 => words,
                    several => format!("{words} --fragments {several}"),
                }
            }
            Work::Broadcast(Broadcast { load, singly }) => {
                let singly = if singly { " --singly" } else { "" };
                let bytes = BROADCAST.bytes;
                format!("broadcast {} --bytes {bytes}{singly}", load.arguments())
            }
            Work::Handshake => format!("handshake --count {HANDSHAKES}"),
            Work::Idle(Idle {
                connections,
                scenario,
            }) => format!("idle --connections {connections} --scenario {scenario}"),
        };
        words.split_whitespace().map(str::to_owned).collect()
    }

    /// Many short runs, unless something else is asked for: a machine that changes its speed within
    /// seconds does so amid few of the pairs.
    pub(super) fn pace(&self) -> Pace {
        let connections = match self.work {
            Work::Echo(echo) => echo.load.connections,
            Work::Broadcast(broadcast) => broadcast.load.connections,
            Work::Handshake => 0,
            Work::Idle(_) => {
                let (runs, seconds) = (9, 0.0);
                return Pace { runs, seconds };
            }
        };
        let (runs, seconds) = match connections {
            0..1_000 => (21, 0.06),
            1_000..5_000 => (21, 0.1),
            _ => (9, 0.25),
        };
        let runs = if CLOSE.contains(&self.name) {
            2 * runs
        } else {
            runs
        };
        Pace { runs, seconds }
    }

    /// Whether the work goes on for a time that is to be said.
    pub(super) fn is_timed(&self) -> bool {
        matches!(self.work, Work::Echo(_) | Work::Broadcast(_))
    }
}

impl Group {
    pub(super) const ALL: [Self; 5] = [
        Self::EchoPipelined,
        Self::EchoOneInFlight,
        Self::Broadcast,
        Self::Idle,
        Self::Handshake,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::EchoPipelined => "Echo, several messages in flight",
            Self::EchoOneInFlight => "Echo, one message in flight",
            Self::Broadcast => "Broadcast",
            Self::Idle => "Memory of idle connections",
            Self::Handshake => "Handshakes",
        }
    }

    /// What a row of the group costs, per what.
    pub(super) fn cost(self) -> &'static str {
        match self {
            Self::EchoPipelined | Self::EchoOneInFlight => "server CPU per message",
            Self::Broadcast => "server CPU per delivery",
            Self::Idle => "resident bytes per connection",
            Self::Handshake => "server CPU per handshake",
        }
    }

    /// The name of its plot, without the ending.
    pub(super) fn file(self) -> &'static str {
        match self {
            Self::EchoPipelined => "echo-pipelined",
            Self::EchoOneInFlight => "echo-one-in-flight",
            Self::Broadcast => "broadcast",
            Self::Idle => "idle",
            Self::Handshake => "handshake",
        }
    }

    pub(super) fn rows(self) -> impl Iterator<Item = &'static Row> {
        ROWS.iter().filter(move |row| row.group() == self)
    }
}

impl Message {
    fn title(self) -> String {
        let size = match self.bytes {
            bytes if bytes >= 1024 * 1024 => format!("{} MiB", bytes / (1024 * 1024)),
            bytes if bytes >= 1024 => format!("{} KiB", bytes / 1024),
            bytes => format!("{bytes} B"),
        };
        match self.kind {
            Kind::Ascii => size,
            Kind::NonAscii => format!("{size} of non-ASCII text"),
            Kind::Binary => format!("{size} binary"),
        }
    }

    fn arguments(self) -> String {
        let kind = match self.kind {
            Kind::Ascii => "text",
            Kind::NonAscii => "text --non-ascii",
            Kind::Binary => "binary",
        };
        format!("--bytes {} --kind {kind}", self.bytes)
    }
}

impl Load {
    fn title(self) -> String {
        let several = if self.connections == 1 { "" } else { "s" };
        let connections = thousands(u64::from(self.connections));
        format!(
            "{connections} connection{several}, {} in flight",
            self.in_flight
        )
    }

    fn arguments(self) -> String {
        format!(
            "--connections {} --in-flight {}",
            self.connections, self.in_flight
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_say_what_they_measure_and_what_the_generator_does() {
        for (name, title, arguments) in [
            (
                "echo-1k-16x16-8-fragments",
                "1 KiB in 8 fragments, 16 connections, 16 in flight",
                "echo --connections 16 --in-flight 16 --bytes 1024 --kind text --fragments 8",
            ),
            (
                "echo-16k-16x1",
                "16 KiB of non-ASCII text, 16 connections, 1 in flight",
                "echo --connections 16 --in-flight 1 --bytes 16384 --kind text --non-ascii",
            ),
            (
                "echo-1m-1x1",
                "1 MiB binary, 1 connection, 1 in flight",
                "echo --connections 1 --in-flight 1 --bytes 1048576 --kind binary",
            ),
            (
                "broadcast-15000x4",
                "to 15,000 connections, 4 in flight",
                "broadcast --connections 15000 --in-flight 4 --bytes 20",
            ),
            (
                "broadcast-1000x16-singly",
                "to 1,000 connections, 16 in flight, published singly",
                "broadcast --connections 1000 --in-flight 16 --bytes 20 --singly",
            ),
            (
                "idle-storm",
                "after 4,000 more came and went",
                "idle --connections 15000 --scenario storm",
            ),
            ("handshake", "handshake", "handshake --count 10000"),
        ] {
            let row = find(name).expect("the row is in the table");
            assert_eq!(row.title(), title);
            assert_eq!(row.arguments().join(" "), arguments);
        }
    }

    #[test]
    fn a_row_has_a_pace_by_what_it_measures() {
        for (name, runs, seconds) in [
            ("echo-20-16x16", 42, 0.06),
            ("echo-1k-16x16", 21, 0.06),
            ("broadcast-1000x16", 42, 0.1),
            ("broadcast-1000x4", 21, 0.1),
            ("broadcast-15000x4", 9, 0.25),
            ("idle-large", 9, 0.0),
        ] {
            let row = find(name).expect("the row is in the table");
            assert_eq!(row.pace(), Pace { runs, seconds }, "{name}");
        }
    }

    #[test]
    fn names_are_unique_and_lists_name_rows() {
        for (place, row) in ROWS.iter().enumerate() {
            assert!(
                ROWS[..place].iter().all(|other| other.name != row.name),
                "{} stands twice",
                row.name
            );
        }
        for name in OPEN_LOOP.iter().chain(COUNTED).chain(CLOSE) {
            assert!(find(name).is_some(), "{name}");
        }
        for name in LOOPS {
            // The generator can be told what is changed of an echo, and of nothing else.
            let row = find(name).expect("the row is in the table");
            assert!(matches!(row.work, Work::Echo(_)), "{name}");
        }
    }
}
