//! Requests that are too large, malformed or ambiguous (kinds 1 to 4).
//!
//! A row is an edit of a good handshake and the answer. It is sent whole, and byte by byte where it
//! is short: both must get the same answer. In the rows `{port}` is the server's, `{x*9}` repeats,
//! and a character up to U+00FF is one byte.

use std::time::Duration;

use super::Attack;
use super::wire::{PROMPT, Peer, SAMPLE_KEY, whole_and_bytewise};

use Edit::{Add, After, Drop, First, Line, Raw, Set};

/// A change of the good handshake.
#[derive(Clone, Copy, Debug)]
pub(super) enum Edit {
    /// Another request line.
    Line(&'static str),
    /// Another value for a header.
    Set(&'static str, &'static str),
    /// Leaves a header out.
    Drop(&'static str),
    /// A further line at the end.
    Add(&'static str),
    /// A further line before the headers.
    First(&'static str),
    /// What follows the empty line.
    After(&'static str),
    /// Something else altogether.
    Raw(&'static str),
}

pub(super) type Row = (u8, &'static str, &'static [Edit], &'static str);

pub(super) fn attacks() -> impl Iterator<Item = Attack> {
    let tables = [
        SIZE,
        HOST_AND_KEY,
        VERSION_AND_UPGRADE,
        REQUEST_LINE,
        HEADER_LINES,
        BODIES,
        OFFERS,
    ];
    tables
        .into_iter()
        .flatten()
        .map(|row| attack(*row))
        .chain(ENDLESS.iter().map(endless))
}

pub(super) fn attack((topic, name, edits, expected): Row) -> Attack {
    Attack::new(topic, name, expected, move |server| {
        let (request, key) = request(edits, server.port());
        let open = || Peer::connect(server.address());
        let answer = |peer: &mut Peer| peer.answer_to_request(&key, PROMPT);
        if edits.iter().any(|edit| matches!(edit, After(_))) {
            // Byte by byte, what follows a head may come before the answer or after it.
            let mut peer = open()?;
            let _ = peer.send(&request);
            return Ok(answer(&mut peer));
        }
        whole_and_bytewise(&request, open, answer)
    })
}

/// The bytes of a request, and the first key in it.
fn request(edits: &[Edit], port: u16) -> (Vec<u8>, String) {
    let mut lines = vec![
        "GET /echo HTTP/1.1".to_owned(),
        "Host: 127.0.0.1:{port}".to_owned(),
        "Upgrade: websocket".to_owned(),
        "Connection: Upgrade".to_owned(),
        format!("Sec-WebSocket-Key: {SAMPLE_KEY}"),
        "Sec-WebSocket-Version: 13".to_owned(),
    ];
    let mut rest = "";
    for edit in edits {
        let is_of = |line: &String, name: &str| line.starts_with(&format!("{name}:"));
        match *edit {
            Line(line) => line.clone_into(&mut lines[0]),
            Set(name, value) => {
                let line = lines.iter_mut().find(|line| is_of(line, name));
                *line.expect("a row sets a header that is there") = format!("{name}: {value}");
            }
            Drop(name) => lines.retain(|line| !is_of(line, name)),
            Add(line) => lines.push(line.to_owned()),
            First(line) => lines.insert(1, line.to_owned()),
            After(bytes) => rest = bytes,
            Raw(bytes) => return (expand(bytes, port), SAMPLE_KEY.to_owned()),
        }
    }
    let key = lines
        .iter()
        .find_map(|line| line.strip_prefix("Sec-WebSocket-Key:"));
    let key = key.unwrap_or_default().trim().to_owned();
    (
        expand(&format!("{}\r\n\r\n{rest}", lines.join("\r\n")), port),
        key,
    )
}

fn expand(text: &str, port: u16) -> Vec<u8> {
    let mut expanded = String::new();
    for part in text
        .replace("{port}", &port.to_string())
        .split_inclusive('}')
    {
        let repeated = part.strip_suffix('}').and_then(|part| {
            let (before, inner) = part.split_once('{')?;
            let (unit, times) = inner.rsplit_once('*')?;
            Some((before, unit.repeat(times.parse().ok()?)))
        });
        match repeated {
            Some((before, repeated)) => expanded.extend([before, &repeated]),
            None => expanded.push_str(part),
        }
    }
    expanded
        .chars()
        .map(|c| u8::try_from(c).expect("a row's characters are bytes"))
        .collect()
}

const HOST: &str = "Host";
const KEY: &str = "Sec-WebSocket-Key";
const VERSION: &str = "Sec-WebSocket-Version";
const UPGRADE: &str = "Upgrade";
const CONNECTION: &str = "Connection";

#[rustfmt::skip]
const SIZE: &[Row] = &[
    (1, "a good handshake", &[], "101"),
    (1, "a request line of 8,000 bytes", &[Line("GET /echo?{a*7980} HTTP/1.1")], "101"),
    (1, "a request line of 9,000 bytes", &[Line("GET /echo?{a*8980} HTTP/1.1")], "414"),
    (1, "a request line of 20,000 bytes", &[Line("GET /echo?{a*19980} HTTP/1.1")], "414"),
    (1, "a request line of 9,000 bytes without end", &[Raw("GET /{a*9000}")], "414"),
    (1, "a method of 9,000 bytes", &[Line("{G*9000} /echo HTTP/1.1")], "414 | 400 | 405"),
    (1, "a header line of 10,000 bytes", &[Add("X-Long: {a*10000}")], "101"),
    (1, "a header line of 17,000 bytes", &[Add("X-Long: {a*17000}")], "431"),
    (1, "a header line of 17,000 bytes without end", &[Raw("GET /echo HTTP/1.1\r\nX: {a*17000}")], "431"),
    (1, "a header name of 17,000 bytes", &[Add("{X*17000}: a")], "431"),
    (1, "90 more headers", &[Add("{X: a\r\n*89}X: a")], "101"),
    (1, "100 more headers", &[Add("{X: a\r\n*99}X: a")], "431"),
    (1, "3,000 more headers", &[Add("{X: a\r\n*2999}X: a")], "431"),
    (1, "1,000 empty headers", &[Add("{X:\r\n*999}X:")], "431"),
    (1, "a header line that is folded 500 times", &[Add("X: a{\r\n a*500}")], "400 | 431"),
    (1, "9,000 empty lines first", &[Raw("{\r\n*9000}")], "400 | 414 | 431"),
    (1, "17,000 spaces in a value", &[Add("X: {\u{20}*17000}a")], "431"),
];

#[rustfmt::skip]
const HOST_AND_KEY: &[Row] = &[
    (2, "no Host", &[Drop(HOST)], "400"),
    (2, "an empty Host", &[Set(HOST, "")], "400 | 403"),
    (2, "two equal Hosts", &[Add("Host: 127.0.0.1:{port}")], "400"),
    (2, "two different Hosts", &[Add("Host: localhost:{port}")], "400"),
    (2, "two Hosts in different cases", &[Add("hOST: 127.0.0.1:{port}")], "400"),
    (2, "a list of Hosts", &[Set(HOST, "127.0.0.1:{port}, localhost")], "400 | 403"),
    (2, "a Host with a space", &[Set(HOST, "127.0.0.1 :{port}")], "400 | 403"),
    (2, "a Host with a path", &[Set(HOST, "127.0.0.1:{port}/a")], "400 | 403"),
    (2, "a Host with user info", &[Set(HOST, "a@127.0.0.1:{port}")], "400 | 403"),
    (2, "a Host with two ports", &[Set(HOST, "127.0.0.1:{port}:80")], "400 | 403"),
    (2, "a Host whose port is no number", &[Set(HOST, "127.0.0.1:http")], "400 | 403"),
    (2, "a Host whose port is too large", &[Set(HOST, "127.0.0.1:99999")], "400 | 403"),
    (2, "a Host with an unclosed bracket", &[Set(HOST, "[::1:{port}")], "400 | 403"),
    (2, "no key", &[Drop(KEY)], "400"),
    (2, "an empty key", &[Set(KEY, "")], "400"),
    (2, "a key of 15 bytes", &[Set(KEY, "dGhlIHNhbXBsZSBub25j")], "400"),
    (2, "a key of 17 bytes", &[Set(KEY, "dGhlIHNhbXBsZSBub25jZWU=")], "400"),
    (2, "a key of 16 bytes without padding", &[Set(KEY, "dGhlIHNhbXBsZSBub25jZQ")], "400"),
    (2, "a key with too much padding", &[Set(KEY, "dGhlIHNhbXBsZSBub25jZQ===")], "400"),
    (2, "a key that is no base64", &[Set(KEY, "!!hlIHNhbXBsZSBub25jZQ==")], "400"),
    (2, "a key in the alphabet for URLs", &[Set(KEY, "-_hlIHNhbXBsZSBub25jZQ==")], "400"),
    (2, "a key with a space inside", &[Set(KEY, "dGhlIHNhbXBs ZSBub25jZQ==")], "400"),
    (2, "a key whose last bits are not zero", &[Set(KEY, "dGhlIHNhbXBsZSBub25jZR==")], "101"),
    (2, "a key between spaces and tabs", &[Set(KEY, " \t dGhlIHNhbXBsZSBub25jZQ== \t")], "101"),
    (2, "a key of 4,000 bytes", &[Set(KEY, "{dGhl*1000}")], "400"),
    (2, "two equal keys", &[Add("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")], "400"),
    (2, "two different keys", &[Add("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")], "400"),
];

/// What a proxy has taken the upgrade away from.
const NO_UPGRADE: &str = "426";

#[rustfmt::skip]
const VERSION_AND_UPGRADE: &[Row] = &[
    (2, "no version", &[Drop(VERSION)], "400 | 426"),
    (2, "an empty version", &[Set(VERSION, "")], "400 | 426"),
    (2, "version 0", &[Set(VERSION, "0")], "426"),
    (2, "version 8", &[Set(VERSION, "8")], "426"),
    (2, "version 12", &[Set(VERSION, "12")], "426"),
    (2, "version 14", &[Set(VERSION, "14")], "426"),
    (2, "version 255", &[Set(VERSION, "255")], "426"),
    (2, "version 269, which is 13 in a byte", &[Set(VERSION, "269")], "400 | 426"),
    (2, "version 013", &[Set(VERSION, "013")], "400 | 426"),
    (2, "version +13", &[Set(VERSION, "+13")], "400 | 426"),
    (2, "version -13", &[Set(VERSION, "-13")], "400 | 426"),
    (2, "version 13.0", &[Set(VERSION, "13.0")], "400 | 426"),
    (2, "version 1 3", &[Set(VERSION, "1 3")], "400 | 426"),
    (2, "a list of versions", &[Set(VERSION, "13, 8")], "400 | 426"),
    (2, "two equal versions", &[Add("Sec-WebSocket-Version: 13")], "400"),
    (2, "two different versions", &[Add("Sec-WebSocket-Version: 8")], "400 | 426"),
    (2, "no Upgrade", &[Drop(UPGRADE)], NO_UPGRADE),
    (2, "an empty Upgrade", &[Set(UPGRADE, "")], NO_UPGRADE),
    (2, "Upgrade to something else", &[Set(UPGRADE, "h2c")], NO_UPGRADE),
    (2, "Upgrade in another case", &[Set(UPGRADE, "WebSocket")], "101"),
    (2, "Upgrade to one of two", &[Set(UPGRADE, "h2c, websocket")], "101"),
    (2, "two Upgrades", &[Add("Upgrade: h2c")], "101 | 400"),
    (2, "a longer word in Upgrade", &[Set(UPGRADE, "websockets")], NO_UPGRADE),
    (2, "a word that ends so in Upgrade", &[Set(UPGRADE, "xwebsocket")], NO_UPGRADE),
    (2, "two words in Upgrade", &[Set(UPGRADE, "not websocket")], NO_UPGRADE),
    (2, "no Connection", &[Drop(CONNECTION)], NO_UPGRADE),
    (2, "Connection without upgrade", &[Set(CONNECTION, "keep-alive")], NO_UPGRADE),
    (2, "Connection with several options", &[Set(CONNECTION, "keep-alive ,\tUPGRADE")], "101"),
    (2, "Connection over two lines", &[First("Connection: keep-alive")], "101"),
    (2, "Connection with empty options", &[Set(CONNECTION, ",, ,upgrade, ,")], "101"),
    (2, "a longer word in Connection", &[Set(CONNECTION, "upgraded")], NO_UPGRADE),
    (2, "two words in Connection", &[Set(CONNECTION, "do not upgrade")], NO_UPGRADE),
    (2, "upgrade in quotes in Connection", &[Set(CONNECTION, "\"upgrade\"")], NO_UPGRADE),
];

#[rustfmt::skip]
const REQUEST_LINE: &[Row] = &[
    (2, "HTTP/1.0", &[Line("GET /echo HTTP/1.0")], "505"),
    (2, "HTTP/1.2", &[Line("GET /echo HTTP/1.2")], "505"),
    (2, "HTTP/2.0", &[Line("GET /echo HTTP/2.0")], "505"),
    (2, "HTTP/3", &[Line("GET /echo HTTP/3")], "400 | 505"),
    (2, "HTTP/1.10", &[Line("GET /echo HTTP/1.10")], "400 | 505"),
    (2, "HTTP/01.1", &[Line("GET /echo HTTP/01.1")], "400 | 505"),
    (2, "the version in small letters", &[Line("GET /echo http/1.1")], "400 | 505"),
    (2, "no version of HTTP", &[Line("GET /echo")], "400 | 505"),
    (2, "another protocol", &[Line("GET /echo WS/1.1")], "400 | 505"),
    (2, "POST", &[Line("POST /echo HTTP/1.1")], "405"),
    (2, "PUT", &[Line("PUT /echo HTTP/1.1")], "405"),
    // As RFC 9110, 9.3.2 has it: the length of a body that is not sent.
    (2, "HEAD", &[Line("HEAD /echo HTTP/1.1")], "405 with a body of another length"),
    (2, "OPTIONS", &[Line("OPTIONS /echo HTTP/1.1")], "405"),
    (2, "DELETE", &[Line("DELETE /echo HTTP/1.1")], "405"),
    (2, "a method in small letters", &[Line("get /echo HTTP/1.1")], "400 | 405"),
    (2, "CONNECT", &[Line("CONNECT 127.0.0.1:{port} HTTP/1.1")], "400 | 405"),
    (2, "a method that is no token", &[Line("G@T /echo HTTP/1.1")], "400 | 405"),
    (2, "no method", &[Line(" /echo HTTP/1.1")], "400"),
    (2, "an absolute URL", &[Line("GET http://127.0.0.1:{port}/echo HTTP/1.1")], "101"),
    (2, "an absolute URL of another host", &[Line("GET http://evil.example/echo HTTP/1.1")], "403"),
    (2, "an absolute URL with user info", &[Line("GET http://a@127.0.0.1:{port}/echo HTTP/1.1")], "400"),
    (2, "an absolute URL of another scheme", &[Line("GET ftp://127.0.0.1:{port}/echo HTTP/1.1")], "400"),
    (2, "an absolute URL and a Host of another name", &[Line("GET http://127.0.0.1:{port}/echo HTTP/1.1"), Set(HOST, "evil.example")], "101"),
    (2, "a URL that is only an address", &[Line("GET 127.0.0.1:{port} HTTP/1.1")], "400"),
    (2, "a URL that is a star", &[Line("GET * HTTP/1.1")], "400 | 404"),
    (2, "a URL without a slash", &[Line("GET echo HTTP/1.1")], "400"),
    (2, "no URL", &[Line("GET  HTTP/1.1")], "400"),
    (2, "a URL with a space", &[Line("GET /echo a HTTP/1.1")], "400 | 505"),
    (2, "a URL with a tab", &[Line("GET /echo\ta HTTP/1.1")], "400"),
    (2, "a URL with NUL", &[Line("GET /echo\0 HTTP/1.1")], "400"),
    (2, "a URL with DEL", &[Line("GET /echo\x7f HTTP/1.1")], "400"),
    (2, "a URL with a lone CR", &[Line("GET /echo\r HTTP/1.1")], "400"),
    (2, "two spaces after the method", &[Line("GET  /echo HTTP/1.1")], "400"),
    (2, "a tab after the method", &[Line("GET\t/echo HTTP/1.1")], "400"),
    (2, "a space at the line's end", &[Line("GET /echo HTTP/1.1 ")], "400 | 505"),
    (2, "an empty line first", &[Line("\r\nGET /echo HTTP/1.1")], "101"),
    (2, "a lone LF first", &[Line("\nGET /echo HTTP/1.1")], "400"),
    (2, "a TLS greeting", &[Raw("\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03{\0*500}\r\n\r\n")], "400"),
    (2, "an HTTP/2 greeting", &[Raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")], "400 | 405 | 505"),
    (2, "an SSH greeting", &[Raw("SSH-2.0-OpenSSH_9.2\r\n\r\n")], "400"),
    (2, "a SOCKS greeting and an empty line", &[Raw("\x05\x01\0\r\n\r\n")], "400"),
    (2, "a NUL and an empty line", &[Raw("\0\r\n\r\n")], "400"),
];

#[rustfmt::skip]
const HEADER_LINES: &[Row] = &[
    (2, "LF for every line's end", &[Raw("GET /echo HTTP/1.1\nHost: 127.0.0.1:{port}\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Version: 13\n\n\r\n\r\n")], "400"),
    (2, "LF for one line's end", &[First("X: a\nY: b")], "400"),
    (2, "LF for the request line's end", &[Line("GET /echo HTTP/1.1\nX: a")], "400"),
    (2, "CR for a line's end", &[First("X: a\rY: b")], "400"),
    (2, "CR CR LF for a line's end", &[First("X: a\r")], "400"),
    (2, "NUL in a value", &[Add("X: a\0b")], "400"),
    (2, "another control in a value", &[Add("X: a\x01b")], "400"),
    (2, "DEL in a value", &[Add("X: a\x7fb")], "400"),
    (2, "a tab in a value", &[Add("X: a\tb")], "101"),
    (2, "bytes above ASCII in a value", &[Add("X: \u{80}\u{ff}")], "101"),
    (2, "NUL in a name", &[Add("X\0Y: a")], "400"),
    (2, "bytes above ASCII in a name", &[Add("X\u{e9}: a")], "400"),
    (2, "a space in a name", &[Add("X Y: a")], "400"),
    (2, "a space before the colon", &[Add("X : a")], "400"),
    (2, "a tab before the colon", &[Add("X\t: a")], "400"),
    (2, "an empty name", &[Add(": a")], "400"),
    (2, "a line without a colon", &[Add("X")], "400"),
    (2, "a separator in a name", &[Add("X(Y): a")], "400"),
    (2, "a first header line that begins with a space", &[First(" X: a")], "400"),
    (2, "a folded header line", &[Add("X: a\r\n b")], "400"),
    (2, "a Host in a folded line", &[Drop(HOST), Add("X: a\r\n Host: 127.0.0.1:{port}")], "400"),
    (2, "a Host with a space before its colon", &[Drop(HOST), Add("Host : 127.0.0.1:{port}")], "400"),
];

/// Nothing may follow a handshake before its answer; what follows all the same is read as frames,
/// or the handshake is refused. A `G` read as a frame has RSV1 set.
#[rustfmt::skip]
const BODIES: &[Row] = &[
    (3, "a body", &[Add("Content-Length: 5"), After("Hello")], "400"),
    (3, "a body that does not come", &[Add("Content-Length: 5")], "400"),
    (3, "a body of no bytes", &[Add("Content-Length: 0")], "101"),
    (3, "a body of negative length", &[Add("Content-Length: -1")], "400"),
    (3, "a body of no length", &[Add("Content-Length: many")], "400"),
    (3, "a body of 2^64 bytes", &[Add("Content-Length: 18446744073709551616")], "400"),
    (3, "two lengths", &[Add("Content-Length: 0"), Add("Content-Length: 5")], "400"),
    (3, "two lengths of no bytes", &[Add("Content-Length: 0"), Add("Content-Length: 0")], "400"),
    (3, "a list of lengths", &[Add("Content-Length: 5, 5")], "400"),
    (3, "a chunked body", &[Add("Transfer-Encoding: chunked"), After("0\r\n\r\n")], "400 | 501"),
    (3, "another transfer coding", &[Add("Transfer-Encoding: gzip")], "400 | 501"),
    (3, "chunked in another case", &[Add("transfer-ENCODING: xCHUNKED")], "400 | 501"),
    (3, "a length and a transfer coding", &[Add("Content-Length: 5"), Add("Transfer-Encoding: chunked")], "400 | 501"),
    (3, "a second request in the same bytes", &[After("GET /echo HTTP/1.1\r\n\r\n")], "400"),
    (3, "a refused request and a second in the same bytes", &[Drop(KEY), After("GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n")], "400"),
    (3, "Expect: 100-continue", &[Add("Expect: 100-continue")], "101 | 400 | 417"),
];

#[rustfmt::skip]
const OFFERS: &[Row] = &[
    (4, "an extension nobody knows", &[Add("Sec-WebSocket-Extensions: x-unknown; a=1")], "101"),
    (4, "an unclosed quote", &[Add("Sec-WebSocket-Extensions: x; a=\"b")], "101 | 400"),
    (4, "an unclosed quote of 10,000 bytes", &[Add("Sec-WebSocket-Extensions: x; a=\"{b*10000}")], "101 | 400"),
    (4, "4,000 escapes in a quote", &[Add("Sec-WebSocket-Extensions: x; a=\"{\\c*4000}\"")], "101 | 400"),
    (4, "4,000 escapes in an unclosed quote", &[Add("Sec-WebSocket-Extensions: x; a=\"{\\c*4000}")], "101 | 400"),
    (4, "a backslash at the end", &[Add("Sec-WebSocket-Extensions: x; a=\"\\")], "101 | 400"),
    (4, "5,000 parameters", &[Add("Sec-WebSocket-Extensions: x{; a*5000}")], "101 | 400"),
    (4, "3,000 duplicate parameters", &[Add("Sec-WebSocket-Extensions: x{;a=1*3000}")], "101 | 400"),
    (4, "5,000 offers", &[Add("Sec-WebSocket-Extensions: x{, x*5000}")], "101 | 400"),
    (4, "7,000 empty offers", &[Add("Sec-WebSocket-Extensions: x{,*7000}")], "101 | 400"),
    (4, "14,000 semicolons", &[Add("Sec-WebSocket-Extensions: {;*14000}")], "101 | 400"),
    (4, "offers over 90 lines", &[Add("{Sec-WebSocket-Extensions: x\r\n*89}X: a")], "101 | 400"),
    (4, "an empty list of extensions", &[Add("Sec-WebSocket-Extensions: ")], "101"),
    (4, "an extension that is no token", &[Add("Sec-WebSocket-Extensions: @; =")], "101 | 400"),
    (4, "a subprotocol nobody knows", &[Add("Sec-WebSocket-Protocol: x-unknown")], "101 | 400"),
    (4, "5,000 subprotocols", &[Add("Sec-WebSocket-Protocol: x{, x*5000}")], "101 | 400"),
    (4, "14,000 commas as subprotocols", &[Add("Sec-WebSocket-Protocol: {,*14000}")], "101 | 400"),
    (4, "a subprotocol of 14,000 bytes", &[Add("Sec-WebSocket-Protocol: {x*14000}")], "101 | 400"),
    (4, "duplicate subprotocols", &[Add("Sec-WebSocket-Protocol: x, x")], "101 | 400"),
    (4, "a subprotocol that is no token", &[Add("Sec-WebSocket-Protocol: \"x y\"")], "101 | 400"),
    (4, "an empty subprotocol", &[Add("Sec-WebSocket-Protocol: ")], "101"),
];

/// Heads without end: what begins them, what goes on, and the answer, which must come while the
/// client is still sending.
#[rustfmt::skip]
const ENDLESS: &[(&str, &str, &str, &str)] = &[
    ("a request line without end", "GET /", "aaaaaaaaaaaaaaaa", "414"),
    ("a header line without end", "GET /echo HTTP/1.1\r\nX: ", "aaaaaaaaaaaaaaaa", "431"),
    ("a header name without end", "GET /echo HTTP/1.1\r\n", "XXXXXXXXXXXXXXXX", "400 | 431"),
    ("header lines without end", "GET /echo HTTP/1.1\r\n", "X: a\r\n", "431"),
    ("folded lines without end", "GET /echo HTTP/1.1\r\nX: a\r\n", " a\r\n", "400 | 431"),
    ("empty lines without end", "", "\r\n\r\n\r\n\r\n", "400 | 414 | 431"),
    ("NULs without end", "", "\0\0\0\0\0\0\0\0", "400 | 414"),
];

fn endless(&(name, start, unit, expected): &'static (&str, &str, &str, &str)) -> Attack {
    Attack::new(1, name, expected, move |server| {
        let mut peer = Peer::connect(server.address())?;
        let _ = peer.send(start.as_bytes());
        let many = unit.as_bytes().repeat(64);
        let refused = peer.send_until_refused(&many, Duration::from_micros(100), PROMPT * 3);
        let answer = peer.answer_to_request("", PROMPT);
        if refused {
            Ok(answer)
        } else {
            Err(format!("{answer}, but took all the same"))
        }
    })
}
