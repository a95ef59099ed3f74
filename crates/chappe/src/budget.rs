//! The memory that connections may hold together, for what their peers sent or do not read.
//!
//! Each connection is bounded by itself; this bounds the sum. A connection tells after each of its
//! turns what it holds. Where the sum exceeds the budget, whoever grows beyond an equal share of it
//! is closed with 1013: by the pigeonhole principle there is somebody who holds so much, and those
//! who hold little never pay for it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

/// What all connections of a process hold together, unless told otherwise.
pub(crate) const MEMORY_BYTES_MAX: usize = 1024 * 1024 * 1024;

static OF_THE_PROCESS: LazyLock<Arc<Budget>> = LazyLock::new(|| Budget::new(MEMORY_BYTES_MAX));

/// Memory that is shared by connections.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes_max: usize,
    held: AtomicUsize,
    connections: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes_max,
            held: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
        })
    }

    /// The budget of whoever has none of its own.
    pub(crate) fn of_the_process() -> Arc<Self> {
        OF_THE_PROCESS.clone()
    }

    /// Takes part in the budget, holding nothing yet.
    pub(crate) fn join(self: &Arc<Self>) -> Share {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Share {
            budget: self.clone(),
            held: 0,
        }
    }
}

/// One connection's part of a budget.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    held: usize,
}

impl Share {
    /// Says how many bytes the connection holds. Tells whether it may: not if it has grown beyond
    /// an equal share of a budget that is spent.
    pub(crate) fn hold(&mut self, bytes: usize) -> bool {
        if bytes <= self.held {
            // The common case is nothing, before and after.
            if bytes < self.held {
                let less = self.held - bytes;
                self.budget.held.fetch_sub(less, Ordering::Relaxed);
                self.held = bytes;
            }
            return true;
        }
        let more = bytes - self.held;
        let held = self.budget.held.fetch_add(more, Ordering::Relaxed) + more;
        self.held = bytes;
        let connections = self.budget.connections.load(Ordering::Relaxed).max(1);
        held <= self.budget.bytes_max || bytes <= self.budget.bytes_max / connections
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.held, Ordering::Relaxed);
        self.budget.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_more_than_its_share_may_not_when_the_budget_is_spent() {
        let budget = Budget::new(100);
        let mut shares: Vec<Share> = (0..4).map(|_| budget.join()).collect();
        assert!(shares[0].hold(90), "the budget is not spent");
        assert!(shares[1].hold(10), "nor is it exceeded");
        assert!(shares[1].hold(25), "it is, but this is an equal share");
        assert!(!shares[1].hold(26), "one more is not");
        assert!(shares[0].hold(80), "who holds less than before is let be");
        assert!(!shares[0].hold(81), "until it grows again");
        drop(shares.remove(0));
        assert!(shares[0].hold(70), "what was held is free again");
        assert_eq!(budget.held.load(Ordering::Relaxed), 70);
        drop(shares);
        assert_eq!(budget.held.load(Ordering::Relaxed), 0);
        assert_eq!(budget.connections.load(Ordering::Relaxed), 0);
    }
}
