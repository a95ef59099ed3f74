//! Single frames that break a rule (kinds 9, 12, 13 and 15).
//!
//! A row is what a client sends after the handshake, in the words of [`bytes_of`], and all that
//! the server sends back before it ends the stream. It is sent whole and byte by byte. Rows whose
//! frames are legal end with a close frame of the client's, `bye`, which is answered by 1000.

use super::Attack;
use super::bytes::{bytes_of, masked};
use super::wire::{PROMPT, Peer, whole_and_bytewise};

pub(super) type Row = (u8, &'static str, &'static str, &'static str);

pub(super) fn attacks() -> impl Iterator<Item = Attack> {
    let rows = [LENGTHS, CONTROL, MASKS, BITS_AND_OPCODES]
        .into_iter()
        .flatten();
    rows.map(|(topic, name, words, expected)| attack(*topic, *name, bytes_of(words), *expected))
        .chain(opcodes())
        .chain(close_codes())
}

pub(super) fn attack(
    topic: u8,
    name: impl Into<String>,
    bytes: Vec<u8>,
    expected: impl Into<String>,
) -> Attack {
    Attack::new(topic, name, expected, move |server| {
        let open = || Peer::upgraded(server.address());
        whole_and_bytewise(&bytes, open, |peer| peer.answer(PROMPT))
    })
}

#[rustfmt::skip]
const LENGTHS: &[Row] = &[
    (9, "2^63 bytes", "82 ff 8000000000000000 key", "1002"),
    (9, "2^64 - 1 bytes", "82 ff ffffffffffffffff key", "1002"),
    (9, "2^63 - 1 bytes", "82 ff 7fffffffffffffff key", "1009"),
    (9, "2^32 + 5 bytes", "82 ff 0000000100000005 key", "1009"),
    (9, "2^32 bytes of text", "81 ff 0000000100000000 key", "1009"),
    (9, "one byte above the limit", "82 ff 0000000000100001 key", "1009"),
    (9, "one byte above the limit, of a fragment", "02 ff 0000000000100001 key", "1009"),
    (9, "a second fragment of 2^63 - 1 bytes", "02 83 key 616161 80 ff 7fffffffffffffff key", "1009"),
    (9, "a second fragment one byte above the limit", "02 83 key 616161 80 ff 00000000000ffffe key", "1009"),
    (9, "a second fragment of 2^64 - 1 bytes", "02 83 key 616161 80 ff ffffffffffffffff key", "1002"),
    (9, "no bytes, told in two", "82 fe 0000 key", "1002"),
    (9, "125 bytes, told in two", "82 fe 007d key 61*125", "1002"),
    (9, "126 bytes, told in two", "82 fe 007e key 61*126 bye", "binary of 126 1000"),
    (9, "no bytes, told in eight", "82 ff 0000000000000000 key", "1002"),
    (9, "5 bytes, told in eight", "81 ff 0000000000000005 key \"Hello\"", "1002"),
    (9, "65,535 bytes, told in eight", "82 ff 000000000000ffff key", "1002"),
    (9, "65,535 bytes, told in two", "82 fe ffff key 61*65535 bye", "binary of 65535 1000"),
    (9, "65,536 bytes", "82 ff 0000000000010000 key 61*65536 bye", "binary of 65536 1000"),
    (9, "no bytes", "82 80 key bye", "[] 1000"),
    (9, "a message before a length too large", "81 82 key \"hi\" 82 ff 8000000000000000 key", "\"hi\" 1002"),
];

#[rustfmt::skip]
const CONTROL: &[Row] = &[
    (12, "a ping", "89 81 key \"a\" bye", "pong \"a\" 1000"),
    (12, "an empty ping", "89 80 key bye", "pong \"\" 1000"),
    (12, "a ping of 125 bytes", "89 fd key 61*125 bye", "pong text of 125 1000"),
    (12, "a ping of 126 bytes", "89 fe 007e key 61*126", "1002"),
    (12, "a ping of 5 bytes, told in two", "89 fe 0005 key \"Hello\"", "1002"),
    (12, "a ping of 5 bytes, told in eight", "89 ff 0000000000000005 key \"Hello\"", "1002"),
    (12, "a ping of 65,536 bytes", "89 ff 0000000000010000 key", "1002"),
    (12, "a ping that is a fragment", "09 81 key \"a\"", "1002"),
    (12, "a pong that is a fragment", "0a 81 key \"a\"", "1002"),
    (12, "a pong of 126 bytes", "8a fe 007e key 61*126", "1002"),
    (12, "a pong nobody asked for", "8a 81 key \"a\" 81 82 key \"hi\" bye", "\"hi\" 1000"),
    (12, "the same pong twice", "8a 81 key \"a\" 8a 81 key \"a\" bye", "1000"),
    (12, "a ping between fragments", "01 82 key \"He\" 89 81 key \"a\" 80 83 key \"llo\" bye", "pong \"a\" \"Hello\" 1000"),
    (12, "a pong between fragments", "01 82 key \"He\" 8a 81 key \"a\" 80 83 key \"llo\" bye", "\"Hello\" 1000"),
    (12, "a close between fragments", "01 82 key \"He\" bye", "1000"),
    (12, "a ping continued", "89 81 key \"a\" 80 81 key \"b\"", "pong \"a\" 1002"),
    (12, "an empty close", "88 80 key", "close | 1000"),
    (12, "a close of one byte", "88 81 key 03", "1002"),
    (12, "a close that is a fragment", "08 82 key 03e8", "1002"),
    (12, "a close of 126 bytes", "88 fe 007e key 03e8 61*124", "1002"),
    (12, "a close with a reason", "88 87 key 03e8 \"Hello\"", "1000"),
    (12, "a close with a reason of 123 bytes", "88 fd key 03e8 61*123", "1000"),
    (12, "a close with a reason that is no UTF-8", "88 83 key 03e8 ff", "1007 | 1002"),
    (12, "a close with a reason that ends too early", "88 85 key 03e8 e282ac", "1000"),
    (12, "a close with a reason cut in a character", "88 84 key 03e8 e282", "1007 | 1002"),
    (12, "a close with a reason that is a surrogate", "88 85 key 03e8 eda080", "1007 | 1002"),
    (12, "a message after a close", "bye 81 82 key \"hi\"", "1000"),
    (12, "a ping after a close", "bye 89 80 key", "1000"),
    (12, "a second close", "bye bye", "1000"),
    (12, "a second close of another code", "bye 88 82 key 03e9", "1000"),
    (12, "a broken frame after a close", "bye ff*14", "1000"),
    (12, "a message before a close", "81 82 key \"hi\" bye", "\"hi\" 1000"),
    (12, "a message before a broken close", "81 82 key \"hi\" 88 81 key 03", "\"hi\" 1002"),
];

#[rustfmt::skip]
const MASKS: &[Row] = &[
    (13, "text without a mask", "81 05 \"Hello\"", "1002"),
    (13, "empty text without a mask", "81 00", "1002"),
    (13, "a ping without a mask", "89 00", "1002"),
    (13, "a pong without a mask", "8a 00", "1002"),
    (13, "a close without a mask", "88 02 03e8", "1002"),
    (13, "a continuation without a mask", "01 82 key \"He\" 80 03 \"llo\"", "1002"),
    (13, "a length of two without a mask", "82 7e 0080", "1002"),
    (13, "a length of eight without a mask", "82 7f 0000000000010000", "1002"),
    (13, "a key of zeros", "81 85 key \"Hello\" bye", "\"Hello\" 1000"),
    (13, "a key of ones", "81 85 ffffffff b79a939390 bye", "\"Hello\" 1000"),
    (13, "a key of its own for each fragment", "01 83 37fa213d 7f9f4d 80 82 ffffffff 9390 bye", "\"Hello\" 1000"),
    (13, "a masked message before one without", "81 82 key \"hi\" 81 02 \"hi\"", "\"hi\" 1002"),
];

#[rustfmt::skip]
const BITS_AND_OPCODES: &[Row] = &[
    (15, "RSV1", "c1 85 key \"Hello\"", "1002"),
    (15, "RSV2", "a1 85 key \"Hello\"", "1002"),
    (15, "RSV3", "91 85 key \"Hello\"", "1002"),
    (15, "all reserved bits", "f1 85 key \"Hello\"", "1002"),
    (15, "RSV1 on an empty message", "c1 80 key", "1002"),
    (15, "RSV1 on a fragment", "41 85 key \"Hello\"", "1002"),
    (15, "RSV1 on a continuation", "01 82 key \"He\" c0 83 key \"llo\"", "1002"),
    (15, "RSV1 on a ping", "c9 80 key", "1002"),
    (15, "RSV1 on a pong", "ca 80 key", "1002"),
    (15, "RSV1 on a close", "c8 82 key 03e8", "1002"),
    (15, "RSV2 on a ping between fragments", "01 82 key \"He\" a9 80 key", "1002"),
    (15, "a message before RSV3", "81 82 key \"hi\" 91 80 key", "\"hi\" 1002"),
    (15, "a continuation of nothing", "80 82 key \"hi\"", "1002"),
    (15, "a continuation of nothing, to be continued", "00 82 key \"hi\"", "1002"),
    (15, "a continuation of a finished message", "81 82 key \"hi\" 80 82 key \"hi\"", "\"hi\" 1002"),
    (15, "text amid a message", "01 82 key \"He\" 81 83 key \"llo\"", "1002"),
    (15, "binary amid a message", "01 82 key \"He\" 82 83 key \"llo\"", "1002"),
    (15, "a fragment of text amid a message", "02 82 key \"He\" 01 83 key \"llo\"", "1002"),
    (15, "a reserved opcode amid a message", "01 82 key \"He\" 83 80 key", "1002"),
];

/// Opcodes that mean nothing, each with and without FIN and payload.
fn opcodes() -> impl Iterator<Item = Attack> {
    let reserved = [3, 4, 5, 6, 7, 11, 12, 13, 14, 15];
    reserved.into_iter().flat_map(|opcode: u8| {
        [(0x80, "", ""), (0x00, ", a fragment", "Hello")].map(|(fin, name, payload)| {
            let name = format!("opcode {opcode:X}{name}");
            attack(15, name, masked(fin | opcode, payload.as_bytes()), "1002")
        })
    })
}

/// Close codes that may stand in a frame are echoed; all others are an error.
fn close_codes() -> impl Iterator<Item = Attack> {
    let valid = [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014,
    ];
    let private = [3000, 3999, 4000, 4999];
    let invalid = [
        0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535,
    ];
    let echoed = valid
        .into_iter()
        .chain(private)
        .map(|code: u16| (code, code.to_string()));
    echoed
        .chain(invalid.map(|code| (code, "1002".to_owned())))
        .map(|(code, expected)| {
            attack(
                12,
                format!("a close with code {code}"),
                masked(0x88, &code.to_be_bytes()),
                expected,
            )
        })
}
