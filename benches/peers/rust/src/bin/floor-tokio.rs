//! The floor of servers with a task per connection on tokio: what none of them can do without, and
//! nothing else.
//!
//! One thread, one read per readiness into a buffer that all share, one write for all messages of a
//! read. A broadcast is framed once and left with every connection, whose task is woken and writes
//! all that it was left with at once. Nothing is checked: neither UTF-8 nor the order of frames.

use std::{
    cell::RefCell,
    future::poll_fn,
    io::{self, ErrorKind},
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use floor::connection::{Connection, Next, READ_BYTES, Stream};
use rust_peers::{Mode, mode, runtime, serve};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
};

thread_local! {
    /// What all connections read into.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

fn main() -> io::Result<()> {
    let everyone = (mode() == Mode::Broadcast).then(Everyone::default);
    runtime()?.block_on(serve(|stream| {
        let mut task = Task::new(stream, everyone.as_ref());
        poll_fn(move |context| task.poll(context))
    }))
}

/// All that are connected.
#[derive(Clone, Default)]
struct Everyone(Arc<Mutex<Vec<Arc<Mutex<Outgoing>>>>>);

/// What others left for a connection, and who is to be woken to write it.
#[derive(Default)]
struct Outgoing {
    bytes: Vec<u8>,
    waker: Option<Waker>,
}

/// A place among all that are connected.
struct Place {
    everyone: Everyone,
    outgoing: Arc<Mutex<Outgoing>>,
}

struct Task {
    stream: TcpStream,
    connection: Connection,
    /// Nothing where messages go back to their sender.
    place: Option<Place>,
}

/// The stream of a task that is polled.
struct Polled<'a, 'b> {
    stream: Pin<&'a mut TcpStream>,
    context: &'a mut Context<'b>,
    everyone: Option<&'a Everyone>,
}

impl Everyone {
    fn join(&self) -> Place {
        let outgoing = Arc::default();
        self.0.lock().unwrap().push(Arc::clone(&outgoing));
        Place {
            everyone: self.clone(),
            outgoing,
        }
    }

    /// Leaves frames with everyone. Who is woken already, or runs, finds them without.
    fn send(&self, frames: &[u8]) {
        for outgoing in self.0.lock().unwrap().iter() {
            let mut outgoing = outgoing.lock().unwrap();
            outgoing.bytes.extend_from_slice(frames);
            if let Some(waker) = outgoing.waker.take() {
                waker.wake();
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.everyone.0.lock().unwrap();
        all.retain(|outgoing| !Arc::ptr_eq(outgoing, &self.outgoing));
    }
}

impl Task {
    fn new(stream: TcpStream, everyone: Option<&Everyone>) -> Self {
        Self {
            stream,
            connection: Connection::new(),
            place: everyone.map(Everyone::join),
        }
    }

    /// Does what can be done without waiting, until the connection ends.
    fn poll(&mut self, context: &mut Context) -> Poll<io::Result<()>> {
        let mut stream = Polled {
            stream: Pin::new(&mut self.stream),
            context,
            everyone: self.place.as_ref().map(|place| &place.everyone),
        };
        loop {
            let turn = match self.connection.next() {
                Next::Read => BUFFER
                    .with_borrow_mut(|buffer| self.connection.on_readable(&mut stream, buffer)),
                Next::Write => self.connection.on_writable(&mut stream),
                Next::Close => return Poll::Ready(Ok(())),
            };
            match turn {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(()) => continue,
            }
            let Some(place) = &self.place else {
                return Poll::Pending;
            };
            let mut outgoing = place.outgoing.lock().unwrap();
            if outgoing.bytes.is_empty() || !self.connection.is_open() {
                outgoing.waker = Some(stream.context.waker().clone());
                return Poll::Pending;
            }
            self.connection.send(&mut stream, &outgoing.bytes)?;
            outgoing.bytes.clear();
        }
    }
}

impl Stream for Polled<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        let read = self.stream.as_mut().poll_read(self.context, &mut buffer);
        now(read)?;
        Ok(buffer.filled().len())
    }

    fn read_behind(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        now(pin!(self.stream.read_buf(bytes)).poll(self.context))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        now(self.stream.as_mut().poll_write(self.context, bytes))
    }

    fn deliver(&mut self, frames: &[u8]) -> bool {
        self.everyone
            .inspect(|everyone| everyone.send(frames))
            .is_some()
    }
}

/// What is there now; the task is woken when there may be more.
fn now<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}
