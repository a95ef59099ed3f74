//! A server that runs, and clients that speak bytes to it.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use chappe::{BoxError, Monitor, Request, Server, WebSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::endpoint::REQUEST;
use crate::frame::{self, Frame};

/// A server that runs until it is told to stop, and what is known of it from outside.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) watch: Monitor,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) task: JoinHandle<io::Result<()>>,
}

impl Running {
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }

    /// Waits until so many connections are open.
    pub(crate) async fn connections(&self, expected: usize) {
        while self.watch.connections() != expected {
            tokio::task::yield_now().await;
        }
    }
}

pub(crate) async fn server() -> Server {
    Server::bind("127.0.0.1:0").await.unwrap()
}

pub(crate) fn run<F>(
    server: Server,
    handler: impl Fn(WebSocket, Request) -> F + Clone + Send + Sync + 'static,
) -> Running
where
    F: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let address = server.local_addr().unwrap();
    let watch = server.monitor();
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(server.run_until(handler, async { drop(stopped.await) }));
    Running {
        address,
        watch,
        stop,
        task,
    }
}

/// A client that speaks bytes.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) bytes: Vec<u8>,
}

impl Client {
    pub(crate) async fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let bytes = Vec::new();
        Self { stream, bytes }
    }

    /// A client whose handshake is complete.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let mut client = Self::new(address).await;
        client.send(REQUEST).await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        client
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Reads more; false at the end of the stream.
    pub(crate) async fn read(&mut self) -> bool {
        self.stream.read_buf(&mut self.bytes).await.unwrap() > 0
    }

    pub(crate) async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self
                .bytes
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
            {
                let head = self.bytes.drain(..end + 4).collect();
                return String::from_utf8(head).unwrap();
            }
            assert!(self.read().await, "the stream ended amid a head");
        }
    }

    pub(crate) async fn frame(&mut self) -> Frame {
        loop {
            if let Some((frame, length)) = frame::decode(&self.bytes) {
                self.bytes.drain(..length);
                return frame;
            }
            assert!(self.read().await, "the stream ended in place of a frame");
        }
    }

    /// All that comes until the end of the stream.
    pub(crate) async fn rest(&mut self) -> String {
        while self.read().await {}
        String::from_utf8(std::mem::take(&mut self.bytes)).unwrap()
    }

    /// Answers a close frame, and waits for the end of the stream.
    pub(crate) async fn answer(mut self, code: u16) {
        self.send(frame::close(code, "")).await;
        assert_eq!(self.rest().await, "");
    }
}

pub(crate) const PLAIN: &str = "GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A server whose answers to plain requests are their paths. Bodies are not read.
pub(crate) async fn server_of_paths() -> Server {
    server().await.http(|mut plain| async move {
        let mut head = vec![0; PLAIN.len()];
        plain.read_exact(&mut head).await.unwrap();
        let path = plain.request().uri().path().to_owned();
        let response = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nPath: {path}\r\n\r\n");
        plain.write_all(response.as_bytes()).await.unwrap();
        Some(plain)
    })
}
