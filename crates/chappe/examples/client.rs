//! Connects to an echo server, sends three messages, prints what comes back, and closes.
//!
//! ```text
//! Run:  cargo run --release                                  (the server, in another terminal)
//!       cargo run --release -p chappe --example client ws://127.0.0.1:8000/echo
//! See:  each message that came back, the round trip of a ping, and a clean close.
//! ```

use std::error::Error;

use chappe::{CloseCode, Message};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args()
        .nth(1)
        .ok_or("usage: client URL, such as ws://127.0.0.1:8000/echo")?;
    let mut ws = chappe::connect(&url).await?;
    println!("connected to {url}");
    for message in [
        "hello".into(),
        "grüezi 👋".into(),
        Message::from(vec![1, 2, 3]),
    ] {
        ws.send(message).await?;
        match ws.recv().await? {
            Some(Message::Text(text)) => println!("text: {text}"),
            Some(Message::Binary(bytes)) => println!("binary: {bytes:?}"),
            None => return Err("the server closed before it answered".into()),
        }
    }
    println!("a round trip takes {:?}", ws.ping().await?);
    ws.close(CloseCode::NORMAL, "that was all").await?;
    println!("closed: {}", ws.closed().await);
    Ok(())
}
