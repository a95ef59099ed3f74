//! Sends every message back.
//!
//! ```text
//! Run:  cargo run --release -p chappe --example echo 127.0.0.1:9001
//! See:  with `chappe connect ws://127.0.0.1:9001` in another terminal, each line comes back.
//! ```
//!
//! Messages may have 16 MiB and 65,537 fragments: more than the defaults, and what the conformance
//! suite Autobahn sends at most (65,536 frames of 64 bytes, and an empty one that ends them).

use std::error::Error;

use chappe::{Limits, Server};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args()
        .nth(1)
        .ok_or("usage: echo ADDRESS, such as 127.0.0.1:9001")?;
    let mut limits = Limits::default();
    limits.message_bytes_max = 16 * 1024 * 1024;
    limits.fragments_max = 65_537;
    let server = Server::bind(&address).await?.limits(limits);
    println!("echoing on ws://{}", server.local_addr()?);
    server
        .run(|mut ws, _request| async move {
            while let Some(message) = ws.recv().await? {
                ws.send(message).await?;
            }
            Ok(())
        })
        .await?;
    Ok(())
}
