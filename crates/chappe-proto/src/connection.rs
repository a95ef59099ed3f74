//! The connection after its opening handshake: the machine that a driver moves bytes for.
//!
//! In: bytes received, the end of the stream, how writing goes, the time; messages and a close from
//! the application, and whether it may still reply. Out: events, frames for a [`FrameSink`], the next deadline. A
//! rule that the peer
//! breaks is never an error of a method: it becomes a close frame to transmit and one event.
//!
//! ```text
//!   handle_input ─► reading.rs ─┬─► message ─────────────────────► Event
//!                               ├─► ping, pong ─► keepalive.rs ─►
//!                               └─► close ──────► closing.rs ───►
//!   send ─► FrameSink ◄─ poll_transmit: pong, ping, close frame
//! ```

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::close_code::CloseCode;
use crate::closing::{CloseFrame, Closing, Ended};
use crate::error::{ProtocolError, SendError};
use crate::event::Event;
use crate::frame::{self, Opcode};
use crate::keepalive::Keepalive;
use crate::limits::Limits;
use crate::mask::Mask;
use crate::message::Message;
use crate::page::Page;
use crate::payload::{FrameSink, Payload};
use crate::random::{Random, SystemRandom};
use crate::reading::{Found, PartialMessage, Reading, Rules, WholeMessage};
use crate::terms::{Kind, Role, State};
use crate::time::Time;
use crate::utf8;

/// One end of a WebSocket connection that is past its opening handshake.
///
/// The contract is *in, want, drain, deadline*:
///
/// 1. Call [`handle_input`](Self::handle_input) with what arrived, again and again until all of
///    it is consumed; it hands out one event a call. At the end of the stream call
///    [`handle_eof`](Self::handle_eof), where writing fails
///    [`handle_write_error`](Self::handle_write_error), at the deadline
///    [`handle_timeout`](Self::handle_timeout).
/// 2. After any of these, and after [`ping`](Self::ping) and [`close`](Self::close), call
///    [`poll_transmit`](Self::poll_transmit) and write what it appends, behind what
///    [`send`](Self::send) appended before.
/// 3. Then ask for the next deadline: [`poll_timeout`](Self::poll_timeout).
/// 4. When [`write_is_over`](Self::write_is_over) and all is written, shut the writing side down;
///    when [`is_finished`](Self::is_finished), drop the stream. Go on reading until then: a close
///    frame may be lost where a stream is dropped with input unread.
///
/// A driver whose stream takes bytes only slowly, or that keeps back what it has read, says so with
/// [`handle_write_progress`](Self::handle_write_progress) and
/// [`handle_read_paused`](Self::handle_read_paused), so that the peer is not blamed for it. One whose
/// application works on messages while others arrive tells with
/// [`handle_reply_pending`](Self::handle_reply_pending) when a close frame may be answered.
///
/// Memory: some 130 bytes, and no buffer while no message or control frame is incomplete.
///
/// ```
/// use std::sync::Arc;
/// use chappe_proto::{Connection, Event, Limits, ProtocolError, Role, Time};
///
/// let mut server = Connection::server(Time::ZERO, Arc::new(Limits::default()));
/// let mut input = *b"\x81\x05hello"; // a client's frame without a mask
/// let (_, event) = server.handle_input(Time::ZERO, &mut input);
/// assert_eq!(event, Some(Event::Failed(ProtocolError::Masking { sender: Role::Client })));
///
/// let mut output = Vec::new();
/// server.poll_transmit(&mut output);
/// assert_eq!(output[..4], [0x88, 36, 0x03, 0xea]); // close frame, code 1002
/// ```
pub struct Connection {
    endpoint: Endpoint,
    limits: Arc<Limits>,
    reading: Reading,
    keepalive: Keepalive,
    /// `None`: the connection is OPEN. Boxed, because most connections are.
    closing: Option<Box<Closing>>,
    /// Bytes of the frames that were put out.
    put_out: u64,
    /// Whether the driver keeps back what it has read.
    read_paused: bool,
    /// Whether the application may still reply to what it has received.
    reply_pending: bool,
}

/// Which side we are, and for a client, where masking keys come from.
enum Endpoint {
    Server,
    Client(Box<dyn Random>),
}

impl Endpoint {
    fn role(&self) -> Role {
        match self {
            Self::Server => Role::Server,
            Self::Client(_) => Role::Client,
        }
    }
}

fn rules<'a>(now: Time, endpoint: &Endpoint, limits: &'a Limits) -> Rules<'a> {
    Rules {
        now,
        sender: endpoint.role().peer(),
        limits,
    }
}

impl Connection {
    /// The accepting side of a connection whose opening handshake is complete.
    pub fn server(now: Time, limits: Arc<Limits>) -> Self {
        Self::new(now, limits, Endpoint::Server)
    }

    /// The opening side of a connection, with masking keys from the operating system.
    pub fn client(now: Time, limits: Arc<Limits>) -> Self {
        Self::client_with_random(now, limits, Box::new(SystemRandom))
    }

    /// The opening side, with masking keys from a generator of the caller's.
    pub fn client_with_random(now: Time, limits: Arc<Limits>, random: Box<dyn Random>) -> Self {
        Self::new(now, limits, Endpoint::Client(random))
    }

    fn new(now: Time, limits: Arc<Limits>, endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            reading: Reading::default(),
            keepalive: Keepalive::new(now, &limits),
            closing: None,
            put_out: 0,
            read_paused: false,
            reply_pending: false,
            limits,
        }
    }

    /// Consumes a prefix of `input`, which it may write to, and hands out what it found.
    ///
    /// Gives the number of bytes consumed and one event. Without an event all of `input` was
    /// consumed: what is incomplete is kept here, never by the caller.
    #[inline]
    pub fn handle_input<'a>(
        &'a mut self,
        now: Time,
        input: &'a mut [u8],
    ) -> (usize, Option<Event<'a>>) {
        if !self.reads() {
            return (input.len(), None);
        }
        self.handle_arrival(now);
        let Some(whole) = self.whole_message(input) else {
            return self.handle_pieces(now, input);
        };
        let (length, end) = (input.len(), whole.payload.end);
        let payload = &mut input[whole.payload];
        if let Some(key) = whole.mask {
            Mask::new(key).apply(payload);
        }
        if whole.kind == Kind::Binary {
            return (end, Some(Event::Binary(Cow::Borrowed(payload))));
        }
        match utf8::check(payload) {
            Ok(text) => (end, Some(Event::Text(Cow::Borrowed(text)))),
            Err(error) => (length, Some(self.fail(now, error.into()))),
        }
    }

    /// Takes the message that `input` begins with out of it, to be kept: the common case of
    /// [`handle_input`](Self::handle_input), where the payload is unmasked as it is copied.
    ///
    /// Gives the number of bytes consumed and the message. `None`, unless it is whole, in one
    /// frame, and breaks no rule: then `handle_input` has to see the same bytes.
    #[inline]
    pub fn take_message(&self, input: &[u8], page: &mut Page) -> Option<(usize, Message)> {
        let whole = self.whole_message(input)?;
        let end = whole.payload.end;
        // A key of zeros leaves it as it is.
        let mask = Mask::new(whole.mask.unwrap_or_default());
        let payload = page.unmask(&input[whole.payload], mask);
        let message = match whole.kind {
            Kind::Text => Message::Text(payload.try_into().ok()?),
            Kind::Binary => Message::Binary(payload.into_bytes()),
        };
        Some((end, message))
    }

    #[inline]
    fn whole_message(&self, input: &[u8]) -> Option<WholeMessage> {
        if !self.reads() {
            return None;
        }
        let sender = self.role().peer();
        self.reading.whole_message(sender, &self.limits, input)
    }

    /// Consumes a prefix of `input` that is anything but a message in one frame.
    fn handle_pieces(&mut self, now: Time, input: &[u8]) -> (usize, Option<Event<'_>>) {
        let mut consumed = 0;
        while consumed < input.len() {
            let rules = rules(now, &self.endpoint, &self.limits);
            let found = match self.reading.read(rules, &input[consumed..]) {
                Ok((length, found)) => {
                    consumed += length;
                    found
                }
                Err(error) => return (input.len(), Some(self.fail(now, error))),
            };
            match found {
                Some(Found::Message(joined)) => return (consumed, Some(joined.into())),
                Some(Found::Control(opcode, payload)) => {
                    match self.handle_control(now, opcode, payload) {
                        Ok(Some(control)) => return (consumed, Some(self.event(control))),
                        Ok(None) => {}
                        Err(error) => return (input.len(), Some(self.fail(now, error))),
                    }
                }
                None => {}
            }
        }
        (consumed, None)
    }

    /// Whether a message or a frame is incomplete.
    pub fn is_partial(&self) -> bool {
        self.reading.is_partial()
    }

    /// Lends the message in progress out, so that its payload is read to where it belongs instead
    /// of being copied there: a way around [`handle_input`](Self::handle_input) for large messages.
    ///
    /// `None`, unless its frame goes on for at least `bytes_min` bytes, and it may hold so many
    /// more: it holds at most twice what has arrived. [`return_partial`](Self::return_partial) has
    /// to follow, before any other input is handled, and before the deadline is asked for or kept:
    /// the message has one, which is not seen meanwhile.
    pub fn lend_partial(&mut self, bytes_min: usize) -> Option<PartialMessage> {
        self.reading.lend(bytes_min)
    }

    /// Goes on with the message that was lent out, and with what was filled in. The event is the
    /// message, if that is whole, or a failure.
    pub fn return_partial(&mut self, now: Time, partial: PartialMessage) -> Option<Event<'static>> {
        if !self.reads() {
            return None;
        }
        if partial.is_filled() {
            self.handle_arrival(now);
        }
        match self.reading.take_back(partial) {
            Ok(joined) => joined.map(Event::from),
            Err(error) => Some(self.fail(now, error)),
        }
    }

    /// Takes note that bytes have arrived, where they are handled only later: the peer is alive.
    /// [`handle_input`](Self::handle_input) does it too.
    #[inline]
    pub fn handle_arrival(&mut self, now: Time) {
        self.keepalive.handle_arrival(now, &self.limits);
    }

    /// Looks for a close frame among the frames that `input` begins with, or a header that no frame may
    /// have: what follows it will not be read. For input that is kept back, because the application has
    /// not taken the messages before it; it has to begin with a frame.
    ///
    /// `None`: there is one. Else the bytes of the frames that are whole, which need not be looked at
    /// again.
    pub fn look_for_end(&self, input: &[u8]) -> Option<usize> {
        if !self.reads() {
            return Some(input.len());
        }
        Reading::find_end(self.role().peer(), input).ok()
    }

    /// Takes note that the peer's stream has ended. What was put out can still be written.
    pub fn handle_eof(&mut self, now: Time) {
        match &mut self.closing {
            Some(closing) => closing.handle_eof(),
            None => self.begin_closing(Closing::lose(now + self.limits.close_timeout)),
        }
        self.reading.stop();
    }

    /// Takes note that the stream is lost, in both directions: reading failed.
    pub fn handle_read_error(&mut self, now: Time) {
        self.handle_reply_pending(now, false);
        self.handle_eof(now);
    }

    /// Takes note that nothing more can be written. What the peer sent before may still tell why, so
    /// it is read for [`Limits::close_timeout`].
    pub fn handle_write_error(&mut self, now: Time) {
        let deadline = now + self.limits.close_timeout;
        match &mut self.closing {
            Some(closing) => closing.finish_replying(deadline),
            None => self.closing = Some(Box::new(Closing::fall_silent(deadline))),
        }
    }

    /// Says how many of the bytes that were put out have not reached the peer, as far as is known:
    /// those that the stream has not taken, and those that it has and still holds.
    ///
    /// A pong is awaited only from when its ping can have left. Worth saying before
    /// [`handle_timeout`](Self::handle_timeout), and whenever
    /// [`wants_write_progress`](Self::wants_write_progress). Without it, all is taken to have left.
    pub fn handle_write_progress(&mut self, now: Time, unsent: u64) {
        let reached = self.put_out.saturating_sub(unsent);
        self.keepalive
            .handle_write_progress(now, reached, &self.limits);
    }

    /// Whether a ping is on its way of which [`handle_write_progress`](Self::handle_write_progress)
    /// has said nothing.
    pub fn wants_write_progress(&self) -> bool {
        self.keepalive.wants_write_progress()
    }

    /// Says whether the driver keeps back what it has read, as the application does not take what came
    /// before: a pong that came could not be seen.
    pub fn handle_read_paused(&mut self, paused: bool) {
        self.read_paused = paused;
    }

    /// Says whether the application may still reply to messages that it has received or has yet to
    /// take. While it may, the peer's close frame is not answered and the end of its stream not final,
    /// for [`Limits::close_timeout`] at most, and messages can be sent.
    #[inline]
    pub fn handle_reply_pending(&mut self, now: Time, pending: bool) {
        self.reply_pending = pending;
        if !pending && let Some(closing) = &mut self.closing {
            closing.finish_replying(now + self.limits.close_timeout);
        }
    }

    /// Whether the peer has ended its side, and the application may still reply.
    pub fn is_replying(&self) -> bool {
        self.closing.as_ref().is_some_and(|it| it.is_replying())
    }

    fn begin_closing(&mut self, closing: Closing) {
        let closing = if self.reply_pending {
            closing.replying()
        } else {
            closing
        };
        self.closing = Some(Box::new(closing));
    }

    /// Does what is due: pings, fails what took too long, ends the closing handshake.
    pub fn handle_timeout(&mut self, now: Time) {
        if let Some(closing) = &mut self.closing {
            closing.handle_timeout(now, self.limits.close_timeout);
            return;
        }
        let result = match self.reading.deadline() {
            Some(deadline) if deadline <= now => Err(ProtocolError::MessageTimeout {
                after: self.limits.message_timeout,
            }),
            _ => {
                let paused = self.read_paused;
                self.keepalive.handle_timeout(now, paused, &self.limits)
            }
        };
        if let Err(error) = result {
            let _ = self.fail(now, error);
        }
    }

    /// Appends a message to `out`, in one frame.
    ///
    /// # Errors
    ///
    /// [`SendError::NotOpen`] unless it [`can_send`](Self::can_send); `out` is as it was then.
    pub fn send(
        &mut self,
        message: Payload<'_>,
        out: &mut impl FrameSink,
    ) -> Result<(), SendError> {
        if !self.can_send() {
            return Err(SendError::NotOpen {
                state: self.state(),
            });
        }
        match (&self.endpoint, message) {
            (Endpoint::Server, Payload::Prepared(prepared)) => {
                self.put_out += prepared.frame().len() as u64;
                out.put_prepared(prepared.frame());
            }
            (Endpoint::Server, Payload::SharedText(text)) => {
                self.put_out += put_shared_frame(Kind::Text, text.as_bytes(), out);
            }
            (Endpoint::Server, Payload::SharedBinary(bytes)) => {
                self.put_out += put_shared_frame(Kind::Binary, bytes, out);
            }
            _ => {
                let (kind, payload) = message.parts();
                self.put_frame(kind.into(), payload, out.tail());
            }
        }
        Ok(())
    }

    /// Whether a message can be sent: while the connection is OPEN, and while the application may
    /// still reply to a peer that has ended its side.
    #[inline]
    pub fn can_send(&self) -> bool {
        self.closing.as_ref().is_none_or(|it| it.is_replying())
    }

    /// Sends a ping, unless one is under way: then its pong answers for both.
    ///
    /// Without effect once the closing handshake has begun.
    pub fn ping(&mut self, now: Time) {
        if self.closing.is_none() {
            self.keepalive.ping(now, &self.limits);
        }
    }

    /// Begins the closing handshake; without effect if it has begun already. Where the peer has ended
    /// its side, it is answered.
    ///
    /// Messages that the peer sends before its own close frame are still handed out.
    /// [`CloseCode::NO_STATUS`] and no reason sends an empty frame.
    ///
    /// # Errors
    ///
    /// [`SendError::InvalidCloseCode`] for a code that must not be sent,
    /// [`SendError::CloseReasonTooLong`] for a reason of more than 123 bytes.
    pub fn close(&mut self, now: Time, code: CloseCode, reason: &str) -> Result<(), SendError> {
        let frame = CloseFrame::checked(code, reason)?;
        self.handle_reply_pending(now, false);
        if self.closing.is_none() {
            let deadline = now + self.limits.close_timeout;
            self.closing = Some(Box::new(Closing::request(frame, deadline)));
        }
        Ok(())
    }

    /// Closes with 1013 and drops the message in progress: its memory is needed elsewhere.
    ///
    /// Without effect once the closing handshake has begun, which has a deadline.
    pub fn shed(&mut self, now: Time) {
        self.handle_reply_pending(now, false);
        if self.closing.is_none() {
            let deadline = now + self.limits.close_timeout;
            self.closing = Some(Box::new(Closing::shed(deadline)));
            self.reading.stop();
        }
    }

    /// Appends the pong, the ping and the close frame that are due.
    pub fn poll_transmit(&mut self, out: &mut impl FrameSink) {
        while let Some((opcode, payload)) = self.poll_control() {
            self.put_frame(opcode, &payload, out.tail());
        }
    }

    /// The control frame that is due next.
    fn poll_control(&mut self) -> Option<(Opcode, Box<[u8]>)> {
        if let Some(pong) = self.keepalive.poll_pong() {
            return Some((Opcode::Pong, pong));
        }
        if let Some(ping) = self.keepalive.poll_ping(self.put_out) {
            return Some((Opcode::Ping, Box::from(ping)));
        }
        let close = self.closing.as_mut()?.poll_transmit()?;
        Some((Opcode::Close, close.encode().into()))
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Time> {
        if let Some(closing) = &self.closing {
            return closing.poll_timeout();
        }
        match (self.reading.deadline(), self.keepalive.poll_timeout()) {
            (Some(message), Some(keepalive)) => Some(message.min(keepalive)),
            (message, keepalive) => message.or(keepalive),
        }
    }

    /// Which side of the connection this is.
    pub fn role(&self) -> Role {
        self.endpoint.role()
    }

    /// OPEN, CLOSING or CLOSED. The opening handshake is CONNECTING.
    pub fn state(&self) -> State {
        self.closing
            .as_ref()
            .map_or(State::Open, |closing| closing.state())
    }

    /// How the connection ended, as soon as that can't change any more. What is left to transmit
    /// then is the close frame.
    pub fn ended(&self) -> Option<&Ended> {
        self.closing.as_ref().and_then(|closing| closing.ended())
    }

    /// Whether the writing side is to be shut down, once all that was put out is written.
    pub fn write_is_over(&self) -> bool {
        let role = self.role();
        self.closing
            .as_ref()
            .is_some_and(|closing| closing.write_is_over(role))
    }

    /// Whether the stream is to be dropped, once all that was put out is written, or at once if
    /// the deadline has passed.
    pub fn is_finished(&self) -> bool {
        self.closing
            .as_ref()
            .is_some_and(|closing| closing.is_finished())
    }

    /// The time between our last ping that was answered and its pong.
    pub fn round_trip(&self) -> Option<Duration> {
        self.keepalive.round_trip()
    }

    /// Bytes of memory that hold what is incomplete: a message or a control frame.
    pub fn held_bytes(&self) -> usize {
        self.reading.held_bytes()
    }

    /// The bounds that this connection keeps.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    fn reads(&self) -> bool {
        self.closing.as_ref().is_none_or(|closing| closing.reads())
    }

    fn handle_control(
        &mut self,
        now: Time,
        opcode: Opcode,
        payload: Vec<u8>,
    ) -> Result<Option<Control>, ProtocolError> {
        match opcode {
            Opcode::Ping if self.closing.is_none() => {
                self.keepalive.handle_ping(payload);
                Ok(Some(Control::Ping))
            }
            Opcode::Pong => {
                let round_trip = self.keepalive.handle_pong(now, &payload, &self.limits);
                Ok(Some(Control::Pong(round_trip)))
            }
            Opcode::Close => {
                let frame = CloseFrame::decode(&payload)?;
                let deadline = now + self.limits.close_timeout;
                match &mut self.closing {
                    Some(closing) => closing.handle_close_frame(frame),
                    None => self.begin_closing(Closing::answer(frame, deadline)),
                }
                self.reading.stop();
                Ok(Some(Control::Close))
            }
            // A ping behind the close frame that we sent is not answered.
            _ => Ok(None),
        }
    }

    fn fail<'a>(&mut self, now: Time, error: ProtocolError) -> Event<'a> {
        let deadline = now + self.limits.close_timeout;
        match &mut self.closing {
            Some(closing) => closing.handle_violation(error),
            None => self.closing = Some(Box::new(Closing::fail(error, deadline))),
        }
        self.reading.stop();
        Event::Failed(error)
    }

    fn event(&self, control: Control) -> Event<'_> {
        match control {
            Control::Ping => Event::Ping(self.keepalive.pong()),
            Control::Pong(round_trip) => Event::Pong { round_trip },
            Control::Close => {
                let received = self.closing.as_ref().and_then(|closing| closing.received());
                Event::Close(received.expect("a close frame was received"))
            }
        }
    }

    /// Appends a whole frame, masked if we are the client.
    #[inline]
    fn put_frame(&mut self, opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
        let mask = match &mut self.endpoint {
            Endpoint::Server => None,
            Endpoint::Client(random) => {
                let mut key = [0; 4];
                random.fill(&mut key);
                Some(key)
            }
        };
        let before = out.len();
        frame::put_header(opcode, payload.len(), mask, out);
        let start = out.len();
        out.extend_from_slice(payload);
        self.put_out += (out.len() - before) as u64;
        if let Some(key) = mask {
            Mask::new(key).apply(&mut out[start..]);
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("role", &self.role())
            .field("state", &self.state())
            .field("held_bytes", &self.held_bytes())
            .field("ended", &self.ended())
            .finish_non_exhaustive()
    }
}

/// Appends a server's frame, its payload by reference; gives its length.
fn put_shared_frame(kind: Kind, payload: &Bytes, out: &mut impl FrameSink) -> u64 {
    let tail = out.tail();
    let before = tail.len();
    frame::put_header(kind.into(), payload.len(), None, tail);
    let header = tail.len() - before;
    out.put_shared(payload);
    (header + payload.len()) as u64
}

/// What a control frame came to.
#[derive(Clone, Copy)]
enum Control {
    Ping,
    Pong(Option<Duration>),
    Close,
}
