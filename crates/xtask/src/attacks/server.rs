//! The server under attack: a process of its own, and what the system tells of it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::run::{self, Outcome, Running};
use crate::workspace;

/// `chappe serve` on a free port of the loopback, with default limits; ends with this value.
#[derive(Debug)]
pub(crate) struct Server {
    running: Running,
    port: u16,
    log: PathBuf,
}

const START_LIMIT: Duration = Duration::from_secs(15);
/// What the kernel counts processor time in, for programs: hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

impl Server {
    pub(crate) fn start(binary: &Path) -> Outcome<Self> {
        let mut command = Command::new(binary);
        command.args(["serve", "--listen", "127.0.0.1:0", "--shards", "1"]);
        Self::start_by(&mut command)
    }

    /// Starts one that may open no more than so many descriptors.
    pub(crate) fn start_with_descriptors(binary: &Path, limit: u32) -> Outcome<Self> {
        let script = format!("ulimit -n {limit}; exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg(binary);
        command.args(["serve", "--listen", "127.0.0.1:0", "--shards", "1"]);
        Self::start_by(&mut command)
    }

    fn start_by(command: &mut Command) -> Outcome<Self> {
        let (log, file) = log_file("server")?;
        command.stderr(file);
        let (running, port) = Running::start_until(command, START_LIMIT, |line| {
            let (_, rest) = line.split_once("http://127.0.0.1:")?;
            rest.split(|c: char| !c.is_ascii_digit())
                .next()?
                .parse()
                .ok()
        })?;
        Ok(Self { running, port, log })
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
        let id = self.running.id().to_string();
        run::output(Command::new("kill").args(["-TERM", &id])).map(|_| ())
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
    let folder = workspace::target().join("attacks");
    let path = folder.join(format!("{name}-{number}.log"));
    let made = fs::create_dir_all(&folder).and_then(|()| File::create(&path));
    let file = made.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok((path, file))
}
