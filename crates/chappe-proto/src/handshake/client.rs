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

use super::body::BodyReader;
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
pub struct ClientHandshake {
    request: Vec<u8>,
    subprotocols: Vec<String>,
    /// Which of them the server has chosen.
    chosen: Option<usize>,
    accept: String,
    limits: Arc<Limits>,
    deadline: Time,
    progress: Progress,
}

/// What is read of the response.
#[derive(Debug)]
enum Progress {
    Head(HeadReader),
    /// The body of a response that refuses.
    Body(Response<()>, BodyReader),
}

impl ClientHandshake {
    /// Starts on a new stream; the time allowed is [`Limits::handshake_timeout`].
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
            progress: Progress::Head(HeadReader::default()),
        }
    }

    /// The request's head, to be sent first of all.
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Consumes a prefix of `input`: all of it, or up to the end of the response's head.
    ///
    /// Gives the number of bytes consumed and, at the end, the response. What follows the head of
    /// a response that accepts is WebSocket frames. Interim responses before it, such as
    /// `103 Early Hints`, are skipped (RFC 9110, section 15.2), as long as all heads together keep
    /// within [`Limits::head_bytes_max`].
    pub fn handle_input(
        &mut self,
        input: &[u8],
    ) -> (usize, Option<Result<Response<()>, HandshakeError>>) {
        let mut consumed = 0;
        while let Progress::Head(reader) = &mut self.progress {
            match reader.handle_input(&input[consumed..], &self.limits) {
                Ok(None) => return (input.len(), None),
                Ok(Some(length)) => consumed += length,
                Err(error) => return (input.len(), Some(Err(error.into()))),
            }
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
            if response.status().is_informational() {
                reader.begin_again();
            } else {
                let body = BodyReader::new(&response);
                self.progress = Progress::Body(response, body);
            }
        }
        let is_complete = match &mut self.progress {
            Progress::Body(_, body) => body.handle_input(&input[consumed..]),
            Progress::Head(_) => false,
        };
        let error = if is_complete { self.refused() } else { None };
        (input.len(), error.map(Err))
    }

    /// The stream ended before the handshake did.
    pub fn handle_eof(&mut self) -> HandshakeError {
        self.refused().unwrap_or(HandshakeError::Eof)
    }

    /// Gives up at the deadline.
    pub fn handle_timeout(&mut self, now: Time) -> Option<HandshakeError> {
        if now < self.deadline {
            return None;
        }
        let after = self.limits.handshake_timeout;
        Some(self.refused().unwrap_or(HandshakeError::Timeout { after }))
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

    /// The response that refuses, with what has come of its body.
    fn refused(&mut self) -> Option<HandshakeError> {
        let Progress::Body(response, body) = &mut self.progress else {
            return None;
        };
        let response = std::mem::take(response).map(|()| body.take_bytes());
        Some(HandshakeError::Refused {
            response: Box::new(response),
        })
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

impl fmt::Debug for ClientHandshake {
    /// Without the request's head, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientHandshake")
            .field("subprotocols", &self.subprotocols)
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
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
    /// Another status than 101. The body is decoded if it came in chunks, and cut at 4 KiB.
    Refused {
        /// The response.
        response: Box<Response<Vec<u8>>>,
    },
    /// A required header is missing.
    Missing {
        /// Its name.
        header: &'static str,
    },
    /// A header that must appear exactly once.
    Repeated {
        /// Its name.
        header: &'static str,
    },
    /// A header with another value than it must have.
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
            Self::Eof => f.write_str("stream ended before the response was complete"),
            Self::Refused { response } => {
                write!(
                    f,
                    "server answered with status {}, not 101",
                    response.status()
                )
            }
            Self::Missing { header } => write!(f, "header {header} is missing from the response"),
            Self::Repeated { header } => {
                write!(
                    f,
                    "header {header} must appear exactly once in the response"
                )
            }
            Self::Malformed { header } => {
                write!(f, "header {header} in the response has the wrong value")
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
