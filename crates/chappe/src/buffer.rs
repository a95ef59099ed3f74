//! Buffers that belong to the thread, so that an idle connection owns none.
//!
//! - one read buffer, lent to whichever connection has something to read;
//! - buffers for what is to be written, returned once they are empty;
//! - a page, from which small received messages are cut.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};

use bytes::BytesMut;
use chappe_proto::Utf8Bytes;

use crate::message::Message;

/// Bytes that one read takes at most.
const READ_BYTES: usize = 64 * 1024;

/// Buffers with more room than this are not kept: they had a large message in them.
const WRITE_BYTES_KEPT: usize = 64 * 1024;

/// Room in a new buffer for writing.
const WRITE_BYTES_MIN: usize = 256;

/// Room in all the buffers for writing that a thread keeps. Many are in use at a time when a
/// message goes to many connections: it is in the outboxes of all before the first is written.
const WRITE_BYTES_KEPT_IN_ALL: usize = 512 * 1024;

/// A message that is kept pins its page: at most this much.
const PAGE_BYTES: usize = 4096;

/// Messages up to this size are cut from the page; a larger one would waste too much of it.
const PAGE_MESSAGE_BYTES_MAX: usize = PAGE_BYTES / 4;

thread_local! {
    static READ_BUFFER: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
    static WRITE_BUFFERS: RefCell<WriteBuffers> = const { RefCell::new(WriteBuffers::new()) };
    static PAGE: RefCell<BytesMut> = RefCell::new(BytesMut::new());
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

/// Frees the thread's buffers for writing, as it may not need so many again.
pub(crate) fn free_write_buffers() {
    WRITE_BUFFERS.set(WriteBuffers::new());
}

/// A text message to keep: cut from the page if it is small.
pub(crate) fn keep_text(text: Cow<'_, str>) -> Message {
    Message::Text(match text {
        Cow::Owned(text) => text.into(),
        Cow::Borrowed(text) if text.len() > PAGE_MESSAGE_BYTES_MAX => text.into(),
        Cow::Borrowed(text) => with_page(text.len(), |page| Utf8Bytes::cut_from(page, text)),
    })
}

/// A binary message to keep: cut from the page if it is small.
pub(crate) fn keep_binary(bytes: Cow<'_, [u8]>) -> Message {
    Message::Binary(match bytes {
        Cow::Owned(bytes) => bytes.into(),
        Cow::Borrowed(bytes) if bytes.len() > PAGE_MESSAGE_BYTES_MAX => {
            chappe_proto::copy(bytes).into()
        }
        Cow::Borrowed(bytes) => with_page(bytes.len(), |page| {
            page.extend_from_slice(bytes);
            page.split().freeze()
        }),
    })
}

/// Calls `cut` with an empty page that has room for `length` bytes.
fn with_page<R>(length: usize, cut: impl FnOnce(&mut BytesMut) -> R) -> R {
    PAGE.with_borrow_mut(|page| {
        // Begins the page anew when none of its messages is held any more, else takes another.
        if page.capacity() < length && !page.try_reclaim(PAGE_BYTES) {
            *page = BytesMut::with_capacity(PAGE_BYTES);
        }
        cut(page)
    })
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
