//! Tells in a few words what came over the wire.
//!
//! This is a reading of RFC 6455 of its own: it shares no code with the crates under test. Things
//! are told as one would say them: `400`, `101`, `"Hello" 1002`, `pong "a" 1000`.

use super::accept_key::accept_key;

/// The length of the head that the bytes begin with, when all of it is there.
pub(super) fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map(|start| start + 4)
}

/// The value of a header, when it stands there once.
pub(super) fn header(head: &[u8], name: &str) -> Option<String> {
    let head = String::from_utf8_lossy(head);
    let mut values = head.split("\r\n").skip(1).filter_map(|line| {
        let (found, value) = line.split_once(':')?;
        found
            .eq_ignore_ascii_case(name)
            .then(|| value.trim().to_owned())
    });
    let value = values.next();
    if values.next().is_none() { value } else { None }
}

/// The status, and what the head lacks or has too much of.
pub(super) fn tell_head(head: &[u8], key: &str) -> String {
    let text = String::from_utf8_lossy(head);
    let mut words = text.split(' ');
    let status = match (words.next(), words.next()) {
        (Some("HTTP/1.1"), Some(status)) => status.to_owned(),
        _ => return "no head of HTTP/1.1".to_owned(),
    };
    let has = |name: &str, wanted: &str| {
        header(head, name).is_some_and(|value| value.eq_ignore_ascii_case(wanted))
    };
    let options = header(head, "Connection").unwrap_or_default();
    let lists_close = options
        .split(',')
        .any(|option| option.trim().eq_ignore_ascii_case("close"));
    let demands: &[(bool, &str)] = if status == "101" {
        &[
            (has("Upgrade", "websocket"), " without Upgrade"),
            (has("Connection", "upgrade"), " without Connection"),
            (
                header(head, "Sec-WebSocket-Accept") == Some(accept_key(key)),
                " with a wrong accept",
            ),
            (
                header(head, "Sec-WebSocket-Extensions").is_none(),
                " with an extension",
            ),
            (
                header(head, "Sec-WebSocket-Protocol").is_none(),
                " with a subprotocol",
            ),
        ]
    } else {
        &[
            (lists_close, " without Connection: close"),
            (
                status != "426" || has("Sec-WebSocket-Version", "13"),
                " without a version",
            ),
            (
                status != "405" || header(head, "Allow").is_some(),
                " without Allow",
            ),
        ]
    };
    let faults = demands
        .iter()
        .filter(|(met, _)| !met)
        .map(|(_, fault)| *fault);
    std::iter::once(status.as_str()).chain(faults).collect()
}

/// A frame as it came, unmasked.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) first_byte: u8,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    /// The first frame and its length, when all of it is there.
    pub(super) fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let (&first_byte, &second) = (bytes.first()?, bytes.get(1)?);
        let (length, mut start) = match second & 0x7f {
            126 => (
                u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)),
                4,
            ),
            127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?), 10),
            short => (u64::from(short), 2),
        };
        let mut key = [0; 4];
        if second & 0x80 != 0 {
            key.copy_from_slice(bytes.get(start..start + 4)?);
            start += 4;
        }
        let end = start.checked_add(usize::try_from(length).ok()?)?;
        let masked = bytes.get(start..end)?.iter().zip(key.iter().cycle());
        let payload = masked.map(|(byte, key)| byte ^ key).collect();
        Some((
            Self {
                first_byte,
                payload,
            },
            end,
        ))
    }

    pub(super) fn tell(&self) -> String {
        let payload = &self.payload;
        match self.first_byte {
            0x88 => match payload[..] {
                [] => "close".to_owned(),
                [high, low, ref reason @ ..] if std::str::from_utf8(reason).is_ok() => {
                    u16::from_be_bytes([high, low]).to_string()
                }
                _ => "malformed close".to_owned(),
            },
            0x89 => "ping".to_owned(),
            0x8a => format!("pong {}", tell_text(payload)),
            0x81 => tell_text(payload),
            0x82 if payload.len() <= 8 => format!("{payload:02x?}"),
            0x82 => format!("binary of {}", payload.len()),
            other => format!("frame {other:02x}"),
        }
    }
}

fn tell_text(payload: &[u8]) -> String {
    match std::str::from_utf8(payload) {
        Ok(text) if text.len() <= 20 => format!("{text:?}"),
        Ok(_) => format!("text of {}", payload.len()),
        Err(_) => "text that is no UTF-8".to_owned(),
    }
}

/// Frames in their order; fragments are joined, and what is no whole frame is told as such.
pub(super) fn tell_frames(mut bytes: &[u8]) -> String {
    let mut told = Vec::new();
    let mut fragments: Option<Frame> = None;
    while let Some((mut frame, length)) = Frame::parse(bytes) {
        bytes = &bytes[length..];
        match (frame.first_byte, &mut fragments) {
            (0x01 | 0x02, None) => {
                frame.first_byte |= 0x80;
                fragments = Some(frame);
            }
            (0x00, Some(message)) => message.payload.append(&mut frame.payload),
            (0x80, Some(message)) => {
                message.payload.append(&mut frame.payload);
                told.extend(fragments.take().map(|message| message.tell()));
            }
            _ => told.push(frame.tell()),
        }
    }
    if fragments.is_some() {
        told.push("part of a message".to_owned());
    }
    if !bytes.is_empty() {
        told.push("part of a frame".to_owned());
    }
    told.join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::bytes::bytes_of;
    use super::super::wire::SAMPLE_KEY;
    use super::*;

    #[test]
    fn frames_are_told_as_one_would_say_them() {
        for (words, told) in [
            ("", ""),
            ("81 05 \"Hello\"", "\"Hello\""),
            (
                "01 03 \"Hel\" 8a 01 \"x\" 80 02 \"lo\" 88 02 03e8",
                "pong \"x\" \"Hello\" 1000",
            ),
            ("82 02 00ff 88 00", "[00, ff] close"),
            ("81 7e 0080 61*128", "text of 128"),
            ("88 01 03", "malformed close"),
            ("88 03 03e9 ff", "malformed close"),
            ("81 85 37fa213d 7f9f4d5158 bye", "\"Hello\" 1000"),
            ("c1 00 81 05 \"Hel\"", "frame c1 part of a frame"),
            ("01 00", "part of a message"),
        ] {
            assert_eq!(tell_frames(&bytes_of(words)), told, "{words}");
        }
    }

    #[test]
    fn heads_are_told_with_what_they_lack() {
        let accepted = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nConnection: \
                        Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        let wrong = accepted.replace("s3p", "S3p");
        for (head, told) in [
            (accepted, "101"),
            (wrong.as_str(), "101 with a wrong accept"),
            (
                "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
                "400",
            ),
            (
                "HTTP/1.1 404 Not Found\r\n\r\n",
                "404 without Connection: close",
            ),
            (
                "HTTP/1.1 426 U\r\nConnection: close\r\n\r\n",
                "426 without a version",
            ),
            ("SSH-2.0-x\r\n\r\n", "no head of HTTP/1.1"),
        ] {
            assert_eq!(tell_head(head.as_bytes(), SAMPLE_KEY), told, "{head}");
        }
    }
}
