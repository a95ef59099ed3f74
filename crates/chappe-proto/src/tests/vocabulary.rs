//! The words of the crate: codes, names and texts that others see and count on, and time.

use std::time::Duration;

use crate::{
    Cause, CloseCode, CloseFrame, Ended, ProtocolError, Random, Role, SendError, Side, State,
    SystemRandom, Time,
};

/// A rule's name, the code that answers it, and its text.
#[track_caller]
fn assert_says(error: ProtocolError, name: &str, code: u16, text: &str) {
    assert_eq!(error.name(), name);
    assert_eq!(error.close_code(), CloseCode::from(code), "{name}");
    assert_eq!(error.to_string(), text);
    assert!(error.close_code().may_be_sent());
}

#[test]
fn rules_of_frames_have_names_codes_and_texts() {
    use ProtocolError as E;
    let name = "reserved_bits";
    let text = "reserved bits 100 are set, and no extension was agreed";
    assert_says(E::ReservedBits { bits: 4 }, name, 1002, text);
    let text = "reserved bits 001 are set, and no extension was agreed";
    assert_says(E::ReservedBits { bits: 1 }, name, 1002, text);
    let error = E::ReservedOpcode { opcode: 11 };
    assert_says(error, "reserved_opcode", 1002, "opcode 0xb is reserved");
    let sender = Role::Client;
    let text = "frame from a client must be masked";
    assert_says(E::Masking { sender }, "masking", 1002, text);
    let sender = Role::Server;
    let text = "frame from a server must not be masked";
    assert_says(E::Masking { sender }, "masking", 1002, text);
    let error = E::LengthNotMinimal { length: 5 };
    let text = "length 5 is not in its shortest form";
    assert_says(error, "length_not_minimal", 1002, text);
    let text = "length of 2^63 or more";
    assert_says(E::LengthOutOfRange, "length_out_of_range", 1002, text);
    let name = "control_frame_fragmented";
    let text = "control frame must not be fragmented";
    assert_says(E::ControlFrameFragmented, name, 1002, text);
    let name = "control_frame_too_long";
    let text = "control frame exceeds 125 bytes";
    assert_says(E::ControlFrameTooLong, name, 1002, text);
}

#[test]
fn rules_of_messages_and_close_frames_have_names_codes_and_texts() {
    use ProtocolError as E;
    let name = "unexpected_continuation";
    let text = "continuation of no message";
    assert_says(E::UnexpectedContinuation, name, 1002, text);
    let name = "expected_continuation";
    let text = "new message before the last one was complete";
    assert_says(E::ExpectedContinuation, name, 1002, text);
    assert_says(E::InvalidUtf8, "invalid_utf8", 1007, "text is not UTF-8");
    let (name, text) = ("close_frame_too_short", "close frame of one byte");
    assert_says(E::CloseFrameTooShort, name, 1002, text);
    let error = E::InvalidCloseCode { code: 1005 };
    let text = "close code 1005 must not be sent";
    assert_says(error, "invalid_close_code", 1002, text);
    let (name, text) = ("invalid_close_reason", "close reason is not UTF-8");
    assert_says(E::InvalidCloseReason, name, 1007, text);
}

#[test]
fn limits_have_names_codes_and_texts() {
    use ProtocolError as E;
    let after = Duration::from_millis(2500);
    let error = E::FrameTooBig { length: 6, max: 5 };
    let text = "frame of 6 bytes exceeds the limit of 5";
    assert_says(error, "frame_too_big", 1009, text);
    let (length, max) = (70_000, 65_536);
    let text = "message of 70000 bytes exceeds the limit of 65536";
    let error = E::MessageTooBig { length, max };
    assert_says(error, "message_too_big", 1009, text);
    let text = "message has more than 3 fragments";
    let error = E::TooManyFragments { max: 3 };
    assert_says(error, "too_many_fragments", 1009, text);
    let text = "message was not complete after 2.5 s";
    assert_says(E::MessageTimeout { after }, "message_timeout", 1008, text);
    let text = "ping was not answered within 2.5 s";
    assert_says(E::PongTimeout { after }, "pong_timeout", 1011, text);
}

#[test]
fn the_longest_texts_fit_a_close_frame() {
    let (length, max, after) = (u64::MAX, usize::MAX, Duration::MAX);
    for error in [
        ProtocolError::LengthNotMinimal { length },
        ProtocolError::FrameTooBig { length, max },
        ProtocolError::MessageTooBig { length, max },
        ProtocolError::TooManyFragments { max: u32::MAX },
        ProtocolError::MessageTimeout { after },
        ProtocolError::PongTimeout { after },
        ProtocolError::MessageTimeout {
            after: Duration::from_nanos(1),
        },
    ] {
        assert!(error.to_string().len() <= 123, "{error}");
    }
}

#[test]
fn send_errors_say_what_to_do() {
    let not_open = SendError::NotOpen {
        state: State::Closing,
    };
    assert_eq!(not_open.to_string(), "connection is CLOSING, not OPEN");
    let code = SendError::InvalidCloseCode {
        code: CloseCode::ABNORMAL,
    };
    assert_eq!(
        code.to_string(),
        "close code 1006 (no close frame) must not be sent; use 1000, or 3000 to 4999"
    );
    let reason = SendError::CloseReasonTooLong { length: 124 };
    assert_eq!(
        reason.to_string(),
        "close reason of 124 bytes exceeds the limit of 123"
    );
}

#[test]
fn states_have_the_names_of_the_rfc() {
    let states = [
        (State::Connecting, "CONNECTING"),
        (State::Open, "OPEN"),
        (State::Closing, "CLOSING"),
        (State::Closed, "CLOSED"),
    ];
    for (state, name) in states {
        assert_eq!(state.to_string(), name);
    }
}

#[test]
fn close_codes_have_numbers_and_meanings() {
    let codes = [
        (CloseCode::NORMAL, "1000 (normal closure)"),
        (CloseCode::GOING_AWAY, "1001 (going away)"),
        (CloseCode::PROTOCOL_ERROR, "1002 (protocol error)"),
        (CloseCode::UNSUPPORTED_DATA, "1003 (unsupported data)"),
        (CloseCode::NO_STATUS, "1005 (no code in the close frame)"),
        (CloseCode::ABNORMAL, "1006 (no close frame)"),
        (CloseCode::INVALID_PAYLOAD, "1007 (invalid payload data)"),
        (CloseCode::POLICY_VIOLATION, "1008 (policy violation)"),
        (CloseCode::TOO_BIG, "1009 (message too big)"),
        (CloseCode::EXTENSION_REQUIRED, "1010 (extension required)"),
        (CloseCode::INTERNAL_ERROR, "1011 (internal error)"),
        (CloseCode::SERVICE_RESTART, "1012 (service restart)"),
        (CloseCode::TRY_AGAIN_LATER, "1013 (try again later)"),
        (CloseCode::BAD_GATEWAY, "1014 (bad gateway)"),
        (CloseCode::TLS_HANDSHAKE, "1015 (TLS handshake failed)"),
        (CloseCode::from(3000), "3000 (registered with IANA)"),
        (CloseCode::from(3999), "3999 (registered with IANA)"),
        (CloseCode::from(4000), "4000 (private use)"),
        (CloseCode::from(4999), "4999 (private use)"),
        (CloseCode::from(1004), "1004 (not a valid code)"),
        (CloseCode::from(5000), "5000 (not a valid code)"),
    ];
    for (code, text) in codes {
        assert_eq!(code.to_string(), text);
        assert_eq!(u16::from(code).to_string(), text[..4]);
    }
}

#[test]
fn close_codes_may_be_sent_or_not() {
    for code in 0..=u16::MAX {
        let defined = matches!(code, 1000..=1014) && !matches!(code, 1004..=1006);
        let expected = defined || (3000..5000).contains(&code);
        assert_eq!(CloseCode::from(code).may_be_sent(), expected, "{code}");
    }
}

fn close_frame(code: CloseCode, reason: &str) -> CloseFrame {
    let reason = reason.to_owned();
    CloseFrame { code, reason }
}

#[test]
fn ends_are_told_in_a_line() {
    let (sent, received) = (
        close_frame(CloseCode::NORMAL, ""),
        close_frame(CloseCode::from(4000), "\"bye\"\r\nforged \u{1b}[31mline"),
    );
    let end = |by, cause| Ended {
        by,
        cause,
        sent: Some(sent.clone()),
        received: Some(received.clone()),
    };
    let rows = [
        (
            end(Side::Local, Cause::ClosingHandshake),
            "closed by this side: 1000 (normal closure)",
        ),
        (
            end(Side::Peer, Cause::ClosingHandshake),
            r#"closed by the peer: 4000 (private use): "\"bye\"\r\nforged \u{1b}[31mline""#,
        ),
        (
            end(Side::Local, Cause::Protocol(ProtocolError::InvalidUtf8)),
            "protocol error: text is not UTF-8",
        ),
        (
            end(Side::Local, Cause::CloseTimeout),
            "close frame was not answered in time",
        ),
        (
            end(Side::Peer, Cause::Eof),
            "stream ended without a close frame",
        ),
    ];
    for (ended, text) in rows {
        assert_eq!(ended.to_string(), text);
        assert_eq!(ended.is_clean(), text.starts_with("closed by"));
    }
    assert_eq!(Cause::ClosingHandshake.to_string(), "closing handshake");
}

#[test]
fn time_is_counted_in_nanoseconds_and_stays_in_range() {
    let time = Time::from_nanos(1_000);
    assert_eq!((time + Duration::from_micros(2)).as_nanos(), 3_000);
    assert_eq!((time + Duration::MAX).as_nanos(), u64::MAX - 1);
    assert_eq!(
        Time::from_nanos(u64::MAX) + Duration::from_nanos(1),
        Time::from_nanos(u64::MAX)
    );
    assert_eq!(Time::from_nanos(3_000) - time, Duration::from_micros(2));
    assert_eq!(time - Time::from_nanos(3_000), Duration::ZERO);
    assert!(Time::ZERO < time);
}

#[test]
fn roles_are_each_others_peers() {
    assert_eq!(Role::Client.peer(), Role::Server);
    assert_eq!(Role::Server.peer(), Role::Client);
}

#[test]
fn the_system_gives_no_bytes_twice() {
    // Across the pool's end, at every offset, and above its size.
    let mut drawn: Vec<[u8; 16]> = Vec::new();
    for length in [16, 1008, 17, 1024, 1025, 33, 5000, 1023, 16] {
        let mut bytes = vec![0; length];
        SystemRandom.fill(&mut bytes);
        drawn.extend(
            bytes
                .chunks_exact(16)
                .map(|chunk| <[u8; 16]>::try_from(chunk).unwrap()),
        );
    }
    let count = drawn.len();
    drawn.sort_unstable();
    drawn.dedup();
    assert_eq!(drawn.len(), count);
}
