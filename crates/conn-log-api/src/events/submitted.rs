//! From a body's bytes to the events in it, each held against the rules on its own.

use std::borrow::Cow;

use actix_web::HttpRequest;
use actix_web::http::header;
use conn_log_core::{BodyError, Faults, JsonBody, ParsedEvent, Rules, Timestamp, utf8};

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

/// Bytes of an event in memory, beside its texts.
const EVENT_BYTES: usize = 512;

/// Bytes of a fault, with its pointer and its detail. 10,000 events with 32 each have room beside 64 MiB of body.
const FAULT_BYTES: usize = 160;

impl Item {
    /// The memory it takes, beside the texts of its body.
    fn bytes(&self) -> usize {
        match &self.parsed {
            Ok(_) => EVENT_BYTES,
            Err(faults) => EVENT_BYTES + faults.as_slice().len() * FAULT_BYTES,
        }
    }
}

/// Makes sure of room for so many bytes of items in all.
type Hold<'a> = &'a mut dyn FnMut(usize) -> Result<(), Problem>;

/// Reads bodies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parser<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) now: Timestamp,
    pub(crate) events_max: usize,
}

impl Parser<'_> {
    /// Takes a body apart.
    ///
    /// # Errors
    /// 400 for a body whose own shape is wrong, 413 for too many events, and what `hold` gives without room.
    pub(crate) fn parse(
        &self,
        media_type: MediaType,
        body: &[u8],
        hold: Hold<'_>,
    ) -> Result<Submitted, Problem> {
        match media_type {
            MediaType::Json => self.json(body, hold),
            MediaType::Form => self.inner(form_data(body)?.as_bytes(), hold),
            MediaType::Ndjson => self.lines(body, hold),
        }
    }

    fn json(&self, body: &[u8], hold: Hold<'_>) -> Result<Submitted, Problem> {
        match self.read(body)? {
            JsonBody::Envelope(text) => self.inner(text.as_bytes(), hold),
            other => self.events(other, hold),
        }
    }

    /// What an envelope or a form holds: an event or an array, and no further envelope.
    fn inner(&self, text: &[u8], hold: Hold<'_>) -> Result<Submitted, Problem> {
        match self.read(text)? {
            JsonBody::Envelope(_) => Err(Problem::body_fault(
                "envelope_in_envelope",
                "an envelope holds an event or an array, not another envelope",
            )),
            other => self.events(other, hold),
        }
    }

    fn read<'b>(&self, body: &'b [u8]) -> Result<JsonBody<'b>, Problem> {
        nests_little(body)?;
        JsonBody::read(body, self.events_max).map_err(|error| match error {
            BodyError::Faults(faults) => Problem::faults(&faults),
            BodyError::TooManyEvents => self.too_many(),
        })
    }

    fn events(&self, body: JsonBody<'_>, hold: Hold<'_>) -> Result<Submitted, Problem> {
        let elements = match body {
            JsonBody::Event(event) => {
                return Ok(Submitted::Single(event.check(self.rules, self.now)));
            }
            JsonBody::Events(elements) => elements,
            JsonBody::Envelope(_) => Vec::new(),
        };
        let parse = |json: &str| self.rules.parse_event(json, self.now);
        let items = elements.iter().map(|json| Item { line: None, parsed: parse(json.get()) });
        self.batch(items, hold)
    }

    fn lines(&self, body: &[u8], hold: Hold<'_>) -> Result<Submitted, Problem> {
        body.split(|byte| *byte == b'\n').try_for_each(nests_little)?;
        let lines = body.split(|byte| *byte == b'\n').zip(1..);
        let lines = lines.filter(|(line, _)| !line.trim_ascii().is_empty());
        let items = lines.map(|(line, number)| {
            let parsed = utf8(line).and_then(|json| self.rules.parse_event(json, self.now));
            Item { line: Some(number), parsed }
        });
        self.batch(items, hold)
    }

    fn batch(
        &self,
        items: impl Iterator<Item = Item>,
        hold: Hold<'_>,
    ) -> Result<Submitted, Problem> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for item in items {
            if batch.len() == self.events_max {
                return Err(self.too_many());
            }
            bytes += item.bytes();
            hold(bytes)?;
            batch.push(item);
        }
        if batch.is_empty() {
            return Err(Problem::body_fault("empty", "there is no event in the body"));
        }
        Ok(Submitted::Batch(batch))
    }

    fn too_many(&self) -> Problem {
        let detail = format!("a request has at most {} events", self.events_max);
        Problem::new(ProblemKind::TooLarge, detail)
    }
}

/// Brackets that may be open at once in a body. What is deeper than metadata's eight levels is told as a fault
/// of its event, up to here.
const OPEN_BRACKETS_MAX: usize = 64 << 10;

/// Refuses JSON of brackets within brackets: the parser keeps a byte for each that is open, and more while
/// it grows, so that such a text would take its size two or three times again.
fn nests_little(json: &[u8]) -> Result<(), Problem> {
    if json.len() <= OPEN_BRACKETS_MAX {
        return Ok(());
    }
    let (mut open, mut in_text, mut is_escaped) = (0_usize, false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = in_text,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => open += 1,
            b']' | b'}' if !in_text => open = open.saturating_sub(1),
            _ => {}
        }
        if open > OPEN_BRACKETS_MAX {
            let detail = format!("more than {OPEN_BRACKETS_MAX} brackets are open at once");
            return Err(Problem::body_fault("invalid_json", detail));
        }
    }
    Ok(())
}

/// The `data` field of a form. The other fields are looked at, one by one, and not kept.
fn form_data(body: &[u8]) -> Result<Cow<'_, str>, Problem> {
    let mut data = None;
    for pair in query_string::pairs(body) {
        let (name, value) = pair
            .map_err(|fault| Problem::body_fault("not_a_form", format!("not a form: {fault}")))?;
        if name == "data" && data.replace(value).is_some() {
            let detail = "the form has the field data twice";
            return Err(Problem::body_fault("duplicate_key", detail));
        }
    }
    data.ok_or_else(|| Problem::body_fault("missing", "the form has no field data"))
}
