//! One run: a server on its core, the generator on another, and the line that the generator tells.
//!
//! Whatever is started here ends by its process id, also when the generator takes too long.

use std::fs::{self, File};
use std::mem;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::peers::Peer;
use super::rows::Row;
use crate::run::{self, Outcome, Running};
use crate::workspace;

/// The cores that server and generator are bound to.
const SERVER_CORE: &str = "0";
const GENERATOR_CORE: &str = "1";

const START_LIMIT: Duration = Duration::from_secs(15);
/// How long a run of the generator may take.
const RUN_LIMIT: Duration = Duration::from_secs(60);
/// What is done before the measured time, in seconds. Servers keep running between their runs.
const WARM_UP: f64 = 0.1;
/// A server is quiet that used less than a fiftieth of its core for so long.
const QUIET: Duration = Duration::from_millis(25);
/// How long a server may take to become quiet.
const QUIET_LIMIT: Duration = Duration::from_secs(10);
/// Of a failure's text, so much stands in a cell.
const FAILURE_CHARACTERS_MAX: usize = 160;

/// A server that a peer is measured by; ends with this value.
#[derive(Debug)]
pub(super) struct Server {
    running: Running,
    address: String,
    /// What the generator has to know of it.
    generator_arguments: &'static [&'static str],
}

/// For how long, or for how much, the generator works.
#[derive(Debug, Clone, Copy)]
pub(super) enum Extent {
    /// Seconds that are measured, after a warm-up.
    Seconds(f64),
    /// As above, with messages leaving at this rate per second.
    OpenLoop { seconds: f64, rate: f64 },
    /// So many messages, and no warm-up.
    Messages(u32),
}

impl Server {
    /// Starts the peer's server as the row needs it.
    pub(super) fn start(peer: &Peer, row: &Row) -> Outcome<Self> {
        let mode = row.mode();
        let mut command = peer.command(mode);
        let network = if row.has_small_sockets() {
            Network::SmallSockets
        } else {
            Network::Machine
        };
        let mut command = pinned(SERVER_CORE, network, &mut command);
        let log = log(&format!("{}-{mode}", peer.name))?;
        command.stderr(log.file);
        let found = Running::start_until(&mut command, START_LIMIT, address_in);
        let (running, address) = found.map_err(|failure| with_complaint(&failure, &log.path))?;
        Ok(Self {
            running,
            address,
            generator_arguments: peer.generator_arguments(),
        })
    }

    pub(super) fn id(&self) -> u32 {
        self.running.id()
    }

    /// Whether it ended by itself, which a server must not.
    pub(super) fn has_ended(&mut self) -> bool {
        self.running.wait(Duration::ZERO).is_some()
    }

    /// Waits until the server is done with what the load left behind, such as thousands of
    /// connections that ended: on the same core, the next run would be slower for it.
    pub(super) fn wait_until_quiet(&self) {
        let start = Instant::now();
        let mut used = self.cpu();
        while start.elapsed() < QUIET_LIMIT {
            thread::sleep(QUIET);
            let before = mem::replace(&mut used, self.cpu());
            if used.saturating_sub(before) < QUIET / 50 {
                return;
            }
        }
        let limit = QUIET_LIMIT.as_secs();
        println!("  process {} works on {limit} s after its load", self.id());
    }

    /// The time that its threads have run.
    fn cpu(&self) -> Duration {
        let threads = fs::read_dir(format!("/proc/{}/task", self.id()));
        let threads = threads.into_iter().flatten().flatten();
        let times = threads.filter_map(|thread| {
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(times.sum())
    }

    /// Puts the server under the row's load and returns what the generator measured.
    pub(super) fn measure(&self, row: &Row, extent: Extent) -> Outcome<Value> {
        let mut command = Command::new(generator());
        command.args(row.arguments());
        command.args(self.generator_arguments);
        command.args(["--address", &self.address]);
        command.args(["--pid", &self.id().to_string()]);
        if row.is_timed() {
            command.args(extent.arguments());
        }
        let log = log("generator")?;
        let network = if row.has_small_sockets() {
            Network::Of(self.id())
        } else {
            Network::Machine
        };
        let mut command = pinned(GENERATOR_CORE, network, &mut command);
        command.stderr(log.file);
        let start = Instant::now();
        match Running::start_until(&mut command, RUN_LIMIT, figures_in) {
            Ok((mut generator, figures)) => {
                generator.wait(Duration::from_secs(10));
                Ok(figures)
            }
            Err(_) if start.elapsed() >= RUN_LIMIT => {
                Err(format!("took longer than {} s", RUN_LIMIT.as_secs()))
            }
            Err(_) => {
                let complaint = complaint(&log.path);
                Err(complaint.unwrap_or_else(|| "the generator ended without a word".to_owned()))
            }
        }
    }
}

impl Extent {
    fn arguments(self) -> Vec<String> {
        let words = match self {
            Self::Seconds(seconds) => format!("--seconds {seconds} --warm-up {WARM_UP}"),
            Self::OpenLoop { seconds, rate } => {
                format!("--seconds {seconds} --warm-up {WARM_UP} --rate {rate}")
            }
            Self::Messages(count) => format!("--messages {count}"),
        };
        words.split_whitespace().map(str::to_owned).collect()
    }
}

/// What puts the load on.
pub(super) fn generator() -> PathBuf {
    workspace::release("load")
}

/// Says what is missing here to measure at all, and how to get it.
pub(super) fn check_machine() -> Outcome {
    for program in ["taskset", "setpriv"] {
        if workspace::find_program(program).is_none() {
            return Err(format!(
                "{program} is missing; on Debian: sudo apt-get install util-linux. Server and \
                 generator are bound to a core each and to this process's life, as only Linux can"
            ));
        }
    }
    let cores = thread::available_parallelism().map_or(1, usize::from);
    if cores < 2 {
        return Err("this machine has one core, but server and generator need one each".to_owned());
    }
    Ok(())
}

/// How many files a process may open here, when it asks for as many as it may.
pub(super) fn files_max() -> u64 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let hard = line.and_then(|line| line.split_whitespace().nth(1));
    // "unlimited" is no number, and enough.
    hard.map_or(u64::MAX, |limit| limit.parse().unwrap_or(u64::MAX))
}

/// The network that a process is in.
#[derive(Debug, Clone, Copy)]
enum Network {
    Machine,
    /// A loopback of its own, whose sockets hold [`SOCKET_BYTES`] each way. It ends with those who
    /// are in it.
    SmallSockets,
    /// That of another process.
    Of(u32),
}

/// Memory that a socket has for what is not sent, or not read. The kernel's own needs come off it.
const SOCKET_BYTES: u32 = 16 * 1024;

impl Network {
    /// What goes before a command, with a space behind it.
    fn entrance(self) -> String {
        match self {
            Self::Machine => String::new(),
            Self::SmallSockets => {
                let sizes = format!("4096 {SOCKET_BYTES} {SOCKET_BYTES}");
                format!(
                    "unshare --net sh -c 'ip link set lo up && \
                     echo {sizes} > /proc/sys/net/ipv4/tcp_wmem && \
                     echo {sizes} > /proc/sys/net/ipv4/tcp_rmem && exec \"$@\"' sh "
                )
            }
            Self::Of(process) => format!("nsenter --net --target {process} "),
        }
    }
}

/// The command on a core of its own, with as many open files as it may have; it ends when this
/// process does, however that ends. The shells, `setpriv`, `taskset` and those that enter a network
/// replace themselves, so that the process id is that of the command.
fn pinned(core: &str, network: Network, command: &mut Command) -> Command {
    let entrance = network.entrance();
    let script = format!(
        "ulimit -S -n \"$(ulimit -H -n)\"; \
         exec {entrance}setpriv --pdeathsig KILL taskset -c \"$0\" \"$@\""
    );
    let mut pinned = Command::new("sh");
    pinned.args(["-c", &script, core]);
    pinned.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            pinned.env(name, value);
        }
    }
    if let Some(folder) = command.get_current_dir() {
        pinned.current_dir(folder);
    }
    pinned
}

/// The address that a server says it listens on.
fn address_in(line: &str) -> Option<String> {
    const HOST: &str = "127.0.0.1:";
    let (_, rest) = line.split_once(HOST)?;
    let end = rest.find(|c: char| !c.is_ascii_digit());
    let port = &rest[..end.unwrap_or(rest.len())];
    port.parse::<u16>().ok()?;
    Some(format!("{HOST}{port}"))
}

fn figures_in(line: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(line).ok()?;
    value.is_object().then_some(value)
}

/// A file for what a program complains of.
struct Log {
    path: PathBuf,
    file: File,
}

fn log(name: &str) -> Outcome<Log> {
    let folder = workspace::target().join("bench");
    let path = folder.join(format!("{name}.log"));
    let made = fs::create_dir_all(&folder).and_then(|()| File::create(&path));
    match made {
        Ok(file) => Ok(Log { path, file }),
        Err(error) => Err(format!("cannot write {}: {error}", path.display())),
    }
}

fn with_complaint(failure: &str, log: &Path) -> String {
    match complaint(log) {
        Some(complaint) => format!("did not start: {complaint}"),
        None => shortened(failure),
    }
}

/// The first line that a program complained in, cut, and without folders of this machine.
fn complaint(log: &Path) -> Option<String> {
    let text = fs::read(log).ok()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(shortened(line))
}

/// Results are kept with the source, where no folder of one machine belongs.
fn shortened(text: &str) -> String {
    let root = workspace::root();
    let target = workspace::target();
    let text = text
        .replace(&format!("{}/", target.display()), "")
        .replace(&format!("{}/", root.display()), "");
    if text.chars().count() <= FAILURE_CHARACTERS_MAX {
        return text;
    }
    let cut: String = text.chars().take(FAILURE_CHARACTERS_MAX).collect();
    format!("{cut}…")
}

/// The first line of what a program says of its version, or nothing.
pub(super) fn first_line(command: &mut Command) -> String {
    let text = run::output(command).unwrap_or_default();
    text.lines().next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_in_what_servers_say() {
        for (line, address) in [
            ("listening on 127.0.0.1:9001\n", Some("127.0.0.1:9001")),
            (
                "echoing on ws://127.0.0.1:40213/ now",
                Some("127.0.0.1:40213"),
            ),
            ("listening on 127.0.0.1:99999\n", None),
            ("listening on [::1]:80\n", None),
        ] {
            assert_eq!(address_in(line).as_deref(), address, "{line}");
        }
    }

    #[test]
    fn only_an_object_is_a_result() {
        assert!(figures_in("{\"messages\": 1}\n").is_some());
        for line in ["1\n", "connected\n", ""] {
            assert!(figures_in(line).is_none(), "{line}");
        }
    }

    #[test]
    fn a_failure_names_no_folder_and_is_cut() {
        let path = workspace::root().join("benches");
        let text = format!("cannot read {}", path.display());
        assert_eq!(shortened(&text), "cannot read benches");
        let cut = shortened(&"x".repeat(500));
        assert_eq!(cut.chars().count(), FAILURE_CHARACTERS_MAX + 1);
    }
}
