//! Close frames: their codes and reasons (RFC 6455, sections 5.5.1 and 7.4).

use crate::{CloseCode, ProtocolError, SendError, State};

use super::{ROLES, START, Scenario, Seen, check, check_fails, close, frame, hex};

/// The codes of which the RFC and the registry say something, and the ends of every range.
fn codes() -> impl Iterator<Item = u16> {
    let edges = [0, 1, 125, 999, 1999, 2000, 2999, 3000, 3999, 4000, 4999];
    let beyond = [5000, 9999, 65534, 65535];
    edges.into_iter().chain(beyond).chain(1000..=1020)
}

/// Section 7.4, and IANA's registry for 1012 to 1014.
fn may_be_sent(code: u16) -> bool {
    let defined = [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014,
    ];
    defined.contains(&code) || (3000..5000).contains(&code)
}

fn seen_close(code: u16, reason: &str) -> Seen {
    Seen::Close(code, reason.to_owned())
}

#[test]
fn peer_receives_every_code_that_may_be_sent() {
    for role in ROLES {
        for code in codes().filter(|code| may_be_sent(*code)) {
            for reason in ["", "because", "größer"] {
                let input = close(role.peer(), code, reason);
                // The code is echoed, the reason is not.
                let answer = close(role, code, "");
                check(role, &input, &[seen_close(code, reason)], &answer);
            }
        }
    }
}

#[test]
fn peer_receives_every_code_that_must_not_be_sent() {
    for role in ROLES {
        for code in codes().filter(|code| !may_be_sent(*code)) {
            for reason in ["", "because"] {
                let input = close(role.peer(), code, reason);
                check_fails(role, &input, ProtocolError::InvalidCloseCode { code }, 1002);
            }
        }
    }
}

#[test]
fn application_closes_with_every_code() {
    for role in ROLES {
        for code in codes() {
            let mut connection = Scenario::open(role).connection();
            let result = connection.close(START, CloseCode::from(code), "why");
            let mut sent = Vec::new();
            connection.poll_transmit(&mut sent);
            if may_be_sent(code) {
                assert_eq!(result, Ok(()), "{code}");
                assert_eq!(sent, close(role, code, "why"));
                assert_eq!(connection.state(), State::Closing);
            } else {
                let code = CloseCode::from(code);
                assert_eq!(result, Err(SendError::InvalidCloseCode { code }));
                assert_eq!(sent, b"");
                assert_eq!(connection.state(), State::Open);
            }
        }
    }
}

#[test]
fn application_closes_without_a_code() {
    for role in ROLES {
        let mut connection = Scenario::open(role).connection();
        assert_eq!(connection.close(START, CloseCode::NO_STATUS, ""), Ok(()));
        let mut sent = Vec::new();
        connection.poll_transmit(&mut sent);
        assert_eq!(sent, frame(role, 0x88, b""));
    }
}

#[test]
fn application_closes_with_reasons_of_every_length() {
    for role in ROLES {
        for length in [0, 1, 122, 123] {
            let mut connection = Scenario::open(role).connection();
            let reason = "r".repeat(length);
            assert_eq!(connection.close(START, 3000.into(), &reason), Ok(()));
            let mut sent = Vec::new();
            connection.poll_transmit(&mut sent);
            assert_eq!(sent, close(role, 3000, &reason));
        }
        for length in [124, 125, 70000] {
            let mut connection = Scenario::open(role).connection();
            let reason = "r".repeat(length);
            let result = connection.close(START, 3000.into(), &reason);
            assert_eq!(result, Err(SendError::CloseReasonTooLong { length }));
            assert_eq!(connection.state(), State::Open);
        }
    }
}

#[test]
fn peer_receives_an_empty_close_frame() {
    for role in ROLES {
        let input = frame(role.peer(), 0x88, b"");
        check(
            role,
            &input,
            &[seen_close(1005, "")],
            &frame(role, 0x88, b""),
        );
    }
}

#[test]
fn peer_receives_a_close_frame_of_one_byte() {
    for role in ROLES {
        let input = frame(role.peer(), 0x88, &[0x03]);
        check_fails(role, &input, ProtocolError::CloseFrameTooShort, 1002);
    }
}

#[test]
fn peer_receives_a_close_reason_that_is_not_utf8() {
    for role in ROLES {
        for reason in ["80", "c3", "ed a0 80", "61 f5", "f4 90 80 80", "c0 af"] {
            let payload = [hex("03e8"), hex(reason)].concat();
            let input = frame(role.peer(), 0x88, &payload);
            check_fails(role, &input, ProtocolError::InvalidCloseReason, 1007);
        }
    }
}

#[test]
fn peer_receives_a_bad_close_code_with_a_bad_reason() {
    for role in ROLES {
        let input = frame(role.peer(), 0x88, &hex("03ed ff"));
        let error = ProtocolError::InvalidCloseCode { code: 1005 };
        check_fails(role, &input, error, 1002);
    }
}

#[test]
fn an_invalid_close_is_refused_in_every_state() {
    for role in ROLES {
        let mut connection = Scenario::open(role).closes(1000, "").connection();
        let code = CloseCode::ABNORMAL;
        let result = connection.close(START, code, "");
        assert_eq!(result, Err(SendError::InvalidCloseCode { code }));
        // No status and a reason do not go together.
        let code = CloseCode::NO_STATUS;
        let result = connection.close(START, code, "reason");
        assert_eq!(result, Err(SendError::InvalidCloseCode { code }));
    }
}
