//! Frames that stand one behind the other: what a range covers, beside a copy of it.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::chunk::{ChunkWriter, FrameRange};
use crate::{Prepared, SharedFrame};

use super::pattern;
use super::properties::config;

/// A range, and a copy of what it has to be.
#[derive(Clone)]
struct Held {
    range: FrameRange,
    copy: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Step {
    Put { header: usize, payload: usize },
    Clone(usize),
    Extend(usize, usize),
    Advance(usize, usize),
    Drop(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let index = 0..8_usize;
    prop_oneof![
        6 => (0..15_usize, 0..600_usize).prop_map(|(header, payload)| Step::Put { header, payload }),
        1 => index.clone().prop_map(Step::Clone),
        4 => (index.clone(), index.clone()).prop_map(|(first, next)| Step::Extend(first, next)),
        1 => (index.clone(), 0..600_usize).prop_map(|(index, bytes)| Step::Advance(index, bytes)),
        4 => index.prop_map(Step::Drop),
    ]
}

proptest! {
    #![proptest_config(config(2000))]

    /// Ranges are taken, joined, cut and dropped in any order: each one reads as its copy does,
    /// whatever was written meanwhile.
    #[test]
    fn what_a_range_covers_never_changes(steps in vec(step(), 1..200)) {
        let mut writer = ChunkWriter::default();
        let mut held: Vec<Held> = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            let count = held.len().max(1);
            let at = |index: usize| index % count;
            match step {
                Step::Put { header, payload } => {
                    let bytes: Vec<u8> = pattern(header + payload).iter().map(|byte| byte ^ number as u8).collect();
                    let range = writer.put([&bytes[..header], &bytes[header..]]);
                    held.push(Held { range, copy: bytes });
                }
                _ if held.is_empty() => {}
                Step::Clone(index) => held.push(held[at(index)].clone()),
                Step::Extend(first, next) => {
                    let (first, next) = (at(first), held[at(next)].clone());
                    if held[first].range.extend(&next.range) {
                        held[first].copy.extend(next.copy);
                    }
                }
                Step::Advance(index, bytes) => {
                    let held = &mut held[at(index)];
                    let bytes = bytes.min(held.copy.len());
                    held.range.advance(bytes);
                    held.copy.drain(..bytes);
                }
                Step::Drop(index) => {
                    held.swap_remove(at(index));
                }
            }
            for held in &held {
                prop_assert_eq!(&held.range[..], &held.copy[..]);
            }
        }
    }
}

/// The range of a short prepared message.
fn range(prepared: &Prepared) -> &FrameRange {
    match prepared.frame() {
        SharedFrame::Short(range) => range,
        SharedFrame::Long(bytes) => panic!("{} bytes have memory of their own", bytes.len()),
    }
}

/// What `prepared` are when each is put behind the ones before: as many pieces as can't be joined.
fn joined(prepared: &[Prepared]) -> Vec<Vec<u8>> {
    let mut pieces: Vec<FrameRange> = Vec::new();
    for prepared in prepared {
        let extended = pieces
            .last_mut()
            .is_some_and(|last| last.extend(range(prepared)));
        if !extended {
            pieces.push(range(prepared).clone());
        }
    }
    pieces.iter().map(|piece| piece.to_vec()).collect()
}

#[test]
fn messages_prepared_one_after_the_other_are_one_piece() {
    let numbers = 0..100;
    let prepared: Vec<_> = numbers
        .map(|number| Prepared::text(&number.to_string()))
        .collect();
    let frames: Vec<&[u8]> = prepared
        .iter()
        .map(|prepared| &prepared.frame()[..])
        .collect();
    assert_eq!(joined(&prepared), [frames.concat()]);
}

#[test]
fn messages_that_do_not_follow_each_other_are_not_joined() {
    let [first, second, third] = ["first", "second", "third"].map(Prepared::text);
    let elsewhere = std::thread::spawn(|| Prepared::text("elsewhere"));
    let elsewhere = elsewhere.join().unwrap();
    for (what, prepared) in [
        ("one is between", [&first, &third]),
        ("the other way round", [&second, &first]),
        ("twice the same", [&first, &first]),
        ("another thread's", [&first, &elsewhere]),
    ] {
        let prepared = prepared.map(Prepared::clone);
        let frames = prepared
            .each_ref()
            .map(|prepared| prepared.frame().to_vec());
        assert_eq!(joined(&prepared), frames, "{what}");
    }
}

#[test]
fn a_chunk_that_is_full_is_followed_by_another() {
    // With 3 bytes of header each, 8 of 500 bytes fit into 4,096.
    let prepared: Vec<_> = (0..20_u8)
        .map(|number| Prepared::binary(&[number; 500 - 4]))
        .collect();
    let lengths: Vec<_> = joined(&prepared).iter().map(Vec::len).collect();
    assert_eq!(lengths, [8 * 500, 8 * 500, 4 * 500]);
}

#[test]
fn a_chunk_is_used_again_when_no_range_of_it_is_left() {
    let mut writer = ChunkWriter::default();
    let first = writer.put([b"", b"first"]);
    let place = first.as_ptr();
    let second = writer.put([b"se", b"cond"]);
    drop(first);
    let third = writer.put([b"", b"third"]);
    assert_eq!((&second[..], &third[..]), (&b"second"[..], &b"third"[..]));
    drop((second, third));
    let again = writer.put([b"", b"again"]);
    assert_eq!(again.as_ptr(), place, "from its begin");
}

#[test]
fn short_frames_stand_together_and_long_ones_alone() {
    for (payload, short) in [
        (0, true),
        (125, true),
        (508, true),
        (509, false),
        (70_000, false),
    ] {
        let prepared = Prepared::binary(&pattern(payload));
        let is_short = matches!(prepared.frame(), SharedFrame::Short(_));
        assert_eq!(is_short, short, "{payload} bytes");
    }
}

#[test]
fn ranges_are_read_by_others_while_their_chunk_is_written() {
    let mut writer = ChunkWriter::default();
    let readers: Vec<_> = (0..50_u8)
        .map(|number| {
            let range = writer.put([&[number], &[number; 30]]);
            std::thread::spawn(move || assert_eq!(range[..], [number; 31]))
        })
        .collect();
    for reader in readers {
        reader.join().unwrap();
    }
}

#[test]
#[should_panic(expected = "4 of 3 bytes")]
fn no_more_can_be_left_out_than_there_is() {
    ChunkWriter::default().put([b"a", b"bc"]).advance(4);
}
