//! A stream in memory, between the library and a test that holds its other end.
//!
//! ```text
//!   library ─► Wire ═ State ═ Peer ◄─ test
//! ```
//!
//! Each piece that the [`Peer`] sends is one read. The peer counts the calls, and decides how many
//! bytes may be written, when a flush is done, when reading or writing fails. With
//! [`Options::stutter`] the stream moves one byte at a time, and is pending before each.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::frame::{self, Frame};

/// How a stream behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Whether several slices are taken in one write.
    pub(crate) vectored: bool,
    /// Whether one byte moves at a time, and each only at the second try.
    pub(crate) stutter: bool,
    /// Whether each call takes of the task's cooperative budget, as tokio's own streams do.
    pub(crate) cooperative: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            vectored: true,
            stutter: false,
            cooperative: true,
        }
    }
}

/// The calls that a stream saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    /// Reads that gave bytes.
    pub(crate) reads: usize,
    /// Writes that took bytes.
    pub(crate) writes: usize,
    /// Flushes that were done.
    pub(crate) flushes: usize,
}

/// The library's end.
#[derive(Debug)]
pub(crate) struct Wire(Arc<Mutex<State>>);

/// The test's end.
#[derive(Clone, Debug)]
pub(crate) struct Peer(Arc<Mutex<State>>);

/// Two ends of a stream that takes whatever is written.
pub(crate) fn wire(options: Options) -> (Wire, Peer) {
    let state = State {
        options,
        pieces: VecDeque::new(),
        ready: [false; 2],
        written: Vec::new(),
        slices: Vec::new(),
        room: usize::MAX,
        flush_blocked: false,
        write_error: None,
        calls: Calls::default(),
        shut_down: false,
        dropped: false,
        reader: None,
        writer: None,
        peer: None,
    };
    let state = Arc::new(Mutex::new(state));
    (Wire(state.clone()), Peer(state))
}

#[derive(Debug)]
struct State {
    options: Options,
    pieces: VecDeque<Piece>,
    /// Whether the next byte that is read, and that is written, was waited for.
    ready: [bool; 2],
    written: Vec<u8>,
    /// Where the bytes stood that were offered to be written.
    slices: Vec<Range<usize>>,
    /// Bytes that may still be written.
    room: usize,
    flush_blocked: bool,
    write_error: Option<ErrorKind>,
    calls: Calls,
    shut_down: bool,
    dropped: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    peer: Option<Waker>,
}

#[derive(Debug)]
enum Piece {
    Bytes(Vec<u8>),
    End,
    Error(ErrorKind),
}

impl Peer {
    /// Sends bytes, which arrive in one piece.
    pub(crate) fn send(&self, bytes: impl AsRef<[u8]>) {
        // A read of no bytes would be the end.
        if !bytes.as_ref().is_empty() {
            self.push(Piece::Bytes(bytes.as_ref().to_vec()));
        }
    }

    /// Sends bytes that nobody is woken for: they are found by whoever is woken for something else.
    pub(crate) fn send_unnoticed(&self, bytes: impl AsRef<[u8]>) {
        let piece = Piece::Bytes(bytes.as_ref().to_vec());
        self.lock().pieces.push_back(piece);
    }

    /// Ends the stream, behind what was sent.
    pub(crate) fn send_end(&self) {
        self.push(Piece::End);
    }

    /// Lets reading fail, behind what was sent.
    pub(crate) fn fail_reads(&self, kind: ErrorKind) {
        self.push(Piece::Error(kind));
    }

    /// Lets writing fail from here on.
    pub(crate) fn fail_writes(&self, kind: ErrorKind) {
        let mut state = self.lock();
        state.write_error = Some(kind);
        wake(&mut state.writer);
    }

    /// Takes no more than this many bytes from here on.
    pub(crate) fn take_only(&self, bytes: usize) {
        let mut state = self.lock();
        state.room = bytes;
        wake(&mut state.writer);
    }

    /// Takes whatever is written.
    pub(crate) fn take_all(&self) {
        self.take_only(usize::MAX);
    }

    /// Whether flushing waits, and shutting down.
    pub(crate) fn block_flush(&self, blocked: bool) {
        let mut state = self.lock();
        state.flush_blocked = blocked;
        wake(&mut state.writer);
    }

    /// The calls since the last time this was asked.
    pub(crate) fn take_calls(&self) -> Calls {
        std::mem::take(&mut self.lock().calls)
    }

    /// Where the bytes stood that were offered to be written since this was asked last.
    pub(crate) fn take_slices(&self) -> Vec<Range<usize>> {
        std::mem::take(&mut self.lock().slices)
    }

    /// All that was written since the last time this was asked.
    pub(crate) fn take_written(&self) -> Vec<u8> {
        std::mem::take(&mut self.lock().written)
    }

    /// The whole frames that were written since the last time this was asked.
    pub(crate) fn take_frames(&self) -> Vec<Frame> {
        let mut state = self.lock();
        let (frames, length) = frame::decode_all(&state.written);
        state.written.drain(..length);
        frames
    }

    pub(crate) fn written(&self) -> Vec<u8> {
        self.lock().written.clone()
    }

    pub(crate) fn is_shut_down(&self) -> bool {
        self.lock().shut_down
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.lock().dropped
    }

    /// Bytes that were sent and not read.
    pub(crate) fn unread(&self) -> usize {
        let bytes = |piece: &Piece| match piece {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::End | Piece::Error(_) => 0,
        };
        self.lock().pieces.iter().map(bytes).sum()
    }

    /// Waits for the next frame, and takes it.
    pub(crate) async fn frame(&self) -> Frame {
        self.wait("a frame", |state| {
            let (frame, length) = frame::decode(&state.written)?;
            state.written.drain(..length);
            Some(frame)
        })
        .await
    }

    /// Waits for an HTTP head, and takes it.
    pub(crate) async fn head(&self) -> String {
        self.wait("the end of a head", |state| {
            let end = state
                .written
                .windows(4)
                .position(|window| window == b"\r\n\r\n")?;
            let head = state.written.drain(..end + 4).collect();
            Some(String::from_utf8(head).expect("a head is text"))
        })
        .await
    }

    /// Waits until the library has shut down its writing side.
    pub(crate) async fn shut_down(&self) {
        self.wait("the writing side to be shut down", |state| {
            state.shut_down.then_some(())
        })
        .await;
    }

    /// Waits until the library has dropped the stream.
    pub(crate) async fn dropped(&self) {
        self.wait("the stream to be dropped", |state| {
            state.dropped.then_some(())
        })
        .await;
    }

    /// Waits until all that was sent is read.
    pub(crate) async fn all_read(&self) {
        self.wait("all to be read", |state| {
            state.pieces.is_empty().then_some(())
        })
        .await;
    }

    async fn wait<R>(&self, what: &str, mut found: impl FnMut(&mut State) -> Option<R>) -> R {
        let found = poll_fn(|cx| {
            let mut state = self.lock();
            let Some(result) = found(&mut state) else {
                state.peer = Some(cx.waker().clone());
                return Poll::Pending;
            };
            Poll::Ready(result)
        });
        let result = tokio::time::timeout(PATIENCE, found).await;
        result.unwrap_or_else(|_| panic!("expected {what}; the stream is {self:?}"))
    }

    fn push(&self, piece: Piece) {
        let mut state = self.lock();
        state.pieces.push_back(piece);
        wake(&mut state.reader);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

/// How long a test waits for what must come: in paused time, an hour is soon over.
const PATIENCE: Duration = Duration::from_secs(3600);

impl State {
    /// Pending where the task has done enough for others to have their turn.
    fn poll_proceed(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.options.cooperative {
            ready!(tokio::task::coop::poll_proceed(cx)).made_progress();
        }
        Poll::Ready(())
    }

    /// With `stutter`, ready at every second call only.
    fn poll_stutter(&mut self, side: usize, cx: &Context<'_>) -> Poll<usize> {
        if !self.options.stutter {
            return Poll::Ready(usize::MAX);
        }
        self.ready[side] = !self.ready[side];
        if self.ready[side] {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(1)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_proceed(cx));
        if let Some(kind) = self.write_error {
            return Poll::Ready(Err(kind.into()));
        }
        assert!(!self.shut_down, "written to after it was shut down");
        for slice in slices {
            self.slices.push(address_of(slice));
        }
        if self.room == 0 {
            self.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let Poll::Ready(most) = self.poll_stutter(1, cx) else {
            return Poll::Pending;
        };
        let mut left = most.min(self.room);
        let mut taken = 0;
        for slice in slices {
            let length = slice.len().min(left);
            self.written.extend_from_slice(&slice[..length]);
            (left, taken) = (left - length, taken + length);
        }
        if self.room != usize::MAX {
            self.room -= taken;
        }
        self.calls.writes += 1;
        wake(&mut self.peer);
        Poll::Ready(Ok(taken))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.0.lock().unwrap();
        ready!(state.poll_proceed(cx));
        if state.pieces.is_empty() {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let Poll::Ready(most) = state.poll_stutter(0, cx) else {
            return Poll::Pending;
        };
        match state.pieces.front_mut().expect("there is a piece") {
            Piece::Bytes(bytes) => {
                let length = bytes.len().min(most).min(buf.remaining());
                buf.put_slice(&bytes[..length]);
                bytes.drain(..length);
                if bytes.is_empty() {
                    state.pieces.pop_front();
                }
                state.calls.reads += 1;
            }
            // An end stays where it is.
            Piece::End => {}
            Piece::Error(kind) => return Poll::Ready(Err((*kind).into())),
        }
        wake(&mut state.peer);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().unwrap().poll_write(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock().unwrap();
        assert!(state.options.vectored, "several slices in one write");
        state.poll_write(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.lock().unwrap().options.vectored
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock().unwrap();
        if state.flush_blocked {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.calls.flushes += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock().unwrap();
        if state.flush_blocked {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.shut_down = true;
        wake(&mut state.peer);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let mut state = self.0.lock().unwrap();
        state.dropped = true;
        wake(&mut state.peer);
    }
}

/// The place in memory that a slice takes.
fn address_of(slice: &[u8]) -> Range<usize> {
    let range = slice.as_ptr_range();
    range.start.addr()..range.end.addr()
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
