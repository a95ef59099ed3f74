//! The opening handshake (RFC 6455, section 4): heads on the left, what is made of them on the
//! right, each head fed whole, byte by byte and cut at every place.

use crate::handshake::Policy;
use crate::{Limits, Random};

mod body;
mod client;
mod corpus;
mod extension;
mod head;
mod origin;
mod properties;
mod request;
mod server;

/// The key of the RFC's example (section 1.3), and its answer.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A head in lines, to be changed and written out.
#[derive(Clone, Debug)]
struct Head {
    lines: Vec<String>,
}

impl Head {
    /// The request of the RFC's example, without what is optional.
    fn request() -> Self {
        Self::new(&[
            "GET /chat HTTP/1.1",
            "Host: server.example.com",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
        ])
    }

    /// The response of the RFC's example.
    fn response() -> Self {
        Self::new(&[
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        ])
    }

    fn new(lines: &[&str]) -> Self {
        let lines = lines.iter().map(|&line| line.to_owned()).collect();
        Self { lines }
    }

    /// With another first line.
    fn start(mut self, line: &str) -> Self {
        line.clone_into(&mut self.lines[0]);
        self
    }

    /// With a line more.
    fn with(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// Without a header that was there.
    #[track_caller]
    fn without(mut self, name: &str) -> Self {
        let before = self.lines.len();
        self.lines.retain(|line| !line.starts_with(name));
        assert!(self.lines.len() < before, "there is no {name}");
        self
    }

    /// With another value of a header that was there.
    #[track_caller]
    fn value(self, name: &str, value: &str) -> Self {
        self.without(name).with(&format!("{name}: {value}"))
    }

    fn bytes(&self) -> Vec<u8> {
        let lines = self.lines.iter().map(|line| format!("{line}\r\n"));
        format!("{}\r\n", lines.collect::<String>()).into_bytes()
    }
}

/// The default policy, but for this.
fn policy(change: impl FnOnce(&mut Policy)) -> Policy {
    let mut policy = Policy::default();
    change(&mut policy);
    policy
}

/// The default limits, but for this.
fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

/// A generator that draws the key of the RFC's example.
struct SampleNonce;

impl Random for SampleNonce {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.copy_from_slice(b"the sample nonce");
    }
}
