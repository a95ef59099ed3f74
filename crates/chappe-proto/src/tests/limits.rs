//! Limits, at one below, exactly and one above (RFC 6455, section 10.4).

use std::time::Duration;

use crate::{Cause, Limits, ProtocolError, Role, State};

use super::{ROLES, START, Scenario, Seen, close, ended, feed, frame, just_before, pattern};

fn with_message_bytes(role: Role, max: usize) -> Scenario {
    Scenario::open(role).limits(|limits| limits.message_bytes_max = max)
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let limits = Limits::default();
    assert_eq!(limits.head_bytes_max, 16_384);
    assert_eq!(limits.head_line_bytes_max, 8_192);
    assert_eq!(limits.headers_max, 100);
    assert_eq!(limits.handshake_timeout, Duration::from_secs(10));
    assert_eq!(limits.message_bytes_max, 1_048_576);
    assert_eq!(limits.frame_bytes_max, usize::MAX);
    assert_eq!(limits.fragments_max, 4096);
    assert_eq!(limits.message_timeout, Duration::from_secs(60));
    assert_eq!(limits.ping_interval, Some(Duration::from_secs(20)));
    assert_eq!(limits.pong_timeout, Duration::from_secs(20));
    assert_eq!(limits.close_timeout, Duration::from_secs(5));
    let scenario = Scenario::open(Role::Server).limits(|limits| limits.fragments_max = 7);
    assert_eq!(scenario.connection().limits().fragments_max, 7);
}

#[test]
fn message_in_one_frame_meets_its_limit() {
    for role in ROLES {
        for max in [0, 1, 100, 125, 126, 500] {
            let scenario = with_message_bytes(role, max);
            for length in [max.saturating_sub(1), max] {
                let payload = pattern(length);
                let input = frame(role.peer(), 0x82, &payload);
                scenario.check(&input, &[Seen::Binary(payload)], b"");
            }
            let input = frame(role.peer(), 0x82, &pattern(max + 1));
            let length = max as u64 + 1;
            let error = ProtocolError::MessageTooBig { length, max };
            scenario.check_fails(&input, error, 1009);
            // The header is enough: not a byte of the payload is waited for.
            let header = input.len() - (max + 1);
            scenario.check(&input[..header - 1], &[], b"");
            scenario.check_fails(&input[..header], error, 1009);
        }
    }
}

#[test]
fn message_in_fragments_meets_its_limit() {
    for role in ROLES {
        let scenario = with_message_bytes(role, 10);
        let begun = scenario.receives(
            &[
                frame(role.peer(), 0x01, b"0123"),
                frame(role.peer(), 0x00, b""),
                frame(role.peer(), 0x00, b"4567"),
            ]
            .concat(),
        );
        for (last, whole) in [
            (&b""[..], "01234567"),
            (b"8", "012345678"),
            (b"89", "0123456789"),
        ] {
            let last = frame(role.peer(), 0x80, last);
            begun.check(&last, &[Seen::text(whole)], b"");
        }
        for (more, length) in [(&b"89a"[..], 11), (&[b'x'; 200], 208)] {
            for first in [0x00, 0x80] {
                let error = ProtocolError::MessageTooBig { length, max: 10 };
                begun.check_fails(&frame(role.peer(), first, more), error, 1009);
            }
        }
    }
}

#[test]
fn sum_over_fragments_does_not_overflow() {
    for role in ROLES {
        let begun = with_message_bytes(role, usize::MAX).receives(&frame(role.peer(), 0x02, b"x"));
        let begun = begun.limits(|limits| limits.message_bytes_max = 1 << 40);
        let length = u64::MAX >> 1;
        let input = super::declared(role.peer(), 0x80, &length.to_be_bytes());
        let error = ProtocolError::MessageTooBig {
            length: 1 << 63,
            max: 1 << 40,
        };
        begun.check_fails(&input, error, 1009);
    }
}

#[test]
fn the_limit_of_a_message_starts_anew_with_each() {
    for role in ROLES {
        let scenario = with_message_bytes(role, 4);
        let input = [
            frame(role.peer(), 0x81, b"full"),
            frame(role.peer(), 0x01, b"fu"),
            frame(role.peer(), 0x80, b"ll"),
            frame(role.peer(), 0x01, b"full"),
            frame(role.peer(), 0x80, b""),
            frame(role.peer(), 0x81, b"full"),
        ];
        scenario.check(&input.concat(), &vec![Seen::text("full"); 4], b"");
    }
}

#[test]
fn frame_meets_its_limit() {
    for role in ROLES {
        let scenario = Scenario::open(role).limits(|limits| limits.frame_bytes_max = 5);
        let input = [
            frame(role.peer(), 0x81, b"five5"),
            frame(role.peer(), 0x01, b"five5"),
            frame(role.peer(), 0x80, b"four"),
        ];
        let events = [Seen::text("five5"), Seen::text("five5four")];
        scenario.check(&input.concat(), &events, b"");
        let error = ProtocolError::FrameTooBig { length: 6, max: 5 };
        scenario.check_fails(&frame(role.peer(), 0x81, b"sixsix"), error, 1009);
        let begun = scenario.receives(&frame(role.peer(), 0x01, b"five5"));
        begun.check_fails(&frame(role.peer(), 0x80, b"sixsix"), error, 1009);
    }
}

#[test]
fn limits_of_frames_and_messages_do_not_bind_control_frames() {
    for role in ROLES {
        let scenario = Scenario::open(role).limits(|limits| {
            limits.frame_bytes_max = 0;
            limits.message_bytes_max = 0;
            limits.fragments_max = 0;
        });
        let ping = frame(role.peer(), 0x89, b"ping");
        let answer = frame(role, 0x8a, b"ping");
        scenario.check(&ping, &[Seen::Ping(b"ping".to_vec())], &answer);
        let event = Seen::Close(1000, "bye".to_owned());
        let input = close(role.peer(), 1000, "bye");
        scenario.check(&input, &[event], &close(role, 1000, ""));
    }
}

#[test]
fn fragments_meet_their_limit_empty_or_not() {
    for role in ROLES {
        for payload in [&b""[..], b"x"] {
            let begun = Scenario::open(role).limits(|limits| limits.fragments_max = 3);
            let begun = begun.receives(
                &[
                    frame(role.peer(), 0x01, payload),
                    frame(role.peer(), 0x00, payload),
                ]
                .concat(),
            );
            let third = frame(role.peer(), 0x80, payload);
            let whole = str::from_utf8(payload).unwrap().repeat(3);
            begun.check(&third, &[Seen::text(&whole)], b"");

            let begun = begun.receives(&frame(role.peer(), 0x00, payload));
            let error = ProtocolError::TooManyFragments { max: 3 };
            for first in [0x00, 0x80] {
                let fourth = frame(role.peer(), first, payload);
                begun.check_fails(&fourth, error, 1009);
            }
        }
    }
}

#[test]
fn one_fragment_is_a_whole_message() {
    for role in ROLES {
        let scenario = Scenario::open(role).limits(|limits| limits.fragments_max = 1);
        let input = frame(role.peer(), 0x81, b"whole");
        let twice = [&input[..], &input].concat();
        scenario.check(&twice, &[Seen::text("whole"), Seen::text("whole")], b"");
        let begun = scenario.receives(&frame(role.peer(), 0x01, b"begun"));
        let error = ProtocolError::TooManyFragments { max: 1 };
        begun.check_fails(&frame(role.peer(), 0x80, b""), error, 1009);
    }
}

#[test]
fn endless_empty_fragments_end_at_the_default_limit() {
    for role in ROLES {
        let mut connection = Scenario::open(role).connection();
        let mut first = 0x01;
        for _ in 0..4096 {
            let nothing = feed(&mut connection, START, &[frame(role.peer(), first, b"")]);
            assert_eq!(nothing, (vec![], vec![]));
            first = 0x00;
        }
        let (seen, _) = feed(&mut connection, START, &[frame(role.peer(), 0x00, b"")]);
        let error = ProtocolError::TooManyFragments { max: 4096 };
        assert_eq!(seen, [Seen::Failed(error)]);
    }
}

#[test]
fn what_has_no_place_fails_for_that_whatever_its_size() {
    for role in ROLES {
        let scenario = with_message_bytes(role, 4);
        let input = frame(role.peer(), 0x80, b"too big");
        scenario.check_fails(&input, ProtocolError::UnexpectedContinuation, 1002);
        let begun = scenario.receives(&frame(role.peer(), 0x01, b"1234"));
        let input = frame(role.peer(), 0x81, b"too big");
        begun.check_fails(&input, ProtocolError::ExpectedContinuation, 1002);
    }
}

/// Ways to begin a message and not to end it.
fn begun(role: Role) -> Vec<Vec<u8>> {
    let fragment = frame(role.peer(), 0x01, b"fragment");
    let whole = frame(role.peer(), 0x82, b"whole");
    vec![
        fragment.clone(),
        fragment[..fragment.len() - 1].to_vec(),
        frame(role.peer(), 0x01, b""),
        whole[..whole.len() - 1].to_vec(),
        whole[..whole.len() - 5].to_vec(),
    ]
}

#[test]
fn message_meets_its_time_limit() {
    let after = Duration::from_millis(1500);
    for role in ROLES {
        for begun in begun(role) {
            let scenario = Scenario::open(role).limits(|limits| limits.message_timeout = after);
            let mut connection = scenario.receives(&begun).connection();
            assert_eq!(connection.poll_timeout(), Some(START + after));
            connection.handle_timeout(just_before(START + after));
            assert_eq!(connection.state(), State::Open);
            connection.handle_timeout(START + after);
            let error = ProtocolError::MessageTimeout { after };
            assert_eq!(ended(&connection).cause, Cause::Protocol(error));
            let mut sent = Vec::new();
            connection.poll_transmit(&mut sent);
            let reason = "message was not complete after 1.5 s";
            assert_eq!(sent, close(role, 1008, reason));
            super::assert_over(&mut connection);
        }
    }
}

#[test]
fn fragments_and_control_frames_do_not_prolong_a_message() {
    let after = Duration::from_secs(10);
    for role in ROLES {
        let scenario = Scenario::open(role).limits(|limits| limits.message_timeout = after);
        let begun = scenario.receives(&frame(role.peer(), 0x01, b""));
        let mut connection = begun.connection();
        for second in 1..10 {
            let input = [
                frame(role.peer(), 0x00, b"x"),
                frame(role.peer(), 0x89, b""),
                frame(role.peer(), 0x8a, b""),
            ];
            feed(&mut connection, START + Duration::from_secs(second), &input);
            assert_eq!(connection.poll_timeout(), Some(START + after));
        }
    }
}

#[test]
fn a_message_that_is_complete_has_no_deadline() {
    for role in ROLES {
        let scenario = Scenario::open(role).limits(|limits| limits.ping_interval = None);
        let input = [
            frame(role.peer(), 0x01, b"be"),
            frame(role.peer(), 0x80, b"gun"),
        ];
        let connection = scenario.clone().receives(&input[0]).connection();
        assert_eq!(
            connection.poll_timeout(),
            Some(START + Duration::from_secs(60))
        );
        let connection = scenario.receives(&input.concat()).connection();
        assert_eq!(connection.poll_timeout(), None);
    }
}

#[test]
fn the_nearest_deadline_is_told() {
    for role in ROLES {
        for (message, ping, nearest) in [(5, 6, 5), (7, 6, 6)] {
            let scenario = Scenario::open(role).limits(|limits| {
                limits.message_timeout = Duration::from_secs(message);
                limits.ping_interval = Some(Duration::from_secs(ping));
            });
            let begun = scenario.receives(&frame(role.peer(), 0x01, b"begun"));
            let nearest = START + Duration::from_secs(nearest);
            assert_eq!(begun.connection().poll_timeout(), Some(nearest));
        }
    }
}

/// The default limits with one of them at an end of its range, and with all.
fn extremes() -> Vec<Limits> {
    let changes: [fn(&mut Limits, bool); 8] = [
        |limits, max| limits.message_bytes_max = if max { usize::MAX } else { 0 },
        |limits, max| limits.frame_bytes_max = if max { usize::MAX } else { 0 },
        |limits, max| limits.fragments_max = if max { u32::MAX } else { 0 },
        |limits, max| limits.message_timeout = duration(max),
        |limits, max| limits.ping_interval = Some(duration(max)),
        |limits, max| limits.pong_timeout = duration(max),
        |limits, max| limits.close_timeout = duration(max),
        |limits, max| limits.handshake_timeout = duration(max),
    ];
    let mut found = Vec::new();
    for max in [true, false] {
        let mut all = Limits::default();
        for change in changes {
            let mut one = Limits::default();
            change(&mut one, max);
            change(&mut all, max);
            found.push(one);
        }
        found.push(all);
    }
    found
}

fn duration(max: bool) -> Duration {
    if max { Duration::MAX } else { Duration::ZERO }
}

#[test]
fn no_value_of_a_limit_panics_or_has_deadlines_come_again_and_again() {
    for role in ROLES {
        for (limits, begun) in extremes().iter().flat_map(|limits| {
            let mut inputs = begun(role);
            inputs.push(Vec::new());
            inputs.into_iter().map(move |begun| (limits, begun))
        }) {
            let scenario = Scenario::open(role).limits(|it| *it = limits.clone());
            let mut connection = scenario.connection();
            feed(&mut connection, START, &[begun]);
            for second in 0..200 {
                let now = START + Duration::from_secs(second);
                let mut turns = 0;
                while connection.poll_timeout().is_some_and(|due| due <= now) {
                    connection.handle_timeout(now);
                    connection.poll_transmit(&mut Vec::new());
                    turns += 1;
                    assert!(turns < 10, "{limits:?}");
                }
                if second == 190 {
                    connection.close(now, 1000.into(), "").unwrap();
                }
            }
        }
    }
}

#[test]
fn largest_values_are_no_bound() {
    for role in ROLES {
        let scenario = Scenario::open(role).limits(|limits| {
            limits.message_bytes_max = usize::MAX;
            limits.frame_bytes_max = usize::MAX;
            limits.fragments_max = u32::MAX;
            limits.message_timeout = Duration::MAX;
        });
        let fragments = [
            frame(role.peer(), 0x01, b"be"),
            frame(role.peer(), 0x80, b"gun"),
        ];
        scenario.check(&fragments.concat(), &[Seen::text("begun")], b"");
        let huge = super::declared(role.peer(), 0x82, &(u64::MAX >> 1).to_be_bytes());
        let begun = scenario.receives(&[huge, b"x".repeat(100)].concat());
        assert_eq!(begun.connection().state(), State::Open);
        assert!(begun.connection().held_bytes() < 1000);
    }
}
