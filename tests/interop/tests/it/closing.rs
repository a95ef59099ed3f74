//! The closes that are tried, in both directions, and what each side must know of them.

use chappe::{CloseCode, CloseFrame, Ended, Side};

/// As a peer is told: "CODE REASON", or nothing for an empty close frame.
pub(crate) const CLOSES: [&str; 7] = [
    "",
    "1000 ",
    "1000 bye",
    "1011 no 👋",
    "3000 first",
    // The longest reason: 123 bytes.
    "4000 rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr",
    "4999 last",
];

/// The close frame that the words stand for.
pub(crate) fn parse(words: &str) -> CloseFrame {
    let (code, reason) = words.split_once(' ').unwrap_or((words, ""));
    let code: u16 = code.parse().unwrap_or(CloseCode::NO_STATUS.into());
    CloseFrame {
        code: code.into(),
        reason: reason.to_owned(),
    }
}

/// Checks that a connection ended with the close frame that one side sent first: its code came
/// back.
pub(crate) fn check(ended: &Ended, by: Side, frame: &CloseFrame) -> Result<(), String> {
    let (first, answer) = match by {
        Side::Local => (ended.sent(), ended.received()),
        Side::Peer => (ended.received(), ended.sent()),
    };
    let is_answered = answer.is_some_and(|answer| answer.code == frame.code);
    let is_told = (ended.by(), ended.code(), ended.reason()) == (by, frame.code, &frame.reason);
    if first == Some(frame) && is_answered && is_told && ended.is_clean() {
        Ok(())
    } else {
        Err(format!("not closed with {frame} by {by:?}, but {ended:?}"))
    }
}
