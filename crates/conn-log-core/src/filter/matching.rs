//! Whether an event matches a filter: the same result as in a database, for streams, exports and
//! rules, which check events outside a database.

use serde_json::Value;

use crate::{Event, EventFields, EventFilter, MetadataFilter};

impl EventFilter {
    /// Whether every filter holds for `event`.
    ///
    /// ```
    /// use conn_log_core::{EventDraft, EventFilter, EventPolicy, Timestamp};
    ///
    /// let json = r#"{"device_id": "d", "application_id": "a", "connection_type": "attempted",
    ///     "timestamp": "2024-01-15T10:30:00Z", "status": "denied"}"#;
    /// let draft = EventDraft::from_json(json).unwrap();
    /// let event = EventPolicy::default().check(draft, Timestamp::MAX).unwrap();
    /// let denied = EventFilter { statuses: vec!["denied".into()], ..EventFilter::default() };
    /// assert!(denied.matches(&event));
    /// ```
    pub fn matches(&self, event: &Event) -> bool {
        let fields = event.fields();
        self.matches_columns(fields) && self.matches_metadata(fields)
    }

    /// The same for an event whose metadata another reader has parsed. `metadata` is called only if
    /// the filter needs it.
    pub(crate) fn matches_with<'a>(
        &self,
        fields: &EventFields,
        metadata: impl FnOnce() -> &'a Value,
    ) -> bool {
        self.matches_columns(fields)
            && (self.metadata.is_empty() || {
                let metadata = metadata();
                self.metadata.iter().all(|filter| filter.matches(metadata))
            })
    }

    fn matches_columns(&self, fields: &EventFields) -> bool {
        is_any(&self.device_ids, &fields.device_id)
            && is_any(&self.application_ids, &fields.application_id)
            && is_any(&self.connection_types, &fields.connection_type)
            && is_any(&self.statuses, &fields.status)
            && self.session_id.as_ref().is_none_or(|id| fields.session_id.as_ref() == Some(id))
            && self.since.is_none_or(|since| since <= fields.timestamp)
            && self.until.is_none_or(|until| fields.timestamp < until)
            && self.matches_address(fields)
            && self.matches_duration(fields)
    }

    fn matches_address(&self, fields: &EventFields) -> bool {
        let Some(network) = self.ip_network else { return true };
        fields.ip_address.is_some_and(|address| network.contains(&address))
    }

    fn matches_duration(&self, fields: &EventFields) -> bool {
        let within = |seconds: f64| {
            self.min_duration.is_none_or(|min| min <= seconds)
                && self.max_duration.is_none_or(|max| seconds <= max)
        };
        let any = self.min_duration.is_none() && self.max_duration.is_none();
        any || fields.duration.is_some_and(within)
    }

    fn matches_metadata(&self, fields: &EventFields) -> bool {
        if self.metadata.is_empty() {
            return true;
        }
        // Canonical metadata is always valid JSON.
        let metadata: Value = serde_json::from_str(&fields.metadata).unwrap_or_default();
        self.metadata.iter().all(|filter| filter.matches(&metadata))
    }
}

impl MetadataFilter {
    fn matches(&self, metadata: &Value) -> bool {
        self.path.text_in(metadata).is_some_and(|text| text == self.value)
    }
}

fn is_any(wanted: &[String], value: &str) -> bool {
    wanted.is_empty() || wanted.iter().any(|wanted| wanted == value)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{EventDraft, EventPolicy, MetadataPath, Timestamp};

    fn event() -> Event {
        let json = r#"{"device_id": "d", "application_id": "a", "connection_type": "established",
            "timestamp": "2024-01-15T10:30:00Z", "status": "success", "ip_address": "10.1.2.3",
            "duration": 5, "session_id": "s",
            "metadata": {"n": 1.0, "t": {"x": "1", "b": true, "z": null}}}"#;
        let draft = EventDraft::from_json(json).unwrap();
        EventPolicy::default().check(draft, Timestamp::MAX).unwrap()
    }

    fn at(text: &str) -> Option<Timestamp> {
        Timestamp::parse(text)
    }

    fn metadata(path: &str, value: &str) -> EventFilter {
        let path = MetadataPath::parse(path).unwrap();
        let filter = MetadataFilter { path, value: value.to_owned() };
        EventFilter { metadata: vec![filter], ..EventFilter::default() }
    }

    #[rstest]
    #[case::nothing(EventFilter::default(), true)]
    #[case::one_of_two(EventFilter { device_ids: vec!["x".into(), "d".into()], ..Default::default() }, true)]
    #[case::another_device(EventFilter { device_ids: vec!["x".into()], ..Default::default() }, false)]
    #[case::another_session(EventFilter { session_id: Some("x".into()), ..Default::default() }, false)]
    #[case::since_then(EventFilter { since: at("2024-01-15T10:30:00Z"), ..Default::default() }, true)]
    #[case::until_then(EventFilter { until: at("2024-01-15T10:30:00Z"), ..Default::default() }, false)]
    #[case::within(EventFilter { ip_network: "10.1.0.0/16".parse().ok(), ..Default::default() }, true)]
    #[case::without(EventFilter { ip_network: "10.2.0.0/16".parse().ok(), ..Default::default() }, false)]
    #[case::long_enough(EventFilter { min_duration: Some(5.0), ..Default::default() }, true)]
    #[case::too_long(EventFilter { max_duration: Some(4.9), ..Default::default() }, false)]
    #[case::number(metadata("n", "1"), true)]
    #[case::text(metadata("t.x", "1"), true)]
    #[case::truth(metadata("t.b", "true"), true)]
    #[case::nothing_there(metadata("t.z", "null"), true)]
    #[case::no_such_path(metadata("t.y", "null"), false)]
    #[case::an_object(metadata("t", "1"), false)]
    fn a_filter_holds_or_not(#[case] filter: EventFilter, #[case] expected: bool) {
        assert_eq!(filter.matches(&event()), expected);
    }
}
