//! Reads a request's body within every limit and decodes it.
//!
//! The size that a client declares for a body is used only to refuse the body early. The bytes
//! received are what the limits count.

use std::io::Read;

use actix_web::HttpRequest;
use actix_web::http::header;
use actix_web::web::{Bytes, Payload};
use futures_util::StreamExt as _;
use tokio::time::{Instant, timeout, timeout_at};

use crate::http::options::ApiOptions;
use crate::http::problem::{Problem, ProblemKind};
use crate::http::room::{Room, Share};

/// Bytes of a body that is too large that are read and discarded before the client is answered:
/// most clients read the answer only after they have sent everything.
const DISCARDED_BYTES_MAX: usize = 128 << 20;

/// Bodies up to this size are counted with their connection.
const FREE_BYTES: usize = 8 << 10;

/// Deflate makes at most 1,032 bytes of one byte (zlib's technical notes).
const DEFLATE_RATIO_MAX: u64 = 1_032;

/// Bytes decoded at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// The room is full of other bodies.
#[derive(Debug)]
pub(crate) struct NoRoom;

impl From<NoRoom> for Problem {
    fn from(_: NoRoom) -> Self {
        Problem::overloaded("too many large bodies are being read at the moment", 1)
    }
}

/// One body's share of the room for all bodies.
#[derive(Debug)]
struct Reservation(Share);

impl Reservation {
    /// Reserves room for `bytes` in total, before they are allocated.
    fn hold(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let counted = bytes.saturating_sub(FREE_BYTES);
        if counted <= self.0.bytes() {
            return Ok(());
        }
        // Doubling keeps the number of steps small if a body grows chunk by chunk.
        let doubled = counted.max(self.0.bytes().saturating_mul(2));
        if self.0.grow_to(doubled) || self.0.grow_to(counted) {
            return Ok(());
        }
        Err(NoRoom)
    }

    /// Appends a chunk to a body. It reserves twice the body's bytes, beside `others`, because the
    /// body is copied while it grows, and later events are parsed from it, for an envelope or a
    /// form from a separate text. Once the events are in the queue, the queue counts them.
    fn append(&mut self, body: &mut Vec<u8>, chunk: &[u8], others: usize) -> Result<(), NoRoom> {
        let size = body.len() + chunk.len();
        self.hold(others + 2 * size)?;
        if size > body.capacity() {
            let held = (self.0.bytes() + FREE_BYTES).saturating_sub(others);
            body.reserve_exact((held / 2).max(size) - body.len());
        }
        body.extend_from_slice(chunk);
        Ok(())
    }
}

/// A body in memory and its share of the room.
#[derive(Debug)]
pub(crate) struct Body {
    bytes: Vec<u8>,
    reservation: Reservation,
}

impl Body {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The body's bytes, and a function that reserves room for the events parsed from them.
    pub(crate) fn parts(&mut self) -> (&[u8], impl FnMut(usize) -> Result<(), NoRoom>) {
        let texts = 2 * self.bytes.len();
        let reservation = &mut self.reservation;
        (&self.bytes, move |made| reservation.hold(texts + made))
    }
}

/// The reason why a body could not be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The body does not decompress, for this reason.
    NotCompressed { fault: String, body: Body },
    /// Any other reason.
    Other(Problem),
}

impl<E: Into<Problem>> From<E> for ReadError {
    fn from(problem: E) -> Self {
        ReadError::Other(problem.into())
    }
}

/// For a reader that has no use for a body that does not decompress.
impl ReadError {
    pub(crate) fn into_problem(self) -> Problem {
        match self {
            ReadError::NotCompressed { fault, .. } => not_compressed(&fault),
            ReadError::Other(problem) => problem,
        }
    }
}

/// The problem of a body that does not decompress.
pub(crate) fn not_compressed(fault: &str) -> Problem {
    Problem::body_fault("not_compressed", format!("the body does not decompress: {fault}"))
}

/// The reason why a body could not be decoded.
enum DecodeError {
    NotCompressed(std::io::Error),
    Other(Problem),
}

impl<E: Into<Problem>> From<E> for DecodeError {
    fn from(problem: E) -> Self {
        DecodeError::Other(problem.into())
    }
}

/// The content coding of a body (RFC 9110, section 8.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Identity,
    Gzip,
    Zstd,
}

/// Refuses `Upgrade: websocket`: the HTTP library takes the bytes after such a head for those of a new protocol,
/// and the body would seem to be empty. After the answer the connection is closed.
fn refuse_upgrade(request: &HttpRequest) -> Result<(), Problem> {
    let mut protocols = request.headers().get_all(header::UPGRADE);
    if protocols.any(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"websocket")) {
        let detail = "a request with a body cannot ask for Upgrade: websocket";
        return Err(Problem::new(ProblemKind::InvalidHeader, detail)
            .with_header(header::CONNECTION, "close"));
    }
    Ok(())
}

/// Refuses a body that is too large before a client that waits for `100 Continue` sends it. Other
/// clients send it anyway.
fn refuse_expected(request: &HttpRequest, bytes_max: usize) -> Result<(), Problem> {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if request.head().expect() && length.is_some_and(|length| length > bytes_max as u64) {
        return Err(too_large("as sent", bytes_max));
    }
    Ok(())
}

/// Reads and decodes the body.
///
/// # Errors
/// 413 if it exceeds a limit, 415 for an unknown coding, 408 if it does not arrive in time, 503 if
/// there is no room for it, 400 for bytes that cannot be decoded.
pub(crate) async fn read(
    request: &HttpRequest,
    payload: &mut Payload,
    options: &ApiOptions,
    room: &Room,
) -> Result<Body, ReadError> {
    refuse_upgrade(request)?;
    let coding = coding(request)?;
    refuse_expected(request, options.body_bytes_max)?;
    let mut reservation = Reservation(room.share());
    let sent = receive(payload, options, &mut reservation).await?;
    if coding == Coding::Identity {
        return Ok(Body { bytes: sent, reservation });
    }
    let limit = options.decoded_bytes_max;
    let decoded =
        actix_web::web::block(move || match decode(coding, &sent, limit, &mut reservation) {
            Ok(bytes) => Ok(Body { bytes, reservation }),
            Err(DecodeError::NotCompressed(error)) => {
                let body = Body { bytes: sent, reservation };
                Err(ReadError::NotCompressed { fault: error.to_string(), body })
            }
            Err(DecodeError::Other(problem)) => Err(ReadError::Other(problem)),
        });
    decoded.await?
}

fn coding(request: &HttpRequest) -> Result<Coding, Problem> {
    let mut codings = request.headers().get_all(header::CONTENT_ENCODING);
    let coding = codings.next().map_or("identity", |value| value.to_str().unwrap_or("?"));
    match (coding.trim().to_ascii_lowercase().as_str(), codings.next()) {
        ("identity" | "", None) => Ok(Coding::Identity),
        ("gzip" | "x-gzip", None) => Ok(Coding::Gzip),
        ("zstd", None) => Ok(Coding::Zstd),
        _ => Err(Problem::new(
            ProblemKind::UnsupportedMediaType,
            "Content-Encoding is gzip, zstd or identity",
        )
        .with_header(header::ACCEPT_ENCODING, "gzip, zstd, identity")),
    }
}

fn too_large(what: &str, limit: usize) -> Problem {
    let detail = format!("the body has at most {limit} bytes {what}");
    Problem::new(ProblemKind::TooLarge, detail)
}

/// Receives the bytes as sent.
async fn receive(
    payload: &mut Payload,
    options: &ApiOptions,
    reservation: &mut Reservation,
) -> Result<Vec<u8>, Problem> {
    let deadline = Instant::now() + options.body_time_max;
    let mut bytes = Vec::new();
    while let Some(chunk) = next_chunk(payload, options, deadline).await? {
        let size = bytes.len() + chunk.len();
        if size > options.body_bytes_max {
            drop(bytes);
            discard(payload, options, deadline).await?;
            return Err(too_large("as sent", options.body_bytes_max));
        }
        reservation.append(&mut bytes, &chunk, 0)?;
    }
    Ok(bytes)
}

/// Reads on for a while and discards the bytes.
async fn discard(
    payload: &mut Payload,
    options: &ApiOptions,
    deadline: Instant,
) -> Result<(), Problem> {
    let mut discarded = 0;
    while let Some(chunk) = next_chunk(payload, options, deadline).await? {
        discarded += chunk.len();
        if discarded > DISCARDED_BYTES_MAX {
            break;
        }
    }
    Ok(())
}

async fn next_chunk(
    payload: &mut Payload,
    options: &ApiOptions,
    deadline: Instant,
) -> Result<Option<Bytes>, Problem> {
    let chunk = timeout_at(deadline, timeout(options.body_pause_max, payload.next())).await;
    match chunk {
        Ok(Ok(Some(Ok(chunk)))) => Ok(Some(chunk)),
        Ok(Ok(None)) => Ok(None),
        Ok(Ok(Some(Err(error)))) => {
            let detail = format!("the body broke off: {error}");
            Err(Problem::body_fault("torn", detail))
        }
        Ok(Err(_)) | Err(_) => {
            let detail = "the rest of the body did not arrive in time";
            Err(Problem::new(ProblemKind::RequestTimeout, detail)
                .with_header(header::CONNECTION, "close"))
        }
    }
}

/// The decoded size that the bytes themselves declare: in the last four bytes of gzip (RFC 1952,
/// section 2.3.1), or in the header of a zstd frame (RFC 8878, section 3.1.1). A gzip size that
/// deflate cannot reach means that the body was cut off; then there is no declared size.
fn declared_size(coding: Coding, sent: &[u8]) -> Option<u64> {
    match coding {
        Coding::Identity => None,
        Coding::Gzip => sent
            .last_chunk()
            .map(|size| u32::from_le_bytes(*size).into())
            .filter(|size| *size <= DEFLATE_RATIO_MAX * sent.len() as u64),
        Coding::Zstd => zstd::zstd_safe::get_frame_content_size(sent).ok().flatten(),
    }
}

fn decode(
    coding: Coding,
    sent: &[u8],
    limit: usize,
    reservation: &mut Reservation,
) -> Result<Vec<u8>, DecodeError> {
    // A body that declares a size over the limit is refused without being decoded in full. Only its
    // first bytes are decoded, to tell it from a body that cannot be decoded at all. A body that
    // declares a false size meets the limit below, within the room for all bodies.
    if declared_size(coding, sent).is_some_and(|size| size > limit as u64) {
        let mut first = Vec::with_capacity(CHUNK_BYTES);
        let first_bytes = decoder(coding, sent)?.take(CHUNK_BYTES as u64).read_to_end(&mut first);
        if first_bytes.map_err(DecodeError::NotCompressed)? == CHUNK_BYTES {
            return Err(too_large("after decompression", limit).into());
        }
    }
    let mut bytes = Vec::new();
    each_chunk(coding, sent, limit, |chunk| {
        Ok(reservation.append(&mut bytes, chunk, sent.len())?)
    })?;
    Ok(bytes)
}

fn decoder(coding: Coding, sent: &[u8]) -> Result<Box<dyn Read + '_>, DecodeError> {
    Ok(match coding {
        Coding::Identity => Box::new(sent),
        Coding::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(sent)),
        Coding::Zstd => {
            Box::new(zstd::Decoder::with_buffer(sent).map_err(DecodeError::NotCompressed)?)
        }
    })
}

/// Decodes `sent` chunk by chunk, up to `limit` bytes in all.
fn each_chunk(
    coding: Coding,
    sent: &[u8],
    limit: usize,
    mut take: impl FnMut(&[u8]) -> Result<(), Problem>,
) -> Result<(), DecodeError> {
    let mut decoder = decoder(coding, sent)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut size = 0;
    loop {
        let read = decoder.read(&mut chunk).map_err(DecodeError::NotCompressed)?;
        if read == 0 {
            return Ok(());
        }
        size += read;
        if size > limit {
            return Err(too_large("after decompression", limit).into());
        }
        take(&chunk[..read])?;
    }
}
