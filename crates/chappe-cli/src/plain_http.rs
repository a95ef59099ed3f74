//! The echo page, embedded, and what else plain HTTP gets on the server's port.
//!
//! In: a stream with a request on it. Out: a file of the page, or an answer in words. Nothing on
//! the page is loaded from elsewhere, and its policy forbids it too.

use std::convert::Infallible;
use std::time::Duration;

use chappe::{Origins, Rewind};
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName, HeaderValue,
    ORIGIN, REFERRER_POLICY, UPGRADE, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Answers the request on this stream, and closes it: a later request on the same connection
/// might ask for a WebSocket, which is not for this side of the front door.
pub(crate) async fn answer(stream: Rewind<TcpStream>) {
    let service = service_fn(|request| async move { Ok::<_, Infallible>(respond(&request)) });
    let connection = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(ANSWER_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "HTTP request failed"),
        Err(_) => tracing::debug!("HTTP request took too long"),
    }
}

fn respond(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let mut response = if !has_own_origin(request) {
        in_words(
            StatusCode::FORBIDDEN,
            "pages from elsewhere may not ask here",
        )
    } else if path == "/echo" {
        in_words(
            StatusCode::UPGRADE_REQUIRED,
            "/echo speaks WebSocket: open / in a browser, or type `chappe connect`",
        )
    } else if let Some((_, kind, content)) = FILES.iter().find(|file| file.0 == path) {
        match *request.method() {
            Method::GET | Method::HEAD => in_full(kind, content),
            _ => in_words(
                StatusCode::METHOD_NOT_ALLOWED,
                "the page is there to be read: GET it",
            ),
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
fn has_own_origin(request: &Request<Incoming>) -> bool {
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
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
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
