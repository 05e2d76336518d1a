//! Writes a record's members as JSON: by hand, since every record is written on the hot path.

use std::net::IpAddr;

use crate::EventFields;

/// The session id beside the metadata: `None` if the metadata already shows it.
pub(super) fn own_session_id(fields: &EventFields) -> Option<&str> {
    let session_id = fields.session_id.as_deref()?;
    (crate::event::metadata::session_id(&fields.metadata).as_deref() != Some(session_id))
        .then_some(session_id)
}

/// Writes one JSON object, with its members in the order of the calls.
pub(super) struct ObjectWriter(String);

impl ObjectWriter {
    pub(super) fn with_capacity(fields: &EventFields) -> Self {
        let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let texts = fields.device_id.len()
            + fields.application_id.len()
            + fields.metadata.len()
            + optional(&fields.user_agent)
            + optional(&fields.session_id)
            + optional(&fields.event_id);
        ObjectWriter(String::with_capacity(320 + texts))
    }

    /// Bytes written so far.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn raw(&mut self, name: &str, json: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push('"');
        self.0.push_str(name);
        self.0.push_str("\":");
        self.0.push_str(json);
    }

    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.raw(name, "");
        // A string has no keys to sort and no numbers to format: both ways give RFC 8785's form.
        if value.bytes().any(|byte| byte < b' ' || matches!(byte, b'"' | b'\\')) {
            self.0.push_str(&serde_json::Value::from(value).to_string());
        } else {
            self.0.push('"');
            self.0.push_str(value);
            self.0.push('"');
        }
    }

    pub(super) fn optional_text(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => self.text(name, value),
            None => self.raw(name, "null"),
        }
    }

    pub(super) fn address(&mut self, fields: &EventFields) {
        // An address has no character that JSON must escape.
        match fields.ip_address {
            // Four numbers: with a formatter they would take as long as the rest of the record.
            Some(IpAddr::V4(address)) => {
                let mut before = '"';
                self.raw("ip_address", "");
                for octet in address.octets() {
                    self.0.push(before);
                    self.0.push_str(itoa::Buffer::new().format(octet));
                    before = '.';
                }
                self.0.push('"');
            }
            Some(IpAddr::V6(address)) => self.raw("ip_address", &format!("\"{address}\"")),
            None => self.raw("ip_address", "null"),
        }
    }

    pub(super) fn duration(&mut self, fields: &EventFields) {
        match fields.duration {
            Some(seconds) => self.raw("duration", ryu_js::Buffer::new().format(seconds)),
            None => self.raw("duration", "null"),
        }
    }

    pub(super) fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}
