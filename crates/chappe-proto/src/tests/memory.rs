//! Memory grows with what the peer has sent, never with what it declared.

use std::borrow::Cow;

use crate::Event;
use crate::frame::{Header, Opcode};
use crate::message::{Joined, Joining};

use super::{ROLES, START, Scenario, declared, frame, pattern};

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
