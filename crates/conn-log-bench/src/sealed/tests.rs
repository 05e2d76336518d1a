//! Every candidate gives back every event.

use std::net::IpAddr;

use conn_log_core::{Event, EventFields, Record, Timestamp};
use proptest::prelude::*;

use super::codec::{Codec, Item, Wanted};
use super::columns::Columns;
use super::ndjson::Ndjson;
use super::parquet::Parquet;
use super::several::Several;
use super::source::Source;

type Candidates = Vec<(&'static str, Box<dyn Codec>)>;

fn candidates(samples: &[&[Item]]) -> Candidates {
    let trained = samples.len() * samples.first().map_or(0, |items| items.len()) > 1_000;
    let dictionary = if trained { 16 << 10 } else { 0 };
    vec![
        ("ndjson", Box::new(Ndjson::new(3, 0, samples).unwrap())),
        ("ndjson with a dictionary", Box::new(Ndjson::new(9, dictionary, samples).unwrap())),
        ("columns", Box::new(Columns::new(3, 0, samples).unwrap())),
        ("columns with a dictionary", Box::new(Columns::new(9, dictionary, samples).unwrap())),
        (
            "several blocks of columns",
            Box::new(Several { codec: Box::new(Columns::new(3, 0, &[]).unwrap()), block: 7 }),
        ),
        ("parquet", Box::new(Parquet::new(3))),
    ]
}

/// The same events, and of each the same canonical JSON and leaf hash.
fn assert_same(name: &str, given: &[Item], got: &[Item]) {
    assert_eq!(given.len(), got.len(), "{name}");
    for (given, got) in given.iter().zip(got) {
        assert_eq!(given.line(), got.line(), "{name}");
        assert_eq!(given.leaf_hash(), got.leaf_hash(), "{name}");
        assert_eq!(given, got, "{name}");
    }
}

fn assert_all_give_back(items: &[Item], candidates: &mut Candidates) {
    let ids: Vec<i64> = items.iter().map(|item| item.record.id).collect();
    let some: Vec<i64> = ids.iter().rev().step_by(3).copied().collect();
    let of_some: Vec<Item> = items.iter().rev().step_by(3).cloned().collect();
    for (name, codec) in candidates {
        let block = codec.seal(items).unwrap();
        assert_same(name, items, &codec.open(&block, Wanted::All).unwrap());
        assert_same(name, &of_some, &codec.open(&block, Wanted::Ids(&some)).unwrap());
        let removed: Vec<i64> = ids.iter().step_by(5).copied().collect();
        let (gone, left) = codec.remove(&block, &removed).unwrap();
        let (to_go, to_stay): (Vec<Item>, Vec<Item>) =
            items.iter().cloned().partition(|item| removed.contains(&item.record.id));
        assert_same(name, &to_go, &gone);
        let left =
            if left.is_empty() { Vec::new() } else { codec.open(&left, Wanted::All).unwrap() };
        assert_same(name, &to_stay, &left);
        let missing = ids.last().map_or(1, |last| last + 1);
        assert_eq!(codec.open(&block, Wanted::Ids(&[missing])).unwrap(), [], "{name}");
    }
}

#[test]
fn every_candidate_gives_back_the_events_of_the_benchmark() {
    let items: Vec<Item> = Source::shape(4_000).items(true).collect::<Result<_, _>>().unwrap();
    let blocks: Vec<&[Item]> = items.chunks(256).collect();
    let mut candidates = candidates(&blocks);
    for block in &blocks {
        assert_all_give_back(block, &mut candidates);
    }
}

#[test]
fn a_block_without_some_of_its_events_has_the_others() {
    let items: Vec<Item> = Source::shape(256).items(true).collect::<Result<_, _>>().unwrap();
    let busy = &items[0].record.event.fields().device_id;
    let kept: Vec<Item> = items
        .iter()
        .filter(|item| &item.record.event.fields().device_id != busy)
        .cloned()
        .collect();
    assert!(kept.len() < items.len());
    assert_all_give_back(&kept, &mut candidates(&[]));
}

#[test]
fn columns_find_the_events_that_may_have_a_value() {
    let items: Vec<Item> = Source::shape(256).items(true).collect::<Result<_, _>>().unwrap();
    let mut codec = Columns::new(3, 0, &[]).unwrap();
    let block = codec.seal(&items).unwrap();
    let found = codec.open_having(&block, "network_type", "cellular").unwrap();
    let has =
        |item: &&Item| item.record.event.fields().metadata.contains(r#""network_type":"cellular""#);
    assert_same("columns", &items.iter().filter(has).cloned().collect::<Vec<_>>(), &found);
    assert_eq!(codec.open_having(&block, "network_type", "carrier pigeon").unwrap(), []);
}

/// Texts that look like numbers, marks and ids, and such that do not.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-f0-9]{16}",
        "sess_[a-f0-9]{1,20}",
        "dev_[0-9]{1,21}",
        "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        "[ab:\",\\\\\u{1}\u{2}\u{5}\u{e9}0-9 -]{1,12}",
        "\\PC{1,30}",
        "[A-F0-9-]{1,12}",
    ]
}

fn number() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        any::<i64>().prop_map(Into::into),
        (-50_i64..50).prop_map(Into::into),
        any::<f64>().prop_filter("JSON has no such number", |n| n.is_finite()).prop_map(Into::into),
        (0_i32..100_000).prop_map(|n| (f64::from(n) / 100.0).into()),
    ]
}

fn metadata() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        text().prop_map(serde_json::Value::from),
        number(),
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        proptest::collection::vec(number(), 0..3).prop_map(Into::into),
        proptest::collection::btree_map(text(), number(), 0..3)
            .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
    ];
    let names = prop_oneof!["[a-c]", "session_id", ":?[a-z]{1,3}", text()];
    let members = proptest::collection::btree_map(names, value, 0..5);
    members.prop_map(|members| {
        let object = serde_json::Value::Object(members.into_iter().collect());
        serde_json_canonicalizer::to_string(&object).unwrap()
    })
}

prop_compose! {
    fn fields()(
        device_id in prop_oneof![text(), Just("dev_00001".to_owned())],
        application_id in prop_oneof![text(), Just("app_07".to_owned())],
        (connection_type, status) in (text(), prop_oneof![text(), Just("success".to_owned())]),
        timestamp in prop_oneof![any::<i64>(), 1_700_000_000_000_000_i64..1_700_000_100_000_000],
        ip_address in proptest::option::of(any::<IpAddr>()),
        user_agent in proptest::option::of(text()),
        duration in proptest::option::of(prop_oneof![
            0.0..f64::MAX,
            (0_u32..100_000).prop_map(f64::from),
            (0_u32..100_000).prop_map(|n| f64::from(n) / 1_000.0),
        ]),
        own_session in proptest::option::of(text()),
        event_id in proptest::option::of(text()),
        metadata in metadata(),
    ) -> EventFields {
        EventFields {
            device_id,
            application_id,
            connection_type,
            status,
            timestamp: Timestamp::from_micros(timestamp),
            ip_address,
            user_agent,
            duration,
            // As the core does it: metadata's, if the event has none of its own.
            session_id: own_session.or_else(|| super::ndjson::session_of(&metadata)),
            event_id,
            metadata,
        }
    }
}

prop_compose! {
    fn items()(
        events in proptest::collection::vec((fields(), 1_i64..4, 0_i64..3_000_000), 1..40),
        copies in 1_usize..4,
        first in 1_i64..1_000_000_000_000,
        created_at in prop_oneof![Just(1_700_000_000_000_000_i64), any::<i64>()],
        nonce in proptest::option::of(any::<[u8; 16]>()),
    ) -> Vec<Item> {
        let (mut id, mut at) = (first, created_at);
        let item = |(fields, step, micros): &(EventFields, i64, i64)| {
            id += step;
            at = at.saturating_add(*micros);
            let event = Event::from_store(fields.clone());
            let created_at = Timestamp::from_micros(at);
            Item { record: Record { id, created_at, event }, nonce }
        };
        // Copies are values that occur again, and shapes of enough events.
        events.iter().cycle().take(events.len() * copies).map(item).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn every_candidate_gives_back_odd_events(items in items()) {
        assert_all_give_back(&items, &mut candidates(&[]));
    }
}
