//! What a client asks for (RFC 6455, sections 3 and 4.1).
//!
//! In: a URL, subprotocols, headers. Out: the request's head, or why they are invalid. No byte
//! gets into a head that could end a line of it, and none that is not ASCII into its first line.

use std::fmt;

use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};

use super::origin::Host;
use super::{is_token, percent};

/// What a client asks for: a URL, subprotocols, more headers.
///
/// ```
/// use chappe_proto::handshake::ClientRequest;
///
/// let request = ClientRequest::new("ws://example.com/chat")?.subprotocol("superchat")?;
/// assert_eq!((request.host(), request.port()), ("example.com", 80));
/// # Ok::<(), chappe_proto::handshake::RequestError>(())
/// ```
#[derive(Clone)]
pub struct ClientRequest {
    /// A name, an IPv4 address, or an IPv6 address in brackets.
    host: String,
    port: Option<u16>,
    secure: bool,
    /// Path and query, as they are sent.
    target: String,
    pub(super) subprotocols: Vec<String>,
    headers: HeaderMap,
}

impl ClientRequest {
    /// A request for a URL with the scheme `ws` or `wss`; `http` and `https` mean the same.
    ///
    /// Path and query are encoded as the URL standard says. Names of hosts have to be in ASCII,
    /// international ones in their form `xn--…`.
    ///
    /// ```
    /// use chappe_proto::handshake::{ClientHandshake, ClientRequest};
    /// use chappe_proto::{Limits, SystemRandom, Time};
    ///
    /// let request = ClientRequest::new("ws://example.com/caf\u{e9}?q={1 2}")?;
    /// let limits = std::sync::Arc::new(Limits::default());
    /// let handshake = ClientHandshake::new(Time::ZERO, request, limits, &mut SystemRandom);
    /// assert!(handshake.request().starts_with(b"GET /caf%C3%A9?q={1%202} HTTP/1.1\r\n"));
    /// # Ok::<(), chappe_proto::handshake::RequestError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A [`RequestError`] that says what no WebSocket URL has (RFC 6455, section 3).
    pub fn new(url: &str) -> Result<Self, RequestError> {
        let url = url.trim_matches(|character: char| character <= ' ');
        if url.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(RequestError::ControlCharacter);
        }
        if url.contains('#') {
            return Err(RequestError::Fragment);
        }
        let (scheme, rest) = url.split_once(':').ok_or(RequestError::Url)?;
        // A backslash is read as a slash here, as browsers do.
        let is_slash = |character| character == '/' || character == '\\';
        let rest = rest.strip_prefix(is_slash).ok_or(RequestError::Url)?;
        let rest = rest.strip_prefix(is_slash).ok_or(RequestError::Url)?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "ws" | "http" => false,
            "wss" | "https" => true,
            _ => return Err(RequestError::Scheme),
        };
        let end = rest.find(['/', '\\', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        let host = parse_authority(authority)?;
        Ok(Self {
            host: host.name.to_owned(),
            port: host.port,
            secure,
            target: percent::request_target(path, query),
            subprotocols: Vec::new(),
            headers: HeaderMap::new(),
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
        if name == HOST {
            self.headers.insert(name, value);
        } else {
            self.headers.append(name, value);
        }
        Ok(self)
    }

    /// The host to connect to: a name, an IPv4 address, or an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        let ipv6 = self.host.strip_prefix('[');
        ipv6.and_then(|host| host.strip_suffix(']'))
            .unwrap_or(&self.host)
    }

    /// The port to connect to: the URL's, else 80, or 443 for `wss`.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(self.default_port())
    }

    fn default_port(&self) -> u16 {
        if self.secure { 443 } else { 80 }
    }

    /// Whether the URL asks for TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The request's head, with this key (section 4.1).
    pub(super) fn encode(&self, key: &str) -> Vec<u8> {
        let mut head = Vec::with_capacity(512);
        let mut line = |name: &str, value: &[u8]| {
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        };
        line("GET ", format!("{} HTTP/1.1", self.target).as_bytes());
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
        match self.port {
            Some(port) if port != self.default_port() => format!("{}:{port}", self.host),
            _ => self.host.clone(),
        }
    }
}

/// The host and port of a URL; a port that is empty is the default.
fn parse_authority(authority: &str) -> Result<Host<'_>, RequestError> {
    if authority.contains('@') {
        return Err(RequestError::UserInfo);
    }
    if !authority.is_ascii() {
        return Err(RequestError::InternationalHost);
    }
    let host = match authority.strip_suffix(':') {
        Some(name) => Host::parse(name).filter(|host| host.port.is_none()),
        None => Host::parse(authority),
    };
    host.ok_or(RequestError::Url)
}

impl fmt::Debug for ClientRequest {
    /// Without the query and the values of headers, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientRequest")
            .field("host", &self.host())
            .field("port", &self.port())
            .field("subprotocols", &self.subprotocols)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// Why a request is invalid.
///
/// ```
/// use chappe_proto::handshake::{ClientRequest, RequestError};
///
/// let error = ClientRequest::new("ftp://example.com").unwrap_err();
/// assert_eq!(error, RequestError::Scheme);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// Not a URL with a scheme and a host.
    Url,
    /// A control character inside the URL, such as a line break.
    ControlCharacter,
    /// A host whose name is not in ASCII.
    InternationalHost,
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
            Self::ControlCharacter => {
                f.write_str("a URL must not have line breaks or control characters in it")
            }
            Self::InternationalHost => f.write_str(
                "host name must be written in its ASCII form, such as xn--caf-dma.example",
            ),
            Self::Scheme => f.write_str("scheme of the URL must be ws or wss"),
            Self::Fragment => f.write_str("a WebSocket URL must not have a fragment (#)"),
            Self::UserInfo => f.write_str(
                "a user name in the URL would end up in logs; send an Authorization header instead",
            ),
            Self::Subprotocol => {
                f.write_str("a subprotocol must be a token and may be offered only once")
            }
            Self::Header => {
                f.write_str("header name or value contains bytes that are not allowed in headers")
            }
            Self::OwnHeader { name } => write!(f, "header {name} is set by the handshake itself"),
        }
    }
}

impl std::error::Error for RequestError {}

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
