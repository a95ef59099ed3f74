//! The floor of the benchmark: an echo server that does what no WebSocket server can do without,
//! and nothing else.
//!
//! One thread, level-triggered epoll, one read per readiness, one write for all messages of a
//! read. Nothing is checked: neither UTF-8 nor the order of frames. What a library costs is what
//! it needs beyond this.

use std::{
    env, io,
    net::{TcpListener, TcpStream},
    os::fd::{AsRawFd, OwnedFd},
    process::ExitCode,
};

use floor::connection::{Connection, Next, READ_BYTES};
use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, CreateFlags, Event, EventData, EventFlags},
    io::Errno,
};

/// The token of the listener; those of the connections are their descriptors.
const LISTENER: u64 = u64::MAX;

fn main() -> ExitCode {
    match env::args().nth(1).as_deref() {
        Some("echo") => {
            let Err(error) = Server::new().and_then(Server::run);
            eprintln!("{error}");
            ExitCode::FAILURE
        }
        Some("broadcast") => {
            eprintln!("floor has no broadcast");
            ExitCode::from(2)
        }
        _ => {
            eprintln!("usage: floor echo");
            ExitCode::from(2)
        }
    }
}

enum Never {}

struct Server {
    epoll: OwnedFd,
    listener: TcpListener,
    /// The connections, by descriptor.
    connections: Vec<Option<(TcpStream, Connection)>>,
    buffer: Vec<u8>,
}

impl Server {
    fn new() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        println!("listening on {}", listener.local_addr()?);
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(
            &epoll,
            &listener,
            EventData::new_u64(LISTENER),
            EventFlags::IN,
        )?;
        Ok(Self {
            epoll,
            listener,
            connections: Vec::new(),
            buffer: vec![0; READ_BYTES],
        })
    }

    fn run(mut self) -> io::Result<Never> {
        let mut events: Vec<Event> = Vec::with_capacity(1024);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    token => self.turn(token as usize, event.flags)?,
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        let stream = match self.listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let token = stream.as_raw_fd() as usize;
        epoll::add(
            &self.epoll,
            &stream,
            EventData::new_u64(token as u64),
            EventFlags::IN,
        )?;
        if self.connections.len() <= token {
            self.connections.resize_with(token + 1, || None);
        }
        self.connections[token] = Some((stream, Connection::new()));
        Ok(())
    }

    /// Lets a connection do what it is ready for.
    fn turn(&mut self, token: usize, flags: EventFlags) -> io::Result<()> {
        let Some((stream, connection)) = &mut self.connections[token] else {
            return Ok(());
        };
        let waited_for = connection.next();
        let result = match waited_for {
            Next::Read => connection.on_readable(stream, &mut self.buffer),
            Next::Write => connection.on_writable(stream),
            Next::Close => Ok(()),
        };
        let next = connection.next();
        let broken = result.is_err() || flags.contains(EventFlags::ERR);
        if broken || next == Next::Close {
            // Closing the descriptor takes it out of the epoll set as well.
            self.connections[token] = None;
        } else if next != waited_for {
            let interest = if next == Next::Write {
                EventFlags::OUT
            } else {
                EventFlags::IN
            };
            let data = EventData::new_u64(token as u64);
            epoll::modify(&self.epoll, &*stream, data, interest)?;
        }
        Ok(())
    }
}
