//! Which pages and which names may reach a server (RFC 6455, section 10.2; RFC 6454).
//!
//! Browsers send `Origin` with every handshake, and cookies too, whatever page asks: without this
//! check any page could use a visitor's login. `Host` guards what listens on loopback: a name of
//! an attacker's that resolves to 127.0.0.1 has the same origin as its own page.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Which origins may connect. A handshake without `Origin` is not a browser's, and may.
///
/// ```
/// use chappe_proto::handshake::Origins;
///
/// let origins = Origins::Listed(vec!["https://example.com".to_owned()]);
/// assert!(origins.allow("https://example.com", "api.example.com"));
/// assert!(!origins.allow("https://example.com.evil.tld", "api.example.com"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origins {
    /// Pages that came from the host and port that they connect to.
    #[default]
    Same,
    /// These origins, such as `https://example.com`, and those of [`Origins::Same`].
    Listed(Vec<String>),
    /// Any: only for what is public to everyone, cookies or not.
    Any,
}

impl Origins {
    /// Whether a page with this origin (the `Origin` header) may connect to this host (the `Host`
    /// header).
    ///
    /// ```
    /// use chappe_proto::handshake::Origins;
    ///
    /// assert!(Origins::Same.allow("https://example.com", "example.com"));
    /// assert!(!Origins::Same.allow("https://example.com", "example.com:8000"));
    /// ```
    pub fn allow(&self, origin: &str, host: &str) -> bool {
        self.allow_at(origin, Host::parse(host))
    }

    /// The same, where the `Host` header was read already; `None`: it is none.
    pub(super) fn allow_at(&self, origin: &str, host: Option<Host<'_>>) -> bool {
        let same = || host.is_some_and(|host| is_same_origin(origin, host));
        match self {
            Self::Any => true,
            Self::Same => same(),
            Self::Listed(listed) => {
                listed
                    .iter()
                    .any(|listed| listed.eq_ignore_ascii_case(origin))
                    || same()
            }
        }
    }
}

/// Which names a client may have reached the server by (the `Host` header).
///
/// ```
/// use chappe_proto::handshake::{Hosts, Policy};
///
/// let mut policy = Policy::default();
/// policy.hosts = Hosts::Loopback;
/// let request = http::Request::get("/").header("Host", "evil.tld").body(())?;
/// assert!(policy.check_host(&request).is_err());
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hosts {
    /// Any name.
    #[default]
    Any,
    /// What can only be this machine, with any port: `localhost` and names that end in
    /// `.localhost`, 127.0.0.0/8 and `[::1]`.
    Loopback,
    /// These names, such as `example.com`, and those of [`Hosts::Loopback`], with any port.
    Listed(Vec<String>),
}

impl Hosts {
    pub(crate) fn allow(&self, host: &Host<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::Loopback => host.is_loopback(),
            Self::Listed(listed) => {
                listed
                    .iter()
                    .any(|listed| listed.eq_ignore_ascii_case(host.name))
                    || host.is_loopback()
            }
        }
    }
}

/// A `Host` header, or the part of an origin behind the scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Host<'a> {
    /// A name, an IPv4 address, or an IPv6 address in brackets.
    pub(crate) name: &'a str,
    pub(crate) port: Option<u16>,
}

impl<'a> Host<'a> {
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let name_end = match text.strip_prefix('[') {
            Some(rest) => rest.find(']')? + 2,
            None => text.find(':').unwrap_or(text.len()),
        };
        let (name, port) = text.split_at(name_end);
        let port = match port.strip_prefix(':') {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().ok()?)
            }
            None if port.is_empty() => None,
            _ => return None,
        };
        is_host_name(name).then_some(Self { name, port })
    }

    /// Whether the name can only mean this machine: `localhost` and all names below it, which no
    /// DNS has (RFC 6761, section 6.3), and the addresses 127.0.0.0/8 and `::1`.
    fn is_loopback(&self) -> bool {
        if let Ok(ipv4) = self.name.parse::<Ipv4Addr>() {
            return ipv4.is_loopback();
        }
        if let Some(ipv6) = ipv6_in_brackets(self.name) {
            return ipv6.is_loopback();
        }
        // A dot at the end is the root of the DNS.
        let name = self.name.strip_suffix('.').unwrap_or(self.name);
        let mut labels = name.rsplit('.');
        let top = labels.next().unwrap_or_default();
        top.eq_ignore_ascii_case("localhost") && labels.all(|label| !label.is_empty())
    }
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.name),
            None => f.write_str(self.name),
        }
    }
}

fn is_host_name(name: &str) -> bool {
    if name.starts_with('[') {
        return ipv6_in_brackets(name).is_some();
    }
    // Narrower than RFC 3986: no host in the DNS has sub-delimiters or escapes in it.
    let is_host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_host_byte)
}

fn ipv6_in_brackets(name: &str) -> Option<Ipv6Addr> {
    name.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// Whether the origin's host and port are those of the `Host` header.
///
/// A port that `Host` leaves out is the default of the origin's scheme: behind a proxy that ends
/// TLS the server can't know which scheme the page came by.
fn is_same_origin(origin: &str, host: Host<'_>) -> bool {
    let Some((scheme, origin)) = origin.split_once("://") else {
        return false;
    };
    let default_port = if scheme.eq_ignore_ascii_case("http") {
        80
    } else if scheme.eq_ignore_ascii_case("https") {
        443
    } else {
        return false;
    };
    Host::parse(origin).is_some_and(|origin| {
        origin.name.eq_ignore_ascii_case(host.name)
            && origin.port.unwrap_or(default_port) == host.port.unwrap_or(default_port)
    })
}
