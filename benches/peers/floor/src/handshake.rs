//! The handshake, as far as a client cannot do without it.

use std::io;

use base64::{Engine, engine::general_purpose::STANDARD};
use sha1_smol::Sha1;

/// How long the request is, and what to answer; nothing while its end has not arrived.
pub fn answer(input: &[u8]) -> io::Result<Option<(usize, String)>> {
    let Some(end) = input.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = str::from_utf8(&input[..end]).map_err(|_| io::ErrorKind::InvalidData)?;
    let key = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        .ok_or(io::ErrorKind::InvalidData)?
        .1
        .trim();
    let hash = Sha1::from(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")).digest();
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        STANDARD.encode(hash.bytes())
    );
    Ok(Some((end + 4, answer)))
}
