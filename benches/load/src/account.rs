//! What the kernel knows of a process: its CPU time and its resident memory.

use std::fs;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use crate::Outcome;

/// A process whose account is read.
#[derive(Clone, Copy)]
pub(crate) struct Account {
    pid: i32,
    cpu: ClockId,
}

impl Account {
    pub(crate) fn of(pid: i32) -> Outcome<Self> {
        let cpu = clock_getcpuclockid(Pid::from_raw(pid))
            .map_err(|error| format!("process {pid} has no account: {error}"))?;
        Ok(Self { pid, cpu })
    }

    /// Nanoseconds of CPU time that all of its threads have used.
    pub(crate) fn cpu(self) -> Outcome<u64> {
        clock_gettime(self.cpu)
            .map(|time| Duration::from(time).as_nanos() as u64)
            .map_err(|error| format!("the server, process {}, is gone: {error}", self.pid))
    }

    /// Bytes of memory that are resident.
    pub(crate) fn resident(self) -> Outcome<u64> {
        let file = format!("/proc/{}/status", self.pid);
        let status = fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line
            .and_then(|line| line.trim().strip_suffix("kB"))
            .and_then(|number| number.trim().parse::<u64>().ok())
            .ok_or_else(|| format!("{file} has no VmRSS in kB"))?;
        Ok(kilobytes * 1024)
    }
}

/// Nanoseconds of CPU time that this process has used.
pub(crate) fn own_cpu() -> u64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("a process may ask for its own usage");
    let microseconds =
        usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    u64::try_from(microseconds).unwrap_or(0) * 1000
}
