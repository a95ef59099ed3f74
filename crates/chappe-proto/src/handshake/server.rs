//! The server's side of the opening handshake (RFC 6455, section 4.2).
//!
//! In: the bytes of a request's head, the time, a [`Policy`]. Out: an [`Acceptance`] or a
//! [`Refusal`], each with the response to send. Every refusal closes the connection: what follows
//! a refused request could be anything.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::{
    self, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN,
    SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Request, StatusCode, Version};

use super::head::{HeadError, HeadReader};
use super::origin::{Host, Hosts, Origins};
use super::{EMPTY_ELEMENTS_MAX, elements, extensions, has_token, is_token, key, quoted};
use crate::limits::Limits;
use crate::terms::State;
use crate::time::Time;

/// Reads the request that opens a connection.
///
/// ```
/// use std::sync::Arc;
/// use chappe_proto::handshake::{Policy, ServerHandshake};
/// use chappe_proto::{Limits, Time};
///
/// let mut handshake = ServerHandshake::new(Time::ZERO, Arc::new(Limits::default()));
/// let head = b"GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
///     Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
///     Sec-WebSocket-Version: 13\r\n\r\n";
/// let (consumed, request) = handshake.handle_input(head);
/// assert_eq!(consumed, head.len());
/// let acceptance = Policy::default().accept(&request.unwrap()?)?;
/// assert!(acceptance.response().starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
/// # Ok::<(), chappe_proto::handshake::Refusal>(())
/// ```
#[derive(Debug)]
pub struct ServerHandshake {
    reader: HeadReader,
    limits: Arc<Limits>,
    deadline: Time,
}

impl ServerHandshake {
    /// Starts on a new stream; the time allowed is [`Limits::handshake_timeout`].
    pub fn new(now: Time, limits: Arc<Limits>) -> Self {
        let deadline = now + limits.handshake_timeout;
        Self {
            reader: HeadReader::of_request(),
            limits,
            deadline,
        }
    }

    /// Consumes a prefix of `input`: all of it, or up to the head's end.
    ///
    /// Gives the number of bytes consumed and, at the head's end, the request. What follows the
    /// head is left to whoever answers. Where a request's target is a whole URL, as proxies are
    /// sent it, the request's URI has a host too (RFC 9112, section 3.2.2).
    pub fn handle_input(&mut self, input: &[u8]) -> (usize, Option<Result<Request<()>, Refusal>>) {
        match self.reader.handle_input(input, &self.limits) {
            Ok(None) => (input.len(), None),
            Ok(Some(consumed)) => (consumed, Some(self.reader.request().map_err(Refusal::Head))),
            Err(error) => (input.len(), Some(Err(Refusal::Head(error)))),
        }
    }

    /// Refuses a head that is not complete by the deadline.
    pub fn handle_timeout(&mut self, now: Time) -> Option<Refusal> {
        let after = self.limits.handshake_timeout;
        (self.deadline <= now).then_some(Refusal::Timeout { after })
    }

    /// Bytes of memory that hold the head, as far as it has arrived.
    pub fn held_bytes(&self) -> usize {
        self.reader.held_bytes()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Time {
        self.deadline
    }

    /// CONNECTING, until a [`Connection`](crate::Connection) takes over.
    pub fn state(&self) -> State {
        State::Connecting
    }

    /// The head as it was received, for an HTTP stack that is to answer.
    pub fn into_head(self) -> Vec<u8> {
        self.reader.into_bytes()
    }
}

/// Whether a request asks for a WebSocket: its `Upgrade` header names `websocket`.
///
/// Anything else is plain HTTP, and for an HTTP stack to answer, or a handshake that a proxy has
/// taken `Upgrade` away from: [`Policy::accept`] tells these two apart.
///
/// ```
/// use chappe_proto::handshake::is_upgrade;
///
/// let request = http::Request::get("/chat").header("Upgrade", "websocket").body(())?;
/// assert!(is_upgrade(&request));
/// # Ok::<(), http::Error>(())
/// ```
pub fn is_upgrade(request: &Request<()>) -> bool {
    has_token(request.headers(), &UPGRADE, "websocket")
}

/// Which handshakes a server accepts, beyond what the RFC demands.
///
/// ```
/// use chappe_proto::handshake::{Origins, Policy};
///
/// let mut policy = Policy::default();
/// policy.subprotocols = vec!["chat".to_owned()];
/// policy.origins = Origins::Listed(vec!["https://example.com".to_owned()]);
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Policy {
    /// Subprotocols that the server speaks, the preferred one first. Default: none.
    pub subprotocols: Vec<String>,
    /// Pages that may connect. Default: those of the same origin.
    pub origins: Origins,
    /// Names that the server may be reached by. Default: any.
    pub hosts: Hosts,
}

impl Policy {
    /// Checks a request (section 4.2.1).
    ///
    /// # Errors
    ///
    /// [`Refusal::NotUpgrade`] for what is no handshake but plain HTTP, for an HTTP stack to
    /// answer; else the first rule that the request breaks.
    pub fn accept(&self, request: &Request<()>) -> Result<Acceptance, Refusal> {
        let headers = request.headers();
        // Before all else: a proxy that drops these often speaks HTTP/1.0 too, or changes `Host`.
        if !is_upgrade(request) {
            return Err(if is_left_of_handshake(headers) {
                Refusal::UpgradeDropped {
                    header: "Upgrade: websocket",
                }
            } else {
                Refusal::NotUpgrade
            });
        }
        if !has_token(headers, &header::CONNECTION, "upgrade") {
            return Err(Refusal::UpgradeDropped {
                header: "Connection: Upgrade",
            });
        }
        if request.version() != Version::HTTP_11 {
            return Err(Refusal::Head(HeadError::HttpVersion));
        }
        if request.method() != Method::GET {
            return Err(Refusal::Method);
        }
        if has_body(headers) {
            return Err(Refusal::Body);
        }
        let host = self.host(request)?;
        match single(request, &SEC_WEBSOCKET_VERSION, "Sec-WebSocket-Version")? {
            Some(version) if version == "13" => {}
            _ => return Err(Refusal::Version),
        }
        let Some(key) = single(request, &SEC_WEBSOCKET_KEY, "Sec-WebSocket-Key")? else {
            return Err(Refusal::Missing {
                header: "Sec-WebSocket-Key",
            });
        };
        if !key::is_valid(key.as_bytes()) {
            return Err(Refusal::Malformed {
                header: "Sec-WebSocket-Key",
            });
        }
        self.check_origin(request, host)?;
        let extensions = headers.get_all(SEC_WEBSOCKET_EXTENSIONS).iter();
        extensions::parse(extensions.map(HeaderValue::as_bytes)).map_err(|_| {
            Refusal::Malformed {
                header: "Sec-WebSocket-Extensions",
            }
        })?;
        let subprotocol = self.choose_subprotocol(request)?;
        Ok(Acceptance {
            accept: key::accept(key.as_bytes()),
            subprotocol,
        })
    }

    /// Checks the host that was asked for alone, as plain HTTP requests need it too.
    ///
    /// A request of HTTP/1.0 may come without `Host` (RFC 9112, section 3.2). That is no browser,
    /// so no page is behind it that this check guards from: health checks ask so.
    ///
    /// # Errors
    ///
    /// When it is missing, repeated, malformed, or not among [`Policy::hosts`].
    pub fn check_host(&self, request: &Request<()>) -> Result<(), Refusal> {
        self.host(request).map(|_| ())
    }

    /// The host that was asked for; `None` where a request of HTTP/1.0 names none.
    fn host<'a>(&self, request: &'a Request<()>) -> Result<Option<Host<'a>>, Refusal> {
        let malformed = Refusal::Malformed { header: "Host" };
        let mut asked = None;
        if let Some(value) = single(request, &HOST, "Host")? {
            let text = value.to_str().map_err(|_| malformed.clone())?;
            asked = Some((text, Host::parse(text).ok_or(malformed)?));
        } else if request.version() == Version::HTTP_11 {
            return Err(Refusal::Missing { header: "Host" });
        }
        // RFC 9112, 3.2.2: where the target is a URL, its host MUST be taken, and `Host` ignored.
        if let Some(authority) = request.uri().authority() {
            let host = Host::parse(authority.as_str()).ok_or(Refusal::Head(HeadError::Target))?;
            asked = Some((authority.as_str(), host));
        }
        match asked {
            Some((_, host)) if self.hosts.allow(&host) => Ok(Some(host)),
            Some((text, _)) => Err(Refusal::Host {
                host: quoted(text.as_bytes()),
            }),
            None if request.version() < Version::HTTP_11 => Ok(None),
            None => Err(Refusal::Missing { header: "Host" }),
        }
    }

    fn check_origin(&self, request: &Request<()>, host: Option<Host<'_>>) -> Result<(), Refusal> {
        let Some(value) = single(request, &ORIGIN, "Origin")? else {
            return Ok(());
        };
        match value.to_str() {
            Ok(origin) if self.origins.allow_at(origin, host) => Ok(()),
            _ => Err(Refusal::Origin {
                origin: quoted(value.as_bytes()),
                host: quoted(
                    host.map_or(String::new(), |host| host.to_string())
                        .as_bytes(),
                ),
            }),
        }
    }

    /// The first of ours that the client offers; none is legal too (section 4.2.2).
    fn choose_subprotocol(&self, request: &Request<()>) -> Result<Option<String>, Refusal> {
        let malformed = Refusal::Malformed {
            header: "Sec-WebSocket-Protocol",
        };
        let mut offered: Vec<&str> = Vec::new();
        let mut empty = 0;
        for value in request.headers().get_all(SEC_WEBSOCKET_PROTOCOL) {
            let Ok(value) = value.to_str() else {
                return Err(malformed);
            };
            for name in elements(value) {
                // RFC 9110, 5.6.1.2: a reasonable number of empty elements MUST be ignored.
                if name.is_empty() && empty < EMPTY_ELEMENTS_MAX {
                    empty += 1;
                    continue;
                }
                // Section 4.1: the elements MUST be tokens, and MUST all be unique.
                let repeated = offered.contains(&name);
                if !is_token(name) || repeated || offered.len() == SUBPROTOCOLS_MAX {
                    return Err(malformed);
                }
                offered.push(name);
            }
        }
        Ok(self
            .subprotocols
            .iter()
            .find(|name| offered.contains(&name.as_str()))
            .cloned())
    }
}

/// Whether a request was a handshake before a proxy took its hop-by-hop headers away (RFC 9110,
/// section 7.6.1): only a WebSocket client sends what is left.
fn is_left_of_handshake(headers: &HeaderMap) -> bool {
    headers.contains_key(SEC_WEBSOCKET_KEY) || headers.contains_key(SEC_WEBSOCKET_VERSION)
}

/// Whether a request announces a body. `Content-Length: 0`, which some clients send with every
/// request, announces that there is none (RFC 9112, section 6.3); no other form of it is taken for
/// that, as another parser may see a body there.
fn has_body(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let is_zero = |length: &HeaderValue| {
        !length.is_empty() && length.as_bytes().iter().all(|&digit| digit == b'0')
    };
    headers.contains_key(TRANSFER_ENCODING)
        || lengths.next().is_some_and(|length| !is_zero(length))
        || lengths.next().is_some()
}

/// The header's value, if there is one; two are refused, as they could be read in two ways.
fn single<'a>(
    request: &'a Request<()>,
    name: &HeaderName,
    header: &'static str,
) -> Result<Option<&'a HeaderValue>, Refusal> {
    let mut values = request.headers().get_all(name).iter();
    let value = values.next();
    if values.next().is_some() {
        Err(Refusal::Repeated { header })
    } else {
        Ok(value)
    }
}

/// A handshake that is accepted.
///
/// ```
/// use chappe_proto::handshake::Policy;
///
/// let request = http::Request::get("/chat")
///     .header("Host", "example.com")
///     .header("Upgrade", "websocket")
///     .header("Connection", "Upgrade")
///     .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
///     .header("Sec-WebSocket-Version", "13")
///     .body(())?;
/// let response = Policy::default().accept(&request)?.response();
/// assert!(response.ends_with(b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acceptance {
    accept: String,
    subprotocol: Option<String>,
}

impl Acceptance {
    /// The response's head (section 4.2.2). WebSocket frames follow it.
    pub fn response(&self) -> Vec<u8> {
        let mut response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n",
            self.accept
        );
        if let Some(subprotocol) = &self.subprotocol {
            response.push_str("Sec-WebSocket-Protocol: ");
            response.push_str(subprotocol);
            response.push_str("\r\n");
        }
        response.push_str("\r\n");
        response.into_bytes()
    }

    /// The subprotocol agreed on.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }
}

/// Why a handshake was refused.
///
/// ```
/// use chappe_proto::handshake::{Policy, Refusal};
///
/// let request = http::Request::get("/chat").header("Host", "example.com").body(())?;
/// let refusal = Policy::default().accept(&request).unwrap_err();
/// assert_eq!(refusal, Refusal::NotUpgrade);
/// assert!(refusal.response().starts_with(b"HTTP/1.1 426 Upgrade Required\r\n"));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The head is not HTTP/1.1, or exceeds a limit: 400, 414, 431 or 505.
    Head(HeadError),
    /// The head was not complete in time: 408.
    Timeout {
        /// The limit.
        after: Duration,
    },
    /// Not a WebSocket handshake, where nothing else is spoken: 426.
    NotUpgrade,
    /// A handshake without `Upgrade: websocket` or `Connection: Upgrade`, as proxies pass it on that
    /// do not know WebSocket: 426.
    UpgradeDropped {
        /// What is missing.
        header: &'static str,
    },
    /// Another method than GET: 405.
    Method,
    /// A body: 400.
    Body,
    /// Bytes behind the head, before it was answered (section 4.1 forbids them): 400.
    EarlyData,
    /// A required header is missing: 400.
    Missing {
        /// Its name.
        header: &'static str,
    },
    /// A header that must appear exactly once: 400.
    Repeated {
        /// Its name.
        header: &'static str,
    },
    /// A header whose value is malformed: 400.
    Malformed {
        /// Its name.
        header: &'static str,
    },
    /// Another version than 13: 426, with the version that is spoken.
    Version,
    /// A `Host`, or a URL's host, that is not among [`Policy::hosts`]: 403.
    Host {
        /// The host, quoted and escaped.
        host: String,
    },
    /// An `Origin` that is not among [`Policy::origins`]: 403.
    Origin {
        /// The header, quoted and escaped.
        origin: String,
        /// The host and port that the page asked for, quoted.
        host: String,
    },
    /// More connections than the server takes, in all or from one address: 503.
    Full,
    /// What the application decided.
    Application {
        /// The response's status, 400 to 599.
        status: StatusCode,
        /// The response's body, for people.
        text: String,
    },
}

impl Refusal {
    /// The status of the response.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Head(error) => error.status(),
            Self::Timeout { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::NotUpgrade | Self::UpgradeDropped { .. } | Self::Version => {
                StatusCode::UPGRADE_REQUIRED
            }
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Host { .. } | Self::Origin { .. } => StatusCode::FORBIDDEN,
            Self::Full => StatusCode::SERVICE_UNAVAILABLE,
            Self::Application { status, .. } => *status,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// A short name that never changes, for counts and logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Head(error) => error.name(),
            Self::Timeout { .. } => "handshake_timeout",
            Self::NotUpgrade => "not_upgrade",
            Self::UpgradeDropped { .. } => "upgrade_dropped",
            Self::Method => "method",
            Self::Body => "body",
            Self::EarlyData => "early_data",
            Self::Missing { .. } => "missing_header",
            Self::Repeated { .. } => "repeated_header",
            Self::Malformed { .. } => "malformed_header",
            Self::Version => "version",
            Self::Host { .. } => "host",
            Self::Origin { .. } => "origin",
            Self::Full => "full",
            Self::Application { .. } => "application",
        }
    }

    /// The whole response: it says why, and that the connection closes.
    pub fn response(&self) -> Vec<u8> {
        let status = self.status();
        let body = format!("{self}\n");
        let connection = match self {
            // RFC 9110, 15.5.22 and 7.8: a 426 MUST say which protocol is required.
            Self::NotUpgrade | Self::UpgradeDropped { .. } | Self::Version => {
                "close, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"
            }
            Self::Method => "close\r\nAllow: GET",
            _ => "close",
        };
        format!(
            "HTTP/1.1 {} {}\r\nConnection: {connection}\r\n\
             Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n\
             Content-Length: {}\r\n\r\n{body}",
            status.as_u16(),
            status.canonical_reason().unwrap_or("Refused"),
            body.len(),
        )
        .into_bytes()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head(error) => fmt::Display::fmt(error, f),
            Self::Timeout { after } => {
                write!(
                    f,
                    "request was not complete within {} s",
                    after.as_secs_f64()
                )
            }
            Self::NotUpgrade => f.write_str(
                "only WebSocket is spoken here, and the request is not a WebSocket handshake",
            ),
            Self::UpgradeDropped { header } => write!(
                f,
                "header \"{header}\" is missing from a WebSocket handshake: a proxy on the way has \
                 probably dropped it, and must be configured to pass WebSocket"
            ),
            Self::Method => f.write_str("a WebSocket handshake must use GET"),
            Self::Body => f.write_str("a WebSocket handshake must not have a body"),
            Self::EarlyData => f.write_str("data was sent before the handshake was answered"),
            Self::Missing { header } => write!(f, "header {header} is missing"),
            Self::Repeated { header } => write!(f, "header {header} must appear exactly once"),
            Self::Malformed { header } => write!(f, "header {header} is malformed"),
            Self::Version => f.write_str("Sec-WebSocket-Version must be 13"),
            Self::Host { host } => write!(f, "host {host} is not a name of this server"),
            Self::Origin { origin, host } => write!(
                f,
                "cross-origin requests are not allowed: page {origin}, host {host}; both must name \
                 the same host and port, or the server must list the origin"
            ),
            Self::Full => f.write_str("too many connections; try again later"),
            Self::Application { text, .. } => f.write_str(text),
        }
    }
}

impl std::error::Error for Refusal {}

/// Subprotocols that a client may offer.
const SUBPROTOCOLS_MAX: usize = 64;
