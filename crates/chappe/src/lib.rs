//! WebSocket for tokio.
