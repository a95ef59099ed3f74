//! Buffers that belong to the thread, so that an idle connection owns none.
//!
//! - one read buffer, lent to whichever connection has something to read;
//! - buffers for what is to be written, returned once they are empty;
//! - a page, from which small received messages are cut.

use std::cell::{Cell, RefCell};

use chappe_proto::Page;

/// Bytes that one read takes at most.
const READ_BYTES: usize = 64 * 1024;

/// Buffers with more room than this are not kept: they had a large message in them.
const WRITE_BYTES_KEPT: usize = 64 * 1024;

/// Room in a new buffer for writing.
const WRITE_BYTES_MIN: usize = 256;

/// Room in all the buffers for writing that a thread keeps. Many are in use at a time when a
/// message goes to many connections: it is in the outboxes of all before the first is written.
const WRITE_BYTES_KEPT_IN_ALL: usize = 512 * 1024;

thread_local! {
    static READ_BUFFER: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
    static WRITE_BUFFERS: RefCell<WriteBuffers> = const { RefCell::new(WriteBuffers::new()) };
    static PAGE: RefCell<Page> = RefCell::default();
}

/// The thread's read buffer; a new one if it is lent out.
pub(crate) fn take_read_buffer() -> Box<[u8]> {
    READ_BUFFER
        .take()
        .unwrap_or_else(|| vec![0; READ_BYTES].into_boxed_slice())
}

/// Gives a read buffer to this thread, whichever it came from.
pub(crate) fn return_read_buffer(buffer: Box<[u8]>) {
    READ_BUFFER.set(Some(buffer));
}

/// Empty buffers for writing.
struct WriteBuffers {
    buffers: Vec<Vec<u8>>,
    /// Room in all of them.
    bytes: usize,
}

impl WriteBuffers {
    const fn new() -> Self {
        Self {
            buffers: Vec::new(),
            bytes: 0,
        }
    }

    fn take(&mut self) -> Vec<u8> {
        let Some(buffer) = self.buffers.pop() else {
            return Vec::with_capacity(WRITE_BYTES_MIN);
        };
        self.bytes -= buffer.capacity();
        buffer
    }

    fn put(&mut self, mut buffer: Vec<u8>) {
        let bytes = self.bytes + buffer.capacity();
        if buffer.capacity() == 0
            || buffer.capacity() > WRITE_BYTES_KEPT
            || bytes > WRITE_BYTES_KEPT_IN_ALL
        {
            return;
        }
        buffer.clear();
        self.bytes = bytes;
        self.buffers.push(buffer);
    }
}

/// An empty buffer for writing.
pub(crate) fn take_write_buffer() -> Vec<u8> {
    WRITE_BUFFERS.with_borrow_mut(WriteBuffers::take)
}

/// Gives a buffer for writing to this thread, whichever it came from.
pub(crate) fn return_write_buffer(buffer: Vec<u8>) {
    WRITE_BUFFERS.with_borrow_mut(|buffers| buffers.put(buffer));
}

/// Calls `take` with the thread's page.
pub(crate) fn with_page<R>(take: impl FnOnce(&mut Page) -> R) -> R {
    PAGE.with_borrow_mut(take)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_for_writing_are_kept_up_to_a_bound_in_bytes() {
        let mut kept = WriteBuffers::new();
        kept.put(Vec::new());
        kept.put(Vec::with_capacity(WRITE_BYTES_KEPT + 1));
        assert_eq!(kept.buffers.len(), 0, "one is empty, the other too large");
        for _ in 0..100 {
            kept.put(Vec::with_capacity(WRITE_BYTES_KEPT));
        }
        assert_eq!(kept.buffers.len(), 8, "of 64 KiB each");
        for _ in 0..8 {
            assert_eq!(kept.take().capacity(), WRITE_BYTES_KEPT);
        }
        assert_eq!(kept.bytes, 0, "all are taken");
        assert_eq!(kept.take().capacity(), WRITE_BYTES_MIN, "a new one");
    }
}
