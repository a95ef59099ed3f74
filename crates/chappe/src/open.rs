//! The connections that one runtime serves, so that they can be told to end.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use chappe_proto::CloseCode;
use slab::Slab;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::counters::Counts;
use crate::gate::Slot;
use crate::shared::Shared;

/// All of them, from before their handshake to after their end. Clones are the same list.
#[derive(Clone, Default)]
pub(crate) struct OpenConnections(Arc<List>);

#[derive(Default)]
struct List {
    state: Mutex<State>,
    /// Told when the last one has gone.
    empty: Notify,
}

#[derive(Default)]
struct State {
    connections: Slab<Connection>,
    /// Those with a plain HTTP request that is being answered, by key.
    answering: HashSet<usize>,
    closing: bool,
}

#[derive(Default)]
struct Connection {
    task: Option<AbortHandle>,
    /// What is between driver and handles, once the handshake is over.
    shared: Weak<Shared>,
}

impl OpenConnections {
    /// Takes a place in the list, which is left when it is dropped. Who is turned away has no slot.
    pub(crate) fn enter(&self, slot: Option<Slot>, counts: Arc<Counts>) -> Place {
        let key = self.0.lock().connections.insert(Connection::default());
        Place {
            list: self.0.clone(),
            key,
            slot,
            counts,
        }
    }

    /// Closes all that are open with 1001, and waits for their end and for what is being answered;
    /// drops what is left after `timeout`. Who is in a handshake, is being refused, or may ask for
    /// something else some day is dropped at once: nobody waits for anything that was promised.
    pub(crate) async fn close_all(&self, timeout: Duration) {
        let mut shareds = Vec::new();
        {
            let mut state = self.0.lock();
            state.closing = true;
            for (key, open) in &state.connections {
                match open.shared.upgrade() {
                    Some(shared) => shareds.push(shared),
                    None if state.answering.contains(&key) => {}
                    None => open.task.iter().for_each(AbortHandle::abort),
                }
            }
        }
        for shared in shareds {
            go_away(&shared);
        }
        let all_gone = async {
            loop {
                let empty = self.0.empty.notified();
                if self.0.lock().connections.is_empty() {
                    break;
                }
                empty.await;
            }
        };
        if tokio::time::timeout(timeout, all_gone).await.is_err() {
            let state = self.0.lock();
            tracing::warn!(
                connections = state.connections.len(),
                "connections did not end in time and are dropped"
            );
            for (_, open) in &state.connections {
                open.task.iter().for_each(AbortHandle::abort);
            }
        }
    }
}

impl fmt::Debug for OpenConnections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OpenConnections")
            .field(&self.0.lock().connections.len())
            .finish()
    }
}

impl List {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn go_away(shared: &Shared) {
    let result = shared
        .lock()
        .close(CloseCode::GOING_AWAY, "server shuts down");
    result.expect("1001 may be sent");
}

/// A connection's place in the list.
pub(crate) struct Place {
    list: Arc<List>,
    key: usize,
    /// Held until the place is left.
    slot: Option<Slot>,
    counts: Arc<Counts>,
}

impl Place {
    /// Counts how the connection ended.
    pub(crate) fn count_end(&self, name: &'static str) {
        self.counts.end(name);
    }

    /// The task that the connection is in.
    pub(crate) fn set_task(&self, task: AbortHandle) {
        self.list.lock().connections[self.key].task = Some(task);
    }

    /// A plain HTTP request is to be answered: it gets time where the server stops.
    pub(crate) fn begin_answer(&self) {
        self.list.lock().answering.insert(self.key);
    }

    /// It was answered. Tells whether another request may be read, or all are being closed.
    #[must_use]
    pub(crate) fn end_answer(&self) -> bool {
        let mut state = self.list.lock();
        state.answering.remove(&self.key);
        !state.closing
    }

    /// The handshake is over; if all are being closed, this one is too.
    pub(crate) fn set_shared(&self, shared: &Arc<Shared>) {
        let closing = {
            let mut state = self.list.lock();
            state.connections[self.key].shared = Arc::downgrade(shared);
            state.closing
        };
        if closing {
            go_away(shared);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.slot = None;
        let mut state = self.list.lock();
        state.connections.remove(self.key);
        state.answering.remove(&self.key);
        if state.connections.is_empty() {
            self.list.empty.notify_waiters();
        }
    }
}
