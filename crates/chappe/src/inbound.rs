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
    /// What was left when the handler went to wait for something else, and what came since.
    Parked(Box<Parked>),
}

#[derive(Default)]
pub(crate) struct Parked {
    bytes: Vec<u8>,
    /// How many of them are handled.
    handled: usize,
    /// Up to where there is no end among them: `handled <= looked_at` between two frames.
    looked_at: usize,
}

/// Bytes that may be parked: reading pauses then.
const PARKED_BYTES_MAX: usize = 64 * 1024;

impl Input {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    #[inline]
    pub(crate) fn unhandled(&mut self) -> &mut [u8] {
        match self {
            Self::Empty => &mut [],
            Self::Lent(buffer, range) => &mut buffer[range.start..range.end],
            Self::Parked(parked) => &mut parked.bytes[parked.handled..],
        }
    }

    #[inline]
    pub(crate) fn consume(&mut self, bytes: usize) {
        match self {
            Self::Empty => return,
            Self::Lent(_, range) => {
                range.start += bytes;
                if range.start < range.end {
                    return;
                }
            }
            Self::Parked(parked) => {
                parked.handled += bytes;
                if parked.handled < parked.bytes.len() {
                    return;
                }
            }
        }
        if let Self::Lent(buffer, _) = std::mem::take(self) {
            buffer::return_read_buffer(buffer);
        }
    }

    /// How many more bytes may be read behind what is parked.
    pub(crate) fn room(&self) -> usize {
        match self {
            Self::Parked(parked) => {
                let left = parked.bytes.len() - parked.handled;
                PARKED_BYTES_MAX.saturating_sub(left)
            }
            Self::Empty | Self::Lent(..) => PARKED_BYTES_MAX,
        }
    }

    /// Goes on with what was read behind what is parked.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        if let Self::Parked(parked) = self {
            parked.shrink();
            parked.bytes.extend_from_slice(bytes);
        }
    }

    /// What was not looked at for an end, between two frames. `look` gives how much of it that is now,
    /// or `None` if it found one, which this gives on.
    pub(crate) fn look(&mut self, look: impl FnOnce(&[u8]) -> Option<usize>) -> bool {
        match self {
            Self::Empty => false,
            Self::Lent(buffer, range) => look(&buffer[range.clone()]).is_none(),
            Self::Parked(parked) => {
                let from = parked.looked_at.max(parked.handled);
                let found = look(&parked.bytes[from..]);
                parked.looked_at = from + found.unwrap_or(0);
                found.is_none()
            }
        }
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
        let (buffer, range) = match std::mem::take(self) {
            Self::Lent(buffer, range) => (buffer, range),
            Self::Empty => return,
            Self::Parked(mut parked) => {
                parked.shrink();
                *self = Self::Parked(parked);
                return;
            }
        };
        *self = Self::Parked(Box::new(Parked {
            bytes: buffer[range].to_vec(),
            ..Parked::default()
        }));
        buffer::return_read_buffer(buffer);
    }

    /// Bytes of memory that the connection holds. The read buffer is the thread's.
    pub(crate) fn held_bytes(&self) -> usize {
        match self {
            Self::Parked(parked) => parked.bytes.capacity(),
            Self::Empty | Self::Lent(..) => 0,
        }
    }
}

impl Parked {
    fn shrink(&mut self) {
        if self.handled > self.bytes.len() / 4 {
            self.bytes = self.bytes[self.handled..].to_vec();
            self.looked_at = self.looked_at.saturating_sub(self.handled);
            self.handled = 0;
        }
    }
}

impl fmt::Debug for Input {
    /// Without the bytes, which are payloads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, bytes) = match self {
            Self::Empty => return f.write_str("Empty"),
            Self::Lent(_, range) => ("Lent", range.len()),
            Self::Parked(parked) => ("Parked", parked.bytes.len() - parked.handled),
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
        let mut input = Input::Lent(b"secret".as_slice().into(), 0..6);
        input.park();
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
