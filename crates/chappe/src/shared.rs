//! The lock between the handles of a connection and its driver.
//!
//! It guards the [`Link`]. Where handler and driver share a task nobody else takes it; elsewhere it
//! is held for the decoding or framing of one message, never across a system call of the driver's.
//! Whoever is to be woken is woken when it is unlocked.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use chappe_proto::Connection;
use tokio::time::Instant;

use crate::link::Link;
use crate::memory::{Holder, Share};
use crate::wakers::{Awaited, SeatNumber};

pub(crate) struct Shared {
    link: Mutex<Link>,
}

impl Shared {
    pub(crate) fn new(
        connection: Connection,
        epoch: Instant,
        outbox_bytes_max: usize,
        share: Share,
    ) -> Arc<Self> {
        let link = Link::new(connection, epoch, outbox_bytes_max, share);
        let shared = Arc::new(Self {
            link: Mutex::new(link),
        });
        let weak: Weak<Self> = Arc::downgrade(&shared);
        shared.lock().register(weak);
        shared
    }

    /// The state is consistent between any two statements that could panic, so a poisoned lock
    /// is as good as any.
    #[inline]
    pub(crate) fn lock(&self) -> Locked<'_> {
        let link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        Locked(Some(link))
    }
}

impl Holder for Shared {
    fn held_bytes(&self) -> usize {
        self.lock().share_bytes()
    }

    fn shed(&self) {
        let outbox = self.lock().shed();
        // What it refers to may be of others' making, so it is dropped unlocked.
        drop(outbox);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lock().fmt(f)
    }
}

/// The connection, locked. Whoever is to be woken is woken when it is unlocked.
pub(crate) struct Locked<'a>(
    /// There until it is dropped.
    Option<MutexGuard<'a, Link>>,
);

impl Locked<'_> {
    /// Unlocks it, and then wakes.
    #[cold]
    #[inline(never)]
    fn wake(&mut self) {
        let due = self.wakers().take_due();
        self.0 = None;
        due.wake();
    }
}

impl Deref for Locked<'_> {
    type Target = Link;

    #[inline]
    fn deref(&self) -> &Link {
        self.0.as_ref().expect("it is locked")
    }
}

impl DerefMut for Locked<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Link {
        self.0.as_mut().expect("it is locked")
    }
}

impl Drop for Locked<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.wakers().are_due() {
            self.wake();
        }
    }
}

/// What waits on a connection for room, a flush, a pong or the end. Its waker goes when it does.
#[derive(Debug)]
pub(crate) struct Waiting<S: Deref<Target = Shared>> {
    shared: S,
    awaited: Awaited,
    seat: SeatNumber,
}

impl<S: Deref<Target = Shared>> Waiting<S> {
    pub(crate) fn new(shared: S, awaited: Awaited) -> Self {
        Self {
            shared,
            awaited,
            seat: None,
        }
    }

    /// Asks, and has the task woken when the answer may have changed.
    #[inline]
    pub(crate) fn poll<R>(
        &mut self,
        cx: &Context<'_>,
        ask: impl FnOnce(&mut Link) -> Poll<R>,
    ) -> Poll<R> {
        let mut shared = self.shared.lock();
        let answer = ask(&mut shared);
        if answer.is_pending() {
            shared.wakers().wait(self.awaited, &mut self.seat, cx);
        } else if self.seat.is_some() {
            shared.wakers().leave(&mut self.seat);
        }
        answer
    }
}

impl<S: Deref<Target = Shared>> Drop for Waiting<S> {
    fn drop(&mut self) {
        if self.seat.is_some() {
            self.shared.lock().wakers().leave(&mut self.seat);
        }
    }
}
