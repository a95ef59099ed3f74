//! The closing handshake (RFC 6455, sections 5.5.1 and 7.1).

use std::time::Duration;

use crate::{
    Cause, CloseCode, CloseFrame, Connection, Ended, Limits, Payload, ProtocolError, Role,
    SendError, Side, State,
};

use super::pair::{Pair, Stream};
use super::{ROLES, START, Scenario, Seen, check, close, ended, feed, frame, just_before};

pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
const NANOSECOND: Duration = Duration::from_nanos(1);

pub(super) fn says(code: u16, reason: &str) -> CloseFrame {
    CloseFrame {
        code: CloseCode::from(code),
        reason: reason.to_owned(),
    }
}

pub(super) fn seen_close(code: u16, reason: &str) -> Seen {
    Seen::Close(code, reason.to_owned())
}

/// What a driver asks after it has transmitted: the state, whether it shuts down, whether it drops.
#[track_caller]
pub(super) fn assert_stands(
    connection: &Connection,
    state: State,
    write_is_over: bool,
    is_finished: bool,
) {
    assert_eq!(connection.state(), state);
    assert_eq!(connection.write_is_over(), write_is_over, "write_is_over");
    assert_eq!(connection.is_finished(), is_finished, "is_finished");
}

#[test]
fn peer_closes_and_the_connection_ends_cleanly() {
    for role in ROLES {
        let closed = Scenario::open(role).receives(&close(role.peer(), 4321, "bye"));
        let mut connection = closed.connection();
        let expected = Ended {
            by: Side::Peer,
            cause: Cause::ClosingHandshake,
            sent: Some(says(4321, "")),
            received: Some(says(4321, "bye")),
        };
        assert_eq!(ended(&connection), expected);
        assert!(expected.is_clean());
        assert_eq!(expected.code(), CloseCode::from(4321));
        assert_eq!(expected.reason(), "bye");
        // Section 7.1.1: the server ends its direction first.
        let server = role == Role::Server;
        assert_stands(&connection, State::Closing, server, false);
        assert_eq!(connection.poll_timeout(), Some(START + CLOSE_TIMEOUT));
        connection.handle_eof(START);
        assert_stands(&connection, State::Closed, server, true);
        assert_eq!(ended(&connection), expected);
    }
}

#[test]
fn application_closes_and_the_connection_ends_cleanly() {
    for role in ROLES {
        let mut connection = Scenario::open(role).closes(1001, "restart").connection();
        assert_stands(&connection, State::Closing, false, false);
        assert_eq!(connection.ended(), None);
        assert_eq!(connection.poll_timeout(), Some(START + CLOSE_TIMEOUT));

        let answer = close(role.peer(), 1001, "");
        let (seen, sent) = feed(&mut connection, START + NANOSECOND, &[answer]);
        assert_eq!((seen, sent), (vec![seen_close(1001, "")], vec![]));
        let expected = Ended {
            by: Side::Local,
            cause: Cause::ClosingHandshake,
            sent: Some(says(1001, "restart")),
            received: Some(says(1001, "")),
        };
        assert_eq!(ended(&connection), expected);
        assert!(expected.is_clean());
        assert_eq!(expected.code(), CloseCode::GOING_AWAY);
        assert_eq!(expected.reason(), "restart");
        // One deadline for all of it, from the first close frame on.
        assert_eq!(connection.poll_timeout(), Some(START + CLOSE_TIMEOUT));
        assert_stands(&connection, State::Closing, role == Role::Server, false);
        connection.handle_eof(START);
        assert_stands(&connection, State::Closed, role == Role::Server, true);
    }
}

#[test]
fn writing_is_not_over_before_the_close_frame_is_transmitted() {
    for role in ROLES {
        let mut connection = Scenario::open(role).connection();
        connection.handle_input(START, &mut close(role.peer(), 1000, ""));
        assert_stands(&connection, State::Closing, false, false);
        connection.handle_eof(START);
        assert_stands(&connection, State::Closed, false, false);
        let mut sent = Vec::new();
        connection.poll_transmit(&mut sent);
        assert_eq!(sent, close(role, 1000, ""));
        assert_stands(&connection, State::Closed, role == Role::Server, true);
        connection.poll_transmit(&mut sent);
        assert_eq!(sent, close(role, 1000, ""), "sent a second time");
    }
}

#[test]
fn close_frames_cross() {
    for role in ROLES {
        let mut connection = Scenario::open(role).connection();
        connection.close(START, 4000.into(), "mine").unwrap();
        // The peer's was under way before ours was transmitted.
        let (seen, sent) = feed(
            &mut connection,
            START,
            &[close(role.peer(), 4001, "theirs")],
        );
        assert_eq!(seen, [seen_close(4001, "theirs")]);
        assert_eq!(sent, close(role, 4000, "mine"));
        let expected = Ended {
            by: Side::Local,
            cause: Cause::ClosingHandshake,
            sent: Some(says(4000, "mine")),
            received: Some(says(4001, "theirs")),
        };
        assert_eq!(ended(&connection), expected);
    }
}

#[test]
fn peer_receives_anything_after_a_close_frame() {
    for role in ROLES {
        let input = [
            close(role.peer(), 1000, ""),
            frame(role.peer(), 0x81, b"text"),
            close(role.peer(), 1001, "second"),
            vec![0xff; 20],
        ];
        check(
            role,
            &input.concat(),
            &[seen_close(1000, "")],
            &close(role, 1000, ""),
        );
        let closing = Scenario::open(role).closes(1008, "");
        closing.check(&input.concat(), &[seen_close(1000, "")], b"");
    }
}

#[test]
fn application_closes_twice_and_the_first_counts() {
    for role in ROLES {
        let mut connection = Scenario::open(role).connection();
        assert_eq!(connection.close(START, 1000.into(), "first"), Ok(()));
        let later = START + Duration::from_secs(1);
        assert_eq!(connection.close(later, 1001.into(), "second"), Ok(()));
        assert_eq!(connection.poll_timeout(), Some(START + CLOSE_TIMEOUT));
        let mut sent = Vec::new();
        connection.poll_transmit(&mut sent);
        assert_eq!(connection.close(later, 1001.into(), "third"), Ok(()));
        connection.poll_transmit(&mut sent);
        assert_eq!(sent, close(role, 1000, "first"));
    }
}

#[test]
fn application_closes_after_the_peer_did() {
    for role in ROLES {
        let closed = Scenario::open(role).receives(&close(role.peer(), 1001, ""));
        let mut connection = closed.connection();
        let before = ended(&connection);
        assert_eq!(connection.close(START, 1000.into(), ""), Ok(()));
        let mut sent = Vec::new();
        connection.poll_transmit(&mut sent);
        assert_eq!(sent, b"");
        assert_eq!(ended(&connection), before);
    }
}

#[test]
fn messages_between_our_close_frame_and_the_peers_are_delivered() {
    for role in ROLES {
        let closing = Scenario::open(role).closes(1000, "");
        let input = [
            frame(role.peer(), 0x81, b"one"),
            frame(role.peer(), 0x02, b"tw"),
            frame(role.peer(), 0x80, b"o"),
            frame(role.peer(), 0x82, b""),
            close(role.peer(), 1000, ""),
            frame(role.peer(), 0x81, b"three"),
        ];
        let events = [
            Seen::text("one"),
            Seen::Binary(b"two".to_vec()),
            Seen::Binary(vec![]),
            seen_close(1000, ""),
        ];
        closing.check(&input.concat(), &events, b"");
    }
}

#[test]
fn a_message_that_had_begun_when_we_closed_is_delivered() {
    for role in ROLES {
        let whole = frame(role.peer(), 0x81, b"text");
        let (begin, end) = whole.split_at(whole.len() - 2);
        let closing = Scenario::open(role).receives(begin).closes(1000, "");
        let input = [end, &close(role.peer(), 1000, "")].concat();
        let events = [Seen::text("text"), seen_close(1000, "")];
        closing.check(&input, &events, b"");
    }
}

#[test]
fn nothing_incomplete_is_kept_after_the_end() {
    for role in ROLES {
        let begun = frame(role.peer(), 0x81, b"begun");
        let cut = begun.len() - 1;
        let ends: [fn(&mut Connection); 3] = [
            |connection| connection.handle_eof(START),
            |connection| {
                let mut rest = [b'x', 0xff];
                connection.handle_input(START, &mut rest);
            },
            |connection| connection.handle_timeout(START + Duration::from_secs(60)),
        ];
        for end in ends {
            let mut connection = Scenario::open(role).receives(&begun[..cut]).connection();
            assert!(connection.held_bytes() >= 4, "the message is incomplete");
            end(&mut connection);
            assert_eq!(connection.held_bytes(), 0, "{connection:?}");
        }
        // Nor when our close frame was first.
        let closing = Scenario::open(role)
            .receives(&begun[..cut])
            .closes(1000, "");
        let mut connection = closing.connection();
        connection.handle_eof(START);
        assert_eq!(connection.held_bytes(), 0, "{connection:?}");
    }
}

#[test]
fn connection_that_is_shed_drops_what_it_holds_and_closes_with_1013() {
    for role in ROLES {
        let begun = frame(role.peer(), 0x02, &[7; 1000]);
        let mut connection = Scenario::open(role).receives(&begun).connection();
        assert!((1000..=2000).contains(&connection.held_bytes()));
        connection.shed(START);
        assert_eq!(connection.held_bytes(), 0);

        let ended = connection.ended().unwrap();
        assert_eq!((ended.by, ended.cause), (Side::Local, Cause::Overloaded));
        assert_eq!(ended.code(), CloseCode::TRY_AGAIN_LATER);
        let mut rest = frame(role.peer(), 0x80, b"");
        assert_eq!(connection.handle_input(START, &mut rest).1, None);
        let mut out = Vec::new();
        connection.poll_transmit(&mut out);
        assert!(
            out.len() >= 17,
            "a close frame with code and reason: {out:?}"
        );
        assert!(connection.write_is_over());
        assert_eq!(
            connection.poll_timeout(),
            Some(START + Duration::from_secs(5))
        );
    }
}

#[test]
fn connection_that_is_closing_is_not_shed() {
    for role in ROLES {
        let mut connection = Scenario::open(role).closes(1000, "").connection();
        connection.shed(START);
        assert_eq!(connection.ended(), None);
    }
}

#[test]
fn rules_hold_after_our_close_frame() {
    for role in ROLES {
        let closing = Scenario::open(role).closes(1000, "");
        let rows = [
            (
                frame(role.peer(), 0x81, &[b'a', 0xff]),
                ProtocolError::InvalidUtf8,
            ),
            (
                frame(role.peer(), 0x81, &[0xc3]),
                ProtocolError::InvalidUtf8,
            ),
            (
                frame(role.peer(), 0xc1, b""),
                ProtocolError::ReservedBits { bits: 4 },
            ),
            (
                frame(role.peer(), 0x80, b""),
                ProtocolError::UnexpectedContinuation,
            ),
            (
                frame(role.peer(), 0x88, &[0x03, 0xec]),
                ProtocolError::InvalidCloseCode { code: 1004 },
            ),
            (
                frame(role.peer(), 0x82, &vec![0; 1024 * 1024 + 1])[..20].to_vec(),
                ProtocolError::MessageTooBig {
                    length: 1024 * 1024 + 1,
                    max: 1024 * 1024,
                },
            ),
        ];
        for (input, error) in rows {
            closing.check(&input, &[Seen::Failed(error)], b"");
        }
    }
}

#[test]
fn peer_breaks_a_rule_and_is_answered_with_its_name() {
    for role in ROLES {
        let failed = Scenario::open(role).receives(&[0x83]);
        let mut connection = failed.connection();
        let error = ProtocolError::ReservedOpcode { opcode: 3 };
        let expected = Ended {
            by: Side::Local,
            cause: Cause::Protocol(error),
            sent: Some(says(1002, "opcode 0x3 is reserved")),
            received: None,
        };
        assert_eq!(ended(&connection), expected);
        assert!(!expected.is_clean());
        assert_eq!(expected.code(), CloseCode::PROTOCOL_ERROR);
        assert_eq!(expected.reason(), "opcode 0x3 is reserved");
        // Who fails the connection does not wait for the peer.
        assert_stands(&connection, State::Closing, true, false);
        assert_eq!(connection.poll_timeout(), Some(START + CLOSE_TIMEOUT));
        connection.handle_eof(START);
        assert_stands(&connection, State::Closed, true, true);
        assert_eq!(ended(&connection), expected);
    }
}

#[test]
fn peer_breaks_a_rule_after_our_close_frame() {
    for role in ROLES {
        let closing = Scenario::open(role).closes(1000, "done");
        let mut connection = closing.receives(&[0x83]).connection();
        let expected = Ended {
            by: Side::Local,
            cause: Cause::Protocol(ProtocolError::ReservedOpcode { opcode: 3 }),
            sent: Some(says(1000, "done")),
            received: None,
        };
        assert_eq!(ended(&connection), expected);
        assert_stands(&connection, State::Closing, true, false);
        assert_eq!(connection.poll_timeout(), Some(START + CLOSE_TIMEOUT));
        connection.handle_timeout(START + CLOSE_TIMEOUT);
        assert_stands(&connection, State::Closed, true, true);
        assert_eq!(ended(&connection), expected);
    }
}

#[test]
fn stream_ends_while_open() {
    for role in ROLES {
        let begun = frame(role.peer(), 0x01, b"begun");
        for before in [&b""[..], &begun, &begun[..1], &begun[..begun.len() - 1]] {
            let mut connection = Scenario::open(role).receives(before).connection();
            connection.handle_eof(START);
            let expected = Ended {
                by: Side::Peer,
                cause: Cause::Eof,
                sent: None,
                received: None,
            };
            assert_eq!(ended(&connection), expected);
            assert!(!expected.is_clean());
            assert_eq!(expected.code(), CloseCode::ABNORMAL);
            assert_eq!(expected.reason(), "");
            assert_stands(&connection, State::Closed, true, true);
            let mut sent = Vec::new();
            connection.poll_transmit(&mut sent);
            assert_eq!(sent, b"");
            // What would come behind the end is not looked at.
            let mut late = frame(role.peer(), 0x80, b"late");
            let length = late.len();
            let result = connection.handle_input(START, &mut late);
            assert_eq!(result, (length, None));
        }
    }
}

#[test]
fn stream_ends_before_our_close_frame_was_answered() {
    for role in ROLES {
        let mut connection = Scenario::open(role).closes(1000, "").connection();
        connection.handle_eof(START);
        let expected = Ended {
            by: Side::Peer,
            cause: Cause::Eof,
            sent: Some(says(1000, "")),
            received: None,
        };
        assert_eq!(ended(&connection), expected);
        assert_eq!(expected.code(), CloseCode::ABNORMAL);
        assert_stands(&connection, State::Closed, true, true);
        connection.handle_timeout(START + CLOSE_TIMEOUT);
        assert_eq!(ended(&connection), expected);
    }
}

#[test]
fn stream_ends_before_our_close_frame_was_transmitted() {
    for role in ROLES {
        let mut connection = Scenario::open(role).connection();
        connection.close(START, 1000.into(), "").unwrap();
        connection.handle_eof(START);
        assert_stands(&connection, State::Closed, false, false);
        // The other direction may still be open, but not for longer than closing may take.
        assert_eq!(connection.poll_timeout(), Some(START + CLOSE_TIMEOUT));
        let mut sent = Vec::new();
        connection.poll_transmit(&mut sent);
        assert_eq!(sent, close(role, 1000, ""));
        assert_stands(&connection, State::Closed, true, true);
    }
}

#[test]
fn peer_does_not_answer_our_close_frame_in_time() {
    for role in ROLES {
        let mut connection = Scenario::open(role).closes(1000, "").connection();
        let deadline = connection.poll_timeout().unwrap();
        assert_eq!(deadline, START + CLOSE_TIMEOUT);
        connection.handle_timeout(just_before(START + CLOSE_TIMEOUT));
        assert_stands(&connection, State::Closing, false, false);
        assert_eq!(connection.ended(), None);
        connection.handle_timeout(deadline);
        let expected = Ended {
            by: Side::Local,
            cause: Cause::CloseTimeout,
            sent: Some(says(1000, "")),
            received: None,
        };
        assert_eq!(ended(&connection), expected);
        assert!(!expected.is_clean());
        assert_stands(&connection, State::Closed, true, true);
        assert_eq!(connection.poll_timeout(), None);
        connection.handle_eof(deadline);
        assert_eq!(ended(&connection), expected);
    }
}

#[test]
fn peer_does_not_end_the_stream_in_time() {
    for role in ROLES {
        let closed = Scenario::open(role).receives(&close(role.peer(), 1000, ""));
        let mut connection = closed.connection();
        let before = ended(&connection);
        connection.handle_timeout(just_before(START + CLOSE_TIMEOUT));
        assert_eq!(connection.state(), State::Closing);
        connection.handle_timeout(START + CLOSE_TIMEOUT);
        assert_stands(&connection, State::Closed, role == Role::Server, true);
        // It was clean all the same: both close frames were there.
        assert_eq!(ended(&connection), before);
        assert_eq!(connection.poll_timeout(), None);
    }
}

#[test]
fn closing_expires_though_the_close_frame_was_never_taken() {
    for role in ROLES {
        let mut connection = Scenario::open(role).connection();
        connection.close(START, 1000.into(), "").unwrap();
        connection.handle_timeout(START + CLOSE_TIMEOUT);
        assert_stands(&connection, State::Closed, false, true);
    }
}

#[test]
fn peer_sends_forever_after_our_close_frame() {
    for role in ROLES {
        let mut connection = Scenario::open(role).closes(1000, "").connection();
        let text = frame(role.peer(), 0x81, b"still here");
        for second in 0..5 {
            let now = START + Duration::from_secs(second);
            let (seen, sent) = feed(&mut connection, now, &[&text]);
            assert_eq!((seen, sent), (vec![Seen::text("still here")], vec![]));
            connection.handle_timeout(now);
            assert_eq!(connection.poll_timeout(), Some(START + CLOSE_TIMEOUT));
        }
        connection.handle_timeout(START + CLOSE_TIMEOUT);
        assert_stands(&connection, State::Closed, true, true);
        let mut late = text.clone();
        let result = connection.handle_input(START + CLOSE_TIMEOUT, &mut late);
        assert_eq!(result, (text.len(), None));
    }
}

#[test]
fn timeouts_of_an_open_connection_do_not_count_while_closing() {
    for role in ROLES {
        let closing = Scenario::open(role)
            .limits(|limits| {
                limits.message_timeout = Duration::from_secs(1);
                limits.ping_interval = Some(Duration::from_secs(1));
            })
            .receives(&frame(role.peer(), 0x01, b"begun"))
            .pings()
            .closes(1000, "");
        let mut connection = closing.connection();
        connection.handle_timeout(START + Duration::from_secs(4));
        let mut sent = Vec::new();
        connection.poll_transmit(&mut sent);
        assert_eq!(sent, b"");
        assert_eq!(connection.ended(), None);
        assert_eq!(connection.poll_timeout(), Some(START + CLOSE_TIMEOUT));
    }
}

#[test]
fn nothing_may_be_sent_after_a_close_frame() {
    for role in ROLES {
        let mut after_eof = Scenario::open(role).connection();
        after_eof.handle_eof(START);
        let connections = [
            Scenario::open(role).closes(1000, "").connection(),
            Scenario::open(role)
                .receives(&close(role.peer(), 1000, ""))
                .connection(),
            Scenario::open(role).receives(&[0x83]).connection(),
            after_eof,
        ];
        for mut connection in connections {
            let state = connection.state();
            let mut out = b"before".to_vec();
            let result = connection.send(Payload::Text("late"), &mut out);
            assert_eq!(result, Err(SendError::NotOpen { state }));
            connection.ping(START);
            connection.poll_transmit(&mut out);
            assert_eq!(out, b"before");
        }
    }
}

#[test]
fn both_sides_close_cleanly_whoever_begins_and_however_slow_the_wire() {
    for role in ROLES {
        for delay in [0, 1, 700] {
            let mut pair = Pair::new(Limits::default());
            pair.delay = Duration::from_millis(delay);
            pair.end(role)
                .connection
                .close(START, 4000.into(), "bye")
                .unwrap();
            pair.run_for(Duration::from_secs(10));
            let began = ended(&pair.end(role).connection);
            let answered = ended(&pair.end(role.peer()).connection);
            assert!(began.is_clean() && answered.is_clean());
            assert_eq!((began.by, answered.by), (Side::Local, Side::Peer));
            assert_eq!((began.reason(), answered.reason()), ("bye", "bye"));
            assert_eq!(pair.client.stream, Stream::Dropped);
            assert_eq!(pair.server.stream, Stream::Dropped);
            // There, back, and the end of the server's stream; then the end of the client's.
            assert!(pair.now - START <= 4 * pair.delay, "{:?}", pair.now - START);
        }
    }
}

#[test]
fn both_sides_close_at_once() {
    let mut pair = Pair::new(Limits::default());
    pair.delay = Duration::from_millis(50);
    for role in ROLES {
        let code = if role == Role::Client { 4001 } else { 4002 };
        pair.end(role)
            .connection
            .close(START, code.into(), "")
            .unwrap();
    }
    pair.run_for(Duration::from_secs(10));
    for role in ROLES {
        let ended = ended(&pair.end(role).connection);
        assert!(ended.is_clean());
        assert_eq!(ended.by, Side::Local);
        assert_eq!(pair.end(role).stream, Stream::Dropped);
    }
}
