//! Every bound that a peer can meet, in one place, with defaults that are safe.

use std::time::Duration;

/// Bounds on what a peer may send and on how long it may take.
///
/// [`usize::MAX`], [`u32::MAX`] and [`Duration::MAX`] are no bound. Zero leaves no room: what it
/// bounds fails with its first byte, frame or header, or as soon as time is looked at.
///
/// ```
/// use chappe_proto::Limits;
///
/// let mut limits = Limits::default();
/// limits.message_bytes_max = 64 * 1024;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a handshake's head, from its first byte to the empty line. Default: 16,384.
    pub head_bytes_max: usize,
    /// Bytes of the head's first line, its end included. Default: 8,192.
    pub head_line_bytes_max: usize,
    /// Header lines in a head; more than 24,576 are not kept, whatever this says. Default: 100.
    pub headers_max: usize,
    /// From the start of the connection to the end of the opening handshake. Default: 10 s.
    pub handshake_timeout: Duration,
    /// Payload bytes of a message, over all of its frames. Default: 1 MiB.
    pub message_bytes_max: usize,
    /// Payload bytes of one data frame. Default: no bound beside the message's.
    pub frame_bytes_max: usize,
    /// Frames of one message, empty ones included. Default: 4,096.
    pub fragments_max: u32,
    /// From a message's first byte to its last. Default: 60 s.
    pub message_timeout: Duration,
    /// From the opening handshake to the first ping, and from each ping to the next, which also
    /// waits for the pong; `None`: no pings of our own. Default: 20 s.
    pub ping_interval: Option<Duration>,
    /// From a ping to its pong. It counts from when the ping can have left, where other bytes are
    /// before it, and again from whatever arrives: a peer that sends is alive. A peer that takes none of
    /// those bytes for as long is not. Default: 20 s.
    pub pong_timeout: Duration,
    /// The whole closing handshake, until the peer has closed the stream. Before it, how long the
    /// application may go on replying to a peer that has closed. Default: 5 s.
    pub close_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes_max: 16 * 1024,
            head_line_bytes_max: 8 * 1024,
            headers_max: 100,
            handshake_timeout: Duration::from_secs(10),
            message_bytes_max: 1024 * 1024,
            frame_bytes_max: usize::MAX,
            fragments_max: 4096,
            message_timeout: Duration::from_secs(60),
            ping_interval: Some(Duration::from_secs(20)),
            pong_timeout: Duration::from_secs(20),
            close_timeout: Duration::from_secs(5),
        }
    }
}
