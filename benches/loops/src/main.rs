//! Sends every message back, as the example `echo` does, but by a loop that is not the plain one:
//! `loops ADDRESS changed|yields`.
//!
//! What these cost beside the example shows whether the plain loop is a special case. Everything
//! but the loop is the same.

use std::error::Error;

use chappe::{BoxError, Limits, Message, Server, WebSocket};

const USAGE: &str = "usage: loops ADDRESS changed|yields, such as loops 127.0.0.1:9001 changed";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or(USAGE)?;
    let name = arguments.next().ok_or(USAGE)?;
    let mut limits = Limits::default();
    limits.message_bytes_max = 16 * 1024 * 1024;
    limits.fragments_max = 65_537;
    let server = Server::bind(&address).await?.limits(limits);
    println!("echoing on ws://{}", server.local_addr()?);
    match name.as_str() {
        "changed" => server.run(|ws, _request| send_back_changed(ws)).await?,
        "yields" => server.run(|ws, _request| yield_and_send_back(ws)).await?,
        _ => return Err(USAGE.into()),
    }
    Ok(())
}

/// Sends each message back with its last byte changed.
async fn send_back_changed(mut ws: WebSocket) -> Result<(), BoxError> {
    while let Some(message) = ws.recv().await? {
        ws.send(changed(message)).await?;
    }
    Ok(())
}

/// Lets others run before each message is sent back.
async fn yield_and_send_back(mut ws: WebSocket) -> Result<(), BoxError> {
    while let Some(message) = ws.recv().await? {
        tokio::task::yield_now().await;
        ws.send(message).await?;
    }
    Ok(())
}

/// Flips the lowest bit of the last byte. What was received is shared and can't be written to: so
/// who changes a message copies it.
fn changed(message: Message) -> Message {
    match message {
        Message::Text(text) => {
            let mut text = String::from(&*text);
            if let Some(last) = text.pop() {
                text.push(neighbour(last));
            }
            text.into()
        }
        Message::Binary(bytes) => {
            let mut bytes = bytes.to_vec();
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
            bytes.into()
        }
    }
}

/// The character whose last byte in UTF-8 differs in the lowest bit: its number does as well.
fn neighbour(character: char) -> char {
    char::from_u32(u32::from(character) ^ 1)
        .expect("the ranges that are no characters begin and end with a pair of neighbours")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_byte_is_changed_and_nothing_else() {
        for text in [
            "a",
            "~",
            "plain",
            "Zürich",
            "voilà",
            "東京都",
            "👋🏽",
            "\u{d7ff}",
        ] {
            let mut expected = text.as_bytes().to_vec();
            if let Some(last) = expected.last_mut() {
                *last ^= 1;
            }
            let text = changed(Message::from(text));
            assert!(text.as_text().is_some());
            assert_eq!(text.as_bytes(), expected);
        }
        assert_eq!(
            changed(Message::from(vec![7, 8])),
            Message::from(vec![7, 9])
        );
        assert_eq!(changed(Message::from("")), Message::from(""));
    }
}
