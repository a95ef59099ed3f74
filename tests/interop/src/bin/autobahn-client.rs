//! The client that Autobahn's fuzzing server judges: it sends every message back.
//!
//! Run:  `autobahn-client`, with the server's URL as `AUTOBAHN_URL` and a name as `AUTOBAHN_AGENT`.
//! See:  how many cases were run. The verdicts are in the suite's reports.
//!
//! Messages may have 16 MiB and 65,537 fragments: what the suite sends at most (65,536 frames of
//! 64 bytes, and an empty one that ends them).

use std::env;
use std::error::Error;

use chappe::{Connector, Ended, Limits, WebSocket};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::var("AUTOBAHN_URL").map_err(|_| "AUTOBAHN_URL must name the fuzzing server")?;
    let agent = env::var("AUTOBAHN_AGENT").unwrap_or_else(|_| "chappe".to_owned());
    let count = case_count(&url).await?;
    for case in 1..=count {
        let ws = connect(&format!("{url}/runCase?case={case}&agent={agent}")).await?;
        // Most cases end uncleanly on purpose.
        let _ = echo(ws).await;
    }
    let ws = connect(&format!("{url}/updateReports?agent={agent}")).await?;
    ws.closed().await;
    println!("{count} cases run");
    Ok(())
}

async fn case_count(url: &str) -> Result<u32, Box<dyn Error>> {
    let mut ws = connect(&format!("{url}/getCaseCount")).await?;
    let message = ws.recv().await?.ok_or("closed before the count came")?;
    let count = message.as_text().ok_or("the count is not text")?.parse()?;
    ws.closed().await;
    Ok(count)
}

async fn connect(url: &str) -> Result<WebSocket, Box<dyn Error>> {
    let mut limits = Limits::default();
    limits.message_bytes_max = 16 * 1024 * 1024;
    limits.fragments_max = 65_537;
    let ws = Connector::new(url).limits(limits).connect().await;
    ws.map_err(|error| match error.source() {
        Some(source) => format!("{url}: {error}: {source}").into(),
        None => format!("{url}: {error}").into(),
    })
}

/// Until the connection has ended.
async fn echo(mut ws: WebSocket) -> Result<(), Ended> {
    while let Some(message) = ws.recv().await? {
        if ws.send(message).await.is_err() {
            break;
        }
    }
    ws.closed().await;
    Ok(())
}
