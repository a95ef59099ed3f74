//! The time that is measured: what was done in it, and what it cost whom.
//!
//! The generator never sleeps in it: a server would be charged for waking it, and the slower the
//! server, the more often. How busy it is, is the time in which it found something to do.

use serde_json::{Value, json};

use crate::account::Account;
use crate::clock::{Clock, from_seconds};
use crate::{Measure, Outcome, Server};

/// Warming up, then measuring, then over.
pub(crate) struct Window {
    account: Account,
    clock: Clock,
    measure: Measure,
    begin: Option<Reading>,
    /// When it was last asked, and the time so far in which nothing had happened.
    last: u64,
    idle: u64,
}

/// The state of all accounts at one moment.
struct Reading {
    at: u64,
    messages: u64,
    server: u64,
    idle: u64,
}

impl Window {
    pub(crate) fn new(server: Server, measure: Measure) -> Outcome<Self> {
        Ok(Self {
            account: Account::of(server.pid)?,
            clock: Clock::start(),
            measure,
            begin: None,
            last: 0,
            idle: 0,
        })
    }

    /// Tells whether it is over, given how many messages have been completed in all, and how much
    /// has happened since this was asked before.
    pub(crate) fn is_over(&mut self, messages: u64, happened: usize) -> Outcome<bool> {
        let now = self.clock.now();
        if happened == 0 {
            self.idle += now - self.last;
        }
        self.last = now;
        let Some(begin) = &self.begin else {
            let warm = self.measure.messages.is_some() || now >= from_seconds(self.measure.warm_up);
            if warm {
                self.begin = Some(self.read(messages)?);
            }
            return Ok(false);
        };
        Ok(match self.measure.messages {
            Some(enough) => messages - begin.messages >= enough,
            None => now - begin.at >= from_seconds(self.measure.seconds),
        })
    }

    /// The figures, once it is over.
    pub(crate) fn figures(&self, messages: u64) -> Outcome<Value> {
        let end = self.read(messages)?;
        let begin = self.begin.as_ref().ok_or("nothing was measured")?;
        let (wall, idle) = (end.at - begin.at, end.idle - begin.idle);
        if messages == begin.messages {
            return Err("no message came back in the measured time".to_owned());
        }
        Ok(json!({
            "messages": messages - begin.messages,
            "seconds": wall as f64 / 1e9,
            "server_cpu_ns": end.server - begin.server,
            "generator_cpu_ns": wall - idle,
            "generator_busy": 1.0 - idle as f64 / wall as f64,
            "latency_ns": null,
        }))
    }

    fn read(&self, messages: u64) -> Outcome<Reading> {
        Ok(Reading {
            at: self.clock.now(),
            messages,
            server: self.account.cpu()?,
            idle: self.idle,
        })
    }
}
