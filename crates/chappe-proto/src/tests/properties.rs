//! What holds for everything: fast ways against naive ones, and any bytes cut anywhere.
//!
//! A failure prints its seed; `PROPTEST_RNG_SEED` repeats the run.

use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::mask::Mask;
use crate::utf8::{self, Utf8Checker};
use crate::{Limits, Payload, Prepared, Role, State, Utf8Bytes};

use super::pair::{Pair, SplitMix, Stream};
use super::{START, Scenario, Seen, Way, close, feed, feed_by, frame, masked_frame, pieces};

/// A seed that is printed when the test fails, as tests print only then.
pub(super) fn config(cases: u32) -> ProptestConfig {
    let mut config = ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    if config.rng_seed == RngSeed::Random {
        let mut seed = [0; 8];
        crate::Random::fill(&mut crate::SystemRandom, &mut seed);
        config.rng_seed = RngSeed::Fixed(u64::from_le_bytes(seed));
    }
    println!("{:?}", config.rng_seed);
    config
}

fn roles() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Client), Just(Role::Server)]
}

/// Places at which an input of `length` bytes is cut, drawn from a seed: few or many.
pub(super) fn random_cuts(length: usize, seed: u64) -> Vec<usize> {
    let mut random = SplitMix(seed);
    let step = 1 + (random.next() % 40);
    let mut cuts = Vec::new();
    let mut at = 0;
    loop {
        at += 1 + (random.next() % step) as usize;
        if at >= length {
            return cuts;
        }
        cuts.push(at);
    }
}

/// Text and its ruin: characters of all lengths, with bytes put among them.
fn nearly_text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => any::<char>().prop_map(|character| character.to_string().into_bytes()),
        8 => "[ -~]{0,20}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 1..3),
        1 => vec(0x80_u8..=0xff, 1..4),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// Where a text becomes impossible, as the standard library sees it: after how many bytes the
/// prefix is neither text nor the beginning of one.
fn impossible_from(bytes: &[u8]) -> Option<usize> {
    (1..=bytes.len())
        .find(|&end| str::from_utf8(&bytes[..end]).is_err_and(|error| error.error_len().is_some()))
}

/// What one side sends, as frames yet to be written.
#[derive(Clone, Debug)]
enum Sent {
    Message { text: bool, fragments: Vec<Vec<u8>> },
    Ping(Vec<u8>),
}

fn sent() -> impl Strategy<Value = Vec<Sent>> {
    let fragments = || vec(vec(any::<u8>(), 0..300), 1..5);
    let texts = vec("[a-zäöü漢🚀]{0,40}", 1..5);
    let message = prop_oneof![
        fragments().prop_map(|fragments| Sent::Message {
            text: false,
            fragments
        }),
        texts.prop_map(|fragments| Sent::Message {
            text: true,
            fragments: refragment(&fragments.concat(), fragments.len()),
        }),
        vec(any::<u8>(), 0..=125).prop_map(Sent::Ping),
    ];
    vec(message, 0..8)
}

/// Text in so many fragments, cut without regard to characters.
fn refragment(text: &str, count: usize) -> Vec<Vec<u8>> {
    let size = text.len() / count + 1;
    let mut fragments: Vec<Vec<u8>> = text.as_bytes().chunks(size).map(<[u8]>::to_vec).collect();
    if fragments.is_empty() {
        fragments.push(Vec::new());
    }
    fragments
}

/// The naive twin of joining: wire bytes, and what must be seen of them and answered.
fn write_out(role: Role, sent: &[Sent], seed: u64) -> (Vec<u8>, Vec<Seen>, Vec<u8>) {
    let peer = role.peer();
    let mut random = SplitMix(seed);
    let (mut wire, mut events, mut answers) = (Vec::new(), Vec::new(), Vec::new());
    let mut ping = |wire: &mut Vec<u8>, events: &mut Vec<Seen>, payload: &[u8]| {
        wire.extend(frame(peer, 0x89, payload));
        events.push(Seen::Ping(payload.to_vec()));
        answers.extend(frame(role, 0x8a, payload));
    };
    for item in sent {
        match item {
            Sent::Ping(payload) => ping(&mut wire, &mut events, payload),
            Sent::Message { text, fragments } => {
                let mut opcode = if *text { 1 } else { 2 };
                for (index, fragment) in fragments.iter().enumerate() {
                    let fin = if index + 1 == fragments.len() {
                        0x80
                    } else {
                        0
                    };
                    wire.extend(match peer {
                        Role::Client => {
                            let key = (random.next() as u32).to_be_bytes();
                            masked_frame(fin | opcode, key, fragment)
                        }
                        Role::Server => frame(peer, fin | opcode, fragment),
                    });
                    opcode = 0;
                    if fin == 0 && random.next().is_multiple_of(3) {
                        ping(&mut wire, &mut events, &random.next().to_be_bytes());
                    }
                }
                let whole = fragments.concat();
                events.push(match text {
                    true => Seen::Text(String::from_utf8(whole).unwrap()),
                    false => Seen::Binary(whole),
                });
            }
        }
    }
    (wire, events, answers)
}

/// Frames that are mostly right, with something wrong among them at times.
fn nearly_frames(peer: Role) -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        6 => prop::sample::select(vec![0x81_u8, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8a]),
        1 => Just(0x88_u8),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        nearly_text(),
        vec(any::<u8>(), 0..8),
        "[a-z]{0,200}".prop_map(String::into_bytes),
        (any::<u16>(), nearly_text())
            .prop_map(|(code, text)| { [&code.to_be_bytes(), &text[..]].concat() }),
    ];
    let one = (first, payload).prop_map(move |(first, payload)| frame(peer, first, &payload));
    vec(one, 0..12).prop_map(|frames| frames.concat())
}

fn garbage() -> impl Strategy<Value = (Role, Vec<u8>)> {
    roles().prop_flat_map(|role| {
        let bytes = prop_oneof![
            nearly_frames(role.peer()),
            nearly_frames(role),
            vec(any::<u8>(), 0..60),
        ];
        (Just(role), bytes)
    })
}

/// States in which bytes may arrive.
fn scenarios(role: Role, state: u8) -> Scenario {
    let open = Scenario::open(role).limits(|limits| {
        limits.message_bytes_max = 400;
        limits.frame_bytes_max = 300;
        limits.fragments_max = 4;
    });
    match state % 5 {
        0 | 1 => open,
        2 => open.closes(1000, ""),
        3 => open
            .receives(&frame(role.peer(), 0x01, &[b'a', 0xe2, 0x82]))
            .pings(),
        _ => open
            .receives(&frame(role.peer(), 0x02, b"half")[..3])
            .closes(4000, "over"),
    }
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn masking_equals_its_naive_twin(
        key: [u8; 4],
        bytes in vec(any::<u8>(), 0..200),
        seed: u64,
    ) {
        let naive: Vec<u8> = bytes.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k).collect();
        let mut mask = Mask::new(key);
        let mut masked = Vec::new();
        for piece in pieces(&bytes, &random_cuts(bytes.len(), seed)) {
            let mut piece = piece.to_vec();
            mask.apply(&mut piece);
            masked.extend(piece);
        }
        prop_assert_eq!(&masked, &naive);
        let mut turned = key;
        turned.rotate_left(bytes.len() % 4);
        prop_assert_eq!(mask, Mask::new(turned));
        let mut copy = vec![0; bytes.len()];
        let is_ascii = Mask::new(key).copy(&bytes, &mut copy);
        prop_assert_eq!(&copy, &naive);
        prop_assert_eq!(is_ascii, naive.is_ascii());
        Mask::new(key).apply(&mut masked);
        prop_assert_eq!(masked, bytes);
    }

    #[test]
    fn checking_text_equals_the_standard_library(bytes in nearly_text(), seed: u64) {
        let whole = str::from_utf8(&bytes).ok();
        prop_assert_eq!(utf8::check(&bytes).ok(), whole);
        let fails = impossible_from(&bytes);
        let mut checker = Utf8Checker::default();
        let mut length = 0;
        for piece in pieces(&bytes, &random_cuts(bytes.len(), seed)) {
            length += piece.len();
            let result = checker.check(piece);
            prop_assert_eq!(result.is_err(), fails.is_some_and(|at| at <= length));
            if result.is_err() {
                return Ok(());
            }
        }
        prop_assert_eq!(checker.is_complete(), whole.is_some());
    }

    #[test]
    fn text_frames_fail_where_the_standard_library_says(
        role in roles(),
        bytes in nearly_text(),
    ) {
        // One frame that declares one byte more than ever comes.
        let mut more = bytes.clone();
        more.push(b'x');
        let input = frame(role.peer(), 0x81, &more);
        let header = input.len() - more.len();
        let mut connection = Scenario::open(role).connection();
        let fails = impossible_from(&bytes).map(|at| header + at);
        for (index, byte) in input[..header + bytes.len()].iter().enumerate() {
            let mut byte = [*byte];
            let failed = connection.handle_input(START, &mut byte).1.is_some();
            prop_assert_eq!(failed, fails == Some(index + 1));
            if failed {
                break;
            }
        }
    }

    #[test]
    fn joining_equals_its_naive_twin(role in roles(), sent in sent(), seed: u64) {
        let (wire, events, answers) = write_out(role, &sent, seed);
        let wire = pieces(&wire, &random_cuts(wire.len(), seed));
        for way in Way::ALL {
            let mut connection = Scenario::open(role).connection();
            let (seen, transmitted) = feed_by(way, &mut connection, START, &wire);
            prop_assert_eq!(&seen, &events);
            prop_assert_eq!(&transmitted, &answers);
            prop_assert_eq!(connection.state(), State::Open);
        }
    }

    #[test]
    fn cuts_change_neither_events_nor_what_is_transmitted(
        (role, bytes) in garbage(),
        state: u8,
        seed: u64,
    ) {
        let scenario = scenarios(role, state);
        let mut connection = scenario.connection();
        let whole = feed(&mut connection, START, &[&bytes]);
        let ended = connection.ended().cloned();
        let one_by_one: Vec<&[u8]> = bytes.chunks(1).collect();
        let random = pieces(&bytes, &random_cuts(bytes.len(), seed));
        let ways = [&one_by_one, &random].map(|pieces| Way::ALL.map(|way| (way, pieces)));
        for (way, pieces) in ways.into_iter().flatten() {
            let mut connection = scenario.connection();
            prop_assert_eq!(&feed_by(way, &mut connection, START, pieces), &whole);
            prop_assert_eq!(connection.ended().cloned(), ended.clone());
        }
    }

    #[test]
    fn nothing_follows_an_end(
        (role, bytes) in garbage(),
        state: u8,
        ticks in vec(0_u64..30, 0..6),
    ) {
        let mut connection = scenarios(role, state).connection();
        let (seen, _) = feed(&mut connection, START, &[&bytes]);
        let last = seen.iter().position(Seen::is_last);
        prop_assert!(last.is_none_or(|last| last + 1 == seen.len()));
        prop_assert_eq!(connection.ended().is_some(), last.is_some());
        if last.is_some() {
            super::assert_over(&mut connection);
        }
        // Whatever happens, time brings every connection that closes to its end.
        let mut now = START;
        for tick in ticks {
            now = now + Duration::from_secs(tick);
            connection.handle_timeout(now);
            connection.poll_transmit(&mut Vec::new());
        }
        connection.handle_eof(now);
        connection.poll_transmit(&mut Vec::new());
        prop_assert_eq!(connection.state(), State::Closed);
        prop_assert!(connection.is_finished());
        prop_assert!(connection.ended().is_some());
        prop_assert!(connection.write_is_over() || connection.ended().unwrap().is_clean());
    }
}

proptest! {
    #![proptest_config(config(64))]

    #[test]
    fn messages_make_the_round_trip(
        texts in vec("\\PC{0,60}", 0..8),
        blobs in vec(vec(any::<u8>(), 0..2000), 0..8),
        seed: u64,
        chunk_bytes in 1_usize..600,
        delay in 0_u64..500,
    ) {
        let mut pair = Pair::seeded(Limits::default(), seed);
        pair.chunk_bytes = chunk_bytes;
        pair.delay = Duration::from_millis(delay);
        pair.server.echoes = true;
        let mut expected = Vec::new();
        for text in &texts {
            pair.client.send(Payload::Text(text));
            let shared = Utf8Bytes::from(text.as_str());
            pair.client.send(Payload::SharedText(&shared));
            expected.extend([Seen::text(text), Seen::text(text)]);
        }
        for blob in &blobs {
            let prepared = Prepared::binary(blob);
            pair.client.send(Payload::from(&prepared));
            expected.push(Seen::Binary(blob.clone()));
        }
        pair.run_for(Duration::from_secs(10));
        prop_assert_eq!(&pair.server.seen, &expected);
        prop_assert_eq!(&pair.client.seen, &expected);

        pair.client.connection.close(pair.now, 1000.into(), "done").unwrap();
        pair.run_for(Duration::from_secs(10));
        expected.push(Seen::Close(1000, String::new()));
        prop_assert_eq!(&pair.client.seen, &expected);
        prop_assert_eq!(pair.client.stream, Stream::Dropped);
        prop_assert_eq!(pair.server.stream, Stream::Dropped);
    }

    #[test]
    fn a_close_frame_is_read_as_it_was_sent(
        role in roles(),
        code in prop_oneof![Just(1000_u16), 3000_u16..5000],
        reason in "\\PC{0,30}",
    ) {
        let reason: String = reason.chars().scan(0, |length, character| {
            *length += character.len_utf8();
            (*length <= 123).then_some(character)
        }).collect();
        let mut connection = Scenario::open(role).connection();
        connection.close(START, code.into(), &reason).unwrap();
        let mut wire = Vec::new();
        connection.poll_transmit(&mut wire);
        let mut other = Scenario::open(role.peer()).connection();
        let (seen, answer) = feed(&mut other, START, &[wire]);
        prop_assert_eq!(seen, [Seen::Close(code, reason)]);
        prop_assert_eq!(answer, close(role.peer(), code, ""));
    }
}

#[test]
fn default_limits_are_shared() {
    let limits = Arc::new(Limits::default());
    let connection = crate::Connection::server(START, limits.clone());
    assert!(std::ptr::eq(connection.limits(), &raw const *limits));
}
