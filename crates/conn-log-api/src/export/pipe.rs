//! From a thread that writes to a body that is sent, with a bounded amount in between.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::web::Bytes;
use futures_util::Stream;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;

/// Bytes gathered before they are sent on.
const CHUNK_BYTES: usize = 64 << 10;

/// Chunks between the two ends: with those at either end, about half a megabyte an export.
const CHUNKS_MAX: usize = 4;

/// A client that takes nothing for this long has left, or keeps others from an export of theirs.
const STALLED_MAX: Duration = Duration::from_secs(30);

/// The writing end. It holds the thread while the other end is slow, and fails once it is gone.
pub(super) struct Pipe {
    chunk: Vec<u8>,
    sender: Sender<io::Result<Bytes>>,
}

/// Lets the body fail, so that what was sent is not taken for the whole.
pub(super) struct Failure(Sender<io::Result<Bytes>>);

/// The body.
pub(super) struct PipeBody(Receiver<io::Result<Bytes>>);

pub(super) fn pipe() -> (Pipe, PipeBody) {
    let (sender, receiver) = channel(CHUNKS_MAX);
    (Pipe { chunk: Vec::with_capacity(CHUNK_BYTES), sender }, PipeBody(receiver))
}

impl Pipe {
    pub(super) fn failure(&self) -> Failure {
        Failure(self.sender.clone())
    }

    fn send(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK_BYTES));
        let sending = timeout(STALLED_MAX, self.sender.send(Ok(Bytes::from(chunk))));
        match Handle::current().block_on(sending) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
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

impl Failure {
    pub(super) fn tell(self) {
        // Who is gone needs no telling; who takes nothing sees the connection end, as this is dropped.
        self.0.try_send(Err(io::Error::other("the export ended early"))).ok();
    }
}

impl Stream for PipeBody {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}
