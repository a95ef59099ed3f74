//! Pages of other origins, and names that only look like ours (kind 7).

use super::Attack;
use super::head::Edit::{self, Add, Raw, Set};
use super::head::{Row, attack};

pub(super) fn attacks() -> impl Iterator<Item = Attack> {
    [ORIGINS, HOSTS, PLAIN]
        .into_iter()
        .flatten()
        .map(|row| attack(*row))
}

const HOST: &str = "Host";
const LOCALHOST: Edit = Set(HOST, "localhost:{port}");

#[rustfmt::skip]
const ORIGINS: &[Row] = &[
    (7, "no Origin", &[], "101"),
    (7, "our own", &[Add("Origin: http://127.0.0.1:{port}")], "101"),
    (7, "our own by name", &[LOCALHOST, Add("Origin: http://localhost:{port}")], "101"),
    (7, "our own as IPv6", &[Set(HOST, "[::1]:{port}"), Add("Origin: http://[::1]:{port}")], "101"),
    (7, "null", &[Add("Origin: null")], "403"),
    (7, "empty", &[Add("Origin: ")], "400 | 403"),
    (7, "another site", &[Add("Origin: http://evil.example")], "403"),
    (7, "another site on our port", &[Add("Origin: http://evil.example:{port}")], "403"),
    (7, "another site with a cookie", &[Add("Origin: http://evil.example"), Add("Cookie: a=b")], "403"),
    (7, "our host on another port", &[Add("Origin: http://127.0.0.1:1")], "403"),
    (7, "our host on the usual port", &[Add("Origin: http://127.0.0.1")], "403"),
    (7, "our port as a prefix", &[Add("Origin: http://127.0.0.1:{port}0")], "403"),
    (7, "our host as a subdomain", &[Add("Origin: http://127.0.0.1.evil.example:{port}")], "403"),
    (7, "our host and port as a prefix", &[Add("Origin: http://127.0.0.1:{port}.evil.example")], "400 | 403"),
    (7, "our host as a suffix", &[LOCALHOST, Add("Origin: http://evillocalhost:{port}")], "403"),
    (7, "our host as a parent", &[LOCALHOST, Add("Origin: http://evil.localhost:{port}")], "403"),
    (7, "our host as user info", &[Add("Origin: http://127.0.0.1:{port}@evil.example")], "400 | 403"),
    (7, "our host as a fragment", &[Add("Origin: http://evil.example#127.0.0.1:{port}")], "400 | 403"),
    (7, "our host as a path", &[Add("Origin: http://evil.example/127.0.0.1:{port}")], "400 | 403"),
    (7, "our host as a query", &[Add("Origin: http://evil.example?127.0.0.1:{port}")], "400 | 403"),
    (7, "our host before a backslash", &[Add("Origin: http://evil.example\\127.0.0.1:{port}")], "400 | 403"),
    (7, "localhost for 127.0.0.1", &[Add("Origin: http://localhost:{port}")], "403"),
    (7, "127.0.0.1 for localhost", &[LOCALHOST, Add("Origin: http://127.0.0.1:{port}")], "403"),
    (7, "[::1] for 127.0.0.1", &[Add("Origin: http://[::1]:{port}")], "403"),
    (7, "[::ffff:127.0.0.1] for 127.0.0.1", &[Add("Origin: http://[::ffff:127.0.0.1]:{port}")], "403"),
    (7, "a short address", &[Add("Origin: http://127.1:{port}")], "403"),
    (7, "an address as one number", &[Add("Origin: http://2130706433:{port}")], "403"),
    (7, "a hexadecimal address", &[Add("Origin: http://0x7f000001:{port}")], "403"),
    (7, "a dot at the end", &[LOCALHOST, Add("Origin: http://localhost.:{port}")], "403"),
    (7, "full-width dots", &[Add("Origin: http://127\u{e3}\u{80}\u{82}0\u{e3}\u{80}\u{82}0\u{e3}\u{80}\u{82}1:{port}")], "400 | 403"),
    (7, "a letter that looks alike", &[LOCALHOST, Add("Origin: http://l\u{d0}\u{be}calhost:{port}")], "400 | 403"),
    (7, "an internationalized name", &[LOCALHOST, Add("Origin: http://xn--lcalhost-tvg:{port}")], "403"),
    (7, "a file", &[Add("Origin: file://")], "400 | 403"),
    (7, "a browser's extension", &[Add("Origin: chrome-extension://abcdefgh")], "400 | 403"),
    (7, "no scheme", &[Add("Origin: 127.0.0.1:{port}")], "400 | 403"),
    (7, "the scheme ws", &[Add("Origin: ws://127.0.0.1:{port}")], "400 | 403"),
    (7, "two origins, ours first", &[Add("Origin: http://127.0.0.1:{port}"), Add("Origin: http://evil.example")], "400 | 403"),
    (7, "two origins, ours last", &[Add("Origin: http://evil.example"), Add("Origin: http://127.0.0.1:{port}")], "400 | 403"),
    (7, "a list of origins", &[Add("Origin: http://127.0.0.1:{port} http://evil.example")], "400 | 403"),
    (7, "an origin of 10,000 bytes", &[Add("Origin: http://{a*10000}")], "400 | 403"),
];

#[rustfmt::skip]
const HOSTS: &[Row] = &[
    (7, "Host localhost", &[LOCALHOST], "101"),
    (7, "Host LOCALHOST", &[Set(HOST, "LOCALHOST:{port}")], "101"),
    (7, "Host [::1]", &[Set(HOST, "[::1]:{port}")], "101"),
    (7, "Host of another name", &[Set(HOST, "evil.example:{port}")], "403"),
    (7, "Host and Origin of another name", &[Set(HOST, "evil.example:{port}"), Add("Origin: http://evil.example:{port}")], "403"),
    (7, "Host whose name begins as ours", &[Set(HOST, "127.0.0.1.evil.example:{port}")], "403"),
    (7, "Host whose name ends as ours", &[Set(HOST, "evillocalhost:{port}")], "403"),
    (7, "Host below localhost", &[Set(HOST, "a.localhost:{port}")], "101"),
    (7, "Host localhost with a dot at the end", &[Set(HOST, "localhost.:{port}")], "101"),
    (7, "Host 0.0.0.0", &[Set(HOST, "0.0.0.0:{port}")], "403"),
    (7, "Host 127.0.0.2", &[Set(HOST, "127.0.0.2:{port}")], "101"),
    (7, "Host 127.1", &[Set(HOST, "127.1:{port}")], "403"),
    (7, "Host [::ffff:127.0.0.1]", &[Set(HOST, "[::ffff:127.0.0.1]:{port}")], "403"),
    (7, "Host ::1 without brackets", &[Set(HOST, "::1")], "400 | 403"),
];

/// Origins and hosts hold for every request, not for handshakes alone.
#[rustfmt::skip]
const PLAIN: &[Row] = &[
    (7, "a page for a Host of another name", &[Raw("GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")], "403"),
    (7, "a page for a page of another site", &[Raw("GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://evil.example\r\nConnection: close\r\n\r\n")], "403"),
    (7, "a POST of another site", &[Raw("POST / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://evil.example\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")], "403 | 405"),
    (7, "a page without a Host", &[Raw("GET / HTTP/1.1\r\nConnection: close\r\n\r\n")], "400"),
    (7, "a page for a Host of another name by HTTP/1.0", &[Raw("GET / HTTP/1.0\r\nHost: evil.example\r\n\r\n")], "403"),
];
