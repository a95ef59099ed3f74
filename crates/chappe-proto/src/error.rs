//! Errors by blame: what the peer did wrong, what the caller may not do.
//!
//! For each rule that a peer can break there is one variant, the close code it is answered with,
//! and a name that counts and logs can use. (RFC 6455, section 7.1.7: *Fail the connection*.)

use std::fmt;
use std::time::Duration;

use crate::close_code::CloseCode;
use crate::terms::{Role, State};

/// The peer broke a rule or a limit. The connection fails with [`ProtocolError::close_code`].
///
/// ```
/// use chappe_proto::{CloseCode, ProtocolError};
///
/// let error = ProtocolError::MessageTooBig { length: 70_000, max: 65_536 };
/// assert_eq!(error.to_string(), "message of 70000 bytes exceeds the limit of 65536");
/// assert_eq!((error.close_code(), error.name()), (CloseCode::TOO_BIG, "message_too_big"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// RSV bits without an extension that gives them a meaning (section 5.2).
    ReservedBits {
        /// RSV1, RSV2 and RSV3 as a number of three bits.
        bits: u8,
    },
    /// An opcode that the RFC reserves (section 5.2).
    ReservedOpcode {
        /// 3 to 7, or 11 to 15.
        opcode: u8,
    },
    /// A client's frame without a mask or a server's with one (section 5.1).
    Masking {
        /// Who sent the frame.
        sender: Role,
    },
    /// A control frame without FIN (section 5.5).
    ControlFrameFragmented,
    /// A control frame of more than 125 bytes (section 5.5).
    ControlFrameTooLong,
    /// A length in more bytes than it needs (section 5.2).
    LengthNotMinimal {
        /// The length that was declared.
        length: u64,
    },
    /// A length of 2^63 or more (section 5.2).
    LengthOutOfRange,
    /// A continuation frame with no message to continue (section 5.4).
    UnexpectedContinuation,
    /// A text or binary frame before the message in progress was complete (section 5.4).
    ExpectedContinuation,
    /// Text that is not UTF-8 (section 8.1).
    InvalidUtf8,
    /// A close frame of one byte (section 5.5.1).
    CloseFrameTooShort,
    /// A close code that must not be sent (section 7.4).
    InvalidCloseCode {
        /// The code received.
        code: u16,
    },
    /// A close reason that is not UTF-8 (section 5.5.1).
    InvalidCloseReason,
    /// A data frame above [`Limits::frame_bytes_max`](crate::Limits).
    FrameTooBig {
        /// Payload bytes declared.
        length: u64,
        /// The limit.
        max: usize,
    },
    /// A message above [`Limits::message_bytes_max`](crate::Limits).
    MessageTooBig {
        /// Payload bytes declared so far, over all frames of the message.
        length: u64,
        /// The limit.
        max: usize,
    },
    /// A message of more frames than [`Limits::fragments_max`](crate::Limits).
    TooManyFragments {
        /// The limit.
        max: u32,
    },
    /// A message that was not complete in time ([`Limits::message_timeout`](crate::Limits)).
    MessageTimeout {
        /// The limit.
        after: Duration,
    },
    /// A ping that was not answered in time ([`Limits::pong_timeout`](crate::Limits)).
    PongTimeout {
        /// The limit.
        after: Duration,
    },
}

impl ProtocolError {
    /// The code of the close frame that answers this.
    pub const fn close_code(&self) -> CloseCode {
        match self {
            Self::ReservedBits { .. }
            | Self::ReservedOpcode { .. }
            | Self::Masking { .. }
            | Self::ControlFrameFragmented
            | Self::ControlFrameTooLong
            | Self::LengthNotMinimal { .. }
            | Self::LengthOutOfRange
            | Self::UnexpectedContinuation
            | Self::ExpectedContinuation
            | Self::CloseFrameTooShort
            | Self::InvalidCloseCode { .. } => CloseCode::PROTOCOL_ERROR,
            Self::InvalidUtf8 | Self::InvalidCloseReason => CloseCode::INVALID_PAYLOAD,
            Self::FrameTooBig { .. }
            | Self::MessageTooBig { .. }
            | Self::TooManyFragments { .. } => CloseCode::TOO_BIG,
            Self::MessageTimeout { .. } => CloseCode::POLICY_VIOLATION,
            Self::PongTimeout { .. } => CloseCode::INTERNAL_ERROR,
        }
    }

    /// A short name that never changes, for counts and logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ReservedBits { .. } => "reserved_bits",
            Self::ReservedOpcode { .. } => "reserved_opcode",
            Self::Masking { .. } => "masking",
            Self::ControlFrameFragmented => "control_frame_fragmented",
            Self::ControlFrameTooLong => "control_frame_too_long",
            Self::LengthNotMinimal { .. } => "length_not_minimal",
            Self::LengthOutOfRange => "length_out_of_range",
            Self::UnexpectedContinuation => "unexpected_continuation",
            Self::ExpectedContinuation => "expected_continuation",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::CloseFrameTooShort => "close_frame_too_short",
            Self::InvalidCloseCode { .. } => "invalid_close_code",
            Self::InvalidCloseReason => "invalid_close_reason",
            Self::FrameTooBig { .. } => "frame_too_big",
            Self::MessageTooBig { .. } => "message_too_big",
            Self::TooManyFragments { .. } => "too_many_fragments",
            Self::MessageTimeout { .. } => "message_timeout",
            Self::PongTimeout { .. } => "pong_timeout",
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReservedBits { bits } => {
                write!(
                    f,
                    "reserved bits {bits:03b} are set, and no extension was agreed"
                )
            }
            Self::ReservedOpcode { opcode } => write!(f, "opcode {opcode:#x} is reserved"),
            Self::Masking {
                sender: Role::Client,
            } => f.write_str("frame from a client must be masked"),
            Self::Masking {
                sender: Role::Server,
            } => f.write_str("frame from a server must not be masked"),
            Self::ControlFrameFragmented => f.write_str("control frame must not be fragmented"),
            Self::ControlFrameTooLong => f.write_str("control frame exceeds 125 bytes"),
            Self::LengthNotMinimal { length } => {
                write!(f, "length {length} is not in its shortest form")
            }
            Self::LengthOutOfRange => f.write_str("length of 2^63 or more"),
            Self::UnexpectedContinuation => f.write_str("continuation of no message"),
            Self::ExpectedContinuation => {
                f.write_str("new message before the last one was complete")
            }
            Self::InvalidUtf8 => f.write_str("text is not UTF-8"),
            Self::CloseFrameTooShort => f.write_str("close frame of one byte"),
            Self::InvalidCloseCode { code } => write!(f, "close code {code} must not be sent"),
            Self::InvalidCloseReason => f.write_str("close reason is not UTF-8"),
            Self::FrameTooBig { length, max } => {
                write!(f, "frame of {length} bytes exceeds the limit of {max}")
            }
            Self::MessageTooBig { length, max } => {
                write!(f, "message of {length} bytes exceeds the limit of {max}")
            }
            Self::TooManyFragments { max } => write!(f, "message has more than {max} fragments"),
            Self::MessageTimeout { after } => {
                write!(
                    f,
                    "message was not complete after {} s",
                    after.as_secs_f64()
                )
            }
            Self::PongTimeout { after } => {
                write!(f, "ping was not answered within {} s", after.as_secs_f64())
            }
        }
    }
}

impl std::error::Error for ProtocolError {}

/// The caller may not send this, or not any more. The connection is as it was.
///
/// ```
/// use std::sync::Arc;
/// use chappe_proto::{CloseCode, Connection, Limits, SendError, Time};
///
/// let mut client = Connection::client(Time::ZERO, Arc::new(Limits::default()));
/// let result = client.close(Time::ZERO, CloseCode::ABNORMAL, "");
/// assert_eq!(result, Err(SendError::InvalidCloseCode { code: CloseCode::ABNORMAL }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The closing handshake has begun: nothing may follow a close frame (section 5.5.1).
    NotOpen {
        /// The connection's state.
        state: State,
    },
    /// A close code that must not be sent (section 7.4).
    InvalidCloseCode {
        /// The code given.
        code: CloseCode,
    },
    /// A close reason of more than 123 bytes (section 5.5).
    CloseReasonTooLong {
        /// Bytes of the reason given.
        length: usize,
    },
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOpen { state } => write!(f, "connection is {state}, not OPEN"),
            Self::InvalidCloseCode { code } => {
                write!(
                    f,
                    "close code {code} must not be sent; use 1000, or 3000 to 4999"
                )
            }
            Self::CloseReasonTooLong { length } => {
                write!(f, "close reason of {length} bytes exceeds the limit of 123")
            }
        }
    }
}

impl std::error::Error for SendError {}
