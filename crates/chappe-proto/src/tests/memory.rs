//! Memory grows with what the peer has sent, never with what it declared.

use std::borrow::Cow;

use bytes::BufMut;

use crate::frame::{Header, Opcode};
use crate::joining::{Joined, Joining};
use crate::{Connection, Event, Message, Page, Role};

use super::{KEY, ROLES, START, Scenario, declared, frame, masked_frame, pattern};

/// Joins pieces of the one letter `a`: for each fragment the length that it declares and the
/// pieces that arrive of it. Gives the capacity that is held then.
fn capacity_held<'a>(
    opcode: Opcode,
    fragments: impl IntoIterator<Item = (u64, &'a [usize], bool)>,
) -> usize {
    let mut joining: Option<Joining> = None;
    for (length, pieces, fin) in fragments {
        let header = Header {
            fin,
            opcode,
            mask: None,
            length,
        };
        match &mut joining {
            Some(joining) => joining.resume(&header),
            None => joining = Some(Joining::begin(&header, START)),
        }
        for piece in pieces {
            let joining = joining.as_mut().unwrap();
            joining.push(&vec![b'a'; *piece], &mut None).unwrap();
        }
    }
    match joining.unwrap().finish().unwrap() {
        Joined::Text(text) => text.capacity(),
        Joined::Binary(bytes) => bytes.capacity(),
    }
}

#[test]
fn a_declared_length_reserves_nothing() {
    for opcode in [Opcode::Text, Opcode::Binary] {
        for declared in [1 << 20, u64::from(u32::MAX) + 5, (1 << 63) - 1] {
            for fin in [true, false] {
                let held = |pieces| capacity_held(opcode, [(declared, pieces, fin)]);
                assert_eq!(held(&[]), 0);
                assert_eq!(held(&[1]), 1);
                assert!(held(&[1, 1]) <= 4);
                assert_eq!(held(&[1000]), 1000);
                assert!(held(&[1000, 1]) <= 2002);
            }
        }
    }
}

#[test]
fn what_is_held_is_at_most_twice_what_arrived() {
    for opcode in [Opcode::Text, Opcode::Binary] {
        for piece in [1, 2, 7, 64, 1000] {
            for count in 1..200 {
                let received = piece * count;
                let pieces = vec![piece; count];
                let held = capacity_held(opcode, [(1 << 30, &pieces[..], true)]);
                assert!((received..=2 * received).contains(&held), "{held}");
                // A frame each.
                let pieces = [piece];
                let fragments = vec![(piece as u64, &pieces[..], false); count];
                let held = capacity_held(opcode, fragments);
                assert!((received..=2 * received).contains(&held), "{held}");
            }
        }
    }
}

#[test]
fn a_frame_that_is_nearly_complete_is_held_without_waste() {
    for opcode in [Opcode::Text, Opcode::Binary] {
        let held = capacity_held(opcode, [(1000, &[600, 400][..], true)]);
        assert_eq!(held, 1000);
    }
}

#[test]
fn joining_fragments_costs_linear_time() {
    // A megabyte, then a byte in each of 4,000 frames: each may not move the megabyte.
    for opcode in [Opcode::Text, Opcode::Binary] {
        let mut moves = 0;
        let mut last = 0;
        let mut joining: Vec<(u64, &[usize], bool)> = vec![(10_000, &[10_000], false)];
        for _ in 0..1000 {
            joining.push((1, &[1], false));
            let held = capacity_held(opcode, joining.clone());
            moves += usize::from(held != last);
            last = held;
        }
        assert!(moves <= 3, "{moves} moves for 1,000 fragments");
    }
}

#[test]
fn joining_pieces_costs_linear_time() {
    for opcode in [Opcode::Text, Opcode::Binary] {
        let mut moves = 0;
        let mut last = 0;
        for count in 1..2000 {
            let held = capacity_held(opcode, [(1 << 20, &vec![1; count][..], true)]);
            moves += usize::from(held != last);
            last = held;
        }
        assert!(moves <= 16, "{moves} moves for 2,000 bytes");
    }
}

#[test]
fn a_message_given_out_holds_at_most_twice_its_size() {
    for role in ROLES {
        for piece in [1, 3, 100, 4096] {
            let input = frame(role.peer(), 0x82, &pattern(5000));
            let mut connection = Scenario::open(role).connection();
            let mut capacity = 0;
            for piece in input.chunks(piece) {
                let mut piece = piece.to_vec();
                if let (_, Some(Event::Binary(Cow::Owned(bytes)))) =
                    connection.handle_input(START, &mut piece)
                {
                    assert_eq!(bytes, pattern(5000));
                    capacity = bytes.capacity();
                }
            }
            assert!((5000..=10_000).contains(&capacity), "{capacity}");
        }
    }
}

#[test]
fn the_largest_length_within_unlimited_limits_is_waited_for() {
    for role in ROLES {
        let scenario = Scenario::open(role).limits(|limits| limits.message_bytes_max = usize::MAX);
        let length = (u64::MAX >> 1).to_be_bytes();
        let input = [declared(role.peer(), 0x82, &length), vec![1; 50]].concat();
        scenario.check(&input, &[], b"");
    }
}

#[test]
fn an_idle_connection_is_small() {
    // With a box for what it has besides. Grows only on purpose.
    assert!(
        size_of::<crate::Connection>() <= 320,
        "{}",
        size_of::<crate::Connection>()
    );
}

#[test]
fn a_message_that_is_filled_holds_at_most_twice_what_arrived() {
    for role in ROLES {
        for (first, step) in [(0x81, 1), (0x82, 1), (0x82, 7), (0x02, 100), (0x81, 3000)] {
            let payload = vec![b'a'; 20_000];
            let input = frame(role.peer(), first, &payload);
            let header = input.len() - payload.len();
            let mut connection = Scenario::open(role).connection();
            // Some of it comes the usual way; the rest is filled in.
            let mut received = 100;
            let _ = connection.handle_input(START, &mut input[..header + received].to_vec());
            while let Some(mut partial) = connection.lend_partial(1) {
                let held = connection.held_bytes();
                assert_eq!(held, 0, "what is lent is not held");
                received += partial.fill(|room| {
                    let room_bytes = room.remaining_mut();
                    assert!(
                        (1..=received).contains(&room_bytes),
                        "{room_bytes} of {received}"
                    );
                    let length = room_bytes.min(step);
                    room.put_slice(&input[header + received..][..length]);
                    length
                });
                let event = connection.return_partial(START, partial);
                let is_over = received == payload.len();
                assert_eq!(event.is_some(), is_over && first & 0x80 != 0, "{event:?}");
                let held = connection.held_bytes();
                assert!(held <= 2 * received + 250, "{held} for {received}");
            }
            assert_eq!(received, payload.len());
        }
    }
}

#[test]
fn only_a_data_frame_that_goes_on_is_lent() {
    for role in ROLES {
        let peer = role.peer();
        let text = frame(peer, 0x81, &[b'a'; 1000]);
        let header = text.len() - 1000;
        let ping = frame(peer, 0x89, b"ping");
        let begun = frame(peer, 0x01, b"begun");
        for (input, expected) in [
            (&text[..0], [false; 3]),
            (&text[..1], [false; 3]),
            (&text[..header], [false; 3]),
            (&text[..header + 2], [true, false, false]),
            (&text[..header + 10], [true, true, false]),
            (&text[..header + 500], [true; 3]),
            (&text[..header + 501], [true, true, false]),
            (&text[..header + 991], [true, false, false]),
            (&text[..header + 999], [true, false, false]),
            (&text[..], [false; 3]),
            (&begun[..], [false; 3]),
            (&ping[..ping.len() - 2], [false; 3]),
        ] {
            for (bytes_min, expected) in [0, 10, 500].into_iter().zip(expected) {
                let connection = || Scenario::open(role).receives(input).connection();
                let lent = connection().lend_partial(bytes_min).is_some();
                assert_eq!(lent, expected, "{bytes_min} bytes behind {input:02x?}");
            }
        }
    }
}

#[test]
fn a_message_that_was_lent_when_its_connection_ended_is_dropped() {
    for role in ROLES {
        let text = frame(role.peer(), 0x81, &[b'a'; 1000]);
        let (begin, rest) = text.split_at(600);
        let ways: [fn(&mut Connection); 2] = [
            |connection| connection.handle_eof(START),
            |connection| connection.shed(START),
        ];
        for (way, end) in ways.into_iter().enumerate() {
            let mut connection = Scenario::open(role).receives(begin).connection();
            let mut partial = connection.lend_partial(1).expect("some of it is missing");
            end(&mut connection);
            partial.fill(|room| room.put_slice(rest));
            assert_eq!(connection.return_partial(START, partial), None, "way {way}");
            assert_eq!(connection.held_bytes(), 0, "way {way}");
        }
    }
}

/// A message of so many letters, as a server takes it.
fn take(page: &mut Page, letter: u8, length: usize) -> Message {
    let connection = Scenario::open(Role::Server).connection();
    let input = masked_frame(0x81, KEY, &vec![letter; length]);
    let (_, message) = connection.take_message(&input, page).unwrap();
    message
}

#[test]
fn short_messages_stand_one_behind_the_other_and_long_ones_alone() {
    let page = &mut Page::default();
    let first = take(page, b'a', 20);
    let long = take(page, b'b', 1025);
    let second = take(page, b'c', 1024);
    let end = first.as_bytes().as_ptr_range().end;
    assert_eq!(second.as_bytes().as_ptr(), end);
    assert_ne!(long.as_bytes().as_ptr(), end);
}

#[test]
fn messages_that_are_kept_stay_as_they_are() {
    let page = &mut Page::default();
    let mut kept = Vec::new();
    for at in 0..2000 {
        let (letter, length) = (b'a' + (at % 26) as u8, at * 37 % 1200);
        let message = take(page, letter, length);
        if at % 3 == 0 {
            kept.push((message, vec![letter; length]));
        }
    }
    for (message, expected) in kept {
        assert_eq!(message.as_bytes(), &expected);
    }
}

#[test]
fn page_is_used_again_once_none_of_its_messages_is_kept() {
    let page = &mut Page::default();
    let first = take(page, b'a', 1000);
    let start = first.as_bytes().as_ptr();
    let mut begins_again = || {
        let messages = (0..8).map(|_| take(page, b'b', 1000));
        let starts: Vec<_> = messages.map(|it| it.as_bytes().as_ptr()).collect();
        starts.contains(&start)
    };
    assert!(!begins_again(), "its first message is kept");
    let mut page = Page::default();
    let start = take(&mut page, b'a', 1000).as_bytes().as_ptr();
    let starts = (0..4).map(|_| take(&mut page, b'b', 1000).as_bytes().as_ptr());
    assert!(starts.collect::<Vec<_>>().contains(&start));
}
