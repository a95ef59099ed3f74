//! The peer yawc, written like its example `echo_server`; the broadcast like the example `server`
//! of tokio-tungstenite, as it has none.

use std::io;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::Empty;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rust_peers::{Hub, Mode};
use tokio::{net::TcpStream, task::unconstrained};
use yawc::{Frame, OpCode, Options, UpgradeFut, WebSocket};

/// The largest message; the limits that yawc takes are above what they allow.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;

fn main() -> io::Result<()> {
    let runtime = rust_peers::runtime()?;
    let mode = rust_peers::mode();
    let hub = Hub::new();
    runtime.block_on(rust_peers::serve(|stream| {
        connection(stream, mode, hub.clone())
    }))
}

/// Serves HTTP until the connection is a WebSocket.
async fn connection(stream: TcpStream, mode: Mode, hub: Hub<Frame>) -> hyper::Result<()> {
    http1::Builder::new()
        .serve_connection(
            TokioIo::new(stream),
            service_fn(|request| answer(request, mode, hub.clone())),
        )
        .with_upgrades()
        .await
}

async fn answer(
    mut request: Request<Incoming>,
    mode: Mode,
    hub: Hub<Frame>,
) -> yawc::Result<Response<Empty<Bytes>>> {
    let options = Options::default()
        .with_utf8()
        .with_limits(MAX_MESSAGE + 1, 2 * MAX_MESSAGE)
        .without_compression();
    let (response, upgraded) = WebSocket::upgrade_with_options(&mut request, options)?;
    match mode {
        Mode::Echo => tokio::spawn(unconstrained(echo(upgraded))),
        Mode::Broadcast => tokio::spawn(unconstrained(broadcast(upgraded, hub))),
    };
    Ok(response)
}

async fn echo(upgraded: UpgradeFut) -> yawc::Result<()> {
    let mut websocket = upgraded.await?;
    while let Some(frame) = websocket.next().await {
        match frame.opcode() {
            OpCode::Text | OpCode::Binary => websocket.send(frame).await?,
            _ => {}
        }
    }
    Ok(())
}

async fn broadcast(upgraded: UpgradeFut, hub: Hub<Frame>) -> yawc::Result<()> {
    let (write, mut read) = upgraded.await?.split();
    let (_sender, receiver) = hub.join();
    let incoming = async {
        while let Some(frame) = read.next().await {
            match frame.opcode() {
                OpCode::Text | OpCode::Binary => hub.broadcast(&frame),
                _ => {}
            }
        }
        Ok(())
    };
    let outgoing = receiver.map(Ok).forward(write);
    tokio::select! {
        result = incoming => result,
        result = outgoing => result,
    }
}
