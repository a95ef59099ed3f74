//! Masking (RFC 6455, sections 5.1 and 5.3).

use crate::mask::Mask;
use crate::{ProtocolError, Role};

use super::{KEY, Scenario, Seen, check, check_fails, frame, hex, masked_frame};

#[test]
fn server_receives_unmasked_text() {
    let sender = Role::Client;
    let error = ProtocolError::Masking { sender };
    check(
        Role::Server,
        &hex("81 04 5370616d"),
        &[Seen::Failed(error)],
        &[
            hex("88 24 03ea"),
            b"frame from a client must be masked".to_vec(),
        ]
        .concat(),
    );
}

#[test]
fn client_receives_masked_text() {
    let sender = Role::Server;
    let error = ProtocolError::Masking { sender };
    let input = hex("81 84 00000000 5370616d");
    check_fails(Role::Client, &input, error, 1002);
}

#[test]
fn wrong_masking_fails_at_the_second_byte_of_every_kind_of_frame() {
    for (role, second) in [(Role::Server, 0x00), (Role::Client, 0x80)] {
        let error = ProtocolError::Masking {
            sender: role.peer(),
        };
        for first in [0x81, 0x82, 0x01, 0x02, 0x80, 0x00, 0x88, 0x89, 0x8a] {
            check(role, &[first], &[], b"");
            for length in [0, 1, 125, 126, 127] {
                check_fails(role, &[first, second | length], error, 1002);
            }
        }
    }
}

#[test]
fn server_receives_an_unmasked_frame_amid_a_message() {
    let begun = Scenario::open(Role::Server).receives(&frame(Role::Client, 0x01, b"He"));
    let sender = Role::Client;
    let error = ProtocolError::Masking { sender };
    begun.check_fails(&frame(Role::Server, 0x80, b"llo"), error, 1002);
    begun.check_fails(&frame(Role::Server, 0x89, b""), error, 1002);
}

#[test]
fn server_receives_text_under_a_key_of_zeros() {
    let input = hex("81 84 00000000 5370616d");
    check(Role::Server, &input, &[Seen::text("Spam")], b"");
}

#[test]
fn server_receives_another_key_with_every_frame() {
    let input = [
        masked_frame(0x01, [1, 2, 3, 4], b"Lorem ipsu"),
        masked_frame(0x89, [0xff, 0, 0xff, 0], b"ping"),
        masked_frame(0x00, [0, 0, 0, 0], b"m dolor"),
        masked_frame(0x00, KEY, b""),
        masked_frame(0x80, [0x80, 0x7f, 0x13, 0xa9], b" sit amet"),
    ];
    let events = [
        Seen::Ping(b"ping".to_vec()),
        Seen::text("Lorem ipsum dolor sit amet"),
    ];
    let pong = hex("8a 04 70696e67");
    check(Role::Server, &input.concat(), &events, &pong);
}

#[test]
fn server_unmasks_in_place_and_nothing_beyond_the_frame() {
    let mut connection = Scenario::open(Role::Server).connection();
    let next = masked_frame(0x81, [9, 9, 9, 9], b"next");
    let mut input = [frame(Role::Client, 0x81, b"first"), next.clone()].concat();
    let (consumed, _) = connection.handle_input(super::START, &mut input);
    assert_eq!(consumed, 11);
    assert_eq!(input[6..11], *b"first");
    assert_eq!(input[11..], next);
}

#[test]
fn copy_is_ascii_unless_it_has_a_byte_that_is_not() {
    for length in 0..70 {
        let mut copy = vec![0; length];
        let mut masked = vec![b'a'; length];
        Mask::new(KEY).apply(&mut masked);
        assert!(Mask::new(KEY).copy(&masked, &mut copy), "{length} bytes");
        assert_eq!(copy, vec![b'a'; length]);
        for at in 0..length {
            let mut masked = masked.clone();
            masked[at] ^= 0x80;
            let is_ascii = Mask::new(KEY).copy(&masked, &mut copy);
            assert!(!is_ascii, "byte {at} of {length} is not");
            assert_eq!(copy[at], b'a' ^ 0x80);
        }
    }
}

#[test]
fn mask_turns_with_every_byte() {
    let mut mask = Mask::new(KEY);
    let mut bytes = *b"Hello";
    mask.apply(&mut bytes);
    assert_eq!(bytes[..], hex("7f9f4d5158"));
    assert_eq!(mask, Mask::new([0xfa, 0x21, 0x3d, 0x37]));
    mask.apply(&mut []);
    assert_eq!(mask, Mask::new([0xfa, 0x21, 0x3d, 0x37]));
    let mut bytes = [0; 11];
    mask.apply(&mut bytes);
    assert_eq!(bytes[..], hex("fa213d37 fa213d37 fa213d"));
    assert_eq!(mask, Mask::new(KEY));
}
