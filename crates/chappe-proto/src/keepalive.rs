//! Pings on a schedule, and pongs for the peer's (RFC 6455, sections 5.5.2 and 5.5.3).
//!
//! One ping of ours is under way at a time. It carries a number that the pong must repeat, which
//! gives the round-trip time; other pongs are unsolicited and ignored. Of the peer's pings only
//! the latest that was not answered yet is answered (section 5.5.3 allows it), so that a flood
//! costs one pong of memory.

use std::time::Duration;

use crate::error::ProtocolError;
use crate::limits::Limits;
use crate::time::Time;

#[derive(Debug)]
pub(crate) struct Keepalive {
    /// When the next ping is due, if there is a schedule.
    next_ping: Option<Time>,
    /// The ping that awaits its pong.
    flight: Option<Flight>,
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
        self.flight = Some(Flight {
            sent: now,
            deadline: now + limits.pong_timeout,
        });
        self.ping_due = true;
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

    /// `answerable`: whether the peer could have sent a pong. Amid a data frame it can't.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Time,
        answerable: bool,
        limits: &Limits,
    ) -> Result<(), ProtocolError> {
        match &self.flight {
            Some(flight) if flight.deadline <= now => {
                if answerable {
                    return Err(ProtocolError::PongTimeout {
                        after: limits.pong_timeout,
                    });
                }
                self.postpone_pong(now, limits);
            }
            None if self.next_ping.is_some_and(|next| next <= now) => self.ping(now, limits),
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn postpone_pong(&mut self, now: Time, limits: &Limits) {
        if let Some(flight) = &mut self.flight {
            flight.deadline = flight.deadline.max(now + limits.pong_timeout);
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

    /// The payload of the ping that is due, the first time this is asked.
    pub(crate) fn poll_ping(&mut self) -> Option<[u8; 4]> {
        std::mem::take(&mut self.ping_due).then(|| self.sequence.to_be_bytes())
    }

    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }
}
