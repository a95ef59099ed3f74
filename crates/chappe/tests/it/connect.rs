//! Connecting: what is asked for, what a server must answer, what it may not.

use std::io::ErrorKind;
use std::time::Duration;

use chappe::{ConnectError, Connector, HandshakeError, RequestError, WebSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::endpoint::{connected_by, response_to};
use crate::frame::{self, Frame};
use crate::wire::{Options, Peer, wire};

/// Connects to a server that gives this answer to the request's head, and ends the stream.
async fn connect(
    connector: Connector,
    answer: impl Fn(&str) -> Vec<u8>,
) -> (Result<WebSocket, ConnectError>, Peer) {
    let (wire, peer) = wire(Options::default());
    let answer = async {
        let head = peer.head().await;
        peer.send(answer(&head));
        peer.send_end();
    };
    let (result, ()) = tokio::join!(connector.connect_on(wire), answer);
    (result, peer)
}

fn connector() -> Connector {
    Connector::new("ws://localhost/chat")
}

/// The response that accepts a request, with one change.
fn changed(head: &str, from: &str, to: &str) -> Vec<u8> {
    let response = String::from_utf8(response_to(head)).unwrap();
    assert!(response.contains(from), "{response}");
    response.replace(from, to).into_bytes()
}

/// The handshake error that a changed response leads to.
async fn error_of(from: &str, to: &str) -> HandshakeError {
    let (result, peer) = connect(connector(), |head| changed(head, from, to)).await;
    assert!(peer.is_dropped());
    match result {
        Err(ConnectError::Handshake(error)) => error,
        other => panic!("expected {from:?} changed to {to:?} to be refused, but found {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn request_says_what_was_asked_for() {
    let connector = Connector::new("ws://example.com:8000/chat?room=7")
        .subprotocol("superchat")
        .subprotocol("chat")
        .header("Origin", "https://example.com")
        .header("Cookie", "a=b");
    let (wire, peer) = wire(Options::default());
    let answer = async {
        let head = peer.head().await;
        assert!(
            head.starts_with("GET /chat?room=7 HTTP/1.1\r\nHost: example.com:8000\r\n"),
            "{head}"
        );
        let lines = [
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Protocol: superchat, chat",
            "origin: https://example.com",
            "cookie: a=b",
        ];
        for line in lines {
            assert!(
                head.contains(&format!("\r\n{line}\r\n")),
                "{line} in {head}"
            );
        }
        let chosen = head.replace("superchat, chat", "chat");
        peer.send(response_to(&chosen));
    };
    let (ws, ()) = tokio::join!(connector.connect_on(wire), answer);
    assert_eq!(ws.unwrap().subprotocol(), Some("chat"));
}

#[tokio::test(start_paused = true)]
async fn response_with_wrong_things_is_refused() {
    use HandshakeError::{Extension, Head, Malformed, Missing, Repeated, Subprotocol};
    let error = error_of("Sec-WebSocket-Accept: ", "Sec-WebSocket-Accept: x").await;
    assert!(
        matches!(
            error,
            Malformed {
                header: "Sec-WebSocket-Accept"
            }
        ),
        "{error}"
    );
    let error = error_of("Sec-WebSocket-Accept: ", "X: ").await;
    assert!(
        matches!(
            error,
            Missing {
                header: "Sec-WebSocket-Accept"
            }
        ),
        "{error}"
    );
    let error = error_of("Upgrade: websocket\r\n", "").await;
    assert!(matches!(error, Missing { header: "Upgrade" }), "{error}");
    let error = error_of("websocket\r\n", "websocket\r\nUpgrade: websocket\r\n").await;
    assert!(matches!(error, Repeated { header: "Upgrade" }), "{error}");
    let error = error_of("websocket\r\n", "h2c\r\n").await;
    assert!(matches!(error, Malformed { header: "Upgrade" }), "{error}");
    let error = error_of("Connection: Upgrade\r\n", "").await;
    assert!(
        matches!(
            error,
            Missing {
                header: "Connection: Upgrade"
            }
        ),
        "{error}"
    );
    let error = error_of(
        "Connection: ",
        "Sec-WebSocket-Protocol: chat\r\nConnection: ",
    )
    .await;
    assert!(matches!(error, Subprotocol { .. }), "{error}");
    let deflate = "Sec-WebSocket-Extensions: permessage-deflate\r\nConnection: ";
    let error = error_of("Connection: ", deflate).await;
    assert!(matches!(error, Extension { .. }), "{error}");
    let error = error_of("HTTP/1.1 101", "HTTP/1.0 101").await;
    assert!(matches!(error, Head(_)), "{error}");
    let error = error_of("HTTP/1.1", "SSH-2.0-OpenSSH").await;
    assert!(matches!(error, Head(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn connection_header_may_list_more_than_the_upgrade() {
    let answer = |head: &str| {
        changed(
            head,
            "Connection: Upgrade",
            "connection: keep-alive, upgrade",
        )
    };
    let (result, _) = connect(connector(), answer).await;
    assert!(result.is_ok(), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn empty_elements_in_the_choice_of_a_subprotocol_are_ignored() {
    for (value, chosen) in [
        ("chat,", Some("chat")),
        (", chat", Some("chat")),
        ("", None),
    ] {
        let line = format!("Sec-WebSocket-Protocol: {value}\r\nConnection: ");
        let answer = |head: &str| {
            let head = head.replace("Sec-WebSocket-Protocol", "X-Offered");
            changed(&head, "Connection: ", &line)
        };
        let (ws, _) = connect(connector().subprotocol("chat"), answer).await;
        assert_eq!(ws.unwrap().subprotocol(), chosen, "{value:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn refusal_is_given_with_its_status_and_body() {
    let responses = [
        ("Content-Length: 9\r\n\r\nno entry\nand more", "no entry\n"),
        ("\r\nno entry\n", "no entry\n"),
        (
            "Transfer-Encoding: chunked\r\n\r\n3\r\nno \r\n6\r\nentry\n\r\n0\r\n\r\n",
            "no entry\n",
        ),
    ];
    for (rest, expected) in responses {
        let answer = |_: &str| format!("HTTP/1.1 401 Unauthorized\r\n{rest}").into_bytes();
        let (result, _) = connect(connector(), answer).await;
        let Err(ConnectError::Handshake(HandshakeError::Refused { response })) = result else {
            panic!("{result:?}");
        };
        assert_eq!(response.status(), 401);
        assert_eq!(response.body(), expected.as_bytes());
    }
}

#[tokio::test(start_paused = true)]
async fn body_of_a_refusal_is_cut() {
    let answer = |_: &str| [&b"HTTP/1.1 500 Oh\r\n\r\n"[..], &vec![b'x'; 100_000]].concat();
    let (result, _) = connect(connector(), answer).await;
    let Err(ConnectError::Handshake(HandshakeError::Refused { response })) = result else {
        panic!("{result:?}");
    };
    assert_eq!(response.body().len(), 4096);
}

#[tokio::test(start_paused = true)]
async fn refusal_whose_body_does_not_end_is_given_in_time() {
    let (wire, peer) = wire(Options::default());
    peer.send("HTTP/1.1 403 Forbidden\r\n\r\nnever ends");
    let begin = Instant::now();
    let result = connector().connect_on(wire).await;
    let Err(ConnectError::Handshake(HandshakeError::Refused { response })) = result else {
        panic!("{result:?}");
    };
    assert_eq!(
        (response.status().as_u16(), &response.body()[..]),
        (403, &b"never ends"[..])
    );
    assert_eq!(begin.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn refusal_that_is_complete_is_given_though_the_stream_stays_open() {
    for (answer, status, body) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
        ("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", 403, ""),
        (
            "HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
            404,
            "no",
        ),
        (
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno",
            401,
            "no",
        ),
    ] {
        let (wire, peer) = wire(Options::default());
        peer.send(answer);
        let begin = Instant::now();
        let result = connector().connect_on(wire).await;
        let Err(ConnectError::Handshake(HandshakeError::Refused { response })) = result else {
            panic!("{result:?}");
        };
        assert_eq!(response.status(), status);
        assert_eq!(response.body(), body.as_bytes());
        assert_eq!(begin.elapsed(), Duration::ZERO, "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn interim_response_before_the_one_that_accepts_is_skipped() {
    let answer = |head: &str| {
        let hints = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n";
        [
            &hints[..],
            &response_to(head),
            &frame::plain(0x81, b"hello"),
        ]
        .concat()
    };
    let (ws, _) = connect(connector(), answer).await;
    assert_eq!(ws.unwrap().recv().await.unwrap(), Some("hello".into()));
}

#[tokio::test(start_paused = true)]
async fn redirects_are_not_followed() {
    let answer = |_: &str| {
        b"HTTP/1.1 302 Found\r\nLocation: ws://elsewhere/\r\nContent-Length: 0\r\n\r\n".to_vec()
    };
    let (result, peer) = connect(connector(), answer).await;
    let Err(ConnectError::Handshake(HandshakeError::Refused { response })) = result else {
        panic!("{result:?}");
    };
    assert_eq!(response.status(), 302);
    assert_eq!(response.headers()["location"], "ws://elsewhere/");
    assert!(peer.is_dropped());
    assert_eq!(peer.written(), b"", "nothing more was asked for");
}

#[tokio::test(start_paused = true)]
async fn urls_that_no_websocket_has_are_refused() {
    use RequestError::{ControlCharacter, Fragment, InternationalHost, Scheme, Url, UserInfo};
    let rows = [
        ("", Url),
        ("localhost", Url),
        ("/chat", Url),
        ("ws://", Url),
        ("ws:///chat", Url),
        ("ws://local host/", Url),
        ("ws://localhost:99999/", Url),
        ("ftp://localhost/", Scheme),
        ("ws://localhost/#here", Fragment),
        ("ws://me:secret@localhost/", UserInfo),
        ("ws://localhost/\r\nX: y", ControlCharacter),
        ("ws://localhost/ HTTP/1.1\r\nX: y", ControlCharacter),
        ("ws://b\u{fc}cher.example/", InternationalHost),
    ];
    for (url, expected) in rows {
        let (wire, peer) = wire(Options::default());
        let result = Connector::new(url).connect_on(wire).await;
        let Err(ConnectError::Request(error)) = result else {
            panic!("expected {expected:?} for {url:?}, but found {result:?}");
        };
        assert_eq!(error, expected, "for {url:?}");
        assert_eq!(peer.written(), b"", "for {url:?}");
        let result = chappe::connect(url).await;
        assert!(
            matches!(result, Err(ConnectError::Request(_))),
            "{result:?} for {url:?}"
        );
    }
    let result = chappe::connect("wss://localhost/").await;
    assert!(matches!(result, Err(ConnectError::Tls)), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn headers_and_subprotocols_that_would_add_lines_are_refused() {
    use RequestError::{Header, OwnHeader, Subprotocol};
    let name = |name: &str| OwnHeader {
        name: name.to_owned(),
    };
    let rows = [
        (connector().header("X", "y\r\nZ: injected"), Header),
        (connector().header("X", "y\nZ: injected"), Header),
        (connector().header("X", "y\0"), Header),
        (connector().header("X: y\r\nZ", "injected"), Header),
        (connector().header("", "y"), Header),
        (connector().header("Upgrade", "h2c"), name("upgrade")),
        (
            connector().header("Sec-WebSocket-Key", "mine"),
            name("sec-websocket-key"),
        ),
        (
            connector().header("Content-Length", "5"),
            name("content-length"),
        ),
        (connector().subprotocol("chat\r\nX: injected"), Subprotocol),
        (connector().subprotocol("chat, superchat"), Subprotocol),
        (connector().subprotocol(""), Subprotocol),
        (
            connector().subprotocol("chat").subprotocol("chat"),
            Subprotocol,
        ),
        // The first mistake is told.
        (
            connector().subprotocol("").header("Upgrade", "h2c"),
            Subprotocol,
        ),
    ];
    for (connector, expected) in rows {
        let (wire, peer) = wire(Options::default());
        let result = connector.connect_on(wire).await;
        let Err(ConnectError::Request(error)) = result else {
            panic!("expected {expected:?}, but found {result:?}");
        };
        assert_eq!(error, expected);
        assert_eq!(peer.written(), b"");
    }
}

#[tokio::test(start_paused = true)]
async fn server_that_does_not_answer_in_time_is_given_up() {
    for answer in [
        "",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n",
    ] {
        let (wire, peer) = wire(Options::default());
        peer.send(answer);
        let begin = Instant::now();
        let result = connector().connect_on(wire).await;
        let Err(ConnectError::Handshake(error @ HandshakeError::Timeout { .. })) = result else {
            panic!("{result:?}");
        };
        assert_eq!(error.to_string(), "no complete response within 10 s");
        assert_eq!(begin.elapsed().as_secs(), 10);
        assert!(peer.is_dropped());
    }
}

#[tokio::test(start_paused = true)]
async fn server_that_does_not_read_the_request_is_given_up_in_time() {
    let (wire, peer) = wire(Options::default());
    peer.take_only(10);
    let mut limits = chappe::Limits::default();
    limits.handshake_timeout = Duration::from_secs(3);
    let begin = Instant::now();
    let result = connector().limits(limits).connect_on(wire).await;
    let Err(ConnectError::Handshake(HandshakeError::Timeout { after })) = result else {
        panic!("{result:?}");
    };
    assert_eq!((after.as_secs(), begin.elapsed().as_secs()), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn stream_that_ends_or_fails_before_the_response_is_complete_is_an_error() {
    let (result, _) = connect(connector(), |_| b"HTTP/1.1 101 Sw".to_vec()).await;
    assert!(
        matches!(result, Err(ConnectError::Handshake(HandshakeError::Eof))),
        "{result:?}"
    );
    let (wire, peer) = wire(Options::default());
    peer.fail_reads(ErrorKind::ConnectionReset);
    let result = connector().connect_on(wire).await;
    let Err(ConnectError::Io(error)) = result else {
        panic!("{result:?}");
    };
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test(start_paused = true)]
async fn frames_that_come_with_the_response_are_received() {
    let frames = [
        frame::plain(0x81, b"hello"),
        frame::plain(0x89, b"p"),
        frame::plain(0x82, &[1; 300]),
        frame::plain(0x88, b""),
    ]
    .concat();
    for cut in [0, 1, 5, 7, 8, 100, frames.len() - 1] {
        let (wire, peer) = wire(Options::default());
        let answer = async {
            let head = peer.head().await;
            peer.send([&response_to(&head)[..], &frames[..cut]].concat());
            peer.send(&frames[cut..]);
        };
        let (ws, ()) = tokio::join!(connector().connect_on(wire), answer);
        let mut ws = ws.unwrap();
        assert_eq!(
            ws.recv().await.unwrap(),
            Some("hello".into()),
            "cut at {cut}"
        );
        assert_eq!(
            ws.recv().await.unwrap(),
            Some(vec![1; 300].into()),
            "cut at {cut}"
        );
        assert_eq!(ws.recv().await.unwrap(), None, "cut at {cut}");
        assert_eq!(peer.frame().await, Frame::pong("p"), "cut at {cut}");
    }
}

#[tokio::test(start_paused = true)]
async fn client_receives_byte_by_byte() {
    let options = Options {
        stutter: true,
        ..Options::default()
    };
    let (mut ws, peer) = connected_by(connector(), options).await;
    peer.send(frame::plain(0x81, "grüezi".as_bytes()));
    assert_eq!(ws.recv().await.unwrap(), Some("grüezi".into()));
}

#[tokio::test]
async fn connect_reaches_a_server_by_tcp_without_delay() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/chat", listener.local_addr().unwrap());
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut ws = chappe::accept(stream).await.unwrap();
        let message = ws.recv().await.unwrap().unwrap();
        ws.send(message).await.unwrap();
        assert_eq!(ws.recv().await.unwrap(), None);
    };
    let connect = async {
        let mut ws = chappe::connect(&url).await.unwrap();
        ws.send("hello").await.unwrap();
        assert_eq!(ws.recv().await.unwrap(), Some("hello".into()));
        ws.close(1000.into(), "").await.unwrap();
    };
    tokio::join!(serve, connect);
}

#[tokio::test]
async fn address_where_nobody_listens_is_an_error_of_the_connection() {
    // The port is taken, so that nobody else listens on it, and does not listen itself.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("ws://{}/", socket.local_addr().unwrap());
    let result = chappe::connect(&url).await;
    let Err(ConnectError::Io(error)) = result else {
        panic!("{result:?}");
    };
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn silent_server_is_given_up_by_tcp_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let mut limits = chappe::Limits::default();
    limits.handshake_timeout = Duration::from_millis(20);
    let result = Connector::new(&url).limits(limits).connect().await;
    let Err(ConnectError::Handshake(HandshakeError::Timeout { .. })) = result else {
        panic!("{result:?}");
    };
    let (mut stream, _): (TcpStream, _) = listener.accept().await.unwrap();
    let mut request = Vec::new();
    stream.read_to_end(&mut request).await.unwrap();
    assert!(
        request.ends_with(b"\r\n\r\n"),
        "the request was sent, and the stream dropped"
    );
    stream.shutdown().await.unwrap();
}

#[tokio::test]
async fn address_that_drops_what_is_sent_is_given_up_in_time() {
    // A listener whose queue is full drops further connections without a word.
    let listener = tokio::net::TcpSocket::new_v4().unwrap();
    listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = listener.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let patience = Duration::from_millis(100);
    let mut queued = Vec::new();
    while let Ok(stream) = tokio::time::timeout(patience, TcpStream::connect(address)).await {
        queued.push(stream.unwrap());
    }
    let mut limits = chappe::Limits::default();
    limits.handshake_timeout = Duration::from_millis(20);
    let connector = Connector::new(&format!("ws://{address}/")).limits(limits);
    let Err(error) = connector.connect().await else {
        panic!("nobody accepts");
    };
    assert_eq!(
        error.to_string(),
        "no connection to the server: no address answered within 0.02 s"
    );
    let ConnectError::Io(error) = error else {
        panic!("{error:?}");
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn error_says_its_cause_by_itself_and_only_once() {
    let (eof, _) = connect(connector(), |_| Vec::new()).await;
    let (failing, peer) = wire(Options::default());
    peer.fail_reads(ErrorKind::ConnectionReset);
    let request = Connector::new("ws://localhost/#here");
    for (result, text) in [
        (
            eof,
            "opening handshake failed: stream ended before the response was complete",
        ),
        (
            connector().connect_on(failing).await,
            "no connection to the server: connection reset",
        ),
        (
            request.connect_on(wire(Options::default()).0).await,
            "invalid request: a WebSocket URL must not have a fragment (#)",
        ),
    ] {
        let error = result.expect_err("there is no connection");
        assert_eq!(error.to_string(), text);
        let source = std::error::Error::source(&error);
        assert!(source.is_none(), "{source:?}");
    }
}
