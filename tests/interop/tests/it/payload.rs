//! Messages at every length that frames encode in another way.

use chappe::Message;

/// The last is the most that is taken by default.
const SIZES: [usize; 8] = [0, 1, 125, 126, 127, 65_535, 65_536, 1024 * 1024];

/// Text and binary of each size.
pub(crate) fn payloads() -> impl Iterator<Item = Message> {
    SIZES
        .into_iter()
        .flat_map(|size| [text(size).into(), binary(size).into()])
}

/// What a message is, for when it is not what was expected.
pub(crate) fn title(message: &Message) -> String {
    let kind = message.as_text().map_or("binary", |_| "text");
    format!("{kind} of {} bytes", message.len())
}

/// Text of that many bytes, with characters of one to four bytes.
fn text(size: usize) -> String {
    "aé€👋".repeat(size / 10) + &"x".repeat(size % 10)
}

fn binary(size: usize) -> Vec<u8> {
    (0..size).map(|index| (index * 7 % 256) as u8).collect()
}
