//! Open loop: messages leave on a schedule that is fixed in advance, whatever the server does, and
//! a reply's latency counts from the moment that the schedule names. So a server that stalls is
//! charged for all who would have had to wait.

use std::collections::VecDeque;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::account::{Account, own_cpu};
use crate::clock::{Clock, from_seconds};
use crate::echo::Echo;
use crate::{Form, Measure, Outcome, Server, Traffic};

/// A burst that is under way.
struct Burst {
    due: u64,
    replies_left: u64,
}

/// How long after the end of the schedule replies are waited for.
const GRACE: u64 = 1_000_000_000;

pub(crate) fn run(
    server: Server,
    traffic: Traffic,
    measure: Measure,
    form: Form,
    rate: f64,
) -> Outcome<Value> {
    if rate.is_nan() || rate <= 0.0 {
        return Err(format!("the rate has to be above 0, and is {rate}"));
    }
    let account = Account::of(server.pid)?;
    let mut schedule = Schedule::new(Echo::open(server, traffic, form)?, traffic, rate);
    let (begin, end) = (
        from_seconds(measure.warm_up),
        from_seconds(measure.warm_up + measure.seconds),
    );
    schedule.until(begin)?;
    schedule.latency.reset();
    schedule.late.reset();
    let (cpu, own) = (account.cpu()?, own_cpu());
    schedule.until(end)?;
    let (cpu, own) = (account.cpu()? - cpu, own_cpu() - own);
    let messages = schedule.latency.len();
    schedule.wait_for_the_rest(end + GRACE)?;
    Ok(json!({
        "messages": messages,
        "seconds": measure.seconds,
        "server_cpu_ns": cpu,
        "generator_cpu_ns": own,
        // Between events it spins, so that it is on time: its CPU says nothing. This does.
        "generator_late_ns": percentiles(&schedule.late),
        "latency_ns": percentiles(&schedule.latency),
    }))
}

struct Schedule {
    echo: Echo,
    clock: Clock,
    connections: usize,
    burst: u64,
    /// Nanoseconds between one burst and the next.
    pause: f64,
    /// Bursts that were sent.
    count: u64,
    under_way: Vec<VecDeque<Burst>>,
    latency: Histogram<u64>,
    /// How long after the moment that the schedule names a burst was sent.
    late: Histogram<u64>,
}

impl Schedule {
    fn new(echo: Echo, traffic: Traffic, rate: f64) -> Self {
        // Nanoseconds, up to a minute.
        let histogram =
            || Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("three digits are allowed");
        Self {
            echo,
            clock: Clock::start(),
            connections: traffic.connections,
            burst: traffic.in_flight as u64,
            pause: 1e9 * traffic.in_flight as f64 / rate,
            count: 0,
            under_way: (0..traffic.connections).map(|_| VecDeque::new()).collect(),
            latency: histogram(),
            late: histogram(),
        }
    }

    /// Keeps the schedule until then.
    fn until(&mut self, end: u64) -> Outcome<()> {
        loop {
            let now = self.clock.now();
            if now >= end {
                return Ok(());
            }
            self.send_what_is_due(now)?;
            self.receive()?;
        }
    }

    fn send_what_is_due(&mut self, now: u64) -> Outcome<()> {
        // Some at a time, so that replies are seen meanwhile.
        for _ in 0..BURSTS_AT_ONCE {
            let due = (self.count as f64 * self.pause) as u64;
            if due > now {
                break;
            }
            let index = (self.count % self.connections as u64) as usize;
            self.echo.send(index, self.burst)?;
            self.under_way[index].push_back(Burst {
                due,
                replies_left: self.burst,
            });
            self.late.saturating_record(self.clock.now() - due);
            self.count += 1;
        }
        Ok(())
    }

    fn receive(&mut self) -> Outcome<()> {
        for number in 0..self.echo.clients.wait(0)? {
            let ready = self.echo.clients.ready(number);
            if ready.writable {
                self.echo.flush(ready.index)?;
            }
            if ready.readable {
                let replies = self.echo.receive(ready.index)?;
                self.record(ready.index, replies);
            }
        }
        Ok(())
    }

    fn record(&mut self, index: usize, mut replies: u64) {
        let now = self.clock.now();
        while replies > 0 {
            let burst = self.under_way[index]
                .front_mut()
                .expect("no more comes back than was sent");
            let of_this = replies.min(burst.replies_left);
            self.latency.saturating_record_n(now - burst.due, of_this);
            burst.replies_left -= of_this;
            replies -= of_this;
            if burst.replies_left == 0 {
                self.under_way[index].pop_front();
            }
        }
    }

    /// Waits for all replies until then.
    fn wait_for_the_rest(&mut self, end: u64) -> Outcome<()> {
        loop {
            let missing = self.under_way.iter().flatten();
            let missing: u64 = missing.map(|burst| burst.replies_left).sum();
            if missing == 0 {
                return Ok(());
            }
            if self.clock.now() >= end {
                return Err(format!(
                    "{missing} replies had not come a second after the last message was due"
                ));
            }
            self.receive()?;
        }
    }
}

fn percentiles(histogram: &Histogram<u64>) -> Value {
    json!({
        "p50": histogram.value_at_quantile(0.5),
        "p99": histogram.value_at_quantile(0.99),
        "p999": histogram.value_at_quantile(0.999),
        "max": histogram.max(),
    })
}

/// Bursts that are sent before replies are looked for.
const BURSTS_AT_ONCE: u32 = 8;
