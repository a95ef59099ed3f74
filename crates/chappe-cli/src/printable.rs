//! Text of others' for a terminal.

/// Text without what could move a terminal's cursor or change its colors.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        // Bidirectional controls are no control characters, and reorder the line all the same.
        let hidden = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if (character.is_control() && character != '\t') || hidden {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable_text_cannot_steer_a_terminal() {
        assert_eq!(printable("grüezi\t👋"), "grüezi\t👋");
        assert_eq!(
            printable("\u{1b}[2J\r\n\u{7f}\u{9b}"),
            "\\u{1b}[2J\\r\\n\\u{7f}\\u{9b}"
        );
        assert_eq!(printable("a\u{202e}b"), "a\\u{202e}b");
    }
}
