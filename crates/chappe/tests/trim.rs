//! What a server held at a peak goes back to the system, though something outlives it in the heap.
//!
//! A binary of its own, as resident memory is the whole process's.
#![cfg(all(target_os = "linux", target_env = "gnu"))]
#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

#[allow(dead_code, reason = "shared with the other tests, which use all of it")]
#[path = "it/frame.rs"]
mod frame;

use std::time::{Duration, Instant};

use chappe::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CONNECTIONS: usize = 200;

/// Bytes of each message that is begun: less than what the allocator takes from the system alone.
const MESSAGE_BYTES: usize = 100 * 1024;

/// Resident bytes of this process.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
    kilobytes.parse::<usize>().unwrap() * 1024
}

/// Opens a connection and sends all but the last byte of a message.
async fn begin_message(address: std::net::SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 512];
    let length = stream.read(&mut answer).await.unwrap();
    let head = String::from_utf8_lossy(&answer[..length]);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let message = frame::masked(0x82, &vec![7; MESSAGE_BYTES]);
    let begin = &message[..message.len() - 1];
    stream.write_all(begin).await.unwrap();
    stream
}

#[tokio::test]
async fn memory_of_a_peak_goes_back_to_the_system() {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(server.run(|mut ws, _request| async move {
        while let Some(message) = ws.recv().await? {
            ws.send(message).await?;
        }
        Ok(())
    }));
    drop(begin_message(address).await);
    let before = resident();
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS {
        streams.push(begin_message(address).await);
    }
    // Until the server has read all of it.
    let enough = before + CONNECTIONS * MESSAGE_BYTES * 9 / 10;
    until("the messages to be held", || resident() > enough).await;
    // The heap can't shrink below this.
    let outlives = Box::new([1_u8; 2000]);
    drop(streams);
    let most = before + CONNECTIONS * MESSAGE_BYTES / 4;
    until("their memory to be given back", || resident() < most).await;
    drop(outlives);
}

/// Waits until something holds.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while !holds() {
        let patience = Duration::from_secs(30);
        let kilobytes = resident() / 1024;
        assert!(
            begin.elapsed() < patience,
            "expected {what}; {kilobytes} kB are resident"
        );
        tokio::task::yield_now().await;
    }
}
