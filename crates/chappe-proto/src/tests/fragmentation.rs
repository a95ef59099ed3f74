//! Messages in fragments (RFC 6455, section 5.4).

use crate::{Event, ProtocolError, Role};

use super::{ROLES, START, Scenario, Seen, check, check_fails, close, frame};

#[test]
fn peer_receives_text_in_fragments() {
    for role in ROLES {
        let input = [
            frame(role.peer(), 0x01, b"Sp"),
            frame(role.peer(), 0x00, b"a"),
            frame(role.peer(), 0x80, b"m"),
        ];
        check(role, &input.concat(), &[Seen::text("Spam")], b"");
    }
}

#[test]
fn peer_receives_binary_in_fragments() {
    for role in ROLES {
        let input = [
            frame(role.peer(), 0x02, &[0xff, 0xfe]),
            frame(role.peer(), 0x00, &[0xfd]),
            frame(role.peer(), 0x80, &[0x80]),
        ];
        let message = Seen::Binary(vec![0xff, 0xfe, 0xfd, 0x80]);
        check(role, &input.concat(), &[message], b"");
    }
}

#[test]
fn peer_receives_empty_fragments() {
    for role in ROLES {
        for (first, event) in [
            (0x01, Seen::text("ham")),
            (0x02, Seen::Binary(b"ham".to_vec())),
        ] {
            let input = [
                frame(role.peer(), first, b""),
                frame(role.peer(), 0x00, b""),
                frame(role.peer(), 0x00, b"ham"),
                frame(role.peer(), 0x00, b""),
                frame(role.peer(), 0x80, b""),
            ];
            check(role, &input.concat(), &[event], b"");
        }
    }
}

#[test]
fn peer_receives_a_message_of_only_empty_fragments() {
    for role in ROLES {
        for (first, event) in [(0x01, Seen::text("")), (0x02, Seen::Binary(vec![]))] {
            let input = [
                frame(role.peer(), first, b""),
                frame(role.peer(), 0x80, b""),
            ];
            check(role, &input.concat(), &[event], b"");
        }
    }
}

#[test]
fn peer_receives_control_frames_between_fragments() {
    for role in ROLES {
        let input = [
            frame(role.peer(), 0x01, b"He"),
            frame(role.peer(), 0x89, b"1"),
            frame(role.peer(), 0x8a, b"x"),
            frame(role.peer(), 0x00, b"l"),
            frame(role.peer(), 0x89, b""),
            frame(role.peer(), 0x80, b"lo"),
        ];
        let events = [
            Seen::Ping(b"1".to_vec()),
            Seen::Pong(None),
            Seen::Ping(vec![]),
            Seen::text("Hello"),
        ];
        let pongs = [frame(role, 0x8a, b"1"), frame(role, 0x8a, b"")].concat();
        check(role, &input.concat(), &events, &pongs);
    }
}

#[test]
fn peer_receives_close_between_fragments_and_the_message_is_lost() {
    for role in ROLES {
        let input = [
            frame(role.peer(), 0x01, b"He"),
            close(role.peer(), 1001, ""),
            frame(role.peer(), 0x80, b"llo"),
        ];
        let event = Seen::Close(1001, String::new());
        check(role, &input.concat(), &[event], &close(role, 1001, ""));
    }
}

#[test]
fn peer_receives_a_message_after_one_in_fragments() {
    for role in ROLES {
        let input = [
            frame(role.peer(), 0x01, b"a"),
            frame(role.peer(), 0x80, b"b"),
            frame(role.peer(), 0x02, b"c"),
            frame(role.peer(), 0x80, b"d"),
            frame(role.peer(), 0x81, b"e"),
        ];
        let events = [
            Seen::text("ab"),
            Seen::Binary(b"cd".to_vec()),
            Seen::text("e"),
        ];
        check(role, &input.concat(), &events, b"");
    }
}

#[test]
fn peer_receives_a_continuation_without_a_message() {
    for role in ROLES {
        for first in [0x00, 0x80] {
            for payload in [&b""[..], b"llo"] {
                let input = frame(role.peer(), first, payload);
                check_fails(role, &input, ProtocolError::UnexpectedContinuation, 1002);
            }
        }
    }
}

#[test]
fn peer_receives_a_continuation_after_a_whole_message() {
    for role in ROLES {
        let whole = frame(role.peer(), 0x81, b"Hello");
        let joined = [
            frame(role.peer(), 0x01, b"Hel"),
            frame(role.peer(), 0x80, b"lo"),
        ]
        .concat();
        for before in [whole, joined] {
            let after = Scenario::open(role).receives(&before);
            let input = frame(role.peer(), 0x80, b"!");
            after.check_fails(&input, ProtocolError::UnexpectedContinuation, 1002);
        }
    }
}

#[test]
fn peer_receives_a_new_message_amid_one() {
    for role in ROLES {
        for begun in [0x01, 0x02] {
            let begun = Scenario::open(role).receives(&frame(role.peer(), begun, b"He"));
            for first in [0x81, 0x82, 0x01, 0x02] {
                for payload in [&b""[..], b"new"] {
                    let input = frame(role.peer(), first, payload);
                    begun.check_fails(&input, ProtocolError::ExpectedContinuation, 1002);
                }
            }
        }
    }
}

#[test]
fn peer_receives_a_new_message_amid_one_whose_first_frame_was_empty() {
    for role in ROLES {
        let begun = Scenario::open(role).receives(&frame(role.peer(), 0x01, b""));
        let input = frame(role.peer(), 0x81, b"new");
        begun.check_fails(&input, ProtocolError::ExpectedContinuation, 1002);
    }
}

#[test]
fn joined_message_is_given_away_and_not_copied() {
    let mut connection = Scenario::open(Role::Client).connection();
    let mut input = [
        frame(Role::Server, 0x01, b"He"),
        frame(Role::Server, 0x80, b"llo"),
    ]
    .concat();
    let (consumed, event) = connection.handle_input(START, &mut input);
    assert_eq!(consumed, 9);
    assert!(matches!(event, Some(Event::Text(std::borrow::Cow::Owned(text))) if text == "Hello"));
}
