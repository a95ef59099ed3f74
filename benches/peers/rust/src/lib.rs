//! What the peers that are Rust libraries have in common: the command line, the listener, and the
//! list of those a message is broadcast to.

use std::{
    env, io,
    process::exit,
    sync::{Arc, Mutex},
};

use futures_channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
};

/// What a peer is asked to do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Each message goes back to its sender.
    Echo,
    /// Each message goes to all that are connected, its sender among them.
    Broadcast,
}

/// The mode that the command line asks for.
pub fn mode() -> Mode {
    match env::args().nth(1).as_deref() {
        Some("echo") => Mode::Echo,
        Some("broadcast") => Mode::Broadcast,
        _ => {
            eprintln!("usage: PEER echo|broadcast");
            exit(2);
        }
    }
}

/// The runtime of one thread that the examples of most of these libraries build.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_io().build()
}

/// Runs a task for every connection.
pub async fn serve<F>(connection: impl Fn(TcpStream) -> F) -> io::Result<()>
where
    F: Future<Output: Send> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(connection(stream));
    }
}

/// All that are connected, each with a queue of what it is to be sent.
pub struct Hub<T>(Arc<Mutex<Vec<UnboundedSender<T>>>>);

impl<T: Clone> Hub<T> {
    pub fn new() -> Self {
        Self(Arc::default())
    }

    /// Gives both ends of the queue of a new connection, which is among those that are sent to
    /// until it drops the receiver.
    pub fn join(&self) -> (UnboundedSender<T>, UnboundedReceiver<T>) {
        let (sender, receiver) = unbounded();
        self.0.lock().unwrap().push(sender.clone());
        (sender, receiver)
    }

    pub fn broadcast(&self, message: &T) {
        self.0
            .lock()
            .unwrap()
            .retain(|queue| queue.unbounded_send(message.clone()).is_ok());
    }
}

impl<T: Clone> Default for Hub<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for Hub<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
