//! The body of a response that refuses (RFC 9112, sections 6 and 7.1): it often says why.
//!
//! In: what follows the response's head, in any pieces. Out: the body, decoded, cut at a few
//! kilobytes, and whether it is complete. A body that can't be understood is complete with what
//! was understood of it: the stream is dropped anyway, and the status says most.

use http::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use http::{Response, StatusCode};

use super::elements;

/// Collects a body.
#[derive(Debug)]
pub(super) struct BodyReader {
    bytes: Vec<u8>,
    framing: Framing,
}

#[derive(Debug)]
enum Framing {
    /// So many bytes are missing, or the rest of what is kept where the length is not known.
    Missing(usize),
    Chunked(Chunked),
}

/// A chunked body in progress.
#[derive(Debug)]
struct Chunked {
    place: Place,
    /// What this body may still take on the wire.
    wire_bytes_left: usize,
}

/// Where in a chunked body we are (RFC 9112, section 7.1).
#[derive(Clone, Copy, Debug)]
enum Place {
    /// In the hexadecimal length of a chunk; `None` before its first digit.
    Length(Option<u64>),
    /// In what follows the length: extensions, which mean nothing here, up to the CR.
    Extension(u64),
    /// Behind the CR that ends the line of the length.
    LengthEnd(u64),
    /// In a chunk, so many bytes before its end.
    Data(u64),
    /// Behind a chunk, before its CR.
    DataEnd,
    /// Behind a chunk's CR.
    DataLineEnd,
    /// Behind the last chunk, or what is no chunk. Trailers mean nothing here.
    Done,
}

impl BodyReader {
    /// A reader for what follows this head (section 6.3).
    pub(super) fn new(response: &Response<()>) -> Self {
        let headers = response.headers();
        let framing = if has_no_body(response.status()) {
            Framing::Missing(0)
        } else if headers.contains_key(TRANSFER_ENCODING) {
            Framing::of_transfer_codings(headers)
        } else {
            Framing::Missing(content_length(headers))
        };
        let bytes = Vec::new();
        Self { bytes, framing }
    }

    /// Takes what follows; tells whether the body is complete, or all of it that is kept.
    pub(super) fn handle_input(&mut self, input: &[u8]) -> bool {
        match &mut self.framing {
            Framing::Missing(missing) => {
                let piece = &input[..input.len().min(*missing)];
                self.bytes.extend_from_slice(piece);
                *missing -= piece.len();
                *missing == 0
            }
            Framing::Chunked(chunked) => chunked.handle_input(input, &mut self.bytes),
        }
    }

    /// What has come of the body.
    pub(super) fn take_bytes(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}

impl Framing {
    /// Chunks, if the last transfer coding is `chunked`; else the body ends with the stream.
    fn of_transfer_codings(headers: &HeaderMap) -> Self {
        let codings = headers.get_all(TRANSFER_ENCODING).iter();
        let codings = codings.flat_map(|value| elements(value.to_str().unwrap_or("?")));
        match codings.filter(|coding| !coding.is_empty()).last() {
            Some(last) if last.eq_ignore_ascii_case("chunked") => Self::Chunked(Chunked {
                place: Place::Length(None),
                wire_bytes_left: WIRE_BYTES_MAX,
            }),
            _ => Self::Missing(BODY_BYTES_MAX),
        }
    }
}

impl Chunked {
    fn handle_input(&mut self, input: &[u8], body: &mut Vec<u8>) -> bool {
        let mut rest = &input[..input.len().min(self.wire_bytes_left)];
        self.wire_bytes_left -= rest.len();
        while let [byte, behind @ ..] = rest {
            if let Place::Data(missing) = self.place {
                let room = BODY_BYTES_MAX - body.len();
                let length = (rest.len().min(room) as u64).min(missing) as usize;
                body.extend_from_slice(&rest[..length]);
                rest = &rest[length..];
                self.place = match missing - length as u64 {
                    _ if body.len() == BODY_BYTES_MAX => Place::Done,
                    0 => Place::DataEnd,
                    missing => Place::Data(missing),
                };
            } else {
                self.place = self.place.behind(*byte);
                rest = behind;
            }
            if matches!(self.place, Place::Done) {
                return true;
            }
        }
        self.wire_bytes_left == 0
    }
}

impl Place {
    /// Where a byte leads that is not a chunk's.
    fn behind(self, byte: u8) -> Self {
        let digit = char::from(byte).to_digit(16).map(u64::from);
        match (self, byte) {
            (Self::Length(length), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let (length, digit) = (length.unwrap_or(0), digit.unwrap_or(0));
                Self::Length(Some(length.saturating_mul(16).saturating_add(digit)))
            }
            (Self::Length(Some(length)) | Self::Extension(length), b'\r') => {
                Self::LengthEnd(length)
            }
            (Self::Length(Some(length)), b';' | b' ' | b'\t')
            | (Self::Extension(length), b' '..=b'~' | b'\t' | 0x80..) => Self::Extension(length),
            (Self::LengthEnd(length @ 1..), b'\n') => Self::Data(length),
            (Self::DataEnd, b'\r') => Self::DataLineEnd,
            (Self::DataLineEnd, b'\n') => Self::Length(None),
            // The last chunk, or a byte that has no place here.
            _ => Self::Done,
        }
    }
}

/// Statuses whose responses have no body, whatever their headers say (RFC 9110, sections 15.2,
/// 15.3.5, 15.3.6 and 15.4.5).
fn has_no_body(status: StatusCode) -> bool {
    status.is_informational()
        || [
            StatusCode::NO_CONTENT,
            StatusCode::RESET_CONTENT,
            StatusCode::NOT_MODIFIED,
        ]
        .contains(&status)
}

/// How much to read: what was declared, within reason. Nothing, if that is no length.
fn content_length(headers: &HeaderMap) -> usize {
    let values = headers.get_all(CONTENT_LENGTH).iter();
    let mut lengths = values.flat_map(|value| elements(value.to_str().unwrap_or("?")));
    let Some(length) = lengths.next() else {
        return BODY_BYTES_MAX;
    };
    let is_number = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || lengths.any(|other| other != length) {
        return 0;
    }
    // Digits that are no number of ours are a larger one.
    length.parse().unwrap_or(usize::MAX).min(BODY_BYTES_MAX)
}

/// Bytes of a body that are kept.
const BODY_BYTES_MAX: usize = 4096;

/// Bytes that a chunked body may take, chunks as small as they may be.
const WIRE_BYTES_MAX: usize = 8 * BODY_BYTES_MAX;
