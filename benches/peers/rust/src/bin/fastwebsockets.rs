//! The peer fastwebsockets, written like its examples `echo_server` and `echo_server_split`.

use std::io;

use bytes::Bytes;
use fastwebsockets::{
    FragmentCollector, FragmentCollectorRead, Frame, OpCode, Payload, WebSocketError, upgrade,
};
use futures_channel::mpsc::UnboundedSender;
use futures_util::StreamExt;
use http_body_util::Empty;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rust_peers::{Hub, Mode};
use tokio::{net::TcpStream, task::unconstrained};

/// What is sent to many: a kind, and bytes that are cheap to clone.
type Shared = (OpCode, Bytes);

fn main() -> io::Result<()> {
    let runtime = rust_peers::runtime()?;
    let mode = rust_peers::mode();
    let hub = Hub::new();
    runtime.block_on(rust_peers::serve(|stream| {
        connection(stream, mode, hub.clone())
    }))
}

/// Serves HTTP until the connection is a WebSocket.
async fn connection(stream: TcpStream, mode: Mode, hub: Hub<Shared>) -> hyper::Result<()> {
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
    hub: Hub<Shared>,
) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let (response, upgraded) = upgrade::upgrade(&mut request)?;
    match mode {
        Mode::Echo => tokio::spawn(unconstrained(echo(upgraded))),
        Mode::Broadcast => tokio::spawn(unconstrained(broadcast(upgraded, hub))),
    };
    Ok(response)
}

async fn echo(upgraded: upgrade::UpgradeFut) -> Result<(), WebSocketError> {
    let mut websocket = FragmentCollector::new(upgraded.await?);
    loop {
        let frame = websocket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => break,
            OpCode::Text | OpCode::Binary => websocket.write_frame(frame).await?,
            _ => {}
        }
    }
    Ok(())
}

async fn broadcast(upgraded: upgrade::UpgradeFut, hub: Hub<Shared>) -> Result<(), WebSocketError> {
    let (read, mut write) = upgraded.await?.split(tokio::io::split);
    let (sender, mut receiver) = hub.join();
    let outgoing = async {
        while let Some((opcode, bytes)) = receiver.next().await {
            let frame = Frame::new(true, opcode, None, Payload::Borrowed(&bytes));
            write.write_frame(frame).await?;
        }
        Ok(())
    };
    tokio::select! {
        result = incoming(FragmentCollectorRead::new(read), &hub, &sender) => result,
        result = outgoing => result,
    }
}

/// Gives messages to all, and what the protocol asks for in answer to the connection's own queue.
async fn incoming<S: tokio::io::AsyncRead + Unpin>(
    mut read: FragmentCollectorRead<S>,
    hub: &Hub<Shared>,
    own: &UnboundedSender<Shared>,
) -> Result<(), WebSocketError> {
    let mut reply = async |frame: Frame<'_>| own.unbounded_send((frame.opcode, shared(frame)));
    loop {
        let frame = read.read_frame(&mut reply).await?;
        match frame.opcode {
            OpCode::Close => break,
            OpCode::Text | OpCode::Binary => hub.broadcast(&(frame.opcode, shared(frame))),
            _ => {}
        }
    }
    Ok(())
}

fn shared(frame: Frame) -> Bytes {
    match frame.payload {
        Payload::Bytes(bytes) => bytes.freeze(),
        Payload::Owned(bytes) => bytes.into(),
        other => Bytes::copy_from_slice(&other),
    }
}
