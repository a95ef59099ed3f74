//! A client without tokio: `std::net` moves the bytes for `chappe-proto`.
//!
//! ```text
//! Run:  cargo run --release                                  (the server, in another terminal)
//!       cargo run --release -p chappe --example blocking ws://127.0.0.1:8000/echo
//! See:  the message that came back, and a clean close.
//! ```
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chappe_proto::handshake::{ClientHandshake, ClientRequest};
use chappe_proto::{CloseCode, Connection, Event, Limits, Payload, SystemRandom, Time};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("usage: blocking URL")?;
    let (request, limits) = (ClientRequest::new(&url)?, Arc::new(Limits::default()));
    let mut stream = std::net::TcpStream::connect((request.host(), request.port()))?;
    let epoch = Instant::now();
    let now = || Time::ZERO + epoch.elapsed();
    let mut handshake = ClientHandshake::new(now(), request, limits.clone(), &mut SystemRandom);
    stream.write_all(handshake.request())?;
    let (mut input, mut output) = (vec![0; 64 * 1024], Vec::new());
    let (mut start, mut end) = loop {
        let end = stream.read(&mut input)?;
        let (consumed, response) = handshake.handle_input(&input[..end]);
        match response.transpose()? {
            Some(_) => break (consumed, end), // frames may follow the response
            None if end == 0 => return Err(handshake.handle_eof().into()),
            None => {}
        }
    };
    let mut connection = Connection::client(now(), limits);
    connection.send(Payload::Text("hello"), &mut output)?;
    while !connection.is_finished() {
        while start < end {
            let (consumed, event) = connection.handle_input(now(), &mut input[start..end]);
            start += consumed;
            if let Some(Event::Text(text)) = event {
                println!("text: {text}");
                connection.close(now(), CloseCode::NORMAL, "that was all")?;
            }
        }
        connection.poll_transmit(&mut output);
        stream.write_all(&output)?;
        output.clear();
        let wait = connection.poll_timeout().map(|at| at - now());
        stream.set_read_timeout(wait.map(|wait| wait.max(Duration::from_millis(1))))?;
        match stream.read(&mut input) {
            Ok(0) => connection.handle_eof(now()),
            Ok(length) => (start, end) = (0, length),
            Err(_) => connection.handle_timeout(now()), // a broken stream misses its deadlines
        }
    }
    println!("{}", connection.ended().expect("it is finished"));
    Ok(())
}
