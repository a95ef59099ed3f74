//! The request that opened a connection, as handlers and checks get it.

/// A handshake's request: path, query and headers.
///
/// All of its values share the memory of its head, up to [`Limits::head_bytes_max`](crate::Limits)
/// bytes. To keep one for as long as the connection, copy it, as `to_owned` of its text does.
///
/// ```
/// fn room(request: &chappe::Request) -> &str {
///     request.uri().path().trim_start_matches("/rooms/")
/// }
/// let request = http::Request::get("/rooms/blue").body(())?;
/// assert_eq!(room(&request), "blue");
/// # Ok::<(), http::Error>(())
/// ```
pub type Request = http::Request<()>;
