//! The peer tokio-tungstenite, written like its example `echo-server`: the stream of messages is
//! forwarded into the sink, which flushes when there is nothing more to forward.

use std::io;

use futures_util::{StreamExt, TryStreamExt, future};
use rust_peers::Mode;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Result;

fn main() -> io::Result<()> {
    let runtime = rust_peers::runtime()?;
    match rust_peers::mode() {
        Mode::Echo => runtime.block_on(rust_peers::serve(echo)),
        Mode::Broadcast => {
            eprintln!("tokio-tungstenite-forward has no broadcast; tokio-tungstenite has");
            std::process::exit(2);
        }
    }
}

async fn echo(stream: TcpStream) -> Result<()> {
    let (write, read) = tokio_tungstenite::accept_async(stream).await?.split();
    read.try_filter(|message| future::ready(message.is_text() || message.is_binary()))
        .forward(write)
        .await
}
