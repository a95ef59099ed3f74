//! The connection after its opening handshake: the machine that a driver moves bytes for.
//!
//! In: bytes received, the end of the stream, the time; messages and a close from the
//! application. Out: events, frames for an [`Outbox`], the next deadline. A rule that the peer
//! breaks is never an error of a method: it becomes a close frame to transmit and one event.
//!
//! ```text
//!   handle_input ─► reading.rs ─┬─► message ─────────────────────► Event
//!                               ├─► ping, pong ─► keepalive.rs ─►
//!                               └─► close ──────► closing.rs ───►
//!   send ─► Outbox ◄─ poll_transmit: pong, ping, close frame
//! ```

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::close_code::CloseCode;
use crate::closing::{CloseFrame, Closing, Ended};
use crate::error::{ProtocolError, SendError};
use crate::frame::{self, Opcode};
use crate::keepalive::Keepalive;
use crate::limits::Limits;
use crate::mask::Mask;
use crate::message::Joined;
use crate::owned::Message;
use crate::page::Page;
use crate::payload::{Outbox, Payload};
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
///    [`handle_eof`](Self::handle_eof), at the deadline [`handle_timeout`](Self::handle_timeout).
/// 2. After any of these, and after [`ping`](Self::ping) and [`close`](Self::close), call
///    [`poll_transmit`](Self::poll_transmit) and write what it appends, behind what
///    [`send`](Self::send) appended before.
/// 3. Then ask for the next deadline: [`poll_timeout`](Self::poll_timeout).
/// 4. When [`write_is_over`](Self::write_is_over) and all is written, shut the writing side down;
///    when [`is_finished`](Self::is_finished), drop the stream. Go on reading until then: a close
///    frame may be lost where a stream is dropped with input unread.
///
/// Memory: some 110 bytes, and no buffer while no message or control frame is incomplete.
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
    /// `None`: the connection is OPEN. In a box, as most connections are.
    closing: Option<Box<Closing>>,
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

/// What [`Connection::handle_input`] found.
///
/// ```
/// use std::sync::Arc;
/// use chappe_proto::{Connection, Event, Limits, Time};
///
/// let mut client = Connection::client(Time::ZERO, Arc::new(Limits::default()));
/// let mut input = *b"\x89\x02hi\x82\x01\x07"; // a ping, and a binary message
/// let (consumed, event) = client.handle_input(Time::ZERO, &mut input);
/// assert_eq!((consumed, event), (4, Some(Event::Ping(b"hi"))));
/// let (_, event) = client.handle_input(Time::ZERO, &mut input[4..]);
/// assert!(matches!(event, Some(Event::Binary(bytes)) if bytes == &[7][..]));
/// ```
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A text message; borrowed from the input when it came in one frame and in one piece.
    Text(Cow<'a, str>),
    /// A binary message; borrowed from the input when it came in one frame and in one piece.
    Binary(Cow<'a, [u8]>),
    /// The peer's ping; a pong is ready to transmit.
    Ping(&'a [u8]),
    /// The peer's pong. `round_trip` is known when it answers our latest ping.
    Pong {
        /// From our ping to this pong.
        round_trip: Option<Duration>,
    },
    /// The peer's close frame; the answer is ready to transmit, and nothing more will be read.
    Close(&'a CloseFrame),
    /// The peer broke a rule; a close frame is ready to transmit, and nothing more will be read.
    Failed(ProtocolError),
}

impl From<Joined> for Event<'_> {
    fn from(joined: Joined) -> Self {
        match joined {
            Joined::Text(text) => Self::Text(Cow::Owned(text)),
            Joined::Binary(bytes) => Self::Binary(Cow::Owned(bytes)),
        }
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
        match self.reading.take_back(partial) {
            Ok(joined) => joined.map(Event::from),
            Err(error) => Some(self.fail(now, error)),
        }
    }

    /// Takes note that the peer's stream has ended.
    pub fn handle_eof(&mut self, now: Time) {
        match &mut self.closing {
            Some(closing) => closing.handle_eof(),
            None => self.closing = Some(Box::new(Closing::lose(now))),
        }
        self.reading.stop();
    }

    /// Does what is due: pings, fails what took too long, ends the closing handshake.
    pub fn handle_timeout(&mut self, now: Time) {
        if let Some(closing) = &mut self.closing {
            closing.handle_timeout(now);
            return;
        }
        let result = match self.reading.deadline() {
            Some(deadline) if deadline <= now => Err(ProtocolError::MessageTimeout {
                after: self.limits.message_timeout,
            }),
            _ => {
                // A pong can't stand amid a data frame, and that has a deadline of its own.
                let answerable = !self.reading.is_in_data();
                self.keepalive.handle_timeout(now, answerable, &self.limits)
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
    /// [`SendError::NotOpen`] once the closing handshake has begun; `out` is as it was then.
    pub fn send(&mut self, message: Payload<'_>, out: &mut impl Outbox) -> Result<(), SendError> {
        if self.closing.is_some() {
            return Err(SendError::NotOpen {
                state: self.state(),
            });
        }
        match (&self.endpoint, message) {
            (Endpoint::Server, Payload::Prepared(prepared)) => out.put_prepared(prepared.frame()),
            (Endpoint::Server, Payload::SharedText(text)) => {
                put_shared_frame(Kind::Text, text.as_bytes(), out);
            }
            (Endpoint::Server, Payload::SharedBinary(bytes)) => {
                put_shared_frame(Kind::Binary, bytes, out);
            }
            _ => {
                let (kind, payload) = message.parts();
                self.put_frame(kind.into(), payload, out.tail());
            }
        }
        Ok(())
    }

    /// Sends a ping, unless one is under way: then its pong answers for both.
    ///
    /// Without effect once the closing handshake has begun.
    pub fn ping(&mut self, now: Time) {
        if self.closing.is_none() {
            self.keepalive.ping(now, &self.limits);
        }
    }

    /// Begins the closing handshake; without effect if it has begun already.
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
        if self.closing.is_none() {
            let deadline = now + self.limits.close_timeout;
            self.closing = Some(Box::new(Closing::shed(deadline)));
            self.reading.stop();
        }
    }

    /// Gives a ping's answer more time: the driver has not looked at all that the peer sent, or
    /// the stream takes our bytes but slowly, so the pong could not be seen yet.
    pub fn postpone_pong(&mut self, now: Time) {
        self.keepalive.postpone_pong(now, &self.limits);
    }

    /// Appends the pong, the ping and the close frame that are due.
    pub fn poll_transmit(&mut self, out: &mut impl Outbox) {
        while let Some((opcode, payload)) = self.poll_control() {
            self.put_frame(opcode, &payload, out.tail());
        }
    }

    /// The control frame that is due next.
    fn poll_control(&mut self) -> Option<(Opcode, Box<[u8]>)> {
        if let Some(pong) = self.keepalive.poll_pong() {
            return Some((Opcode::Pong, pong));
        }
        if let Some(ping) = self.keepalive.poll_ping() {
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
                    None => self.closing = Some(Box::new(Closing::answer(frame, deadline))),
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
        frame::put_header(opcode, payload.len(), mask, out);
        let start = out.len();
        out.extend_from_slice(payload);
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

/// Appends a server's frame, its payload by reference.
fn put_shared_frame(kind: Kind, payload: &Bytes, out: &mut impl Outbox) {
    frame::put_header(kind.into(), payload.len(), None, out.tail());
    out.put_shared(payload);
}

/// What a control frame came to.
#[derive(Clone, Copy)]
enum Control {
    Ping,
    Pong(Option<Duration>),
    Close,
}
