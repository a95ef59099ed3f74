//! Who sleeps on a connection, and is to be woken: its driver, its receiver, and whoever waits for
//! something else.
//!
//! The driver wakes the receiver when there is something to receive, and all who wait for something
//! else when that may have come; a handle wakes the driver when it left something to do, unless the
//! driver is awake, as it looks here before it goes to sleep.

use std::task::{Context, Waker};

#[derive(Debug)]
pub(crate) struct Wakers {
    attention: Attention,
    driver: Option<Waker>,
    receiver: Option<Waker>,
    /// Whoever waits for room, for a flush, for a pong or for the end.
    waiting: Vec<Waker>,
}

/// Whether the driver needs to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attention {
    /// It has to be woken.
    Asleep,
    /// It is in its turn, and looks here before it sleeps.
    Awake,
    /// There is something to do that it has not seen, and it was woken if it slept.
    Called,
}

/// How a turn of the driver's ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asleep {
    /// There is something to do at once: it is not asleep.
    pub(crate) called: bool,
    /// It is in another task than before.
    pub(crate) moved: bool,
}

impl Default for Wakers {
    fn default() -> Self {
        Self {
            // The driver's first turn comes by itself.
            attention: Attention::Awake,
            driver: None,
            receiver: None,
            waiting: Vec::new(),
        }
    }
}

impl Wakers {
    /// The driver is awake; what it was called for, it has still to see.
    pub(crate) fn begin_turn(&mut self) {
        if self.attention == Attention::Asleep {
            self.attention = Attention::Awake;
        }
    }

    /// The driver is awake, and sees now what it was called for.
    pub(crate) fn answer_call(&mut self) {
        self.attention = Attention::Awake;
    }

    /// The driver goes to sleep in this task, unless it was called meanwhile.
    pub(crate) fn end_turn(&mut self, cx: &Context<'_>) -> Asleep {
        let called = self.attention == Attention::Called;
        if !called {
            self.attention = Attention::Asleep;
        }
        let moved = !is_of(self.driver.as_ref(), cx);
        if moved {
            self.driver = Some(cx.waker().clone());
        }
        Asleep { called, moved }
    }

    pub(crate) fn driver_is_asleep(&self) -> bool {
        self.attention == Attention::Asleep
    }

    /// Leaves something to do to the driver.
    pub(crate) fn call_driver(&mut self) {
        let before = std::mem::replace(&mut self.attention, Attention::Called);
        if before == Attention::Asleep
            && let Some(waker) = &self.driver
        {
            waker.wake_by_ref();
        }
    }

    /// The receiver sleeps in this task.
    pub(crate) fn wait_to_receive(&mut self, cx: &Context<'_>) {
        if !is_of(self.receiver.as_ref(), cx) {
            self.receiver = Some(cx.waker().clone());
        }
    }

    pub(crate) fn wake_receiver(&mut self) {
        if let Some(waker) = self.receiver.take() {
            waker.wake();
        }
    }

    /// Somebody waits for something else in this task.
    pub(crate) fn wait(&mut self, cx: &Context<'_>) {
        if !self.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.waiting.push(cx.waker().clone());
        }
    }

    pub(crate) fn nobody_waits(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Wakes those who wait for room, for a flush, for a pong or for the end.
    pub(crate) fn wake_waiting(&mut self) {
        if self.nobody_waits() {
            return;
        }
        // With its memory: whoever waited once may be idle from here on.
        for waker in std::mem::take(&mut self.waiting) {
            waker.wake();
        }
    }
}

/// Whether a waker is there, and wakes this task.
fn is_of(waker: Option<&Waker>, cx: &Context<'_>) -> bool {
    waker.is_some_and(|waker| waker.will_wake(cx.waker()))
}
