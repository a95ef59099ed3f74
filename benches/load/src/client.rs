//! Connections to the server, non-blocking, watched by one epoll set.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrIn, sockopt};

use crate::Outcome;

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    watched: EpollFlags,
}

/// Connections, each known by its index.
pub(crate) struct Clients {
    epoll: Epoll,
    events: Vec<EpollEvent>,
    pub(crate) all: Vec<Client>,
}

/// What happened to a connection.
#[derive(Clone, Copy)]
pub(crate) struct Ready {
    pub(crate) index: usize,
    /// There may be room to write where there was none.
    pub(crate) writable: bool,
    pub(crate) readable: bool,
}

/// How many connections are in their handshake at a time.
const HANDSHAKES_AT_ONCE: usize = 128;

impl Clients {
    pub(crate) fn none() -> Outcome<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC);
        Ok(Self {
            epoll: epoll.map_err(|error| format!("there is no epoll: {error}"))?,
            events: vec![EpollEvent::empty(); 1024],
            all: Vec::new(),
        })
    }

    /// Opens so many connections and does their handshakes, some at a time.
    pub(crate) fn open(address: SocketAddr, count: usize) -> Outcome<Self> {
        let mut clients = Self::none()?;
        clients.add(address, count)?;
        Ok(clients)
    }

    /// Opens so many more.
    pub(crate) fn add(&mut self, address: SocketAddr, count: usize) -> Outcome<()> {
        let last = self.all.len() + count;
        while self.all.len() < last {
            let first = self.all.len();
            let wave = (last - first).min(HANDSHAKES_AT_ONCE);
            for index in first..first + wave {
                let mut stream = connect(address, index)?;
                send_request(&mut stream, address)?;
                self.all.push(Client {
                    stream,
                    watched: EpollFlags::EPOLLIN,
                });
            }
            for index in first..first + wave {
                let stream = &mut self.all[index].stream;
                read_response(stream)?;
                stream.set_nonblocking(true).map_err(broken)?;
                let flags = EpollFlags::EPOLLIN;
                let event = EpollEvent::new(flags, index as u64);
                self.epoll
                    .add(&self.all[index].stream, event)
                    .map_err(|error| format!("can't watch a connection: {error}"))?;
            }
        }
        Ok(())
    }

    /// Waits for something to happen, at most so many milliseconds.
    pub(crate) fn wait(&mut self, milliseconds: u16) -> Outcome<usize> {
        let timeout = EpollTimeout::from(milliseconds);
        match self.epoll.wait(&mut self.events, timeout) {
            Ok(count) => Ok(count),
            Err(nix::errno::Errno::EINTR) => Ok(0),
            Err(error) => Err(format!("epoll failed: {error}")),
        }
    }

    /// What [`wait`](Self::wait) found.
    pub(crate) fn ready(&self, number: usize) -> Ready {
        let event = &self.events[number];
        let flags = event.events();
        Ready {
            index: event.data() as usize,
            writable: flags.contains(EpollFlags::EPOLLOUT),
            readable: flags.intersects(!EpollFlags::EPOLLOUT),
        }
    }

    /// Reads what there is, at most a buffer full; 0 when there is nothing.
    pub(crate) fn read(&mut self, index: usize, buffer: &mut [u8]) -> Outcome<usize> {
        match self.all[index].stream.read(buffer) {
            Ok(0) => Err("the server ended a connection".to_owned()),
            Ok(length) => Ok(length),
            Err(error) if is_transient(&error) => Ok(0),
            Err(error) => Err(broken(error)),
        }
    }

    /// Writes what there is room for; 0 when there is none, and then asks to be told.
    pub(crate) fn write(&mut self, index: usize, bytes: &[u8]) -> Outcome<usize> {
        match self.all[index].stream.write(bytes) {
            Ok(length) => Ok(length),
            Err(error) if is_transient(&error) => {
                self.watch_room(index, true)?;
                Ok(0)
            }
            Err(error) => Err(broken(error)),
        }
    }

    /// Whether to be told of room to write.
    pub(crate) fn watch_room(&mut self, index: usize, watch: bool) -> Outcome<()> {
        self.watch(index, EpollFlags::EPOLLOUT, watch)
    }

    /// Whether to be told of bytes to read.
    pub(crate) fn watch_input(&mut self, index: usize, watch: bool) -> Outcome<()> {
        self.watch(index, EpollFlags::EPOLLIN, watch)
    }

    fn watch(&mut self, index: usize, what: EpollFlags, watch: bool) -> Outcome<()> {
        let client = &mut self.all[index];
        if client.watched.contains(what) == watch {
            return Ok(());
        }
        client.watched.set(what, watch);
        let mut event = EpollEvent::new(client.watched, index as u64);
        self.epoll
            .modify(&client.stream, &mut event)
            .map_err(|error| format!("can't watch a connection: {error}"))
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn broken(error: io::Error) -> String {
    format!("a connection broke: {error}")
}

/// How many connections come from one address of this machine. The system has some 28,000 ports
/// for each, which closed connections occupy for a minute; once half of them are taken, finding one
/// takes ever longer.
const CONNECTIONS_PER_ADDRESS: usize = 1000;

/// Makes the connection of this index.
fn connect(address: SocketAddr, index: usize) -> Outcome<TcpStream> {
    let stream = match address {
        SocketAddr::V4(address) if address.ip().is_loopback() => {
            let number = 1 + index / CONNECTIONS_PER_ADDRESS % 254;
            connect_from(Ipv4Addr::new(127, 0, 0, number as u8), address)
        }
        address => TcpStream::connect(address),
    };
    let stream = stream.map_err(|error| format!("can't connect: {error}"))?;
    stream.set_nodelay(true).map_err(broken)?;
    Ok(stream)
}

fn connect_from(source: Ipv4Addr, address: SocketAddrV4) -> io::Result<TcpStream> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let stream = socket::socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    // The port is found with the address that it is for: others may have the same.
    socket::setsockopt(&stream, sockopt::IpBindAddressNoPort, &true)?;
    let source = SocketAddrV4::new(source, 0);
    socket::bind(stream.as_raw_fd(), &SockaddrIn::from(source))?;
    socket::connect(stream.as_raw_fd(), &SockaddrIn::from(address))?;
    Ok(TcpStream::from(stream))
}

/// Sends the opening handshake as one segment.
fn send_request(stream: &mut TcpStream, address: SocketAddr) -> Outcome<()> {
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).map_err(broken)
}

/// Reads the answer, which has to be the whole of what comes.
fn read_response(stream: &mut TcpStream) -> Outcome<()> {
    let mut response = Vec::new();
    let mut buffer = [0; 2048];
    while !response.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(0) => {
                let text = String::from_utf8_lossy(&response);
                return Err(format!("the handshake was answered with {text:?}"));
            }
            Ok(length) => response.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(broken(error)),
        }
    }
    let text = String::from_utf8_lossy(&response);
    if text.starts_with("HTTP/1.1 101 ") && text.contains(ACCEPT) {
        Ok(())
    } else {
        Err(format!("the handshake was answered with {text:?}"))
    }
}

/// The example of RFC 6455, section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
