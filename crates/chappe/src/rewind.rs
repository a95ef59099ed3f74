//! A stream whose first bytes were read already, and are read again.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Reads as if nothing had been read before: first the bytes given back, then the stream's own.
///
/// ```
/// # async fn run(stream: tokio::io::DuplexStream) -> std::io::Result<()> {
/// use tokio::io::AsyncReadExt;
///
/// let mut stream = chappe::Rewind::new(b"GET / ".to_vec(), stream);
/// let mut method = [0; 3];
/// stream.read_exact(&mut method).await?;
/// assert_eq!(&method, b"GET");
/// # Ok(())
/// # }
/// ```
pub struct Rewind<S> {
    head: Vec<u8>,
    /// `0 <= read <= head.len()`.
    read: usize,
    stream: S,
}

impl<S> Rewind<S> {
    /// Puts bytes back before what the stream still holds.
    pub fn new(head: Vec<u8>, stream: S) -> Self {
        Self {
            head,
            read: 0,
            stream,
        }
    }

    /// The stream itself.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The bytes that were put back and not read again, and the stream.
    pub fn into_parts(mut self) -> (Vec<u8>, S) {
        (self.head.split_off(self.read), self.stream)
    }
}

impl<S: fmt::Debug> fmt::Debug for Rewind<S> {
    /// Without the bytes, which may be of secrets or messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rewind")
            .field("bytes", &(self.head.len() - self.read))
            .field("stream", &self.stream)
            .finish()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewind<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read == self.head.len() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let end = self.head.len().min(self.read + buf.remaining());
        buf.put_slice(&self.head[self.read..end]);
        self.read = end;
        if self.read == self.head.len() {
            (self.head, self.read) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewind<S> {
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
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
