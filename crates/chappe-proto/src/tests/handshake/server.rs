//! What a server accepts and what it refuses (RFC 6455, sections 4.2.1 and 4.2.2).

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode, Version};

use super::super::{START, all_cuts, just_before, pieces};
use super::{ACCEPT, Head, KEY, policy};
use crate::handshake::{
    Acceptance, HeadError, Hosts, Origins, Policy, Refusal, ServerHandshake, is_upgrade,
};
use crate::{Limits, State};

/// What a server with these limits makes of a head, which ends where it is seen to end.
#[track_caller]
pub(super) fn answer(
    policy: &Policy,
    limits: &Limits,
    head: &[u8],
    cuts: &[usize],
) -> Option<Result<Acceptance, Refusal>> {
    let mut handshake = ServerHandshake::new(START, Arc::new(limits.clone()));
    let mut consumed = 0;
    for piece in pieces(head, cuts) {
        let (taken, request) = handshake.handle_input(piece);
        consumed += taken;
        match request {
            Some(Ok(request)) => {
                assert_eq!(consumed, head.len(), "cut at {cuts:?}");
                assert_eq!(handshake.into_head(), head);
                return Some(policy.accept(&request));
            }
            Some(Err(refusal)) => return Some(Err(refusal)),
            None => assert_eq!(taken, piece.len(), "left without a request"),
        }
    }
    None
}

/// A row: a whole head and the response that accepts it.
#[track_caller]
pub(super) fn check_accepted(policy: &Policy, head: &Head, response: &str) {
    let head = head.bytes();
    for cuts in all_cuts(head.len()) {
        let answer = answer(policy, &Limits::default(), &head, &cuts);
        let acceptance = answer.unwrap().unwrap();
        assert_eq!(String::from_utf8(acceptance.response()).unwrap(), response);
    }
    // What follows the head is left to whoever speaks WebSocket.
    let more = [&head[..], b"\x81\x80\r\n\r\n"].concat();
    let mut handshake = ServerHandshake::new(START, Arc::new(Limits::default()));
    let (consumed, request) = handshake.handle_input(&more);
    assert_eq!(consumed, head.len());
    assert!(policy.accept(&request.unwrap().unwrap()).is_ok());
}

/// A row: a head, or its beginning, and why it is refused.
#[track_caller]
pub(super) fn check_refused(policy: &Policy, limits: &Limits, head: &[u8], expected: &Refusal) {
    for cuts in all_cuts(head.len()) {
        match answer(policy, limits, head, &cuts) {
            Some(Err(refusal)) => assert_eq!(refusal, *expected, "cut at {cuts:?}"),
            other => panic!("{other:?}, not {expected:?}, cut at {cuts:?}"),
        }
    }
}

#[track_caller]
fn check_policy_refuses(policy: &Policy, head: &Head, expected: &Refusal) {
    check_refused(policy, &Limits::default(), &head.bytes(), expected);
}

#[track_caller]
fn check_refuses(head: &Head, expected: &Refusal) {
    check_policy_refuses(&Policy::default(), head, expected);
}

pub(super) const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

#[track_caller]
fn check_accepts(head: &Head) {
    check_accepted(&Policy::default(), head, SWITCHING);
}

fn malformed(header: &'static str) -> Refusal {
    Refusal::Malformed { header }
}

fn missing(header: &'static str) -> Refusal {
    Refusal::Missing { header }
}

fn repeated(header: &'static str) -> Refusal {
    Refusal::Repeated { header }
}

#[test]
fn server_accepts_the_request_of_the_rfc() {
    check_accepts(&Head::request());
    let head = Head::request()
        .with("Origin: http://example.com")
        .with("Sec-WebSocket-Protocol: chat, superchat");
    let policy = policy(|policy| {
        policy.subprotocols = vec!["chat".to_owned()];
        policy.origins = Origins::Listed(vec!["http://example.com".to_owned()]);
    });
    let response = SWITCHING.replace("=\r\n\r\n", "=\r\nSec-WebSocket-Protocol: chat\r\n\r\n");
    check_accepted(&policy, &head, &response);
}

#[test]
fn server_accepts_headers_in_other_forms() {
    let connections = [
        "keep-alive, Upgrade",
        "Upgrade,keep-alive",
        "UPGRADE",
        "x ,\t upgrade\t, y",
        ",,upgrade",
        ", ,upgrade,\t,",
        &format!("{}upgrade", ",".repeat(1000)),
    ];
    for value in connections {
        check_accepts(&Head::request().value("Connection", value));
    }
    let head = Head::request().value("Connection", "keep-alive");
    check_accepts(&head.with("Connection: Upgrade"));
    let head = Head::request().value("Connection", "Upgrade");
    check_accepts(&head.with("connection: close"));
    for value in [
        "WebSocket",
        "websocket, h2c",
        "h2c ,WEBSOCKET",
        ",websocket",
        "websocket , ,",
    ] {
        check_accepts(&Head::request().value("Upgrade", value));
    }
    let head = Head::request().without("Host").without("Upgrade");
    check_accepts(
        &head
            .with("hOST:example.com")
            .with("UPGRADE:\t websocket \t"),
    );
    check_accepts(&Head::request().with("X-Empty:").with("X-Latin: \u{fc}"));
    check_accepts(&Head::request().with("X-Colons: a:b:c"));
    check_accepts(&Head::request().start("GET / HTTP/1.1"));
    check_accepts(&Head::request().start("GET /?token=a%20b&c=%22d%22 HTTP/1.1"));
    check_accepts(&Head::request().start("GET //two/slashes HTTP/1.1"));
}

#[test]
fn server_accepts_keys_with_unused_bits_set() {
    // Erratum 3150: the RFC's own sample of a client's key had them.
    let key = "AQIDBAUGBwgJCgsMDQ4PEC==";
    let response = SWITCHING.replace(ACCEPT, "OfS0wDaT5NoxF2gqm7Zj2YtetzM=");
    let head = Head::request().value("Sec-WebSocket-Key", key);
    check_accepted(&Policy::default(), &head, &response);
}

const NO_UPGRADE: [&str; 6] = [
    "",
    "h2c",
    "websockets",
    "web socket",
    "websocket/13",
    "\"websocket\"",
];

#[test]
fn server_tells_plain_http_from_a_handshake() {
    let plain = Head::request().without("Sec-WebSocket");
    check_refuses(&plain.clone().without("Upgrade"), &Refusal::NotUpgrade);
    for value in NO_UPGRADE {
        check_refuses(&plain.clone().value("Upgrade", value), &Refusal::NotUpgrade);
    }
    let post = plain.without("Upgrade").start("POST /chat HTTP/1.0");
    check_refuses(
        &post.without("Host").with("Content-Length: 5"),
        &Refusal::NotUpgrade,
    );
}

#[test]
fn server_says_what_a_proxy_did_to_a_handshake() {
    let dropped = |header| Refusal::UpgradeDropped { header };
    let upgrade = dropped("Upgrade: websocket");
    let head = Head::request().without("Upgrade");
    check_refuses(&head, &upgrade);
    check_refuses(&head.clone().without("Sec-WebSocket-Key"), &upgrade);
    check_refuses(&head.clone().without("Sec-WebSocket-Version"), &upgrade);
    for value in NO_UPGRADE {
        check_refuses(&Head::request().value("Upgrade", value), &upgrade);
    }
    let connection = dropped("Connection: Upgrade");
    check_refuses(&Head::request().without("Connection"), &connection);
    for value in [
        "",
        "keep-alive",
        "Upgraded",
        "x-upgrade",
        "up grade",
        "upgrade;q=1",
        "upgrade, \u{e9}",
    ] {
        check_refuses(&Head::request().value("Connection", value), &connection);
    }
    // It is told before what else the proxy may have changed, and before the page is blamed.
    let head = Head::request()
        .start("GET /chat HTTP/1.0")
        .value("Host", "backend")
        .with("Origin: http://server.example.com");
    let loopback = policy(|policy| policy.hosts = Hosts::Loopback);
    let plain = head.clone().without("Upgrade").value("Connection", "close");
    check_policy_refuses(&loopback, &plain, &upgrade);
    let plain = head.value("Connection", "close");
    check_policy_refuses(&loopback, &plain, &connection);
}

#[test]
fn server_refuses_other_methods_and_versions() {
    for method in ["POST", "HEAD", "PUT", "get", "OPTIONS", "GETS", "X"] {
        let head = Head::request().start(&format!("{method} /chat HTTP/1.1"));
        check_refuses(&head, &Refusal::Method);
    }
    for version in ["HTTP/1.0", "HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "HTTP/9.9"] {
        let head = Head::request().start(&format!("GET /chat {version}"));
        check_refuses(&head, &Refusal::Head(HeadError::HttpVersion));
    }
}

#[test]
fn server_refuses_a_request_with_a_body() {
    for line in [
        "Content-Length: 5",
        "Content-Length: x",
        "Content-Length:",
        "Content-Length: 0, 0",
        "Content-Length: +0",
        "Content-Length: -0",
        "Content-Length: 0x0",
        "Content-Length: 0.0",
        "Content-Length: 0\r\nContent-Length: 0",
        "Content-Length: 0\r\nContent-Length: 5",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: identity",
    ] {
        check_refuses(&Head::request().with(line), &Refusal::Body);
    }
}

#[test]
fn server_accepts_a_body_of_no_bytes() {
    for line in ["Content-Length: 0", "content-length:\t000 "] {
        check_accepts(&Head::request().with(line));
    }
}

#[test]
fn server_refuses_missing_repeated_and_malformed_hosts() {
    check_refuses(&Head::request().without("Host"), &missing("Host"));
    for host in ["server.example.com", "other.example.com"] {
        let head = Head::request().with(&format!("Host: {host}"));
        check_refuses(&head, &repeated("Host"));
    }
    for host in [
        "",
        "a b",
        "a,b",
        "user@host",
        "http://host",
        "host/path",
        "host:",
        "host:x",
        "host:-1",
        "host:+80",
        "host:65536",
        "host:1:2",
        "[::1",
        "::1",
        "[::1]x",
        "[host]",
        "[]",
        ":80",
        "h\u{f6}st",
        "host?",
        "host#",
        "h\"st",
        "[::1]:",
        "a%20b",
    ] {
        check_refuses(&Head::request().value("Host", host), &malformed("Host"));
    }
    for host in [
        "h",
        "a.b-c_d~e",
        "1.2.3.4:65535",
        "[::1]",
        "[2001:db8::1]:8000",
        "h:0",
    ] {
        check_accepts(&Head::request().value("Host", host));
    }
}

#[test]
fn server_refuses_other_versions_of_the_protocol() {
    let head = Head::request().without("Sec-WebSocket-Version");
    check_refuses(&head, &Refusal::Version);
    for version in [
        "", "0", "8", "14", "130", "013", "+13", "13, 8", "8, 13", "thirteen",
    ] {
        let head = Head::request().value("Sec-WebSocket-Version", version);
        check_refuses(&head, &Refusal::Version);
    }
    let head = Head::request().with("Sec-WebSocket-Version: 13");
    check_refuses(&head, &repeated("Sec-WebSocket-Version"));
}

#[test]
fn server_refuses_missing_repeated_and_malformed_keys() {
    let name = "Sec-WebSocket-Key";
    check_refuses(&Head::request().without(name), &missing(name));
    let head = Head::request().with(&format!("{name}: {KEY}"));
    check_refuses(&head, &repeated(name));
    for key in [
        "",
        "x",
        "dGhlIHNhbXBsZSBub25jZQ",       // without padding
        "dGhlIHNhbXBsZSBub25jZQ=",      // with half of it
        "dGhlIHNhbXBsZSBub25jZQ===",    // with more
        "dGhlIHNhbXBsZSBub25j",         // 15 bytes
        "dGhlIHNhbXBsZSBub25jZSE=",     // 17 bytes
        "dGhlIHNhbXBsZSBub25jZSEh",     // 18 bytes
        "dGhlIHNhbXBsZSBub25jZSEhIQ==", // 19 bytes
        "dGhlIHNhbXBs SBub25jZQ==",
        "dGhlIHNhbXBs-SBub25jZQ==", // the URL's alphabet
        "dGhlIHNhbXBs=SBub25jZQ==",
        "========================",
        "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==",
    ] {
        check_refuses(&Head::request().value(name, key), &malformed(name));
    }
}

#[test]
fn server_chooses_the_subprotocol_it_likes_best() {
    let policy = policy(|policy| policy.subprotocols = vec!["v2".to_owned(), "v1".to_owned()]);
    for (offers, chosen) in [
        (&["v1, v2"][..], Some("v2")),
        (&["v1"], Some("v1")),
        (&["v1", "v2"], Some("v2")),
        (&["x,v1\t,y", "z"], Some("v1")),
        (&["x, y"], None),
        (&["v1,"], Some("v1")),
        (&[",, v1 ,\t,v2,"], Some("v2")),
        (&["", "v1"], Some("v1")),
        (&[""], None),
        (&[" , \t,"], None),
        (&["V1"], None), // case counts
        (&[], None),
    ] {
        let mut head = Head::request();
        for offer in offers {
            head = head.with(&format!("Sec-WebSocket-Protocol: {offer}"));
        }
        let line = chosen.map_or(String::new(), |name| {
            format!("Sec-WebSocket-Protocol: {name}\r\n")
        });
        let response = SWITCHING.replace("=\r\n\r\n", &format!("=\r\n{line}\r\n"));
        check_accepted(&policy, &head, &response);
        let answer = answer(&policy, &Limits::default(), &head.bytes(), &[]);
        assert_eq!(answer.unwrap().unwrap().subprotocol(), chosen);
    }
    // A server that knows of none agrees to none.
    check_accepts(&Head::request().with("Sec-WebSocket-Protocol: v1"));
}

#[test]
fn server_refuses_malformed_subprotocols() {
    let name = "Sec-WebSocket-Protocol";
    for value in [
        "a b",
        "a;b",
        "\"a\"",
        "a,a",
        "a,,a",
        "a, b, a",
        "gr\u{fc}n",
        "a/b",
        ",a b,",
    ] {
        let head = Head::request().with(&format!("{name}: {value}"));
        check_refuses(&head, &malformed(name));
    }
    let head = Head::request().with("Sec-WebSocket-Protocol: a");
    check_refuses(&head.with("Sec-WebSocket-Protocol: a"), &malformed(name));
    let offers = |count: usize| -> Head {
        let names: Vec<String> = (0..count).map(|number| format!("p{number}")).collect();
        Head::request().with(&format!("{name}: {}", names.join(",")))
    };
    check_accepts(&offers(64));
    check_refuses(&offers(65), &malformed(name));
    let empty = |count| Head::request().with(&format!("{name}: {}a", ",".repeat(count)));
    check_accepts(&empty(64));
    check_refuses(&empty(65), &malformed(name));
}

#[test]
fn server_declines_extensions_and_refuses_malformed_ones() {
    let name = "Sec-WebSocket-Extensions";
    for value in [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits, permessage-deflate",
        "x; a=1; b=\"2\"",
        "",
        ", ,x,,",
    ] {
        check_accepts(&Head::request().with(&format!("{name}: {value}")));
    }
    for value in [";", ",;", "x;", "x; a=\"", "x; a=\"b\\", "x y", "x; a=b c"] {
        let head = Head::request().with(&format!("{name}: {value}"));
        check_refuses(&head, &malformed(name));
    }
}

#[test]
fn a_request_is_read_as_it_was_written() {
    let head = Head::request()
        .start("GET /chat?x=y HTTP/1.1")
        .with("X-Two: 1")
        .with("x-two:  2\t")
        .bytes();
    let mut handshake = ServerHandshake::new(START, Arc::new(Limits::default()));
    assert_eq!(handshake.state(), State::Connecting);
    let request = handshake.handle_input(&head).1.unwrap().unwrap();
    assert!(is_upgrade(&request));
    assert_eq!(*request.method(), Method::GET);
    assert_eq!(request.version(), Version::HTTP_11);
    assert_eq!(request.uri().path(), "/chat");
    assert_eq!(request.uri().query(), Some("x=y"));
    assert_eq!(request.headers().len(), 7);
    let values: Vec<_> = request.headers().get_all("x-two").iter().collect();
    assert_eq!(values, ["1", "2"]);
}

#[test]
fn plain_http_is_told_from_a_handshake_and_handed_on() {
    let head = Head::new(&["POST /api HTTP/1.0", "Content-Length: 5"]).bytes();
    let mut handshake = ServerHandshake::new(START, Arc::new(Limits::default()));
    let input = [&head[..], b"hello"].concat();
    let (consumed, request) = handshake.handle_input(&input);
    let request = request.unwrap().unwrap();
    assert_eq!(consumed, head.len());
    assert!(!is_upgrade(&request));
    assert_eq!(request.version(), Version::HTTP_10);
    assert_eq!(handshake.into_head(), head);
}

#[test]
fn request_meets_its_time_limit() {
    let limits = Arc::new(Limits::default());
    let mut handshake = ServerHandshake::new(START, limits);
    let after = Duration::from_secs(10);
    assert_eq!(handshake.poll_timeout(), START + after);
    // A byte now and then does not prolong it.
    for byte in b"GET / HT" {
        handshake.handle_input(&[*byte]);
        assert_eq!(handshake.poll_timeout(), START + after);
    }
    assert_eq!(handshake.handle_timeout(just_before(START + after)), None);
    let refusal = handshake.handle_timeout(START + after).unwrap();
    assert_eq!(refusal, Refusal::Timeout { after });
}

/// A refusal's status, name and text.
#[track_caller]
fn assert_says(refusal: &Refusal, status: u16, name: &str, text: &str) {
    assert_eq!(refusal.status(), status, "{name}");
    assert_eq!(refusal.name(), name);
    assert_eq!(refusal.to_string(), text);
    let response = String::from_utf8(refusal.response()).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, format!("{text}\n"));
    let mut lines = head.split("\r\n");
    let start = lines.next().unwrap();
    assert!(start.starts_with(&format!("HTTP/1.1 {status} ")), "{start}");
    let lines: Vec<&str> = lines.collect();
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("Connection: close"))
    );
    let length = format!("Content-Length: {}", body.len());
    assert!(lines.contains(&length.as_str()));
    assert!(lines.contains(&"X-Content-Type-Options: nosniff"));
    assert!(lines.contains(&"Content-Type: text/plain; charset=utf-8"));
}

#[test]
fn refusals_have_statuses_names_and_texts() {
    let text = "only WebSocket is spoken here, and the request is not a WebSocket handshake";
    assert_says(&Refusal::NotUpgrade, 426, "not_upgrade", text);
    let header = "Upgrade: websocket";
    let text = "header \"Upgrade: websocket\" is missing from a WebSocket handshake: a proxy on the way \
                has probably dropped it, and must be configured to pass WebSocket";
    assert_says(
        &Refusal::UpgradeDropped { header },
        426,
        "upgrade_dropped",
        text,
    );
    let text = "a WebSocket handshake must use GET";
    assert_says(&Refusal::Method, 405, "method", text);
    let text = "a WebSocket handshake must not have a body";
    assert_says(&Refusal::Body, 400, "body", text);
    let text = "data was sent before the handshake was answered";
    assert_says(&Refusal::EarlyData, 400, "early_data", text);
    let text = "header Host is missing";
    assert_says(&missing("Host"), 400, "missing_header", text);
    let text = "header Host must appear exactly once";
    assert_says(&repeated("Host"), 400, "repeated_header", text);
    let text = "header Host is malformed";
    assert_says(&malformed("Host"), 400, "malformed_header", text);
    let text = "Sec-WebSocket-Version must be 13";
    assert_says(&Refusal::Version, 426, "version", text);
    let host = "\"h\"".to_owned();
    let text = "host \"h\" is not a name of this server";
    assert_says(&Refusal::Host { host }, 403, "host", text);
    let origin = "\"o\"".to_owned();
    let host = "\"h\"".to_owned();
    let text = "cross-origin requests are not allowed: page \"o\", host \"h\"; both must name the \
                same host and port, or the server must list the origin";
    assert_says(&Refusal::Origin { origin, host }, 403, "origin", text);
    let text = "too many connections; try again later";
    assert_says(&Refusal::Full, 503, "full", text);
    let after = Duration::from_millis(1500);
    let text = "request was not complete within 1.5 s";
    assert_says(&Refusal::Timeout { after }, 408, "handshake_timeout", text);
    let refusal = Refusal::Application {
        status: StatusCode::UNAUTHORIZED,
        text: "log in f\u{fc}rst".to_owned(),
    };
    assert_says(&refusal, 401, "application", "log in f\u{fc}rst");
}

#[test]
fn refusals_say_what_else_is_due() {
    let head = |refusal: Refusal| {
        let response = String::from_utf8(refusal.response()).unwrap();
        response
            .split_once("\r\nContent-Type")
            .unwrap()
            .0
            .to_owned()
    };
    let upgrade = "HTTP/1.1 426 Upgrade Required\r\nConnection: close, Upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Version: 13";
    assert_eq!(head(Refusal::Version), upgrade);
    assert_eq!(head(Refusal::NotUpgrade), upgrade);
    let header = "Connection: Upgrade";
    assert_eq!(head(Refusal::UpgradeDropped { header }), upgrade);
    let method = "HTTP/1.1 405 Method Not Allowed\r\nConnection: close\r\nAllow: GET";
    assert_eq!(head(Refusal::Method), method);
    let body = "HTTP/1.1 400 Bad Request\r\nConnection: close";
    assert_eq!(head(Refusal::Body), body);
    let refusal = Refusal::Application {
        status: StatusCode::from_u16(599).unwrap(),
        text: String::new(),
    };
    assert_eq!(head(refusal), "HTTP/1.1 599 Refused\r\nConnection: close");
}
