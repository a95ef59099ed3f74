//! What is sent and what has to come back, as two endless streams of bytes.
//!
//! A pool of different messages of one size is framed in advance and goes round. So a batch of
//! messages is one slice to be written, and checking what came back is comparing two slices.

use clap::ValueEnum;

use crate::{Form, Outcome, Traffic};

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Text,
    Binary,
}

/// The streams of all connections.
pub(crate) struct Exchange {
    requests: Ring,
    replies: Ring,
}

/// Messages of a pool, one behind the other, twice: so a slice of up to a whole round is in one piece.
struct Ring {
    twice: Vec<u8>,
    /// Bytes of one message with all of its headers.
    frame_bytes: usize,
    messages: usize,
}

/// A place in a stream, in bytes from its begin.
#[derive(Clone, Copy, Default)]
pub(crate) struct Position(pub(crate) u64);

impl Exchange {
    pub(crate) fn new(traffic: Traffic, form: Form) -> Self {
        let Traffic { bytes, kind, .. } = traffic;
        let messages = (POOL_BYTES / (bytes + 16)).clamp(4, 1024);
        let mut random = Random(0x5eed_0fc4_a99e);
        let (mut requests, mut replies) = (Vec::new(), Vec::new());
        for _ in 0..messages {
            let mut payload = match kind {
                Kind::Text if traffic.non_ascii => random.text(bytes),
                Kind::Text => random.ascii(bytes),
                Kind::Binary => random.bytes(bytes),
            };
            put_request(&mut requests, kind, &payload, form.fragments, &mut random);
            if form.changed {
                flip(&mut payload);
            }
            put_frame(&mut replies, true, opcode(kind), &payload, None);
        }
        Self {
            requests: Ring::new(requests, messages),
            replies: Ring::new(replies, messages),
        }
    }

    /// Where a connection begins in the pool, so that neighbours are at different messages.
    pub(crate) fn start(&self, connection: usize) -> (Position, Position) {
        let message = (connection * 7 % self.requests.messages) as u64;
        (
            Position(message * self.requests.frame_bytes as u64),
            Position(message * self.replies.frame_bytes as u64),
        )
    }

    /// Bytes to send for one message.
    pub(crate) fn request_bytes(&self) -> u64 {
        self.requests.frame_bytes as u64
    }

    /// Bytes that come back for one message.
    pub(crate) fn reply_bytes(&self) -> u64 {
        self.replies.frame_bytes as u64
    }

    /// What comes next to be sent, up to `end`, in one piece.
    pub(crate) fn request(&self, from: Position, end: Position) -> &[u8] {
        self.requests.slice(from, end.0 - from.0)
    }

    /// Compares what came with what has to come next.
    pub(crate) fn check(&self, mut at: Position, mut received: &[u8]) -> Outcome<()> {
        while !received.is_empty() {
            let expected = self.replies.slice(at, received.len() as u64);
            let (piece, rest) = received.split_at(expected.len());
            if piece != expected {
                return Err(difference(at, piece, expected));
            }
            at.0 += piece.len() as u64;
            received = rest;
        }
        Ok(())
    }
}

fn difference(at: Position, received: &[u8], expected: &[u8]) -> String {
    let same = received.iter().zip(expected).take_while(|(a, b)| a == b);
    let first = same.count();
    let end = received.len().min(first + 8);
    format!(
        "wrong reply: at byte {} came {:02x?} where {:02x?} was expected",
        at.0 + first as u64,
        &received[first..end],
        &expected[first..end],
    )
}

impl Ring {
    fn new(once: Vec<u8>, messages: usize) -> Self {
        let frame_bytes = once.len() / messages;
        let mut twice = once;
        twice.extend_from_within(..);
        Self {
            twice,
            frame_bytes,
            messages,
        }
    }

    fn slice(&self, from: Position, length: u64) -> &[u8] {
        let round = self.twice.len() / 2;
        let start = (from.0 % round as u64) as usize;
        &self.twice[start..start + (length as usize).min(round)]
    }
}

/// Bytes of all messages of a pool, about: they stay in the cache with what is measured.
const POOL_BYTES: usize = 256 * 1024;

fn opcode(kind: Kind) -> u8 {
    match kind {
        Kind::Text => 1,
        Kind::Binary => 2,
    }
}

/// Does what a server does that changes the last byte of a message. Text stays valid: neighbours
/// are characters alike.
fn flip(payload: &mut [u8]) {
    if let Some(last) = payload.last_mut() {
        *last ^= 1;
    }
}

/// Appends a message in masked frames.
fn put_request(
    out: &mut Vec<u8>,
    kind: Kind,
    payload: &[u8],
    fragments: usize,
    random: &mut Random,
) {
    let size = payload.len().div_ceil(fragments).max(1);
    let mut pieces = payload.chunks(size).peekable();
    let mut opcode = opcode(kind);
    while let Some(piece) = pieces.next() {
        let fin = pieces.peek().is_none();
        put_frame(out, fin, opcode, piece, Some(random.next().to_ne_bytes()));
        opcode = 0;
    }
}

/// Appends a frame (RFC 6455, section 5.2).
pub(crate) fn put_frame(
    out: &mut Vec<u8>,
    fin: bool,
    opcode: u8,
    payload: &[u8],
    key: Option<[u8; 8]>,
) {
    out.push(opcode | if fin { 0x80 } else { 0 });
    let mask_bit = if key.is_some() { 0x80 } else { 0 };
    match payload.len() {
        length @ 0..=125 => out.push(mask_bit | length as u8),
        length @ 126..=0xffff => {
            out.push(mask_bit | 0x7e);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(mask_bit | 0x7f);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let key = key.map_or([0; 4], |[a, b, c, d, ..]| [a, b, c, d]);
    if mask_bit != 0 {
        out.extend_from_slice(&key);
    }
    let keys = key.into_iter().cycle();
    out.extend(payload.iter().zip(keys).map(|(byte, key)| byte ^ key));
}

/// The same numbers in every run (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    fn ascii(&mut self, count: usize) -> Vec<u8> {
        let printable = |number: u64| b' ' + (number % 95) as u8;
        (0..count).map(|_| printable(self.next())).collect()
    }

    /// Words of several scripts, and so of characters of one to four bytes.
    fn text(&mut self, count: usize) -> Vec<u8> {
        const WORDS: [&str; 8] = [
            "voilà ",
            "Zürich ",
            "Москва ",
            "αβγδε ",
            "東京都 ",
            "नमस्ते ",
            "👋🏽 ",
            "plain ",
        ];
        let mut text = String::new();
        while text.len() < count {
            text.push_str(WORDS[self.next() as usize % WORDS.len()]);
        }
        while text.len() > count {
            text.pop();
        }
        // The last character may have been longer than what was too much.
        text.extend(std::iter::repeat_n('.', count - text.len()));
        text.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(kind: Kind, changed: bool) -> Exchange {
        let traffic = Traffic {
            connections: 1,
            in_flight: 1,
            bytes: 20,
            kind,
            non_ascii: false,
        };
        Exchange::new(
            traffic,
            Form {
                changed,
                ..Form::PLAIN
            },
        )
    }

    #[test]
    fn a_changed_reply_differs_in_the_last_bit_of_each_message() {
        for kind in [Kind::Text, Kind::Binary] {
            let (plain, changed) = (exchange(kind, false), exchange(kind, true));
            assert_eq!(plain.requests.twice, changed.requests.twice);
            let size = plain.replies.frame_bytes;
            let frames = plain.replies.twice.chunks(size);
            for (before, after) in frames.zip(changed.replies.twice.chunks(size)) {
                assert_eq!(before[..size - 1], after[..size - 1]);
                assert_eq!(before[size - 1] ^ 1, after[size - 1]);
                assert!(kind == Kind::Binary || str::from_utf8(&after[2..]).is_ok());
            }
        }
    }

    #[test]
    fn only_what_has_to_come_back_is_right() {
        let (plain, changed) = (exchange(Kind::Text, false), exchange(Kind::Text, true));
        let reply = changed.replies.slice(Position(0), changed.reply_bytes());
        assert!(changed.check(Position(0), reply).is_ok());
        assert!(plain.check(Position(0), reply).is_err());
    }
}
