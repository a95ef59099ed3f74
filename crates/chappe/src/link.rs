//! What lies between the handles that a user holds and the driver that moves the bytes.
//!
//! ```text
//!   recv ◄── inbound ◄── input ◄──────────── driver ◄── stream
//!              decoded     read, not decoded
//!   send ──► outbox ───────────────────────► driver ──► stream
//! ```
//!
//! Only whoever holds the lock in `shared.rs` gets here. Nothing here wakes anybody: that is left to
//! whoever unlocks.

mod receiving;

use std::fmt;
use std::io;
use std::sync::Weak;
use std::task::{Context, Poll};
use std::time::Duration;

use chappe_proto::{CloseCode, Connection, Message, Payload, State, Time};
use tokio::time::Instant;

use crate::error::{Ended, NotSent};
use crate::inbound::{Inbound, Input};
use crate::memory::{Holder, Share};
use crate::outbox::Outbox;
use crate::wakers::Wakers;

/// Bytes that may still be written to a connection that is closed for what it holds.
const SHED_BYTES_MAX: usize = 16 * 1024;

pub(crate) struct Link {
    connection: Connection,
    epoch: Instant,
    /// The time when it was last needed.
    now: Time,
    input: Input,
    inbound: Inbound,
    outbox: Outbox,
    /// Bytes that the driver took from the outbox and has not written.
    unwritten: usize,
    /// Bytes that the stream has taken.
    written: u64,
    /// How many of these it holds back no longer.
    flushed: u64,
    /// Bytes that were queued and could not be written.
    lost: u64,
    outbox_bytes_max: usize,
    share: Share,
    /// Bytes of the message that `recv` gave last, until it is asked again or something is sent.
    handed_out_bytes: usize,
    wakers: Wakers,
    /// Whether the last that `recv` gave was a message: the application may still reply to it.
    owes_reply: bool,
    dropping_messages: bool,
    /// Whether the connection was closed for what it held, and how.
    shed: Option<Shed>,
    /// Whether there is no driver any more.
    abandoned: bool,
    handles: usize,
    pongs: u32,
    ended: Option<Ended>,
    /// What went wrong first, until it is known how the connection ended.
    io_error: Option<io::Error>,
}

/// How a connection was closed for what it held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shed {
    /// With a close frame, behind what is being written, if that is little.
    Told,
    /// Without a word.
    CutOff,
}

/// What the driver may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Nothing,
    /// Whatever comes.
    Input,
    /// So many bytes, behind what waits to be handled: there may be an end.
    More(usize),
    /// The rest of something that is incomplete.
    Rest,
}

impl Link {
    pub(crate) fn new(
        connection: Connection,
        epoch: Instant,
        outbox_bytes_max: usize,
        share: Share,
    ) -> Self {
        Self {
            connection,
            epoch,
            now: Time::ZERO,
            input: Input::Empty,
            inbound: Inbound::default(),
            outbox: Outbox::default(),
            unwritten: 0,
            written: 0,
            flushed: 0,
            lost: 0,
            // With no room at all nothing could ever be sent.
            outbox_bytes_max: outbox_bytes_max.max(1),
            share,
            handed_out_bytes: 0,
            wakers: Wakers::default(),
            owes_reply: false,
            dropping_messages: false,
            shed: None,
            abandoned: false,
            handles: 0,
            pongs: 0,
            ended: None,
            io_error: None,
        }
    }

    // What the handles call.

    /// The next message; `None` after a clean end.
    #[inline]
    pub(crate) fn poll_recv(&mut self, cx: &Context<'_>) -> Poll<Result<Option<Message>, Ended>> {
        // Whoever asks for the next message is done with the one before.
        self.owes_reply = false;
        self.handed_out_bytes = 0;
        if let Some(message) = self.next_message() {
            return Poll::Ready(Ok(Some(message)));
        }
        self.poll_ended(cx)
    }

    /// What there is to receive instead of a message: the end, if it has come.
    fn poll_ended(&mut self, cx: &Context<'_>) -> Poll<Result<Option<Message>, Ended>> {
        self.finish_replying();
        if self.abandoned {
            let _ = self.hold(0);
        }
        if let Some(ended) = &self.ended {
            return Poll::Ready(if ended.is_clean() {
                Ok(None)
            } else {
                Err(ended.clone())
            });
        }
        self.wakers.wait_to_receive(cx);
        if self.share.held_bytes() > 0 && self.wakers.driver_is_asleep() {
            // It says what is held, and there is less: the message before.
            self.wakers.call_driver();
        }
        Poll::Pending
    }

    /// The application waits for the end, so it is done with what it has received.
    pub(crate) fn await_end(&mut self) {
        self.owes_reply = false;
        self.finish_replying();
    }

    /// Frames a message if there is room.
    #[inline]
    pub(crate) fn try_send(&mut self, message: Payload<'_>) -> Result<(), NotSent> {
        if !self.has_room() && self.can_send() {
            return Err(NotSent::Full);
        }
        self.send_now(message)
    }

    /// Frames a message, whether there is room or not.
    pub(crate) fn send_now(&mut self, message: Payload<'_>) -> Result<(), NotSent> {
        let length = message.len();
        if self.connection.send(message, &mut self.outbox).is_err() {
            return Err(NotSent::Closed(self.ended.clone()));
        }
        // What was sent may be what was received; a shorter message is not.
        if length >= self.handed_out_bytes {
            self.handed_out_bytes = 0;
        }
        self.wakers.call_driver();
        Ok(())
    }

    pub(crate) fn close(
        &mut self,
        code: CloseCode,
        reason: &str,
    ) -> Result<(), chappe_proto::SendError> {
        self.read_clock();
        // What was received before is handled before, as far as it may be: nothing answers a ping behind
        // the close frame.
        self.settle_input();
        self.connection.close(self.now, code, reason)?;
        self.notice_end();
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
        self.unsent_bytes() < self.outbox_bytes_max
    }

    fn unsent_bytes(&self) -> usize {
        self.outbox.len() + self.unwritten
    }

    /// How far writing has to come until all that is queued now is written.
    pub(crate) fn queued(&self) -> u64 {
        self.written + self.lost + self.unsent_bytes() as u64
    }

    /// Ready when writing has come so far, or when it never will.
    pub(crate) fn poll_flushed(&self, queued: u64) -> Poll<Result<(), NotSent>> {
        if self.flushed >= queued {
            return Poll::Ready(Ok(()));
        }
        if self.abandoned {
            return Poll::Ready(Err(NotSent::Closed(self.ended.clone())));
        }
        Poll::Pending
    }

    /// Whether messages can still be sent.
    #[inline]
    pub(crate) fn can_send(&self) -> bool {
        self.connection.can_send()
    }

    pub(crate) fn state(&self) -> State {
        self.connection.state()
    }

    pub(crate) fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }

    pub(crate) fn wakers(&mut self) -> &mut Wakers {
        &mut self.wakers
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
        self.handed_out_bytes = 0;
        self.finish_replying();
        self.wakers.call_driver();
    }

    // What the driver calls.

    /// Advances the clock and gives the current time.
    pub(crate) fn read_clock(&mut self) -> Time {
        let elapsed = self.epoch.elapsed();
        self.now = self.now.max(Time::ZERO + elapsed);
        self.now
    }

    pub(crate) fn epoch(&self) -> Instant {
        self.epoch
    }

    /// Begins a turn: until [`sleep`](Self::sleep) nobody needs to wake the driver. Tells what may
    /// be read.
    pub(crate) fn begin_turn(&mut self) -> Wanted {
        self.wakers.begin_turn();
        if !self.wants_input() {
            // The handler may go on with it.
            self.read_clock();
        }
        self.wanted()
    }

    /// Moves what is to be written to `sending`, if that is empty. Tells whether the writing side
    /// is to be shut down once that is written.
    pub(crate) fn poll_transmit(&mut self, sending: &mut Outbox) -> bool {
        self.wakers.answer_call();
        self.count_written(sending.len());
        if sending.is_empty() {
            self.connection.poll_transmit(&mut self.outbox);
            std::mem::swap(&mut self.outbox, sending);
            self.unwritten = sending.len();
        } else if self.has_room() {
            self.connection.poll_transmit(&mut self.outbox);
        }
        self.outbox.is_empty() && self.connection.write_is_over()
    }

    /// Takes note of how much is left of what was to be written, and whether the stream holds back
    /// none of what is not.
    pub(crate) fn handle_written(&mut self, unwritten: usize, is_flushed: bool) {
        self.count_written(unwritten);
        if is_flushed && self.flushed < self.written {
            self.flushed = self.written;
            self.wakers.wake_waiting();
        }
    }

    fn count_written(&mut self, unwritten: usize) {
        if unwritten < self.unwritten {
            self.written += (self.unwritten - unwritten) as u64;
            self.unwritten = unwritten;
            self.wakers.wake_waiting();
        }
    }

    /// Whether it has to be known how many bytes have not reached the peer.
    pub(crate) fn wants_write_progress(&self) -> bool {
        self.connection.wants_write_progress()
    }

    /// So many of those that the driver took have not.
    pub(crate) fn handle_write_progress(&mut self, unsent: usize) {
        self.read_clock();
        let unsent = self.outbox.len() + unsent;
        self.connection
            .handle_write_progress(self.now, unsent as u64);
    }

    /// When there is something to do, if nothing happens before.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.connection.poll_timeout()
    }

    /// Whether the stream is to be dropped once all is written.
    pub(crate) fn is_finished(&self) -> bool {
        self.connection.is_finished()
    }

    /// Ends the turn. Tells whether nothing was left to do meanwhile.
    pub(crate) fn sleep(&mut self, cx: &Context<'_>) -> bool {
        self.wakers.end_turn(cx)
    }

    /// Says what the connection holds for its peer: what that sent and nobody took, what it does not
    /// read; so many bytes of the latter are with the driver. Tells whether all connections hold no
    /// more than they may.
    pub(crate) fn hold(&mut self, with_driver: usize) -> bool {
        if self.shed.is_some() {
            return true;
        }
        let bytes = self.connection.held_bytes()
            + self.input.held_bytes()
            + self.inbound.held_bytes()
            + self.handed_out_bytes
            + self.outbox.held_bytes()
            + with_driver;
        self.share.hold(bytes)
    }

    /// What is held can be freed by closing this connection.
    pub(crate) fn register(&mut self, connection: Weak<dyn Holder>) {
        self.share.register(connection);
    }

    pub(crate) fn share(&self) -> &Share {
        &self.share
    }

    /// Bytes that the connection holds, as far as it said.
    pub(crate) fn share_bytes(&self) -> usize {
        self.share.held_bytes()
    }

    /// Closes the connection and gives up what it holds; what its outbox holds is the caller's to
    /// drop.
    pub(crate) fn shed(&mut self) -> Outbox {
        // Where it was closing already, its close frame may be among what is dropped.
        self.shed = Some(if self.can_send() {
            Shed::Told
        } else {
            Shed::CutOff
        });
        self.read_clock();
        self.connection.shed(self.now);
        if self.shed == Some(Shed::CutOff) {
            self.connection.handle_read_error(self.now);
        }
        // Nothing more is decoded: what comes next would be cut out of its frame.
        self.inbound.clear();
        self.input.clear();
        self.handed_out_bytes = 0;
        self.share.give_back();
        self.notice_end();
        self.wakers.wake_receiver();
        self.wakers.call_driver();
        self.lost += self.outbox.len() as u64;
        std::mem::take(&mut self.outbox)
    }

    /// Whether the stream is to be dropped at once, as the connection was closed for what it held: where
    /// the driver has more than a little of that, which can be followed by a close frame only when it is
    /// written, and so kept until then.
    pub(crate) fn is_cut_off(&self, with_driver: usize) -> bool {
        match self.shed {
            None => false,
            Some(Shed::Told) => with_driver > SHED_BYTES_MAX,
            Some(Shed::CutOff) => true,
        }
    }

    /// Wakes the receiver if there is something for it.
    pub(crate) fn wake_receiver(&mut self) {
        if !self.inbound.is_empty() || self.ended.is_some() {
            self.wakers.wake_receiver();
        }
    }

    /// The peer has ended its side of the stream.
    pub(crate) fn handle_eof(&mut self) {
        self.read_clock();
        self.settle_all_input();
        self.note_reply_pending();
        self.connection.handle_eof(self.now);
        self.notice_end();
        self.wakers.wake_waiting();
    }

    /// The stream is lost. The first error is the one that tells why.
    pub(crate) fn handle_read_error(&mut self, error: Option<io::Error>) {
        self.read_clock();
        self.settle_all_input();
        if self.io_error.is_none() {
            self.io_error = error;
        }
        self.connection.handle_read_error(self.now);
        self.notice_end();
        self.wakers.wake_waiting();
    }

    /// Nothing more can be written. What the peer sent before may still tell why, so the end is
    /// left to the reading side; this error is kept for it.
    pub(crate) fn handle_write_error(&mut self, error: io::Error) {
        self.read_clock();
        self.io_error.get_or_insert(error);
        self.connection.handle_write_error(self.now);
        self.notice_end();
        self.wakers.wake_waiting();
    }

    /// A deadline has passed, and the stream has nothing more to say. So many bytes of those that the
    /// driver took have not reached the peer.
    pub(crate) fn handle_deadline(&mut self, unsent: usize) {
        self.handle_write_progress(unsent);
        self.connection.handle_read_paused(!self.wants_input());
        self.connection.handle_timeout(self.now);
        self.notice_end();
        self.wakers.wake_waiting();
    }

    /// Takes out what was to be written and can't be.
    pub(crate) fn take_unwritable(&mut self) -> Outbox {
        self.lost += self.unsent_bytes() as u64;
        self.unwritten = 0;
        std::mem::take(&mut self.outbox)
    }

    /// There is no driver any more, so the connection is over. Gives what can't be written any more, to
    /// be dropped. What was received waits for the handles, and counts as long as there are any.
    pub(crate) fn abandon(&mut self) -> Outbox {
        self.handle_read_error(None);
        self.abandoned = true;
        self.wakers.wake_receiver();
        self.wakers.wake_all();
        let outbox = self.take_unwritable();
        let _ = self.hold(0);
        outbox
    }

    /// Tells the protocol whether the application may still reply, before something comes that could
    /// end the connection.
    fn note_reply_pending(&mut self) {
        if !self.connection.is_replying() {
            let pending = self.may_reply();
            self.connection.handle_reply_pending(self.now, pending);
        }
    }

    /// Whether there are messages that the application has not taken, or one that it has not replied
    /// to as far as is known.
    fn may_reply(&self) -> bool {
        !self.dropping_messages && (self.owes_reply || !self.inbound.is_empty())
    }

    /// The peer's end is answered once the application is done with what came before.
    fn finish_replying(&mut self) {
        if self.connection.is_replying() && !self.may_reply() {
            self.read_clock();
            self.connection.handle_reply_pending(self.now, false);
            self.notice_end();
            self.wakers.wake_waiting();
            self.wakers.call_driver();
        }
    }

    /// Tells everybody once the end is decided.
    fn notice_end(&mut self) {
        if self.ended.is_none()
            && let Some(ended) = self.connection.ended()
        {
            self.ended = Some(Ended::new(ended.clone(), self.io_error.take()));
            self.wakers.wake_all();
        }
    }
}

impl fmt::Debug for Link {
    /// Without payloads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("connection", &self.connection)
            .field("input", &self.input)
            .field("inbound", &self.inbound)
            .field("outbox", &self.outbox)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
