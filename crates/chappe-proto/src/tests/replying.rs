//! What comes before the closing handshake: the peer has ended its side and the application may still
//! reply, or writing has failed and the peer may have told why.

use std::time::Duration;

use crate::{Cause, Connection, Payload, Role, Side, State, Time};

use super::closing::{CLOSE_TIMEOUT, assert_stands, says, seen_close};
use super::{ROLES, START, Scenario, Seen, close, ended, feed, frame, just_before};

/// How a peer ends its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PeersEnd {
    CloseFrame,
    Stream,
}

const PEERS_ENDS: [PeersEnd; 2] = [PeersEnd::CloseFrame, PeersEnd::Stream];

/// The peer has ended its side while the application may still reply.
fn replying(role: Role, end: PeersEnd) -> Connection {
    let mut connection = Scenario::open(role).connection();
    connection.handle_reply_pending(START, true);
    match end {
        PeersEnd::CloseFrame => {
            let input = close(role.peer(), 4321, "bye");
            let (seen, sent) = feed(&mut connection, START, &[input]);
            assert_eq!((seen, sent), (vec![seen_close(4321, "bye")], vec![]));
        }
        PeersEnd::Stream => connection.handle_eof(START),
    }
    connection
}

/// What is transmitted, and what then ends the connection.
fn answer(role: Role, end: PeersEnd) -> Vec<u8> {
    match end {
        PeersEnd::CloseFrame => close(role, 4321, ""),
        PeersEnd::Stream => Vec::new(),
    }
}

#[track_caller]
fn assert_replying(connection: &Connection, deadline: Time) {
    assert!(connection.is_replying() && connection.can_send());
    assert_eq!(connection.ended(), None);
    assert_stands(connection, State::Closing, false, false);
    assert_eq!(connection.poll_timeout(), Some(deadline));
}

#[test]
fn application_replies_before_the_peers_end_is_answered() {
    for (role, end) in ROLES
        .into_iter()
        .flat_map(|role| PEERS_ENDS.map(|end| (role, end)))
    {
        let mut connection = replying(role, end);
        assert_replying(&connection, START + CLOSE_TIMEOUT);
        let mut sent = Vec::new();
        connection.send(Payload::Text("reply"), &mut sent).unwrap();
        connection.poll_transmit(&mut sent);
        assert_eq!(sent, frame(role, 0x81, b"reply"), "{end:?}");
        // Bytes behind a close frame are not looked at.
        assert_eq!(connection.handle_input(START, &mut [0xff; 9]), (9, None));

        let later = START + Duration::from_secs(3);
        connection.handle_reply_pending(later, false);
        assert!(!connection.is_replying() && !connection.can_send());
        sent.clear();
        connection.poll_transmit(&mut sent);
        assert_eq!(sent, answer(role, end));
        assert_eq!(connection.poll_timeout(), Some(later + CLOSE_TIMEOUT));
        let ended = ended(&connection);
        assert_eq!(
            (ended.by, ended.is_clean()),
            (Side::Peer, end == PeersEnd::CloseFrame)
        );
        if end == PeersEnd::CloseFrame {
            assert_stands(&connection, State::Closing, role == Role::Server, false);
            connection.handle_eof(later);
        }
        assert!(connection.is_finished());
    }
}

#[test]
fn the_peers_end_is_answered_when_the_application_takes_too_long() {
    for (role, end) in ROLES
        .into_iter()
        .flat_map(|role| PEERS_ENDS.map(|end| (role, end)))
    {
        let mut connection = replying(role, end);
        connection.handle_timeout(just_before(START + CLOSE_TIMEOUT));
        assert_replying(&connection, START + CLOSE_TIMEOUT);
        connection.handle_timeout(START + CLOSE_TIMEOUT);
        assert!(!connection.is_replying() && !connection.can_send());
        let mut sent = Vec::new();
        connection.poll_transmit(&mut sent);
        assert_eq!(sent, answer(role, end));
        // The answer has as long again to be written, and the peer to end its stream.
        let deadline = START + 2 * CLOSE_TIMEOUT;
        assert_eq!(connection.poll_timeout(), Some(deadline));
        connection.handle_timeout(deadline);
        assert!(connection.is_finished());
        assert_eq!(connection.poll_timeout(), None);
    }
}

#[test]
fn application_closes_instead_of_replying_and_the_peers_end_is_answered() {
    for (role, end) in ROLES
        .into_iter()
        .flat_map(|role| PEERS_ENDS.map(|end| (role, end)))
    {
        let ways: [fn(&mut Connection); 4] = [
            |connection| connection.close(START, 1011.into(), "failed").unwrap(),
            |connection| connection.shed(START),
            |connection| connection.handle_write_error(START),
            |connection| connection.handle_read_error(START),
        ];
        for way in ways {
            let mut connection = replying(role, end);
            way(&mut connection);
            assert!(!connection.is_replying());
            let mut sent = Vec::new();
            connection.poll_transmit(&mut sent);
            assert_eq!(sent, answer(role, end));
            assert_eq!(ended(&connection).by, Side::Peer);
        }
    }
}

#[test]
fn stream_ends_behind_the_peers_close_frame_while_the_application_replies() {
    for role in ROLES {
        let mut connection = replying(role, PeersEnd::CloseFrame);
        connection.handle_eof(START);
        assert_replying(&connection, START + CLOSE_TIMEOUT);
        connection.handle_reply_pending(START, false);
        let mut sent = Vec::new();
        connection.poll_transmit(&mut sent);
        assert_eq!(sent, close(role, 4321, ""));
        assert!(ended(&connection).is_clean());
        assert_stands(&connection, State::Closed, role == Role::Server, true);
    }
}

#[test]
fn a_reply_that_is_pending_does_not_delay_what_ends_otherwise() {
    for role in ROLES {
        let pending = || {
            let mut connection = Scenario::open(role).connection();
            connection.handle_reply_pending(START, true);
            connection
        };
        let mut failed = pending();
        failed.handle_input(START, &mut [0x83]);
        assert!(!failed.is_replying() && !failed.can_send());
        let mut closed = pending();
        closed.close(START, 1000.into(), "").unwrap();
        closed.handle_input(START, &mut close(role.peer(), 1000, ""));
        assert!(!closed.is_replying() && ended(&closed).is_clean());
    }
}

#[test]
fn writing_fails_and_what_the_peer_sent_before_is_still_read() {
    for role in ROLES {
        let silent = || {
            let mut connection = Scenario::open(role).connection();
            connection.handle_write_error(START);
            assert_stands(&connection, State::Closing, false, false);
            assert!(!connection.can_send());
            assert_eq!(connection.ended(), None);
            assert_eq!(connection.poll_timeout(), Some(START + CLOSE_TIMEOUT));
            let text = frame(role.peer(), 0x81, b"last words");
            let (seen, sent) = feed(&mut connection, START, &[text]);
            assert_eq!((seen, sent), (vec![Seen::text("last words")], vec![]));
            connection
        };
        let mut told = silent();
        let (seen, _) = feed(&mut told, START, &[close(role.peer(), 1008, "why")]);
        assert_eq!(seen, [seen_close(1008, "why")]);
        assert_eq!(ended(&told).received, Some(says(1008, "why")));

        let mut vanished = silent();
        vanished.handle_eof(START);
        assert_eq!(
            (ended(&vanished).by, ended(&vanished).cause),
            (Side::Peer, Cause::Eof)
        );
        assert!(vanished.is_finished());

        let mut hanging = silent();
        hanging.handle_timeout(START + CLOSE_TIMEOUT);
        assert_eq!(
            (ended(&hanging).by, ended(&hanging).cause),
            (Side::Peer, Cause::Eof)
        );
        assert!(hanging.is_finished());

        let mut wrong = silent();
        let (seen, sent) = feed(&mut wrong, START, &[&[0x83]]);
        assert!(matches!(seen[..], [Seen::Failed(_)]), "{seen:?}");
        assert_eq!(sent, b"", "nothing can be written");
        assert_eq!(ended(&wrong).by, Side::Local);
    }
}

#[test]
fn an_end_is_found_behind_messages_that_are_not_read_yet() {
    for role in ROLES {
        let peer = role.peer();
        let text = frame(peer, 0x81, b"text");
        let end = close(peer, 1000, "");
        // What is given: the frames that are whole, unless there is an end.
        let rows: [(&str, Vec<u8>, Option<usize>); 9] = [
            ("nothing", vec![], Some(0)),
            ("messages", text.repeat(3), Some(3)),
            (
                "a part of a message",
                [&text[..], &text[..5]].concat(),
                Some(1),
            ),
            (
                "a part of a header",
                [&text[..], &text[..1]].concat(),
                Some(1),
            ),
            (
                "a ping",
                [frame(peer, 0x89, b"ping"), text.clone()].concat(),
                Some(2),
            ),
            ("a close frame", [&text.repeat(3)[..], &end].concat(), None),
            (
                "a part of one",
                [&text[..], &end[..end.len() - 1]].concat(),
                None,
            ),
            (
                "a header that no frame has",
                [&text[..], &[0x83, 0x80]].concat(),
                None,
            ),
            (
                "data like a close frame",
                frame(peer, 0x82, &end[..4]),
                Some(1),
            ),
        ];
        for (what, input, frames) in rows {
            let connection = Scenario::open(role).connection();
            let found = connection.look_for_end(&input);
            // All frames here are as long.
            assert_eq!(
                found,
                frames.map(|frames| frames * text.len()),
                "{role:?}: {what}"
            );
        }
        let closed = Scenario::open(role).receives(&end).connection();
        assert_eq!(
            closed.look_for_end(&end),
            Some(end.len()),
            "nothing is read any more"
        );
    }
}
