//! From a body's bytes to the events in it, each held against the rules on its own.

use actix_web::HttpRequest;
use actix_web::http::header;
use conn_log_core::{
    BodyError, Edition, Event, EventDraft, EventPolicy, Faults, JsonBody, Timestamp, utf8,
};

use crate::problem::{Problem, ProblemKind};
use crate::query_string;

/// The media types that events are taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MediaType {
    Json,
    Form,
    Ndjson,
}

impl MediaType {
    /// The request's own.
    ///
    /// # Errors
    /// 415 for any other, and for none.
    pub(crate) fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let value = request.headers().get(header::CONTENT_TYPE);
        let value = value.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (essence, parameters) = value.split_once(';').unwrap_or((value, ""));
        let media_type = match essence.trim().to_ascii_lowercase().as_str() {
            "application/json" => MediaType::Json,
            "application/x-www-form-urlencoded" => MediaType::Form,
            "application/x-ndjson" => MediaType::Ndjson,
            _ => return Err(not_taken("this content type is not taken")),
        };
        let charset = parameters.split(';').find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
        });
        match charset {
            Some(charset) if !charset.eq_ignore_ascii_case("utf-8") => {
                Err(not_taken("the charset is utf-8"))
            }
            _ => Ok(media_type),
        }
    }
}

fn not_taken(why: &str) -> Problem {
    let detail = format!(
        "{why}; send application/json, application/x-www-form-urlencoded or application/x-ndjson"
    );
    Problem::new(ProblemKind::UnsupportedMediaType, detail)
}

/// An event, and the edition that its client speaks.
#[derive(Debug)]
pub(crate) struct ParsedEvent {
    /// Which answer the client expects.
    pub(crate) edition: Edition,
    pub(crate) event: Event,
}

/// One event of a body, or what is wrong with it.
#[derive(Debug)]
pub(crate) struct Item {
    /// Where it stands in an NDJSON body, from 1.
    pub(crate) line: Option<usize>,
    pub(crate) parsed: Result<ParsedEvent, Faults>,
}

/// What a body asks for.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one a request, taken apart where it is made")]
pub(crate) enum Submitted {
    /// One event, answered by its record.
    Single(Result<ParsedEvent, Faults>),
    /// Any number but zero, answered by a list of results.
    Batch(Vec<Item>),
}

/// Reads bodies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parser<'a> {
    pub(crate) policy: &'a EventPolicy,
    pub(crate) now: Timestamp,
    pub(crate) events_max: usize,
}

impl Parser<'_> {
    /// Takes a body apart.
    ///
    /// # Errors
    /// 400 for a body whose own shape is wrong, 413 for too many events.
    pub(crate) fn parse(&self, media_type: MediaType, body: &[u8]) -> Result<Submitted, Problem> {
        match media_type {
            MediaType::Json => self.json(body),
            MediaType::Form => self.inner(form_data(body)?.as_bytes()),
            MediaType::Ndjson => self.lines(body),
        }
    }

    fn json(&self, body: &[u8]) -> Result<Submitted, Problem> {
        match self.read(body)? {
            JsonBody::Envelope(text) => self.inner(text.as_bytes()),
            other => self.events(other),
        }
    }

    /// What an envelope or a form holds: an event or an array, and no further envelope.
    fn inner(&self, text: &[u8]) -> Result<Submitted, Problem> {
        match self.read(text)? {
            JsonBody::Envelope(_) => Err(Problem::body_fault(
                "envelope_in_envelope",
                "an envelope holds an event or an array, not another envelope",
            )),
            other => self.events(other),
        }
    }

    fn read<'b>(&self, body: &'b [u8]) -> Result<JsonBody<'b>, Problem> {
        JsonBody::read(body, self.events_max).map_err(|error| match error {
            BodyError::Faults(faults) => Problem::faults(&faults),
            BodyError::TooManyEvents => self.too_many(),
        })
    }

    fn events(&self, body: JsonBody<'_>) -> Result<Submitted, Problem> {
        let elements = match body {
            JsonBody::Event(draft) => return Ok(Submitted::Single(self.check(draft))),
            JsonBody::Events(elements) => elements,
            JsonBody::Envelope(_) => Vec::new(),
        };
        self.batch(elements.iter().map(|json| Item { line: None, parsed: self.event(json.get()) }))
    }

    fn event(&self, json: &str) -> Result<ParsedEvent, Faults> {
        self.check(EventDraft::from_json(json)?)
    }

    fn check(&self, draft: EventDraft<'_>) -> Result<ParsedEvent, Faults> {
        let edition = draft.edition();
        Ok(ParsedEvent { edition, event: self.policy.check(draft, self.now)? })
    }

    fn lines(&self, body: &[u8]) -> Result<Submitted, Problem> {
        let lines = body.split(|byte| *byte == b'\n').zip(1..);
        self.batch(lines.filter(|(line, _)| !line.trim_ascii().is_empty()).map(|(line, number)| {
            let parsed = utf8(line).and_then(|json| self.event(json));
            Item { line: Some(number), parsed }
        }))
    }

    fn batch(&self, items: impl Iterator<Item = Item>) -> Result<Submitted, Problem> {
        // One beyond the limit is enough to know.
        let items: Vec<Item> = items.take(self.events_max + 1).collect();
        match items.len() {
            0 => Err(Problem::body_fault("empty", "there is no event in the body")),
            n if n > self.events_max => Err(self.too_many()),
            _ => Ok(Submitted::Batch(items)),
        }
    }

    fn too_many(&self) -> Problem {
        let detail = format!("a request has at most {} events", self.events_max);
        Problem::new(ProblemKind::TooLarge, detail)
    }
}

/// The `data` field of a form.
fn form_data(body: &[u8]) -> Result<String, Problem> {
    let fields = query_string::pairs(body)
        .map_err(|fault| Problem::body_fault("not_a_form", format!("not a form: {fault}")))?;
    let mut data = fields.into_iter().filter(|(name, _)| name == "data").map(|(_, value)| value);
    match (data.next(), data.next()) {
        (Some(data), None) => Ok(data),
        (None, _) => Err(Problem::body_fault("missing", "the form has no field data")),
        (Some(_), Some(_)) => {
            Err(Problem::body_fault("duplicate_key", "the form has the field data twice"))
        }
    }
}
