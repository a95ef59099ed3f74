//! The echo page, embedded, and what else plain HTTP gets on the server's port.
//!
//! In: a request, on the stream it came on. Out: a file of the page, or an answer in words. Nothing on
//! the page is loaded from elsewhere, and its policy forbids it too.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use chappe::{Origins, Plain};
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName,
    HeaderValue, ORIGIN, REFERRER_POLICY, UPGRADE, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

/// Answers a request, and gives the connection back for the next one, which may ask for a
/// WebSocket; but not after a request that was wrong.
pub(crate) async fn answer(plain: Plain<TcpStream>) -> Option<Plain<TcpStream>> {
    let closes = AtomicBool::new(false);
    let service = service_fn(|request| {
        let mut response = respond(&request);
        if !response.status().is_success() {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
            closes.store(true, Ordering::Relaxed);
        }
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let mut connection = hyper::server::conn::http1::Builder::new()
        // What is behind a request is for the front door to read. Where hyper alone knows where that
        // is, this request is the last.
        .keep_alive(plain.has_known_length())
        // What it reads ends with the request, and so may what the client sends.
        .half_close(true)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(KeptOpen(plain)), service);
    match tokio::time::timeout(ANSWER_TIMEOUT, &mut connection).await {
        Ok(Ok(())) => {
            let KeptOpen(mut plain) = connection.into_parts().io.into_inner();
            if closes.load(Ordering::Relaxed) {
                plain.shutdown().await.ok()?;
            }
            return Some(plain);
        }
        Ok(Err(error)) => tracing::debug!(%error, "HTTP request failed"),
        Err(_) => tracing::debug!("HTTP request took too long"),
    }
    None
}

/// A stream that hyper can't shut down, which it does once it has read the last request: that is
/// the last that it is shown, not the connection's.
struct KeptOpen(Plain<TcpStream>);

impl AsyncRead for KeptOpen {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for KeptOpen {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

fn respond<B>(request: &Request<B>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let mut response = if !has_own_origin(request) {
        in_words(
            StatusCode::FORBIDDEN,
            "cross-origin requests are not allowed",
        )
    } else if request.method() == Method::OPTIONS && ["/", "*"].contains(&path) {
        // Load balancers ask so whether the server is well.
        allowing(in_words(StatusCode::OK, "chappe is well"))
    } else if path == "/echo" {
        in_words(
            StatusCode::UPGRADE_REQUIRED,
            "/echo speaks WebSocket: open / in a browser, or type `chappe connect`",
        )
    } else if let Some((_, kind, content)) = FILES.iter().find(|file| file.0 == path) {
        match *request.method() {
            Method::GET | Method::HEAD => in_full(kind, content),
            _ => allowing(in_words(
                StatusCode::METHOD_NOT_ALLOWED,
                "the page is there to be read: GET it",
            )),
        }
    } else {
        in_words(
            StatusCode::NOT_FOUND,
            "there is a page at / and a WebSocket at /echo",
        )
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn in_full(kind: &'static str, content: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(content));
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// The origin rule holds for plain HTTP too: a page anywhere can ask a server on this machine.
fn has_own_origin<B>(request: &Request<B>) -> bool {
    let text = |name| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    match request.headers().get(ORIGIN) {
        Some(_) => Origins::Same.allow(text(ORIGIN).unwrap_or(""), text(HOST).unwrap_or("")),
        None => true,
    }
}

fn in_words(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{text}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    if status == StatusCode::UPGRADE_REQUIRED {
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    response
}

/// An answer that says what may be asked for.
fn allowing(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    let methods = HeaderValue::from_static("GET, HEAD, OPTIONS");
    response.headers_mut().insert(ALLOW, methods);
    response
}

macro_rules! asset {
    ($name:literal) => {
        include_str!(concat!("../assets/", $name))
    };
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SVG: &str = "image/svg+xml";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The page's files: path, kind, content.
const FILES: [(&str, &str, &str); 9] = [
    ("/", HTML, asset!("index.html")),
    ("/page.css", CSS, asset!("page.css")),
    ("/icon.svg", SVG, asset!("icon.svg")),
    ("/page.js", SCRIPT, asset!("page.js")),
    ("/closing.js", SCRIPT, asset!("closing.js")),
    ("/messages.js", SCRIPT, asset!("messages.js")),
    ("/payload.js", SCRIPT, asset!("payload.js")),
    ("/round-trips.js", SCRIPT, asset!("round-trips.js")),
    ("/table.js", SCRIPT, asset!("table.js")),
];

const HEADERS: [(HeaderName, &str); 4] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-cache"),
];

/// From the request's head to the last byte that a client has taken.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes that hyper reads ahead, or keeps to write.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_checks_of_load_balancers_are_answered_with_200() {
        let request = |method: Method, target: &str, version| {
            let request = Request::builder().method(method).uri(target);
            request.version(version).body(()).unwrap()
        };
        let (old, new) = (http::Version::HTTP_10, http::Version::HTTP_11);
        for (method, target, version) in [
            (Method::OPTIONS, "/", old),
            (Method::OPTIONS, "*", new),
            (Method::GET, "/", old),
            (Method::HEAD, "/", old),
        ] {
            let response = respond(&request(method.clone(), target, version));
            assert_eq!(response.status(), StatusCode::OK, "{method} {target}");
            let allow = response.headers().get(ALLOW);
            assert_eq!(
                allow.is_some(),
                method == Method::OPTIONS,
                "{method} {target}"
            );
        }
        let response = respond(&request(Method::OPTIONS, "/nowhere", new));
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
    }
}
