//! `Expect: 100-continue` (RFC 9110, section 10.1.1): a client that sends its body only once it is
//! told to go on.
//!
//! actix-http writes its `100 Continue` before any handler has seen the request, so a client would
//! send a body of gigabytes to be told that its token is wrong. The [`Connection`](super::Connection)
//! therefore takes actix-http's line out of what is written, and writes it once a handler waits for
//! bytes of the body. A request that is refused for its head is answered without it.
//!
//! The line is found by its place: [`until_written`] holds a request back until everything before it
//! is written, so that the line is the first that is written next.

use std::future::poll_fn;
use std::task::{Context, Poll};

use actix_http::Request;

use super::{Exchange, State};

/// What actix-http writes for a client to go on.
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The state of the line for the request in progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Line {
    /// The client waits for none, or has been told.
    #[default]
    None,
    /// actix-http writes the line next. It is taken out.
    Held,
    /// The same, but the request is answered already.
    Late,
    /// The line was taken out. It is written once the body is asked for.
    Withheld,
    /// The line is to be written; that many bytes of it are.
    Due(usize),
}

/// What a write is to do about the line first.
pub(super) enum Before {
    /// Nothing.
    Nothing,
    /// Drop that many bytes of what is to be written.
    Drop(usize),
    /// Write the rest of the line, which has begun.
    Finish,
}

impl Line {
    /// A handler waits for bytes of the body.
    pub(super) fn ask(&mut self) {
        *self = match *self {
            // The line of actix-http is not written yet: it goes through.
            Line::Held => Line::None,
            Line::Withheld => Line::Due(0),
            other => other,
        };
    }

    /// The request is answered, or given up.
    pub(super) fn end(&mut self) {
        *self = match *self {
            Line::Held => Line::Late,
            Line::Withheld | Line::Due(0) => Line::None,
            other => other,
        };
    }

    /// Looks at bytes that are to be written.
    pub(super) fn before(&mut self, bytes: &[u8]) -> Before {
        match *self {
            Line::Held | Line::Late if bytes.starts_with(CONTINUE) => {
                *self = if *self == Line::Held { Line::Withheld } else { Line::None };
                Before::Drop(CONTINUE.len())
            }
            // An answer comes instead of the line.
            Line::Due(0) => {
                *self = Line::None;
                Before::Nothing
            }
            Line::Due(_) => Before::Finish,
            _ => Before::Nothing,
        }
    }

    /// The rest of the line that is to be written; empty if there is none.
    pub(super) fn rest(self) -> &'static [u8] {
        match self {
            Line::Due(written) => CONTINUE.get(written..).unwrap_or_default(),
            _ => &[],
        }
    }

    /// So many bytes of the rest are written.
    pub(super) fn wrote(&mut self, bytes: usize) {
        if let Line::Due(written) = *self {
            let written = written + bytes;
            *self = if written < CONTINUE.len() { Line::Due(written) } else { Line::None };
        }
    }
}

impl State {
    /// Everything that was to be written is written.
    pub(super) fn has_flushed(&mut self) {
        self.flushes = self.flushes.wrapping_add(1);
        if let Some(waker) = self.flush_waiter.take() {
            waker.wake();
        }
    }
}

impl Exchange {
    /// Ready once everything is written that was to be written at the first call.
    fn poll_written(&self, from: &mut Option<u64>, context: &Context<'_>) -> Poll<()> {
        let mut state = self.0.borrow_mut();
        if from.is_some_and(|from| from != state.flushes) {
            state.line = Line::Held;
            return Poll::Ready(());
        }
        *from = Some(state.flushes);
        state.flush_waiter = Some(context.waker().clone());
        Poll::Pending
    }
}

/// Holds a request with `Expect: 100-continue` back until every answer before it is written. A
/// request that did not come over a [`Connection`](super::Connection) goes on at once.
pub(crate) async fn until_written(request: Request) -> Result<Request, actix_http::Error> {
    if let Some(exchange) = request.conn_data::<Exchange>() {
        let mut from = None;
        poll_fn(|context| exchange.poll_written(&mut from, context)).await;
    }
    Ok(request)
}
