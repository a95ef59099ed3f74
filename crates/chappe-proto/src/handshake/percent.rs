//! A URL's path and query as they are sent: the URL standard's parsing and percent-encoding, for
//! the schemes `ws` and `wss` (WHATWG URL, sections 1.3 and 4.4).
//!
//! In: what people write, in any characters. Out: ASCII that no byte of ends a word or a line.
//! Escapes that are there already stay as they are, malformed ones too.

use std::fmt::Write as _;

/// The target of a request for this path and query. A path that is empty is `/`.
pub(super) fn request_target(path: &str, query: Option<&str>) -> String {
    let mut target = String::new();
    for segment in segments(path) {
        target.push('/');
        encode(segment, is_escaped_in_path, &mut target);
    }
    if let Some(query) = query {
        target.push('?');
        encode(query, is_escaped_in_query, &mut target);
    }
    target
}

/// The path's segments, `.` and `..` resolved, which may be escaped. A backslash separates them
/// as a slash does.
fn segments(path: &str) -> Vec<&str> {
    let path = path.strip_prefix(['/', '\\']).unwrap_or(path);
    let mut segments = Vec::new();
    let mut written = path.split(['/', '\\']).peekable();
    while let Some(segment) = written.next() {
        let dots = segment.to_ascii_lowercase().replace("%2e", ".");
        if dots == ".." {
            segments.pop();
        }
        if dots != "." && dots != ".." {
            segments.push(segment);
        } else if written.peek().is_none() {
            segments.push(""); // What they stand for is a folder, which ends with a slash.
        }
    }
    segments
}

fn encode(text: &str, is_escaped: fn(u8) -> bool, out: &mut String) {
    for byte in text.bytes() {
        if !(b' '..=b'~').contains(&byte) || is_escaped(byte) {
            let _ = write!(out, "%{byte:02X}");
        } else {
            out.push(char::from(byte));
        }
    }
}

/// The path percent-encode set, without what is no printable ASCII.
fn is_escaped_in_path(byte: u8) -> bool {
    b" \"#<>?^`{}".contains(&byte)
}

/// The special-query percent-encode set, without what is no printable ASCII.
fn is_escaped_in_query(byte: u8) -> bool {
    b" \"#<>'".contains(&byte)
}
