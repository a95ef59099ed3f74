//! What may go to other tasks and threads: checked when this is compiled.

use std::future::{Future, pending};

use chappe::{
    AcceptError, Acceptor, CloseCode, CloseError, ConnectError, Connector, Counters, Ended, Limits,
    Message, MessageStream, Plain, Prepared, Receiver, Refusal, Request, Rewind, SendError, Sender,
    Server, WebSocket,
};
use tokio::net::TcpStream;

use crate::endpoint::echo;

fn is_send<T: Send>() {}
fn is_send_and_sync<T: Send + Sync>() {}
fn is_static_error<T: std::error::Error + Send + Sync + 'static>() {}
fn is_unpin<T: Unpin>() {}
fn sends<F: Future + Send>(_: F) {}

#[test]
fn public_types_are_send_and_sync() {
    is_send_and_sync::<WebSocket>();
    is_send_and_sync::<Sender>();
    is_send_and_sync::<Receiver>();
    is_send_and_sync::<MessageStream>();
    is_send_and_sync::<Message>();
    is_send_and_sync::<Prepared>();
    is_send_and_sync::<Ended>();
    is_send_and_sync::<Acceptor>();
    is_send_and_sync::<Connector>();
    is_send_and_sync::<Limits>();
    is_send_and_sync::<Counters>();
    is_send_and_sync::<Request>();
    is_send_and_sync::<Refusal>();
    is_send_and_sync::<Plain<TcpStream>>();
    is_send_and_sync::<Rewind<TcpStream>>();
    is_send::<Server>();
    is_static_error::<Ended>();
    is_static_error::<SendError>();
    is_static_error::<SendError<()>>();
    is_static_error::<CloseError>();
    is_static_error::<ConnectError>();
    is_static_error::<AcceptError<TcpStream>>();
    is_unpin::<MessageStream>();
}

/// Never run: it has to compile.
#[expect(dead_code, reason = "what it says is said to the compiler")]
fn public_futures_are_send(ws: &mut WebSocket, server: fn() -> Server, stream: fn() -> TcpStream) {
    let sender = ws.sender();
    sends(ws.recv());
    sends(sender.send("hello"));
    sends(sender.send_prepared(&Prepared::text("hello")));
    sends(sender.ready());
    sends(sender.flush());
    sends(sender.ping());
    sends(sender.close(CloseCode::NORMAL, ""));
    sends(sender.closed());
    sends(chappe::connect("ws://localhost/"));
    sends(Connector::new("ws://localhost/").connect());
    sends(Connector::new("ws://localhost/").connect_on(stream()));
    sends(chappe::accept(stream()));
    sends(Acceptor::new().accept(stream()));
    sends(Acceptor::new().serve(stream(), echo));
    sends(chappe::serve("localhost:0", echo));
    sends(Server::bind("localhost:0"));
    sends(server().run(echo));
    sends(server().run_until(echo, pending()));
}
