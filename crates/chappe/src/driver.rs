//! Moves the bytes of one connection: between its stream and what its handles hold.
//!
//! It wakes for bytes, for room to write, for something to send, for a deadline, and decides
//! nothing: that is the protocol's. A turn goes:
//!
//! ```text
//!   read, lend ─► handler, until it waits ─► settle what it left of the input ─► write all that
//!       ▲                                                                        is queued
//!       └──────────────────────────── keep the deadline ◄─────────────────────────────┘
//! ```
//!
//! So what a handler sends while it has input leaves in one write, when it waits for anything.
//! Where there is no handler in the task, the input is settled at once.

use std::future::Future;
use std::io::{self, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use chappe_proto::{CloseCode, PartialMessage, Time};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::budget::Share;
use crate::buffer;
use crate::error::{BoxError, CloseError, Ended, SendError};
use crate::outbox::{Outbox, SLICES_MAX};
use crate::shared::{Shared, Wanted};

/// Drives a connection whose handles live in other tasks, until its stream is dropped.
pub(crate) fn drive<S>(mut driver: Driver<S>) -> impl Future<Output = ()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    std::future::poll_fn(move |cx| {
        driver.poll_begin(cx);
        loop {
            match driver.poll_turn(cx, Company::Alone) {
                Turn::Lent => {}
                Turn::Idle => return Poll::Pending,
                Turn::Over => return Poll::Ready(()),
            }
        }
    })
}

/// Drives a connection together with its handler, in one task, until both are done.
///
/// The handler's end closes the connection: with 1000, or with 1011 if it failed or panicked.
///
/// The handler is in a box, and no future here is an `async` one: such a future has room for what
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
    std::future::poll_fn(move |cx| {
        if let Some(driver) = &mut driver {
            driver.poll_begin(cx);
        }
        loop {
            let mut company = Company::Alone;
            if let Some(running) = &mut handler {
                if let Poll::Ready(result) = poll_handler(running.as_mut(), cx) {
                    end_handler(&shared, result);
                    handler = None;
                } else {
                    company = Company::Handler;
                }
            }
            match driver.as_mut().map(|driver| driver.poll_turn(cx, company)) {
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
    let is_open = shared.lock().is_open();
    let code = match result {
        Ok(Ok(())) => CloseCode::NORMAL,
        // The end of its own connection, passed on, is no failure of the handler.
        Ok(Err(error)) if !is_open && is_end(&error) => CloseCode::NORMAL,
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

/// Who is in the driver's task.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Company {
    /// Nobody, or a handler that is done.
    Alone,
    /// A handler, which waits for something.
    Handler,
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
    /// The connection's part of the memory that there is for all.
    share: Share,
    /// What is being written. What is sent meanwhile waits in the shared outbox.
    sending: Outbox,
    writing: Writing,
    reading: Reading,
    /// Whether the stream took bytes only after it had been full, since the last deadline.
    crawled: bool,
    /// One timer for all deadlines: the nearest.
    timer: Pin<Box<Sleep>>,
    /// When the timer goes off, unless it has.
    armed: Option<Time>,
    /// Whether it will wake the task then.
    watched: bool,
    /// How often in a row the turn was put off until the handler was asked again.
    postponed: u8,
    /// Reads since a deadline has passed that is not handled.
    looks: u8,
}

/// The state of the stream's reading side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// There may be something to read.
    Open,
    /// There was nothing since the task was woken: the stream wakes it again when there is.
    Waiting,
    /// It has ended, or is broken.
    Over,
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
    /// It is shut down, or broken.
    Over,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    pub(crate) fn new(stream: S, shared: Arc<Shared>, share: Share) -> Self {
        let timer = Box::pin(tokio::time::sleep(Duration::ZERO));
        Self {
            stream,
            shared,
            share,
            sending: Outbox::default(),
            writing: Writing::Flushed,
            reading: Reading::Open,
            crawled: false,
            timer,
            armed: None,
            watched: false,
            postponed: 0,
            looks: 0,
        }
    }

    /// Begins a turn, after the task was woken: with what is behind, and with what was read. What
    /// comes next may spend all that the runtime lets one task do at a time.
    fn poll_begin(&mut self, cx: &mut Context<'_>) {
        // It may be the stream that has woken the task, and does so once.
        self.open_reading();
        if (1..POSTPONED_MAX).contains(&self.postponed) {
            return;
        }
        self.postponed = 0;
        let wanted = self.shared.lock().begin_turn();
        if !self.sending.is_empty() {
            let _ = self.poll_write(cx, false);
        }
        let _ = self.poll_read(cx, wanted);
    }

    /// Has the stream asked again.
    fn open_reading(&mut self) {
        if self.reading == Reading::Waiting {
            self.reading = Reading::Open;
        }
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>, company: Company) -> Turn {
        loop {
            let behind = !self.sending.is_empty();
            let mut shared = self.shared.lock();
            if company == Company::Handler && shared.postpone_turn() {
                drop(shared);
                self.postponed += 1;
                cx.waker().wake_by_ref();
                return Turn::Idle;
            }
            self.postponed = 0;
            shared.settle_input();
            let over = shared.poll_transmit(&mut self.sending);
            let mut written = Poll::Ready(());
            if over || !self.sending.is_empty() || self.writing != Writing::Flushed {
                drop(shared);
                written = self.poll_write(cx, over);
                shared = self.shared.lock();
            }
            let held_back = matches!(self.writing, Writing::Unflushed | Writing::Blocked);
            shared.handle_written(self.sending.len(), held_back);
            shared.wake_receiver();
            let held = shared.held_bytes() + self.sending.held_bytes();
            if !self.share.hold(held) && shared.is_open() {
                shared.shed();
                continue;
            }
            if behind && written.is_ready() {
                // What was queued while the stream was full comes next.
                continue;
            }
            let deadline = shared.poll_timeout();
            if shared.connection().is_finished() && (written.is_ready() || deadline.is_none()) {
                return Turn::Over;
            }
            let asleep = shared.sleep(cx);
            let wanted = shared.wanted();
            drop(shared);
            if asleep.moved {
                // Timer and stream would wake the task that it was in before.
                self.watched = false;
                self.open_reading();
            }
            if self.poll_deadline(cx, deadline).is_ready() {
                // Where this is late, what the deadline is for may have arrived in time.
                if self.looks < LOOKS_MAX && self.poll_read(cx, wanted).is_ready() {
                    self.looks += 1;
                    return Turn::Lent;
                }
                self.handle_deadline();
                continue;
            }
            self.looks = 0;
            if self.poll_read(cx, wanted).is_ready() {
                return Turn::Lent;
            }
            if !asleep.called {
                return Turn::Idle;
            }
        }
    }

    /// Ready when there is nothing to be written, or no way to. `over`: nothing comes behind it.
    fn poll_write(&mut self, cx: &mut Context<'_>, over: bool) -> Poll<()> {
        if self.writing == Writing::Over {
            self.sending.clear();
            self.shared.lock().discard_outbox();
            return Poll::Ready(());
        }
        match ready!(self.poll_write_all(cx)) {
            Ok(()) if over => {
                // What can go wrong here has gone wrong on the other side too.
                let _ = ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
                self.writing = Writing::Over;
            }
            Ok(()) => {}
            Err(error) => {
                self.writing = Writing::Over;
                self.sending.clear();
                self.shared.lock().handle_write_error(error);
            }
        }
        Poll::Ready(())
    }

    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.sending.is_empty() {
            let written = match self.poll_write_some(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(result) => result?,
                Poll::Pending => {
                    self.writing = Writing::Blocked;
                    return Poll::Pending;
                }
            };
            self.crawled |= self.writing == Writing::Blocked;
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

    /// Ready when the deadline has passed.
    fn poll_deadline(&mut self, cx: &mut Context<'_>, deadline: Option<Time>) -> Poll<()> {
        let Some(deadline) = deadline else {
            return Poll::Pending;
        };
        // A timer that goes off early is set again then: deadlines mostly move away.
        if self.armed.is_none_or(|armed| deadline < armed) {
            self.arm(deadline);
        }
        if self.watched && !self.timer.is_elapsed() {
            return Poll::Pending;
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if deadline <= self.shared.lock().read_clock() {
                self.armed = None;
                return Poll::Ready(());
            }
            self.arm(deadline);
        }
        self.watched = true;
        Poll::Pending
    }

    fn handle_deadline(&mut self) {
        self.looks = 0;
        let crawled = std::mem::take(&mut self.crawled);
        let blocked = self.writing == Writing::Blocked;
        self.shared.lock().handle_deadline(crawled, blocked);
    }

    fn arm(&mut self, deadline: Time) {
        let at = self.shared.lock().epoch() + (deadline - Time::ZERO);
        self.timer.as_mut().reset(at);
        self.armed = Some(deadline);
        self.watched = false;
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
        let mut filled = ReadBuf::new(&mut buffer);
        let result = Pin::new(&mut self.stream).poll_read(cx, &mut filled);
        let length = filled.filled().len();
        if let Poll::Ready(Ok(())) = result
            && length > 0
        {
            self.shared.lock().lend_input(buffer, length);
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
        if was_read {
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
        self.shared.lock().handle_eof(result.err());
        Poll::Ready(())
    }
}

impl<S> Drop for Driver<S> {
    /// Where the task is dropped before the connection is over, the handles have to know.
    fn drop(&mut self) {
        let mut shared = self.shared.lock();
        shared.handle_eof(None);
        shared.wake_receiver();
    }
}

/// A handler that yields again and again goes on in the same turn of the driver's; after so many
/// times another begins, which looks at the clock.
const POSTPONED_MAX: u8 = 16;

/// Reads that a deadline waits for while they find something: some 8 MiB, more than a socket
/// holds. A peer that sends without end gains no more.
const LOOKS_MAX: u8 = 128;
