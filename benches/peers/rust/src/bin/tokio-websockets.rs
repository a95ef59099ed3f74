//! The peer tokio-websockets, written like its example `echo_server`; the broadcast like the
//! example `server` of tokio-tungstenite, as it has none.

use std::io;

use futures_util::{SinkExt, StreamExt, TryStreamExt, future};
use rust_peers::{Hub, Mode};
use tokio::{net::TcpStream, task::unconstrained};
use tokio_websockets::{Config, Error, Message, ServerBuilder, WebSocketStream};

fn main() -> io::Result<()> {
    let runtime = rust_peers::runtime()?;
    match rust_peers::mode() {
        Mode::Echo => runtime.block_on(rust_peers::serve(|stream| unconstrained(echo(stream)))),
        Mode::Broadcast => {
            let hub = Hub::new();
            runtime.block_on(rust_peers::serve(|stream| broadcast(stream, hub.clone())))
        }
    }
}

/// Does the handshake. Messages are sent as one frame, however long they are.
async fn accept(stream: TcpStream) -> Result<WebSocketStream<TcpStream>, Error> {
    let config = Config::default().frame_size(usize::MAX);
    let (_request, websocket) = ServerBuilder::new().config(config).accept(stream).await?;
    Ok(websocket)
}

async fn echo(stream: TcpStream) -> Result<(), Error> {
    let mut websocket = accept(stream).await?;
    while let Some(message) = websocket.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            websocket.send(message).await?;
        }
    }
    Ok(())
}

async fn broadcast(stream: TcpStream, hub: Hub<Message>) -> Result<(), Error> {
    let (write, read) = accept(stream).await?.split();
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
