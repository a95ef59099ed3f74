//! What only Unix has: the limit on open files, and the errors that tell that it was reached.

use std::io;

/// Files that a server leaves for others: its own, logs, a page that is served.
const FILES_RESERVED: u64 = 16;

/// How many connections the limit on open files leaves room for, beside what is open already.
pub(crate) fn connections_possible() -> usize {
    let limit = rlimit::Resource::NOFILE.get_soft().unwrap_or(1024);
    let open = std::fs::read_dir("/proc/self/fd").map_or(16, Iterator::count) as u64;
    let possible = limit.saturating_sub(open + FILES_RESERVED).max(1);
    usize::try_from(possible).unwrap_or(usize::MAX)
}

/// The least of the limits on what memory the process may use, if there is one.
pub(crate) fn memory_limit() -> Option<u64> {
    let limits = [rlimit::Resource::AS, rlimit::Resource::DATA];
    let limits = limits.into_iter().filter_map(|limit| limit.get_soft().ok());
    limits.filter(|limit| *limit != rlimit::INFINITY).min()
}

/// Whether accepting failed because something has run out, which passes when a connection ends.
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    // ENOMEM, ENFILE, EMFILE, ENOBUFS
    matches!(error.raw_os_error(), Some(12 | 23 | 24 | 105))
}

/// Whether accepting failed because this one client had gone again (accept(2), "Error handling").
pub(crate) fn is_clients_fault(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, TimedOut, WouldBlock};
    // EPROTO, ENOPROTOOPT, EOPNOTSUPP, ENETDOWN, ENETUNREACH, EHOSTDOWN, EHOSTUNREACH, ENONET
    let by_number = matches!(
        error.raw_os_error(),
        Some(71 | 92 | 95 | 100 | 101 | 112 | 113 | 64)
    );
    let kinds = [
        ConnectionAborted,
        ConnectionReset,
        Interrupted,
        TimedOut,
        WouldBlock,
    ];
    by_number || kinds.contains(&error.kind())
}
