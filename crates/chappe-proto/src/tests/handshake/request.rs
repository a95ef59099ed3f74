//! What a client asks for (RFC 6455, sections 3 and 4.1).

use std::sync::Arc;

use super::super::START;
use super::KEY;
use super::client::{handshake, request};
use crate::Limits;
use crate::handshake::{ClientHandshake, ClientRequest, RequestError};

/// What the client has sent, as lines.
#[track_caller]
fn lines_of(request: ClientRequest) -> Vec<String> {
    let handshake = handshake(request);
    let head = str::from_utf8(handshake.request()).unwrap();
    let head = head.strip_suffix("\r\n\r\n").unwrap();
    head.split("\r\n").map(str::to_owned).collect()
}

#[test]
fn client_asks_for_what_the_rfc_shows() {
    let lines = lines_of(request());
    let expected = [
        "GET /chat HTTP/1.1",
        "Host: server.example.com",
        "Upgrade: websocket",
        "Connection: Upgrade",
        &format!("Sec-WebSocket-Key: {KEY}"),
        "Sec-WebSocket-Version: 13",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn client_asks_for_subprotocols_and_sends_headers() {
    let request = request()
        .subprotocol("chat")
        .and_then(|request| request.subprotocol("superchat"))
        .and_then(|request| request.header("Origin", "http://example.com"))
        .and_then(|request| request.header("Cookie", "a=b"))
        .and_then(|request| request.header("X-Two", "1"))
        .and_then(|request| request.header("X-Two", "2"))
        .unwrap();
    let mut lines = lines_of(request).split_off(6);
    lines[1..].sort();
    let expected = [
        "Sec-WebSocket-Protocol: chat, superchat",
        "cookie: a=b",
        "origin: http://example.com",
        "x-two: 1",
        "x-two: 2",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn client_sends_another_host_if_it_is_told_to() {
    let request = request()
        .header("Host", "first.example")
        .and_then(|request| request.header("Host", "other.example"))
        .unwrap();
    assert_eq!(request.host(), "server.example.com");
    let lines = lines_of(request);
    let hosts = lines
        .iter()
        .filter(|line| line.to_lowercase().starts_with("host:"));
    assert_eq!(hosts.collect::<Vec<_>>(), ["host: other.example"]);
}

#[test]
fn urls_say_where_to_connect_and_what_for() {
    for (url, host, port, secure, target, header) in [
        ("ws://a", "a", 80, false, "/", "a"),
        ("wss://a", "a", 443, true, "/", "a"),
        ("http://a/", "a", 80, false, "/", "a"),
        ("https://a/b/c?d=e&f", "a", 443, true, "/b/c?d=e&f", "a"),
        (
            "WSS://a.Example:443/x",
            "a.Example",
            443,
            true,
            "/x",
            "a.Example",
        ),
        ("ws://a:80/", "a", 80, false, "/", "a"),
        ("ws://a:443/", "a", 443, false, "/", "a:443"),
        ("wss://a:80/", "a", 80, true, "/", "a:80"),
        ("ws://a:8000", "a", 8000, false, "/", "a:8000"),
        ("ws://a?x=y", "a", 80, false, "/?x=y", "a"),
        ("ws://a:1?", "a", 1, false, "/?", "a:1"),
        (
            "ws://127.0.0.1:9001/x@y",
            "127.0.0.1",
            9001,
            false,
            "/x@y",
            "127.0.0.1:9001",
        ),
        ("ws://[::1]:9001/", "::1", 9001, false, "/", "[::1]:9001"),
        (
            "wss://[2001:db8::1]",
            "2001:db8::1",
            443,
            true,
            "/",
            "[2001:db8::1]",
        ),
    ] {
        let request = ClientRequest::new(url).expect(url);
        assert_eq!(request.host(), host, "{url}");
        assert_eq!(request.port(), port, "{url}");
        assert_eq!(request.is_secure(), secure, "{url}");
        let lines = lines_of(request);
        assert_eq!(lines[0], format!("GET {target} HTTP/1.1"), "{url}");
        assert_eq!(lines[1], format!("Host: {header}"), "{url}");
    }
}

#[test]
fn paths_and_queries_are_encoded_as_the_url_standard_says() {
    for (url, target) in [
        ("ws://h/\u{fc}", "/%C3%BC"),
        ("ws://h/\u{1f980}/x", "/%F0%9F%A6%80/x"),
        ("ws://h?q={\"a\":1}", "/?q={%22a%22:1}"),
        ("ws://h/{a}|^`", "/%7Ba%7D|%5E%60"),
        ("ws://h/a b?c d", "/a%20b?c%20d"),
        ("ws://h/\"<>'", "/%22%3C%3E'"),
        ("ws://h/?\"<>'", "/?%22%3C%3E%27"),
        ("ws://h/?\u{fc}=`{|}^\\", "/?%C3%BC=`{|}^\\"),
        ("ws://h/a%20b?c%20d", "/a%20b?c%20d"),
        ("ws://h/%zz%?%zz%", "/%zz%?%zz%"),
        ("ws://h/%c3%bc", "/%c3%bc"),
        ("ws://h/a?b?c", "/a?b?c"),
        ("ws://h/!$&'()*+,;=:@-._~[]", "/!$&'()*+,;=:@-._~[]"),
        ("ws://h//a//", "//a//"),
        ("ws://h\\a\\b?c\\d", "/a/b?c\\d"),
        ("ws:\\\\h\\a", "/a"),
        ("ws:/\\h", "/"),
        ("ws://h/a/../b/./c", "/b/c"),
        ("ws://h/a/..", "/"),
        ("ws://h/a/b/.", "/a/b/"),
        ("ws://h/../../a", "/a"),
        ("ws://h/a/%2e%2E/.%2e/b/%2E", "/b/"),
        ("ws://h/.../..a/a..", "/.../..a/a.."),
        ("ws://h/a//../b", "/a/b"),
        ("ws://h/?a/../b", "/?a/../b"),
        (" ws://h/a\n", "/a"),
        ("\u{1}ws://h/a\t \0", "/a"),
    ] {
        let request = ClientRequest::new(url).expect(url);
        assert_eq!(request.host(), "h", "{url}");
        let lines = lines_of(request);
        assert_eq!(lines[0], format!("GET {target} HTTP/1.1"), "{url}");
    }
}

#[test]
fn an_empty_port_is_the_default() {
    for (url, port, header) in [
        ("ws://a:/x", 80, "a"),
        ("wss://a:", 443, "a"),
        ("ws://a:?x", 80, "a"),
        ("ws://[::1]:/", 80, "[::1]"),
        ("ws://a:0080/", 80, "a"),
        ("ws://a:08000/", 8000, "a:8000"),
        ("ws://xn--bcher-kva.example:/", 80, "xn--bcher-kva.example"),
    ] {
        let request = ClientRequest::new(url).expect(url);
        assert_eq!(request.port(), port, "{url}");
        assert_eq!(lines_of(request)[1], format!("Host: {header}"), "{url}");
    }
}

#[test]
fn what_is_no_websocket_url_is_refused() {
    use RequestError as E;
    for (url, expected) in [
        ("", E::Url),
        ("a", E::Url),
        ("/a", E::Url),
        ("a/b", E::Url),
        ("a:80", E::Url),
        ("://a", E::Scheme),
        ("//a", E::Url),
        ("ws:/a", E::Url),
        ("ws://", E::Url),
        ("ws:///a", E::Url),
        ("ws:a", E::Url),
        ("ws://:80", E::Url),
        ("ws://:", E::Url),
        ("ws://a::", E::Url),
        ("ws://a:1:", E::Url),
        ("ws://a:x", E::Url),
        ("ws://a:+1", E::Url),
        ("ws://a:65536", E::Url),
        ("ws://a:99999", E::Url),
        ("ws://a b", E::Url),
        ("ws://a%20b", E::Url),
        ("ws://a/\r\nX: y", E::ControlCharacter),
        ("ws://a\r\nX: y/", E::ControlCharacter),
        ("ws://a/\0b", E::ControlCharacter),
        ("ws://a/b\tc", E::ControlCharacter),
        ("w\ns://a", E::ControlCharacter),
        ("ws://a?\x7fb", E::ControlCharacter),
        ("ws://b\u{fc}cher.example/", E::InternationalHost),
        ("ws://a\u{3002}example/", E::InternationalHost),
        ("ws://\u{ff41}/", E::InternationalHost),
        ("ws://[::1", E::Url),
        ("ws://[a]", E::Url),
        ("ws://a,b/", E::Url),
        ("ftp://a", E::Scheme),
        ("wsss://a", E::Scheme),
        ("ws://a#b", E::Fragment),
        ("ws://a/#", E::Fragment),
        ("ws://user@a", E::UserInfo),
        ("wss://user:password@a/", E::UserInfo),
        ("ws://@a", E::UserInfo),
    ] {
        assert_eq!(ClientRequest::new(url).err(), Some(expected), "{url:?}");
    }
}

#[test]
fn what_would_break_the_request_is_refused() {
    for name in ["", "a b", "a,b", "a\r\nb", "a;b", "\"a\"", "gr\u{fc}n"] {
        let result = request().subprotocol(name);
        assert_eq!(result.err(), Some(RequestError::Subprotocol), "{name:?}");
    }
    let twice = request().subprotocol("a").unwrap().subprotocol("a");
    assert_eq!(twice.err(), Some(RequestError::Subprotocol));
    for (name, value) in [
        ("", "x"),
        ("a b", "x"),
        ("a:", "x"),
        ("a\r\nb", "x"),
        ("a", "x\r\ny: z"),
        ("a", "x\ny"),
        ("a", "x\ry"),
        ("a", "x\0"),
        ("a", "\u{7f}"),
    ] {
        let result = request().header(name, value);
        assert_eq!(
            result.err(),
            Some(RequestError::Header),
            "{name:?}: {value:?}"
        );
    }
    for name in [
        "Connection",
        "Content-Length",
        "Sec-WebSocket-Accept",
        "Sec-WebSocket-Extensions",
        "SEC-WEBSOCKET-KEY",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Version",
        "transfer-encoding",
        "Upgrade",
    ] {
        let result = request().header(name, "x");
        let expected = RequestError::OwnHeader {
            name: name.to_lowercase(),
        };
        assert_eq!(result.err(), Some(expected));
    }
}

#[test]
fn request_errors_say_what_to_do() {
    let name = "upgrade".to_owned();
    for (error, text) in [
        (
            RequestError::Url,
            "not a URL such as ws://example.com:8000/path",
        ),
        (
            RequestError::ControlCharacter,
            "a URL must not have line breaks or control characters in it",
        ),
        (
            RequestError::InternationalHost,
            "host name must be written in its ASCII form, such as xn--caf-dma.example",
        ),
        (RequestError::Scheme, "scheme of the URL must be ws or wss"),
        (
            RequestError::Fragment,
            "a WebSocket URL must not have a fragment (#)",
        ),
        (
            RequestError::UserInfo,
            "a user name in the URL would end up in logs; send an Authorization header instead",
        ),
        (
            RequestError::Subprotocol,
            "a subprotocol must be a token and may be offered only once",
        ),
        (
            RequestError::Header,
            "header name or value contains bytes that are not allowed in headers",
        ),
        (
            RequestError::OwnHeader { name },
            "header upgrade is set by the handshake itself",
        ),
    ] {
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn clients_draw_other_keys() {
    let limits = Arc::new(Limits::default());
    let draw = || {
        let mut random = crate::SystemRandom;
        let handshake = ClientHandshake::new(START, request(), limits.clone(), &mut random);
        handshake.request().to_vec()
    };
    assert_ne!(draw(), draw());
}
