//! What lies between the handles that a user holds and the driver that moves the bytes.
//!
//! ```text
//!   recv ◄── inbound ◄── input ◄──────────── driver ◄── stream
//!              decoded     read, not decoded
//!   send ──► outbox ───────────────────────► driver ──► stream
//! ```
//!
//! One lock guards it. Where handler and driver share a task nobody else takes it; elsewhere it
//! is held for the decoding or framing of one message, never across a system call of the driver's.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use chappe_proto::{CloseCode, Connection, Event, Message, PartialMessage, Payload, State, Time};
use tokio::time::Instant;

use crate::buffer;
use crate::error::{Ended, NotSent};
use crate::inbound::{Inbound, Input};
use crate::outbox::Outbox;
use crate::wakers::{Asleep, Wakers};

/// Payload bytes that are decoded before anybody asks for them, so that pings behind them are
/// answered while the handler waits for something else. A larger message counts once.
const INBOUND_BYTES_MAX: usize = 16 * 1024;

/// Where at least so much of a frame is missing, it is read straight into its message. A smaller
/// rest is copied there: the same read may bring what follows.
const PARTIAL_BYTES_MIN: usize = 32 * 1024;

#[derive(Debug)]
pub(crate) struct Shared {
    inner: Mutex<Inner>,
}

impl Shared {
    pub(crate) fn new(connection: Connection, epoch: Instant, outbox_bytes_max: usize) -> Self {
        Self {
            inner: Mutex::new(Inner::new(connection, epoch, outbox_bytes_max)),
        }
    }

    /// The state is consistent between any two statements that could panic, so a poisoned lock
    /// is as good as any.
    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are facts of different kinds, none excludes another"
)]
pub(crate) struct Inner {
    connection: Connection,
    epoch: Instant,
    /// The time when it was last needed.
    now: Time,
    input: Input,
    inbound: Inbound,
    outbox: Outbox,
    /// Bytes that the driver took from the outbox and has not written.
    unwritten: usize,
    /// Whether the stream may hold back some of what the driver took.
    unflushed: bool,
    outbox_bytes_max: usize,
    wakers: Wakers,
    /// Whether the last that a handle did was to take a message, since this was last looked at.
    took_message: bool,
    dropping_messages: bool,
    handles: usize,
    pongs: u32,
    ended: Option<Ended>,
    /// What went wrong first, until it is known how the connection ended.
    io_error: Option<io::Error>,
    /// When the connection is given up after writing has failed: what the peer sent before may
    /// still tell why.
    given_up: Option<Time>,
    /// Whether something that was sent can't have reached the peer.
    write_failed: bool,
}

/// What the driver may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Nothing,
    /// Whatever comes.
    Input,
    /// The rest of something that is incomplete.
    Rest,
}

impl Inner {
    fn new(connection: Connection, epoch: Instant, outbox_bytes_max: usize) -> Self {
        Self {
            connection,
            epoch,
            now: Time::ZERO,
            input: Input::Empty,
            inbound: Inbound::default(),
            outbox: Outbox::default(),
            unwritten: 0,
            unflushed: false,
            outbox_bytes_max,
            wakers: Wakers::default(),
            took_message: false,
            dropping_messages: false,
            handles: 0,
            pongs: 0,
            ended: None,
            io_error: None,
            given_up: None,
            write_failed: false,
        }
    }

    // What the handles call.

    /// The next message; `None` after a clean end.
    #[inline]
    pub(crate) fn poll_recv(&mut self, cx: &Context<'_>) -> Poll<Result<Option<Message>, Ended>> {
        if let Some(message) = self.next_message() {
            return Poll::Ready(Ok(Some(message)));
        }
        self.poll_ended(cx)
    }

    /// What there is to receive instead of a message: the end, if it has come.
    fn poll_ended(&mut self, cx: &Context<'_>) -> Poll<Result<Option<Message>, Ended>> {
        if let Some(ended) = &self.ended {
            return Poll::Ready(if ended.is_clean() {
                Ok(None)
            } else {
                Err(ended.clone())
            });
        }
        self.wakers.wait_to_receive(cx);
        Poll::Pending
    }

    /// Frames a message if there is room.
    #[inline]
    pub(crate) fn try_send(&mut self, message: Payload<'_>) -> Result<(), NotSent> {
        if !self.has_room() && self.is_open() {
            return Err(NotSent::Full);
        }
        self.send_now(message)
    }

    /// Frames a message, whether there is room or not.
    pub(crate) fn send_now(&mut self, message: Payload<'_>) -> Result<(), NotSent> {
        if self.write_failed || self.connection.send(message, &mut self.outbox).is_err() {
            return Err(NotSent::Closed(self.ended.clone()));
        }
        self.took_message = false;
        self.wakers.call_driver();
        Ok(())
    }

    pub(crate) fn close(
        &mut self,
        code: CloseCode,
        reason: &str,
    ) -> Result<(), chappe_proto::SendError> {
        self.read_clock();
        self.connection.close(self.now, code, reason)?;
        self.wakers.wake_waiting();
        self.wakers.call_driver();
        Ok(())
    }

    /// Sends a ping; gives the number of pongs seen before.
    pub(crate) fn ping(&mut self) -> u32 {
        self.read_clock();
        self.connection.ping(self.now);
        self.wakers.call_driver();
        self.pongs
    }

    /// The number of pongs of ours that came, and the last one's round trip.
    pub(crate) fn pongs(&self) -> (u32, Option<Duration>) {
        (self.pongs, self.connection.round_trip())
    }

    /// Whether a message may be queued. One is, however large, when less than the bound waits.
    pub(crate) fn has_room(&self) -> bool {
        self.outbox.len() + self.unwritten < self.outbox_bytes_max
    }

    pub(crate) fn is_flushed(&self) -> bool {
        self.outbox.len() + self.unwritten == 0 && !self.unflushed && !self.write_failed
    }

    /// Whether messages can still be sent.
    pub(crate) fn is_open(&self) -> bool {
        self.connection.state() == State::Open && !self.write_failed
    }

    pub(crate) fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }

    /// Has `cx` woken when room, a flush, a pong or the end may have come.
    pub(crate) fn wait(&mut self, cx: &Context<'_>) {
        self.wakers.wait(cx);
    }

    pub(crate) fn add_handle(&mut self) {
        self.handles += 1;
    }

    /// When nobody is left who could send or receive, the connection is closed.
    pub(crate) fn drop_handle(&mut self) {
        self.handles -= 1;
        if self.handles == 0 {
            let code = if std::thread::panicking() {
                CloseCode::INTERNAL_ERROR
            } else {
                CloseCode::NORMAL
            };
            self.close(code, "").expect("1000 and 1011 may be sent");
        }
    }

    /// Messages are dropped from here on; pings and close frames still count.
    pub(crate) fn drop_messages(&mut self) {
        self.dropping_messages = true;
        self.inbound.clear();
        self.wakers.call_driver();
    }

    // What the driver calls.

    /// Has the time go on; gives it.
    pub(crate) fn read_clock(&mut self) -> Time {
        let elapsed = self.epoch.elapsed();
        self.now = self.now.max(Time::ZERO + elapsed);
        self.now
    }

    pub(crate) fn epoch(&self) -> Instant {
        self.epoch
    }

    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Begins a turn: until [`sleep`](Self::sleep) nobody needs to wake the driver. Tells what may
    /// be read.
    pub(crate) fn begin_turn(&mut self) -> Wanted {
        self.wakers.begin_turn();
        let wanted = self.wanted();
        if wanted == Wanted::Nothing {
            // The handler may go on with it.
            self.read_clock();
        }
        wanted
    }

    /// Whether the turn can wait until the handler was asked once more, though it waits.
    ///
    /// It has taken a message and waits for something else before it replies; it may be that it
    /// merely lets others run. Then its reply goes with those to the messages before. Where it
    /// comes no further, the turn goes on the next time; a reply that was sent last never waits.
    pub(crate) fn postpone_turn(&mut self) -> bool {
        let unfinished = !self.wants_input() || !self.inbound.is_empty() || !self.outbox.is_empty();
        let took_message = std::mem::take(&mut self.took_message);
        let postponed = took_message && unfinished && self.wakers.nobody_waits();
        if postponed {
            self.input.park();
            // What the handler does before the turn goes on needs to wake nobody.
            self.wakers.answer_call();
        }
        postponed
    }

    /// Moves what is to be written to `sending`, if that is empty. Tells whether the writing side
    /// is to be shut down once that is written.
    pub(crate) fn poll_transmit(&mut self, sending: &mut Outbox) -> bool {
        self.wakers.answer_call();
        if sending.is_empty() {
            self.connection.poll_transmit(&mut self.outbox);
            std::mem::swap(&mut self.outbox, sending);
            self.unwritten = sending.len();
            self.unflushed |= !sending.is_empty();
        } else if self.has_room() {
            self.connection.poll_transmit(&mut self.outbox);
        }
        self.outbox.is_empty() && self.connection.write_is_over()
    }

    /// Takes note of how much is left of what was to be written, and whether the stream may hold
    /// back some of what is not.
    pub(crate) fn handle_written(&mut self, unwritten: usize, unflushed: bool) {
        if unwritten < self.unwritten || unflushed != self.unflushed {
            self.unwritten = unwritten;
            self.unflushed = unflushed;
            self.wakers.wake_waiting();
        }
    }

    /// When there is something to do, if nothing happens before.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        let timeout = self.connection.poll_timeout();
        self.given_up.into_iter().chain(timeout).min()
    }

    /// Ends the turn, unless something was left to do meanwhile.
    pub(crate) fn sleep(&mut self, cx: &Context<'_>) -> Asleep {
        self.wakers.end_turn(cx)
    }

    /// Bytes of memory held for the peer: what it sent and nobody took, what it does not read.
    pub(crate) fn held_bytes(&self) -> usize {
        self.connection.held_bytes()
            + self.input.held_bytes()
            + self.inbound.held_bytes()
            + self.outbox.held_bytes()
    }

    /// Closes the connection, as it holds memory that is needed elsewhere.
    pub(crate) fn shed(&mut self) {
        self.read_clock();
        self.connection.shed(self.now);
        self.notice_end();
    }

    /// What may be read: nothing before what was read is handled.
    pub(crate) fn wanted(&self) -> Wanted {
        match (self.wants_input(), self.connection.is_partial()) {
            (false, _) => Wanted::Nothing,
            (true, false) => Wanted::Input,
            (true, true) => Wanted::Rest,
        }
    }

    fn wants_input(&self) -> bool {
        self.input.is_empty()
    }

    /// Lends what was read, until the turn ends.
    pub(crate) fn lend_input(&mut self, buffer: Box<[u8]>, length: usize) {
        debug_assert!(self.wants_input(), "what was read before is handled first");
        self.wakers.begin_turn();
        self.read_clock();
        self.input = Input::Lent(buffer, 0..length);
    }

    /// Lends the message in progress out, if much of it is missing, to be read into.
    pub(crate) fn lend_partial(&mut self) -> Option<PartialMessage> {
        self.connection.lend_partial(PARTIAL_BYTES_MIN)
    }

    /// Takes it back. If something `was_read` into it, another turn begins.
    pub(crate) fn return_partial(&mut self, partial: PartialMessage, was_read: bool) {
        if was_read {
            self.wakers.begin_turn();
        }
        self.read_clock();
        let message = match self.connection.return_partial(self.now, partial) {
            None => return,
            Some(Event::Text(text)) => text.into_owned().into(),
            Some(Event::Binary(bytes)) => bytes.into_owned().into(),
            Some(_) => return self.notice_control(),
        };
        if !self.dropping_messages {
            self.inbound.push(message);
        }
    }

    /// Ends the loan: decodes ahead within bounds, so that pings are answered, and parks the rest.
    pub(crate) fn settle_input(&mut self) {
        while self.inbound.held_bytes() < INBOUND_BYTES_MAX || self.dropping_messages {
            let Some(message) = self.decode() else { break };
            if !self.dropping_messages {
                self.inbound.push(message);
            }
        }
        self.input.park();
    }

    /// Wakes the receiver if there is something for it.
    pub(crate) fn wake_receiver(&mut self) {
        if !self.inbound.is_empty() || self.ended.is_some() {
            self.wakers.wake_receiver();
        }
    }

    pub(crate) fn handle_eof(&mut self, error: Option<io::Error>) {
        self.read_clock();
        if self.io_error.is_none() {
            self.io_error = error;
        }
        self.connection.handle_eof(self.now);
        self.notice_end();
    }

    /// A deadline has passed. The peer is not blamed for what it could not do or we did not see.
    ///
    /// `crawled`: the stream took bytes after it had been full, so the peer reads, if slowly.
    /// `blocked`: the stream is full.
    pub(crate) fn handle_deadline(&mut self, crawled: bool, blocked: bool) {
        self.read_clock();
        let held_back = !self.wants_input() && !blocked;
        if held_back || crawled {
            self.connection.postpone_pong(self.now);
        }
        self.connection.handle_timeout(self.now);
        self.notice_end();
        if self.given_up.is_some_and(|at| at <= self.now) {
            self.given_up = held_back.then(|| self.now + self.connection.limits().close_timeout);
            if !held_back {
                self.handle_eof(None);
            }
        }
    }

    /// Nothing more can be written. What the peer sent before may still tell why, so the end is
    /// left to the reading side; this is kept for it.
    pub(crate) fn handle_write_error(&mut self, error: io::Error) {
        self.read_clock();
        self.io_error.get_or_insert(error);
        self.write_failed = true;
        self.given_up = Some(self.now + self.connection.limits().close_timeout);
        self.wakers.wake_waiting();
    }

    /// Drops what was to be written.
    pub(crate) fn discard_outbox(&mut self) {
        self.outbox.clear();
    }

    #[expect(clippy::inline_always, reason = "as is said of `Recv` in socket.rs")]
    #[inline(always)]
    fn next_message(&mut self) -> Option<Message> {
        let held_back = !self.wants_input();
        let message = if let Some(message) = self.inbound.pop() {
            Some(message)
        } else {
            if held_back && self.wakers.driver_is_asleep() {
                self.read_clock();
            }
            self.decode()
        };
        // The driver may read on or decode further ahead: there may be a ping, and nobody knows
        // when the next message is asked for. Half, so that it is not woken for each message.
        if held_back && (self.wants_input() || self.inbound.held_bytes() < INBOUND_BYTES_MAX / 2) {
            self.wakers.call_driver();
        }
        self.took_message = message.is_some();
        message
    }

    /// Decodes up to the next message.
    #[expect(clippy::inline_always, reason = "as is said of `Recv` in socket.rs")]
    #[inline(always)]
    fn decode(&mut self) -> Option<Message> {
        while !self.wants_input() {
            let taken = buffer::with_page(|page| {
                self.connection.take_message(self.input.unhandled(), page)
            });
            if let Some((consumed, message)) = taken {
                self.input.consume(consumed);
                return Some(message);
            }
            let message = self.decode_pieces();
            if message.is_some() {
                return message;
            }
        }
        None
    }

    /// Decodes up to the next message or control frame.
    #[inline(never)]
    fn decode_pieces(&mut self) -> Option<Message> {
        let (consumed, event) = self
            .connection
            .handle_input(self.now, self.input.unhandled());
        let mut message = None;
        let mut control = true;
        match event {
            Some(Event::Text(text)) => message = Some(text.into_owned().into()),
            Some(Event::Binary(bytes)) => message = Some(bytes.into_owned().into()),
            Some(Event::Pong {
                round_trip: Some(_),
            }) => self.pongs = self.pongs.wrapping_add(1),
            Some(_) => {}
            None => control = false,
        }
        self.input.consume(consumed);
        if control && message.is_none() {
            self.notice_control();
        }
        message
    }

    /// After a control frame or a violation: there may be an answer to transmit, a pong that
    /// somebody waits for, an end.
    fn notice_control(&mut self) {
        self.notice_end();
        // Each ping gets its pong, before the reply to what follows it; where the peer does not
        // read, the outbox is full, and the protocol keeps the latest pong only.
        if self.has_room() {
            self.connection.poll_transmit(&mut self.outbox);
        }
        self.wakers.wake_waiting();
        self.wakers.call_driver();
    }

    /// Tells everybody once the end is decided.
    fn notice_end(&mut self) {
        if self.ended.is_none()
            && let Some(ended) = self.connection.ended()
        {
            self.ended = Some(Ended::new(ended.clone(), self.io_error.take()));
            self.wakers.wake_waiting();
        }
    }
}
