//! A request that is for an HTTP stack to answer, and the stream it came on.

use crate::request::Request;
use crate::rewind::Rewind;

/// A request that is no WebSocket handshake, and the stream it came on: whatever HTTP stack reads
/// it finds the request from its first byte.
///
/// ```no_run
/// # async fn run(stream: tokio::net::TcpStream) -> std::io::Result<()> {
/// use tokio::io::AsyncWriteExt;
///
/// if let Err(chappe::AcceptError::Http(plain)) = chappe::accept(stream).await {
///     let mut stream = plain.into_stream(); // hyper could read the request from it
///     stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Plain<S> {
    request: Request,
    stream: Rewind<S>,
}

impl<S> Plain<S> {
    pub(crate) fn new(request: Request, stream: Rewind<S>) -> Self {
        Self { request, stream }
    }

    /// The request, as far as it was read: its head.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The stream, which gives the request again.
    pub fn into_stream(self) -> Rewind<S> {
        self.stream
    }
}
