//! Text is UTF-8, and fails as soon as it can't be (RFC 6455, section 8.1).

use bytes::Bytes;

use crate::utf8::{self, Utf8Checker};
use crate::{ProtocolError, Utf8Bytes};

use super::{ROLES, Scenario, Seen, check, check_fails, frame, hex};

/// Ends of every range of UTF-8, and some text people write.
const VALID: [&str; 12] = [
    "\u{0}",
    "\u{7f}\u{80}",
    "\u{7ff}\u{800}",
    "\u{d7ff}\u{e000}",
    "\u{fffd}\u{fffe}\u{ffff}",
    "\u{10000}",
    "\u{10ffff}",
    "a\u{10348}b",
    "κόσμε",
    "grüezi",
    "漢字",
    "👩‍🚀",
];

/// Bytes of which the last is the first that can't belong to UTF-8.
const IMPOSSIBLE: [&str; 36] = [
    "80",
    "bf",
    "c0", // overlong forms
    "c1",
    "e0 80",
    "e0 9f",
    "f0 80",
    "f0 8f",
    "ed a0", // surrogates
    "ed bf",
    "f4 90", // above U+10FFFF
    "f4 bf",
    "f5",
    "f7",
    "f8",
    "fb",
    "fc",
    "fd",
    "fe",
    "ff",
    "c2 00", // no continuation where one is needed
    "c2 c2",
    "df 7f",
    "e1 7f",
    "e2 82 28",
    "ef bf c0",
    "f0 28",
    "f0 9f 98 28",
    "f1 80 ff",
    "f4 8f bf 7f",
    "61 80", // behind good characters
    "c3 bc bc",
    "e2 82 ac ff",
    "f0 9f 98 80 80",
    "ce ba e1 bd b9 cf 83 ce bc ce b5 ed a0",
    "68 65 6c 6c 6f 20 77 6f 72 6c 64 20 c3 bc 20 68 65 6c 6c 6f 20 c0",
];

/// Text that ends amid a character.
const INCOMPLETE: [&str; 10] = [
    "c2",
    "df",
    "e0 a0",
    "e1",
    "ed 9f",
    "ef bf",
    "f0 90",
    "f0 9f 98",
    "f4 8f bf",
    "61 62 e2 82",
];

#[test]
fn peer_receives_valid_text() {
    for role in ROLES {
        for text in VALID {
            let input = frame(role.peer(), 0x81, text.as_bytes());
            check(role, &input, &[Seen::text(text)], b"");
        }
    }
}

#[test]
fn peer_receives_valid_text_fragmented_at_every_byte_with_pings_between() {
    for role in ROLES {
        for text in VALID {
            let bytes = text.as_bytes();
            for at in 0..=bytes.len() {
                let input = [
                    frame(role.peer(), 0x01, &bytes[..at]),
                    frame(role.peer(), 0x89, &[0xff]),
                    frame(role.peer(), 0x80, &bytes[at..]),
                ];
                let events = [Seen::Ping(vec![0xff]), Seen::text(text)];
                check(role, &input.concat(), &events, &frame(role, 0x8a, &[0xff]));
            }
        }
    }
}

#[test]
fn peer_receives_valid_text_in_fragments_of_one_byte() {
    for role in ROLES {
        for text in VALID {
            let mut input = frame(role.peer(), 0x01, b"");
            for byte in text.bytes() {
                input.extend(frame(role.peer(), 0x00, &[byte]));
            }
            input.extend(frame(role.peer(), 0x80, b""));
            check(role, &input, &[Seen::text(text)], b"");
        }
    }
}

#[test]
fn peer_receives_invalid_text() {
    for role in ROLES {
        for bytes in IMPOSSIBLE.map(hex) {
            let input = frame(role.peer(), 0x81, &[&bytes[..], b" and more"].concat());
            check_fails(role, &input, ProtocolError::InvalidUtf8, 1007);
        }
    }
}

#[test]
fn peer_receives_invalid_text_and_fails_before_the_frame_ends() {
    for role in ROLES {
        for bytes in IMPOSSIBLE.map(hex) {
            let frame = frame(role.peer(), 0x81, &[&bytes[..], b" and more"].concat());
            let end = frame.len() - 9;
            check(role, &frame[..end - 1], &[], b"");
            check_fails(role, &frame[..end], ProtocolError::InvalidUtf8, 1007);
        }
    }
}

#[test]
fn peer_receives_invalid_text_fragmented_at_every_byte() {
    for role in ROLES {
        for bytes in IMPOSSIBLE.map(hex) {
            for at in 0..bytes.len() {
                let begun = [
                    frame(role.peer(), 0x01, &bytes[..at]),
                    frame(role.peer(), 0x8a, b"pong"),
                ];
                let begun = Scenario::open(role).receives(&begun.concat());
                // The second fragment declares more, and is not the last.
                let rest = [&bytes[at..], b" and more"].concat();
                let rest = frame(role.peer(), 0x00, &rest);
                let end = rest.len() - 9;
                begun.check(&rest[..end - 1], &[], b"");
                begun.check_fails(&rest[..end], ProtocolError::InvalidUtf8, 1007);
            }
        }
    }
}

#[test]
fn peer_receives_text_that_ends_amid_a_character() {
    for role in ROLES {
        for bytes in INCOMPLETE.map(hex) {
            let whole = frame(role.peer(), 0x81, &bytes);
            check(role, &whole[..whole.len() - 1], &[], b"");
            check_fails(role, &whole, ProtocolError::InvalidUtf8, 1007);

            let begun = Scenario::open(role).receives(&frame(role.peer(), 0x01, &bytes));
            let last = frame(role.peer(), 0x80, b"");
            begun.check(&last[..last.len() - 1], &[], b"");
            begun.check_fails(&last, ProtocolError::InvalidUtf8, 1007);
        }
    }
}

#[test]
fn text_starts_anew_with_every_message() {
    for role in ROLES {
        // The first message ends with a whole character, the second may not complete anything.
        let begun = [
            frame(role.peer(), 0x01, &hex("c3")),
            frame(role.peer(), 0x80, &hex("bc")),
        ];
        let begun = Scenario::open(role).receives(&begun.concat());
        let input = frame(role.peer(), 0x81, &hex("bc"));
        begun.check_fails(&input, ProtocolError::InvalidUtf8, 1007);
    }
}

#[test]
fn binary_may_hold_anything() {
    for role in ROLES {
        for bytes in IMPOSSIBLE.iter().chain(&INCOMPLETE).map(|row| hex(row)) {
            let input = frame(role.peer(), 0x82, &bytes);
            check(role, &input, &[Seen::Binary(bytes)], b"");
        }
    }
}

#[test]
fn checker_fails_at_the_byte_and_not_before() {
    for bytes in IMPOSSIBLE.map(hex) {
        let (last, good) = bytes.split_last().unwrap();
        let mut checker = Utf8Checker::default();
        for byte in good {
            assert_eq!(checker.check(&[*byte]), Ok(()));
        }
        assert_eq!(checker.check(&[]), Ok(()));
        assert_eq!(checker.check(&[*last]), Err(utf8::InvalidUtf8));
        assert_eq!(utf8::check(&bytes), Err(utf8::InvalidUtf8));
    }
}

#[test]
fn checker_is_complete_between_characters() {
    let mut checker = Utf8Checker::default();
    assert!(checker.is_complete());
    for (byte, complete) in [
        (0x61, true),
        (0xc3, false),
        (0xbc, true),
        (0xf0, false),
        (0x9f, false),
        (0x98, false),
        (0x80, true),
    ] {
        assert_eq!(checker.check(&[byte]), Ok(()));
        assert_eq!(checker.is_complete(), complete);
    }
}

#[test]
fn shared_text_is_made_from_text_and_from_checked_bytes() {
    let text = Utf8Bytes::from("grüezi");
    assert_eq!(text, *"grüezi");
    assert_eq!(text, "grüezi");
    assert_ne!(text, "gruezi");
    assert_ne!(text, *"gruezi");
    assert_eq!(text, Utf8Bytes::from(String::from("grüezi")));
    assert_eq!(text, Utf8Bytes::from_static("grüezi"));
    assert_eq!(text.as_str(), "grüezi");
    assert_eq!(text.to_string(), "grüezi");
    assert_eq!(format!("{text:?}"), "\"grüezi\"");
    assert_eq!(<Utf8Bytes as AsRef<str>>::as_ref(&text), "grüezi");
    assert_eq!(
        <Utf8Bytes as AsRef<[u8]>>::as_ref(&text),
        "grüezi".as_bytes()
    );
    assert_eq!(text.as_bytes(), "grüezi".as_bytes());
    assert_eq!(text.clone().into_bytes(), "grüezi".as_bytes());
    assert_eq!(
        Utf8Bytes::try_from(Bytes::from_static(b"gr\xc3\xbcezi")),
        Ok(text)
    );
    for bytes in IMPOSSIBLE.iter().chain(&INCOMPLETE).map(|row| hex(row)) {
        assert!(Utf8Bytes::try_from(Bytes::from(bytes)).is_err());
    }
    assert_eq!(Utf8Bytes::default(), "");
}
