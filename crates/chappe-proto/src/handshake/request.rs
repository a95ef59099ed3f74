//! What a client asks for (RFC 6455, sections 3 and 4.1).
//!
//! In: a URL, subprotocols, headers. Out: the request's head, or why there can't be one. No byte
//! gets into a head that could end a line of it.

use std::fmt;

use http::Uri;
use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};

use super::is_token;
use super::origin::Host;

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
    pub(super) subprotocols: Vec<String>,
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
        if name == HOST {
            self.headers.insert(name, value);
        } else {
            self.headers.append(name, value);
        }
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
    pub(super) fn encode(&self, key: &str) -> Vec<u8> {
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

/// What can't be asked for.
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
