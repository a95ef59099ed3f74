//! Closed loop: each connection keeps so many messages under way, and sends as many as came back.

use serde_json::Value;

use crate::client::Clients;
use crate::exchange::{Exchange, Position};
use crate::window::Window;
use crate::{Form, Measure, Outcome, Server, Traffic};

/// How far a connection is.
pub(crate) struct Progress {
    /// Sent up to here, of what is to be sent up to `due`.
    pub(crate) sent: Position,
    pub(crate) due: Position,
    pub(crate) received: Position,
    start: Position,
}

pub(crate) fn run(
    server: Server,
    traffic: Traffic,
    measure: Measure,
    form: Form,
) -> Outcome<Value> {
    let mut echo = Echo::open(server, traffic, form)?;
    let mut window = Window::new(server, measure)?;
    for index in 0..traffic.connections {
        echo.send(index, traffic.in_flight as u64)?;
    }
    let (mut messages, mut happened) = (0, 0);
    while !window.is_over(messages, happened)? {
        happened = echo.clients.wait(0)?;
        for number in 0..happened {
            let ready = echo.clients.ready(number);
            if ready.writable {
                echo.flush(ready.index)?;
            }
            if ready.readable {
                let replies = echo.receive(ready.index)?;
                messages += replies;
                echo.send(ready.index, replies)?;
            }
        }
    }
    window.figures(messages)
}

/// Connections with their progress.
pub(crate) struct Echo {
    pub(crate) clients: Clients,
    exchange: Exchange,
    progress: Vec<Progress>,
    buffer: Vec<u8>,
}

impl Echo {
    pub(crate) fn open(server: Server, traffic: Traffic, form: Form) -> Outcome<Self> {
        let clients = Clients::open(server.address, traffic.connections)?;
        let exchange = Exchange::new(traffic, form);
        let mut echo = Self {
            clients,
            exchange,
            progress: Vec::new(),
            buffer: vec![0; 256 * 1024],
        };
        echo.follow();
        Ok(echo)
    }

    /// Adds the progress of connections that were added.
    pub(crate) fn follow(&mut self) {
        for index in self.progress.len()..self.clients.all.len() {
            let (sent, received) = self.exchange.start(index);
            self.progress.push(Progress {
                sent,
                due: sent,
                received,
                start: received,
            });
        }
    }

    /// Sends so many more messages.
    pub(crate) fn send(&mut self, index: usize, messages: u64) -> Outcome<()> {
        self.progress[index].due.0 += messages * self.exchange.request_bytes();
        self.flush(index)
    }

    /// Sends what is due, as far as there is room. A call takes what is due in one piece.
    pub(crate) fn flush(&mut self, index: usize) -> Outcome<()> {
        let progress = &mut self.progress[index];
        while progress.sent.0 < progress.due.0 {
            let bytes = self.exchange.request(progress.sent, progress.due);
            let written = self.clients.write(index, bytes)?;
            progress.sent.0 += written as u64;
            if written < bytes.len() {
                return self.clients.watch_room(index, true);
            }
        }
        self.clients.watch_room(index, false)
    }

    /// Reads once and checks what came; gives how many messages that completed.
    pub(crate) fn receive(&mut self, index: usize) -> Outcome<u64> {
        let length = self.clients.read(index, &mut self.buffer)?;
        let progress = &mut self.progress[index];
        self.exchange
            .check(progress.received, &self.buffer[..length])?;
        let reply = self.exchange.reply_bytes();
        let before = progress.received.0 / reply;
        progress.received.0 += length as u64;
        let replies = progress.received.0 / reply - before;
        let sent =
            (progress.due.0 - self.exchange.start(index).0.0) / self.exchange.request_bytes();
        if (progress.received.0 - progress.start.0).div_ceil(reply) > sent {
            return Err("more came back than was sent".to_owned());
        }
        Ok(replies)
    }
}
