//! What came and was not taken: bytes that were read and not decoded, and messages that were
//! decoded before anybody asked for them.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;

use chappe_proto::{Message, Page};

use crate::buffer;

/// Bytes that were read and not handled.
#[derive(Default)]
pub(crate) enum Input {
    #[default]
    Empty,
    /// The thread's read buffer, on loan during one turn of the driver.
    Lent(Box<[u8]>, Range<usize>),
    /// What was left when the handler went to wait for something else; in a buffer of its size.
    Parked(Box<[u8]>, Range<usize>),
}

impl Input {
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    pub(crate) fn unhandled(&mut self) -> &mut [u8] {
        match self {
            Self::Empty => &mut [],
            Self::Lent(buffer, range) | Self::Parked(buffer, range) => {
                &mut buffer[range.start..range.end]
            }
        }
    }

    #[inline]
    pub(crate) fn consume(&mut self, bytes: usize) {
        if let Self::Lent(_, range) | Self::Parked(_, range) = self {
            range.start += bytes;
            if range.start < range.end {
                return;
            }
        }
        if let Self::Lent(buffer, _) = std::mem::take(self) {
            buffer::return_read_buffer(buffer);
        }
    }

    /// Whether these are bytes that were just read.
    pub(crate) fn is_lent(&self) -> bool {
        matches!(self, Self::Lent(..))
    }

    /// Drops what was parked.
    pub(crate) fn clear(&mut self) {
        if let Self::Parked(..) = self {
            *self = Self::Empty;
        }
    }

    /// Ends a loan: what is left moves to a buffer of exactly its size. What is parked already
    /// moves once a quarter of it is handled, so that moving costs no more than handling.
    pub(crate) fn park(&mut self) {
        let left = match self {
            Self::Lent(buffer, range) => &buffer[range.clone()],
            Self::Parked(buffer, range) if range.start > buffer.len() / 4 => &buffer[range.clone()],
            Self::Empty | Self::Parked(..) => return,
        };
        let parked = Self::Parked(Box::from(left), 0..left.len());
        if let Self::Lent(buffer, _) = std::mem::replace(self, parked) {
            buffer::return_read_buffer(buffer);
        }
    }

    /// Bytes of memory that the connection holds. The read buffer is the thread's.
    pub(crate) fn held_bytes(&self) -> usize {
        match self {
            Self::Parked(buffer, _) => buffer.len(),
            Self::Empty | Self::Lent(..) => 0,
        }
    }
}

impl fmt::Debug for Input {
    /// Without the bytes, which are payloads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, bytes) = match self {
            Self::Empty => return f.write_str("Empty"),
            Self::Lent(_, range) => ("Lent", range.len()),
            Self::Parked(_, range) => ("Parked", range.len()),
        };
        f.debug_tuple(name).field(&bytes).finish()
    }
}

/// Messages that were decoded and not taken.
#[derive(Default)]
pub(crate) struct Inbound {
    /// Boxed, because most connections have none.
    queue: Option<Box<Queue>>,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<Message>,
    /// Bytes of the messages, and what each takes beside its payload.
    bytes: usize,
    /// Pages that short messages were cut from, at most.
    pages: usize,
    /// Where in memory the last of them begins, or a message that was cut from it.
    page: usize,
}

/// What a queued message costs beside its payload.
const MESSAGE_BYTES: usize = size_of::<Message>();

impl Inbound {
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_none()
    }

    /// Bytes of the messages that wait, those of their payloads and some for each.
    pub(crate) fn bytes(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.bytes)
    }

    /// Bytes of memory that are not free as long as these messages are not taken.
    pub(crate) fn held_bytes(&self) -> usize {
        self.queue
            .as_ref()
            .map_or(0, |queue| queue.bytes + queue.pages * Page::BYTES)
    }

    pub(crate) fn push(&mut self, message: Message) {
        let queue = self.queue.get_or_insert_default();
        queue.bytes += message.len() + MESSAGE_BYTES;
        // The page is the thread's, and others' messages are cut from it too: one pins all of it.
        let at = message.as_bytes().as_ptr().addr();
        if message.len() <= Page::CUT_BYTES_MAX && at.wrapping_sub(queue.page) >= Page::BYTES {
            queue.page = at;
            queue.pages += 1;
        }
        queue.messages.push_back(message);
    }

    pub(crate) fn pop(&mut self) -> Option<Message> {
        let queue = self.queue.as_mut()?;
        let message = queue.messages.pop_front()?;
        queue.bytes -= message.len() + MESSAGE_BYTES;
        queue.pages = queue.pages.min(queue.messages.len());
        if queue.messages.is_empty() {
            self.queue = None;
        }
        Some(message)
    }

    pub(crate) fn clear(&mut self) {
        self.queue = None;
    }
}

impl fmt::Debug for Inbound {
    /// Without the messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let messages = self.queue.as_ref().map_or(0, |it| it.messages.len());
        f.debug_struct("Inbound")
            .field("messages", &messages)
            .field("bytes", &self.bytes())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages as they are cut from pages, with those of others between them.
    fn messages(count: usize, others: usize) -> Vec<Message> {
        let limits = std::sync::Arc::new(chappe_proto::Limits::default());
        let connection = chappe_proto::Connection::client(chappe_proto::Time::ZERO, limits);
        let mut page = Page::default();
        let mut take = || connection.take_message(b"\x82\x04data", &mut page);
        let mut kept = Vec::new();
        for _ in 0..count {
            kept.push(take().expect("a whole message").1);
            for _ in 0..others {
                take();
            }
        }
        kept
    }

    #[test]
    fn short_messages_hold_the_pages_that_they_were_cut_from() {
        for (count, others, pages) in [(1, 0, 1), (100, 0, 1), (1025, 0, 2), (3, 1023, 3)] {
            let mut inbound = Inbound::default();
            for message in messages(count, others) {
                inbound.push(message);
            }
            let bytes = count * (4 + MESSAGE_BYTES);
            assert_eq!(inbound.bytes(), bytes);
            let held = inbound.held_bytes();
            assert_eq!(
                held,
                bytes + pages * Page::BYTES,
                "{count} with {others} between"
            );
            while inbound.pop().is_some() {}
            assert_eq!((inbound.bytes(), inbound.held_bytes()), (0, 0));
        }
    }

    #[test]
    fn long_messages_hold_no_page() {
        let mut inbound = Inbound::default();
        inbound.push(vec![0; 5000].into());
        assert_eq!(inbound.held_bytes(), 5000 + MESSAGE_BYTES);
    }

    #[test]
    fn nothing_here_shows_what_messages_say() {
        let mut inbound = Inbound::default();
        inbound.push("secret".into());
        let input = Input::Parked(b"secret".as_slice().into(), 0..6);
        let text = format!("{inbound:?} {input:?}");
        assert_eq!(
            text,
            format!(
                "Inbound {{ messages: 1, bytes: {} }} Parked(6)",
                6 + MESSAGE_BYTES
            )
        );
    }
}
