//! Accepting connections, whatever `accept` fails with.
//!
//! In: attempts to accept. Out: a connection, or an error that says that the listening socket is
//! of no more use. What belongs to one connection is passed over; what may pass is waited for, and
//! logged once a minute for each kind.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::unix::{self, AcceptFault};

/// The errors that were logged, by number, and when: of all who accept on a socket, as what one of
/// them meets the others do too.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<Vec<(Option<i32>, Instant)>>);

/// How to go on after failures.
#[derive(Debug)]
pub(crate) struct Patience {
    /// How long to wait before the next attempt, if this one fails too.
    pause: Duration,
    told: Arc<Told>,
}

impl Patience {
    pub(crate) fn new(told: Arc<Told>) -> Self {
        Self {
            pause: PAUSE_MIN,
            told,
        }
    }

    /// Attempts until something is accepted.
    ///
    /// `freed` is told whenever a descriptor may be free again; others may free one too, so it is
    /// not waited for alone.
    ///
    /// # Errors
    ///
    /// When the listener is broken for good.
    pub(crate) async fn accept<T, F>(
        &mut self,
        mut attempt: impl FnMut() -> F,
        freed: &Notify,
    ) -> io::Result<T>
    where
        F: Future<Output = io::Result<T>>,
    {
        loop {
            let error = match attempt().await {
                Ok(accepted) => {
                    self.pause = PAUSE_MIN;
                    return Ok(accepted);
                }
                Err(error) => error,
            };
            match AcceptFault::of(&error) {
                AcceptFault::Connection => {}
                AcceptFault::Listener => return Err(error),
                AcceptFault::Passing => {
                    self.told.tell(&error);
                    if unix::are_files_exhausted(&error) {
                        let _ = timeout(self.pause, freed.notified()).await;
                    } else {
                        tokio::time::sleep(self.pause).await;
                    }
                    self.pause = PAUSE_MAX.min(self.pause * 2);
                }
            }
        }
    }
}

impl Told {
    fn tell(&self, error: &io::Error) {
        if !self.is_news(error.raw_os_error(), Instant::now()) {
            return;
        }
        if unix::are_files_exhausted(error) {
            tracing::warn!(
                %error,
                "can't accept connections until one ends; raise the limit on open files"
            );
        } else {
            tracing::warn!(%error, "can't accept connections; trying again");
        }
    }

    /// Whether an error of this number was not told for a while.
    fn is_news(&self, number: Option<i32>, now: Instant) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match told.iter_mut().find(|(known, _)| *known == number) {
            Some((_, at)) if now.duration_since(*at) < TOLD_AGAIN_AFTER => false,
            Some((_, at)) => {
                *at = now;
                true
            }
            None => {
                told.push((number, now));
                true
            }
        }
    }
}

/// The first pause after a failure. It doubles with each failure in a row.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// No pause is longer.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How long an error that goes on is not logged again.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(60);

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// Accepts where attempts fail with these errors, one after the other, and then succeed.
    /// Gives the outcome, and how long it took.
    async fn accept(errors: &[i32]) -> (Result<(), Option<i32>>, Duration) {
        let begin = Instant::now();
        let mut errors = errors.iter();
        let attempt = || {
            let error = errors
                .next()
                .map(|&error| io::Error::from_raw_os_error(error));
            std::future::ready(error.map_or(Ok(()), Err))
        };
        let result = Patience::new(Arc::default())
            .accept(attempt, &Notify::new())
            .await;
        let result = result.map_err(|error| error.raw_os_error());
        (result, begin.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn errors_of_a_connection_are_passed_over_at_once() {
        let errors = [
            libc::ECONNABORTED,
            libc::ECONNRESET,
            libc::EINTR,
            libc::EPROTO,
            libc::ENOPROTOOPT,
            libc::ENETDOWN,
            libc::ENETUNREACH,
            libc::EHOSTDOWN,
            libc::EHOSTUNREACH,
            libc::ETIMEDOUT,
        ];
        assert_eq!(accept(&errors).await, (Ok(()), Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn errors_that_may_pass_are_waited_for_longer_and_longer() {
        let errors = [
            libc::EMFILE,
            libc::ENFILE,
            libc::ENOMEM,
            libc::ENOBUFS,
            libc::EPERM,
            libc::ENOSPC,
            libc::EOPNOTSUPP,
            // No system has it.
            99_999,
        ];
        for error in errors {
            let (result, elapsed) = accept(&[error; 3]).await;
            assert_eq!(result, Ok(()), "after {error}");
            assert_eq!(elapsed.as_millis(), 10 + 20 + 40, "after {error}");
        }
        let (_, elapsed) = accept(&[libc::EPERM; 10]).await;
        assert_eq!(elapsed.as_millis(), 1_270 + 3_000, "a second at most");
    }

    #[tokio::test(start_paused = true)]
    async fn errors_of_the_listener_end_it() {
        for error in [libc::EBADF, libc::EINVAL, libc::ENOTSOCK] {
            let (result, _) = accept(&[libc::EPERM, error]).await;
            assert_eq!(result, Err(Some(error)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn descriptor_that_is_freed_is_not_waited_for_longer() {
        let freed = Notify::new();
        let mut failures = 6;
        let attempt = || {
            failures -= 1;
            let error = io::Error::from_raw_os_error(libc::EMFILE);
            std::future::ready(if failures > 0 { Err(error) } else { Ok(()) })
        };
        let begin = Instant::now();
        let free = async {
            loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
                freed.notify_waiters();
            }
        };
        let mut patience = Patience::new(Arc::default());
        tokio::select! {
            result = patience.accept(attempt, &freed) => result.expect("it passes"),
            () = free => {}
        }
        assert_eq!(begin.elapsed().as_millis(), 5);
    }

    #[test]
    fn error_is_told_once_a_minute_for_each_kind() {
        let told = Told::default();
        let now = Instant::now();
        let second = Duration::from_secs(1);
        assert!(told.is_news(Some(libc::EMFILE), now));
        assert!(!told.is_news(Some(libc::EMFILE), now + second * 59));
        assert!(told.is_news(Some(libc::EPERM), now + second * 59));
        assert!(told.is_news(Some(libc::EMFILE), now + second * 60));
        assert!(!told.is_news(Some(libc::EPERM), now + second * 60));
    }
}
