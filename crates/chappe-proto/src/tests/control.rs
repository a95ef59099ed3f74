//! Control frames: ping and pong, and what all three may not be (RFC 6455, section 5.5).

use std::time::Duration;

use crate::{Event, ProtocolError};

use super::{ROLES, START, Scenario, Seen, check, check_fails, close, declared, feed, frame};

#[test]
fn peer_receives_ping_and_answers_with_its_payload() {
    for role in ROLES {
        for payload in [&b""[..], b"ping", &[0xff; 125]] {
            check(
                role,
                &frame(role.peer(), 0x89, payload),
                &[Seen::Ping(payload.to_vec())],
                &frame(role, 0x8a, payload),
            );
        }
    }
}

#[test]
fn peer_receives_control_frames_without_fin() {
    for role in ROLES {
        for first in [0x08, 0x09, 0x0a] {
            let error = ProtocolError::ControlFrameFragmented;
            check_fails(role, &[first], error, 1002);
            check_fails(role, &frame(role.peer(), first, b"x"), error, 1002);
        }
    }
}

#[test]
fn peer_receives_control_frames_of_more_than_125_bytes() {
    for role in ROLES {
        for first in [0x88, 0x89, 0x8a] {
            let error = ProtocolError::ControlFrameTooLong;
            for length in [126, 127, 65535, 65536] {
                let input = frame(role.peer(), first, &vec![b'x'; length]);
                check(role, &input[..1], &[], b"");
                // The second byte says enough.
                check_fails(role, &input[..2], error, 1002);
                check_fails(role, &input[..20], error, 1002);
            }
            // Neither a length in too long a form nor one out of range is told from these.
            check_fails(role, &declared(role.peer(), first, &[0, 5]), error, 1002);
            check_fails(role, &declared(role.peer(), first, &[0xff; 8]), error, 1002);
        }
    }
}

#[test]
fn peer_receives_control_frames_of_125_bytes() {
    for role in ROLES {
        let payload = [0x03, 0xe8].into_iter().chain([b'x'; 123]);
        let payload: Vec<u8> = payload.collect();
        check(
            role,
            &frame(role.peer(), 0x88, &payload),
            &[Seen::Close(1000, "x".repeat(123))],
            &close(role, 1000, ""),
        );
        let pong = frame(role.peer(), 0x8a, &payload);
        check(role, &pong, &[Seen::Pong(None)], b"");
    }
}

#[test]
fn pings_that_were_not_answered_yet_are_answered_by_one_pong() {
    for role in ROLES {
        let mut connection = Scenario::open(role).connection();
        for number in 0..10_000_u32 {
            let mut ping = frame(role.peer(), 0x89, &number.to_be_bytes());
            let length = ping.len();
            let (consumed, event) = connection.handle_input(START, &mut ping);
            assert_eq!(consumed, length);
            assert_eq!(event, Some(Event::Ping(&number.to_be_bytes())));
        }
        let mut sent = Vec::new();
        connection.poll_transmit(&mut sent);
        assert_eq!(sent, frame(role, 0x8a, &9_999_u32.to_be_bytes()));
        connection.poll_transmit(&mut sent);
        assert_eq!(sent.len(), frame(role, 0x8a, &[0; 4]).len());
    }
}

#[test]
fn peer_receives_unsolicited_pongs() {
    for role in ROLES {
        let input = [
            frame(role.peer(), 0x8a, b""),
            frame(role.peer(), 0x8a, b"unasked"),
            frame(role.peer(), 0x8a, &[0, 0, 0, 0]),
            frame(role.peer(), 0x8a, &[0, 0, 0, 1]),
        ];
        let events = vec![Seen::Pong(None); 4];
        check(role, &input.concat(), &events, b"");
    }
}

#[test]
fn peer_receives_the_pong_for_its_ping() {
    for role in ROLES {
        let input = frame(role.peer(), 0x8a, &[0, 0, 0, 1]);
        let events = [Seen::Pong(Some(Duration::ZERO))];
        Scenario::open(role).pings().check(&input, &events, b"");
        // A second pong answers nothing.
        let twice = [&input[..], &input].concat();
        let events = [Seen::Pong(Some(Duration::ZERO)), Seen::Pong(None)];
        Scenario::open(role).pings().check(&twice, &events, b"");
    }
}

#[test]
fn peer_receives_pongs_that_do_not_answer_its_ping() {
    for role in ROLES {
        for payload in [
            &[][..],
            &[0, 0, 0, 0],
            &[0, 0, 0, 2],
            &[1],
            &[0, 0, 0, 1, 0],
        ] {
            let wrong = frame(role.peer(), 0x8a, payload);
            let right = frame(role.peer(), 0x8a, &[0, 0, 0, 1]);
            let input = [wrong, right].concat();
            let events = [Seen::Pong(None), Seen::Pong(Some(Duration::ZERO))];
            Scenario::open(role).pings().check(&input, &events, b"");
        }
    }
}

#[test]
fn pong_leaves_before_the_close_frame() {
    for role in ROLES {
        let mut connection = Scenario::open(role).connection();
        let mut ping = frame(role.peer(), 0x89, b"last");
        let (_, event) = connection.handle_input(START, &mut ping);
        assert_eq!(event, Some(Event::Ping(b"last")));
        connection.close(START, 1000.into(), "").unwrap();
        let mut sent = Vec::new();
        connection.poll_transmit(&mut sent);
        let expected = [frame(role, 0x8a, b"last"), close(role, 1000, "")].concat();
        assert_eq!(sent, expected);
    }
}

#[test]
fn peer_receives_a_ping_after_it_has_sent_a_close_frame() {
    for role in ROLES {
        let closing = Scenario::open(role).closes(1000, "");
        closing.check(&frame(role.peer(), 0x89, b"ping"), &[], b"");
        let input = [
            frame(role.peer(), 0x89, b"ping"),
            frame(role.peer(), 0x8a, b"pong"),
            close(role.peer(), 1000, ""),
        ];
        let events = [Seen::Pong(None), Seen::Close(1000, String::new())];
        closing.check(&input.concat(), &events, b"");
    }
}

#[test]
fn peer_receives_a_ping_after_it_has_received_a_close_frame() {
    for role in ROLES {
        let input = [
            close(role.peer(), 1000, ""),
            frame(role.peer(), 0x89, b"ping"),
        ];
        let event = Seen::Close(1000, String::new());
        check(role, &input.concat(), &[event], &close(role, 1000, ""));
    }
}

#[test]
fn peer_receives_bad_control_frames_after_it_has_sent_a_close_frame() {
    for role in ROLES {
        let closing = Scenario::open(role).closes(1000, "");
        let rows = [
            (
                frame(role.peer(), 0x09, b""),
                ProtocolError::ControlFrameFragmented,
            ),
            (
                frame(role.peer(), 0x89, &[0; 126]),
                ProtocolError::ControlFrameTooLong,
            ),
            (
                frame(role.peer(), 0x88, &[3]),
                ProtocolError::CloseFrameTooShort,
            ),
        ];
        for (input, error) in rows {
            // There is no second close frame.
            closing.check(&input, &[Seen::Failed(error)], b"");
        }
    }
}

#[test]
fn feeding_nothing_gives_nothing() {
    for role in ROLES {
        let mut connection = Scenario::open(role).connection();
        assert_eq!(connection.handle_input(START, &mut []), (0, None));
        let nothing = feed(&mut connection, START, &[b"", b""]);
        assert_eq!(nothing, (vec![], vec![]));
    }
}
