//! Pings on a schedule, and pongs for the peer's (RFC 6455, sections 5.5.2 and 5.5.3).
//!
//! One ping of ours is under way at a time. It carries a number that the pong must repeat, which
//! gives the round-trip time; other pongs are unsolicited and ignored. Of the peer's pings only
//! the latest that was not answered yet is answered (section 5.5.3 allows it), so that a flood
//! costs one pong of memory.
//!
//! A pong is overdue [`Limits::pong_timeout`] after the latest of: the ping, the moment it was seen
//! to have left, the last bytes from the peer. When that deadline comes, the peer is not blamed for
//! what it could not do:
//!
//! ```text
//!   the ping is behind other bytes ─┬─ they get fewer ───────────────► more time
//!                                   └─ they do not ──────────────────► overdue
//!   what was read is kept back ──────────────────────────────────────► more time, and another ping
//!   otherwise ───────────────────────────────────────────────────────► overdue
//! ```

use std::time::Duration;

use crate::error::ProtocolError;
use crate::limits::Limits;
use crate::time::Time;

#[derive(Debug)]
pub(crate) struct Keepalive {
    /// When the next ping is due, if there is a schedule.
    next_ping: Option<Time>,
    /// The ping that awaits its pong. Boxed, because mostly there is none.
    flight: Option<Box<Flight>>,
    /// The number of the last ping.
    sequence: u32,
    ping_due: bool,
    /// The payload of the pong that is due.
    pong: Option<Box<[u8]>>,
    round_trip: Option<Duration>,
}

#[derive(Debug)]
struct Flight {
    sent: Time,
    deadline: Time,
    /// Bytes that were put out before it; all that there could ever be, until it is put out itself.
    position: u64,
    /// Of the bytes that were put out, how many had reached the peer when that was last known.
    reached: u64,
    /// Whether more had than the time before.
    progressed: bool,
    /// Whether bytes before it had not, so that it can't have either.
    held_up: bool,
    /// Whether nothing was said of all this since it was due.
    unreported: bool,
}

impl Keepalive {
    pub(crate) fn new(now: Time, limits: &Limits) -> Self {
        Self {
            next_ping: limits.ping_interval.map(|interval| now + interval),
            flight: None,
            sequence: 0,
            ping_due: false,
            pong: None,
            round_trip: None,
        }
    }

    /// Sends a ping, unless one is under way: then its pong answers for both.
    pub(crate) fn ping(&mut self, now: Time, limits: &Limits) {
        if self.flight.is_some() {
            return;
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.flight = Some(Box::new(Flight {
            sent: now,
            deadline: now + limits.pong_timeout,
            position: u64::MAX,
            reached: 0,
            progressed: false,
            held_up: false,
            unreported: true,
        }));
        self.ping_due = true;
    }

    /// Bytes have arrived: the peer is alive, and its pong may be among those that follow.
    pub(crate) fn handle_arrival(&mut self, now: Time, limits: &Limits) {
        self.postpone_pong(now, limits);
    }

    /// Of the bytes that were put out, this many have reached the peer, as far as is known.
    pub(crate) fn handle_write_progress(&mut self, now: Time, reached: u64, limits: &Limits) {
        let Some(flight) = &mut self.flight else {
            return;
        };
        flight.progressed = !flight.unreported && reached > flight.reached;
        flight.unreported = false;
        flight.reached = reached;
        let was_held_up = std::mem::replace(&mut flight.held_up, reached < flight.position);
        if was_held_up && !flight.held_up {
            self.postpone_pong(now, limits);
        }
    }

    /// Whether a ping is due or has been put out of which nothing is known yet.
    pub(crate) fn wants_write_progress(&self) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.unreported)
    }

    /// Makes a pong due, with the ping's payload, in place of one that is due already.
    pub(crate) fn handle_ping(&mut self, payload: Vec<u8>) {
        self.pong = Some(payload.into());
    }

    /// The round-trip time, if this is the pong that is awaited.
    pub(crate) fn handle_pong(
        &mut self,
        now: Time,
        payload: &[u8],
        limits: &Limits,
    ) -> Option<Duration> {
        if payload != self.sequence.to_be_bytes() {
            return None;
        }
        let flight = self.flight.take()?;
        self.next_ping = limits
            .ping_interval
            .map(|interval| now.max(flight.sent + interval));
        self.round_trip = Some(now - flight.sent);
        self.round_trip
    }

    /// Sends the ping that is due, or decides that a pong is overdue. `paused`: the driver keeps back what it
    /// has read.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Time,
        paused: bool,
        limits: &Limits,
    ) -> Result<(), ProtocolError> {
        let Some(flight) = &mut self.flight else {
            if self.next_ping.is_some_and(|next| next <= now) {
                self.ping(now, limits);
            }
            return Ok(());
        };
        if now < flight.deadline {
            return Ok(());
        }
        let excused = if flight.held_up {
            flight.progressed
        } else {
            paused
        };
        if !excused {
            return Err(ProtocolError::PongTimeout {
                after: limits.pong_timeout,
            });
        }
        if paused && !flight.held_up {
            // Writing to a stream whose other end is gone fails, which reading would have told.
            self.ping_due = true;
            flight.position = u64::MAX;
        }
        self.postpone_pong(now, limits);
        Ok(())
    }

    fn postpone_pong(&mut self, now: Time, limits: &Limits) {
        if let Some(flight) = &mut self.flight {
            let more = limits.pong_timeout.max(POSTPONED_MIN);
            flight.deadline = flight.deadline.max(now + more);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.flight
            .as_ref()
            .map(|flight| flight.deadline)
            .or(self.next_ping)
    }

    /// The payload of the pong that is due.
    pub(crate) fn pong(&self) -> &[u8] {
        self.pong.as_deref().unwrap_or_default()
    }

    /// The payload of the pong that is due, the first time this is asked.
    pub(crate) fn poll_pong(&mut self) -> Option<Box<[u8]>> {
        self.pong.take()
    }

    /// The payload of the ping that is due, the first time this is asked. So many bytes were put
    /// out before it.
    pub(crate) fn poll_ping(&mut self, put_out: u64) -> Option<[u8; 4]> {
        if !std::mem::take(&mut self.ping_due) {
            return None;
        }
        if let Some(flight) = &mut self.flight {
            flight.position = put_out;
        }
        Some(self.sequence.to_be_bytes())
    }

    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }
}

/// How far a deadline is put off at least, so that a timeout of zero does not come again and again
/// at the same time.
const POSTPONED_MIN: Duration = Duration::from_millis(1);
