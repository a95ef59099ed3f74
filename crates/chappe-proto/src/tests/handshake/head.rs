//! Heads: what is no HTTP/1.1, and what is too much of it (RFC 9112).

use std::sync::Arc;

use super::super::START;
use super::server::{SWITCHING, answer, check_accepted, check_refused};
use super::{Head, limits};
use crate::Limits;
use crate::handshake::{HeadError, Policy, Refusal, ServerHandshake, quoted};

#[track_caller]
fn check_head_fails(head: &[u8], expected: HeadError) {
    let expected = Refusal::Head(expected);
    check_refused(&Policy::default(), &Limits::default(), head, &expected);
}

/// A head that is good so far, and fails at its very last byte.
#[track_caller]
fn check_fails_at_last_byte(head: &[u8], limits: &Limits, expected: HeadError) {
    let policy = Policy::default();
    let good = &head[..head.len() - 1];
    assert!(answer(&policy, limits, good, &[]).is_none());
    check_refused(&policy, limits, head, &Refusal::Head(expected));
}

#[test]
fn every_prefix_of_a_head_is_waited_for() {
    let head = Head::request().bytes();
    for end in 0..head.len() {
        let prefix = &head[..end];
        let answer = answer(&Policy::default(), &Limits::default(), prefix, &[]);
        assert!(answer.is_none(), "{end}");
    }
}

#[test]
fn first_line_must_be_that_of_a_request() {
    for line in [
        "GET /chat",
        "GET /chat ",
        "GET  /chat HTTP/1.1",
        "GET /chat  HTTP/1.1",
        "GET /chat HTTP/1.1 ",
        "GET /chat HTTP/1.1 x",
        "GET /a b HTTP/1.1",
        "GET\t/chat HTTP/1.1",
        "GET",
        " GET /chat HTTP/1.1x",
        "/chat HTTP/1.1",
        "G\u{eb}T /chat HTTP/1.1",
        "G(T /chat HTTP/1.1",
        "GET /chat http/1.1",
        "GET /chat HTTP/1",
        "GET /chat HTTP/1.1.1",
        "GET /chat HTTP/11",
        "GET /chat HTTP/a.1",
        "GET /chat HTTPS/1.1",
        "GET /chat WS/1.1",
        "HTTP/1.1 101 Switching Protocols",
        "hello",
    ] {
        let head = Head::request().start(line).bytes();
        let expected = match line.as_bytes()[0] {
            b' ' => HeadError::FoldedLine,
            _ => HeadError::StartLine,
        };
        if line.starts_with("HTTP/1.1 101") {
            // "Switching" is where the version should be, and there is no fourth word.
            check_head_fails(&head, HeadError::StartLine);
            continue;
        }
        check_head_fails(&head, expected);
    }
}

#[test]
fn a_few_empty_lines_before_a_request_are_ignored() {
    for count in 1..=4 {
        let empty = "\r\n".repeat(count);
        let line = format!("{empty}GET /chat HTTP/1.1");
        check_accepted(&Policy::default(), &Head::request().start(&line), SWITCHING);
    }
    let five = b"\r\n\r\n\r\n\r\n\r\n";
    check_fails_at_last_byte(five, &Limits::default(), HeadError::StartLine);
    check_fails_at_last_byte(b"\r\n\n", &Limits::default(), HeadError::BareLf);
    check_fails_at_last_byte(b"\r\n\r\n ", &Limits::default(), HeadError::FoldedLine);
}

#[test]
fn empty_lines_count_for_the_head_and_not_for_its_first_line() {
    let head = Head::request().start("\r\n\r\nGET /chat HTTP/1.1").bytes();
    let exact = limits(|limits| {
        limits.head_bytes_max = head.len();
        limits.head_line_bytes_max = "GET /chat HTTP/1.1\r\n".len();
    });
    let found = answer(&Policy::default(), &exact, &head, &[]);
    assert!(matches!(found, Some(Ok(_))), "{found:?}");
    let max = head.len() - 1;
    let limits = limits(|limits| limits.head_bytes_max = max);
    check_fails_at_last_byte(&head, &limits, HeadError::TooLong { max });
}

#[test]
fn target_must_be_a_path_or_a_url() {
    for target in [
        "server.example.com:80",
        "*",
        "chat",
        "?x",
        "/chat#fragment",
        "/chat?x#",
        "http://server.example.com/chat#fragment",
        "http://user@server.example.com/chat",
        "http://user:password@server.example.com/chat",
        "http://@server.example.com/chat",
        "http://server.example.com:x/",
        "http://server.example.com:65536/",
        "http://a,b/",
        "http://[::1/",
        "http:///chat",
        "http://:80/",
        "http://",
        "http:/chat",
        "http:chat",
        "ftp://server.example.com/chat",
        "wsx://server.example.com/chat",
        "file:///chat",
        "/a<b",
        "/a>b",
        "/a`b",
        "",
    ] {
        let head = Head::request().start(&format!("GET {target} HTTP/1.1"));
        check_head_fails(&head.bytes(), HeadError::Target);
    }
    check_head_fails(b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::Target);
    let connect = "CONNECT server.example.com:80 HTTP/1.1";
    check_head_fails(&Head::request().start(connect).bytes(), HeadError::Target);
}

#[test]
fn target_may_be_a_url() {
    for (target, path, query) in [
        ("http://server.example.com/chat?x=y", "/chat", Some("x=y")),
        ("http://server.example.com", "/", None),
        ("http://server.example.com?x", "/", Some("x")),
        ("HTTP://server.example.com:80/chat", "/chat", None),
        ("https://server.example.com/chat", "/chat", None),
        ("ws://server.example.com/chat", "/chat", None),
        ("WSS://server.example.com/chat", "/chat", None),
        ("http://[::1]:8000/chat", "/chat", None),
    ] {
        let head = Head::request().start(&format!("GET {target} HTTP/1.1"));
        check_accepted(&Policy::default(), &head, SWITCHING);
        let mut handshake = ServerHandshake::new(START, Arc::default());
        let request = handshake.handle_input(&head.bytes()).1.unwrap().unwrap();
        let uri = request.uri();
        assert_eq!((uri.path(), uri.query()), (path, query), "{target}");
    }
}

#[test]
fn target_may_be_an_asterisk_for_options_alone() {
    let head = Head::new(&["OPTIONS * HTTP/1.1", "Host: a"]).bytes();
    let found = answer(&Policy::default(), &Limits::default(), &head, &[]);
    assert_eq!(found, Some(Err(Refusal::NotUpgrade)));
    for line in [
        "GET * HTTP/1.1",
        "OPTIONS ** HTTP/1.1",
        "OPTIONS *?x HTTP/1.1",
    ] {
        check_head_fails(&Head::request().start(line).bytes(), HeadError::Target);
    }
}

#[test]
fn lines_must_be_headers() {
    for line in [
        "no colon",
        ": no name",
        ":",
        "Name : value",
        "Na me: value",
        "Name\t: value",
        "N\u{e4}me: value",
        "Na(me: value",
        "\"Name\": value",
        "Name/: value",
        "[Name]: value",
        "Na\u{1f980}: value",
    ] {
        let line_quoted = quoted(line.as_bytes());
        let expected = HeadError::Header { line: line_quoted };
        check_head_fails(&Head::request().with(line).bytes(), expected);
    }
}

#[test]
fn lines_end_with_both_cr_and_lf() {
    let limits = Limits::default();
    for head in [
        &b"GET / HTTP/1.1\n"[..],
        b"\n",
        b"GET / HTTP/1.1\r\n\n",
        b"GET / HTTP/1.1\r\nHost: a\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
    ] {
        check_fails_at_last_byte(head, &limits, HeadError::BareLf);
    }
    for head in [
        &b"GET / HTTP/1.1\rH"[..],
        b"\r\r",
        b"GET / HTTP/1.1\r\r",
        b"GET / HTTP/1.1\r\nHost: a\rb",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\0",
        b"GET / HTTP/1.1\r\n\r ",
    ] {
        check_fails_at_last_byte(head, &limits, HeadError::BareCr);
    }
}

#[test]
fn lines_are_not_folded() {
    for head in [
        &b" "[..],
        b"\t",
        b"GET / HTTP/1.1\r\n ",
        b"GET / HTTP/1.1\r\n\t",
        b"GET / HTTP/1.1\r\nHost: a\r\n ",
        b"GET / HTTP/1.1\r\nHost: a\r\n\t",
    ] {
        check_fails_at_last_byte(head, &Limits::default(), HeadError::FoldedLine);
    }
}

#[test]
fn control_bytes_are_refused_wherever_they_stand() {
    let controls = (0..0x20).chain([0x7f]);
    for byte in controls.filter(|byte| ![b'\t', b'\r', b'\n'].contains(byte)) {
        for before in [
            "",
            "GE",
            "GET /",
            "GET / HTTP/1.1\r\n",
            "GET / HTTP/1.1\r\nHost: a",
        ] {
            let head = [before.as_bytes(), &[byte]].concat();
            let expected = HeadError::ControlByte { byte };
            check_fails_at_last_byte(&head, &Limits::default(), expected);
        }
    }
}

#[test]
fn control_bytes_are_found_at_each_place_of_a_long_line() {
    for place in 0..40 {
        let mut value = [b'v'; 40];
        value[place] = 0x01;
        let head = [b"GET / HTTP/1.1\r\nX: ", &value[..], b"\r\n\r\n"].concat();
        check_head_fails(&head, HeadError::ControlByte { byte: 1 });
    }
}

#[test]
fn names_and_values_of_each_length_are_read_as_written() {
    for length in 1..40 {
        let (path, name) = (format!("/{}", "p".repeat(length)), "n".repeat(length));
        for value in ["", "v", &"v".repeat(length), &"v:v".repeat(length)] {
            let head = format!("GET {path} HTTP/1.1\r\n{name}:{value}\r\nLast: one\r\n\r\n");
            let mut handshake = ServerHandshake::new(START, Arc::default());
            let (consumed, request) = handshake.handle_input(head.as_bytes());
            assert_eq!(consumed, head.len(), "{head}");
            let request = request.expect("it is whole").expect("it is good");
            assert_eq!(request.uri(), path.as_str(), "{head}");
            assert_eq!(request.headers()[&name], value, "{head}");
            assert_eq!(request.headers()["last"], "one", "{head}");
            assert_eq!(request.headers().len(), 2, "{head}");
        }
    }
}

#[test]
fn first_line_meets_its_limit() {
    let line = "GET / HTTP/1.1\r\n";
    let exact = limits(|limits| limits.head_line_bytes_max = line.len());
    let head = format!("{line}Host: a.much.longer.line.than.the.first.one\r\n\r\n");
    let found = answer(&Policy::default(), &exact, head.as_bytes(), &[]);
    assert_eq!(found, Some(Err(Refusal::NotUpgrade)));
    for max in [0, 1, line.len() - 1] {
        let limits = limits(|limits| limits.head_line_bytes_max = max);
        let expected = HeadError::LineTooLong { max };
        check_fails_at_last_byte(&line.as_bytes()[..=max], &limits, expected);
    }
    let endless = [b"GET /", &vec![b'a'; 8192 - 5][..], b"a"].concat();
    let expected = HeadError::LineTooLong { max: 8192 };
    check_fails_at_last_byte(&endless, &Limits::default(), expected);
}

#[test]
fn head_meets_its_limit() {
    let head = Head::request().bytes();
    let exact = limits(|limits| limits.head_bytes_max = head.len());
    assert!(matches!(
        answer(&Policy::default(), &exact, &head, &[]),
        Some(Ok(_))
    ));
    for max in [head.len() - 1, head.len() - 2, 40] {
        let limits = limits(|limits| limits.head_bytes_max = max);
        check_fails_at_last_byte(&head[..=max], &limits, HeadError::TooLong { max });
    }
    let endless = [b"GET / HTTP/1.1\r\nX: ", &vec![b'a'; 16_384][..]].concat();
    let expected = HeadError::TooLong { max: 16_384 };
    check_fails_at_last_byte(&endless[..=16_384], &Limits::default(), expected);
}

#[test]
fn headers_meet_their_limit() {
    let head = Head::request();
    let exact = limits(|limits| limits.headers_max = 5);
    assert!(matches!(
        answer(&Policy::default(), &exact, &head.bytes(), &[]),
        Some(Ok(_))
    ));
    for (max, head) in [(5, head.clone().with("X: y")), (4, head.clone()), (0, head)] {
        let limits = limits(|limits| limits.headers_max = max);
        let bytes = head.bytes();
        // The line that is one too many fails as it ends.
        let lines = bytes.split_inclusive(|&byte| byte == b'\n');
        let bytes: Vec<u8> = lines.take(max + 2).flatten().copied().collect();
        check_fails_at_last_byte(&bytes, &limits, HeadError::TooManyHeaders { max });
    }
    let mut head = Head::request();
    for _ in 0..95 {
        head = head.with("X: y");
    }
    let found = answer(&Policy::default(), &Limits::default(), &head.bytes(), &[]);
    assert!(matches!(found, Some(Ok(_))));
    let head = head.with("X: y").bytes();
    let head = &head[..head.len() - 2];
    let expected = HeadError::TooManyHeaders { max: 100 };
    check_fails_at_last_byte(head, &Limits::default(), expected);
}

#[test]
fn more_headers_than_can_be_kept_are_refused_and_do_not_panic() {
    let head = |count: usize, name: fn(usize) -> String| {
        let lines = (0..count).map(|number| format!("{}: y\r\n", name(number)));
        format!("GET / HTTP/1.1\r\n{}\r\n", lines.collect::<String>()).into_bytes()
    };
    let (distinct, same) = (|number| format!("x{number}"), |_| "x".to_owned());
    for name in [distinct, same] {
        for headers_max in [usize::MAX, usize::MAX - 1, 24_577] {
            let limits = limits(|limits| {
                limits.headers_max = headers_max;
                limits.head_bytes_max = usize::MAX;
            });
            let fit = answer(&Policy::default(), &limits, &head(24_576, name), &[]);
            assert_eq!(fit, Some(Err(Refusal::NotUpgrade)));
            let found = answer(&Policy::default(), &limits, &head(24_577, name), &[]);
            let expected = HeadError::TooManyHeaders { max: 24_576 };
            assert_eq!(found, Some(Err(Refusal::Head(expected))));
        }
    }
}

#[test]
fn limits_may_have_any_value() {
    let head = Head::request().bytes();
    let changes: [fn(&mut Limits, usize); 3] = [
        |limits, value| limits.head_bytes_max = value,
        |limits, value| limits.head_line_bytes_max = value,
        |limits, value| limits.headers_max = value,
    ];
    let answer = |limits: &Limits| {
        let every: Vec<usize> = (1..head.len()).collect();
        let whole = answer(&Policy::default(), limits, &head, &[]).unwrap();
        let bytewise = answer(&Policy::default(), limits, &head, &every).unwrap();
        assert_eq!(whole, bytewise);
        whole
    };
    for change in changes {
        for value in [usize::MAX, usize::MAX - 1, usize::MAX / 2 + 1] {
            assert!(answer(&limits(|limits| change(limits, value))).is_ok());
        }
        for value in [0, 1] {
            let refusal = answer(&limits(|limits| change(limits, value))).unwrap_err();
            assert!(matches!(refusal.status().as_u16(), 414 | 431), "{refusal}");
        }
    }
    let all = |value| limits(|limits| changes.iter().for_each(|change| change(limits, value)));
    assert!(answer(&all(usize::MAX)).is_ok());
    assert!(answer(&all(0)).is_err());
}

#[test]
fn a_head_takes_no_room_for_what_follows_it() {
    let limits = limits(|limits| limits.head_bytes_max = usize::MAX);
    let head = Head::request().bytes();
    let input = [&head[..], &vec![b'x'; 1 << 20]].concat();
    let mut handshake = ServerHandshake::new(START, Arc::new(limits));
    let (consumed, _) = handshake.handle_input(&input);
    assert_eq!(consumed, head.len());
    let received = handshake.into_head();
    assert!(received.capacity() <= 4096, "{}", received.capacity());
}

/// An error's status, name and text, alone and as a refusal.
#[track_caller]
fn assert_says(error: HeadError, status: u16, name: &str, text: &str) {
    assert_eq!(error.status(), status, "{name}");
    assert_eq!(error.name(), name);
    assert_eq!(error.to_string(), text);
    let refusal = Refusal::Head(error);
    assert_eq!(refusal.status(), status, "{name}");
    assert_eq!(refusal.name(), name);
    assert_eq!(refusal.to_string(), text);
}

#[test]
fn head_errors_have_statuses_names_and_texts() {
    use HeadError as E;
    let text = "first line is not HTTP";
    assert_says(E::StartLine, 400, "start_line", text);
    let text = "request target must be a path or a URL, such as /echo";
    assert_says(E::Target, 400, "target", text);
    let text = "HTTP version must be 1.1";
    assert_says(E::HttpVersion, 505, "http_version", text);
    let line = "\"x\"".to_owned();
    let text = "line \"x\" is not a header";
    assert_says(E::Header { line }, 400, "header", text);
    let text = "LF without CR in the head";
    assert_says(E::BareLf, 400, "bare_lf", text);
    let text = "CR without LF in the head";
    assert_says(E::BareCr, 400, "bare_cr", text);
    let text = "line in the head begins with whitespace";
    assert_says(E::FoldedLine, 400, "folded_line", text);
    let text = "control byte 0x00 in the head";
    assert_says(E::ControlByte { byte: 0 }, 400, "control_byte", text);
    let text = "control byte 0x16 in the head; is it TLS on a port for plain HTTP?";
    assert_says(E::ControlByte { byte: 0x16 }, 400, "control_byte", text);
    let max = 7;
    let text = "first line exceeds the limit of 7 bytes";
    assert_says(E::LineTooLong { max }, 414, "line_too_long", text);
    let text = "head exceeds the limit of 7 bytes";
    assert_says(E::TooLong { max }, 431, "head_too_long", text);
    let text = "head has more than 7 headers";
    assert_says(E::TooManyHeaders { max }, 431, "too_many_headers", text);
}

#[test]
fn what_the_peer_wrote_is_quoted_escaped_and_cut() {
    assert_eq!(quoted(b""), "\"\"");
    assert_eq!(quoted(b"plain"), "\"plain\"");
    let hostile = b"a\"b\\c\r\nd\x1b[31m\xff\xc3\xbc";
    assert_eq!(quoted(hostile), r#""a\"b\\c\r\nd\x1b[31m\xff\xc3\xbc""#);
    let exact = "x".repeat(128);
    assert_eq!(quoted(exact.as_bytes()), format!("\"{exact}\""));
    let longer = "x".repeat(129);
    assert_eq!(quoted(longer.as_bytes()), format!("\"{exact}…\""));
}
