//! What holds for every head: it never makes us panic, and cuts never change what is made of it.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::properties::{config, random_cuts};
use super::super::{START, pieces};
use super::client::{handshake, request};
use super::server::answer;
use super::{Head, limits, policy};
use crate::Limits;
use crate::handshake::extensions::parse;
use crate::handshake::{ClientHandshake, Hosts, Origins, Policy};

/// A change to a head: where, how many bytes are taken out, and what is put in.
fn edits() -> impl Strategy<Value = Vec<(usize, usize, Vec<u8>)>> {
    let bytes = prop_oneof![
        Just(Vec::new()),
        vec(any::<u8>(), 1..3),
        prop::sample::select(vec![
            &b"\r\n"[..],
            b"\n",
            b"\r",
            b"\r\n\r\n",
            b": ",
            b",",
            b";",
            b"\"",
            b"=",
            b" ",
            b"\t",
            b"\r\nOrigin: http://a",
            b"\r\nSec-WebSocket-Protocol: a, b",
            b"\r\nSec-WebSocket-Extensions: a; b=\"c\"",
            b"\r\nContent-Length: 3",
            b"\r\nTransfer-Encoding: chunked",
            b"\r\n\r\n2\r\nno\r\n",
            b"HTTP/1.1 103 Early Hints\r\n\r\n",
        ])
        .prop_map(<[u8]>::to_vec),
    ];
    vec((any::<usize>(), 0_usize..4, bytes), 0..5)
}

fn edited(head: &Head, edits: &[(usize, usize, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = head.bytes();
    for (at, removed, inserted) in edits {
        let start = at % (bytes.len() + 1);
        let end = (start + removed).min(bytes.len());
        bytes.splice(start..end, inserted.iter().copied());
    }
    bytes
}

/// Ends a head where a server sees its end, as [`answer`] expects.
fn first_head(bytes: &[u8]) -> &[u8] {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    end.map_or(bytes, |end| &bytes[..end + 4])
}

fn policies() -> impl Strategy<Value = Policy> {
    let any = policy(|policy| policy.origins = Origins::Any);
    let loopback = policy(|policy| policy.hosts = Hosts::Loopback);
    let chat = policy(|policy| policy.subprotocols = vec!["b".to_owned()]);
    prop::sample::select(vec![Policy::default(), any, loopback, chat])
}

/// What a client makes of these bytes, in words, whatever follows.
fn client_answer(mut handshake: ClientHandshake, bytes: &[u8], cuts: &[usize]) -> String {
    for piece in pieces(bytes, cuts) {
        let (taken, answer) = handshake.handle_input(piece);
        assert!(taken <= piece.len());
        if let Some(answer) = answer {
            return format!("{answer:?}");
        }
        assert_eq!(taken, piece.len());
    }
    format!("{:?}", handshake.handle_eof())
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn cuts_do_not_change_what_a_server_makes_of_a_request(
        edits in edits(),
        policy in policies(),
        head_bytes_max in 100_usize..400,
        seed: u64,
    ) {
        let bytes = edited(&Head::request(), &edits);
        let bytes = first_head(&bytes);
        let limits = limits(|limits| limits.head_bytes_max = head_bytes_max);
        let whole = answer(&policy, &limits, bytes, &[]);
        let every: Vec<usize> = (1..bytes.len()).collect();
        prop_assert_eq!(&answer(&policy, &limits, bytes, &every), &whole);
        let random = random_cuts(bytes.len(), seed);
        prop_assert_eq!(&answer(&policy, &limits, bytes, &random), &whole);
        if let Some(Err(refusal)) = whole {
            // Whatever the peer wrote: one line of printable text, and a status of an error.
            prop_assert!(refusal.status().is_client_error() || refusal.status() == 505);
            let text = refusal.to_string();
            prop_assert!(text.chars().all(|character| !character.is_control()), "{}", text);
        }
    }

    #[test]
    fn cuts_do_not_change_what_a_client_makes_of_a_response(
        edits in edits(),
        status in prop_oneof![4 => Just("101"), 2 => Just("404"), 1 => Just("103")],
        seed: u64,
    ) {
        let head = Head::response().start(&format!("HTTP/1.1 {status} Status"));
        let bytes = edited(&head, &edits);
        let whole = client_answer(handshake(request()), &bytes, &[]);
        let every: Vec<usize> = (1..bytes.len()).collect();
        prop_assert_eq!(&client_answer(handshake(request()), &bytes, &every), &whole);
        let random = random_cuts(bytes.len(), seed);
        prop_assert_eq!(&client_answer(handshake(request()), &bytes, &random), &whole);
    }

    #[test]
    fn lists_of_extensions_never_make_us_panic(
        line in "[ \\t,;=\"a-c\\\\ü]{0,40}",
    ) {
        let lines = [line.as_bytes()];
        if let Ok(extensions) = parse(lines) {
            prop_assert!(extensions.len() <= 16);
        }
    }

    #[test]
    fn whatever_is_in_a_url_the_request_line_is_three_words_of_ascii(
        rest in "([/?\\\\. %a-f\"'{}ü🦀\u{0}-\u{ff}]{0,12}|\\PC{0,12})",
    ) {
        if let Ok(asked) = crate::handshake::ClientRequest::new(&format!("ws://h/{rest}")) {
            let handshake = handshake(asked);
            let line = handshake.request().split(|&byte| byte == b'\r').next().unwrap();
            prop_assert!(line.iter().all(|byte| (b' '..=b'~').contains(byte)), "{:?}", line);
            prop_assert_eq!(line.split(|&byte| byte == b' ').count(), 3);
            prop_assert!(line.starts_with(b"GET /"));
            let accepted = answer(&Policy::default(), &Limits::default(), handshake.request(), &[]);
            prop_assert!(matches!(accepted, Some(Ok(_))), "{:?}: {:?}", accepted, line);
        }
    }

    #[test]
    fn a_client_and_a_server_of_ours_understand_each_other(
        host in "[a-z0-9.-]{1,20}(:[1-9][0-9]{0,3})?",
        path in "(/[a-z0-9%._~-]{0,8}){0,4}(\\?[a-z0-9=&]{0,10})?",
        subprotocols in prop::collection::btree_set("[a-z.0-9]{1,8}", 0..4),
        chosen: prop::sample::Index,
    ) {
        let mut asked = crate::handshake::ClientRequest::new(&format!("ws://{host}{path}")).unwrap();
        for name in &subprotocols {
            asked = asked.subprotocol(name).unwrap();
        }
        let names: Vec<String> = subprotocols.into_iter().collect();
        let expected = (!names.is_empty()).then(|| chosen.get(&names).clone());
        let policy = policy(|policy| policy.subprotocols = expected.clone().into_iter().collect());
        let limits = Arc::new(Limits::default());
        let mut random = crate::SystemRandom;
        let mut client = ClientHandshake::new(START, asked, limits.clone(), &mut random);
        let accepted = answer(&policy, &limits, client.request(), &[]).unwrap().unwrap();
        prop_assert_eq!(accepted.subprotocol(), expected.as_deref());
        let response = accepted.response();
        let (consumed, answer) = client.handle_input(&response);
        prop_assert_eq!(consumed, response.len());
        prop_assert_eq!(answer.unwrap().unwrap().status(), 101);
    }
}
