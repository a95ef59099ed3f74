//! The closing handshake (RFC 6455, sections 5.5.1 and 7).
//!
//! ```text
//!            close()              peer's close frame
//!   OPEN ──────────────► CLOSING ────────────────────► complete ─┐
//!    │  peer's close frame, answered with the same code  ▲       │ the stream has ended,
//!    ├───────────────────────────────────────────────────┘       │ or the deadline passed
//!    │  a rule was broken: close frame sent, input ignored       ▼
//!    ├─────────────────────────────────────────► failed ──────► CLOSED
//!    │  the stream ended without a close frame                   ▲
//!    └───────────────────────────────────────────────────────────┘
//! ```
//!
//! One deadline bounds all of it, from the first close frame of ours on, whatever the peer does.
//! A connection that is OPEN has no [`Closing`] at all.
//!
//! Two states come before, each with a deadline of the same length:
//!
//! - *replying*: the peer has sent its close frame or ended its stream, and the application may still
//!   reply to what came before that (section 5.5.1 lets an endpoint finish what it is sending);
//! - *unwritable*: writing has failed, and what the peer sent before may tell why.

use std::fmt;
use std::time::Duration;

use crate::close_code::CloseCode;
use crate::error::{ProtocolError, SendError};
use crate::terms::{Role, Side, State};
use crate::time::Time;

/// What a close frame says (section 5.5.1).
///
/// ```
/// use chappe_proto::{CloseCode, CloseFrame};
///
/// let frame = CloseFrame { code: CloseCode::NORMAL, reason: "bye".to_owned() };
/// assert_eq!(frame.to_string(), "1000 (normal closure): \"bye\"");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame {
    /// Why; [`CloseCode::NO_STATUS`] when the frame was empty.
    pub code: CloseCode,
    /// More about why, for logs: at most 123 bytes, and only beside a code.
    pub reason: String,
}

impl CloseFrame {
    /// Reads a close frame's payload.
    pub(crate) fn decode(payload: &[u8]) -> Result<Self, ProtocolError> {
        let (code, reason) = match payload {
            [] => {
                return Ok(Self {
                    code: CloseCode::NO_STATUS,
                    reason: String::new(),
                });
            }
            [_] => return Err(ProtocolError::CloseFrameTooShort),
            [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
        };
        if !CloseCode::from(code).may_be_sent() {
            return Err(ProtocolError::InvalidCloseCode { code });
        }
        let reason = std::str::from_utf8(reason).map_err(|_| ProtocolError::InvalidCloseReason)?;
        Ok(Self {
            code: CloseCode::from(code),
            reason: reason.to_owned(),
        })
    }

    /// Checks what the caller wants to send. A code of [`CloseCode::NO_STATUS`] asks for an empty
    /// frame.
    pub(crate) fn checked(code: CloseCode, reason: &str) -> Result<Self, SendError> {
        let empty = code == CloseCode::NO_STATUS && reason.is_empty();
        if !empty && !code.may_be_sent() {
            return Err(SendError::InvalidCloseCode { code });
        }
        if reason.len() > REASON_BYTES_MAX {
            return Err(SendError::CloseReasonTooLong {
                length: reason.len(),
            });
        }
        Ok(Self {
            code,
            reason: reason.to_owned(),
        })
    }

    /// The frame's payload.
    pub(crate) fn encode(&self) -> Vec<u8> {
        if self.code == CloseCode::NO_STATUS {
            return Vec::new();
        }
        [&u16::from(self.code).to_be_bytes(), self.reason.as_bytes()].concat()
    }
}

impl fmt::Display for CloseFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.reason.is_empty() {
            return write!(f, "{}", self.code);
        }
        // The reason is the peer's: escaped, so that it can't forge a line in a log.
        write!(f, "{}: \"{}\"", self.code, self.reason.escape_debug())
    }
}

/// Why a connection ended.
///
/// ```
/// use chappe_proto::{Cause, ProtocolError};
///
/// let cause = Cause::Protocol(ProtocolError::InvalidUtf8);
/// assert_eq!(cause.to_string(), "protocol error: text is not UTF-8");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// Both sides sent a close frame: a clean end.
    ClosingHandshake,
    /// The peer broke a rule or a limit.
    Protocol(ProtocolError),
    /// The peer did not answer our close frame in time.
    CloseTimeout,
    /// The stream ended without a close frame from the peer.
    Eof,
    /// This end had no memory left for what its peers sent.
    Overloaded,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClosingHandshake => f.write_str("closing handshake"),
            Self::Protocol(error) => write!(f, "protocol error: {error}"),
            Self::CloseTimeout => f.write_str("close frame was not answered in time"),
            Self::Eof => f.write_str("stream ended without a close frame"),
            Self::Overloaded => f.write_str("no memory was left for the connection"),
        }
    }
}

/// How a connection ended: who began it, what each side said, and why.
///
/// ```
/// use std::sync::Arc;
/// use chappe_proto::{CloseCode, Connection, Limits, Side, Time};
///
/// let mut client = Connection::client(Time::ZERO, Arc::new(Limits::default()));
/// let mut input = *b"\x88\x05\x03\xe9bye";
/// client.handle_input(Time::ZERO, &mut input);
/// let ended = client.ended().expect("the peer has closed");
/// assert!(ended.is_clean());
/// assert_eq!((ended.by, ended.code(), ended.reason()), (Side::Peer, CloseCode::GOING_AWAY, "bye"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// Who began to close, or whose fault it is that there was no closing handshake: `Local` when
    /// this end closed or failed the connection, else `Peer`.
    pub by: Side,
    /// Why.
    pub cause: Cause,
    /// The close frame that this end sent, or has ready to send.
    pub sent: Option<CloseFrame>,
    /// The close frame that the peer sent.
    pub received: Option<CloseFrame>,
}

impl Ended {
    /// Whether both sides sent a close frame and no rule was broken (section 7.1.4).
    pub fn is_clean(&self) -> bool {
        self.cause == Cause::ClosingHandshake
    }

    /// The code that the side which ended it gave; [`CloseCode::ABNORMAL`] when it gave none.
    pub fn code(&self) -> CloseCode {
        self.frame().map_or(CloseCode::ABNORMAL, |frame| frame.code)
    }

    /// The reason that the side which ended it gave.
    pub fn reason(&self) -> &str {
        self.frame().map_or("", |frame| &frame.reason)
    }

    /// The stream ended without a word.
    fn by_eof() -> Self {
        Self {
            by: Side::Peer,
            cause: Cause::Eof,
            sent: None,
            received: None,
        }
    }

    fn frame(&self) -> Option<&CloseFrame> {
        match self.by {
            Side::Local => self.sent.as_ref(),
            Side::Peer => self.received.as_ref(),
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self.by {
            Side::Local => "this side",
            Side::Peer => "the peer",
        };
        match (&self.cause, self.frame()) {
            (Cause::ClosingHandshake, Some(frame)) => write!(f, "closed by {by}: {frame}"),
            (cause, _) => write!(f, "{cause}"),
        }
    }
}

/// A connection that is no longer OPEN.
#[derive(Debug)]
pub(crate) struct Closing {
    ended: Ended,
    phase: Phase,
    /// Whether our close frame waits to be transmitted.
    transmit: bool,
    /// Whether the peer's stream has ended.
    eof: bool,
    /// Whether the deadline has passed.
    expired: bool,
    deadline: Time,
}

/// How far closing has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The peer has ended its side; messages can still be sent.
    Replying,
    /// Writing has failed; messages can still be received.
    Unwritable,
    /// The closing handshake, or what takes its place.
    Handshake,
}

impl Closing {
    /// The application closes: our frame first, then the peer's answer is awaited.
    pub(crate) fn request(frame: CloseFrame, deadline: Time) -> Self {
        let cause = Cause::ClosingHandshake;
        Self::new(
            Ended {
                by: Side::Local,
                cause,
                sent: Some(frame),
                received: None,
            },
            deadline,
        )
    }

    /// The peer closes: its code is sent back (section 5.5.1: SHOULD echo the status code).
    pub(crate) fn answer(received: CloseFrame, deadline: Time) -> Self {
        let sent = CloseFrame {
            code: received.code,
            reason: String::new(),
        };
        let cause = Cause::ClosingHandshake;
        let ended = Ended {
            by: Side::Peer,
            cause,
            sent: Some(sent),
            received: Some(received),
        };
        Self::new(ended, deadline)
    }

    /// A rule was broken: *Fail the WebSocket Connection* (section 7.1.7).
    pub(crate) fn fail(error: ProtocolError, deadline: Time) -> Self {
        let sent = CloseFrame {
            code: error.close_code(),
            reason: error.to_string(),
        };
        debug_assert!(sent.reason.len() <= REASON_BYTES_MAX, "{}", sent.reason);
        let cause = Cause::Protocol(error);
        Self::new(
            Ended {
                by: Side::Local,
                cause,
                sent: Some(sent),
                received: None,
            },
            deadline,
        )
    }

    /// Memory has run out: section 7.4.1's registry has 1013 for it.
    pub(crate) fn shed(deadline: Time) -> Self {
        let sent = CloseFrame {
            code: CloseCode::TRY_AGAIN_LATER,
            reason: "out of memory".to_owned(),
        };
        let ended = Ended {
            by: Side::Local,
            cause: Cause::Overloaded,
            sent: Some(sent),
            received: None,
        };
        Self::new(ended, deadline)
    }

    /// The stream ended while the connection was OPEN. What was put out before is still written.
    pub(crate) fn lose(deadline: Time) -> Self {
        Self {
            transmit: false,
            eof: true,
            ..Self::new(Ended::by_eof(), deadline)
        }
    }

    /// Writing failed while the connection was OPEN.
    pub(crate) fn fall_silent(deadline: Time) -> Self {
        Self {
            phase: Phase::Unwritable,
            transmit: false,
            ..Self::new(Ended::by_eof(), deadline)
        }
    }

    /// Waits until the application has replied before it goes on.
    pub(crate) fn replying(self) -> Self {
        Self {
            phase: Phase::Replying,
            ..self
        }
    }

    fn new(ended: Ended, deadline: Time) -> Self {
        Self {
            ended,
            phase: Phase::Handshake,
            transmit: true,
            eof: false,
            expired: false,
            deadline,
        }
    }

    /// The application has replied, or its time is over: the handshake goes on.
    pub(crate) fn finish_replying(&mut self, deadline: Time) {
        if self.is_replying() {
            self.phase = Phase::Handshake;
            self.deadline = deadline;
        }
    }

    /// Our close frame was first: this is the peer's answer, or it crossed ours. Or ours can't be
    /// sent, as writing has failed.
    pub(crate) fn handle_close_frame(&mut self, frame: CloseFrame) {
        if self.phase == Phase::Unwritable {
            *self = Self::answer(frame, self.deadline);
        } else {
            self.ended.received = Some(frame);
        }
    }

    /// A rule was broken after our close frame was sent; there can't be a second one.
    pub(crate) fn handle_violation(&mut self, error: ProtocolError) {
        self.phase = Phase::Handshake;
        self.ended.by = Side::Local;
        self.ended.cause = Cause::Protocol(error);
    }

    pub(crate) fn handle_eof(&mut self) {
        self.eof = true;
        if self.phase == Phase::Unwritable {
            self.phase = Phase::Handshake;
        } else if !self.is_replying() && !self.is_decided() {
            self.ended.cause = Cause::Eof;
            self.ended.by = Side::Peer;
        }
    }

    /// `close_timeout`: how long the handshake may take, if it begins only here.
    pub(crate) fn handle_timeout(&mut self, now: Time, close_timeout: Duration) {
        if now < self.deadline {
            return;
        }
        match self.phase {
            Phase::Replying => return self.finish_replying(now + close_timeout),
            Phase::Unwritable => self.phase = Phase::Handshake,
            Phase::Handshake if !self.is_decided() => self.ended.cause = Cause::CloseTimeout,
            Phase::Handshake => {}
        }
        self.expired = true;
    }

    /// Our close frame, the first time this is asked after the application has replied.
    pub(crate) fn poll_transmit(&mut self) -> Option<&CloseFrame> {
        if self.is_replying() {
            return None;
        }
        std::mem::take(&mut self.transmit)
            .then_some(self.ended.sent.as_ref())
            .flatten()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        (!self.expired).then_some(self.deadline)
    }

    pub(crate) fn state(&self) -> State {
        if !self.is_replying() && (self.eof || self.expired) {
            State::Closed
        } else {
            State::Closing
        }
    }

    /// Whether messages can still be sent.
    pub(crate) fn is_replying(&self) -> bool {
        self.phase == Phase::Replying
    }

    /// Whether what the peer sends still matters: only its close frame does.
    pub(crate) fn reads(&self) -> bool {
        !self.is_replying() && !self.is_decided() && self.state() == State::Closing
    }

    /// Whether nothing follows what was transmitted. Section 7.1.1: the server ends its direction
    /// first, so that the client need not; whoever fails the connection does not wait.
    pub(crate) fn write_is_over(&self, role: Role) -> bool {
        let failed = !self.ended.is_clean();
        self.phase == Phase::Handshake
            && !self.transmit
            && (failed || (self.is_decided() && role == Role::Server))
    }

    /// Whether the stream is to be dropped.
    pub(crate) fn is_finished(&self) -> bool {
        self.expired || (self.phase == Phase::Handshake && self.eof && !self.transmit)
    }

    /// How it ended, as soon as that can't change any more.
    pub(crate) fn ended(&self) -> Option<&Ended> {
        self.is_decided().then_some(&self.ended)
    }

    /// The peer's close frame.
    pub(crate) fn received(&self) -> Option<&CloseFrame> {
        self.ended.received.as_ref()
    }

    fn is_decided(&self) -> bool {
        let both = self.ended.sent.is_some() && self.ended.received.is_some();
        self.phase == Phase::Handshake && (!self.ended.is_clean() || both)
    }
}

/// A control frame's 125 bytes, less two for the code.
const REASON_BYTES_MAX: usize = 123;
