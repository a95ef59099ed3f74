//! What is sent: frames of a client, and bytes as the tables of attacks write them.

/// A client's close frame with code 1000, under the key of zeros.
pub(super) const BYE: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];

/// A client's frame under a key that changes each byte.
pub(super) fn masked(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = frame_header(first_byte, payload.len(), 0x80);
    bytes.extend_from_slice(&KEY);
    bytes.extend(
        payload
            .iter()
            .zip(KEY.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    bytes
}

fn frame_header(first_byte: u8, length: usize, mask_bit: u8) -> Vec<u8> {
    let mut bytes = vec![first_byte];
    if length < 0x7e {
        bytes.push(mask_bit | length as u8);
    } else if let Ok(length) = u16::try_from(length) {
        bytes.push(mask_bit | 0x7e);
        bytes.extend_from_slice(&length.to_be_bytes());
    } else {
        bytes.push(mask_bit | 0x7f);
        bytes.extend_from_slice(&(length as u64).to_be_bytes());
    }
    bytes
}

/// Bytes as the tables of attacks write them, in words: pairs of hex digits, a pair and how often
/// (`61*200`), ASCII in quotes without spaces, `key` for a masking key of zeros, and `bye` for a
/// client's close frame with code 1000.
pub(super) fn bytes_of(words: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in words.split_whitespace() {
        if word == "bye" {
            bytes.extend_from_slice(&BYE);
        } else if word == "key" {
            bytes.extend_from_slice(&[0; 4]);
        } else if let Some(text) = word.strip_prefix('"') {
            bytes.extend_from_slice(text.trim_end_matches('"').as_bytes());
        } else if let Some((pair, times)) = word.split_once('*') {
            let times = times.parse().expect("a row repeats a pair by a number");
            bytes.extend(pairs(pair).repeat(times));
        } else {
            bytes.extend(pairs(word));
        }
    }
    bytes
}

fn pairs(word: &str) -> Vec<u8> {
    assert!(
        word.len().is_multiple_of(2),
        "a row has an odd word: {word}"
    );
    let pairs = (0..word.len())
        .step_by(2)
        .map(|start| &word[start..start + 2]);
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).expect("a row has pairs of hex digits"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masked_frames_have_the_shortest_length() {
        assert_eq!(
            masked(0x81, b"Hello"),
            bytes_of("81 85 37fa213d 7f9f4d5158")
        );
        for (length, start) in [
            (125, "82 fd"),
            (126, "82 fe 007e"),
            (65536, "82 ff 0000000000010000"),
        ] {
            assert!(
                masked(0x82, &vec![0; length]).starts_with(&bytes_of(start)),
                "{length}"
            );
        }
    }
}
