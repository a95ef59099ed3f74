//! How events are shown: to people, to a pipe, or as JSON.
//!
//! What a peer sent is escaped on a terminal, where it could do more than be read.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chappe::{CloseFrame, ConnectError, Ended, Message, Side};
use serde_json::{Value, json};

use crate::printable::printable;

/// Where events go.
#[derive(Clone, Copy, Debug)]
pub(super) enum Show {
    /// A terminal: everything, in words.
    Terminal,
    /// A pipe: payloads on standard output, one a line; the rest on standard error.
    Payloads,
    /// One JSON object per event on standard output.
    Json,
}

impl Show {
    pub(super) fn new(json: bool) -> Self {
        match json {
            true => Self::Json,
            false if io::stdout().is_terminal() => Self::Terminal,
            false => Self::Payloads,
        }
    }

    pub(super) fn opened(self, url: &str, subprotocol: Option<&str>) {
        match self {
            Self::Json => event(json!({ "event": "open", "url": url, "subprotocol": subprotocol })),
            Self::Terminal => {
                let agreed = subprotocol.map(|name| format!(", subprotocol {name}"));
                eprintln!("OPEN {url}{}", agreed.unwrap_or_default());
                eprintln!("Type a line to send it; /help lists commands, Ctrl-D closes.");
            }
            Self::Payloads => {}
        }
    }

    pub(super) fn failed(self, error: &ConnectError) {
        if let Self::Json = self {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(error);
            while let Some(error) = source {
                let _ = write!(text, ": {error}");
                source = error.source();
            }
            event(json!({ "event": "failed", "error": text }));
        }
    }

    /// An error says that nobody reads what is shown.
    pub(super) fn message(self, message: &Message) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match (self, message) {
            (Self::Json, _) => writeln!(out, "{}", stamped(message_json(message))),
            (Self::Payloads, _) => {
                out.write_all(message.as_bytes())?;
                out.write_all(b"\n")
            }
            (Self::Terminal, Message::Text(text)) => writeln!(out, "< {}", printable(text)),
            (Self::Terminal, Message::Binary(bytes)) => {
                writeln!(out, "< {} bytes: {}", bytes.len(), hex(bytes))
            }
        }?;
        out.flush()
    }

    pub(super) fn pong(self, round_trip: Duration) {
        let milliseconds = round_trip.as_secs_f64() * 1000.0;
        match self {
            Self::Json => event(json!({ "event": "pong", "round_trip_ms": milliseconds })),
            _ => eprintln!("pong after {milliseconds:.3} ms"),
        }
    }

    pub(super) fn ended(self, ended: &Ended) {
        match self {
            Self::Json => event(json!({
                "event": "closed",
                "clean": ended.is_clean(),
                "by": match ended.by() { Side::Local => "us", Side::Peer => "peer" },
                "code": u16::from(ended.code()),
                "reason": ended.reason(),
                "sent": ended.sent().map(close_json),
                "received": ended.received().map(close_json),
                "error": (!ended.is_clean()).then(|| ended.to_string()),
            })),
            Self::Terminal => eprintln!("CLOSED, {ended}"),
            Self::Payloads if ended.is_clean() => {}
            Self::Payloads => crate::log::complain(ended),
        }
    }
}

fn event(value: Value) {
    // Without a reader there is nothing to be done, and the connection's end comes by itself.
    let _ = writeln!(io::stdout().lock(), "{}", stamped(value));
}

/// Adds the time, in milliseconds since 1970.
fn stamped(mut value: Value) -> Value {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    value["time_ms"] = json!(since.as_millis() as u64);
    value
}

fn message_json(message: &Message) -> Value {
    match message {
        Message::Text(text) => {
            json!({ "event": "message", "kind": "text", "size": text.len(), "data": text.as_str() })
        }
        Message::Binary(bytes) => json!({
            "event": "message",
            "kind": "binary",
            "size": bytes.len(),
            "base64": BASE64.encode(bytes),
        }),
    }
}

fn close_json(frame: &CloseFrame) -> Value {
    json!({ "code": u16::from(frame.code), "reason": frame.reason })
}

fn hex(bytes: &[u8]) -> String {
    const SHOWN: usize = 64;
    let mut text = String::new();
    for byte in bytes.iter().take(SHOWN) {
        let _ = write!(text, "{byte:02x} ");
    }
    text.push_str(if bytes.len() > SHOWN { "…" } else { "" });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_become_json() {
        let text = message_json(&"a\"b".into());
        assert_eq!(
            text,
            json!({ "event": "message", "kind": "text", "size": 3, "data": "a\"b" })
        );
        let binary = message_json(&vec![0, 255].into());
        assert_eq!(binary["base64"], "AP8=");
    }
}
