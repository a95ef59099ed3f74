//! The memory that connections may hold together, for what their peers sent or do not read.
//!
//! Each connection is bounded by itself; this bounds the sum. A connection tells after each of its
//! turns what it holds. Where the sum exceeds the budget, whoever grows beyond an equal share of it
//! is closed with 1013: by the pigeonhole principle there is somebody who holds so much, and those
//! who hold little never pay for it.
//!
//! It also sees when a peak is over, so that what the allocator keeps of it can be given back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, Notify};

/// What all connections of a process hold together, unless told otherwise.
pub(crate) const MEMORY_BYTES_MAX: usize = 1024 * 1024 * 1024;

static OF_THE_PROCESS: LazyLock<Arc<Budget>> = LazyLock::new(|| Budget::new(MEMORY_BYTES_MAX));

/// Memory that is shared by connections.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes_max: usize,
    held: AtomicUsize,
    connections: AtomicUsize,
    /// The most that was in use since this was last taken, or before that if it is not over.
    peak: AtomicUsize,
    /// Told when much less is in use than at the peak.
    fallen: Notify,
    /// Held by who waits for falls.
    turn: Mutex<()>,
}

/// What a connection takes besides what it holds, about.
const CONNECTION_BYTES: usize = 1536;

/// What a fall is, at least: so many bytes, and such a part of the peak.
const FALL_BYTES_MIN: usize = 1024 * 1024;
const FALL_PART_MIN: usize = 8;

/// How long a peak has to be over. What is given back sooner may be needed again at once.
const CALM: Duration = Duration::from_millis(300);

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes_max,
            held: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            fallen: Notify::new(),
            turn: Mutex::new(()),
        })
    }

    /// The budget of whoever has none of its own.
    pub(crate) fn of_the_process() -> Arc<Self> {
        OF_THE_PROCESS.clone()
    }

    /// Takes part in the budget, holding nothing yet.
    pub(crate) fn join(self: &Arc<Self>) -> Share {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.rise();
        Share {
            budget: self.clone(),
            held: 0,
        }
    }

    /// Waits to be the one who is told of falls: where servers share a budget, one of them is
    /// enough to give memory back.
    pub(crate) async fn falls(&self) -> Falls<'_> {
        Falls {
            budget: self,
            _turn: self.turn.lock().await,
        }
    }

    /// The most that was in use since this was asked before.
    fn take_peak(&self) -> usize {
        let peak = self.peak.swap(self.in_use(), Ordering::Relaxed);
        // There may have been more between the two.
        self.rise();
        peak
    }

    fn in_use(&self) -> usize {
        let connections = self.connections.load(Ordering::Relaxed);
        self.held.load(Ordering::Relaxed) + connections * CONNECTION_BYTES
    }

    fn rise(&self) {
        self.peak.fetch_max(self.in_use(), Ordering::Relaxed);
    }

    fn fall(&self) {
        let peak = self.peak.load(Ordering::Relaxed);
        if is_fall(peak, self.in_use()) {
            self.fallen.notify_one();
        }
    }
}

fn is_fall(peak: usize, in_use: usize) -> bool {
    let fallen = peak.saturating_sub(in_use);
    fallen >= FALL_BYTES_MIN && fallen >= peak / FALL_PART_MIN
}

/// The falls of what is in use.
pub(crate) struct Falls<'a> {
    budget: &'a Budget,
    _turn: MutexGuard<'a, ()>,
}

impl Falls<'_> {
    /// Waits until a peak is over: until much less than before is in use for a while, in which it
    /// does not get much less still.
    pub(crate) async fn next(&mut self) {
        let budget = self.budget;
        loop {
            budget.fallen.notified().await;
            let peak = budget.take_peak();
            let begin = budget.in_use();
            tokio::time::sleep(CALM).await;
            let recent = budget.peak.load(Ordering::Relaxed);
            let goes_on = is_fall(begin, budget.in_use());
            if is_fall(peak, recent) && !goes_on {
                return;
            }
            // What comes next, or has come meanwhile, is part of the same fall. This goes on now, so
            // that what merely comes and goes can't look like a fall twice.
            budget.peak.fetch_max(peak, Ordering::Relaxed);
            budget.fall();
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
                self.budget.fall();
            }
            return true;
        }
        let more = bytes - self.held;
        let held = self.budget.held.fetch_add(more, Ordering::Relaxed) + more;
        self.held = bytes;
        self.budget.rise();
        let connections = self.budget.connections.load(Ordering::Relaxed).max(1);
        held <= self.budget.bytes_max || bytes <= self.budget.bytes_max / connections
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.held, Ordering::Relaxed);
        self.budget.connections.fetch_sub(1, Ordering::Relaxed);
        self.budget.fall();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

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

    /// Whether a fall is noticed within so many seconds.
    async fn falls(budget: &Budget, seconds: f64) -> bool {
        let patience = Duration::from_secs_f64(seconds);
        let fall = async { budget.falls().await.next().await };
        tokio::time::timeout(patience, fall).await.is_ok()
    }

    const MIB: usize = 1024 * 1024;

    #[tokio::test(start_paused = true)]
    async fn a_fall_is_noticed_once_within_a_second() {
        let budget = Budget::new(usize::MAX);
        let mut share = budget.join();
        assert!(!falls(&budget, 9.0).await, "nothing was held");
        share.hold(MIB);
        assert!(!falls(&budget, 9.0).await, "it is held");
        share.hold(1);
        assert!(
            !falls(&budget, 9.0).await,
            "a byte less than what is noticed"
        );
        share.hold(0);
        assert!(falls(&budget, 1.0).await, "a megabyte less");
        assert!(!falls(&budget, 9.0).await, "that was noticed");
        share.hold(3 * MIB);
        drop(share);
        assert!(falls(&budget, 1.0).await, "the connection has gone");
    }

    #[tokio::test(start_paused = true)]
    async fn a_small_part_of_the_peak_is_no_fall() {
        let budget = Budget::new(usize::MAX);
        let mut share = budget.join();
        share.hold(100 * MIB);
        share.hold(88 * MIB);
        assert!(!falls(&budget, 9.0).await, "less than an eighth");
        share.hold(87 * MIB);
        assert!(falls(&budget, 1.0).await, "an eighth less");
    }

    #[tokio::test(start_paused = true)]
    async fn what_falls_in_steps_is_noticed_once_when_it_is_over() {
        let budget = Budget::new(usize::MAX);
        let mut share = budget.join();
        share.hold(256 * MIB);
        let steps = async {
            for power in (0..8).rev() {
                share.hold(MIB << power);
                tokio::time::sleep(CALM / 4).await;
            }
        };
        {
            let mut fall = pin!(async { budget.falls().await.next().await });
            tokio::select! {
                biased;
                () = &mut fall => panic!("there is more to come"),
                () = steps => {}
            }
            let second = Duration::from_secs(1);
            let noticed = tokio::time::timeout(second, fall).await;
            noticed.expect("now it is over");
        }
        assert!(!falls(&budget, 9.0).await, "that was noticed");
    }

    #[tokio::test(start_paused = true)]
    async fn what_falls_after_a_rise_counts_from_the_peak() {
        for meanwhile in [true, false] {
            let budget = Budget::new(usize::MAX);
            let mut share = budget.join();
            share.hold(100 * MIB);
            share.hold(80 * MIB);
            let rise = async {
                tokio::time::sleep(CALM / 4).await;
                share.hold(90 * MIB);
                if !meanwhile {
                    tokio::time::sleep(2 * CALM).await;
                }
                share.hold(85 * MIB);
                std::future::pending::<()>().await;
            };
            tokio::select! {
                noticed = falls(&budget, 2.0) => assert!(noticed, "a seventh less than at the peak"),
                () = rise => {}
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_and_goes_after_a_fall_delays_nothing() {
        for (before, here, away) in [
            (Duration::ZERO, CALM / 40, CALM / 40),
            (Duration::ZERO, CALM / 4, CALM / 4),
            (CALM / 4, Duration::ZERO, CALM),
            (CALM / 4, Duration::ZERO, 2 * CALM),
        ] {
            let budget = Budget::new(usize::MAX);
            let (mut large, mut small) = (budget.join(), budget.join());
            large.hold(100 * MIB);
            let busy = async {
                large.hold(0);
                tokio::time::sleep(before).await;
                loop {
                    small.hold(2 * MIB);
                    tokio::time::sleep(here).await;
                    small.hold(0);
                    tokio::time::sleep(away).await;
                }
            };
            tokio::select! {
                biased;
                noticed = falls(&budget, 1.0) => assert!(noticed, "{before:?} {here:?} {away:?}"),
                () = busy => {}
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time_is_told_of_a_fall() {
        let budget = Budget::new(usize::MAX);
        let mut share = budget.join();
        share.hold(100 * MIB);
        share.hold(0);
        let several = async { tokio::join!(falls(&budget, 9.0), falls(&budget, 9.0)) };
        assert_eq!(several.await, (true, false));
        share.hold(100 * MIB);
        share.hold(0);
        assert!(falls(&budget, 1.0).await, "the others have gone");
    }

    #[tokio::test(start_paused = true)]
    async fn many_connections_that_held_nothing_are_a_peak_too() {
        let budget = Budget::new(usize::MAX);
        let shares: Vec<Share> = (0..1000).map(|_| budget.join()).collect();
        drop(shares);
        assert!(falls(&budget, 1.0).await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_held_again_and_again_is_no_fall_until_it_ends() {
        let budget = Budget::new(usize::MAX);
        let mut share = budget.join();
        let busy = async {
            for _ in 0..100 {
                share.hold(2 * MIB);
                share.hold(0);
                tokio::time::sleep(CALM / 2).await;
            }
        };
        let mut fall = pin!(async { budget.falls().await.next().await });
        tokio::select! {
            biased;
            () = &mut fall => panic!("it comes and goes"),
            () = busy => {}
        }
        let second = Duration::from_secs(1);
        let noticed = tokio::time::timeout(second, fall).await;
        noticed.expect("now it is over");
    }
}
