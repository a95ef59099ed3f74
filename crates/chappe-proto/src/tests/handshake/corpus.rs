//! Heads as real software sends them, from the files in `corpus/`: all are accepted.

use super::super::all_cuts;
use super::client::{self, request};
use super::server::answer;
use super::{ACCEPT, policy};
use crate::Limits;
use crate::handshake::{Hosts, Origins};

/// Each head's name, and its lines.
fn heads(file: &'static str) -> Vec<(&'static str, Vec<&'static str>)> {
    let sections = file.split("### ").skip(1).map(|section| {
        let (name, rest) = section.split_once('\n').expect("a name ends its line");
        let lines = rest.lines().filter(|line| !line.is_empty());
        let lines = lines.map(|line| line.strip_suffix(r"\r\n").expect("a line has its end"));
        (name, lines.collect())
    });
    sections.collect()
}

fn bytes(lines: &[&str]) -> Vec<u8> {
    lines
        .iter()
        .flat_map(|line| [line.as_bytes(), b"\r\n"].concat())
        .collect()
}

/// The value of a header that stands in its line once.
fn value<'a>(lines: &[&'a str], header: &str) -> Option<&'a str> {
    let mut values = lines.iter().filter_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case(header).then_some(value)
    });
    values.next()
}

#[test]
fn server_accepts_the_requests_of_real_clients() {
    let requests = heads(include_str!("corpus/requests.txt"));
    assert_eq!(requests.len(), 43);
    for (name, lines) in requests {
        let head = bytes(&lines);
        let is_browser = name.starts_with("browser-");
        let policy = policy(|policy| {
            policy.hosts = Hosts::Loopback;
            policy.subprotocols = vec!["chat".to_owned()];
            // The page of a browser came from another port; all others that send an origin send
            // the one that they connect to.
            if let (true, Some(origin)) = (is_browser, value(&lines, "Origin")) {
                policy.origins = Origins::Listed(vec![origin.to_owned()]);
            }
        });
        let offers_chat = value(&lines, "Sec-WebSocket-Protocol").is_some();
        for cuts in all_cuts(head.len()) {
            let answer = answer(&policy, &Limits::default(), &head, &cuts);
            let acceptance = answer.expect(name).expect(name);
            assert_eq!(acceptance.subprotocol().is_some(), offers_chat, "{name}");
        }
    }
}

#[test]
fn client_accepts_the_responses_of_real_servers() {
    let responses = heads(include_str!("corpus/responses.txt"));
    assert_eq!(responses.len(), 37);
    let offered = request().subprotocol("chat").unwrap();
    let offered = offered.subprotocol("other").unwrap();
    for (name, lines) in responses {
        assert_eq!(
            value(&lines, "Sec-WebSocket-Accept"),
            Some(ACCEPT),
            "{name}"
        );
        let head = bytes(&lines);
        let chosen = value(&lines, "Sec-WebSocket-Protocol");
        for cuts in all_cuts(head.len()) {
            let (consumed, answer) = client::answer(&offered, &head, &cuts);
            assert_eq!(consumed, head.len(), "{name}");
            assert_eq!(answer.expect(name).expect(name).status(), 101, "{name}");
        }
        let mut handshake = client::handshake(offered.clone());
        handshake.handle_input(&head);
        assert_eq!(handshake.subprotocol(), chosen, "{name}");
    }
}
