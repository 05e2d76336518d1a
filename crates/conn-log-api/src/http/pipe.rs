//! A pipe from a thread or task into the body of an answer, with a bounded amount in between.
//!
//! A body is complete only when its writing end says so. If that end is dropped before, because it
//! failed or the client read nothing for too long, the body fails: the connection is broken off, so
//! no client mistakes a part for the whole.

use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::web::Bytes;
use futures_util::Stream;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;

/// Bytes that a writer collects before it sends them.
const CHUNK_BYTES: usize = 64 << 10;

/// A client that reads nothing for this long has left, or keeps other clients from their answers.
const STALLED_MAX: Duration = Duration::from_secs(30);

/// The writing end.
#[derive(Clone)]
pub(crate) struct Feed {
    sender: Sender<Bytes>,
    is_whole: Arc<AtomicBool>,
    stalled_max: Duration,
}

/// The body.
pub(crate) struct FedBody {
    receiver: Receiver<Bytes>,
    is_whole: Arc<AtomicBool>,
}

/// Makes both ends, with room for that many chunks between them.
pub(crate) fn feed(chunks_max: usize) -> (Feed, FedBody) {
    let (sender, receiver) = channel(chunks_max);
    let is_whole = Arc::new(AtomicBool::new(false));
    let body = FedBody { receiver, is_whole: Arc::clone(&is_whole) };
    (Feed { sender, is_whole, stalled_max: STALLED_MAX }, body)
}

impl Feed {
    /// Sends a chunk once there is room. Fails if the client is gone, or reads nothing for too
    /// long.
    pub(crate) async fn send(&self, chunk: Bytes) -> io::Result<()> {
        match timeout(self.stalled_max, self.sender.send(chunk)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Marks the body as complete. Only the last of the writing ends may call it.
    pub(crate) fn end(self) {
        self.is_whole.store(true, Ordering::Release);
    }
}

impl Stream for FedBody {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(match ready!(self.receiver.poll_recv(context)) {
            Some(chunk) => Some(Ok(chunk)),
            // The error is returned only once.
            None if self.is_whole.swap(true, Ordering::Acquire) => None,
            None => Some(Err(io::Error::other("the answer ended early"))),
        })
    }
}

/// The writing end for a thread that may block: it holds the thread while the client is slow.
pub(crate) struct Pipe {
    chunk: Vec<u8>,
    feed: Feed,
    /// The reason of an earlier failure. Further writes then fail at once.
    failed: Option<io::ErrorKind>,
}

impl Pipe {
    pub(crate) fn new(feed: Feed) -> Self {
        Pipe { chunk: Vec::with_capacity(CHUNK_BYTES), feed, failed: None }
    }

    fn send(&mut self) -> io::Result<()> {
        if let Some(failed) = self.failed {
            return Err(failed.into());
        }
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK_BYTES));
        let sent = Handle::current().block_on(self.feed.send(Bytes::from(chunk)));
        self.failed = sent.as_ref().err().map(io::Error::kind);
        sent
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK_BYTES {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;

    const CHUNK: Bytes = Bytes::from_static(b"chunk");

    /// Bytes that a client receives, and whether the body ends without an error.
    async fn taken(body: FedBody) -> (usize, bool) {
        let items: Vec<io::Result<Bytes>> = body.collect().await;
        (items.iter().filter(|item| item.is_ok()).count(), items.iter().all(Result::is_ok))
    }

    #[tokio::test]
    async fn a_body_that_was_sent_to_its_end_is_whole() {
        let (feed, body) = feed(4);
        let other = feed.clone();
        feed.send(CHUNK).await.unwrap();
        drop(feed);
        other.end();
        assert_eq!(taken(body).await, (1, true));
    }

    #[tokio::test]
    async fn a_body_whose_writer_failed_breaks_off() {
        let (feed, body) = feed(4);
        feed.send(CHUNK).await.unwrap();
        drop(feed);
        assert_eq!(taken(body).await, (1, false));
    }

    #[tokio::test]
    async fn a_body_unread_for_too_long_breaks_off_even_if_reading_resumes() {
        let (mut feed, body) = feed(4);
        feed.stalled_max = Duration::from_millis(1);
        for _ in 0..4 {
            feed.send(CHUNK).await.unwrap();
        }
        let stalled = feed.send(CHUNK).await.unwrap_err();
        assert_eq!(stalled.kind(), io::ErrorKind::TimedOut);
        drop(feed);
        assert_eq!(taken(body).await, (4, false));
    }

    #[tokio::test]
    async fn a_writer_that_failed_does_not_wait_again() {
        let (mut feed, body) = feed(1);
        feed.stalled_max = Duration::from_millis(1);
        let mut pipe = Pipe::new(feed);
        let writing = tokio::task::spawn_blocking(move || {
            let mut write = || pipe.write_all(&vec![0; CHUNK_BYTES]).map_err(|error| error.kind());
            let first = [write(), write()];
            // There is room now, but an earlier chunk is lost.
            drop(body);
            (first, write())
        });
        let timed_out = Err(io::ErrorKind::TimedOut);
        assert_eq!(writing.await.unwrap(), ([Ok(()), timed_out], timed_out));
    }

    #[tokio::test]
    async fn a_client_that_is_gone_ends_the_writer() {
        let (feed, body) = feed(4);
        drop(body);
        assert_eq!(feed.send(CHUNK).await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
