//! The opening handshake (RFC 6455, sections 1.3 and 4), for both sides.
//!
//! ```text
//!   request.rs  ClientRequest
//!                     ▼
//!   client.rs   ClientHandshake ────── request's head ─────► ServerHandshake   server.rs
//!                     ▲                                             ▼ Request<()>
//!        Response or HandshakeError ◄───── response ──── Policy: Acceptance or Refusal
//! ```
//!
//! Heads are read by one bounded, linear parser (`head.rs`), whichever side sent them. Whether to
//! accept is decided on an [`http::Request`], so that it does not matter who parsed it.
//!
//! ```
//! use chappe_proto::handshake::{Policy, Refusal};
//!
//! let request = http::Request::get("/").header("Upgrade", "websocket").body(())?;
//! let refusal = Policy::default().accept(&request).unwrap_err();
//! assert_eq!(refusal, Refusal::UpgradeDropped { header: "Connection: Upgrade" });
//! # Ok::<(), http::Error>(())
//! ```

mod body;
mod client;
pub(crate) mod extensions;
mod head;
mod key;
mod origin;
mod percent;
mod request;
mod server;

pub use client::{ClientHandshake, HandshakeError};
pub use head::HeadError;
pub use origin::{Hosts, Origins};
pub use request::{ClientRequest, RequestError};
pub use server::{Acceptance, Policy, Refusal, ServerHandshake, is_upgrade};

/// Whether a comma-separated header, over all of its lines, holds this token (RFC 9110, 5.6.1).
pub(crate) fn has_token(headers: &http::HeaderMap, name: &http::HeaderName, token: &str) -> bool {
    let is_it = |found: &[u8]| found.trim_ascii().eq_ignore_ascii_case(token.as_bytes());
    headers
        .get_all(name)
        .iter()
        // A list with other bytes in it is none of tokens.
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.as_bytes().split(|&byte| byte == b',').any(is_it))
}

/// The elements of a comma-separated list, the empty ones among them.
pub(crate) fn elements(list: &str) -> impl Iterator<Item = &str> {
    list.split(',')
        .map(|element| element.trim_matches([' ', '\t']))
}

/// Whether this is a token: what header names, subprotocols and extensions are made of
/// (RFC 9110, 5.6.2).
pub(crate) fn is_token(text: &str) -> bool {
    let is_token_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// Text of the peer's for a log or a refusal: escaped, so that it can't forge a line or move a
/// terminal's cursor, and cut to a length that can be read.
pub(crate) fn quoted(text: &[u8]) -> String {
    const BYTES_MAX: usize = 128;
    let cut = &text[..text.len().min(BYTES_MAX)];
    let mark = if cut.len() < text.len() { "…" } else { "" };
    format!("\"{}{mark}\"", cut.escape_ascii())
}

/// Empty elements of a list, as in `a,,b`, that are ignored: a reasonable number, not any number
/// (RFC 9110, section 5.6.1.2).
pub(crate) const EMPTY_ELEMENTS_MAX: usize = 64;
