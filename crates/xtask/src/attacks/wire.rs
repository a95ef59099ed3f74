//! Our end of the wire: sends any bytes, at any pace, and reads what comes back.
//!
//! An end of the stream is expected after an answer, and told where it is missing.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use super::bytes::{BYE, masked};
use super::tell::{Frame, head_length, header, tell_frames, tell_head};

/// How long an answer that is due at once may take.
pub(super) const PROMPT: Duration = Duration::from_secs(3);
/// The key of the RFC's example.
pub(super) const SAMPLE_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A connection to what is under test, and what it has sent that was not looked at yet.
#[derive(Debug)]
pub(super) struct Peer {
    stream: TcpStream,
    received: Vec<u8>,
    ended: bool,
}

impl Peer {
    pub(super) fn connect(address: SocketAddr) -> Result<Self, String> {
        let stream = TcpStream::connect_timeout(&address, PROMPT).and_then(Self::new);
        stream.map_err(|error| format!("no connection: {error}"))
    }

    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PROMPT))?;
        Ok(Self {
            stream,
            received: Vec::new(),
            ended: false,
        })
    }

    /// Connects and shakes hands with a server that echoes.
    pub(super) fn upgraded(address: SocketAddr) -> Result<Self, String> {
        let mut peer = Self::connect(address)?;
        peer.shake_hands(address)?;
        Ok(peer)
    }

    /// The same, where the kernel keeps but little of what is not read.
    pub(super) fn upgraded_with_little_room(address: SocketAddr) -> Result<Self, String> {
        let connect = || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.set_recv_buffer_size(4096)?;
            socket.connect(&address.into())?;
            Self::new(socket.into())
        };
        let mut peer = connect().map_err(|error| format!("no connection: {error}"))?;
        peer.shake_hands(address)?;
        Ok(peer)
    }

    fn shake_hands(&mut self, address: SocketAddr) -> Result<(), String> {
        self.send(&plain_request(address))?;
        let head = self.read_head(PROMPT).ok_or("no answer to the handshake")?;
        match tell_head(&head, SAMPLE_KEY) {
            told if told == "101" => Ok(()),
            told => Err(format!("the handshake got {told}")),
        }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream
            .write_all(bytes)
            .map_err(|error| format!("sending failed: {error}"))
    }

    /// Sends `unit` over and over until that fails, or the time is up; true if it failed. What
    /// comes back is not read.
    pub(super) fn send_until_refused(
        &mut self,
        unit: &[u8],
        pause: Duration,
        limit: Duration,
    ) -> bool {
        let end = Instant::now() + limit;
        let _ = self
            .stream
            .set_write_timeout(Some(Duration::from_millis(100)));
        let mut sent = 0;
        while Instant::now() < end {
            match self.stream.write(&unit[sent % unit.len()..]) {
                Ok(count) => sent += count,
                Err(error) if is_timeout(&error) => {}
                Err(_) => return true,
            }
            std::thread::sleep(pause);
        }
        false
    }

    /// Listens until the stream's end. Sends the next byte of `drip` each `pause`, over and over,
    /// and answers pings by what `pong` says. Tells what came, save pings that were answered.
    pub(super) fn converse(
        &mut self,
        drip: (&[u8], Duration),
        pong: impl Fn(&Frame) -> Option<Vec<u8>>,
        limit: Duration,
    ) -> String {
        let (drip, pause) = drip;
        let end = Instant::now() + limit;
        let mut told = Vec::new();
        let mut next = Instant::now() + pause;
        let mut dripping = drip.iter().cycle();
        while Instant::now() < end {
            match self.read_frame(next.saturating_duration_since(Instant::now())) {
                Some(frame) if frame.first_byte == 0x89 => match pong(&frame) {
                    Some(bytes) => {
                        let _ = self.send(&bytes);
                    }
                    None => told.push(frame.tell()),
                },
                Some(frame) => told.push(frame.tell()),
                None if self.ended => {
                    told.push(tell_frames(&self.received));
                    return told.join(" ").trim_end().to_owned();
                }
                None => {
                    if let Some(byte) = dripping.next() {
                        let _ = self.send(&[*byte]);
                    }
                    next += pause;
                }
            }
        }
        told.push("left open".to_owned());
        told.join(" ")
    }

    /// Leaves by a reset.
    pub(super) fn reset(self) {
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Our end's port.
    pub(super) fn port(&self) -> u16 {
        self.stream.local_addr().map_or(0, |address| address.port())
    }

    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Sends as much of it as is taken at once, and tells how much that was.
    pub(super) fn send_some(&mut self, bytes: &[u8]) -> usize {
        let _ = self.stream.set_nonblocking(true);
        let sent = self.stream.write(bytes);
        let _ = self.stream.set_nonblocking(false);
        sent.unwrap_or(0)
    }

    /// Waits until there is something that was not read, and leaves it so.
    pub(super) fn wait_for_unread(&mut self, limit: Duration) {
        let _ = self.stream.set_read_timeout(Some(limit));
        let _ = self.stream.peek(&mut [0]);
    }

    /// Whether the other side ended the stream.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Ends our direction of the stream.
    pub(super) fn finish(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Reads what is there until `is_enough` or the end. False when the time is up first.
    pub(super) fn read_until(
        &mut self,
        limit: Duration,
        is_enough: impl Fn(&[u8]) -> bool,
    ) -> bool {
        let end = Instant::now() + limit;
        let mut chunk = [0; 16 * 1024];
        while !self.ended && !is_enough(&self.received) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let _ = self.stream.set_read_timeout(Some(left));
            match self.stream.read(&mut chunk) {
                Ok(0) => self.ended = true,
                Ok(count) => self.received.extend_from_slice(&chunk[..count]),
                Err(error) if is_timeout(&error) || error.kind() == ErrorKind::Interrupted => {}
                // A reset is an end too: Linux hands over first what had arrived before it.
                Err(_) => self.ended = true,
            }
        }
        true
    }

    /// The answer to a message and a close: that of a connection in good order is `"hi" 1000`. Pings
    /// that are on their way are not told.
    pub(super) fn last_words(&mut self) -> Result<String, String> {
        self.send(&[masked(0x81, b"hi"), BYE.to_vec()].concat())?;
        let answer = self.answer(PROMPT * 2);
        Ok(answer.trim_start_matches("ping ").to_owned())
    }

    /// Reads a head, up to and with its empty line.
    pub(super) fn read_head(&mut self, limit: Duration) -> Option<Vec<u8>> {
        self.read_until(limit, |bytes| head_length(bytes).is_some());
        let length = head_length(&self.received)?;
        Some(self.received.drain(..length).collect())
    }

    /// Reads at most so many bytes, if they are there, and gives the frame that is whole with them.
    pub(super) fn read_some(&mut self, bytes: usize) -> Option<Frame> {
        let mut chunk = vec![0; bytes];
        let _ = self.stream.set_nonblocking(true);
        let read = self.stream.read(&mut chunk);
        let _ = self.stream.set_nonblocking(false);
        match read {
            Ok(0) => self.ended = bytes > 0,
            Ok(count) => self.received.extend_from_slice(&chunk[..count]),
            Err(error) if is_timeout(&error) => {}
            Err(_) => self.ended = true,
        }
        self.take_frame()
    }

    /// Reads the next whole frame of a server.
    pub(super) fn read_frame(&mut self, limit: Duration) -> Option<Frame> {
        self.read_until(limit, |bytes| Frame::parse(bytes).is_some());
        self.take_frame()
    }

    fn take_frame(&mut self) -> Option<Frame> {
        let (frame, length) = Frame::parse(&self.received)?;
        self.received.drain(..length);
        Some(frame)
    }

    /// Reads until a close frame is there, or the end. False when the time is up first.
    pub(super) fn read_until_close(&mut self, limit: Duration) -> bool {
        self.read_until(limit, |mut bytes| {
            while let Some((frame, length)) = Frame::parse(bytes) {
                if frame.first_byte == 0x88 {
                    return true;
                }
                bytes = &bytes[length..];
            }
            false
        })
    }

    /// What is there already, or comes before the stream's end, told; frames of either side.
    pub(super) fn answer(&mut self, limit: Duration) -> String {
        let ended = self.read_until(limit, |_| false);
        let mut told = tell_frames(&self.received);
        self.received.clear();
        match (ended, told.is_empty()) {
            (true, true) => told.push_str("closed"),
            (true, false) => {}
            (false, true) => told.push_str("silence"),
            (false, false) => told.push_str(", left open"),
        }
        told
    }

    /// The answer to a request that is sent: a refusal, or `101` and what follows when the
    /// connection is closed with code 1000.
    pub(super) fn answer_to_request(&mut self, key: &str, limit: Duration) -> String {
        let Some(head) = self.read_head(limit) else {
            return match (self.received.is_empty(), self.ended) {
                (true, true) => "closed".to_owned(),
                (true, false) => "silence".to_owned(),
                (false, _) => "no whole head".to_owned(),
            };
        };
        let mut told = tell_head(&head, key);
        if told.starts_with("101") {
            let _ = self.send(&BYE);
            let frames = self.answer(PROMPT);
            if frames != "1000" {
                let _ = write!(told, " {frames}");
            }
            return told;
        }
        if !self.read_until(PROMPT, |_| false) {
            told.push_str(", left open");
        }
        let length = header(&head, "Content-Length").and_then(|length| length.parse().ok());
        if length.is_some_and(|length: usize| length != self.received.len()) {
            told.push_str(" with a body of another length");
        }
        told
    }
}

/// Bytes up to so many are sent byte by byte too.
const BYTEWISE_MAX: usize = 2000;

/// The answer to these bytes, sent whole, and byte by byte if they are few: it must be the same.
pub(super) fn whole_and_bytewise(
    bytes: &[u8],
    open: impl Fn() -> Result<Peer, String>,
    answer: impl Fn(&mut Peer) -> String,
) -> Result<String, String> {
    let mut peer = open()?;
    // Who has enough before the last byte may refuse the rest.
    let _ = peer.send(bytes);
    let whole = answer(&mut peer);
    if bytes.len() > BYTEWISE_MAX {
        return Ok(whole);
    }
    let mut peer = open()?;
    for byte in bytes {
        if peer.send(&[*byte]).is_err() {
            break;
        }
    }
    let bytewise = answer(&mut peer);
    if whole == bytewise {
        Ok(whole)
    } else {
        Err(format!("{whole}, but bytewise {bytewise}"))
    }
}

pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// A handshake as a well-behaved client sends it.
pub(super) fn plain_request(address: SocketAddr) -> Vec<u8> {
    format!(
        "GET /echo HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {SAMPLE_KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    .into_bytes()
}
