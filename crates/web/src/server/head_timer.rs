//! How long a connection may be idle, and how long the head of a request may take.
//!
//! hyper has one limit for both: from the last answer to the end of the next head. This timer gives that limit to the idle time;
//! once the first byte of a head is there, the head has [`HEAD_TIMEOUT`] from then on.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Maximum time from the first byte of a head to its last; a slower one ends the connection.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether bytes came since the wait for a head began.
type Began = Arc<AtomicBool>;

/// hyper's timer of one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct HeadTimer(Began);

impl HeadTimer {
    /// The connection's stream, which reports to the timer that bytes came.
    pub(super) fn watch<S>(&self, stream: S) -> Watched<S> {
        Watched { stream, began: Arc::clone(&self.0) }
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.0.store(false, Ordering::Relaxed);
        let sleep = Box::pin(tokio::time::sleep_until(deadline.into()));
        Box::pin(HeadSleep { sleep, began: Arc::clone(&self.0), is_of_head: false })
    }
}

/// Ends with the idle time, or with the time of a head that has begun.
struct HeadSleep {
    sleep: Pin<Box<tokio::time::Sleep>>,
    began: Began,
    is_of_head: bool,
}

impl Sleep for HeadSleep {}

impl Future for HeadSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if !self.is_of_head && self.began.load(Ordering::Relaxed) {
            self.is_of_head = true;
            self.sleep.as_mut().reset(tokio::time::Instant::now() + HEAD_TIMEOUT);
        }
        self.sleep.as_mut().poll(context)
    }
}

/// A stream that notes when bytes come.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    began: Began,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buf))?;
        if buf.filled().len() > before {
            self.began.store(true, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
