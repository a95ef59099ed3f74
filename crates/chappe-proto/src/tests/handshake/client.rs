//! What a client takes for an answer (RFC 6455, section 4.1).

use std::sync::Arc;
use std::time::Duration;

use http::Response;

use super::super::{START, all_cuts, just_before, pieces};
use super::{ACCEPT, Head, KEY, SampleNonce};
use crate::handshake::{ClientHandshake, ClientRequest, HandshakeError, HeadError};
use crate::{Limits, State};

type Answer = Option<Result<Response<()>, HandshakeError>>;

pub(super) fn request() -> ClientRequest {
    ClientRequest::new("ws://server.example.com/chat").unwrap()
}

pub(super) fn handshake(request: ClientRequest) -> ClientHandshake {
    let limits = Arc::new(Limits::default());
    ClientHandshake::new(START, request, limits, &mut SampleNonce)
}

/// What the client makes of these bytes, and how many of them it took.
#[track_caller]
pub(super) fn answer(request: &ClientRequest, bytes: &[u8], cuts: &[usize]) -> (usize, Answer) {
    let mut handshake = handshake(request.clone());
    let mut consumed = 0;
    for piece in pieces(bytes, cuts) {
        let (taken, answer) = handshake.handle_input(piece);
        consumed += taken;
        if answer.is_some() {
            return (consumed, answer);
        }
        assert_eq!(taken, piece.len(), "left without an answer");
    }
    (consumed, None)
}

#[track_caller]
fn check_accepts(request: &ClientRequest, head: &Head) {
    let head = head.bytes();
    for cuts in all_cuts(head.len()) {
        let (consumed, answer) = answer(request, &head, &cuts);
        assert_eq!(consumed, head.len());
        assert_eq!(answer.unwrap().unwrap().status(), 101, "cut at {cuts:?}");
    }
    // Frames that follow are left to the connection.
    let more = [&head[..], b"\x81\x00\r\n\r\n"].concat();
    let (consumed, answer) = answer(request, &more, &[]);
    assert_eq!(consumed, head.len());
    assert!(answer.unwrap().is_ok());
}

/// A row: a response, and what is wrong with it, as a `Debug` of the error.
#[track_caller]
fn check_refuses(request: &ClientRequest, bytes: &[u8], expected: &HandshakeError) {
    for cuts in all_cuts(bytes.len()) {
        let (_, answer) = answer(request, bytes, &cuts);
        let error = answer.expect("an answer").expect_err("an error");
        assert_eq!(
            format!("{error:?}"),
            format!("{expected:?}"),
            "cut at {cuts:?}"
        );
    }
}

#[test]
fn client_accepts_the_response_of_the_rfc() {
    check_accepts(&request(), &Head::response());
    let request = request().subprotocol("chat").unwrap();
    check_accepts(&request, &Head::response());
    check_accepts(
        &request,
        &Head::response().with("Sec-WebSocket-Protocol: chat"),
    );
}

#[test]
fn client_accepts_headers_in_other_forms() {
    for value in ["upgrade", "keep-alive, Upgrade", "x,UPGRADE ,y"] {
        check_accepts(&request(), &Head::response().value("Connection", value));
    }
    let head = Head::response()
        .value("Connection", "x")
        .with("connection: Upgrade");
    check_accepts(&request(), &head);
    for value in ["WebSocket", "websocket,", ", ,websocket"] {
        check_accepts(&request(), &Head::response().value("Upgrade", value));
    }
    for value in ["", ","] {
        let extensions = format!("Sec-WebSocket-Extensions: {value}");
        check_accepts(&request(), &Head::response().with(&extensions));
    }
    for start in [
        "HTTP/1.1 101 ",
        "HTTP/1.1 101",
        "HTTP/1.1 101 Any Reason At All",
    ] {
        check_accepts(&request(), &Head::response().start(start));
    }
}

#[test]
fn client_is_told_which_subprotocol_the_server_chose() {
    let offered = request().subprotocol("chat").unwrap();
    let offered = offered.subprotocol("superchat").unwrap();
    for (value, chosen) in [
        (Some("superchat"), Some("superchat")),
        (Some("chat,"), Some("chat")),
        (Some(", ,\tchat ,"), Some("chat")),
        (Some(""), None),
        (Some(" , "), None),
        (None, None),
    ] {
        let mut head = Head::response();
        if let Some(value) = value {
            head = head.with(&format!("Sec-WebSocket-Protocol: {value}"));
        }
        check_accepts(&offered, &head);
        let mut handshake = handshake(offered.clone());
        assert_eq!(handshake.subprotocol(), None);
        assert!(handshake.handle_input(&head.bytes()).1.unwrap().is_ok());
        assert_eq!(handshake.subprotocol(), chosen, "{value:?}");
    }
}

#[test]
fn client_refuses_what_does_not_answer_its_request() {
    use HandshakeError as E;
    let (upgrade, accept) = ("Upgrade", "Sec-WebSocket-Accept");
    let connection = "Connection: Upgrade";
    let again = format!("{accept}: {ACCEPT}");
    let other = ACCEPT.to_lowercase();
    let rows = [
        (
            Head::response().without(upgrade),
            E::Missing { header: upgrade },
        ),
        (
            Head::response().with("Upgrade: websocket"),
            E::Repeated { header: upgrade },
        ),
        (
            Head::response().value(upgrade, ""),
            E::Malformed { header: upgrade },
        ),
        (
            Head::response().value(upgrade, "h2c"),
            E::Malformed { header: upgrade },
        ),
        (
            Head::response().value(upgrade, "websocket, h2c"),
            E::Malformed { header: upgrade },
        ),
        (
            Head::response().value(upgrade, "websocket,, websocket"),
            E::Malformed { header: upgrade },
        ),
        (
            Head::response().without("Connection"),
            E::Missing { header: connection },
        ),
        (
            Head::response().value("Connection", "close"),
            E::Missing { header: connection },
        ),
        (
            Head::response().without(accept),
            E::Missing { header: accept },
        ),
        (
            Head::response().with(&again),
            E::Repeated { header: accept },
        ),
        (
            Head::response().value(accept, ""),
            E::Malformed { header: accept },
        ),
        (
            Head::response().value(accept, KEY),
            E::Malformed { header: accept },
        ),
        (
            Head::response().value(accept, &other),
            E::Malformed { header: accept },
        ),
        (
            Head::response().start("HTTP/1.0 101 Switching Protocols"),
            E::Head(HeadError::HttpVersion),
        ),
    ];
    for (head, error) in rows {
        check_refuses(&request(), &head.bytes(), &error);
    }
}

#[test]
fn client_refuses_what_it_did_not_offer() {
    use HandshakeError as E;
    let name = "Sec-WebSocket-Protocol";
    let offered = request().subprotocol("chat").unwrap();
    for value in [
        "Chat",
        "chat, superchat",
        "chat,,chat",
        "superchat",
        "ch\"at",
    ] {
        let head = Head::response().with(&format!("{name}: {value}")).bytes();
        let name = crate::handshake::quoted(value.as_bytes());
        check_refuses(&offered, &head, &E::Subprotocol { name });
    }
    let head = Head::response().with("Sec-WebSocket-Protocol: chat");
    let unasked = E::Subprotocol {
        name: "\"chat\"".to_owned(),
    };
    check_refuses(&request(), &head.bytes(), &unasked);
    let head = head.with("Sec-WebSocket-Protocol: chat");
    check_refuses(&offered, &head.bytes(), &E::Repeated { header: name });

    let header = "Sec-WebSocket-Extensions";
    for value in ["permessage-deflate", "x, y", "x; y=z"] {
        let head = Head::response().with(&format!("{header}: {value}")).bytes();
        let name = value.split([',', ';']).next().unwrap().to_owned();
        check_refuses(&request(), &head, &E::Extension { name });
    }
    for value in [";", "x;", "x y", "\u{1b}[31m"] {
        let head = Head::response().with(&format!("{header}: {value}")).bytes();
        if value.starts_with('\u{1b}') {
            let error = HeadError::ControlByte { byte: 0x1b };
            check_refuses(&request(), &head, &E::Head(error));
        } else {
            check_refuses(&request(), &head, &E::Malformed { header });
        }
    }
}

#[test]
fn client_refuses_what_is_no_http() {
    use HeadError as E;
    for (head, error) in [
        (&b"SSH-2.0-OpenSSH_9.6\r\n\r\n"[..], E::StartLine),
        (b"HTTP/1.1\r\n\r\n", E::StartLine),
        (b"HTTP/1.1 \r\n\r\n", E::StartLine),
        (b"HTTP/1.1 1011 x\r\n\r\n", E::StartLine),
        (b"HTTP/1.1 abc x\r\n\r\n", E::StartLine),
        (b"HTTP/1.1  101 x\r\n\r\n", E::StartLine),
        (b"HTTP/2.0 101 x\r\n\r\n", E::HttpVersion),
        (b"ICY 200 OK\r\n\r\n", E::StartLine),
        (b"\x15\x03\x01", E::ControlByte { byte: 0x15 }),
        (b"HTTP/1.1 101 x\n", E::BareLf),
        (b"HTTP/1.1 101 x\r\n folded", E::FoldedLine),
        (b"\r\n", E::StartLine),
    ] {
        check_refuses(&request(), head, &HandshakeError::Head(error));
    }
    let endless = vec![b'a'; 8193];
    let error = E::LineTooLong { max: 8192 };
    check_refuses(&request(), &endless, &HandshakeError::Head(error));
    let mut head = Head::response();
    for _ in 0..98 {
        head = head.with("X: y");
    }
    let error = E::TooManyHeaders { max: 100 };
    check_refuses(&request(), &head.bytes(), &HandshakeError::Head(error));
}

#[test]
fn interim_responses_are_skipped() {
    let hints = [
        Head::new(&["HTTP/1.1 103 Early Hints", "Link: </style.css>"]),
        Head::new(&["HTTP/1.1 100 Continue"]),
        Head::new(&["HTTP/1.1 199 Whatever", "Content-Length: 5"]),
    ];
    let hints: Vec<u8> = hints.iter().flat_map(Head::bytes).collect();
    let accepted = [&hints[..], &Head::response().bytes()].concat();
    for cuts in all_cuts(accepted.len()) {
        let (consumed, answer) = answer(&request(), &accepted, &cuts);
        assert_eq!(consumed, accepted.len(), "cut at {cuts:?}");
        assert_eq!(answer.unwrap().unwrap().status(), 101, "cut at {cuts:?}");
    }
    let refused = Head::new(&["HTTP/1.1 403 Forbidden", "Content-Length: 2"]).bytes();
    let refused = [&hints[..], &refused, b"no"].concat();
    for cuts in all_cuts(refused.len()) {
        let (_, answer) = answer(&request(), &refused, &cuts);
        let Some(Err(HandshakeError::Refused { response })) = answer else {
            panic!("{answer:?}, cut at {cuts:?}");
        };
        assert_eq!(
            (response.status().as_u16(), &response.body()[..]),
            (403, &b"no"[..])
        );
    }
    // What follows one has to be another head.
    let malformed = [&hints[..], b"\x81\x00"].concat();
    let error = HeadError::ControlByte { byte: 0 };
    check_refuses(&request(), &malformed, &HandshakeError::Head(error));
    let mut handshake = handshake(request());
    assert!(handshake.handle_input(&hints).1.is_none());
    assert!(matches!(handshake.handle_eof(), HandshakeError::Eof));
}

#[test]
fn interim_responses_count_for_the_heads_bytes() {
    let hint = b"HTTP/1.1 100\r\n\r\n";
    let response = Head::response().bytes();
    let max = 16_384;
    let fit = (max - response.len()) / hint.len();
    let enough = [hint.repeat(fit), response.clone()].concat();
    assert!(answer(&request(), &enough, &[]).1.unwrap().is_ok());
    let error = HandshakeError::Head(HeadError::TooLong { max });
    for (input, cuts) in [
        ([hint.repeat(fit + 1), response].concat(), 16),
        (hint.repeat(100_000), 1000),
    ] {
        let cuts: Vec<usize> = (1..input.len()).step_by(cuts).collect();
        for cuts in [&[][..], &cuts] {
            let (_, answer) = answer(&request(), &input, cuts);
            assert_eq!(
                format!("{:?}", answer.unwrap().unwrap_err()),
                format!("{error:?}")
            );
        }
    }
}

#[test]
fn response_meets_its_time_limit() {
    let after = Duration::from_secs(10);
    let mut handshake = handshake(request());
    assert_eq!(handshake.state(), State::Connecting);
    assert_eq!(handshake.poll_timeout(), START + after);
    handshake.handle_input(b"HTTP/1.1 101 Swit");
    assert_eq!(handshake.poll_timeout(), START + after);
    assert!(
        handshake
            .handle_timeout(just_before(START + after))
            .is_none()
    );
    let error = handshake.handle_timeout(START + after).unwrap();
    assert_eq!(error.to_string(), "no complete response within 10 s");
}

#[test]
fn stream_ends_before_the_response() {
    for head in [&b""[..], b"HTTP/1.1 101 Switching Protocols\r\n"] {
        let mut handshake = handshake(request());
        handshake.handle_input(head);
        let error = handshake.handle_eof();
        assert!(matches!(error, HandshakeError::Eof), "{error:?}");
    }
}

#[test]
fn handshake_errors_have_texts() {
    use HandshakeError as E;
    let header = "Upgrade";
    let name = || "\"x\"".to_owned();
    let refused = Response::builder().status(404).body(Vec::new()).unwrap();
    let refused = Box::new(refused);
    for (error, text) in [
        (
            E::from(HeadError::BareLf),
            "malformed response: LF without CR in the head",
        ),
        (E::Eof, "stream ended before the response was complete"),
        (
            E::Refused { response: refused },
            "server answered with status 404 Not Found, not 101",
        ),
        (
            E::Missing { header },
            "header Upgrade is missing from the response",
        ),
        (
            E::Repeated { header },
            "header Upgrade must appear exactly once in the response",
        ),
        (
            E::Malformed { header },
            "header Upgrade in the response has the wrong value",
        ),
        (
            E::Subprotocol { name: name() },
            "server chose subprotocol \"x\", which was not offered",
        ),
        (
            E::Extension {
                name: "x".to_owned(),
            },
            "server chose extension \"x\", which was not offered",
        ),
    ] {
        assert_eq!(error.to_string(), text);
    }
}
