//! A request that is for an HTTP stack to answer, and the stream it came on.
//!
//! In: a request's head that was read, and the stream with all that was received put back. Out: the
//! bytes of this request and no others, so that whatever comes next on the connection is read by
//! the front door again, and may ask for a WebSocket.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Version;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::request::Request;
use crate::rewind::Rewind;

/// A request that is no WebSocket handshake, on the stream it came on: to be read from its first
/// byte, and to be answered.
///
/// It reads as if the stream ended behind the request's body. Where the body says of itself where
/// it ends (`Transfer-Encoding`), all that comes is read.
///
/// ```no_run
/// # async fn run(stream: tokio::net::TcpStream) -> std::io::Result<()> {
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// if let Err(chappe::AcceptError::Http(mut plain)) = chappe::accept(stream).await {
///     // hyper could do this.
///     plain.read_to_end(&mut Vec::new()).await?;
///     plain.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
///     if plain.can_go_on() {
///         // Whatever the client asks for next; it may be a WebSocket.
///         let next = chappe::accept(plain.into_stream()).await;
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Plain<S> {
    request: Request,
    stream: Rewind<S>,
    /// Bytes of the request that were not read again; `None` if nobody knows.
    left: Option<u64>,
    shut_down: bool,
}

impl<S> Plain<S> {
    /// `stream` gives the request's head again, of so many bytes, and whatever follows it.
    pub(crate) fn new(request: Request, head_bytes: usize, stream: Rewind<S>) -> Self {
        let left = body_bytes(&request).and_then(|body| body.checked_add(head_bytes as u64));
        Self {
            request,
            stream,
            left,
            shut_down: false,
        }
    }

    /// The request, as far as it was read: its head.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The stream that the request came on.
    pub fn get_ref(&self) -> &S {
        self.stream.get_ref()
    }

    /// The stream, which gives the request again (unless it was read), and then whatever comes:
    /// for an HTTP stack that goes on with the connection by itself.
    pub fn into_stream(self) -> Rewind<S> {
        self.stream
    }

    /// Whether it is known where the request ends, so that nothing behind it is read.
    ///
    /// Where it is not, an HTTP stack must not go on with the connection: what it took for the next
    /// request would have passed neither the limits nor the rules on hosts and origins.
    pub fn has_known_length(&self) -> bool {
        self.left.is_some()
    }

    /// After the answer: whether the stream can be read for another request.
    ///
    /// It can't where the client or the version of HTTP says that this was the last one, where the
    /// request was not read to its end, and where the stream was shut down.
    pub fn can_go_on(&self) -> bool {
        self.left == Some(0) && !self.shut_down && is_persistent(&self.request)
    }
}

impl<S: fmt::Debug> fmt::Debug for Plain<S> {
    /// Without headers, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plain")
            .field("method", self.request.method())
            .field("path", &self.request.uri().path())
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

/// How long a request's body is, where that is known (RFC 9112, section 6.3).
///
/// More than one length is not guessed at, nor one beside `Transfer-Encoding`: who takes the wrong
/// one takes a body for the next request.
fn body_bytes(request: &Request) -> Option<u64> {
    let headers = request.headers();
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        _ if headers.contains_key(TRANSFER_ENCODING) => None,
        (None, _) => Some(0),
        (Some(length), None) if length.as_bytes().iter().all(u8::is_ascii_digit) => {
            length.to_str().ok()?.parse().ok()
        }
        _ => None,
    }
}

/// Whether the client lets the connection go on after the answer (RFC 9112, section 9.3).
fn is_persistent(request: &Request) -> bool {
    let says = |option: &str| {
        let values = request.headers().get_all(CONNECTION).iter();
        let mut options = values.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
        options.any(|found| found.trim_ascii().eq_ignore_ascii_case(option.as_bytes()))
    };
    match request.version() {
        _ if says("close") => false,
        Version::HTTP_10 => says("keep-alive"),
        _ => true,
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Plain<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(left) = self.left else {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        };
        let room = usize::try_from(left).map_or(buf.remaining(), |left| left.min(buf.remaining()));
        if room == 0 {
            return Poll::Ready(Ok(()));
        }
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(room));
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut part))?;
        let length = part.filled().len();
        buf.advance(length);
        self.left = Some(left - length as u64);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Plain<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shut_down = true;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn request(version: Version, headers: &[(&'static str, &'static str)]) -> Request {
        let mut request = http::Request::new(());
        *request.version_mut() = version;
        for (name, value) in headers {
            let value = HeaderValue::from_static(value);
            request.headers_mut().append(*name, value);
        }
        request
    }

    #[test]
    fn body_is_as_long_as_one_header_says() {
        let rows: [(&[_], _); 8] = [
            (&[], Some(0)),
            (&[("content-length", "0")], Some(0)),
            (&[("content-length", "42")], Some(42)),
            (&[("content-length", "+42")], None),
            (&[("content-length", "")], None),
            (&[("content-length", "4, 4")], None),
            (&[("content-length", "4"), ("content-length", "4")], None),
            (
                &[("content-length", "4"), ("transfer-encoding", "chunked")],
                None,
            ),
        ];
        for (headers, expected) in rows {
            let request = request(Version::HTTP_11, headers);
            assert_eq!(body_bytes(&request), expected, "{headers:?}");
        }
    }

    #[test]
    fn connection_goes_on_where_version_and_client_say_so() {
        let (old, new) = (Version::HTTP_10, Version::HTTP_11);
        let rows: [(_, &[_], _); 7] = [
            (new, &[], true),
            (new, &[("connection", "Close")], false),
            (
                new,
                &[("connection", "upgrade"), ("connection", "te, close")],
                false,
            ),
            (new, &[("connection", "close-not")], true),
            (old, &[], false),
            (old, &[("connection", "Keep-Alive")], true),
            (old, &[("connection", "keep-alive, close")], false),
        ];
        for (version, headers, expected) in rows {
            let request = request(version, headers);
            assert_eq!(is_persistent(&request), expected, "{version:?} {headers:?}");
        }
    }
}
