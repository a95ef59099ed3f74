//! The way in: from what the driver has read to messages, when they are asked for or ahead of that.

use chappe_proto::{Event, Message, PartialMessage};

use super::{Link, Wanted};
use crate::buffer;
use crate::inbound::Input;

/// Payload bytes that are decoded before anybody asks for them, so that pings behind them are
/// answered while the handler waits for something else. A larger message counts once.
const INBOUND_BYTES_MAX: usize = 16 * 1024;

/// Where at least so much of a frame is missing, it is read straight into its message. A smaller
/// rest is copied there: the same read may bring what follows.
const PARTIAL_BYTES_MIN: usize = 32 * 1024;

impl Link {
    /// What may be read: nothing before what was read is handled.
    pub(crate) fn wanted(&self) -> Wanted {
        match (self.input.is_empty(), self.connection.is_partial()) {
            (true, false) => Wanted::Input,
            (true, true) => Wanted::Rest,
            (false, _) => match self.input.room() {
                0 => Wanted::Nothing,
                room => Wanted::More(room),
            },
        }
    }

    pub(super) fn wants_input(&self) -> bool {
        self.input.is_empty()
    }

    /// Takes what was read: lends it until the turn ends, or keeps it behind what waits to be handled.
    pub(crate) fn take_input(&mut self, buffer: Box<[u8]>, length: usize) {
        self.wakers.begin_turn();
        self.read_clock();
        self.connection.handle_arrival(self.now);
        if self.wants_input() {
            self.input = Input::Lent(buffer, 0..length);
        } else {
            self.input.append(&buffer[..length]);
            buffer::return_read_buffer(buffer);
        }
    }

    /// Lends the message in progress out, if much of it is missing, to be read into.
    pub(crate) fn lend_partial(&mut self) -> Option<PartialMessage> {
        self.connection.lend_partial(PARTIAL_BYTES_MIN)
    }

    /// Takes it back. If something `was_read` into it, another turn begins.
    pub(crate) fn return_partial(&mut self, partial: PartialMessage, was_read: bool) {
        if was_read {
            self.wakers.begin_turn();
        }
        self.read_clock();
        let message = match self.connection.return_partial(self.now, partial) {
            None => return,
            Some(Event::Text(text)) => text.into_owned().into(),
            Some(Event::Binary(bytes)) => bytes.into_owned().into(),
            Some(_) => return self.notice_control(),
        };
        if !self.dropping_messages {
            self.inbound.push(message);
        }
    }

    /// Ends the loan: decodes ahead within bounds, so that pings are answered, and parks the rest.
    ///
    /// An end behind it is found beyond these bounds: its deadline counts from when it arrived, and
    /// nothing follows it.
    pub(crate) fn settle_input(&mut self) {
        while !self.input.is_empty() {
            let is_full = !self.dropping_messages && self.inbound.bytes() >= INBOUND_BYTES_MAX;
            if is_full && !self.finds_end() {
                break;
            }
            if is_full {
                return self.settle_all_input();
            }
            self.decode_ahead();
        }
        self.input.park();
    }

    /// Decodes all that was read: nothing follows it.
    pub(super) fn settle_all_input(&mut self) {
        while !self.input.is_empty() {
            self.decode_ahead();
        }
    }

    fn decode_ahead(&mut self) {
        if let Some(message) = self.decode()
            && !self.dropping_messages
        {
            self.inbound.push(message);
        }
    }

    fn finds_end(&mut self) -> bool {
        let connection = &self.connection;
        self.input.look(|bytes| connection.look_for_end(bytes))
    }

    #[expect(clippy::inline_always, reason = "as is said of `Recv` in socket.rs")]
    #[inline(always)]
    pub(super) fn next_message(&mut self) -> Option<Message> {
        if self.dropping_messages {
            return None;
        }
        let held_back = !self.wants_input();
        let message = if let Some(message) = self.inbound.pop() {
            Some(message)
        } else {
            if held_back && self.wakers.driver_is_asleep() {
                self.read_clock();
            }
            self.decode()
        };
        // The driver may read on or decode further ahead: there may be a ping, and nobody knows
        // when the next message is asked for. Half, so that it is not woken for each message.
        if held_back && (self.wants_input() || self.inbound.bytes() < INBOUND_BYTES_MAX / 2) {
            self.wakers.call_driver();
        }
        if let Some(message) = &message {
            self.owes_reply = true;
            self.handed_out_bytes = message.len();
        }
        message
    }

    /// Decodes up to the next message.
    #[expect(clippy::inline_always, reason = "as is said of `Recv` in socket.rs")]
    #[inline(always)]
    fn decode(&mut self) -> Option<Message> {
        while !self.wants_input() {
            let taken = buffer::with_page(|page| {
                self.connection.take_message(self.input.unhandled(), page)
            });
            if let Some((consumed, message)) = taken {
                self.input.consume(consumed);
                return Some(message);
            }
            let message = self.decode_pieces();
            if message.is_some() {
                return message;
            }
        }
        None
    }

    /// Decodes up to the next message or control frame.
    #[inline(never)]
    fn decode_pieces(&mut self) -> Option<Message> {
        self.note_reply_pending();
        let (consumed, event) = self
            .connection
            .handle_input(self.now, self.input.unhandled());
        let mut message = None;
        let mut control = true;
        match event {
            Some(Event::Text(text)) => message = Some(text.into_owned().into()),
            Some(Event::Binary(bytes)) => message = Some(bytes.into_owned().into()),
            Some(Event::Pong {
                round_trip: Some(_),
            }) => self.pongs = self.pongs.wrapping_add(1),
            Some(_) => {}
            None => control = false,
        }
        self.input.consume(consumed);
        if control && message.is_none() {
            self.notice_control();
        }
        message
    }

    /// After a control frame or a violation: there may be an answer to transmit, a pong that
    /// somebody waits for, an end.
    fn notice_control(&mut self) {
        self.notice_end();
        // Each ping gets its pong, before the reply to what follows it; where the peer does not
        // read, the outbox is full, and the protocol keeps the latest pong only.
        if self.has_room() {
            self.connection.poll_transmit(&mut self.outbox);
        }
        self.wakers.wake_waiting();
        self.wakers.call_driver();
    }
}
