//! What a line that was typed asks for.

use chappe::CloseCode;

/// A line, understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Send(String),
    Ping,
    Close(CloseCode, String),
    Help,
}

pub(super) const HELP: &str = "\
a line           is sent as a text message
//a line         is sent as /a line
/ping            measures the round trip
/close           closes with 1000
/close CODE WHY  closes with a code (1000, or 3000 to 4999) and a reason of at most 123 bytes;
                 1005 stands for an empty close frame
/help            shows this";

impl Command {
    /// Understands a line without its line feed.
    pub(super) fn parse(mut line: Vec<u8>) -> Result<Self, String> {
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        let line = String::from_utf8(line)
            .map_err(|_| "a line that is not UTF-8 was not sent; text messages are".to_owned())?;
        let Some(command) = line.strip_prefix('/') else {
            return Ok(Self::Send(line));
        };
        if command.starts_with('/') {
            return Ok(Self::Send(command.to_owned()));
        }
        let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
        match (name, rest.trim()) {
            ("ping", "") => Ok(Self::Ping),
            ("help", "") => Ok(Self::Help),
            ("close", "") => Ok(Self::Close(CloseCode::NORMAL, String::new())),
            ("close", rest) => {
                let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
                let code: u16 = code
                    .parse()
                    .map_err(|_| format!("\"{code}\" is no close code; /help lists what is"))?;
                Ok(Self::Close(code.into(), reason.trim().to_owned()))
            }
            _ => Err(format!(
                "there is no command \"/{name}\"; /help lists them, and // sends a slash"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_sent_and_commands_understood() {
        let close = |code: u16, reason: &str| Command::Close(code.into(), reason.to_owned());
        let rows: [(&[u8], Command); 10] = [
            (b"hello", Command::Send("hello".to_owned())),
            (b"", Command::Send(String::new())),
            (b"hello\r", Command::Send("hello".to_owned())),
            (b"//ping", Command::Send("/ping".to_owned())),
            (b" /ping", Command::Send(" /ping".to_owned())),
            (b"/ping", Command::Ping),
            (b"/help ", Command::Help),
            (b"/close", close(1000, "")),
            (b"/close 3001", close(3001, "")),
            (b"/close 1000 bye, all", close(1000, "bye, all")),
        ];
        for (line, expected) in rows {
            assert_eq!(
                Command::parse(line.to_vec()),
                Ok(expected),
                "{}",
                line.escape_ascii()
            );
        }
    }

    #[test]
    fn what_is_not_understood_is_not_sent() {
        for line in [
            &b"/pong"[..],
            b"/",
            b"/ping 1",
            b"/close bye",
            b"/close 65536",
            b"\xff",
        ] {
            let result = Command::parse(line.to_vec());
            assert!(result.is_err(), "{}: {result:?}", line.escape_ascii());
        }
    }
}
