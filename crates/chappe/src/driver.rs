//! Moves the bytes of one connection: between its stream and what its handles hold.
//!
//! It wakes for bytes, for room to write, for something to send, for a deadline, and decides
//! nothing: that is the protocol's. A poll of its task is one or more turns, up to a bound of work. A
//! turn goes:
//!
//! ```text
//!   read, lend ─► handler, until it waits ─► settle what it left of the input ─► write all that
//!       ▲                                                                        is queued
//!       └──────────────────────────── keep the deadline ◄─────────────────────────────┘
//! ```
//!
//! So what a handler sends while it has input leaves in one write, when it waits for anything.
//! Where there is no handler in the task, the input is settled at once.
//!
//! The driver does not take part in tokio's cooperative budget, which is the handler's: a stream or a
//! timer that is pending only because the budget is spent would look like one that is full, or be
//! forgotten. It has a bound of its own, in bytes.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use chappe_proto::{CloseCode, PartialMessage};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::task::coop::unconstrained;

use crate::buffer;
use crate::deadline::Deadline;
use crate::error::{BoxError, CloseError, Ended, SendError};
use crate::link::Wanted;
use crate::outbox::{Outbox, SLICES_MAX};
use crate::shared::Shared;

/// Drives a connection whose handles live in other tasks, until its stream is dropped.
pub(crate) fn drive<S>(mut driver: Driver<S>) -> impl Future<Output = ()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    unconstrained(poll_fn(move |cx| {
        driver.begin_poll(cx);
        loop {
            match driver.poll_turn(cx) {
                Turn::Lent => {}
                Turn::Idle => return Poll::Pending,
                Turn::Over => return Poll::Ready(()),
            }
        }
    }))
}

/// Drives a connection together with its handler, in one task, until both are done.
///
/// The handler's end closes the connection: with 1000, or with 1011 if it failed or panicked.
///
/// The handler is boxed, and no future here is an `async` one: such a future has room for what
/// it was given beside the room for what it does with it, and the task would keep both (for an
/// echo, 1,384 bytes in all; so it is 808).
pub(crate) fn drive_with_handler<S, F>(
    driver: Driver<S>,
    start: impl FnOnce() -> F,
) -> impl Future<Output = Ended> + Unpin
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Result<(), BoxError>>,
{
    let shared = driver.shared.clone();
    // The handler counts as a handle, so that its own are not the last when it is done.
    shared.lock().add_handle();
    let mut driver = Some(driver);
    // A panic ends this connection with a close frame, like an error, and no other connection.
    let mut handler = catch_unwind(AssertUnwindSafe(start)).ok().map(Box::pin);
    if handler.is_none() {
        end_handler(&shared, Err(Panicked));
    }
    poll_fn(move |cx| {
        if let Some(driver) = &mut driver {
            without_budget(cx, |cx| driver.begin_poll(cx));
        }
        loop {
            if let Some(running) = &mut handler
                && let Poll::Ready(result) = poll_handler(running.as_mut(), cx)
            {
                end_handler(&shared, result);
                handler = None;
            }
            let turn = driver
                .as_mut()
                .map(|driver| without_budget(cx, |cx| driver.poll_turn(cx)));
            match turn {
                Some(Turn::Lent) => {}
                // The stream goes at once; the handler sees the end and may still have work.
                Some(Turn::Over) => driver = None,
                Some(Turn::Idle) => return Poll::Pending,
                None if handler.is_some() => return Poll::Pending,
                None => {
                    let ended = shared.lock().ended().cloned();
                    return Poll::Ready(
                        ended.expect("a connection whose driver is gone has ended"),
                    );
                }
            }
        }
    })
}

/// Calls `act` outside of the task's cooperative budget.
fn without_budget<R>(cx: &mut Context<'_>, act: impl FnOnce(&mut Context<'_>) -> R) -> R {
    let mut act = Some(act);
    let once = poll_fn(|cx| match act.take() {
        Some(act) => Poll::Ready(act(cx)),
        None => Poll::Pending,
    });
    match pin!(unconstrained(once)).poll(cx) {
        Poll::Ready(result) => result,
        Poll::Pending => unreachable!("it acts at once"),
    }
}

/// A handler that did not come to its end.
struct Panicked;

/// Polls the handler, whose panics are caught.
fn poll_handler<F>(
    handler: Pin<&mut F>,
    cx: &mut Context<'_>,
) -> Poll<Result<Result<(), BoxError>, Panicked>>
where
    F: Future<Output = Result<(), BoxError>>,
{
    match catch_unwind(AssertUnwindSafe(|| handler.poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(_) => Poll::Ready(Err(Panicked)),
    }
}

/// Closes the connection whose handler is done, unless it is closed already.
fn end_handler(shared: &Shared, result: Result<Result<(), BoxError>, Panicked>) {
    // The lock is not held while the error, which is the user's, is shown or dropped.
    let can_send = shared.lock().can_send();
    let code = match result {
        Ok(Ok(())) => CloseCode::NORMAL,
        // The end of its own connection, passed on, is no failure of the handler.
        Ok(Err(error)) if !can_send && is_end(&error) => CloseCode::NORMAL,
        Ok(Err(error)) => {
            tracing::warn!(error, "handler failed; its connection is closed with 1011");
            CloseCode::INTERNAL_ERROR
        }
        Err(Panicked) => {
            tracing::error!("handler panicked; its connection is closed with 1011");
            CloseCode::INTERNAL_ERROR
        }
    };
    let result = shared.lock().close(code, "");
    result.expect("1000 and 1011 may be sent");
}

/// Whether an error says that some connection has ended.
fn is_end(error: &BoxError) -> bool {
    error.is::<Ended>()
        || error.is::<SendError>()
        || error.is::<SendError<()>>()
        || error.is::<CloseError>()
}

/// What a turn came to.
enum Turn {
    /// What was read is lent to the handles: they have their turn.
    Lent,
    /// There is nothing to do; the task will be woken.
    Idle,
    /// The connection is over: the stream is to be dropped.
    Over,
}

/// The stream, and what moves its bytes.
#[derive(Debug)]
pub(crate) struct Driver<S> {
    stream: S,
    shared: Arc<Shared>,
    /// How many bytes the stream has taken that have not reached the peer.
    unsent_bytes: fn(&S) -> usize,
    /// What is being written. What is sent meanwhile waits in the shared outbox.
    sending: Outbox,
    writing: Writing,
    reading: Reading,
    /// What was read and written in this poll of the task, in bytes as [`WORK_BYTES_MAX`] counts.
    work: u32,
    deadline: Deadline,
}

/// The state of the stream's reading side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// There may be something to read.
    Open,
    /// There was nothing in this poll of the task, which the stream wakes when there is.
    Waiting,
    /// It has ended, or is broken.
    Over,
}

impl Reading {
    /// Lets the stream be asked again.
    fn open(&mut self) {
        if *self == Self::Waiting {
            *self = Self::Open;
        }
    }
}

/// The state of the stream's writing side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    /// All that was written has left.
    Flushed,
    /// Something was written that the stream may hold back until it is flushed.
    Unflushed,
    /// The stream is full.
    Blocked,
    /// It is shut down: all that was written has left.
    ShutDown,
    /// It is broken.
    Broken,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    /// A driver for a stream that may tell how many bytes it has taken that have not reached the peer.
    pub(crate) fn new(stream: S, shared: Arc<Shared>, unsent_bytes: fn(&S) -> usize) -> Self {
        Self {
            stream,
            shared,
            unsent_bytes,
            sending: Outbox::default(),
            writing: Writing::Flushed,
            reading: Reading::Open,
            work: 0,
            deadline: Deadline::new(),
        }
    }

    /// Begins a poll of the task: with what is behind, and with what there is to read.
    fn begin_poll(&mut self, cx: &mut Context<'_>) {
        self.work = 0;
        self.reading.open();
        let wanted = self.shared.lock().begin_turn();
        if !self.sending.is_empty() {
            let _ = self.poll_write(cx, false);
            let (unwritten, is_flushed) = (self.sending.len(), self.is_flushed());
            self.shared.lock().handle_written(unwritten, is_flushed);
        }
        let _ = self.poll_read(cx, wanted);
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Turn {
        loop {
            let behind = !self.sending.is_empty();
            let mut shared = self.shared.lock();
            shared.settle_input();
            let over = shared.poll_transmit(&mut self.sending);
            let mut written = Poll::Ready(());
            if over || !self.sending.is_empty() || self.writing != Writing::Flushed {
                drop(shared);
                written = self.poll_write(cx, over);
                shared = self.shared.lock();
            }
            shared.handle_written(self.sending.len(), self.is_flushed());
            if shared.wants_write_progress() {
                drop(shared);
                let unsent = self.unsent();
                shared = self.shared.lock();
                shared.handle_write_progress(unsent);
            }
            shared.wake_receiver();
            if shared.is_cut_off(self.sending.held_bytes()) {
                return Turn::Over;
            }
            if !shared.hold(self.sending.held_bytes()) {
                let memory = shared.share().memory().clone();
                drop(shared);
                memory.relieve();
                continue;
            }
            let is_spent = self.work as usize >= WORK_BYTES_MAX;
            // What was queued while the stream was full comes next.
            let has_more = behind && written.is_ready();
            if has_more && !is_spent {
                continue;
            }
            let deadline = shared.poll_timeout();
            let is_written = written.is_ready() && !has_more;
            if shared.is_finished() && (is_written || deadline.is_none()) {
                return Turn::Over;
            }
            let asleep = shared.sleep(cx);
            let (wanted, epoch) = (shared.wanted(), shared.epoch());
            drop(shared);
            if self.deadline.poll(cx, deadline, epoch).is_ready() {
                // What it is for may have arrived in time.
                self.reading.open();
                if self.deadline.may_read() && self.poll_read(cx, wanted).is_ready() {
                    return Turn::Lent;
                }
                self.deadline.reset();
                let unsent = self.unsent();
                self.shared.lock().handle_deadline(unsent);
                continue;
            }
            if is_spent {
                yield_now(cx);
                return Turn::Idle;
            }
            if self.poll_read(cx, wanted).is_ready() {
                return Turn::Lent;
            }
            if asleep {
                return Turn::Idle;
            }
        }
    }

    fn add_work(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.work = self.work.saturating_add(bytes);
    }

    /// Bytes that were taken from the outbox and have not reached the peer, as far as is known.
    fn unsent(&self) -> usize {
        self.sending.len() + (self.unsent_bytes)(&self.stream)
    }

    /// Whether the stream holds back nothing of what it has taken.
    fn is_flushed(&self) -> bool {
        matches!(self.writing, Writing::Flushed | Writing::ShutDown)
    }

    /// Ready when there is nothing to be written, or no way to. `over`: nothing comes behind it.
    fn poll_write(&mut self, cx: &mut Context<'_>, over: bool) -> Poll<()> {
        if matches!(self.writing, Writing::ShutDown | Writing::Broken) {
            self.discard();
            return Poll::Ready(());
        }
        match ready!(self.poll_write_all(cx)) {
            Ok(()) if over => {
                // What can go wrong here has gone wrong on the other side too.
                let _ = ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
                self.writing = Writing::ShutDown;
            }
            Ok(()) => {}
            Err(error) => {
                self.writing = Writing::Broken;
                self.shared.lock().handle_write_error(error);
                self.discard();
            }
        }
        Poll::Ready(())
    }

    /// Drops what can't be written.
    fn discard(&mut self) {
        self.sending.clear();
        let outbox = self.shared.lock().take_unwritable();
        drop(outbox);
    }

    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.sending.is_empty() {
            if self.work as usize >= WORK_BYTES_MAX {
                yield_now(cx);
                return Poll::Pending;
            }
            let written = match self.poll_write_some(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(result) => result?,
                Poll::Pending => {
                    self.writing = Writing::Blocked;
                    return Poll::Pending;
                }
            };
            self.add_work(written);
            self.sending.advance(written);
            self.writing = Writing::Unflushed;
        }
        if self.writing == Writing::Unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.writing = Writing::Flushed;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_some(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if !self.stream.is_write_vectored() {
            self.sending.join();
        }
        if let Some(piece) = self.sending.in_one_piece() {
            return Pin::new(&mut self.stream).poll_write(cx, piece);
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let used = self.sending.slices(&mut slices);
        Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..used])
    }

    /// Ready when there is input, or the stream has ended.
    fn poll_read(&mut self, cx: &mut Context<'_>, wanted: Wanted) -> Poll<()> {
        if self.reading != Reading::Open || wanted == Wanted::Nothing {
            return Poll::Pending;
        }
        if wanted == Wanted::Rest {
            let partial = self.shared.lock().lend_partial();
            if let Some(partial) = partial {
                return self.poll_read_rest(cx, partial);
            }
        }
        let mut buffer = buffer::take_read_buffer();
        let room = match wanted {
            Wanted::More(room) => room.min(buffer.len()),
            _ => buffer.len(),
        };
        let mut filled = ReadBuf::new(&mut buffer[..room]);
        let result = Pin::new(&mut self.stream).poll_read(cx, &mut filled);
        let length = filled.filled().len();
        if let Poll::Ready(Ok(())) = result
            && length > 0
        {
            // It may be of many messages, each of which takes its time too.
            self.add_work(READ_BYTES_MIN.max(4 * length));
            self.shared.lock().take_input(buffer, length);
            return Poll::Ready(());
        }
        buffer::return_read_buffer(buffer);
        self.handle_nothing_read(result)
    }

    /// Reads straight into a message in progress.
    fn poll_read_rest(&mut self, cx: &mut Context<'_>, mut partial: PartialMessage) -> Poll<()> {
        let stream = &mut self.stream;
        // What this future has read, it gives at once: it holds nothing between two polls.
        let result = partial.fill(|room| pin!(stream.read_buf(room)).poll(cx));
        let was_read = matches!(result, Poll::Ready(Ok(1..)));
        self.shared.lock().return_partial(partial, was_read);
        if let Poll::Ready(Ok(length @ 1..)) = result {
            self.add_work(READ_BYTES_MIN.max(length));
            return Poll::Ready(());
        }
        self.handle_nothing_read(result.map_ok(drop))
    }

    fn handle_nothing_read(&mut self, result: Poll<io::Result<()>>) -> Poll<()> {
        let Poll::Ready(result) = result else {
            self.reading = Reading::Waiting;
            return Poll::Pending;
        };
        self.reading = Reading::Over;
        let mut shared = self.shared.lock();
        match result {
            Ok(()) => shared.handle_eof(),
            Err(error) => shared.handle_read_error(Some(error)),
        }
        Poll::Ready(())
    }
}

impl<S> Drop for Driver<S> {
    /// Where the task is dropped before the connection is over, the handles have to know.
    fn drop(&mut self) {
        let outbox = self.shared.lock().abandon();
        drop(outbox);
    }
}

/// Schedules another poll of the task, after others and after the runtime has looked at its sockets.
fn yield_now(cx: &mut Context<'_>) {
    let _ = pin!(tokio::task::yield_now()).poll(cx);
}

/// Bytes that are written or read straight into a message, in one poll of the task; of other bytes
/// that are read, which may be of thousands of messages, a quarter. Then others have their turn.
const WORK_BYTES_MAX: usize = 256 * 1024;

/// What a read of less counts as, so that there are no more than 128 in one poll.
const READ_BYTES_MIN: usize = WORK_BYTES_MAX / 128;
