//! What came and was not taken: bytes that were read and not decoded, and messages that were
//! decoded before anybody asked for them.

use std::collections::VecDeque;
use std::ops::Range;

use chappe_proto::Message;

use crate::buffer;

/// Bytes that were read and not handled.
#[derive(Debug, Default)]
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

/// Messages that were decoded and not taken.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    /// In a box, as most connections have none.
    queue: Option<Box<Queue>>,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Message>,
    held_bytes: usize,
}

/// What a queued message costs beside its payload.
const MESSAGE_BYTES: usize = size_of::<Message>();

impl Inbound {
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_none()
    }

    /// Bytes of memory that the messages take.
    pub(crate) fn held_bytes(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.held_bytes)
    }

    pub(crate) fn push(&mut self, message: Message) {
        let queue = self.queue.get_or_insert_default();
        queue.held_bytes += message.len() + MESSAGE_BYTES;
        queue.messages.push_back(message);
    }

    pub(crate) fn pop(&mut self) -> Option<Message> {
        let queue = self.queue.as_mut()?;
        let message = queue.messages.pop_front()?;
        queue.held_bytes -= message.len() + MESSAGE_BYTES;
        if queue.messages.is_empty() {
            self.queue = None;
        }
        Some(message)
    }

    pub(crate) fn clear(&mut self) {
        self.queue = None;
    }
}
