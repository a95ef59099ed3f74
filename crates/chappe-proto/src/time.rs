//! Time as the protocol knows it: nanoseconds since an epoch that the driver picks.
//!
//! The machine never reads a clock; whoever calls it says what time it is.

use std::fmt;
use std::num::NonZeroU64;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point in monotonic time: nanoseconds from an epoch that the driver picks.
///
/// All times given to one machine must share one epoch and must not go backwards.
///
/// ```
/// use std::time::Duration;
/// use chappe_proto::Time;
///
/// let later = Time::ZERO + Duration::from_secs(2);
/// assert_eq!(later - Time::ZERO, Duration::from_secs(2));
/// assert_eq!(Time::ZERO - later, Duration::ZERO); // a difference is never negative
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(
    /// One more than the nanoseconds, so that a deadline that there may not be takes no more room.
    NonZeroU64,
);

impl Time {
    /// The epoch itself.
    pub const ZERO: Self = Self(NonZeroU64::MIN);

    /// The point that lies this many nanoseconds after the epoch. The last one stands for all
    /// that come later, some 584 years after.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(nanos))
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0.get() - 1
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Time").field(&self.as_nanos()).finish()
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    /// Saturates some 584 years after the epoch.
    fn add(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl Sub for Time {
    type Output = Duration;

    /// Zero where `earlier` is in fact later.
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.get().saturating_sub(earlier.0.get()))
    }
}
