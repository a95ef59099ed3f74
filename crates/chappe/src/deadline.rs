//! The deadline of one connection, and what has to be seen before anybody is blamed for missing it.
//!
//! Whoever was stopped, or did not get the processor, finds that deadlines have passed. What the peer
//! did in time may lie in a socket then that the runtime has not looked at. So a deadline is over only
//! after the runtime had a chance to look, and after the stream was read.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use chappe_proto::Time;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, Sleep};

/// One timer for all deadlines of a connection: the nearest.
#[derive(Debug)]
pub(crate) struct Deadline {
    timer: Pin<Box<Sleep>>,
    /// When the timer goes off, unless it has. Mostly before the deadline, as that moves away.
    armed: Option<Time>,
    /// The runtime's look at its sockets, since the deadline has passed.
    look: Option<Arc<Look>>,
}

impl Deadline {
    pub(crate) fn new() -> Self {
        Self {
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            armed: None,
            look: None,
        }
    }

    /// Ready when the deadline, which counts from `epoch`, has passed and the runtime has looked at its
    /// sockets since. The task is woken when to ask again.
    ///
    /// It must be asked in each turn, and not within a task's cooperative budget: where that is spent, a
    /// timer registers nobody.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        deadline: Option<Time>,
        epoch: Instant,
    ) -> Poll<()> {
        let Some(deadline) = deadline else {
            self.reset();
            return Poll::Pending;
        };
        // One that goes off early is set again then.
        if self.armed.is_none_or(|armed| deadline < armed) {
            self.arm(deadline, epoch);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if deadline <= Time::ZERO + epoch.elapsed() {
                return self.poll_look(cx);
            }
            self.reset();
            self.arm(deadline, epoch);
        }
        self.look = None;
        Poll::Pending
    }

    /// Whether the stream may be read once more before the deadline is kept. That ends: a peer that
    /// sends without end gains no more than some 8 MiB, which is more than a socket holds.
    pub(crate) fn may_read(&self) -> bool {
        let reads = self.look.as_ref().map(|look| &look.reads);
        reads.is_some_and(|reads| reads.fetch_add(1, Ordering::Relaxed) < READS_MAX)
    }

    /// The deadline that has passed was kept.
    pub(crate) fn reset(&mut self) {
        self.armed = None;
        self.look = None;
    }

    fn arm(&mut self, deadline: Time, epoch: Instant) {
        let at = epoch.checked_add(deadline - Time::ZERO);
        let never = || Instant::now() + NEVER;
        self.timer.as_mut().reset(at.unwrap_or_else(never));
        self.armed = Some(deadline);
    }

    fn poll_look(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.look {
            Some(look) if look.is_done() => Poll::Ready(()),
            Some(look) if look.waker.will_wake(cx.waker()) => Poll::Pending,
            _ => {
                self.look = Some(Look::begin(cx));
                Poll::Pending
            }
        }
    }
}

/// Reads while a deadline that has passed waits for what they find.
const READS_MAX: u8 = 128;

/// Further than anybody waits, and near enough for any clock.
const NEVER: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);

/// The runtime looks at its sockets.
#[derive(Debug)]
struct Look {
    done: AtomicBool,
    /// How often the stream was read since.
    reads: AtomicU8,
    /// Of the task that waits for it.
    waker: Waker,
}

impl Look {
    fn begin(cx: &Context<'_>) -> Arc<Self> {
        let look = Arc::new(Self {
            done: AtomicBool::new(false),
            reads: AtomicU8::new(0),
            waker: cx.waker().clone(),
        });
        // The runtime wakes whoever yields once it has looked. The task may be woken by others before:
        // so it is not this task that yields.
        let waker = Waker::from(look.clone());
        let _ = pin!(tokio::task::yield_now()).poll(&mut Context::from_waker(&waker));
        look
    }

    fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }
}

impl Wake for Look {
    fn wake(self: Arc<Self>) {
        self.done.store(true, Ordering::Release);
        self.waker.wake_by_ref();
    }
}

/// As tokio's `timeout`, but what is ready after the runtime has looked at its sockets was in time.
pub(crate) async fn timeout<F: Future>(after: Duration, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    let mut elapsed = match tokio::time::timeout(after, future.as_mut()).await {
        Ok(output) => return Ok(output),
        Err(elapsed) => Some(elapsed),
    };
    let mut look = None;
    poll_fn(|cx| {
        let has_looked = look.get_or_insert_with(|| Look::begin(cx)).is_done();
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending if has_looked => {
                Poll::Ready(Err(elapsed.take().expect("it is asked once")))
            }
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    /// Waits for the deadline as a driver does.
    async fn wait(timer: &mut Deadline, deadline: Time, epoch: Instant) -> Duration {
        poll_fn(|cx| timer.poll(cx, Some(deadline), epoch)).await;
        epoch.elapsed()
    }

    fn after(millis: u64) -> Time {
        Time::ZERO + Duration::from_millis(millis)
    }

    #[tokio::test(start_paused = true)]
    async fn deadlines_pass_when_they_are_due() {
        let (mut timer, epoch) = (Deadline::new(), Instant::now());
        for millis in [20, 50, 50, 40, 90] {
            let due = wait(&mut timer, after(millis), epoch).await;
            assert!(due >= Duration::from_millis(millis), "{due:?}");
            assert!(due <= Duration::from_millis(millis.max(50) + 2), "{due:?}");
            timer.reset();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moves_is_kept_where_it_is_at_last() {
        let (mut timer, epoch) = (Deadline::new(), Instant::now());
        poll_fn(|cx| {
            for millis in [100, 300, 40] {
                assert!(timer.poll(cx, Some(after(millis)), epoch).is_pending());
            }
            Poll::Ready(())
        })
        .await;
        let due = wait(&mut timer, after(200), epoch).await;
        assert_eq!(due.as_millis() / 10, 20);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_deadline_nothing_is_due() {
        let (mut timer, epoch) = (Deadline::new(), Instant::now());
        let never = poll_fn(|cx| timer.poll(cx, None, epoch));
        let waited = tokio::time::timeout(Duration::from_secs(60), never).await;
        assert!(waited.is_err());
        let far = Time::from_nanos(u64::MAX);
        let waited = tokio::time::timeout(Duration::from_secs(60), wait(&mut timer, far, epoch));
        assert!(waited.await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_has_spent_its_budget_is_woken_all_the_same() {
        let (mut timer, epoch) = (Deadline::new(), Instant::now());
        let waiting = tokio::spawn(async move {
            while tokio::task::coop::has_budget_remaining() {
                tokio::task::coop::consume_budget().await;
            }
            let poll = poll_fn(|cx| timer.poll(cx, Some(after(30)), epoch));
            tokio::task::coop::unconstrained(poll).await;
            epoch.elapsed()
        });
        let waited = tokio::time::timeout(Duration::from_secs(9), waiting).await;
        let due = waited.expect("it is woken").unwrap();
        assert!(due < Duration::from_millis(40), "{due:?}");
    }

    #[tokio::test]
    async fn what_happened_while_the_thread_stood_still_was_in_time() {
        let (near, mut far) = tokio::net::UnixStream::pair().unwrap();
        // Its readiness is known: there is nothing.
        assert!(near.try_read(&mut [0; 1]).is_err());
        let read = async {
            near.readable().await.unwrap();
            near.try_read(&mut [0; 1]).unwrap()
        };
        let stand_still = async {
            tokio::io::AsyncWriteExt::write_all(&mut far, b"!")
                .await
                .unwrap();
            std::thread::sleep(Duration::from_millis(60));
        };
        let (read, ()) = tokio::join!(timeout(Duration::from_millis(20), read), stand_still);
        assert_eq!(read.expect("it was there in time"), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_happen_in_time_is_given_up() {
        let begin = Instant::now();
        let result = timeout(Duration::from_millis(20), pending::<()>()).await;
        assert!(result.is_err());
        assert!(begin.elapsed() < Duration::from_millis(30));
        let done = timeout(Duration::ZERO, async { 7 }).await;
        assert_eq!(done, Ok(7));
    }
}
