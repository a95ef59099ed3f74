//! One connection publishes, and all have to get all of it: a message is complete, and the next is
//! published, when the last connection has it.

use serde_json::Value;

use crate::client::Clients;
use crate::exchange::{Exchange, Position};
use crate::window::Window;
use crate::{Form, Measure, Outcome, Server, Traffic};

/// How long servers get to count everybody in, after the last handshake.
const SETTLE: std::time::Duration = std::time::Duration::from_millis(300);

pub(crate) fn run(
    server: Server,
    traffic: Traffic,
    measure: Measure,
    singly: bool,
) -> Outcome<Value> {
    let mut room = Room::open(server, traffic, singly)?;
    std::thread::sleep(SETTLE);
    let mut window = Window::new(server, measure)?;
    room.publish(traffic.in_flight as u64)?;
    let mut happened = 0;
    while !window.is_over(room.deliveries, happened)? {
        happened = room.clients.wait(0)?;
        for number in 0..happened {
            let ready = room.clients.ready(number);
            if ready.readable {
                let complete = room.receive(ready.index)?;
                room.publish(complete)?;
            }
        }
    }
    window.figures(room.deliveries)
}

struct Room {
    clients: Clients,
    exchange: Exchange,
    /// Whether each message is published by a write of its own.
    singly: bool,
    published: Position,
    /// How far each connection is.
    received: Vec<Position>,
    /// How many connections have each of the messages that are under way, by its number.
    holders: Vec<usize>,
    deliveries: u64,
    buffer: Vec<u8>,
}

impl Room {
    fn open(server: Server, traffic: Traffic, singly: bool) -> Outcome<Self> {
        Ok(Self {
            clients: Clients::open(server.address, traffic.connections)?,
            exchange: Exchange::new(traffic, Form::PLAIN),
            singly,
            published: Position(0),
            received: vec![Position(0); traffic.connections],
            holders: vec![0; traffic.in_flight],
            deliveries: 0,
            buffer: vec![0; 256 * 1024],
        })
    }

    /// Publishes so many more messages, in one piece or one at a time.
    fn publish(&mut self, messages: u64) -> Outcome<()> {
        let message = self.exchange.request_bytes();
        let due = self.published.0 + messages * message;
        while self.published.0 < due {
            let end = if self.singly {
                (self.published.0 / message + 1) * message
            } else {
                due
            };
            let bytes = self.exchange.request(self.published, Position(end));
            match self.clients.write(0, bytes)? {
                0 => return Err("the server does not take what is published".to_owned()),
                written => self.published.0 += written as u64,
            }
        }
        Ok(())
    }

    /// Reads once and checks what came; gives how many messages are complete with that.
    fn receive(&mut self, index: usize) -> Outcome<u64> {
        let length = self.clients.read(index, &mut self.buffer)?;
        let at = &mut self.received[index];
        self.exchange.check(*at, &self.buffer[..length])?;
        let reply = self.exchange.reply_bytes();
        let before = at.0 / reply;
        at.0 += length as u64;
        let after = at.0 / reply;
        if at.0.div_ceil(reply) > self.published.0 / self.exchange.request_bytes() {
            return Err("more was delivered than was published".to_owned());
        }
        self.deliveries += after - before;
        let mut complete = 0;
        for message in before..after {
            let slot = (message % self.holders.len() as u64) as usize;
            let holders = &mut self.holders[slot];
            *holders += 1;
            if *holders == self.received.len() {
                *holders = 0;
                complete += 1;
            }
        }
        Ok(complete)
    }
}
