//! Messages that are too long, too many pieces, or no text (kinds 11 and 14).

use super::Attack;
use super::bytes::{BYE, masked};
use super::frames::attack;
use super::wire::{PROMPT, Peer};

pub(super) fn attacks() -> impl Iterator<Item = Attack> {
    sizes()
        .chain(INVALID.iter().flat_map(invalid))
        .chain(VALID.iter().flat_map(valid))
}

const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
const FRAGMENTS_MAX: usize = 4096;

fn sizes() -> impl Iterator<Item = Attack> {
    let mebibyte = format!("binary of {MESSAGE_BYTES_MAX} 1000");
    let whole = [
        ("a message of 1 MiB", MESSAGE_BYTES_MAX, mebibyte.as_str()),
        (
            "a message of 1 MiB and a byte",
            MESSAGE_BYTES_MAX + 1,
            "1009",
        ),
    ]
    .map(|(name, length, expected)| {
        message(
            9,
            name,
            followed_by_bye(masked(0x82, &vec![b'a'; length])),
            expected,
        )
    });
    let fragmented = [
        (9, "1 MiB in 16 fragments", 16, 65536, mebibyte.as_str()),
        (9, "1 MiB in 4,096 fragments", FRAGMENTS_MAX, 256, &mebibyte),
        (9, "17 fragments of 64 KiB", 17, 65536, "1009"),
        (9, "100 fragments of 64 KiB", 100, 65536, "1009"),
        (
            11,
            "4,096 fragments of a byte",
            FRAGMENTS_MAX,
            1,
            "binary of 4096 1000",
        ),
        (
            11,
            "4,097 fragments of a byte",
            FRAGMENTS_MAX + 1,
            1,
            "1009",
        ),
        (11, "4,096 empty fragments", FRAGMENTS_MAX, 0, "[] 1000"),
        (11, "4,097 empty fragments", FRAGMENTS_MAX + 1, 0, "1009"),
        (11, "100,000 empty fragments", 100_000, 0, "1009"),
        (11, "100,000 fragments of a byte", 100_000, 1, "1009"),
    ]
    .map(|(topic, name, count, length, expected)| {
        let bytes = followed_by_bye(fragments(0x02, count, &vec![b'a'; length]));
        message(topic, name, bytes, expected)
    });
    let pinged = [masked(0x00, b"a"), masked(0x89, b"")]
        .concat()
        .repeat(2 * FRAGMENTS_MAX);
    let late = [masked(0x81, b"hi").repeat(1000), masked(0x80, b"a")].concat();
    let mixed = [
        message(
            11,
            "fragments with pings between",
            [masked(0x01, b"a"), pinged].concat(),
            "1009",
        ),
        message(
            15,
            "a continuation of nothing after 1,000 messages",
            late,
            "1002",
        ),
    ];
    whole.into_iter().chain(fragmented).chain(mixed)
}

/// A row whose answer is told without the pongs and the thousand echoes that come before it.
fn message(topic: u8, name: &'static str, bytes: Vec<u8>, expected: &str) -> Attack {
    let row = Attack::new(topic, name, expected, move |server| {
        let mut peer = Peer::upgraded(server.address())?;
        let _ = peer.send(&bytes);
        let answer = peer.answer(PROMPT);
        let many = |word: &&str| ["pong", "\"\"", "\"hi\""].contains(word);
        Ok(answer
            .split(' ')
            .filter(|word| !many(word))
            .collect::<Vec<_>>()
            .join(" "))
    });
    row.growing_at_most(8 * 1024)
}

fn followed_by_bye(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend_from_slice(&BYE);
    bytes
}

/// A message in equal pieces, the last of which has FIN set.
fn fragments(opcode: u8, count: usize, piece: &[u8]) -> Vec<u8> {
    let mut bytes = masked(opcode, piece);
    bytes.extend(masked(0x00, piece).repeat(count - 2));
    bytes.extend(masked(0x80, piece));
    bytes
}

/// What is no UTF-8, and whether that is plain before the message ends.
#[rustfmt::skip]
const INVALID: &[(&str, &[u8], bool)] = &[
    ("a continuation alone", &[0x80], true),
    ("the last continuation alone", &[0xbf], true),
    ("two continuations alone", &[0x80, 0xbf], true),
    ("a start of two before ASCII", &[0xc3, b'a'], true),
    ("a start of three before ASCII", &[0xe2, 0x82, b'a'], true),
    ("a start of four before ASCII", &[0xf0, 0x9f, 0x98, b'a'], true),
    ("a start before a start", &[0xe2, 0xe2], true),
    ("the byte C0", &[0xc0, 0xaf], true),
    ("the byte C1", &[0xc1, 0xbf], true),
    ("an overlong form of three", &[0xe0, 0x80, 0xaf], true),
    ("the longest overlong form of three", &[0xe0, 0x9f, 0xbf], true),
    ("an overlong form of four", &[0xf0, 0x80, 0x80, 0xaf], true),
    ("the longest overlong form of four", &[0xf0, 0x8f, 0xbf, 0xbf], true),
    ("the first surrogate", &[0xed, 0xa0, 0x80], true),
    ("the last surrogate", &[0xed, 0xbf, 0xbf], true),
    ("a pair of surrogates", &[0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80], true),
    ("U+110000", &[0xf4, 0x90, 0x80, 0x80], true),
    ("the byte F5", &[0xf5, 0x80, 0x80, 0x80], true),
    ("a form of five", &[0xf8, 0x88, 0x80, 0x80, 0x80], true),
    ("a form of six", &[0xfc, 0x84, 0x80, 0x80, 0x80, 0x80], true),
    ("the byte FE", &[0xfe], true),
    ("the byte FF", &[0xff], true),
    ("Latin-1", &[b'c', b'a', b'f', 0xe9, b'!'], true),
    ("UTF-16 with its mark", &[0xff, 0xfe, b'h', 0, b'i', 0], true),
    ("a cut form of two", &[0xc3], false),
    ("a cut form of three, one byte", &[0xe2], false),
    ("a cut form of three, two bytes", &[0xe2, 0x82], false),
    ("a cut form of four, one byte", &[0xf0], false),
    ("a cut form of four, three bytes", &[0xf0, 0x9f, 0x98], false),
];

#[rustfmt::skip]
const VALID: &[(&str, &str)] = &[
    ("NUL", "\0"),
    ("Greek", "κόσμε"),
    ("the ends of the forms of two and three", "\u{80}\u{7ff}\u{800}\u{ffff}"),
    ("the ends of the form of four", "\u{10000}\u{10ffff}"),
    ("what stands around the surrogates", "\u{d7ff}\u{e000}"),
    ("a mark at the start", "\u{feff}hi"),
    ("no character", "\u{fdd0}\u{fffe}"),
];

fn invalid(&(name, bytes, early): &(&'static str, &'static [u8], bool)) -> Vec<Attack> {
    let text = [b"caf\xc3\xa9 ", bytes].concat();
    let mut rows = vec![
        attack(14, name, masked(0x81, &text), "1007"),
        splits(
            format!("{name}, in fragments"),
            text.clone(),
            "1007".to_owned(),
        ),
    ];
    if early {
        // The frame goes on for longer than what is sent of it.
        let mut frame = masked(0x81, &[&text[..], &[b'a'; 100]].concat());
        frame.truncate(frame.len() - 100);
        rows.push(attack(
            14,
            format!("{name}, in a frame that does not end"),
            frame,
            "1007",
        ));
    }
    rows
}

fn valid(&(name, text): &(&'static str, &'static str)) -> Vec<Attack> {
    let expected = format!("{text:?} 1000");
    let whole = followed_by_bye(masked(0x81, text.as_bytes()));
    vec![
        attack(14, name, whole, expected.as_str()),
        splits(
            format!("{name}, in fragments"),
            text.as_bytes().to_vec(),
            expected,
        ),
    ]
}

/// A text in two fragments, cut in every place, and in fragments of a byte. All must get the same.
fn splits(name: String, text: Vec<u8>, expected: String) -> Attack {
    Attack::new(14, name, expected.clone(), move |server| {
        let two = (0..=text.len()).map(|cut| {
            let (start, end) = text.split_at(cut);
            [masked(0x01, start), masked(0x80, end)].concat()
        });
        let mut bytewise = masked(0x01, b"");
        for byte in &text {
            bytewise.extend(masked(0x00, &[*byte]));
        }
        bytewise.extend(masked(0x80, b""));
        for (cut, message) in two.chain([bytewise]).enumerate() {
            let mut peer = Peer::upgraded(server.address())?;
            let _ = peer.send(&followed_by_bye(message));
            let answer = peer.answer(PROMPT);
            if answer != expected {
                return Err(format!("{answer} when cut at {cut}"));
            }
        }
        Ok(expected.clone())
    })
}
