//! Bounds the bytes of answers held in memory, while they are made and while clients read them.
//!
//! [`hold`] is the middleware around every handler. An answer held in memory takes its share of the
//! room until it is sent, and is sent in pieces. If there is no room, the client is told to retry
//! later. A handler that has already done its work by then, such as an append, asks for its share
//! before the work ([`AnswerRoom::promise`]). Streamed answers have bounds of their own (`pipe`,
//! `log::stream`).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::web::Bytes;
use actix_web::{Error, HttpResponse, ResponseError as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::app::App;
use super::problem::Problem;
use super::room::{Room, Share};

/// Bytes of all answers that wait for their clients: two pages of 1,000 of the largest records, or
/// 1,000 of the usual pages of 100.
const SENT_BYTES_MAX: usize = 48 << 20;

/// Bytes of all pages being made: two pages of 1,000 of the largest records.
const MADE_BYTES_MAX: usize = 96 << 20;

/// Maximum bytes of one record, counted twice: as read and as JSON. Metadata has up to 16 KiB, the
/// rest less than 8 KiB.
const RECORD_BYTES_MAX: usize = 2 * (24 << 10);

/// The maximum time that a page waits for its turn. A client cannot hold a turn: it ends when the
/// page is made.
const TURN_WAIT_MAX: Duration = Duration::from_secs(10);

/// Answers up to this size are counted with their connection.
const FREE_BYTES: usize = 8 << 10;

/// Bytes passed to the connection at a time. The connection copies them.
const PIECE_BYTES: usize = 16 << 10;

/// Room for answers.
#[derive(Clone, Debug)]
pub(crate) struct AnswerRoom {
    sent: Room,
    made: Arc<Semaphore>,
}

/// A permit to read that many records and to make an answer of them, held until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn(#[expect(dead_code, reason = "held")] OwnedSemaphorePermit);

impl AnswerRoom {
    pub(crate) fn new() -> Self {
        let made = Arc::new(Semaphore::new(MADE_BYTES_MAX / RECORD_BYTES_MAX));
        AnswerRoom { sent: Room::new(SENT_BYTES_MAX), made }
    }

    /// Waits until that many records may be read.
    ///
    /// # Errors
    /// [`NoRoom`] if other pages hold their turns for too long.
    pub(crate) async fn turn(&self, records_max: usize) -> Result<Turn, NoRoom> {
        let records = u32::try_from(records_max).unwrap_or(u32::MAX);
        let turn = self.made.clone().acquire_many_owned(records);
        match timeout(TURN_WAIT_MAX, turn).await {
            Ok(Ok(permit)) => Ok(Turn(permit)),
            _ => Err(NoRoom),
        }
    }

    /// Reserves the share of an answer of at most `bytes` bytes that is still to be made. The share
    /// goes into the answer's extensions.
    ///
    /// # Errors
    /// [`NoRoom`] if the room is full.
    pub(crate) fn promise(&self, bytes: usize) -> Result<Share, NoRoom> {
        self.sent.take(bytes).ok_or(NoRoom)
    }
}

/// The room is full of other answers.
#[derive(Debug)]
pub(crate) struct NoRoom;

impl From<NoRoom> for Problem {
    fn from(_: NoRoom) -> Self {
        Problem::overloaded("too many large answers are waiting to be taken at the moment", 1)
    }
}

/// A marker in an answer's extensions: its bytes are static in the program, or shared by all
/// clients that ask for them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeldAnyway;

/// Middleware around every handler: holds the answer within the room, or refuses it.
pub(crate) async fn hold<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, Held>>, Error> {
    let room = App::of(request.request()).answer_room.clone();
    let is_done = !request.method().is_safe();
    let mut response = next.call(request).await?;
    let (promised, is_held) = {
        let mut extensions = response.response_mut().extensions_mut();
        (extensions.remove::<Share>(), extensions.contains::<HeldAnyway>())
    };
    let bytes = match response.response().body().size() {
        BodySize::Sized(size) => usize::try_from(size).unwrap_or(usize::MAX),
        BodySize::None | BodySize::Stream => 0,
    };
    if bytes <= FREE_BYTES {
        return Ok(response.map_into_left_body());
    }
    let (request, response) = response.into_parts();
    let (head, body) = response.into_parts();
    let bytes = match body.try_into_bytes() {
        Ok(bytes) => bytes,
        Err(body) => {
            return Ok(ServiceResponse::new(request, head.set_body(EitherBody::left(body))));
        }
    };
    let share = match share(&room, bytes.len(), promised, is_done, is_held) {
        Ok(share) => share,
        Err(no_room) => return Ok(ServiceResponse::new(request, refusal(&no_room.into()))),
    };
    let held = EitherBody::right(Held { bytes, _share: share });
    Ok(ServiceResponse::new(request, head.set_body(held)))
}

fn share(
    room: &AnswerRoom,
    bytes: usize,
    promised: Option<Share>,
    is_done: bool,
    is_held: bool,
) -> Result<Share, NoRoom> {
    let held = if is_held { PIECE_BYTES } else { bytes + PIECE_BYTES };
    if let Some(mut promised) = promised {
        promised.shrink_to(held);
        return Ok(promised);
    }
    if is_done {
        return Ok(room.sent.take_anyway(held));
    }
    room.promise(held)
}

fn refusal<B>(problem: &Problem) -> HttpResponse<EitherBody<B, Held>> {
    problem.error_response().map_body(|_, body| {
        let bytes = body.try_into_bytes().unwrap_or_default();
        EitherBody::right(Held { bytes, _share: Room::new(0).share() })
    })
}

/// An answer in memory and its share of the room.
pub(crate) struct Held {
    bytes: Bytes,
    _share: Share,
}

impl MessageBody for Held {
    type Error = Error;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.bytes.len() as u64)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Error>>> {
        let length = self.bytes.len().min(PIECE_BYTES);
        let piece = self.bytes.split_to(length);
        Poll::Ready((length > 0).then_some(Ok(piece)))
    }
}
