//! Why there is no connection, in words: what was asked, what was answered, what that usually
//! means.

use std::fmt::Write as _;
use std::io::ErrorKind;

use chappe::{ConnectError, HandshakeError};
use http::header::{LOCATION, SERVER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};

use crate::printable::printable;

/// What to tell whoever asked for a connection.
///
/// `asked`: what was asked for, in short.
pub(crate) fn explain(error: &ConnectError, url: &str, asked: &str) -> String {
    let mut text = format!("no connection to {}\n", printable(url));
    match error {
        ConnectError::Request(error) => {
            let _ = write!(text, "  not asked: {error}");
        }
        ConnectError::Handshake(error) => {
            let _ = writeln!(text, "  asked:    {}", printable(asked));
            let _ = write!(text, "{}", explain_handshake(error));
        }
        ConnectError::Io(error) => {
            let _ = writeln!(text, "  failed:   {error}");
            let _ = write!(text, "  usually:  {}", usual_io(error.kind()));
        }
        error => {
            let _ = write!(text, "  not asked: {error}");
        }
    }
    text
}

fn explain_handshake(error: &HandshakeError) -> String {
    let usually = match error {
        HandshakeError::Refused { response } => return explain_response(response),
        HandshakeError::Timeout { .. } => {
            "the program on that port waits for something else, such as TLS, or hangs"
        }
        HandshakeError::Eof => {
            "the program on that port does not speak HTTP, or a proxy dropped the connection"
        }
        HandshakeError::Head(_) => {
            "the program on that port does not speak plain HTTP; does it want wss?"
        }
        HandshakeError::Subprotocol { .. } | HandshakeError::Extension { .. } => {
            "the server has a fault: it may only choose among what was offered"
        }
        _ => "a proxy changed the response, or the server has a fault",
    };
    format!("  answered: {error}\n  usually:  {usually}")
}

fn explain_response(response: &Response<Vec<u8>>) -> String {
    let mut text = format!("  answered: {}\n", response.status());
    for name in [LOCATION, WWW_AUTHENTICATE, SERVER] {
        for value in response.headers().get_all(&name) {
            let _ = writeln!(
                text,
                "            {name}: {}",
                value.as_bytes().escape_ascii()
            );
        }
    }
    for line in String::from_utf8_lossy(response.body())
        .lines()
        .take(BODY_LINES_SHOWN)
    {
        let line: String = line.chars().take(BODY_COLUMNS_SHOWN).collect();
        let _ = writeln!(text, "            {}", printable(&line));
    }
    let _ = write!(text, "  usually:  {}", usual_status(response.status()));
    text
}

const BODY_LINES_SHOWN: usize = 6;
const BODY_COLUMNS_SHOWN: usize = 160;

fn usual_status(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200..=299 => {
            "there is a page at this path but no WebSocket, or a proxy took the Upgrade header away"
        }
        300..=399 => "the WebSocket is elsewhere; redirects are not followed: try the location",
        400 => "the server did not understand; a proxy may have changed the request",
        401 | 407 => "the server wants to know who you are: send --header \"Authorization: …\"",
        403 => {
            "the server does not let this origin or host in: --origin sets one, and the server \
             has a list of those it allows"
        }
        404 => "there is no WebSocket at this path",
        405 | 426 => "the server speaks another version of WebSocket, or none at this path",
        408 => "the request took too long to arrive",
        429 | 503 => "the server has too many connections; try again later",
        500 | 502 | 504 => "the server behind a proxy has failed or can't be reached",
        _ => "the server has a reason of its own",
    }
}

fn usual_io(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ConnectionRefused => {
            "nothing listens on that port: is the server started, and is it this port?"
        }
        ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            "a firewall drops the packets, or there is no way to that address"
        }
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
            "the program on that port hung up: does it want TLS, or a proxy protocol?"
        }
        _ => "the host's name is misspelt, or can't be looked up from here",
    }
}
