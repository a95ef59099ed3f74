//! The time, in nanoseconds since the run began.

use std::time::{Duration, Instant};

#[derive(Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> u64 {
        nanoseconds(self.0.elapsed())
    }
}

/// Seconds as nanoseconds.
pub(crate) fn from_seconds(seconds: f64) -> u64 {
    nanoseconds(Duration::from_secs_f64(seconds))
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("no run takes centuries")
}
