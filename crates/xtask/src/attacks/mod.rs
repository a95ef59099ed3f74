//! `cargo xtask attacks`: hostile inputs against the release binary, over real sockets.
//!
//! Each row sends what a hostile peer would send and says what must come back. Besides, each row
//! demands that the process's memory grew by no more than its bound, and that a bystander's
//! echoes went on in time. Three kinds of rows:
//!
//! - *prompt*: the answer is due at once; one after the other against one server (`head.rs`,
//!   `origin.rs`, `frames.rs`, `messages.rs`, `endings.rs`);
//! - *crowds*: many connections, or floods; each against a server of its own (`crowds.rs`,
//!   `floods.rs`, `memory.rs`, `accepting.rs`);
//! - *patient*: the answer takes its time; all at the same time, each against a server of its own
//!   (`patience.rs`, `closing.rs`, `keepalive.rs`, `frozen.rs`, `stopping.rs`).
//!
//! And `client.rs` turns it round: hostile servers against `chappe connect`.
//!
//! Tables have one row a line, however long, so rustfmt skips them. The number before a row is its
//! kind. Handshake: 1 heads without end, 2 malformed or ambiguous
//! heads, 3 bodies, 4 lists of offers, 6 a client's answers, 7 origins and hosts. Framing: 9
//! lengths, 10 lengths declared only, 11 fragments, 12 control frames, 13 masks, 14 UTF-8, 15
//! reserved bits and opcodes, 16 peers that are slow or vanish. Running: 21 leaving at any moment,
//! 22 memory given back, 24 peers that do not close, 25 storms, descriptors and logs, 26 a
//! server that stood still.

mod accept_key;
mod accepting;
mod bystander;
mod bytes;
mod client;
mod closing;
mod crowds;
mod endings;
mod floods;
mod frames;
mod frozen;
mod head;
mod keepalive;
mod memory;
mod messages;
mod origin;
mod patience;
mod server;
mod stopping;
mod tell;
mod wire;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::run::Outcome;
use crate::workspace;
use bystander::{Bystander, ROUND_TRIP_MAX};
use server::Options;
pub(crate) use server::Server;

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let mut binary = workspace::release("chappe");
    let mut words = arguments;
    if let [flag, path, rest @ ..] = words
        && flag == "--binary"
    {
        (binary, words) = (PathBuf::from(path), rest);
    }
    if !binary.exists() {
        let build = "`cargo build --release --package chappe-cli` builds it";
        return Err(format!(
            "the binary {} is missing; {build}",
            binary.display()
        ));
    }
    // Crowds have a descriptor each.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let mut report = Report::default();
    Report::print_header();
    thread::scope(|scope| {
        let patient: Vec<_> = chosen(patient_attacks(), words)
            .map(|attack| {
                let binary = &binary;
                scope.spawn(move || attack.against_own_server(binary, Duration::from_millis(10)))
            })
            .collect();
        let patient_clients: Vec<_> = client::patient_attacks()
            .filter(|attack| attack.is_among(words))
            .map(|attack| {
                let binary = &binary;
                scope.spawn(move || attack.perform(binary))
            })
            .collect();
        run_prompt(&binary, words, &mut report)?;
        for attack in chosen(crowd_attacks(), words) {
            report.add(&attack.against_own_server(&binary, Duration::from_millis(1)));
        }
        for attack in client::attacks().filter(|attack| attack.is_among(words)) {
            report.add(&attack.perform(&binary));
        }
        for handle in patient.into_iter().chain(patient_clients) {
            let verdict = handle
                .join()
                .map_err(|_| "an attack's own thread panicked")?;
            report.add(&verdict);
        }
        Ok::<(), String>(())
    })?;
    report.finish()
}

fn patient_attacks() -> impl Iterator<Item = Attack> {
    patience::attacks()
        .chain(closing::attacks())
        .chain(endings::patient_attacks())
        .chain(keepalive::attacks())
        .chain(frozen::attacks())
        .chain(stopping::attacks())
        .chain(accepting::patient_attacks())
}

fn crowd_attacks() -> impl Iterator<Item = Attack> {
    crowds::attacks()
        .chain(floods::attacks())
        .chain(memory::attacks())
        .chain(accepting::attacks())
}

fn run_prompt(binary: &Path, words: &[String], report: &mut Report) -> Outcome {
    let tables = head::attacks()
        .chain(origin::attacks())
        .chain(frames::attacks())
        .chain(messages::attacks())
        .chain(endings::attacks());
    let mut server = Server::start(binary)?;
    let bystander = Bystander::start(server.address(), Duration::from_millis(1))?;
    for attack in chosen(tables, words) {
        report.add(&attack.perform_on(&mut server, Some(&bystander)));
    }
    Ok(())
}

fn chosen(
    attacks: impl IntoIterator<Item = Attack>,
    words: &[String],
) -> impl Iterator<Item = Attack> {
    attacks
        .into_iter()
        .filter(|attack| is_chosen(attack.topic, &attack.name, words))
}

/// Whether the words on the command line ask for this row.
fn is_chosen(topic: u8, name: &str, words: &[String]) -> bool {
    let name = format!("{topic} {name}");
    words.is_empty() || words.iter().any(|word| name.contains(word.as_str()))
}

/// One hostile input against a server, and what must come of it.
struct Attack {
    /// The number of its kind.
    topic: u8,
    name: String,
    /// What must come back, as `tell.rs` tells it; alternatives stand between bars.
    expected: String,
    /// By how much the process may grow meanwhile.
    growth_kib_max: u64,
    /// How the server is started; only for a server of its own.
    options: Options,
    /// How long the bystander may wait for an echo. None where there is no bystander.
    round_trip_max: Option<Duration>,
    act: Act,
}

/// Does it to a server.
type Act = Box<dyn Fn(&mut Server) -> Told + Send>;

/// The same as a plain function, for tables.
type Script = fn(&mut Server) -> Told;

/// What came of it: what is compared with the expectation, or what stood in the way.
type Told = Result<String, String>;

impl Attack {
    fn new(
        topic: u8,
        name: impl Into<String>,
        expected: impl Into<String>,
        act: impl Fn(&mut Server) -> Told + Send + 'static,
    ) -> Self {
        let (name, expected) = (name.into(), expected.into());
        let act = Box::new(act);
        Self {
            topic,
            name,
            expected,
            growth_kib_max: 2 * 1024,
            options: Options::default(),
            round_trip_max: Some(ROUND_TRIP_MAX),
            act,
        }
    }

    fn growing_at_most(mut self, kib: u64) -> Self {
        self.growth_kib_max = kib;
        self
    }

    fn with_options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    fn echoing_within(mut self, limit: Duration) -> Self {
        self.round_trip_max = Some(limit);
        self
    }

    fn without_bystander(mut self) -> Self {
        self.round_trip_max = None;
        self
    }

    fn against_own_server(self, binary: &Path, pause: Duration) -> Verdict {
        let started = Server::start_with(binary, &self.options).and_then(|server| {
            let bystander = match self.round_trip_max {
                Some(_) => Some(Bystander::start(server.address(), pause)?),
                None => None,
            };
            Ok((server, bystander))
        });
        match started {
            Ok((mut server, bystander)) => self.perform_on(&mut server, bystander.as_ref()),
            Err(failure) => Verdict {
                topic: self.topic,
                name: self.name,
                expected: self.expected,
                actual: failure,
                growth_kib: (0, self.growth_kib_max),
                round_trip: None,
                round_trip_max: ROUND_TRIP_MAX,
            },
        }
    }

    fn perform_on(self, server: &mut Server, bystander: Option<&Bystander>) -> Verdict {
        server.forget_peak();
        if let Some(bystander) = bystander {
            bystander.forget();
        }
        let before = server.peak_kib();
        let mut actual = (self.act)(server).unwrap_or_else(|failure| failure);
        let growth = server.peak_kib().saturating_sub(before);
        // A server that was told to end takes the bystander's connection with it.
        let round_trip = match bystander.map(Bystander::worst) {
            _ if server.has_ended() => None,
            None => None,
            Some(Ok(worst)) => Some(worst),
            Some(Err(failure)) => {
                actual = format!("{actual}; the bystander failed: {failure}");
                None
            }
        };
        Verdict {
            topic: self.topic,
            name: self.name,
            expected: self.expected,
            actual,
            growth_kib: (growth, self.growth_kib_max),
            round_trip,
            round_trip_max: self.round_trip_max.unwrap_or(ROUND_TRIP_MAX),
        }
    }
}

/// What came of an attack.
struct Verdict {
    topic: u8,
    name: String,
    expected: String,
    actual: String,
    /// By how much memory grew, and by how much it may.
    growth_kib: (u64, u64),
    /// The bystander's longest, where there is one.
    round_trip: Option<Duration>,
    round_trip_max: Duration,
}

impl Verdict {
    fn passed(&self) -> bool {
        self.expected
            .split(" | ")
            .any(|expected| expected == self.actual)
            && self.growth_kib.0 <= self.growth_kib.1
            && self
                .round_trip
                .is_none_or(|time| time <= self.round_trip_max)
    }

    fn line(&self) -> String {
        let round_trip = match self.round_trip {
            Some(time) => format!("{:.1}", time.as_secs_f64() * 1e3),
            None => "-".to_owned(),
        };
        let (growth, most) = self.growth_kib;
        let verdict = if self.passed() { "passed" } else { "FAILED" };
        format!(
            "{verdict} {:>2}  {:<58} {growth:>6}/{most:<6} {round_trip:>6}  {:<24} {}",
            self.topic, self.name, self.actual, self.expected
        )
    }
}

#[derive(Default)]
struct Report {
    passed: usize,
    failures: Vec<String>,
}

impl Report {
    fn print_header() {
        println!(
            "{:>9}  {:<58} {:>13} {:>6}  {:<24} expected",
            "kind", "attack", "KiB more/most", "ms", "answer"
        );
    }

    fn add(&mut self, verdict: &Verdict) {
        let line = verdict.line();
        println!("{line}");
        if verdict.passed() {
            self.passed += 1;
        } else {
            self.failures.push(line);
        }
    }

    fn finish(self) -> Outcome {
        println!();
        self.failures.iter().for_each(|line| println!("{line}"));
        let counts = format!("{} passed, {} failed", self.passed, self.failures.len());
        if !self.failures.is_empty() {
            return Err(counts);
        }
        println!("{counts}");
        Ok(())
    }
}
