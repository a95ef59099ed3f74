//! Frame headers (RFC 6455, section 5.2).

use crate::frame::{self, HEADER_BYTES_MAX, Header, Opcode};
use crate::{Message, Page, ProtocolError, Role};

use super::{
    ROLES, START, Scenario, Seen, check, check_fails, close, declared, frame, hex, is_borrowed,
    pattern,
};

/// Payload lengths, and how a server's header says them behind its first byte.
const LENGTHS: [(usize, &str); 8] = [
    (0, "00"),
    (1, "01"),
    (125, "7d"),
    (126, "7e 007e"),
    (127, "7e 007f"),
    (65535, "7e ffff"),
    (65536, "7f 00000000 00010000"),
    (65537, "7f 00000000 00010001"),
];

#[test]
fn client_receives_binary_of_every_form_of_length() {
    for (length, form) in LENGTHS {
        let payload = pattern(length);
        let input = [hex("82"), hex(form), payload.clone()].concat();
        check(Role::Client, &input, &[Seen::Binary(payload)], b"");
    }
}

#[test]
fn server_receives_binary_of_every_form_of_length() {
    for (length, form) in LENGTHS {
        let payload = pattern(length);
        let input = frame(Role::Client, 0x82, &payload);
        let mut header = [hex("82"), hex(form), hex("37fa213d")].concat();
        header[1] |= 0x80;
        assert_eq!(input[..header.len()], header);
        check(Role::Server, &input, &[Seen::Binary(payload)], b"");
    }
}

#[test]
fn client_receives_the_texts_of_the_rfc() {
    // Section 5.7.
    let hello = [Seen::text("Hello")];
    check(Role::Client, &hex("81 05 48656c6c6f"), &hello, b"");
    check(Role::Client, &hex("01 03 48656c 80 02 6c6f"), &hello, b"");
}

#[test]
fn server_receives_the_masked_text_of_the_rfc() {
    let hello = [Seen::text("Hello")];
    let input = hex("81 85 37fa213d 7f9f4d5158");
    check(Role::Server, &input, &hello, b"");
}

#[test]
fn peer_receives_messages_behind_one_another() {
    for role in ROLES {
        let input = [
            frame(role.peer(), 0x81, b"one"),
            frame(role.peer(), 0x82, b""),
            frame(role.peer(), 0x82, b"two"),
            frame(role.peer(), 0x81, b""),
        ];
        let events = [
            Seen::text("one"),
            Seen::Binary(vec![]),
            Seen::Binary(b"two".to_vec()),
            Seen::text(""),
        ];
        check(role, &input.concat(), &events, b"");
    }
}

#[test]
fn peer_receives_length_of_16_bits_that_fits_7() {
    for role in ROLES {
        for length in [0_u16, 1, 125] {
            let input = declared(role.peer(), 0x82, &length.to_be_bytes());
            let length = length.into();
            check_fails(
                role,
                &input,
                ProtocolError::LengthNotMinimal { length },
                1002,
            );
        }
    }
}

#[test]
fn peer_receives_length_of_64_bits_that_fits_16() {
    for role in ROLES {
        for length in [0_u64, 125, 126, 65535] {
            let input = declared(role.peer(), 0x82, &length.to_be_bytes());
            check_fails(
                role,
                &input,
                ProtocolError::LengthNotMinimal { length },
                1002,
            );
        }
    }
}

#[test]
fn peer_receives_length_of_2_to_the_63rd_and_fails_at_its_first_byte() {
    for role in ROLES {
        for length in [1_u64 << 63, u64::MAX, 1 << 63 | 5] {
            let input = declared(role.peer(), 0x82, &length.to_be_bytes());
            check(role, &input[..2], &[], b"");
            for end in 3..=input.len() {
                check_fails(role, &input[..end], ProtocolError::LengthOutOfRange, 1002);
            }
        }
    }
}

#[test]
fn peer_receives_length_far_above_the_limit() {
    for role in ROLES {
        for length in [(1_u64 << 63) - 1, (1 << 32) + 5, 1 << 32, u64::MAX >> 8] {
            let input = declared(role.peer(), 0x82, &length.to_be_bytes());
            let max = 1024 * 1024;
            check_fails(
                role,
                &input,
                ProtocolError::MessageTooBig { length, max },
                1009,
            );
        }
    }
}

#[test]
fn peer_receives_no_more_than_a_header() {
    for role in ROLES {
        for (length, _) in LENGTHS {
            let input = frame(role.peer(), 0x82, &pattern(length));
            let header = input.len() - length;
            for end in 0..header {
                check(role, &input[..end], &[], b"");
            }
        }
    }
}

#[test]
fn peer_receives_reserved_bits() {
    for role in ROLES {
        for bits in 1..=7 {
            // Text, a message's last and an unfinished frame, continuation, close, ping, pong.
            for first in [0x81, 0x82, 0x01, 0x80, 0x88, 0x89, 0x8a] {
                let input = frame(role.peer(), first | bits << 4, b"");
                let error = ProtocolError::ReservedBits { bits };
                check_fails(role, &input[..1], error, 1002);
                check_fails(role, &input, error, 1002);
            }
        }
    }
}

#[test]
fn peer_receives_reserved_bits_on_a_continuation() {
    for role in ROLES {
        let begun = Scenario::open(role).receives(&frame(role.peer(), 0x01, b"He"));
        let input = frame(role.peer(), 0xc0, b"llo");
        begun.check_fails(&input, ProtocolError::ReservedBits { bits: 4 }, 1002);
    }
}

#[test]
fn peer_receives_reserved_opcodes() {
    for role in ROLES {
        for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
            for fin in [0x80, 0x00] {
                let input = frame(role.peer(), fin | opcode, b"payload");
                let error = ProtocolError::ReservedOpcode { opcode };
                check_fails(role, &input[..1], error, 1002);
                check_fails(role, &input, error, 1002);
            }
        }
    }
}

#[test]
fn peer_receives_good_messages_before_a_bad_frame() {
    for role in ROLES {
        let input = [
            frame(role.peer(), 0x81, b"good"),
            frame(role.peer(), 0x83, b"bad"),
        ];
        let error = ProtocolError::ReservedOpcode { opcode: 3 };
        check(
            role,
            &input.concat(),
            &[Seen::text("good"), Seen::Failed(error)],
            &close(role, 1002, "opcode 0x3 is reserved"),
        );
    }
}

#[test]
fn message_in_one_piece_is_lent_and_not_copied() {
    for role in ROLES {
        for first in [0x81, 0x82] {
            let mut connection = Scenario::open(role).connection();
            let mut input = frame(role.peer(), first, b"lent");
            let range = input.as_ptr_range();
            let length = input.len();
            let (consumed, event) = connection.handle_input(START, &mut input);
            assert_eq!(consumed, length);
            let event = event.unwrap();
            assert!(is_borrowed(&event));
            let payload = match &event {
                crate::Event::Text(text) => text.as_ptr(),
                crate::Event::Binary(bytes) => bytes.as_ptr(),
                other => panic!("{other:?}"),
            };
            assert!(range.contains(&payload));
        }
    }
}

#[test]
fn message_is_taken_only_where_it_is_whole_and_in_order() {
    for role in ROLES {
        let peer = role.peer();
        let whole = frame(peer, 0x81, "grüezi".as_bytes());
        let more = [&whole[..], &frame(peer, 0x89, b"")].concat();
        let mut page = Page::default();
        let mut take = |scenario: &Scenario, input: &[u8]| {
            let connection = scenario.connection();
            connection.take_message(input, &mut page)
        };
        let open = Scenario::open(role);
        let expected = (whole.len(), Message::from("grüezi"));
        assert_eq!(take(&open, &whole), Some(expected.clone()));
        assert_eq!(take(&open, &more), Some(expected));
        for end in 0..whole.len() {
            assert_eq!(take(&open, &whole[..end]), None, "of {end} bytes");
        }
        let others = [
            frame(peer, 0x89, b"ping"),
            frame(peer, 0x01, b"fragment"),
            frame(peer, 0x80, b"continuation"),
            frame(peer, 0xc1, b"reserved bit"),
            frame(role, 0x81, b"masking of the other side"),
            frame(peer, 0x81, b"not UTF-8: \xff"),
        ];
        for other in others {
            assert_eq!(take(&open, &other), None, "{other:02x?}");
        }
        let amid = Scenario::open(role).receives(&frame(peer, 0x01, b"fragment"));
        assert_eq!(take(&amid, &whole), None, "amid a message");
        let over = Scenario::open(role).receives(&close(peer, 1000, ""));
        assert_eq!(take(&over, &whole), None, "after a close frame");
        let small = Scenario::open(role).limits(|limits| limits.message_bytes_max = 6);
        assert_eq!(take(&small, &whole), None, "above the limit");
    }
}

#[test]
fn header_is_read_back_as_it_was_written() {
    let opcodes = [
        (Opcode::Continuation, 0),
        (Opcode::Text, 1),
        (Opcode::Binary, 2),
        (Opcode::Close, 8),
        (Opcode::Ping, 9),
        (Opcode::Pong, 10),
    ];
    for (opcode, bits) in opcodes {
        for (mask, sender) in [
            (Some([1, 2, 3, 4]), Role::Client),
            (Some([0; 4]), Role::Client),
            (None, Role::Server),
        ] {
            for length in [0, 1, 125, 126, 65535, 65536, (1 << 63) - 1] {
                for fin in [true, false] {
                    if opcode.is_control() && (length > 125 || !fin) {
                        continue;
                    }
                    let mut bytes = Vec::new();
                    frame::put_header(opcode, length, mask, &mut bytes);
                    assert_eq!(bytes[0], 0x80 | bits);
                    if !fin {
                        bytes[0] = bits;
                    }
                    let length = length as u64;
                    let header = Header {
                        fin,
                        opcode,
                        mask,
                        length,
                    };
                    assert!(bytes.len() <= HEADER_BYTES_MAX);
                    assert_decodes(&bytes, sender, header);
                }
            }
        }
    }
}

/// Every prefix of a header is incomplete, and what follows a header is not looked at.
#[track_caller]
fn assert_decodes(bytes: &[u8], sender: Role, header: Header) {
    for end in 0..bytes.len() {
        assert_eq!(Header::decode(&bytes[..end], sender), Ok(None), "{end}");
    }
    let found = Ok(Some((header, bytes.len())));
    assert_eq!(Header::decode(bytes, sender), found);
    let more = [bytes, &[0xff; 20]].concat();
    assert_eq!(Header::decode(&more, sender), found);
}
