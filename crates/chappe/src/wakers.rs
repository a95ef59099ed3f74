//! Tracks which tasks wait on a connection: its driver, its receiver, and whoever waits for something
//! else.
//!
//! The driver wakes the receiver when there is something to receive, and all who wait for something
//! else when that may have come; a handle wakes the driver when it left something to do, unless the
//! driver is awake, as it looks here before it goes to sleep.
//!
//! Wakers are other people's code, and may well come back to the connection. So nothing here wakes or
//! drops one: they are taken out while the connection is locked, as [`Due`], and woken behind. They are
//! cloned under the lock, which no waker of a runtime's minds.

use std::num::NonZeroU32;
use std::task::{Context, Waker};

use slab::Slab;

#[derive(Debug)]
pub(crate) struct Wakers {
    attention: Attention,
    /// Whether anybody is to be woken when the connection is unlocked, or anything dropped.
    due: bool,
    /// Who is to be woken then.
    whom: Whom,
    driver: Option<Waker>,
    receiver: Option<Waker>,
    /// Whoever waits for room, for a flush, for a pong or for the end: a seat for each future. Boxed,
    /// because most connections have none.
    waiting: Option<Box<Slab<Seat>>>,
    /// Wakers that others took the place of, to be dropped when the connection is unlocked.
    replaced: Replaced,
}

type Replaced = Option<Box<Vec<Waker>>>;

#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "any of them may be due")]
struct Whom {
    driver: bool,
    receiver: bool,
    progress: bool,
    end: bool,
}

impl Whom {
    fn waits_for(self, awaited: Awaited) -> bool {
        match awaited {
            Awaited::Progress => self.progress,
            Awaited::End => self.end,
        }
    }
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

/// Which seat a future has, once it waits: from 1 on, and small, as futures are kept.
pub(crate) type SeatNumber = Option<NonZeroU32>;

#[derive(Debug)]
struct Seat {
    awaited: Awaited,
    /// `None` after it was woken.
    waker: Option<Waker>,
}

/// What a future waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// Room, a flush or a pong; and the end, which comes instead.
    Progress,
    /// The end alone.
    End,
}

impl Default for Wakers {
    fn default() -> Self {
        Self {
            // The driver's first turn comes by itself.
            attention: Attention::Awake,
            due: false,
            whom: Whom::default(),
            driver: None,
            receiver: None,
            waiting: None,
            replaced: None,
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

    /// The driver goes to sleep in this task. Tells whether it may: not if it was called meanwhile.
    pub(crate) fn end_turn(&mut self, cx: &Context<'_>) -> bool {
        self.due |= register(&mut self.driver, &mut self.replaced, cx);
        if self.attention == Attention::Called {
            return false;
        }
        self.attention = Attention::Asleep;
        true
    }

    pub(crate) fn driver_is_asleep(&self) -> bool {
        self.attention == Attention::Asleep
    }

    /// Leaves something to do to the driver.
    pub(crate) fn call_driver(&mut self) {
        let before = std::mem::replace(&mut self.attention, Attention::Called);
        if before == Attention::Asleep {
            (self.due, self.whom.driver) = (true, true);
        }
    }

    /// The receiver sleeps in this task.
    pub(crate) fn wait_to_receive(&mut self, cx: &Context<'_>) {
        self.due |= register(&mut self.receiver, &mut self.replaced, cx);
    }

    pub(crate) fn wake_receiver(&mut self) {
        if self.receiver.is_some() {
            (self.due, self.whom.receiver) = (true, true);
        }
    }

    /// A future waits for something else in this task.
    pub(crate) fn wait(&mut self, awaited: Awaited, number: &mut SeatNumber, cx: &Context<'_>) {
        let waiting = self.waiting.get_or_insert_default();
        let waker = None;
        let number = *number.get_or_insert_with(|| {
            let key = waiting.insert(Seat { awaited, waker });
            let number = u32::try_from(key + 1).ok().and_then(NonZeroU32::new);
            number.expect("fewer than four billion futures wait")
        });
        let seat = &mut waiting[number.get() as usize - 1];
        self.due |= register(&mut seat.waker, &mut self.replaced, cx);
    }

    /// It waits no longer.
    pub(crate) fn leave(&mut self, number: &mut SeatNumber) {
        let (Some(number), Some(waiting)) = (number.take(), &mut self.waiting) else {
            return;
        };
        let seat = waiting.remove(number.get() as usize - 1);
        if waiting.is_empty() {
            // With its memory: whoever waited once may be idle from here on.
            self.waiting = None;
        }
        if let Some(waker) = seat.waker {
            self.due = true;
            self.replaced.get_or_insert_default().push(waker);
        }
    }

    /// Wakes those who wait for room, for a flush or for a pong.
    pub(crate) fn wake_waiting(&mut self) {
        self.wake_those_who_wait(Whom {
            progress: true,
            ..self.whom
        });
    }

    /// Wakes those who wait for the end, too.
    pub(crate) fn wake_all(&mut self) {
        self.wake_those_who_wait(Whom {
            progress: true,
            end: true,
            ..self.whom
        });
    }

    fn wake_those_who_wait(&mut self, whom: Whom) {
        if self.waiting.is_some() {
            (self.due, self.whom) = (true, whom);
        }
    }

    /// Whether anybody is to be woken, or anything dropped.
    #[inline]
    pub(crate) fn are_due(&self) -> bool {
        self.due
    }

    /// Takes out whoever is to be woken, and what is to be dropped.
    pub(crate) fn take_due(&mut self) -> Due {
        self.due = false;
        let whom = std::mem::take(&mut self.whom);
        Due {
            driver: whom.driver.then(|| self.driver.clone()).flatten(),
            receiver: whom.receiver.then(|| self.receiver.take()).flatten(),
            waiting: match &mut self.waiting {
                Some(waiting) if whom.progress || whom.end => waiting
                    .iter_mut()
                    .filter(|(_, seat)| whom.waits_for(seat.awaited))
                    .filter_map(|(_, seat)| seat.waker.take())
                    .collect(),
                _ => Vec::new(),
            },
            _replaced: self.replaced.take(),
        }
    }
}

/// Wakers that were taken out of a connection.
pub(crate) struct Due {
    driver: Option<Waker>,
    receiver: Option<Waker>,
    waiting: Vec<Waker>,
    _replaced: Replaced,
}

impl Due {
    /// Wakes them. The connection must not be locked by the caller.
    pub(crate) fn wake(self) {
        let first = [self.driver, self.receiver];
        let all = first.into_iter().flatten().chain(self.waiting);
        all.for_each(Waker::wake);
    }
}

/// Puts the task's waker in place, unless the one that is there wakes the same task. Tells whether
/// another was replaced.
fn register(waker: &mut Option<Waker>, replaced: &mut Replaced, cx: &Context<'_>) -> bool {
    if waker.as_ref().is_some_and(|it| it.will_wake(cx.waker())) {
        return false;
    }
    let before = waker.replace(cx.waker().clone());
    let is_replaced = before.is_some();
    if let Some(before) = before {
        replaced.get_or_insert_default().push(before);
    }
    is_replaced
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A task that counts how often it was woken.
    struct Task(Arc<Counter>, Waker);

    impl Task {
        fn new() -> Self {
            let counter = Arc::<Counter>::default();
            Self(counter.clone(), counter.into())
        }

        fn cx(&self) -> Context<'_> {
            Context::from_waker(&self.1)
        }

        fn woken(&self) -> usize {
            self.0.0.swap(0, Ordering::Relaxed)
        }

        /// Wakers of this task that are kept somewhere.
        fn kept(&self) -> usize {
            Arc::strong_count(&self.0) - 2
        }
    }

    #[test]
    fn driver_is_woken_once_until_it_sleeps_again() {
        let (mut wakers, task) = (Wakers::default(), Task::new());
        wakers.call_driver();
        assert!(!wakers.are_due(), "it is awake at first");
        assert!(!wakers.end_turn(&task.cx()), "it was called");
        wakers.answer_call();
        assert!(wakers.end_turn(&task.cx()), "it has seen the call");
        assert!(wakers.driver_is_asleep());
        wakers.call_driver();
        wakers.call_driver();
        wakers.take_due().wake();
        assert_eq!(task.woken(), 1);
        wakers.begin_turn();
        assert!(!wakers.end_turn(&task.cx()), "the call was not answered");
        wakers.call_driver();
        assert!(!wakers.are_due(), "it is awake");
    }

    #[test]
    fn driver_in_another_task_is_woken_there() {
        let (mut wakers, first, second) = (Wakers::default(), Task::new(), Task::new());
        for task in [&first, &second] {
            wakers.answer_call();
            assert!(wakers.end_turn(&task.cx()));
        }
        wakers.call_driver();
        wakers.take_due().wake();
        assert_eq!((first.woken(), second.woken()), (0, 1));
        assert_eq!((first.kept(), second.kept()), (0, 1));
    }

    #[test]
    fn receiver_is_woken_once() {
        let (mut wakers, task) = (Wakers::default(), Task::new());
        wakers.wake_receiver();
        assert!(!wakers.are_due(), "nobody receives");
        wakers.wait_to_receive(&task.cx());
        wakers.wake_receiver();
        wakers.take_due().wake();
        wakers.wake_receiver();
        wakers.take_due().wake();
        assert_eq!((task.woken(), task.kept()), (1, 0));
    }

    #[test]
    fn all_who_wait_are_woken_and_leave_nothing_behind() {
        let mut wakers = Wakers::default();
        let tasks: Vec<_> = (0..3).map(|_| Task::new()).collect();
        let mut seats = [None; 6];
        for (seat, task) in seats.iter_mut().zip(tasks.iter().cycle()) {
            wakers.wait(Awaited::Progress, seat, &task.cx());
        }
        wakers.wake_waiting();
        wakers.take_due().wake();
        assert!(
            tasks.iter().all(|task| task.woken() == 2),
            "two futures each"
        );
        wakers.wait(Awaited::Progress, &mut seats[0], &tasks[0].cx());
        wakers.wake_waiting();
        wakers.take_due().wake();
        let woken: Vec<_> = tasks.iter().map(Task::woken).collect();
        assert_eq!(woken, [1, 0, 0], "only one has asked again");
        for seat in &mut seats {
            wakers.leave(seat);
        }
        assert!(wakers.waiting.is_none());
        wakers.wake_waiting();
        assert!(!wakers.are_due());
    }

    #[test]
    fn those_who_wait_for_the_end_are_woken_by_the_end_alone() {
        let (mut wakers, task, other) = (Wakers::default(), Task::new(), Task::new());
        let (mut first, mut second) = (None, None);
        wakers.wait(Awaited::End, &mut first, &task.cx());
        wakers.wait(Awaited::Progress, &mut second, &other.cx());
        wakers.wake_waiting();
        wakers.take_due().wake();
        assert_eq!((task.woken(), other.woken()), (0, 1));
        wakers.wait(Awaited::Progress, &mut second, &other.cx());
        wakers.wake_all();
        wakers.wake_waiting();
        wakers.take_due().wake();
        assert_eq!((task.woken(), other.woken()), (1, 1));
    }

    #[test]
    fn futures_that_are_dropped_leave_no_waker() {
        let (mut wakers, task) = (Wakers::default(), Task::new());
        for _ in 0..1000 {
            let mut seat = None;
            wakers.wait(Awaited::Progress, &mut seat, &task.cx());
            wakers.leave(&mut seat);
            assert_eq!(seat, None);
        }
        wakers.take_due().wake();
        assert_eq!((task.woken(), task.kept()), (0, 0));
    }

    #[test]
    fn one_that_has_left_is_not_woken_and_its_seat_is_not_anothers() {
        let (mut wakers, task, other) = (Wakers::default(), Task::new(), Task::new());
        let (mut seat, mut others) = (None, None);
        wakers.wait(Awaited::Progress, &mut seat, &task.cx());
        wakers.leave(&mut seat);
        wakers.wait(Awaited::Progress, &mut others, &other.cx());
        // Whoever has left may leave again.
        wakers.leave(&mut seat);
        wakers.wake_waiting();
        wakers.take_due().wake();
        assert_eq!((task.woken(), other.woken()), (0, 1));
    }

    #[test]
    fn wakers_that_are_replaced_are_kept_until_they_are_taken_out() {
        let (mut wakers, first, second) = (Wakers::default(), Task::new(), Task::new());
        wakers.wait_to_receive(&first.cx());
        wakers.wait_to_receive(&second.cx());
        assert_eq!(first.kept(), 1, "dropping it is for whoever unlocks");
        assert!(wakers.are_due());
        wakers.take_due().wake();
        assert_eq!((first.kept(), first.woken()), (0, 0));
        assert_eq!((second.kept(), second.woken()), (1, 0));
    }
}
