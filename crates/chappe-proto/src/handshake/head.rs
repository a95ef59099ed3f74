//! The head of an HTTP/1.1 message: start line and headers (RFC 9112), read strictly.
//!
//! In: bytes, however they arrive, each looked at once. Out: an [`http::Request`] or
//! [`http::Response`], or the rule that was broken. Whatever two parsers could read in two ways
//! is refused: bare LF, bare CR, folded lines, control bytes, white space around names. The
//! bounds hold while the head arrives.

use std::fmt;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode, Uri, Version};

use super::origin::Host;
use super::quoted;
use crate::limits::Limits;

/// Collects a head up to the empty line that ends it.
#[derive(Default)]
pub(crate) struct HeadReader {
    bytes: Vec<u8>,
    /// Bytes of the heads that came before, of interim responses.
    bytes_before: usize,
    /// Empty lines that may come before the start line.
    empty_lines_left: usize,
    /// Where the start line begins, behind those empty lines: `0 <= start <= line_start`.
    start: usize,
    /// Where the line in progress begins: `start <= line_start <= bytes.len()`.
    line_start: usize,
    /// Lines that are complete, the start line among them.
    lines: usize,
}

impl HeadReader {
    /// A reader for a request. A server SHOULD ignore an empty line or more before it (RFC 9112,
    /// section 2.2): some clients end the body of the request before with one.
    pub(crate) fn of_request() -> Self {
        Self {
            empty_lines_left: EMPTY_LINES_MAX,
            ..Self::default()
        }
    }

    /// Takes input up to the head's end.
    ///
    /// Gives how many bytes were taken when that end is among them; `None` when all were.
    pub(crate) fn handle_input(
        &mut self,
        input: &[u8],
        limits: &Limits,
    ) -> Result<Option<usize>, HeadError> {
        // Most heads fit, and an input that is mostly something else takes no room for it.
        self.bytes.reserve(input.len().min(HEAD_BYTES_USUAL));
        let mut taken = 0;
        while let Some(&byte) = input.get(taken) {
            self.push(byte, limits)?;
            taken += 1;
            match byte {
                b'\n' if self.end_line(limits)? => return Ok(Some(taken)),
                b'\n' | b'\r' => {}
                _ => taken += self.push_run(&input[taken..], limits),
            }
        }
        Ok(None)
    }

    /// Bytes of memory that hold it.
    pub(crate) fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Begins with another head. The bytes of those before it count for its bounds too.
    pub(crate) fn begin_again(&mut self) {
        *self = Self {
            bytes_before: self.bytes_before + self.bytes.len(),
            ..Self::default()
        };
    }

    /// The head so far, as it was received.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The request whose head is complete.
    pub(crate) fn request(&self) -> Result<Request<()>, HeadError> {
        let head = Bytes::copy_from_slice(&self.bytes);
        let (start, headers) = self.split(&head)?;
        let mut words = start.split(|&byte| byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(HeadError::StartLine);
        };
        let mut request = Request::new(());
        *request.version_mut() = parse_version(version)?;
        *request.method_mut() = Method::from_bytes(method).map_err(|_| HeadError::StartLine)?;
        *request.uri_mut() = parse_target(request.method(), head.slice_ref(target))?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// The response whose head is complete.
    pub(crate) fn response(&self) -> Result<Response<()>, HeadError> {
        let head = Bytes::copy_from_slice(&self.bytes);
        let (start, headers) = self.split(&head)?;
        let mut words = start.splitn(3, |&byte| byte == b' ');
        let (Some(version), Some(status)) = (words.next(), words.next()) else {
            return Err(HeadError::StartLine);
        };
        let mut response = Response::new(());
        *response.version_mut() = parse_version(version)?;
        *response.status_mut() =
            StatusCode::from_bytes(status).map_err(|_| HeadError::StartLine)?;
        *response.headers_mut() = headers;
        Ok(response)
    }

    fn push(&mut self, byte: u8, limits: &Limits) -> Result<(), HeadError> {
        if self.lines == 0 && self.bytes.len() - self.start >= limits.head_line_bytes_max {
            return Err(HeadError::LineTooLong {
                max: limits.head_line_bytes_max,
            });
        }
        if self.bytes.len() >= self.bytes_max(limits) {
            return Err(HeadError::TooLong {
                max: limits.head_bytes_max,
            });
        }
        let after_cr = self.bytes.last() == Some(&b'\r');
        match byte {
            b'\n' if !after_cr => return Err(HeadError::BareLf),
            b'\n' => {}
            _ if after_cr => return Err(HeadError::BareCr),
            b' ' | b'\t' if self.bytes.len() == self.line_start => {
                return Err(HeadError::FoldedLine);
            }
            b'\t' | b'\r' => {}
            0..0x20 | 0x7f => return Err(HeadError::ControlByte { byte }),
            _ => {}
        }
        self.bytes.push(byte);
        Ok(())
    }

    /// Appends the bytes that go on with a line and are nothing special, as far as the bounds
    /// allow; tells how many there were.
    fn push_run(&mut self, input: &[u8], limits: &Limits) -> usize {
        let end = match self.lines {
            0 => self
                .start
                .saturating_add(limits.head_line_bytes_max)
                .min(self.bytes_max(limits)),
            _ => self.bytes_max(limits),
        };
        let room = end.saturating_sub(self.bytes.len()).min(input.len());
        let run = position(&input[..room], |byte| byte < 0x20 || byte == 0x7f).unwrap_or(room);
        self.bytes.extend_from_slice(&input[..run]);
        run
    }

    fn bytes_max(&self, limits: &Limits) -> usize {
        limits.head_bytes_max.saturating_sub(self.bytes_before)
    }

    /// Ends the line in progress; tells whether it was the empty one that ends the head.
    fn end_line(&mut self, limits: &Limits) -> Result<bool, HeadError> {
        let is_empty = self.bytes.len() - self.line_start == 2;
        self.line_start = self.bytes.len();
        if is_empty && self.lines == 0 {
            self.empty_lines_left = self
                .empty_lines_left
                .checked_sub(1)
                .ok_or(HeadError::StartLine)?;
            self.start = self.line_start;
            return Ok(false);
        }
        if is_empty {
            return Ok(true);
        }
        self.lines += 1;
        let max = limits.headers_max.min(HEADERS_KEPT_MAX);
        if self.lines - 1 > max {
            return Err(HeadError::TooManyHeaders { max });
        }
        Ok(false)
    }

    /// The start line, and the headers, whose values share the memory of `head`.
    fn split<'a>(&self, head: &'a Bytes) -> Result<(&'a [u8], HeaderMap), HeadError> {
        let full = |_| HeadError::TooManyHeaders {
            max: HEADERS_KEPT_MAX,
        };
        let (start, mut rest) = split_line(&head[self.start..]);
        let mut headers = HeaderMap::try_with_capacity(self.lines - 1).map_err(full)?;
        for _ in 1..self.lines {
            let line;
            (line, rest) = split_line(rest);
            let (name, value) = parse_header(line, head)?;
            headers.try_append(name, value).map_err(full)?;
        }
        Ok((start, headers))
    }
}

impl fmt::Debug for HeadReader {
    /// Without the bytes, which may be of secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeadReader")
            .field("bytes", &self.bytes.len())
            .field("lines", &self.lines)
            .finish_non_exhaustive()
    }
}

/// The first line, and what follows it. Every LF stands behind a CR, and no CR stands elsewhere.
fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match position(bytes, |byte| byte == b'\r') {
        Some(end) => (&bytes[..end], &bytes[end + 2..]),
        None => (bytes, &[]),
    }
}

/// Where the first byte of a kind is. Sixteen are looked at together, which takes no longer than one.
fn position(bytes: &[u8], is_it: impl Fn(u8) -> bool) -> Option<usize> {
    let (chunks, _) = bytes.as_chunks::<16>();
    let none = |chunk: &&[u8; 16]| !chunk.iter().fold(false, |any, &byte| any | is_it(byte));
    let start = chunks.iter().take_while(none).count() * 16;
    let found = bytes[start..].iter().position(|&byte| is_it(byte))?;
    Some(start + found)
}

fn parse_version(bytes: &[u8]) -> Result<Version, HeadError> {
    match bytes {
        b"HTTP/1.1" => Ok(Version::HTTP_11),
        b"HTTP/1.0" => Ok(Version::HTTP_10),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            Err(HeadError::HttpVersion)
        }
        _ => Err(HeadError::StartLine),
    }
}

/// A request's target in the forms that are meant for an origin server (RFC 9112, section 3.2): a
/// path; a whole URL, which a server MUST accept too; `*`, for OPTIONS alone.
fn parse_target(method: &Method, target: Bytes) -> Result<Uri, HeadError> {
    let is_asterisk = *method == Method::OPTIONS && target == "*";
    let has_fragment = target.contains(&b'#');
    let is_path = target.starts_with(b"/");
    let uri = Uri::from_maybe_shared(target).map_err(|_| HeadError::Target)?;
    if !has_fragment && (is_path || is_asterisk || is_http_url(&uri)) {
        Ok(uri)
    } else {
        Err(HeadError::Target)
    }
}

/// Whether this is a URL that this kind of server can be asked for: by `http` or `ws`, or by the
/// secure ones, as TLS may end before us. User info is refused: it hides whose name it is
/// (RFC 9110, section 4.2.4).
fn is_http_url(uri: &Uri) -> bool {
    let schemes = ["http", "https", "ws", "wss"];
    let scheme = uri.scheme_str().unwrap_or_default();
    let authority = uri.authority().map(Authority::as_str);
    schemes.iter().any(|it| it.eq_ignore_ascii_case(scheme))
        && authority.and_then(Host::parse).is_some()
}

fn parse_header(line: &[u8], head: &Bytes) -> Result<(HeaderName, HeaderValue), HeadError> {
    let malformed = || HeadError::Header { line: quoted(line) };
    let colon = position(line, |byte| byte == b':').ok_or_else(malformed)?;
    // A name with white space around it is no token, so it fails here (RFC 9112, 5.1).
    let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| malformed())?;
    let value = head.slice_ref(line[colon + 1..].trim_ascii());
    let value = HeaderValue::from_maybe_shared(value).map_err(|_| malformed())?;
    Ok((name, value))
}

/// What is wrong with a head.
///
/// ```
/// use chappe_proto::handshake::HeadError;
///
/// let error = HeadError::TooManyHeaders { max: 100 };
/// assert_eq!((error.status().as_u16(), error.to_string().as_str()), (431, "head has more than 100 headers"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeadError {
    /// The start line is not `METHOD target HTTP/1.1`, or `HTTP/1.1 STATUS reason`.
    StartLine,
    /// The request's target is neither a path nor an `http` or `ws` URL (RFC 9112, section 3.2).
    Target,
    /// HTTP/1.1 is spoken here, and another version was asked for.
    HttpVersion,
    /// A line that is not `Name: value`.
    Header {
        /// The line, escaped and cut.
        line: String,
    },
    /// LF without CR before it.
    BareLf,
    /// CR without LF behind it.
    BareCr,
    /// A line that begins with white space.
    FoldedLine,
    /// A byte below 32, or 127.
    ControlByte {
        /// The byte.
        byte: u8,
    },
    /// The first line exceeds [`Limits::head_line_bytes_max`](crate::Limits).
    LineTooLong {
        /// The limit.
        max: usize,
    },
    /// The head, with those of interim responses before it, exceeds
    /// [`Limits::head_bytes_max`](crate::Limits).
    TooLong {
        /// The limit.
        max: usize,
    },
    /// More headers than [`Limits::headers_max`](crate::Limits), or than 24,576.
    TooManyHeaders {
        /// The limit.
        max: usize,
    },
}

impl HeadError {
    /// The status of the response that refuses such a request.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::HttpVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::LineTooLong { .. } => StatusCode::URI_TOO_LONG,
            Self::TooLong { .. } | Self::TooManyHeaders { .. } => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// A short name that never changes, for counts and logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::StartLine => "start_line",
            Self::Target => "target",
            Self::HttpVersion => "http_version",
            Self::Header { .. } => "header",
            Self::BareLf => "bare_lf",
            Self::BareCr => "bare_cr",
            Self::FoldedLine => "folded_line",
            Self::ControlByte { .. } => "control_byte",
            Self::LineTooLong { .. } => "line_too_long",
            Self::TooLong { .. } => "head_too_long",
            Self::TooManyHeaders { .. } => "too_many_headers",
        }
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StartLine => f.write_str("first line is not HTTP"),
            Self::Target => f.write_str("request target must be a path or a URL, such as /echo"),
            Self::HttpVersion => f.write_str("HTTP version must be 1.1"),
            Self::Header { line } => write!(f, "line {line} is not a header"),
            Self::BareLf => f.write_str("LF without CR in the head"),
            Self::BareCr => f.write_str("CR without LF in the head"),
            Self::FoldedLine => f.write_str("line in the head begins with whitespace"),
            Self::ControlByte { byte: 0x16 } => {
                f.write_str("control byte 0x16 in the head; is it TLS on a port for plain HTTP?")
            }
            Self::ControlByte { byte } => write!(f, "control byte {byte:#04x} in the head"),
            Self::LineTooLong { max } => write!(f, "first line exceeds the limit of {max} bytes"),
            Self::TooLong { max } => write!(f, "head exceeds the limit of {max} bytes"),
            Self::TooManyHeaders { max } => write!(f, "head has more than {max} headers"),
        }
    }
}

impl std::error::Error for HeadError {}

/// Empty lines before a request that are ignored. One is what clients are known to send.
const EMPTY_LINES_MAX: usize = 4;

/// Headers that a [`HeaderMap`] holds.
const HEADERS_KEPT_MAX: usize = 24_576;

/// Room that is made for a head at once.
const HEAD_BYTES_USUAL: usize = 2048;
