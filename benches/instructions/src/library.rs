//! Subjects of `chappe`: connections with their handlers, over a stream in memory.
//!
//! The task is polled by hand, once for each segment, as a runtime does when it finds that a
//! socket has input. So what is counted is the library's, with its reads and writes, and neither
//! the runtime's turns nor the kernel's. The runtime is there for timers only.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use chappe::{Acceptor, BoxError, Prepared, Sender, WebSocket};
use tokio::runtime::{Builder, Runtime};

use crate::stream::{Stream, Written};
use crate::wire::{self, LONG_BYTES, SHORT, TEXT};

const REQUEST: &str = "\
    GET /echo HTTP/1.1\r\n\
    Host: localhost:9001\r\n\
    User-Agent: instructions\r\n\
    Accept: */*\r\n\
    Accept-Language: en\r\n\
    Origin: http://localhost:9001\r\n\
    Connection: Upgrade\r\n\
    Upgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    \r\n";

/// Bytes of the answer to [`REQUEST`].
const RESPONSE_BYTES: usize = 129;

/// Echoes messages of 20 bytes, which arrive so many at a time. An operation is one message.
pub(crate) fn echo_short(operations: usize, together: usize) {
    let segment = wire::masked(TEXT, SHORT.as_bytes()).repeat(together);
    let replies = Written {
        calls: 1,
        bytes: together * (2 + SHORT.len()),
    };
    echo(operations / together, segment, replies);
}

/// Echoes a text of 16 KiB that is mostly not ASCII.
pub(crate) fn echo_long(operations: usize) {
    let segment = wire::masked(TEXT, wire::long_text().as_bytes());
    let reply = Written {
        calls: 1,
        bytes: 4 + LONG_BYTES,
    };
    echo(operations, segment, reply);
}

/// Delivers a message that was prepared once to a connection, which writes it.
pub(crate) fn deliver_prepared(operations: usize) {
    let runtime = runtime();
    let _entered = runtime.enter();
    let place = Rc::new(RefCell::new(None::<Sender>));
    let mut task = Task::start(&Acceptor::new(), {
        let place = place.clone();
        move |mut ws: WebSocket| async move {
            place.replace(Some(ws.sender()));
            ws.recv().await?;
            Ok(())
        }
    });
    let sender = place.take().expect("the handler was run");
    let message = Prepared::text(SHORT);
    let delivery = Written {
        calls: 1,
        bytes: 2 + SHORT.len(),
    };
    for _ in 0..operations {
        let result = sender.try_send_prepared(&message);
        result.expect("there is room in the outbox");
        task.poll();
        assert_eq!(task.stream.take_written(), delivery);
    }
}

/// Accepts a connection, up to where its handler waits, and drops it.
pub(crate) fn shake_hands(operations: usize) {
    let runtime = runtime();
    let _entered = runtime.enter();
    let acceptor = Acceptor::new();
    for _ in 0..operations {
        Task::start(&acceptor, |mut ws: WebSocket| async move {
            ws.recv().await?;
            Ok(())
        });
    }
}

/// Runs the natural loop on a segment that arrives again and again.
fn echo(segments: usize, segment: Vec<u8>, replies: Written) {
    let runtime = runtime();
    let _entered = runtime.enter();
    let mut task = Task::start(&Acceptor::new(), |mut ws: WebSocket| async move {
        while let Some(message) = ws.recv().await? {
            ws.send(message).await?;
        }
        Ok(())
    });
    task.stream.set_segment(segment);
    for _ in 0..segments {
        task.stream.send_segment();
        task.poll();
        assert_eq!(task.stream.take_written(), replies);
    }
}

fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime with timers only can be built")
}

/// A connection with its handler, in one task.
struct Task {
    stream: Stream,
    future: Pin<Box<dyn Future<Output = ()>>>,
}

impl Task {
    /// Accepts a connection and runs its handler until that waits.
    fn start<F>(acceptor: &Acceptor, handler: impl FnOnce(WebSocket) -> F + 'static) -> Self
    where
        F: Future<Output = Result<(), BoxError>> + 'static,
    {
        let stream = Stream::default();
        stream.set_segment(REQUEST.as_bytes().to_vec());
        stream.send_segment();
        let (acceptor, end) = (acceptor.clone(), stream.clone());
        let future = Box::pin(async move {
            let result = acceptor.serve(end, |ws, _request| handler(ws)).await;
            panic!("the connection ended: {result:?}");
        });
        let mut task = Self { stream, future };
        task.poll();
        let response = Written {
            calls: 1,
            bytes: RESPONSE_BYTES,
        };
        assert_eq!(task.stream.take_written(), response);
        task
    }

    /// One turn, as after a wake-up. The connection never ends by itself.
    fn poll(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        assert!(self.future.as_mut().poll(&mut context).is_pending());
    }
}
