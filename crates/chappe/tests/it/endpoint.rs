//! Connections past their opening handshake, one end the library's, the other a test's.

use std::future::Future;

use chappe::{AcceptError, Acceptor, BoxError, Connector, Ended, Limits, Request, WebSocket};
use chappe_proto::Time;
use chappe_proto::handshake::{Origins, Policy, ServerHandshake};
use tokio::task::JoinHandle;

use crate::wire::{Options, Peer, Wire, wire};

/// A request that any acceptor accepts.
pub(crate) const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
     Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
     Sec-WebSocket-Version: 13\r\n\r\n";

/// A server's connection with the defaults, its driver in a task of its own.
pub(crate) async fn accepted() -> (WebSocket, Peer) {
    accepted_by(Acceptor::new(), Options::default()).await
}

/// A server's connection, its driver in a task of its own.
pub(crate) async fn accepted_by(acceptor: Acceptor, options: Options) -> (WebSocket, Peer) {
    let (wire, peer) = wire(options);
    peer.send(REQUEST);
    let ws = acceptor
        .accept(wire)
        .await
        .expect("the request is in order");
    peer.take_written();
    peer.take_calls();
    peer.take_slices();
    (ws, peer)
}

/// A client's connection with the defaults.
pub(crate) async fn connected() -> (WebSocket, Peer) {
    connected_by(Connector::new("ws://localhost/chat"), Options::default()).await
}

/// A client's connection.
pub(crate) async fn connected_by(connector: Connector, options: Options) -> (WebSocket, Peer) {
    let (wire, peer) = wire(options);
    let answer = async {
        let head = peer.head().await;
        peer.send(response_to(&head));
    };
    let (ws, ()) = tokio::join!(connector.connect_on(wire), answer);
    peer.take_calls();
    (ws.expect("the response is in order"), peer)
}

/// The response that accepts this request.
pub(crate) fn response_to(head: &str) -> Vec<u8> {
    let mut handshake = ServerHandshake::new(Time::ZERO, std::sync::Arc::default());
    let (_, request) = handshake.handle_input(head.as_bytes());
    let request = request
        .expect("the head is whole")
        .expect("the head is in order");
    let mut policy = Policy::default();
    policy.origins = Origins::Any;
    let offered = request.headers().get("sec-websocket-protocol");
    policy.subprotocols = offered.map_or(vec![], |name| vec![name.to_str().unwrap().to_owned()]);
    policy
        .accept(&request)
        .expect("the request is in order")
        .response()
}

/// What serving a connection came to.
pub(crate) type Served = JoinHandle<Result<Ended, AcceptError<Wire>>>;

/// A server's connection with its handler and the defaults, in one task.
pub(crate) async fn served<F>(
    handler: impl FnOnce(WebSocket, Request) -> F + Send + 'static,
) -> (Peer, Served)
where
    F: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    served_by(Acceptor::new(), Options::default(), handler).await
}

/// A server's connection with its handler, in one task.
pub(crate) async fn served_by<F>(
    acceptor: Acceptor,
    options: Options,
    handler: impl FnOnce(WebSocket, Request) -> F + Send + 'static,
) -> (Peer, Served)
where
    F: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let (wire, peer) = wire(options);
    peer.send(REQUEST);
    let task = tokio::spawn(async move { acceptor.serve(wire, handler).await });
    let head = peer.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    peer.take_calls();
    peer.take_slices();
    (peer, task)
}

/// The natural loop.
pub(crate) async fn echo(mut ws: WebSocket, _: Request) -> Result<(), BoxError> {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}

/// How a served connection ended.
pub(crate) async fn ended(task: Served) -> Ended {
    task.await
        .expect("no panic")
        .expect("the handshake was in order")
}

/// The default limits, changed.
pub(crate) fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

/// Lets every other task run until it waits.
pub(crate) async fn settle() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}
