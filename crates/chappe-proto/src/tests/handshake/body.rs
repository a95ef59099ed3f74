//! Bodies of responses that refuse (RFC 9112, sections 6 and 7.1).

use std::time::Duration;

use super::super::{START, all_cuts, just_before};
use super::Head;
use super::client::{answer, handshake, request};
use crate::handshake::HandshakeError;

/// The status and the body of a refusal, as it stands after all of the input.
#[track_caller]
fn check_refused(head: &[&str], body: &[u8], status: u16, kept: &[u8]) {
    let input = [Head::new(head).bytes(), body.to_vec()].concat();
    for cuts in all_cuts(input.len()) {
        let (consumed, answer) = answer(&request(), &input, &cuts);
        match answer {
            Some(Err(HandshakeError::Refused { response })) => {
                assert_eq!(response.status(), status, "cut at {cuts:?}");
                assert_eq!(response.body(), kept, "cut at {cuts:?}");
                assert!(consumed <= input.len());
            }
            other => panic!("{other:?}, cut at {cuts:?}"),
        }
    }
}

#[test]
fn client_is_refused_and_told_why() {
    let found = ["HTTP/1.1 404 Not Found", "Content-Length: 5"];
    check_refused(&found, b"where", 404, b"where");
    check_refused(&found, b"where is it?", 404, b"where");
    check_refused(&["HTTP/1.1 500 Oops", "Content-Length: 0"], b"", 500, b"");
    check_refused(&["HTTP/1.0 200 OK", "Content-Length: 1"], b"x", 200, b"x");
    // Redirects are refusals too.
    let redirect = [
        "HTTP/1.1 302 Found",
        "Location: ws://evil.tld",
        "Content-Length: 0",
    ];
    check_refused(&redirect, b"", 302, b"");
    let nonsense = ["HTTP/1.1 403 Forbidden", "Content-Length: x"];
    check_refused(&nonsense, b"no", 403, b"");
}

#[test]
fn responses_that_have_no_body_are_told_at_once() {
    for (start, status) in [
        ("HTTP/1.1 204 No Content", 204),
        ("HTTP/1.1 205 Reset Content", 205),
        ("HTTP/1.1 304 Not Modified", 304),
    ] {
        for headers in [
            &[][..],
            &["Content-Length: 5"],
            &["Transfer-Encoding: chunked"],
        ] {
            check_refused(&[&[start], headers].concat(), b"", status, b"");
        }
    }
}

#[test]
fn length_of_a_body_is_read_strictly() {
    for (lengths, kept) in [
        (&["2"][..], &b"no"[..]),
        (&["002"], b"no"),
        (&["2", "2"], b"no"),
        (&["2, 2"], b"no"),
        (&["0"], b""),
        (&["2", "1"], b""),
        (&["2, 1"], b""),
        (&["2,"], b""),
        (&["+2"], b""),
        (&["-2"], b""),
        (&["2 2"], b""),
        (&["0x2"], b""),
        (&[""], b""),
        (&["\u{b2}"], b""),
    ] {
        let lengths: Vec<String> = lengths
            .iter()
            .map(|length| format!("Content-Length: {length}"))
            .collect();
        let mut head = vec!["HTTP/1.1 403 Forbidden"];
        head.extend(lengths.iter().map(String::as_str));
        check_refused(&head, b"no", 403, kept);
    }
}

#[test]
fn body_in_chunks_is_put_together() {
    for coding in ["chunked", "Chunked", "gzip, chunked", ", chunked,"] {
        let coding = format!("Transfer-Encoding: {coding}");
        let head = ["HTTP/1.1 403 Forbidden", &coding, "Content-Length: 1"];
        for (body, kept) in [
            ("2\r\nno\r\n0\r\n\r\n", "no"),
            ("2\r\nno\r\n0\r\n", "no"),
            ("0\r\n\r\n", ""),
            ("1\r\nn\r\n01\r\no\r\n000\r\n", "no"),
            (
                "A\r\n0123456789\r\nb\r\n0123456789\n\r\n0\r\n",
                "01234567890123456789\n",
            ),
            ("2;x=y\r\nno\r\n0;last\r\n", "no"),
            ("2 \t; \"x\" \r\nno\r\n0 \r\n", "no"),
            ("4\r\n\r\n\r\n\r\n0\r\nTrailer: x\r\n\r\n", "\r\n\r\n"),
        ] {
            check_refused(&head, body.as_bytes(), 403, kept.as_bytes());
        }
    }
}

#[test]
fn malformed_chunks_are_told_with_what_there_is() {
    let head = ["HTTP/1.1 403 Forbidden", "Transfer-Encoding: chunked"];
    for (body, kept) in [
        ("\r\n", ""),
        ("x", ""),
        (";", ""),
        ("-1", ""),
        ("+1", ""),
        ("0x1", ""),
        ("\u{663}", ""),
        ("2\n", ""),
        ("2\r2", ""),
        ("2;x\n", ""),
        ("2;x\0", ""),
        ("2\r\nnox", "no"),
        ("2\r\nno\n", "no"),
        ("2\r\nno\rx", "no"),
        ("2\r\nno\r\n\r", "no"),
        ("2\r\nno\r\ng", "no"),
    ] {
        check_refused(&head, body.as_bytes(), 403, kept.as_bytes());
    }
}

#[test]
fn chunks_without_end_are_cut() {
    let head = ["HTTP/1.1 403 Forbidden", "Transfer-Encoding: chunked"];
    let small = "1\r\nx\r\n".repeat(5000);
    check_cut(&head, small.as_bytes(), &[b'x'; 4096]);
    for length in [
        "1001",
        "1388",
        "ffffffffffffffff",
        "fffffffffffffffff0",
        "10000000000000000",
    ] {
        let one = format!("{length}\r\n{}", "x".repeat(5000));
        check_cut(&head, one.as_bytes(), &[b'x'; 4096]);
    }
    for (start, filler) in [("2\r\nno\r\n", "0"), ("2\r\nno\r\n1;", "x")] {
        let endless = start.to_owned() + &filler.repeat(40_000);
        check_cut(&head, endless.as_bytes(), b"no");
    }
}

/// A refusal whose body has no end, whole and in pieces.
#[track_caller]
fn check_cut(head: &[&str], body: &[u8], kept: &[u8]) {
    let input = [Head::new(head).bytes(), body.to_vec()].concat();
    let pieces: Vec<usize> = (1..input.len()).step_by(7).collect();
    for cuts in [&[][..], &pieces] {
        let (_, answer) = answer(&request(), &input, cuts);
        let Some(Err(HandshakeError::Refused { response })) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(response.body(), kept);
    }
}

#[test]
fn a_huge_body_is_cut() {
    let body = vec![b'x'; 5000];
    for length in [
        "4097",
        "5000",
        "18446744073709551615",
        "99999999999999999999999",
    ] {
        let length = format!("Content-Length: {length}");
        check_refused(
            &["HTTP/1.1 404 Not Found", &length],
            &body,
            404,
            &body[..4096],
        );
    }
    check_refused(&["HTTP/1.1 404 Not Found"], &body, 404, &body[..4096]);
    let exact = ["HTTP/1.1 404 Not Found", "Content-Length: 4096"];
    check_refused(&exact, &body[..4096], 404, &body[..4096]);
}

#[test]
fn a_body_is_waited_for_until_the_stream_or_the_time_ends() {
    let after = Duration::from_secs(10);
    for head in [
        &["HTTP/1.1 404 Not Found", "Content-Length: 9"][..],
        &["HTTP/1.1 404 Not Found"],
    ] {
        let input = [&Head::new(head).bytes()[..], b"nowhere"].concat();
        let begin = || {
            let mut handshake = handshake(request());
            assert!(handshake.handle_input(&input).1.is_none());
            handshake
        };
        let mut handshake = begin();
        assert!(
            handshake
                .handle_timeout(just_before(START + after))
                .is_none()
        );
        for error in [
            begin().handle_eof(),
            handshake.handle_timeout(START + after).unwrap(),
        ] {
            let HandshakeError::Refused { response } = error else {
                panic!("{error:?}");
            };
            assert_eq!(response.status(), 404);
            assert_eq!(response.body(), b"nowhere");
        }
    }
}
