//! How much of what was written a socket still holds. The crate's only `unsafe`.
#![allow(
    unsafe_code,
    reason = "a system call that nobody whom we depend on has wrapped"
)]

use std::any::Any;

use tokio::net::TcpStream;

/// Bytes that were written to a stream and have not reached its peer, as far as it tells: a TCP socket
/// does, others do not.
pub(crate) fn unsent_bytes_of<S: 'static>(stream: &S) -> usize {
    let stream: &dyn Any = stream;
    stream.downcast_ref().map_or(0, unsent_bytes)
}

/// Bytes that were written to a socket and that its peer has not acknowledged; 0 where the system
/// does not tell.
pub(crate) fn unsent_bytes(stream: &TcpStream) -> usize {
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;

        let mut bytes: libc::c_int = 0;
        // SAFETY: the descriptor is open as long as the stream is borrowed, and SIOCOUTQ (tcp(7)),
        // which is TIOCOUTQ by another name, writes one int to where it is told.
        let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
        if result == 0 {
            return usize::try_from(bytes).unwrap_or(0);
        }
    }
    let _ = stream;
    0
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::Read;

    use super::*;

    #[tokio::test]
    async fn a_socket_holds_what_its_peer_does_not_take() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        assert_eq!(unsent_bytes(&stream), 0);
        let mut written = 0;
        loop {
            stream.writable().await.unwrap();
            match stream.try_write(&[0; 8192]) {
                Ok(bytes) => written += bytes,
                Err(error) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                    break;
                }
            }
            assert!(written < 64 << 20, "the socket takes all");
        }
        let held = unsent_bytes(&stream);
        assert!(held > 0 && held <= written, "{held} of {written}");
        let mut buffer = vec![0; written];
        peer.read_exact(&mut buffer).unwrap();
        // The last acknowledgement may be delayed, but not for ever.
        for _ in 0..10_000 {
            if unsent_bytes(&stream) == 0 {
                return;
            }
            std::thread::yield_now();
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        panic!("{} bytes are held", unsent_bytes(&stream));
    }
}
