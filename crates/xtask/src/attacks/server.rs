//! The server under attack: a process of its own, and what the system tells of it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::run::{self, Outcome, Running};
use crate::workspace;

/// `chappe serve` on a free port of the loopback, with default limits; ends with this value.
#[derive(Debug)]
pub(crate) struct Server {
    running: Running,
    binary: PathBuf,
    port: u16,
    log: PathBuf,
}

/// How it is started.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The port to listen on; 0 takes one that is free.
    pub(crate) port: u16,
    pub(crate) shards: u32,
    /// How many descriptors it may open.
    pub(crate) descriptors_max: Option<u32>,
    pub(crate) arguments: &'static [&'static str],
    /// How `accept.c` changes what the system gives it: a variable and its value.
    pub(crate) accept: Option<(&'static str, String)>,
}

impl Options {
    /// The kernel takes but little of what is sent to a peer that does not read: the server has to
    /// hold it.
    pub(crate) fn with_little_room() -> Self {
        Self {
            accept: Some(("ACCEPT_SEND_BYTES", "4096".to_owned())),
            ..Self::default()
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            shards: 1,
            descriptors_max: None,
            arguments: &[],
            accept: None,
        }
    }
}

const START_LIMIT: Duration = Duration::from_secs(15);
/// What the kernel counts processor time in, for programs: hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

impl Server {
    pub(crate) fn start(binary: &Path) -> Outcome<Self> {
        Self::start_with(binary, &Options::default())
    }

    /// The first line that it says to standard error is a part of the failure where it does not start.
    pub(crate) fn start_with(binary: &Path, options: &Options) -> Outcome<Self> {
        let mut command = match options.descriptors_max {
            Some(limit) => {
                let mut command = Command::new("sh");
                command.args(["-c", &format!("ulimit -n {limit}; exec \"$0\" \"$@\"")]);
                command.arg(binary);
                command
            }
            None => Command::new(binary),
        };
        command
            .args(["serve", "--listen", &format!("127.0.0.1:{}", options.port)])
            .args(["--shards", &options.shards.to_string()])
            .args(options.arguments);
        if let Some((variable, value)) = &options.accept {
            command
                .env("LD_PRELOAD", accept_library()?)
                .env(variable, value);
        }
        let (log, file) = log_file("server")?;
        command.stderr(file);
        let find_port = |line: &str| {
            let (_, rest) = line.split_once("http://127.0.0.1:")?;
            rest.split(|c: char| !c.is_ascii_digit())
                .next()?
                .parse()
                .ok()
        };
        let (running, port) =
            Running::start_until(&mut command, START_LIMIT, find_port).map_err(|failure| {
                let said = fs::read_to_string(&log).unwrap_or_default();
                format!("{failure}: {}", said.lines().next().unwrap_or_default())
            })?;
        let binary = binary.to_owned();
        Ok(Self {
            running,
            binary,
            port,
            log,
        })
    }

    /// Starts another of the same program.
    pub(crate) fn start_another(&self, options: &Options) -> Outcome<Self> {
        Self::start_with(&self.binary, options)
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Where what it says to standard error is kept.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Asks the process to end.
    pub(crate) fn terminate(&self) -> Outcome {
        self.signal("-TERM")
    }

    /// Stops the process where it is.
    pub(crate) fn freeze(&self) -> Outcome {
        self.signal("-STOP")
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) -> Outcome {
        self.signal("-CONT")
    }

    fn signal(&self, signal: &str) -> Outcome {
        let id = self.running.id().to_string();
        run::output(Command::new("kill").args([signal, &id])).map(|_| ())
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.running.wait(Duration::ZERO).is_some()
    }

    pub(crate) fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        self.running.wait(limit)
    }

    /// The most that it held since the last call of `forget_peak`, in KiB.
    pub(crate) fn peak_kib(&self) -> u64 {
        memory_kib(self.running.id(), "VmHWM:").unwrap_or(0)
    }

    /// What it holds, in KiB.
    pub(crate) fn held_kib(&self) -> u64 {
        memory_kib(self.running.id(), "VmRSS:").unwrap_or(0)
    }

    /// Makes the peak what is held at this moment. Where the system forbids it the peak is that of
    /// the whole life, so that growth may be missed but is never made up.
    pub(crate) fn forget_peak(&self) {
        let _ = fs::write(format!("/proc/{}/clear_refs", self.running.id()), "5");
    }

    /// The processor time used so far.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.running.id()));
        let stat = stat.unwrap_or_default();
        // After the name, which may hold anything, the fields are 3, 4, …; 14 and 15 are wanted.
        let fields = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace();
        let ticks = fields
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u32>().ok());
        TICK * ticks.sum::<u32>()
    }

    /// How many bytes of a connection, by the peer's port, it has not read.
    pub(crate) fn unread(&self, peer: u16) -> u64 {
        let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
        let ends = format!(" 0100007F:{:04X} 0100007F:{peer:04X} ", self.port);
        let line = table.lines().find(|line| line.contains(&ends));
        let queues = line.and_then(|line| line.split_whitespace().nth(4));
        let received = queues.and_then(|queues| queues.split_once(':'));
        received.map_or(0, |(_, bytes)| u64::from_str_radix(bytes, 16).unwrap_or(0))
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.running.id())).map_or(0, Iterator::count)
    }

    /// Waits until no more descriptors are open than that; says so when that does not come about.
    pub(crate) fn released(&self, descriptors: usize, limit: Duration) -> Result<(), String> {
        let end = Instant::now() + limit;
        loop {
            let open = self.descriptors();
            if open <= descriptors {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(format!("{} connections not released", open - descriptors));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// `accept.c`, built once.
fn accept_library() -> Outcome<PathBuf> {
    static LIBRARY: OnceLock<Outcome<PathBuf>> = OnceLock::new();
    let build = || {
        let source = workspace::root().join("crates/xtask/src/attacks/accept.c");
        let library = log_folder()?.join("accept.so");
        let mut command = Command::new("cc");
        command.args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"]);
        run::output(command.arg(&library).arg(source).arg("-ldl"))?;
        Ok(library)
    };
    LIBRARY.get_or_init(build).clone()
}

/// A line such as `VmHWM:  5000 kB` of what the system tells of a process.
pub(crate) fn memory_kib(process: u32, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

/// A new file for what a program says.
pub(crate) fn log_file(name: &str) -> Outcome<(PathBuf, File)> {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = log_folder()?.join(format!("{name}-{number}.log"));
    let file = File::create(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok((path, file))
}

fn log_folder() -> Outcome<PathBuf> {
    let folder = workspace::target().join("attacks");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}
