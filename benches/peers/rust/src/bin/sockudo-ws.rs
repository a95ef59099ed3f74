//! The peer sockudo-ws, written like the echo loop of its documentation and its example
//! `pubsub_echo`.

use std::{io, sync::Arc};

use futures_util::{SinkExt, StreamExt};
use rust_peers::Mode;
use sockudo_ws::{Config, Http1, Message, Result, pubsub::PubSub, server::WebSocketServer};
use tokio::{net::TcpStream, runtime::Builder, sync::mpsc};

const TOPIC: &str = "all";

fn main() -> io::Result<()> {
    // Its keepalive needs timers.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    match rust_peers::mode() {
        Mode::Echo => runtime.block_on(rust_peers::serve(echo)),
        Mode::Broadcast => {
            let pubsub = Arc::new(PubSub::new());
            runtime.block_on(rust_peers::serve(|stream| {
                broadcast(stream, pubsub.clone())
            }))
        }
    }
}

fn server() -> WebSocketServer<Http1> {
    WebSocketServer::new(Config::default())
}

/// Replies leave when all messages of a read are answered, as reading more sends them.
async fn echo(stream: TcpStream) -> Result<()> {
    let (mut websocket, _handshake) = server().accept_raw(stream).await?;
    while let Some(message) = websocket.next().await {
        match message? {
            message @ (Message::Text(_) | Message::Binary(_)) => websocket.feed(message).await?,
            Message::Close(_) => break,
            _ => {}
        }
    }
    Ok(())
}

async fn broadcast(stream: TcpStream, pubsub: Arc<PubSub>) -> Result<()> {
    let (websocket, _handshake) = server().accept_raw(stream).await?;
    let (mut reader, mut writer) = websocket.split();
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let subscriber = pubsub.create_subscriber(sender);
    pubsub.subscribe(subscriber, TOPIC);
    let result = loop {
        tokio::select! {
            message = reader.next() => match message {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    pubsub.publish(TOPIC, message);
                }
                Some(Ok(Message::Close(_))) | None => break Ok(()),
                Some(Ok(_)) => {}
                Some(Err(error)) => break Err(error),
            },
            Some(message) = receiver.recv() => {
                if let Err(error) = writer.send(message).await {
                    break Err(error);
                }
            }
        }
    };
    pubsub.remove_subscriber(subscriber);
    result
}
