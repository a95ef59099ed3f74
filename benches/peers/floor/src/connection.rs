//! A connection: what arrived of a frame, what is joined of a message, what could not be written.

use std::{
    io::{self, Read, Write},
    mem,
    net::TcpStream,
    ops::Range,
};

use rustix::buffer::spare_capacity;

use crate::{
    frame::{self, Header, Opcode},
    handshake,
};

/// What a connection has to do with. Nothing here waits: it gives `WouldBlock`.
pub trait Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Reads into the room that the bytes have behind them.
    fn read_behind(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize>;

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Takes messages that are framed where they go to all, and says that it does.
    fn deliver(&mut self, _frames: &[u8]) -> bool {
        false
    }
}

impl Stream for TcpStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Read::read(self, buffer)
    }

    fn read_behind(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        Ok(rustix::io::read(self, spare_capacity(bytes))?)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(self, bytes)
    }
}

/// How much one read takes of what may be many messages.
pub const READ_BYTES: usize = 128 * 1024;

/// The least room that is made for a read which completes a frame.
const ROOM: usize = 64 * 1024;

/// What a connection waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Read,
    /// Nothing is read until all is written.
    Write,
    Close,
}

pub struct Connection {
    handshake_done: bool,
    closing: bool,
    /// Input that ends within a frame, or within the handshake.
    partial: Vec<u8>,
    /// How many bytes the frame in `partial` lacks, as far as known.
    missing: usize,
    /// The fragments of a message that is not complete, and its kind.
    message: Vec<u8>,
    message_opcode: Opcode,
    unwritten: Vec<u8>,
    /// How much of `unwritten` is written by now.
    written: usize,
}

impl Default for Connection {
    fn default() -> Self {
        Self::new()
    }
}

impl Connection {
    pub fn new() -> Self {
        Self {
            handshake_done: false,
            closing: false,
            partial: Vec::new(),
            missing: 0,
            message: Vec::new(),
            message_opcode: Opcode::BINARY,
            unwritten: Vec::new(),
            written: 0,
        }
    }

    pub fn is_open(&self) -> bool {
        self.handshake_done
    }

    pub fn next(&self) -> Next {
        if !self.unwritten.is_empty() {
            Next::Write
        } else if self.closing {
            Next::Close
        } else {
            Next::Read
        }
    }

    /// Reads once and answers all that is complete. The buffer is anyone's; where a frame is
    /// incomplete, its rest is read to where its beginning is kept.
    pub fn on_readable(&mut self, stream: &mut impl Stream, buffer: &mut [u8]) -> io::Result<()> {
        if self.partial.is_empty() {
            let count = stream.read(buffer)?;
            self.closing = count == 0;
            let input = &mut buffer[..count];
            let used = self.take(stream, input)?;
            if used < count {
                self.partial.reserve(count - used + self.missing);
                self.partial.extend_from_slice(&input[used..]);
            }
        } else {
            self.partial.reserve(self.missing.max(ROOM));
            let count = stream.read_behind(&mut self.partial)?;
            self.closing = count == 0;
            let mut input = mem::take(&mut self.partial);
            let used = self.take(stream, &mut input)?;
            input.drain(..used);
            self.partial = input;
        }
        Ok(())
    }

    pub fn on_writable(&mut self, stream: &mut impl Stream) -> io::Result<()> {
        self.written += stream.write(&self.unwritten[self.written..])?;
        if self.written == self.unwritten.len() {
            self.unwritten.clear();
            self.written = 0;
        }
        Ok(())
    }

    /// Answers what is complete in the input, and says how much of it that was.
    fn take(&mut self, stream: &mut impl Stream, input: &mut [u8]) -> io::Result<usize> {
        let mut used = 0;
        if !self.handshake_done {
            let Some((length, answer)) = handshake::answer(input)? else {
                return Ok(0);
            };
            self.send(stream, answer.as_bytes())?;
            self.handshake_done = true;
            used = length;
        }
        self.missing = 0;
        let mut ready = used..used;
        while let Some(header) = Header::parse(&input[used..])? {
            let payload = used + header.length..used + header.length + header.payload_length;
            if payload.end > input.len() {
                self.missing = payload.end - input.len();
                break;
            }
            frame::unmask(&mut input[payload.clone()], header.mask);
            used = payload.end;
            self.answer(stream, header, input, payload, &mut ready)?;
        }
        self.pass_on(stream, &input[ready])?;
        Ok(used)
    }

    /// Answers one frame. What is ready to be sent are bytes of the input, as frames are unmasked
    /// where they arrived.
    fn answer(
        &mut self,
        stream: &mut impl Stream,
        header: Header,
        input: &mut [u8],
        payload: Range<usize>,
        ready: &mut Range<usize>,
    ) -> io::Result<()> {
        match header.opcode {
            Opcode::TEXT | Opcode::BINARY if header.fin => {
                put(input, ready, header.opcode, payload);
            }
            Opcode::TEXT | Opcode::BINARY => {
                self.message_opcode = header.opcode;
                self.message.extend_from_slice(&input[payload]);
            }
            Opcode::CONTINUATION => {
                self.message.extend_from_slice(&input[payload]);
                if header.fin {
                    self.pass_on(stream, &input[mem::take(ready)])?;
                    self.pass_on_message(stream)?;
                }
            }
            Opcode::PING | Opcode::CLOSE => {
                self.pass_on(stream, &input[mem::take(ready)])?;
                let opcode = match header.opcode {
                    Opcode::PING => Opcode::PONG,
                    other => other,
                };
                self.closing |= opcode == Opcode::CLOSE;
                put(input, ready, opcode, payload);
                self.send(stream, &input[mem::take(ready)])?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Passes the message on that was joined, as one frame.
    fn pass_on_message(&mut self, stream: &mut impl Stream) -> io::Result<()> {
        let message = mem::take(&mut self.message);
        let (header, length) = frame::header(self.message_opcode, message.len());
        let mut bytes = Vec::with_capacity(length + message.len());
        bytes.extend_from_slice(&header[..length]);
        bytes.extend_from_slice(&message);
        self.pass_on(stream, &bytes)
    }

    /// Sends messages that are framed to where they go: to all, or back.
    fn pass_on(&mut self, stream: &mut impl Stream, frames: &[u8]) -> io::Result<()> {
        if frames.is_empty() || stream.deliver(frames) {
            return Ok(());
        }
        self.send(stream, frames)
    }

    /// Writes what the socket takes, and keeps the rest.
    pub fn send(&mut self, stream: &mut impl Stream, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        if self.unwritten.is_empty() && !bytes.is_empty() {
            written = match stream.write(bytes) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
        }
        self.unwritten.extend_from_slice(&bytes[written..]);
        Ok(())
    }
}

/// Makes a frame of a payload, behind those that are ready. The first stays where it is: its
/// header fits before it, as the one that came was longer by the mask. The others move up to it.
fn put(input: &mut [u8], ready: &mut Range<usize>, opcode: Opcode, payload: Range<usize>) {
    let (header, length) = frame::header(opcode, payload.len());
    if ready.start == ready.end {
        *ready = payload.start - length..payload.start - length;
    } else {
        input.copy_within(payload.clone(), ready.end + length);
    }
    input[ready.end..ready.end + length].copy_from_slice(&header[..length]);
    ready.end += length + payload.len();
}
