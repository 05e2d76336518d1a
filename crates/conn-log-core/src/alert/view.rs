//! An event as rules see it: its metadata is parsed once for all of them.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::hash::{DefaultHasher, Hasher as _};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::rule::{Clock, Field};
use crate::{EventFields, EventFilter, Record, Timestamp};

/// One event, for any number of rules.
#[derive(Debug)]
pub struct EventView<'a> {
    record: &'a Record,
    metadata: OnceCell<Value>,
    digest: OnceCell<u64>,
    address: OnceCell<Option<String>>,
}

impl<'a> EventView<'a> {
    /// The view of a record.
    pub fn new(record: &'a Record) -> Self {
        EventView {
            record,
            metadata: OnceCell::new(),
            digest: OnceCell::new(),
            address: OnceCell::new(),
        }
    }

    pub(super) fn id(&self) -> i64 {
        self.record.id
    }

    pub(super) fn fields(&self) -> &'a EventFields {
        self.record.event.fields()
    }

    pub(super) fn created_at(&self) -> Timestamp {
        self.record.created_at
    }

    pub(super) fn time(&self, clock: Clock) -> Timestamp {
        match clock {
            Clock::Event => self.fields().timestamp,
            Clock::Received => self.record.created_at,
        }
    }

    pub(super) fn metadata(&self) -> &Value {
        // Canonical metadata is always valid JSON.
        self.metadata
            .get_or_init(|| serde_json::from_str(&self.fields().metadata).unwrap_or_default())
    }

    pub(super) fn passes(&self, filter: &EventFilter) -> bool {
        filter.matches_with(self.fields(), || self.metadata())
    }

    /// The text of a field; `None` if the event has none.
    pub(super) fn value(&self, field: &Field) -> Option<Cow<'_, str>> {
        let fields = self.fields();
        match field {
            Field::Device => Some(Cow::Borrowed(&fields.device_id)),
            Field::Application => Some(Cow::Borrowed(&fields.application_id)),
            Field::Address => self.address().map(Cow::Borrowed),
            Field::UserAgent => fields.user_agent.as_deref().map(Cow::Borrowed),
            Field::NetworkType => match self.metadata().get("network_type")? {
                Value::String(text) => Some(Cow::Borrowed(text)),
                _ => None,
            },
            Field::Metadata(path) => path.text_in(self.metadata()),
        }
    }

    fn address(&self) -> Option<&str> {
        let text = || self.fields().ip_address.map(|address| address.to_string());
        self.address.get_or_init(text).as_deref()
    }

    /// Latitude and longitude in degrees, from the metadata.
    pub(super) fn place(&self) -> Option<(f64, f64)> {
        let of = |name: &str| self.metadata().get(name)?.as_f64();
        let (latitude, longitude) = (of("latitude")?, of("longitude")?);
        let is_place = latitude.abs() <= 90.0 && longitude.abs() <= 180.0;
        is_place.then_some((latitude, longitude))
    }

    /// A number made of all that the client sent: equal for repeats. It never changes from one
    /// release to the next, because alerts keep it.
    pub(super) fn digest(&self) -> u64 {
        *self.digest.get_or_init(|| {
            let fields = self.fields();
            let duration = fields.duration.map(|seconds| seconds.to_bits().to_string());
            let texts = [
                Some(fields.device_id.as_str()),
                Some(&fields.application_id),
                Some(&fields.connection_type),
                Some(&fields.status),
                self.address(),
                fields.user_agent.as_deref(),
                duration.as_deref(),
                fields.session_id.as_deref(),
                fields.event_id.as_deref(),
                Some(&fields.metadata),
            ];
            let mut hash = Sha256::new();
            hash.update(fields.timestamp.micros().to_be_bytes());
            for text in texts {
                hash.update([u8::from(text.is_some())]);
                hash.update(text.unwrap_or_default());
                hash.update([0]);
            }
            first_bytes(&hash.finalize())
        })
    }
}

/// A number made of a text, with few collisions, the same in every release: alerts keep it.
pub(super) fn text_digest(text: &str) -> u64 {
    first_bytes(&Sha256::digest(text))
}

/// A number made of a text, for comparisons in memory: it differs between releases.
pub(super) fn text_number(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

fn first_bytes(hash: &[u8]) -> u64 {
    let first = hash.first_chunk().copied().unwrap_or_default();
    u64::from_be_bytes(first)
}
