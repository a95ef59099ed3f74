//! The client's side of the opening handshake (RFC 6455, sections 3 and 4.1).
//!
//! In: a URL and what else to ask for; then the bytes of the response, the time. Out: the request;
//! then a response that was checked, or what is wrong with it. Redirects are not followed: a
//! server could send its visitors' handshakes anywhere (as WHATWG's standard says).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::{
    self, HOST, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{Response, StatusCode, Uri, Version};

use super::head::{HeadError, HeadReader};
use super::origin::Host;
use super::{extensions, has_token, is_token, key, quoted};
use crate::limits::Limits;
use crate::random::Random;
use crate::terms::State;
use crate::time::Time;

/// What a client asks for: a URL, subprotocols, more headers.
///
/// ```
/// use chappe_proto::handshake::ClientRequest;
///
/// let request = ClientRequest::new("ws://example.com/chat")?.subprotocol("superchat")?;
/// assert_eq!((request.host(), request.port()), ("example.com", 80));
/// # Ok::<(), chappe_proto::handshake::RequestError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClientRequest {
    uri: Uri,
    secure: bool,
    subprotocols: Vec<String>,
    headers: HeaderMap,
}

impl ClientRequest {
    /// A request for a URL with the scheme `ws` or `wss`; `http` and `https` mean the same.
    ///
    /// # Errors
    ///
    /// A [`RequestError`] that says what no WebSocket URL has (RFC 6455, section 3).
    pub fn new(url: &str) -> Result<Self, RequestError> {
        if url.contains('#') {
            return Err(RequestError::Fragment);
        }
        let uri: Uri = url.parse().map_err(|_| RequestError::Url)?;
        let secure = match uri.scheme_str().map(str::to_ascii_lowercase).as_deref() {
            Some("ws" | "http") => false,
            Some("wss" | "https") => true,
            Some(_) => return Err(RequestError::Scheme),
            None => return Err(RequestError::Url),
        };
        let authority = uri.authority().ok_or(RequestError::Url)?.as_str();
        if authority.contains('@') {
            return Err(RequestError::UserInfo);
        }
        if Host::parse(authority).is_none() {
            return Err(RequestError::Url);
        }
        let (subprotocols, headers) = (Vec::new(), HeaderMap::new());
        Ok(Self {
            uri,
            secure,
            subprotocols,
            headers,
        })
    }

    /// Offers a subprotocol, after those offered before.
    ///
    /// # Errors
    ///
    /// When it is no token, or was offered before (RFC 6455, section 4.1).
    pub fn subprotocol(mut self, name: &str) -> Result<Self, RequestError> {
        if !is_token(name) || self.subprotocols.iter().any(|offered| offered == name) {
            return Err(RequestError::Subprotocol);
        }
        self.subprotocols.push(name.to_owned());
        Ok(self)
    }

    /// Adds a header, such as `Origin`, `Authorization` or `Cookie`; `Host` takes the URL's place.
    ///
    /// # Errors
    ///
    /// For what is no header, and for those that belong to the handshake itself.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, RequestError> {
        let name: HeaderName = name.parse().map_err(|_| RequestError::Header)?;
        let value = HeaderValue::from_str(value).map_err(|_| RequestError::Header)?;
        if OWN_HEADERS.contains(&name.as_str()) {
            return Err(RequestError::OwnHeader {
                name: name.to_string(),
            });
        }
        self.headers.append(name, value);
        Ok(self)
    }

    /// The host to connect to: a name, an IPv4 address, or an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        let host = self.uri.host().expect("a URL that was accepted has a host");
        host.strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host)
    }

    /// The port to connect to: the URL's, else 80, or 443 for `wss`.
    pub fn port(&self) -> u16 {
        self.uri
            .port_u16()
            .unwrap_or(if self.secure { 443 } else { 80 })
    }

    /// Whether the URL asks for TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The request's head, with this key (section 4.1).
    fn encode(&self, key: &str) -> Vec<u8> {
        let mut head = Vec::with_capacity(512);
        let target = self
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str());
        let target = if target.starts_with('?') {
            format!("/{target}")
        } else {
            target.to_owned()
        };
        let mut line = |name: &str, value: &[u8]| {
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        };
        line("GET ", format!("{target} HTTP/1.1").as_bytes());
        if !self.headers.contains_key(HOST) {
            line("Host: ", self.host_header().as_bytes());
        }
        line("Upgrade: ", b"websocket");
        line("Connection: ", b"Upgrade");
        line("Sec-WebSocket-Key: ", key.as_bytes());
        line("Sec-WebSocket-Version: ", b"13");
        if !self.subprotocols.is_empty() {
            line(
                "Sec-WebSocket-Protocol: ",
                self.subprotocols.join(", ").as_bytes(),
            );
        }
        for (name, value) in &self.headers {
            line(&format!("{name}: "), value.as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        head
    }

    /// Host and port, the port only where it is not the scheme's default (section 4.1).
    fn host_header(&self) -> String {
        let host = self.uri.host().expect("a URL that was accepted has a host");
        let default = if self.secure { 443 } else { 80 };
        match self.uri.port_u16() {
            Some(port) if port != default => format!("{host}:{port}"),
            _ => host.to_owned(),
        }
    }
}

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
            let result = self.check(&response).map(|()| response);
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

    /// Section 4.1: what a response must hold to be accepted.
    fn check(&self, response: &Response<()>) -> Result<(), HandshakeError> {
        if response.version() != Version::HTTP_11 {
            return Err(HeadError::HttpVersion.into());
        }
        let headers = response.headers();
        let upgrade = single(headers, &UPGRADE, "Upgrade")?;
        if !upgrade.as_bytes().eq_ignore_ascii_case(b"websocket") {
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
        self.check_subprotocol(headers)?;
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
            None => Ok(()),
        }
    }

    fn check_subprotocol(&self, headers: &HeaderMap) -> Result<(), HandshakeError> {
        if !headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
            return Ok(());
        }
        let name = single(headers, &SEC_WEBSOCKET_PROTOCOL, "Sec-WebSocket-Protocol")?;
        if self
            .subprotocols
            .iter()
            .any(|offered| offered.as_bytes() == name.as_bytes())
        {
            return Ok(());
        }
        Err(HandshakeError::Subprotocol {
            name: quoted(name.as_bytes()),
        })
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

/// What can't be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// Not a URL with a scheme and a host.
    Url,
    /// Another scheme than `ws`, `wss`, `http` or `https`.
    Scheme,
    /// A fragment (`#…`), which WebSocket URLs must not have.
    Fragment,
    /// A user name or password in the URL.
    UserInfo,
    /// A subprotocol that is no token, or is offered twice.
    Subprotocol,
    /// Not a header: its name or value has bytes that no header has.
    Header,
    /// A header that the handshake itself sends.
    OwnHeader {
        /// Its name.
        name: String,
    },
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url => f.write_str("not a URL such as ws://example.com:8000/path"),
            Self::Scheme => f.write_str("scheme of the URL must be ws or wss"),
            Self::Fragment => f.write_str("a WebSocket URL must not have a fragment (#)"),
            Self::UserInfo => f.write_str(
                "user name in the URL would end up in logs; send a header Authorization for it",
            ),
            Self::Subprotocol => f.write_str("a subprotocol must be a token, and be offered once"),
            Self::Header => f.write_str("header name or value has bytes that no header may have"),
            Self::OwnHeader { name } => write!(f, "header {name} is set by the handshake itself"),
        }
    }
}

impl std::error::Error for RequestError {}

/// Why a handshake did not lead to a connection.
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

/// Headers that belong to the handshake, or would give the request a body.
const OWN_HEADERS: [&str; 9] = [
    "connection",
    "content-length",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "transfer-encoding",
    "upgrade",
];
