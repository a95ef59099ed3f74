//! A stream in memory that hands out one segment a turn, and counts what is written.
//!
//! It is as a socket is: a read that finds nothing is pending, what arrives is copied into the
//! reader's buffer, and several pieces are taken in one write. Nobody is woken: whoever sends
//! polls the reader himself.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Either end of the stream: clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stream(Rc<State>);

#[derive(Debug, Default)]
struct State {
    segment: RefCell<Vec<u8>>,
    /// Whether the segment has arrived and was not read.
    arrived: Cell<bool>,
    written: Cell<Written>,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) calls: usize,
    pub(crate) bytes: usize,
}

impl Stream {
    /// Sets what each segment holds from here on.
    pub(crate) fn set_segment(&self, segment: Vec<u8>) {
        *self.0.segment.borrow_mut() = segment;
    }

    /// Lets the segment arrive, once more.
    pub(crate) fn send_segment(&self) {
        let unread = self.0.arrived.replace(true);
        assert!(!unread, "the segment before was read");
    }

    /// What was written since this was asked last.
    pub(crate) fn take_written(&self) -> Written {
        self.0.written.take()
    }

    fn write(&self, bytes: usize) -> Poll<io::Result<usize>> {
        let before = self.0.written.get();
        self.0.written.set(Written {
            calls: before.calls + 1,
            bytes: before.bytes + bytes,
        });
        Poll::Ready(Ok(bytes))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.0.arrived.replace(false) {
            return Poll::Pending;
        }
        buffer.put_slice(&self.0.segment.borrow());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(bytes.len())
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(slices.iter().map(|slice| slice.len()).sum())
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
