//! Properties of any event, and of any text.

use conn_log_core::{BodyError, Event, EventDraft, EventPolicy, JsonBody, Record, Timestamp};
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::{check, event, now};

/// The content of an event, for both editions.
#[derive(Clone, Debug)]
struct Facts {
    device: String,
    application: String,
    meaning: (&'static str, &'static str, &'static str),
    network: String,
    timestamp: Timestamp,
    optional: Map<String, Value>,
    metadata: Map<String, Value>,
}

impl Facts {
    fn first_edition(&self) -> Value {
        self.with(json!({
            "device_id": self.device,
            "app_id": self.application,
            "connection_type": self.network,
            "connection_status": self.meaning.0,
        }))
    }

    fn second_edition(&self) -> Value {
        self.with(json!({
            "device_id": self.device,
            "application_id": self.application,
            "connection_type": self.meaning.1,
            "status": self.meaning.2,
        }))
    }

    fn draft(&self) -> EventDraft<'_> {
        let text = |name: &str| Some(self.optional.get(name)?.as_str()?.into());
        EventDraft {
            device_id: Some((&self.device).into()),
            application_id: Some((&self.application).into()),
            connection_type: Some(self.meaning.1.into()),
            status: Some(self.meaning.2.into()),
            timestamp: Some(self.timestamp),
            ip_address: self.optional.get("ip_address").and_then(|v| v.as_str()?.parse().ok()),
            user_agent: text("user_agent"),
            duration: self.optional.get("duration").and_then(Value::as_f64),
            session_id: text("session_id"),
            event_id: text("event_id"),
            metadata: Some(Value::from(self.metadata.clone()).into()),
            ..EventDraft::default()
        }
    }

    fn with(&self, mut event: Value) -> Value {
        event["timestamp"] = self.timestamp.to_string().into();
        event["metadata"] = self.metadata.clone().into();
        let members = event.as_object_mut().unwrap();
        members.extend(self.optional.clone());
        event
    }
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9_:-]{1,255}", "[\\PC&&[^\\s]]{1,60}"]
}

/// Any text without U+0000.
fn text() -> impl Strategy<Value = String> {
    any::<String>().prop_map(|text| text.replace('\0', ""))
}

fn number() -> impl Strategy<Value = Value> {
    let integer_max = 9_007_199_254_740_991_i64;
    prop_oneof![
        (-integer_max..=integer_max).prop_map(Value::from),
        (-1e15..1e15).prop_map(Value::from),
        any::<f64>().prop_filter("within I-JSON", |x: &f64| x.abs() < 9e15).prop_map(Value::from),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number(),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(member_name(), inner, 0..4)
                .prop_map(|members| members.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

fn member_name() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => text(),
        8 => "[a-z_]{1,12}",
        1 => Just("session_id".to_owned()),
        1 => Just("access_token".to_owned()),
        1 => Just("network_type".to_owned()),
    ]
}

fn optional() -> impl Strategy<Value = Map<String, Value>> {
    let address = prop_oneof![
        any::<std::net::Ipv4Addr>().prop_map(|address| address.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|address| address.to_string()),
    ];
    let duration = any::<f64>().prop_map(f64::abs);
    let duration = duration.prop_filter("finite", |seconds| seconds.is_finite());
    (
        of(address),
        of(text().prop_map(|text| text.chars().take(1024).collect::<String>())),
        of(duration),
        of("\\PC{1,255}"),
        of("\\PC{1,64}"),
    )
        .prop_map(|(address, user_agent, duration, session, event)| {
            let members = [
                ("ip_address", address.map(Value::from)),
                ("user_agent", user_agent.map(Value::from)),
                ("duration", duration.map(Value::from)),
                ("session_id", session.map(Value::from)),
                ("event_id", event.map(Value::from)),
            ];
            let given = members.into_iter();
            given.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
        })
}

fn instant() -> impl Strategy<Value = Timestamp> {
    let latest = now().micros() + 300_000_000;
    prop_oneof![0..=latest, (0..=latest / 1_000_000).prop_map(|s| s * 1_000_000)]
        .prop_map(Timestamp::from_micros)
}

fn facts() -> impl Strategy<Value = Facts> {
    let meaning = prop::sample::select(vec![
        ("connected", "established", "success"),
        ("disconnected", "terminated", "success"),
        ("failed", "attempted", "failure"),
        ("error", "attempted", "error"),
        ("denied", "attempted", "denied"),
        ("timeout", "attempted", "timeout"),
    ]);
    let metadata = btree_map(member_name(), value(), 0..6)
        .prop_map(|members| members.into_iter().collect::<Map<_, _>>());
    ((name(), name(), meaning, "[a-z0-9]{1,20}"), (instant(), optional(), metadata)).prop_map(
        |(who, what)| Facts {
            device: who.0,
            application: who.1,
            meaning: who.2,
            network: who.3,
            timestamp: what.0,
            optional: what.1,
            metadata: what.2,
        },
    )
}

fn object(json: &str) -> Map<String, Value> {
    serde_json::from_str(json).unwrap()
}

fn record(event: Event) -> Record {
    Record { id: 7, created_at: now(), event }
}

/// Reads all events of a body, as a server does; nothing may panic.
fn read_all(body: &[u8]) -> Vec<Event> {
    match JsonBody::read(body, 100) {
        Ok(JsonBody::Event(draft)) => {
            EventPolicy::default().check(draft, now()).into_iter().collect()
        }
        Ok(JsonBody::Events(events)) => {
            events.iter().filter_map(|raw| check(raw.get()).ok()).collect()
        }
        Ok(JsonBody::Envelope(text)) => check(&text).into_iter().collect(),
        Err(BodyError::Faults(faults)) => {
            assert!(!faults.as_slice().is_empty());
            Vec::new()
        }
        Err(BodyError::TooManyEvents) => Vec::new(),
    }
}

proptest! {
    #[test]
    fn both_editions_tell_the_same_event(facts in facts()) {
        let first = event(&facts.first_edition().to_string()).into_fields();
        let mut second = event(&facts.second_edition().to_string()).into_fields();
        let mut metadata = object(&second.metadata);
        for (name, value) in [
            ("network_type", &facts.network),
            ("connection_status", &facts.meaning.0.to_owned()),
        ] {
            metadata.entry(name).or_insert_with(|| value.clone().into());
        }
        prop_assert_eq!(object(&first.metadata), metadata);
        second.metadata.clone_from(&first.metadata);
        prop_assert_eq!(first, second);
    }

    #[test]
    fn a_draft_built_by_hand_makes_the_event_that_its_json_makes(facts in facts()) {
        let json = event(&facts.second_edition().to_string());
        let by_hand = EventPolicy::default().check(facts.draft(), now());
        prop_assert_eq!(by_hand, Ok(json));
    }

    #[test]
    fn a_record_s_json_has_every_member_in_order(facts in facts()) {
        let record = record(event(&facts.second_edition().to_string()));
        let json = object(&record.to_json());
        let fields = record.event.fields();
        prop_assert_eq!(&json["id"], 7);
        prop_assert_eq!(&json["device_id"], &facts.device);
        prop_assert_eq!(&json["application_id"], &facts.application);
        prop_assert_eq!(&json["connection_type"], facts.meaning.1);
        prop_assert_eq!(&json["status"], facts.meaning.2);
        prop_assert_eq!(&json["timestamp"], &facts.timestamp.to_string());
        prop_assert_eq!(&json["created_at"], crate::NOW);
        prop_assert_eq!(&json["metadata"], &Value::from(object(&fields.metadata)));
        let optional = |name: &str| facts.optional.get(name).cloned().unwrap_or_default();
        let address = optional("ip_address");
        let canonical = address.as_str().map(|text| text.parse::<std::net::IpAddr>().unwrap().to_canonical());
        prop_assert_eq!(&json["ip_address"], &json!(canonical));
        prop_assert_eq!(&json["user_agent"], &optional("user_agent"));
        prop_assert_eq!(json["duration"].as_f64(), optional("duration").as_f64());
        prop_assert_eq!(json.get("event_id"), facts.optional.get("event_id"));
        prop_assert_eq!(
            serde_json_canonicalizer::to_string(&json).unwrap(),
            record.to_canonical_json()
        );
    }

    #[test]
    fn a_record_registered_again_is_the_same_event(facts in facts()) {
        for edition in [facts.first_edition(), facts.second_edition()] {
            let record = record(event(&edition.to_string()));
            let mut json = object(&record.to_json());
            json.remove("id");
            json.remove("created_at");
            prop_assert_eq!(event(&Value::from(json).to_string()), record.event);
        }
    }

    #[test]
    fn the_order_of_members_carries_no_meaning(facts in facts(), seed in any::<u64>()) {
        let members = object(&facts.first_edition().to_string());
        let mut shuffled: Vec<_> = members.iter().collect();
        shuffled.sort_by_key(|(name, _)| {
            name.bytes().fold(seed, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
        });
        let texts: Vec<_> = shuffled
            .iter()
            .map(|(name, value)| format!("{}:{value}", Value::from(name.as_str())))
            .collect();
        let json = format!("{{{}}}", texts.join(","));
        prop_assert_eq!(event(&json), event(&facts.first_edition().to_string()));
    }

    #[test]
    fn no_text_panics(text in any::<String>()) {
        read_all(text.as_bytes());
        let _ = check(&text);
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..64)) {
        read_all(&bytes);
    }

    #[test]
    fn no_text_of_json_s_own_characters_panics(text in r#"[\[\]{}",:0-9eE+.\\ud tfn-]{0,60}"#) {
        read_all(text.as_bytes());
    }

    #[test]
    fn no_damage_to_an_event_panics_and_a_valid_result_keeps_the_rules(
        facts in facts(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..6),
    ) {
        let mut body = facts.first_edition().to_string().into_bytes();
        for (at, byte, kind) in damage {
            let at = at.index(body.len());
            match kind {
                0 => body[at] = byte,
                1 => body.insert(at, byte),
                _ => body.truncate(at.max(1)),
            }
        }
        for found in read_all(&body) {
            let mut json = object(&record(found.clone()).to_json());
            json.remove("id");
            json.remove("created_at");
            prop_assert_eq!(event(&Value::from(json).to_string()), found);
        }
    }

    #[test]
    fn a_time_reads_back_as_it_was_written(
        micros in Timestamp::MIN.micros()..=Timestamp::MAX.micros(),
    ) {
        let time = Timestamp::from_micros(micros);
        prop_assert_eq!(time.micros(), micros);
        prop_assert_eq!(Timestamp::parse(&time.to_string()), Some(time));
    }

    #[test]
    fn an_instant_beyond_the_range_is_held_within_it(micros in any::<i64>()) {
        let time = Timestamp::from_micros(micros);
        prop_assert!(Timestamp::MIN <= time && time <= Timestamp::MAX);
        prop_assert_eq!(Timestamp::parse(&time.to_string()), Some(time));
    }

    #[test]
    fn an_offset_changes_the_text_and_not_the_time(
        micros in 0..Timestamp::MAX.micros() / 2,
        minutes in -1439..=1439_i32,
    ) {
        let time = Timestamp::from_micros(micros);
        let local = time.plus(chrono::TimeDelta::minutes(minutes.into())).to_string();
        let sign = if minutes < 0 { '-' } else { '+' };
        let (hours, rest) = (minutes.abs() / 60, minutes.abs() % 60);
        let text = format!("{}{sign}{hours:02}:{rest:02}", local.trim_end_matches('Z'));
        prop_assert_eq!(Timestamp::parse(&text), Some(time));
    }
}
