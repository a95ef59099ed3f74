//! What happened on a server, counted by name: what was accepted, refused and failed; and how to
//! look at it from outside.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::gate::Gate;

/// What happened on a [`Server`](crate::Server) so far.
///
/// Names are those of the errors: `message_too_big`, `invalid_utf8`, `origin`, and so on.
///
/// ```no_run
/// # fn run(server: &chappe::Server) {
/// let counters = server.counters();
/// println!("{} refused for their origin", counters.refused.get("origin").unwrap_or(&0));
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Handshakes that led to a connection.
    pub accepted: u64,
    /// Requests that were plain HTTP.
    pub http: u64,
    /// Handshakes that were refused, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Connections that ended, by cause; `closed` is the clean one.
    pub ended: BTreeMap<&'static str, u64>,
}

/// Looks at a [`Server`](crate::Server) from outside, while it runs and after it has stopped. Cheap
/// to clone; it holds no socket.
///
/// ```no_run
/// # async fn run() -> std::io::Result<()> {
/// let server = chappe::Server::bind("127.0.0.1:9001").await?;
/// let monitor = server.monitor();
/// tokio::spawn(async move {
///     loop {
///         tokio::time::sleep(std::time::Duration::from_secs(60)).await;
///         println!("{} connections are open", monitor.connections());
///     }
/// });
/// server.run(|ws, _request| async move { Ok(ws.send("welcome").await?) }).await
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Monitor {
    counts: Arc<Counts>,
    gate: Arc<Gate>,
}

impl Monitor {
    pub(crate) fn new(counts: Arc<Counts>, gate: Arc<Gate>) -> Self {
        Self { counts, gate }
    }

    /// What happened so far, on all clones of the server.
    pub fn counters(&self) -> Counters {
        self.counts.snapshot()
    }

    /// How many connections are open, on all clones of the server: those in their handshake and
    /// plain HTTP included.
    pub fn connections(&self) -> usize {
        self.gate.connections()
    }

    /// How many connections the server takes at a time.
    pub fn connections_max(&self) -> usize {
        self.gate.connections_max()
    }
}

/// The counts themselves. Nothing here is on a message's way.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    accepted: AtomicU64,
    http: AtomicU64,
    refused: Mutex<BTreeMap<&'static str, u64>>,
    ended: Mutex<BTreeMap<&'static str, u64>>,
}

impl Counts {
    pub(crate) fn accept(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn pass_to_http(&self) {
        self.http.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refuse(&self, name: &'static str) {
        *self
            .refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(name)
            .or_default() += 1;
    }

    pub(crate) fn end(&self, name: &'static str) {
        *self
            .ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(name)
            .or_default() += 1;
    }

    pub(crate) fn snapshot(&self) -> Counters {
        Counters {
            accepted: self.accepted.load(Ordering::Relaxed),
            http: self.http.load(Ordering::Relaxed),
            refused: self
                .refused
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            ended: self
                .ended
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        }
    }
}
