//! Sends every message to all who are connected. Each message is prepared once: it is framed once,
//! however many connections it goes to, and a large one is in memory once.
//!
//! ```text
//! Run:  cargo run --release -p chappe --example broadcast 127.0.0.1:9002
//! See:  with `chappe connect ws://127.0.0.1:9002` in two more terminals, each line in both.
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use chappe::{Message, Prepared, Sender, Server};

type Room = Arc<Mutex<BTreeMap<u64, Sender>>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args()
        .nth(1)
        .ok_or("usage: broadcast ADDRESS, such as 127.0.0.1:9002")?;
    let server = Server::bind(&address).await?;
    println!("broadcasting on ws://{}", server.local_addr()?);
    let room = Room::default();
    let names = Arc::new(AtomicU64::new(0));
    server
        .run(move |mut ws, _request| {
            let (room, name) = (room.clone(), names.fetch_add(1, Ordering::Relaxed));
            async move {
                room.lock()
                    .expect("nobody panics with it")
                    .insert(name, ws.sender());
                let result = async {
                    while let Some(message) = ws.recv().await? {
                        send_to_all(&room, &message);
                    }
                    Ok(())
                }
                .await;
                room.lock().expect("nobody panics with it").remove(&name);
                result
            }
        })
        .await?;
    Ok(())
}

/// Whoever reads so slowly that there is no room for another message misses this one.
fn send_to_all(room: &Room, message: &Message) {
    let prepared = match message {
        Message::Text(text) => Prepared::text(text),
        Message::Binary(bytes) => Prepared::binary(bytes),
    };
    for sender in room.lock().expect("nobody panics with it").values() {
        let _ = sender.try_send_prepared(&prepared);
    }
}
