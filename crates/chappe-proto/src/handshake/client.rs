//! The client's side of the opening handshake (RFC 6455, section 4.1).
//!
//! In: what to ask for; then the bytes of the response, the time. Out: the request's head; then a
//! response that was checked, or what is wrong with it. Redirects are not followed: a
//! server could send its visitors' handshakes anywhere (as WHATWG's standard says).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::{
    self, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{Response, StatusCode, Version};

use super::head::{HeadError, HeadReader};
use super::request::ClientRequest;
use super::{elements, extensions, has_token, key, quoted};
use crate::limits::Limits;
use crate::random::Random;
use crate::terms::State;
use crate::time::Time;

/// Opens a connection: sends the request, checks the response.
///
/// ```
/// use std::sync::Arc;
/// use chappe_proto::handshake::{ClientHandshake, ClientRequest, Policy, ServerHandshake};
/// use chappe_proto::{Limits, SystemRandom, Time};
///
/// let limits = Arc::new(Limits::default());
/// let request = ClientRequest::new("ws://example.com/chat")?;
/// let mut client = ClientHandshake::new(Time::ZERO, request, limits.clone(), &mut SystemRandom);
/// let mut server = ServerHandshake::new(Time::ZERO, limits);
///
/// let (_, request) = server.handle_input(client.request());
/// let response = Policy::default().accept(&request.unwrap()?)?.response();
/// let (consumed, response) = client.handle_input(&response);
/// assert_eq!(response.unwrap()?.status(), 101);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ClientHandshake {
    request: Vec<u8>,
    subprotocols: Vec<String>,
    /// Which of them the server has chosen.
    chosen: Option<usize>,
    accept: String,
    limits: Arc<Limits>,
    deadline: Time,
    reading: Reading,
}

#[derive(Debug)]
enum Reading {
    Head(HeadReader),
    /// The body of a response that refuses: it often says why.
    Body {
        response: Response<Vec<u8>>,
        missing: usize,
    },
}

impl ClientHandshake {
    /// Begins on a new stream; the time allowed is [`Limits::handshake_timeout`].
    pub fn new(
        now: Time,
        request: ClientRequest,
        limits: Arc<Limits>,
        random: &mut dyn Random,
    ) -> Self {
        let mut nonce = [0; 16];
        random.fill(&mut nonce);
        let key = key::encode(nonce);
        Self {
            request: request.encode(&key),
            subprotocols: request.subprotocols,
            chosen: None,
            accept: key::accept(key.as_bytes()),
            deadline: now + limits.handshake_timeout,
            limits,
            reading: Reading::Head(HeadReader::default()),
        }
    }

    /// The request's head, to be sent first of all.
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Consumes a prefix of `input`: all of it, or up to the end of the response's head.
    ///
    /// Gives the number of bytes consumed and, at the end, the response. What follows the head of
    /// a response that accepts is WebSocket frames.
    pub fn handle_input(
        &mut self,
        input: &[u8],
    ) -> (usize, Option<Result<Response<()>, HandshakeError>>) {
        match &mut self.reading {
            Reading::Head(reader) => match reader.handle_input(input, &self.limits) {
                Ok(None) => (input.len(), None),
                Ok(Some(consumed)) => self.handle_head(consumed, input),
                Err(error) => (input.len(), Some(Err(error.into()))),
            },
            Reading::Body { .. } => (input.len(), self.handle_body(input).map(Err)),
        }
    }

    /// The stream ended before the handshake did.
    pub fn handle_eof(&mut self) -> HandshakeError {
        match &mut self.reading {
            Reading::Body { response, .. } => refused(response),
            Reading::Head(_) => HandshakeError::Eof,
        }
    }

    /// Gives up at the deadline.
    pub fn handle_timeout(&mut self, now: Time) -> Option<HandshakeError> {
        if now < self.deadline {
            return None;
        }
        match &mut self.reading {
            Reading::Body { response, .. } => Some(refused(response)),
            Reading::Head(_) => Some(HandshakeError::Timeout {
                after: self.limits.handshake_timeout,
            }),
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Time {
        self.deadline
    }

    /// The subprotocol that the server has chosen, once its response was accepted.
    pub fn subprotocol(&self) -> Option<&str> {
        self.chosen.map(|chosen| self.subprotocols[chosen].as_str())
    }

    /// CONNECTING, until a [`Connection`](crate::Connection) takes over.
    pub fn state(&self) -> State {
        State::Connecting
    }

    fn handle_head(
        &mut self,
        consumed: usize,
        input: &[u8],
    ) -> (usize, Option<Result<Response<()>, HandshakeError>>) {
        let Reading::Head(reader) = &self.reading else {
            unreachable!("called at a head's end")
        };
        let response = match reader.response() {
            Ok(response) => response,
            Err(error) => return (input.len(), Some(Err(error.into()))),
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let result = self.check(&response).map(|chosen| {
                self.chosen = chosen;
                response
            });
            return (consumed, Some(result));
        }
        let missing = body_length(&response);
        self.reading = Reading::Body {
            response: response.map(|()| Vec::new()),
            missing,
        };
        (input.len(), self.handle_body(&input[consumed..]).map(Err))
    }

    fn handle_body(&mut self, input: &[u8]) -> Option<HandshakeError> {
        let Reading::Body { response, missing } = &mut self.reading else {
            return None;
        };
        let piece = &input[..input.len().min(*missing)];
        response.body_mut().extend_from_slice(piece);
        *missing -= piece.len();
        (*missing == 0).then(|| refused(response))
    }

    /// Section 4.1: what a response must hold to be accepted. Gives the subprotocol chosen.
    fn check(&self, response: &Response<()>) -> Result<Option<usize>, HandshakeError> {
        if response.version() != Version::HTTP_11 {
            return Err(HeadError::HttpVersion.into());
        }
        let headers = response.headers();
        let upgrade = single(headers, &UPGRADE, "Upgrade")?;
        if !only_element(upgrade).is_some_and(|it| it.eq_ignore_ascii_case("websocket")) {
            return Err(HandshakeError::Malformed { header: "Upgrade" });
        }
        if !has_token(headers, &header::CONNECTION, "upgrade") {
            return Err(HandshakeError::Missing {
                header: "Connection: Upgrade",
            });
        }
        let accept = single(headers, &SEC_WEBSOCKET_ACCEPT, "Sec-WebSocket-Accept")?;
        if accept.as_bytes() != self.accept.as_bytes() {
            return Err(HandshakeError::Malformed {
                header: "Sec-WebSocket-Accept",
            });
        }
        let chosen = self.choose_subprotocol(headers)?;
        let lines = headers
            .get_all(SEC_WEBSOCKET_EXTENSIONS)
            .iter()
            .map(HeaderValue::as_bytes);
        let extensions = extensions::parse(lines).map_err(|_| HandshakeError::Malformed {
            header: "Sec-WebSocket-Extensions",
        })?;
        match extensions.first() {
            Some(extension) => Err(HandshakeError::Extension {
                name: extension.name.to_owned(),
            }),
            None => Ok(chosen),
        }
    }

    /// The server's choice, as its place among those offered. An empty header chooses none.
    fn choose_subprotocol(&self, headers: &HeaderMap) -> Result<Option<usize>, HandshakeError> {
        if !headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
            return Ok(None);
        }
        let value = single(headers, &SEC_WEBSOCKET_PROTOCOL, "Sec-WebSocket-Protocol")?;
        let name = only_element(value);
        let chosen = self
            .subprotocols
            .iter()
            .position(|offered| name == Some(offered.as_str()));
        if chosen.is_some() || name == Some("") {
            return Ok(chosen);
        }
        Err(HandshakeError::Subprotocol {
            name: quoted(value.as_bytes()),
        })
    }
}

/// The one element of a list, empty ones beside it ignored (RFC 9110, section 5.6.1.2); empty when
/// there are only such, `None` when there are several.
fn only_element(value: &HeaderValue) -> Option<&str> {
    let mut found = elements(value.to_str().ok()?).filter(|element| !element.is_empty());
    let first = found.next().unwrap_or_default();
    found.next().is_none().then_some(first)
}

fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    header: &'static str,
) -> Result<&'a HeaderValue, HandshakeError> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or(HandshakeError::Missing { header })?;
    if values.next().is_some() {
        Err(HandshakeError::Repeated { header })
    } else {
        Ok(value)
    }
}

/// How much of a refusal's body to read: all of it, within reason.
fn body_length(response: &Response<()>) -> usize {
    if response.headers().contains_key(header::TRANSFER_ENCODING) {
        return 0;
    }
    match response.headers().get(header::CONTENT_LENGTH) {
        Some(length) => {
            let length = length.to_str().ok().and_then(|length| length.parse().ok());
            length.map_or(0, |length: u64| length.min(BODY_BYTES_MAX as u64) as usize)
        }
        None => BODY_BYTES_MAX,
    }
}

fn refused(response: &mut Response<Vec<u8>>) -> HandshakeError {
    HandshakeError::Refused {
        response: Box::new(std::mem::take(response)),
    }
}

/// Why a handshake did not lead to a connection.
///
/// ```
/// use std::sync::Arc;
/// use chappe_proto::handshake::{ClientHandshake, ClientRequest, HandshakeError};
/// use chappe_proto::{Limits, SystemRandom, Time};
///
/// let request = ClientRequest::new("ws://example.com/chat")?;
/// let limits = Arc::new(Limits::default());
/// let mut client = ClientHandshake::new(Time::ZERO, request, limits, &mut SystemRandom);
/// let (_, response) = client.handle_input(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
/// let Some(Err(HandshakeError::Refused { response })) = response else { panic!("{response:?}") };
/// assert_eq!(response.status(), 404);
/// # Ok::<(), chappe_proto::handshake::RequestError>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The response's head is not HTTP/1.1, or exceeds a limit.
    Head(HeadError),
    /// The response was not complete in time.
    Timeout {
        /// The limit.
        after: Duration,
    },
    /// The stream ended before the response was complete.
    Eof,
    /// Another status than 101. The body is cut at 4 KiB.
    Refused {
        /// The response.
        response: Box<Response<Vec<u8>>>,
    },
    /// A header that must be there.
    Missing {
        /// Its name.
        header: &'static str,
    },
    /// A header that must be there but once.
    Repeated {
        /// Its name.
        header: &'static str,
    },
    /// A header that is not what it must be.
    Malformed {
        /// Its name.
        header: &'static str,
    },
    /// A subprotocol that was not offered.
    Subprotocol {
        /// The subprotocol, quoted and escaped.
        name: String,
    },
    /// An extension that was not offered.
    Extension {
        /// The extension.
        name: String,
    },
}

impl From<HeadError> for HandshakeError {
    fn from(error: HeadError) -> Self {
        Self::Head(error)
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head(error) => write!(f, "malformed response: {error}"),
            Self::Timeout { after } => {
                write!(f, "no complete response within {} s", after.as_secs_f64())
            }
            Self::Eof => f.write_str("stream ended before the response did"),
            Self::Refused { response } => {
                write!(
                    f,
                    "server answered with status {}, not 101",
                    response.status()
                )
            }
            Self::Missing { header } => write!(f, "header {header} is missing in the response"),
            Self::Repeated { header } => {
                write!(f, "header {header} must stand once in the response")
            }
            Self::Malformed { header } => {
                write!(f, "header {header} in the response is not what it must be")
            }
            Self::Subprotocol { name } => {
                write!(f, "server chose subprotocol {name}, which was not offered")
            }
            Self::Extension { name } => {
                write!(
                    f,
                    "server chose extension \"{name}\", which was not offered"
                )
            }
        }
    }
}

impl std::error::Error for HandshakeError {}

/// Bytes of a refusal's body that are kept.
const BODY_BYTES_MAX: usize = 4096;
