//! A client and a server joined in memory, with a clock that jumps to the next thing to happen.
//!
//! Each end is driven as a real driver would do it. The wire has a delay, a size of pieces, and
//! for either end a way to vanish.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::{Connection, Limits, Payload, Random, Role, Time};

use super::{START, Seen};

/// More than any run takes: a deadline that is not met would be one for ever.
const STEPS_MAX: u32 = 100_000;

pub(super) struct Pair {
    pub(super) client: End,
    pub(super) server: End,
    pub(super) now: Time,
    /// From an end's writing to the other's reading.
    pub(super) delay: Duration,
    /// Bytes that are read at a time.
    pub(super) chunk_bytes: usize,
}

pub(super) struct End {
    pub(super) connection: Connection,
    pub(super) seen: Vec<Seen>,
    /// Whether messages are sent back.
    pub(super) echoes: bool,
    pub(super) stream: Stream,
    outbound: Vec<u8>,
    inbound: VecDeque<(Time, Arrival)>,
}

/// One end's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Open,
    /// The driver has shut its writing side down.
    ShutDown,
    /// The driver has dropped it.
    Dropped,
    /// It is gone without a word to the other end.
    Vanished,
}

enum Arrival {
    Bytes(Vec<u8>),
    Eof,
}

impl Pair {
    pub(super) fn new(limits: Limits) -> Self {
        Self::seeded(limits, 1)
    }

    /// A pair whose client draws its masking keys from this seed.
    pub(super) fn seeded(limits: Limits, seed: u64) -> Self {
        let limits = Arc::new(limits);
        let random = Box::new(SplitMix(seed));
        let client = Connection::client_with_random(START, limits.clone(), random);
        Self {
            client: End::new(client),
            server: End::new(Connection::server(START, limits)),
            now: START,
            delay: Duration::ZERO,
            chunk_bytes: usize::MAX,
        }
    }

    pub(super) fn end(&mut self, role: Role) -> &mut End {
        match role {
            Role::Client => &mut self.client,
            Role::Server => &mut self.server,
        }
    }

    /// Goes from event to event until nothing is left to happen or the time is over.
    pub(super) fn run_for(&mut self, duration: Duration) {
        let until = self.now + duration;
        for _ in 0..STEPS_MAX {
            for role in [Role::Client, Role::Server] {
                self.drive(role);
            }
            let next = [&self.client, &self.server].map(End::next_time);
            match next.into_iter().flatten().min() {
                Some(next) if next <= until => self.now = self.now.max(next),
                _ => return,
            }
        }
        panic!("time stands still at {:?}", self.now);
    }

    fn drive(&mut self, role: Role) {
        let (now, chunk_bytes, arrives) = (self.now, self.chunk_bytes, self.now + self.delay);
        let end = self.end(role);
        if end.is_gone() {
            end.inbound.clear();
            return;
        }
        if end.connection.poll_timeout().is_some_and(|due| due <= now) {
            end.connection.handle_timeout(now);
        }
        while end.inbound.front().is_some_and(|(due, _)| *due <= now) {
            match end.inbound.pop_front() {
                Some((_, Arrival::Bytes(bytes))) => end.read(now, &bytes, chunk_bytes),
                _ => end.connection.handle_eof(now),
            }
        }
        end.connection.poll_transmit(&mut end.outbound);
        let mut leaving = Vec::new();
        if !end.outbound.is_empty() {
            leaving.push(Arrival::Bytes(std::mem::take(&mut end.outbound)));
        }
        let (dropped, over) = (end.connection.is_finished(), end.connection.write_is_over());
        if end.stream == Stream::Open && (dropped || over) {
            end.stream = Stream::ShutDown;
            leaving.push(Arrival::Eof);
        }
        if dropped {
            end.stream = Stream::Dropped;
        }
        let peer = self.end(role.peer());
        peer.inbound
            .extend(leaving.into_iter().map(|arrival| (arrives, arrival)));
    }
}

impl End {
    fn new(connection: Connection) -> Self {
        Self {
            connection,
            seen: Vec::new(),
            echoes: false,
            stream: Stream::Open,
            outbound: Vec::new(),
            inbound: VecDeque::new(),
        }
    }

    /// Sends a message.
    #[track_caller]
    pub(super) fn send(&mut self, message: Payload<'_>) {
        self.connection.send(message, &mut self.outbound).unwrap();
    }

    fn read(&mut self, now: Time, bytes: &[u8], chunk_bytes: usize) {
        for chunk in bytes.chunks(chunk_bytes.min(bytes.len())) {
            let mut chunk = chunk.to_vec();
            let mut rest = &mut chunk[..];
            while !rest.is_empty() {
                let (consumed, event) = self.connection.handle_input(now, rest);
                let event = event.map(Seen::from);
                assert!(event.is_some() || consumed == rest.len());
                rest = &mut rest[consumed..];
                self.connection.poll_transmit(&mut self.outbound);
                match event.as_ref().filter(|_| self.echoes) {
                    Some(Seen::Text(text)) => self.send(Payload::Text(text)),
                    Some(Seen::Binary(bytes)) => self.send(Payload::Binary(bytes)),
                    _ => {}
                }
                self.seen.extend(event);
            }
        }
    }

    fn is_gone(&self) -> bool {
        matches!(self.stream, Stream::Dropped | Stream::Vanished)
    }

    /// When something happens at this end next.
    fn next_time(&self) -> Option<Time> {
        if self.is_gone() {
            return None;
        }
        let arrival = self.inbound.front().map(|(time, _)| *time);
        let timeout = self.connection.poll_timeout();
        arrival.into_iter().chain(timeout).min()
    }
}

/// Steele, Lea and Flood's generator: every seed gives another sequence.
pub(super) struct SplitMix(pub(super) u64);

impl SplitMix {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

impl Random for SplitMix {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let random = self.next().to_le_bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
    }
}
