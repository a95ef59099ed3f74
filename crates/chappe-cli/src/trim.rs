//! Gives memory back to the system once a peak is over, where the C library would keep it.
//!
//! By itself glibc gives back what is free at a heap's end. One block that outlives a peak, and was
//! allocated during it, keeps all that is below. So `after_peaks` looks at what connections have in use,
//! and when much less is in use than at the last peak, and no longer falls, it has glibc give back
//! what is free. During a fall it would be too soon, and to be done again.
#![allow(
    unsafe_code,
    reason = "a function of the C library that nobody whom we depend on has wrapped"
)]

use std::convert::Infallible;
use std::future;
use std::time::Duration;

use chappe::{Memory, Monitor};
use tokio::time::Instant;

/// Looks and trims, without end. It is to run where nobody waits for it: trimming takes a millisecond
/// for some 10 MB that are given back.
///
/// Where the C library is not glibc, it does nothing.
pub(crate) async fn after_peaks(memory: &Memory, monitor: &Monitor) -> Infallible {
    if !cfg!(all(target_os = "linux", target_env = "gnu")) {
        return future::pending().await;
    }
    let mut watch = Watch::default();
    let mut pause = LOOK_EVERY;
    loop {
        // It wakes the main thread of an idle server, too, which takes 0.06 % of a core (a program
        // that only sleeps so, 0.02 %). Longer pauses there would miss the peak that ends the calm.
        tokio::time::sleep(pause).await;
        pause = LOOK_EVERY;
        let connections = monitor.connections().saturating_mul(CONNECTION_BYTES);
        let in_use = memory.held_bytes().saturating_add(connections);
        let peak = memory.take_peak_bytes().saturating_add(connections);
        if watch.is_over(in_use, peak) {
            let begin = Instant::now();
            trim();
            // Shards that allocate wait for it, so it gets a tenth of the time at most.
            pause = pause.max(begin.elapsed() * 9);
        }
    }
}

/// What a connection takes besides what it holds, about.
const CONNECTION_BYTES: usize = 1536;

/// How long a peak has to be over. What is given back sooner may be needed again at once.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// What is in use, as far as looks have shown.
#[derive(Debug, Default)]
struct Watch {
    /// The most since a peak was last over.
    peak: usize,
    /// At the last look.
    last: usize,
}

impl Watch {
    /// Whether a peak is over, at a look that finds so many bytes in use, and that there were so many
    /// since the look before. Each is over once.
    fn is_over(&mut self, in_use: usize, peak: usize) -> bool {
        let is_falling = is_fall(self.last, in_use);
        self.last = in_use;
        self.peak = self.peak.max(in_use).max(peak);
        if is_falling || !is_fall(self.peak, in_use) {
            return false;
        }
        self.peak = in_use;
        true
    }
}

/// Whether it is worth to give back what lies between.
fn is_fall(before: usize, after: usize) -> bool {
    let fallen = before.saturating_sub(after);
    fallen >= FALL_BYTES_MIN && fallen >= before / FALL_PART_MIN
}

/// What a fall is, at least: so many bytes, and such a part of what there was.
const FALL_BYTES_MIN: usize = 1024 * 1024;
const FALL_PART_MIN: usize = 8;

/// Has glibc give back what is free in all of its heaps.
fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes no pointer, and may be called at any time, from any thread (MT-Safe).
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    /// Looks that find so many KiB in use, one after the other; those that see a peak's end have
    /// `true`.
    fn check(looks: &[(usize, bool)]) {
        let mut watch = Watch::default();
        for (number, &(kib, is_over)) in looks.iter().enumerate() {
            let found = watch.is_over(kib * KIB, kib * KIB);
            assert_eq!(found, is_over, "look {number} of {looks:?}");
        }
    }

    #[test]
    fn nothing_is_over_where_nothing_was_or_all_still_is() {
        check(&[(0, false), (0, false)]);
        check(&[(5_000, false), (5_000, false), (9_000, false)]);
    }

    #[test]
    fn a_peak_is_over_once_at_the_second_look_at_less() {
        check(&[
            (90_000, false),
            (1_000, false),
            (1_000, true),
            (1_000, false),
            (0, false),
            (90_000, false),
            (0, false),
            (0, true),
        ]);
    }

    #[test]
    fn a_fall_is_a_megabyte_at_least() {
        check(&[(1_023, false), (0, false), (0, false)]);
        check(&[(1_024, false), (0, false), (0, true)]);
    }

    #[test]
    fn a_fall_is_an_eighth_of_the_peak_at_least() {
        check(&[(80_000, false), (70_001, false), (70_001, false)]);
        check(&[(80_000, false), (70_000, false), (70_000, true)]);
    }

    #[test]
    fn what_falls_in_small_steps_is_over_an_eighth_below_the_peak() {
        check(&[
            (80_000, false),
            (76_000, false),
            (72_000, false),
            (68_000, true),
            (65_000, false),
            (62_000, false),
            (59_000, true),
        ]);
    }

    #[test]
    fn what_falls_in_large_steps_is_over_after_the_last() {
        check(&[
            (256_000, false),
            (128_000, false),
            (64_000, false),
            (32_000, false),
            (16_000, false),
            (15_500, true),
            (15_500, false),
        ]);
    }

    #[test]
    fn what_falls_after_a_rise_counts_from_the_peak() {
        check(&[
            (100_000, false),
            (80_000, false),
            (90_000, false),
            (85_000, true),
        ]);
    }

    #[test]
    fn what_comes_and_goes_after_a_fall_delays_nothing_for_long() {
        check(&[
            (100_000, false),
            (0, false),
            (2_000, true),
            (0, false),
            (2_000, false),
            (0, false),
        ]);
    }
}
