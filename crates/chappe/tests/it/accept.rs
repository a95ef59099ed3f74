//! Accepting: requests that are refused, answered with plain HTTP, too slow or cut off.

use std::io::ErrorKind;
use std::time::Duration;

use chappe::{AcceptError, Acceptor, CloseCode, Hosts, Origins, Refusal, WebSocket};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use crate::endpoint::{REQUEST, limits, response_to};
use crate::frame::{self, Frame};
use crate::wire::{Options, Peer, Wire, wire};

type Accepted = Result<WebSocket, AcceptError<Wire>>;

/// Accepts a stream on which `bytes` arrive, and the end behind them.
async fn accept(acceptor: &Acceptor, options: Options, bytes: &[u8]) -> (Accepted, Peer) {
    let (wire, peer) = wire(options);
    peer.send(bytes);
    peer.send_end();
    (acceptor.accept(wire).await, peer)
}

/// Checks that a request is refused, and that the client is told: whole and byte by byte.
async fn check_refused(acceptor: &Acceptor, request: &str, status: u16, name: &str) {
    for stutter in [false, true] {
        let options = Options {
            stutter,
            ..Options::default()
        };
        let (result, peer) = accept(acceptor, options, request.as_bytes()).await;
        let Err(AcceptError::Refused(refusal)) = result else {
            panic!("expected {name}, but found {result:?} for {request:?}");
        };
        assert_eq!(
            (refusal.name(), refusal.status().as_u16()),
            (name, status),
            "{refusal}"
        );
        assert!(
            peer.is_shut_down(),
            "the client is told that the response is over"
        );
        assert!(peer.is_dropped());
        assert_eq!(peer.unread(), 0, "the response might be lost");
        let response = String::from_utf8(peer.take_written()).unwrap();
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status} ")),
            "{response}"
        );
        assert!(response.contains("\r\nConnection: close"), "{response}");
        let (_, body) = response.split_once("\r\n\r\n").expect("a body");
        assert_eq!(body, format!("{refusal}\n"), "the body says why");
    }
}

#[tokio::test(start_paused = true)]
async fn request_is_accepted_however_it_is_cut() {
    for stutter in [false, true] {
        let options = Options {
            stutter,
            ..Options::default()
        };
        let (result, peer) = accept(&Acceptor::new(), options, REQUEST.as_bytes()).await;
        result.expect("the request is in order");
        let response = peer.head().await;
        assert_eq!(response.as_bytes(), response_to(REQUEST));
        assert!(response.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_break_a_rule_are_refused_with_a_status_that_says_which() {
    let replaced = |from: &str, to: &str| REQUEST.replace(from, to);
    let more = |header: &str| REQUEST.replace("Host:", &format!("{header}\r\nHost:"));
    let rows = [
        (replaced("13\r\n", "12\r\n"), 426, "version"),
        (
            replaced("Sec-WebSocket-Version: 13\r\n", ""),
            426,
            "version",
        ),
        (replaced("GET", "POST"), 405, "method"),
        (replaced("HTTP/1.1", "HTTP/1.0"), 505, "http_version"),
        (replaced("/chat", "ftp://localhost/chat"), 400, "target"),
        (
            replaced("Connection: Upgrade\r\n", ""),
            426,
            "upgrade_dropped",
        ),
        (
            replaced("Upgrade: websocket\r\n", ""),
            426,
            "upgrade_dropped",
        ),
        (replaced("Host: localhost\r\n", ""), 400, "missing_header"),
        (
            replaced("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
            400,
            "missing_header",
        ),
        (replaced("dGhl", "dGh"), 400, "malformed_header"),
        (more("Host: other"), 400, "repeated_header"),
        (more("Content-Length: 5"), 400, "body"),
        (more("Transfer-Encoding: chunked"), 400, "body"),
        (more("Origin: https://example.com"), 403, "origin"),
        (more("Origin: null"), 403, "origin"),
        (more("no header"), 400, "header"),
        (more(&["X: y"; 100].join("\r\n")), 431, "too_many_headers"),
        (
            more(&format!("X: {}", "y".repeat(16 * 1024))),
            431,
            "head_too_long",
        ),
        (
            replaced("chat", &"x".repeat(8 * 1024)),
            414,
            "line_too_long",
        ),
        (replaced("localhost\r\n", "localhost\n"), 400, "bare_lf"),
    ];
    for (request, status, name) in rows {
        check_refused(&Acceptor::new(), &request, status, name).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_with_the_request_is_refused() {
    let pipelined = REQUEST.as_bytes().to_vec();
    for early in [frame::text("too early"), pipelined, vec![0]] {
        let request = [REQUEST.as_bytes(), &early].concat();
        let (result, peer) = accept(&Acceptor::new(), Options::default(), &request).await;
        assert!(
            matches!(result, Err(AcceptError::Refused(Refusal::EarlyData))),
            "{result:?}"
        );
        assert!(peer.head().await.starts_with("HTTP/1.1 400 "));
    }
}

#[tokio::test(start_paused = true)]
async fn acceptor_refuses_what_it_was_told_to() {
    let hosts = Acceptor::new().hosts(Hosts::Listed(vec!["example.com".to_owned()]));
    check_refused(
        &hosts,
        &REQUEST.replace("localhost", "evil.tld"),
        403,
        "host",
    )
    .await;
    let origins = Acceptor::new().origins(Origins::Listed(vec!["https://good.example".into()]));
    let evil = "Origin: https://good.example.evil.tld\r\nHost:";
    check_refused(&origins, &REQUEST.replace("Host:", evil), 403, "origin").await;
    let check = Acceptor::new().check(|request| match request.uri().path() {
        "/echo" => Ok(()),
        path => Err(Refusal::Application {
            status: http::StatusCode::NOT_FOUND,
            text: format!("nothing at {path}"),
        }),
    });
    check_refused(&check, REQUEST, 404, "application").await;
    let (result, _) = accept(
        &check,
        Options::default(),
        REQUEST.replace("chat", "echo").as_bytes(),
    )
    .await;
    assert!(result.is_ok(), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn subprotocol_is_the_servers_first_choice() {
    let acceptor = Acceptor::new().subprotocol("superchat").subprotocol("chat");
    let offers = [
        ("chat, superchat", Some("superchat")),
        ("chat", Some("chat")),
        ("other", None),
    ];
    for (offer, expected) in offers {
        let header = format!("Sec-WebSocket-Protocol: {offer}\r\nHost:");
        let request = REQUEST.replace("Host:", &header);
        let (result, peer) = accept(&acceptor, Options::default(), request.as_bytes()).await;
        assert_eq!(
            result.unwrap().subprotocol(),
            expected,
            "where {offer} is offered"
        );
        let response = peer.head().await;
        let line = expected.map(|name| format!("\r\nSec-WebSocket-Protocol: {name}\r\n"));
        assert!(
            line.is_none_or(|line| response.contains(&line)),
            "{response}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn plain_requests_of_load_balancers_are_handed_back_whole() {
    let acceptor = Acceptor::new().hosts(Hosts::Loopback);
    for whole in [
        "OPTIONS / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nHost: 127.0.0.2:8000\r\n\r\n",
        "GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        let (result, peer) = accept(&acceptor, Options::default(), whole.as_bytes()).await;
        let Err(AcceptError::Http(plain)) = result else {
            panic!("{result:?}");
        };
        peer.send_end();
        let mut received = Vec::new();
        let mut stream = plain.into_stream();
        stream.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, whole.as_bytes());
    }
    check_refused(&acceptor, "GET / HTTP/1.1\r\n\r\n", 400, "missing_header").await;
    let rebound = "GET / HTTP/1.0\r\nHost: evil.tld\r\n\r\n";
    check_refused(&acceptor, rebound, 403, "host").await;
}

#[tokio::test(start_paused = true)]
async fn plain_request_is_handed_back_whole() {
    let body = "name=value&more=of+it";
    let head = format!(
        "POST /form HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let whole = format!("{head}{body}GET /next HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for stutter in [false, true] {
        let options = Options {
            stutter,
            ..Options::default()
        };
        let (result, peer) = accept(&Acceptor::new(), options, whole.as_bytes()).await;
        let Err(AcceptError::Http(plain)) = result else {
            panic!("{result:?}");
        };
        assert_eq!(plain.request().uri(), "/form");
        assert_eq!(plain.request().method(), "POST");
        let mut found = String::new();
        let mut stream = plain.into_stream();
        stream.read_to_string(&mut found).await.unwrap();
        assert_eq!(found, whole);
        assert_eq!(peer.take_written(), b"", "the answer is for others to give");
        assert!(!peer.is_dropped());
    }
}

#[tokio::test(start_paused = true)]
async fn plain_request_to_a_name_that_is_not_the_servers_is_refused() {
    let acceptor = Acceptor::new().hosts(Hosts::Loopback);
    let request = "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    check_refused(&acceptor, request, 403, "host").await;
}

#[tokio::test(start_paused = true)]
async fn rewound_stream_gives_what_was_not_read_again() {
    let (stream, peer) = wire(Options::default());
    peer.send("there");
    let mut stream = chappe::Rewind::new(b"hello ".to_vec(), stream);
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"hell");
    let (rest, mut stream) = stream.into_parts();
    assert_eq!(rest, b"o ");
    let mut bytes = [0; 5];
    stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"there");
}

#[tokio::test(start_paused = true)]
async fn request_that_is_not_complete_in_time_is_refused() {
    let (wire, peer) = wire(Options::default());
    let begin = Instant::now();
    let accept = tokio::spawn(async move { Acceptor::new().accept(wire).await });
    // A byte a second is no progress.
    for byte in REQUEST.bytes() {
        if accept.is_finished() {
            break;
        }
        peer.send([byte]);
        tokio::time::sleep(Duration::from_secs(1)).await;
        if peer.is_shut_down() {
            peer.send_end();
        }
    }
    let result = accept.await.unwrap();
    let Err(AcceptError::Refused(refusal @ Refusal::Timeout { .. })) = result else {
        panic!("{result:?}");
    };
    assert_eq!(refusal.to_string(), "request was not complete within 10 s");
    assert!(peer.head().await.starts_with("HTTP/1.1 408 "));
    assert!(
        begin.elapsed().as_secs() <= 12,
        "after {:?}",
        begin.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn client_that_does_not_read_its_response_is_given_up_in_time() {
    let (wire, peer) = wire(Options::default());
    peer.take_only(5);
    peer.send(REQUEST);
    let begin = Instant::now();
    let accept = tokio::spawn(async move { Acceptor::new().accept(wire).await });
    peer.dropped().await;
    assert_eq!(begin.elapsed().as_secs(), 10);
    let result = accept.await.unwrap();
    let Err(AcceptError::Io(error)) = result else {
        panic!("{result:?}");
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn refused_client_that_sends_without_end_is_given_up_in_time() {
    let limits = limits(|limits| limits.close_timeout = Duration::from_secs(2));
    let (wire, peer) = wire(Options::default());
    peer.send(REQUEST.replace("GET", "PUT"));
    let begin = Instant::now();
    let acceptor = Acceptor::new().limits(limits);
    let accept = tokio::spawn(async move { acceptor.accept(wire).await });
    while !peer.is_dropped() {
        peer.send("more");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(begin.elapsed().as_secs(), 2);
    let result = accept.await.unwrap();
    assert!(
        matches!(result, Err(AcceptError::Refused(Refusal::Method))),
        "{result:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn stream_that_ends_or_fails_before_the_request_is_complete_is_an_error() {
    let cut = &REQUEST.as_bytes()[..REQUEST.len() - 1];
    let (result, _) = accept(&Acceptor::new(), Options::default(), cut).await;
    let Err(AcceptError::Io(error)) = result else {
        panic!("{result:?}");
    };
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);

    let (wire, peer) = wire(Options::default());
    peer.send(cut);
    peer.fail_reads(ErrorKind::ConnectionReset);
    let result = Acceptor::new().accept(wire).await;
    let Err(AcceptError::Io(error)) = result else {
        panic!("{result:?}");
    };
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test(start_paused = true)]
async fn frames_right_behind_the_response_are_not_taken_for_early_data() {
    let (wire, peer) = wire(Options::default());
    let accept = tokio::spawn(async move { Acceptor::new().accept(wire).await });
    peer.send(REQUEST);
    peer.head().await;
    peer.send([frame::text("hello"), frame::close(1000, "")].concat());
    let mut ws = accept.await.unwrap().unwrap();
    assert_eq!(ws.recv().await.unwrap(), Some("hello".into()));
    assert_eq!(ws.recv().await.unwrap(), None);
    assert_eq!(peer.frame().await, Frame::close(1000, ""));
    assert_eq!(ws.closed().await.code(), CloseCode::NORMAL);
}
