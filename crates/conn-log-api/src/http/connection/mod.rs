//! A client's connection, below HTTP: limits on how long it may keep the server waiting, and on how
//! many of its bytes the server holds before they are needed.
//!
//! actix-http limits only the time of a connection's first head, reads up to 128 KiB more than it
//! can use, and waits without end for a client that reads nothing. So actix-http reads from a
//! [`Connection`] instead of the socket. The connection passes on only as many bytes as there is
//! room for, and returns an error once a time limit is over. [`attend()`], the outermost middleware,
//! tells the connection when a request begins and ends.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::http::room::{Room, Share};

mod attend;
mod expect;
#[cfg(test)]
mod tests;

pub(crate) use attend::attend;
pub(crate) use expect::until_written;
use expect::{Before, Line};

/// Bytes that every connection may have read and not used: the size of actix-http's buffer.
const FREE_BYTES: usize = 8 << 10;

/// Bytes that actix-http buffers before it stops reading, until it has used some.
const READ_BYTES_MAX: usize = 128 << 10;

/// Bytes of a body that are read before the handler asks for them.
const BODY_AHEAD_BYTES: usize = 16 << 10;

/// The limits of all connections.
#[derive(Clone, Debug)]
pub(crate) struct Patience {
    /// Maximum time for a request's head to arrive, from its first byte.
    pub(crate) head_time_max: Duration,
    /// Maximum time that a connection may be without a request.
    pub(crate) idle_time_max: Duration,
    /// Maximum time that an answer waits for a client that reads nothing of it.
    pub(crate) answer_pause_max: Duration,
    /// Room for heads longer than [`FREE_BYTES`], with the bytes that arrived together with them.
    pub(crate) heads: Room,
}

/// A socket with limits on reading and writing.
pub(crate) struct Connection<T> {
    socket: T,
    /// Makes the socket's end an error for the client, also after bytes that it has not read yet.
    reset: fn(&T),
    exchange: Exchange,
    /// Rings when a head has taken too long.
    alarm: Pin<Box<Sleep>>,
    /// Rings when a client has read nothing for too long. `None` while the client reads.
    stalled: Option<Pin<Box<Sleep>>>,
}

/// The state of a connection, shared by its socket and by the requests that come through it.
#[derive(Clone, Debug)]
pub(crate) struct Exchange(Rc<RefCell<State>>);

#[derive(Debug)]
struct State {
    patience: Patience,
    phase: Phase,
    /// Bytes that may still be read.
    credit: usize,
    /// Bytes read since the last request ended.
    read: usize,
    /// The connection's share of the room: the bytes of `read` that are not free.
    share: Share,
    /// Wakes the socket's reader, which waits for credit or for bytes.
    reader: Option<Waker>,
    /// Whether the alarm will wake the socket's task again.
    is_alarm_set: bool,
    /// The `100 Continue` of the request in progress.
    line: Line,
    /// How often everything was written that was to be written.
    flushes: u64,
    /// Waits for the next time.
    flush_waiter: Option<Waker>,
    /// How the client knows where the last answer ends.
    ending: Ending,
}

/// How a client knows where an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// By a length or by chunks.
    Framed,
    /// By the end of the connection, which must not come before the answer's (HTTP/1.0).
    Open,
    /// By the end of the connection. The whole answer is made, but perhaps not written.
    Made,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No request is in progress. The next head must arrive by this time.
    Waiting(Instant),
    /// The same, without room for more of a head. actix-http gets one more chance to use the bytes
    /// that it has.
    Short(Instant),
    /// A request is in progress.
    Answering,
}

impl Exchange {
    fn new(patience: Patience) -> Self {
        let until = Instant::now() + patience.head_time_max;
        let share = patience.heads.share();
        Exchange(Rc::new(RefCell::new(State {
            patience,
            phase: Phase::Waiting(until),
            credit: FREE_BYTES,
            read: 0,
            share,
            reader: None,
            is_alarm_set: false,
            line: Line::None,
            flushes: 0,
            flush_waiter: None,
            ending: Ending::Framed,
        })))
    }

    /// Marks that a request's head has arrived.
    fn begin(&self) {
        let mut state = self.0.borrow_mut();
        state.phase = Phase::Answering;
        // Enough to notice a client that disconnects.
        state.credit = FREE_BYTES;
    }

    /// Marks that the request is answered or given up. The room of its bytes is free again.
    fn end(&self) {
        let mut state = self.0.borrow_mut();
        let Patience { head_time_max, idle_time_max, .. } = state.patience;
        let was_out = state.credit == 0;
        state.phase = Phase::Waiting(Instant::now() + idle_time_max + head_time_max);
        (state.credit, state.read) = (FREE_BYTES, 0);
        state.share.shrink_to(0);
        state.line.end();
        if was_out || !state.is_alarm_set {
            state.wake();
        }
    }

    /// Lets the socket read more of the body, for the request's handler.
    fn ask(&self) {
        let mut state = self.0.borrow_mut();
        let was_out = state.credit == 0;
        state.credit = state.credit.max(BODY_AHEAD_BYTES);
        state.line.ask();
        if was_out {
            state.wake();
        }
    }

    /// The answer in progress ends with the connection.
    fn end_with_connection(&self) {
        self.0.borrow_mut().ending = Ending::Open;
    }

    /// The whole answer is made.
    fn is_made(&self) {
        let mut state = self.0.borrow_mut();
        if state.ending == Ending::Open {
            state.ending = Ending::Made;
        }
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// Bytes that may be read now. Fails if a head is too long for the room that is left.
    fn credit(&mut self, context: &Context<'_>) -> Result<usize, Refusal> {
        if self.credit > 0 || self.phase == Phase::Answering {
            return Ok(self.credit);
        }
        // actix-http discards the bytes beyond its own bound: the rest of a body that no handler
        // read.
        if self.share.grow_to(self.read.min(READ_BYTES_MAX)) {
            self.credit = FREE_BYTES;
            return Ok(FREE_BYTES);
        }
        let Phase::Waiting(until) = self.phase else { return Err(Refusal::NoRoom) };
        // The head may be complete, and the bytes after it may be a body, which is read on demand.
        self.phase = Phase::Short(until);
        context.waker().wake_by_ref();
        Ok(0)
    }

    fn has_read(&mut self, bytes: usize) {
        self.credit -= bytes.min(self.credit);
        self.read += bytes;
        if let Phase::Waiting(until) | Phase::Short(until) = self.phase {
            let is_first = self.read == bytes;
            let soon = Instant::now() + self.patience.head_time_max;
            self.phase = Phase::Waiting(if is_first { until.min(soon) } else { until });
        }
    }
}

/// The reason why a connection is ended. It decides the answer to the client.
#[derive(Clone, Copy, Debug)]
enum Refusal {
    TooSlow,
    NoRoom,
}

impl Refusal {
    /// A complete answer. No request is in progress, so no other answer is being written.
    fn answer(self) -> &'static [u8] {
        match self {
            Refusal::TooSlow => {
                b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            }
            Refusal::NoRoom => {
                b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\
                  connection: close\r\n\r\n"
            }
        }
    }
}

impl<T> Connection<T> {
    pub(crate) fn new(socket: T, reset: fn(&T), patience: Patience) -> Self {
        let alarm = Box::pin(sleep(patience.head_time_max));
        Connection { socket, reset, exchange: Exchange::new(patience), alarm, stalled: None }
    }

    pub(crate) fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// Sets the alarm to the time by which a head must arrive; says whether that time is over.
    fn is_too_late(&mut self, context: &mut Context<'_>) -> bool {
        let mut state = self.exchange.0.borrow_mut();
        let (Phase::Waiting(until) | Phase::Short(until)) = state.phase else {
            // The alarm rings at most once more; the end of the request sets it again.
            state.is_alarm_set &= self.alarm.as_mut().poll(context).is_pending();
            return false;
        };
        if self.alarm.deadline() != until {
            self.alarm.as_mut().reset(until);
        }
        state.is_alarm_set = self.alarm.as_mut().poll(context).is_pending();
        !state.is_alarm_set
    }
}

/// A client would take an answer that ends with the connection for whole. So a connection that ends
/// earlier is reset.
impl<T> Drop for Connection<T> {
    fn drop(&mut self) {
        if self.exchange.0.borrow().ending != Ending::Framed {
            (self.reset)(&self.socket);
        }
    }
}

impl<T: AsyncWrite + Unpin> Connection<T> {
    /// Writes the rest of the line `100 Continue`, if it is due.
    fn poll_line(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let rest = self.exchange.0.borrow().line.rest();
            if rest.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let written = ready!(Pin::new(&mut self.socket).poll_write(context, rest))?;
            if written == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.exchange.0.borrow_mut().line.wrote(written);
        }
    }

    /// Ends the connection. The client gets an answer if the socket takes it at once.
    fn refuse<R>(&mut self, context: &mut Context<'_>, refusal: Refusal) -> Poll<io::Result<R>> {
        let told = Pin::new(&mut self.socket).poll_write(context, refusal.answer());
        log::debug!("a connection is ended: {refusal:?}, told: {}", told.is_ready());
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Connection<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_too_late(context) {
            return self.refuse(context, Refusal::TooSlow);
        }
        let credit = {
            let mut state = self.exchange.0.borrow_mut();
            state.reader = Some(context.waker().clone());
            state.credit(context)
        };
        let credit = match credit {
            Ok(credit) => credit,
            Err(refusal) => return self.refuse(context, refusal),
        };
        if credit == 0 {
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        if buffer.remaining() <= credit {
            ready!(Pin::new(&mut self.socket).poll_read(context, buffer))?;
        } else {
            let mut part = ReadBuf::new(buffer.initialize_unfilled_to(credit));
            ready!(Pin::new(&mut self.socket).poll_read(context, &mut part))?;
            let read = part.filled().len();
            buffer.advance(read);
        }
        self.exchange.0.borrow_mut().has_read(buffer.filled().len() - before);
        // The time limit of a head is earlier once its first byte has arrived.
        if self.is_too_late(context) {
            return self.refuse(context, Refusal::TooSlow);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Connection<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let before = self.exchange.0.borrow_mut().line.before(bytes);
        let is_free = match before {
            Before::Drop(dropped) => return Poll::Ready(Ok(dropped)),
            Before::Nothing => true,
            Before::Finish => match self.poll_line(context) {
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                line => line.is_ready(),
            },
        };
        let written = if is_free {
            Pin::new(&mut self.socket).poll_write(context, bytes)
        } else {
            Poll::Pending
        };
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let pause_max = self.exchange.0.borrow().patience.answer_pause_max;
        let stalled =
            self.stalled.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + pause_max)));
        ready!(stalled.as_mut().poll(context));
        log::debug!("a client has taken nothing of its answer for {pause_max:?}");
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_line(context))?;
        ready!(Pin::new(&mut self.socket).poll_flush(context))?;
        self.exchange.0.borrow_mut().has_flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        {
            // It comes after everything is written.
            let mut state = self.exchange.0.borrow_mut();
            if state.ending == Ending::Made {
                state.ending = Ending::Framed;
            }
        }
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
