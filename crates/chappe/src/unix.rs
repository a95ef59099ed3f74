//! What differs between systems: the limit on open files, and what the errors of `accept` mean.

use std::io;

/// How many more files may be opened, less a reserve.
#[cfg(unix)]
pub(crate) fn files_left() -> usize {
    /// For refusals to those for whom there is no slot, logs, what the application opens.
    const FILES_RESERVED: u64 = 24;
    let limit = rlimit::Resource::NOFILE.get_soft().unwrap_or(1024);
    let open = std::fs::read_dir("/proc/self/fd").map_or(16, Iterator::count) as u64;
    usize::try_from(limit.saturating_sub(open + FILES_RESERVED)).unwrap_or(usize::MAX)
}

/// Elsewhere sockets are not counted among open files, and have no limit that could be asked for.
#[cfg(not(unix))]
pub(crate) fn files_left() -> usize {
    usize::MAX
}

/// The least of the limits on what memory the process may use, if there is one.
#[cfg(unix)]
pub(crate) fn memory_limit() -> Option<u64> {
    let limits = [rlimit::Resource::AS, rlimit::Resource::DATA];
    let limits = limits.into_iter().filter_map(|limit| limit.get_soft().ok());
    limits.filter(|limit| *limit != rlimit::INFINITY).min()
}

#[cfg(not(unix))]
pub(crate) fn memory_limit() -> Option<u64> {
    None
}

/// Why a connection could not be accepted, and so what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AcceptFault {
    /// This one connection was gone again: the next one may be there already.
    Connection,
    /// The socket that listens is none, or no longer listens: that does not pass.
    Listener,
    /// Descriptors or memory have run out, a firewall forbids it, whatever: it may pass.
    Passing,
}

impl AcceptFault {
    /// accept(2), "Error handling": an error that a connection had before it was accepted is given
    /// to whoever accepts it.
    pub(crate) fn of(error: &io::Error) -> Self {
        use io::ErrorKind::{
            ConnectionAborted, ConnectionReset, HostUnreachable, Interrupted, NetworkDown,
            NetworkUnreachable, TimedOut, WouldBlock,
        };
        match error.kind() {
            ConnectionAborted | ConnectionReset | HostUnreachable | Interrupted | NetworkDown
            | NetworkUnreachable | TimedOut | WouldBlock => Self::Connection,
            _ => Self::by_number(error),
        }
    }

    #[cfg(unix)]
    fn by_number(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EPROTO | libc::ENOPROTOOPT | libc::EHOSTDOWN) => Self::Connection,
            #[cfg(target_os = "linux")]
            Some(libc::ENONET) => Self::Connection,
            Some(libc::EBADF | libc::EINVAL | libc::ENOTSOCK) => Self::Listener,
            // EOPNOTSUPP among them: it can come from a connection, and from a socket that can't
            // accept. Taken for either of those alone, it would spin or end the server.
            _ => Self::Passing,
        }
    }

    #[cfg(not(unix))]
    fn by_number(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidInput => Self::Listener,
            _ => Self::Passing,
        }
    }
}

/// Whether the limit on open files was reached: this process's own, or the whole system's.
pub(crate) fn are_files_exhausted(error: &io::Error) -> bool {
    #[cfg(unix)]
    let exhausted = matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE));
    #[cfg(not(unix))]
    let exhausted = {
        let _ = error;
        false
    };
    exhausted
}
