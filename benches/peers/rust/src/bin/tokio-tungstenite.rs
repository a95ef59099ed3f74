//! The peer tokio-tungstenite: the plain loop, and a broadcast like its example `server`.

use std::io;

use futures_util::{SinkExt, StreamExt, TryStreamExt, future};
use rust_peers::{Hub, Mode};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Message, Result};

fn main() -> io::Result<()> {
    let runtime = rust_peers::runtime()?;
    match rust_peers::mode() {
        Mode::Echo => runtime.block_on(rust_peers::serve(echo)),
        Mode::Broadcast => {
            let hub = Hub::new();
            runtime.block_on(rust_peers::serve(|stream| broadcast(stream, hub.clone())))
        }
    }
}

async fn echo(stream: TcpStream) -> Result<()> {
    let mut websocket = tokio_tungstenite::accept_async(stream).await?;
    while let Some(message) = websocket.try_next().await? {
        if message.is_text() || message.is_binary() {
            websocket.send(message).await?;
        }
    }
    Ok(())
}

async fn broadcast(stream: TcpStream, hub: Hub<Message>) -> Result<()> {
    let (write, read) = tokio_tungstenite::accept_async(stream).await?.split();
    let (_sender, receiver) = hub.join();
    let incoming = read.try_for_each(|message| {
        if message.is_text() || message.is_binary() {
            hub.broadcast(&message);
        }
        future::ok(())
    });
    let outgoing = receiver.map(Ok).forward(write);
    tokio::select! {
        result = incoming => result,
        result = outgoing => result,
    }
}
