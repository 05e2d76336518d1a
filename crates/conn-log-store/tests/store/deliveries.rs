//! Webhooks and their deliveries: planned, claimed, recorded. Tests give the time.

use std::time::Duration;

use chrono::TimeDelta;
use conn_log_core::Timestamp;
use conn_log_core::alert::Rule;
use conn_log_store::{
    AlertFilter, AlertQuery, AlertState, Attempted, ChangeKind, DeliveryKey, DeliveryState,
    DisabledReason, NewAlertChange, NewSilence, NewWebhook, PageQuery, PageStart, Recorded, Store,
    Webhook, WebhookChange, WebhookFormat,
};
use conn_log_test_support::*;
use serde_json::json;
use uuid::Uuid;

/// A time after every `created_at`: tests move it on.
fn start() -> Timestamp {
    Timestamp::from(chrono::Utc::now()).plus(TimeDelta::seconds(10))
}

fn after(time: Timestamp, wait: Duration) -> Timestamp {
    time.plus(TimeDelta::from_std(wait).unwrap())
}

fn new_webhook() -> NewWebhook {
    NewWebhook {
        url: "https://example.com/hook".to_owned(),
        format: WebhookFormat::Standard,
        changes: ChangeKind::ALL.to_vec(),
        filter: AlertFilter::default(),
        routing_key: None,
        enabled: true,
    }
}

fn change(kind: ChangeKind, alert: i64) -> NewAlertChange {
    let alert = json!({"id": alert, "rule_id": 1, "kind": "match", "severity": "warning",
        "group": {"device_id": "dev_1"}});
    NewAlertChange { kind, at: start(), alert }
}

fn append(store: &Store, changes: &[(ChangeKind, i64)]) {
    let changes = changes.iter().map(|(kind, alert)| change(*kind, *alert)).collect();
    store.alert_changes_append(DEFAULT, changes).unwrap();
}

/// The deliveries of a webhook, the oldest first: change, alert and state.
fn all(store: &Store, webhook: &Webhook) -> Vec<(String, String, DeliveryState)> {
    let query = PageQuery { start: PageStart::First, limit: 1_000 };
    let page = store.delivery_list(DEFAULT, webhook.id, None, &query).unwrap();
    let row = |d: conn_log_store::Delivery| (d.change, d.alert_id.unwrap_or_default(), d.state);
    page.items.into_iter().rev().map(row).collect()
}

fn key(webhook: &Webhook, id: i64) -> DeliveryKey {
    DeliveryKey { tenant: DEFAULT, webhook: webhook.id, id }
}

/// What a webhook may be sent at that time.
fn due(store: &Store, webhook: &Webhook, now: Timestamp) -> Vec<i64> {
    store.deliveries_due(webhook, now, 1_000).unwrap()
}

fn answered(status: u16, at: Timestamp) -> Attempted {
    Attempted {
        at,
        ended_at: at,
        status: Some(status),
        error: None,
        answer: Some("text".to_owned()),
        is_end: false,
        retry_after: None,
    }
}

/// Claims a delivery, and records an answer of that status.
fn attempt(store: &Store, webhook: &Webhook, id: i64, status: u16, now: Timestamp) -> Recorded {
    let claimed = store.deliveries_claim(vec![key(webhook, id)], now).unwrap();
    let [claimed] = &claimed[..] else { panic!("{id} is not due") };
    store.delivery_record(claimed.key, claimed.claim, answered(status, now)).unwrap()
}

fn planned(store: &Store, webhook: &Webhook, now: Timestamp) {
    let webhook = store.webhook_get(DEFAULT, webhook.id).unwrap();
    store.deliveries_plan(&webhook, now).unwrap();
}

on_both_databases! {
    async fn each_change_becomes_one_delivery_of_each_webhook_that_wants_it(db) {
        let store = db.open();
        append(&store, &[(ChangeKind::Opened, 1)]);
        let every = store.webhook_create(DEFAULT, new_webhook()).unwrap();
        let some = NewWebhook { changes: vec![ChangeKind::Resolved], ..new_webhook() };
        let some = store.webhook_create(DEFAULT, some).unwrap();
        let filter = AlertFilter { severities: vec!["critical".to_owned()], ..AlertFilter::default() };
        let none = store.webhook_create(DEFAULT, NewWebhook { filter, ..new_webhook() }).unwrap();
        append(&store, &[(ChangeKind::Opened, 2), (ChangeKind::Resolved, 2)]);
        for webhook in [&every, &some, &none, &every] {
            planned(&store, webhook, start());
        }
        let pending = |change: &str| (change.to_owned(), "2".to_owned(), DeliveryState::Pending);
        assert_eq!(all(&store, &every), [pending("opened"), pending("resolved")]);
        assert_eq!(all(&store, &some), [pending("resolved")]);
        assert_eq!(all(&store, &none), []);
    }

    async fn two_servers_make_each_delivery_once_and_send_it_once(db) {
        let (one, two) = (db.open(), db.open());
        let webhook = one.webhook_create(DEFAULT, new_webhook()).unwrap();
        let changes: Vec<_> = (1..=500).map(|alert| (ChangeKind::Opened, alert)).collect();
        append(&one, &changes);
        let now = start();
        let claimed: Vec<Vec<i64>> = std::thread::scope(|scope| {
            let server = |store: Store, webhook: Webhook| move || {
                store.deliveries_plan(&webhook, now).unwrap();
                let mut mine = Vec::new();
                loop {
                    let ids = store.deliveries_due(&webhook, now, 7).unwrap();
                    if ids.is_empty() {
                        return mine;
                    }
                    let keys = ids.into_iter().map(|id| key(&webhook, id)).collect();
                    let got = store.deliveries_claim(keys, now).unwrap();
                    mine.extend(got.iter().map(|claimed| claimed.key.id));
                }
            };
            let threads = [one.clone(), two.clone()].map(|store| {
                scope.spawn(server(store, webhook.clone()))
            });
            threads.map(|thread| thread.join().unwrap()).into()
        });
        let mut ids: Vec<i64> = claimed.concat();
        ids.sort_unstable();
        assert_eq!(ids, (1..=500).collect::<Vec<i64>>());
        assert_eq!(all(&one, &webhook).len(), 500);
    }

    async fn changes_of_one_alert_wait_for_each_other_and_others_do_not(db) {
        let store = db.open();
        let webhook = store.webhook_create(DEFAULT, new_webhook()).unwrap();
        append(&store, &[
            (ChangeKind::Opened, 1), (ChangeKind::Extended, 1), (ChangeKind::Opened, 2),
            (ChangeKind::Resolved, 1),
        ]);
        let now = start();
        planned(&store, &webhook, now);
        assert_eq!(due(&store, &webhook, now), [1, 3]);
        assert_eq!(attempt(&store, &webhook, 1, 500, now), Recorded::Retried);
        assert_eq!(due(&store, &webhook, now), [3]);
        let later = after(now, Duration::from_secs(7));
        assert_eq!(attempt(&store, &webhook, 3, 204, now), Recorded::Delivered);
        assert_eq!(due(&store, &webhook, later), [1]);
        assert_eq!(attempt(&store, &webhook, 1, 200, later), Recorded::Delivered);
        assert_eq!(due(&store, &webhook, later), [2]);
        append(&store, &[(ChangeKind::Extended, 1)]);
        planned(&store, &webhook, later);
        assert_eq!(due(&store, &webhook, later), [2]);
        assert_eq!(attempt(&store, &webhook, 2, 200, later), Recorded::Delivered);
        assert_eq!(due(&store, &webhook, later), [4]);
    }

    async fn a_delivery_is_given_up_after_eight_attempts_and_the_next_change_goes_on(db) {
        let store = db.open();
        let webhook = store.webhook_create(DEFAULT, new_webhook()).unwrap();
        append(&store, &[(ChangeKind::Opened, 1), (ChangeKind::Resolved, 1)]);
        let mut now = start();
        planned(&store, &webhook, now);
        let waits = [5, 300, 1_800, 7_200, 18_000, 36_000, 36_000];
        for wait in waits {
            assert_eq!(attempt(&store, &webhook, 1, 500, now), Recorded::Retried);
            let wait = Duration::from_secs(wait);
            assert_eq!(due(&store, &webhook, after(now, wait.mul_f64(0.79))), [0_i64; 0]);
            now = after(now, wait.mul_f64(1.21));
            assert_eq!(due(&store, &webhook, now), [1]);
        }
        assert_eq!(attempt(&store, &webhook, 1, 500, now), Recorded::Failed);
        assert_eq!(due(&store, &webhook, now), [2]);
        let (delivery, attempts) = store.delivery_get(key(&webhook, 1)).unwrap();
        assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Failed, 8));
        assert_eq!(attempts.len(), 8);
        assert_eq!(delivery.last_attempt.as_ref(), attempts.last());
        assert!(delivery.ended_at.is_some() && delivery.next_attempt_at.is_none());
    }

    async fn a_process_that_dies_while_it_sends_loses_nothing(db) {
        let store = db.open();
        let webhook = store.webhook_create(DEFAULT, new_webhook()).unwrap();
        append(&store, &[(ChangeKind::Opened, 1)]);
        let now = start();
        planned(&store, &webhook, now);
        let first = store.deliveries_claim(vec![key(&webhook, 1)], now).unwrap().remove(0);
        assert_eq!(due(&store, &webhook, after(now, Duration::from_secs(50))), [0_i64; 0]);
        let later = after(now, Duration::from_secs(61));
        assert_eq!(due(&store, &webhook, later), [1]);
        let again = store.deliveries_claim(vec![key(&webhook, 1)], later).unwrap().remove(0);
        assert_eq!(again.message_id, first.message_id);
        assert_ne!(again.claim, first.claim);
        // The first process was only slow, and its receiver refused.
        let late = store.delivery_record(first.key, first.claim, answered(500, later)).unwrap();
        assert_eq!(late, Recorded::Late);
        let recorded = store.delivery_record(again.key, again.claim, answered(200, later));
        assert_eq!(recorded.unwrap(), Recorded::Delivered);
        assert_eq!(store.delivery_get(key(&webhook, 1)).unwrap().1.len(), 2);
    }

    async fn a_receiver_that_is_gone_is_disabled_at_once(db) {
        let store = db.open();
        let webhook = store.webhook_create(DEFAULT, new_webhook()).unwrap();
        append(&store, &[(ChangeKind::Opened, 1), (ChangeKind::Opened, 2)]);
        let now = start();
        planned(&store, &webhook, now);
        assert_eq!(attempt(&store, &webhook, 1, 410, now), Recorded::Disabled);
        let disabled = store.webhook_get(DEFAULT, webhook.id).unwrap();
        assert_eq!(disabled.disabled, Some((now, DisabledReason::Gone)));
        assert_eq!(store.delivery_lag().unwrap().webhooks_disabled, 1);
        let states: Vec<_> = all(&store, &webhook).into_iter().map(|row| row.2).collect();
        assert_eq!(states, [DeliveryState::Failed, DeliveryState::Cancelled]);
        append(&store, &[(ChangeKind::Opened, 3)]);
        planned(&store, &webhook, now);
        assert_eq!(all(&store, &webhook).len(), 2);

        let enable = WebhookChange { enabled: Some(true), ..WebhookChange::default() };
        let enabled = store.webhook_update::<()>(DEFAULT, webhook.id, |_| Ok(enable)).unwrap().unwrap();
        assert_eq!(enabled.disabled, None);
        append(&store, &[(ChangeKind::Opened, 4)]);
        planned(&store, &webhook, now);
        assert_eq!(due(&store, &webhook, now), [3]);
        // What it missed meanwhile comes on request.
        let missed = store.deliveries_redeliver(DEFAULT, webhook.id, Timestamp::EPOCH, Timestamp::MAX);
        let missed = missed.unwrap();
        assert_eq!((missed.count, missed.has_more), (3, false));
        let alerts: Vec<_> = all(&store, &webhook).into_iter().map(|row| row.1).collect();
        assert_eq!(alerts, ["1", "2", "4", "3"]);
        assert_eq!(due(&store, &webhook, start()).len(), 4);
        let again = store.deliveries_redeliver(DEFAULT, webhook.id, Timestamp::EPOCH, Timestamp::MAX);
        assert_eq!(again.unwrap().count, 0);
    }

    async fn a_receiver_that_fails_for_five_days_is_disabled(db) {
        let store = db.open();
        let webhook = store.webhook_create(DEFAULT, new_webhook()).unwrap();
        let begun = start();
        for hours in (0..=120).step_by(8) {
            let now = after(begun, Duration::from_hours(hours));
            let alert = i64::try_from(hours).unwrap();
            append(&store, &[(ChangeKind::Opened, alert)]);
            planned(&store, &webhook, now);
            let id = i64::try_from(hours / 8 + 1).unwrap();
            let expected = if hours < 120 { Recorded::Retried } else { Recorded::Disabled };
            assert_eq!(attempt(&store, &webhook, id, 500, now), expected, "after {hours} h");
        }
        let disabled = store.webhook_get(DEFAULT, webhook.id).unwrap().disabled.unwrap();
        assert_eq!(disabled.1, DisabledReason::Failing);
    }

    async fn a_webhook_that_is_disabled_by_failures_is_an_alert_until_it_is_enabled(db) {
        let store = db.open();
        let rule = json!({"name": "any", "kind": "match", "group_by": ["device_id"], "params": {}});
        let rule = Rule::from_json(rule.as_object().unwrap().clone()).unwrap();
        store.rule_create(DEFAULT, rule).unwrap();
        let hook = || NewWebhook { url: "https://a.example/secret".to_owned(), ..new_webhook() };
        let webhook = store.webhook_create(DEFAULT, hook()).unwrap();
        let other = store.webhook_create(DEFAULT, new_webhook()).unwrap();
        let begun = start();
        for (id, hours) in (1..).zip((0..=120).step_by(20)) {
            let now = after(begun, Duration::from_hours(hours));
            append(&store, &[(ChangeKind::Opened, id)]);
            planned(&store, &webhook, now);
            attempt(&store, &webhook, id, 500, now);
        }
        let page = PageQuery { start: PageStart::First, limit: 10 };
        let alerts = || store.alert_list(DEFAULT, &AlertQuery::default(), &page).unwrap().items;
        let found = alerts();
        assert_eq!(found.len(), 1);
        let alert = found[0].to_json();
        assert_eq!((&alert["kind"], &alert["rule_id"]), (&json!("webhook_disabled"), &json!(0)));
        assert_eq!(alert["group"], json!({"webhook_id": webhook.id}));
        assert_eq!((&alert["state"], &alert["ended_at"]), (&json!("open"), &json!(null)));
        let explanation = alert["explanation"].as_str().unwrap();
        assert!(explanation.starts_with("the webhook to https://a.example was disabled"));
        // The other receivers are told of it, and the alerts of rules count on after it.
        planned(&store, &other, start());
        assert!(all(&store, &other).iter().any(|(_, alert, _)| *alert == found[0].id.to_string()));
        conn_log_test_support::append(&store, vec![event("d")]).await.unwrap();
        let begun = std::time::Instant::now();
        while alerts().len() < 2 {
            assert!(begun.elapsed() < Duration::from_secs(30));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(alerts().iter().map(|alert| alert.id).collect::<Vec<_>>(), [2, 1]);

        let enable = WebhookChange { enabled: Some(true), ..WebhookChange::default() };
        store.webhook_update::<()>(DEFAULT, webhook.id, |_| Ok(enable)).unwrap().unwrap();
        let ended = store.alert_get(DEFAULT, 1).unwrap().unwrap();
        assert_eq!(ended.state, AlertState::Resolved);
        assert!(ended.explanation.ends_with("; the webhook was enabled again"));
        store.close();
    }

    async fn two_failures_a_week_apart_are_not_five_days_of_failures(db) {
        let store = db.open();
        let webhook = store.webhook_create(DEFAULT, new_webhook()).unwrap();
        append(&store, &[(ChangeKind::Opened, 1), (ChangeKind::Opened, 2)]);
        let now = start();
        planned(&store, &webhook, now);
        assert_eq!(attempt(&store, &webhook, 1, 500, now), Recorded::Retried);
        let later = after(now, Duration::from_hours(7 * 24));
        assert_eq!(attempt(&store, &webhook, 2, 500, later), Recorded::Retried);
        assert_eq!(store.webhook_get(DEFAULT, webhook.id).unwrap().failing_since, Some(later));
        assert_eq!(attempt(&store, &webhook, 1, 200, later), Recorded::Delivered);
        assert_eq!(store.webhook_get(DEFAULT, webhook.id).unwrap().failing_since, None);
    }

    async fn a_silence_keeps_all_but_the_end_of_what_the_receiver_knows(db) {
        let store = db.open();
        let webhook = store.webhook_create(DEFAULT, new_webhook()).unwrap();
        append(&store, &[(ChangeKind::Opened, 1)]);
        planned(&store, &webhook, start());
        let group = json!({"device_id": "dev_1"}).as_object().cloned();
        let silence = NewSilence {
            rule_id: Some(json!(1)), group, severity: None,
            until: after(start(), Duration::from_secs(100)), reason: "moving house".to_owned(),
            created_by: Uuid::new_v4(),
        };
        let silence = store.silence_create(DEFAULT, silence).unwrap();
        append(&store, &[
            (ChangeKind::Extended, 1), (ChangeKind::Resolved, 1), (ChangeKind::Opened, 2),
            (ChangeKind::Resolved, 2),
        ]);
        planned(&store, &webhook, start());
        let states: Vec<_> = all(&store, &webhook).into_iter().map(|row| row.2).collect();
        let (told, kept) = (DeliveryState::Pending, DeliveryState::Silenced);
        assert_eq!(states, [told, kept, told, kept, kept]);
        store.silence_delete(DEFAULT, silence.id).unwrap();
        append(&store, &[(ChangeKind::Opened, 3)]);
        planned(&store, &webhook, start());
        assert_eq!(all(&store, &webhook).last().unwrap().2, told);
    }

    async fn an_open_alert_is_repeated_for_alertmanager_until_it_ends(db) {
        let store = db.open();
        let format = WebhookFormat::Alertmanager;
        let webhook = store.webhook_create(DEFAULT, NewWebhook { format, ..new_webhook() }).unwrap();
        append(&store, &[(ChangeKind::Opened, 1)]);
        let now = start();
        planned(&store, &webhook, now);
        assert_eq!(attempt(&store, &webhook, 1, 200, now), Recorded::Delivered);
        assert_eq!(due(&store, &webhook, after(now, Duration::from_secs(290))), [0_i64; 0]);
        let later = after(now, Duration::from_mins(5));
        assert_eq!(due(&store, &webhook, later), [1]);
        assert_eq!(attempt(&store, &webhook, 1, 200, later), Recorded::Delivered);
        let (delivery, attempts) = store.delivery_get(key(&webhook, 1)).unwrap();
        assert_eq!((delivery.state, attempts.len()), (DeliveryState::Delivered, 1));
        assert_eq!(delivery.next_attempt_at, None);
        append(&store, &[(ChangeKind::Resolved, 1)]);
        planned(&store, &webhook, later);
        assert_eq!(attempt(&store, &webhook, 2, 200, later), Recorded::Delivered);
        assert_eq!(due(&store, &webhook, after(later, Duration::from_hours(1))), [0_i64; 0]);
    }

    async fn a_webhook_that_gets_another_format_repeats_nothing(db) {
        let store = db.open();
        let format = WebhookFormat::Alertmanager;
        let webhook = store.webhook_create(DEFAULT, NewWebhook { format, ..new_webhook() }).unwrap();
        append(&store, &[(ChangeKind::Opened, 1)]);
        let now = start();
        planned(&store, &webhook, now);
        assert_eq!(attempt(&store, &webhook, 1, 200, now), Recorded::Delivered);
        let change = WebhookChange { format: Some(WebhookFormat::Slack), ..WebhookChange::default() };
        store.webhook_update::<()>(DEFAULT, webhook.id, |_| Ok(change)).unwrap().unwrap();
        let later = after(now, Duration::from_mins(5));
        assert_eq!(store.deliveries_claim(vec![key(&webhook, 1)], later).unwrap().len(), 0);
        assert_eq!(due(&store, &webhook, after(now, Duration::from_hours(1))), [0_i64; 0]);
        assert_eq!(all(&store, &webhook)[0].2, DeliveryState::Delivered);
    }

    async fn what_has_ended_long_ago_is_deleted_and_what_is_pending_stays(db) {
        let store = db.open();
        let webhook = store.webhook_create(DEFAULT, new_webhook()).unwrap();
        append(&store, &[(ChangeKind::Opened, 1), (ChangeKind::Opened, 2), (ChangeKind::Opened, 3)]);
        let now = start();
        planned(&store, &webhook, now);
        assert_eq!(attempt(&store, &webhook, 1, 200, now), Recorded::Delivered);
        assert_eq!(attempt(&store, &webhook, 3, 200, now), Recorded::Delivered);
        store.deliveries_expire(after(now, Duration::from_hours(29 * 24))).unwrap();
        assert_eq!(all(&store, &webhook).len(), 3);
        store.deliveries_expire(after(now, Duration::from_hours(31 * 24))).unwrap();
        let left: Vec<_> = all(&store, &webhook).into_iter().map(|row| row.1).collect();
        assert_eq!(left, ["2"]);
        // Its change is still there to be sent.
        assert_eq!(store.deliveries_claim(vec![key(&webhook, 2)], now).unwrap().len(), 1);
    }

    async fn a_change_after_all_others_were_deleted_has_the_next_number(db) {
        let store = db.open();
        let webhook = store.webhook_create(DEFAULT, new_webhook()).unwrap();
        append(&store, &[(ChangeKind::Opened, 1), (ChangeKind::Opened, 2)]);
        let now = start();
        planned(&store, &webhook, now);
        for id in [1, 2] {
            assert_eq!(attempt(&store, &webhook, id, 200, now), Recorded::Delivered);
        }
        let later = after(now, Duration::from_hours(31 * 24));
        store.deliveries_expire(later).unwrap();
        assert_eq!(all(&store, &webhook), []);
        append(&store, &[(ChangeKind::Opened, 3)]);
        planned(&store, &webhook, later);
        let delivery = store.delivery_get(key(&webhook, 3)).unwrap().0;
        assert_eq!((delivery.change_id, delivery.state), (Some(3), DeliveryState::Pending));
    }

    async fn a_webhook_is_of_its_tenant_and_goes_with_its_deliveries(db) {
        let store = db.open();
        let other = store.tenant_create("other").unwrap().id;
        let webhook = store.webhook_create(DEFAULT, new_webhook()).unwrap();
        append(&store, &[(ChangeKind::Opened, 1)]);
        planned(&store, &webhook, start());
        assert!(store.webhook_get(other, webhook.id).is_err());
        assert!(store.webhook_delete::<()>(other, webhook.id, |_| Ok(())).is_err());
        let key = key(&webhook, 1);
        assert!(store.delivery_redeliver(DeliveryKey { tenant: other, ..key }).is_err());
        store.webhook_delete::<()>(DEFAULT, webhook.id, |_| Ok(())).unwrap().unwrap();
        assert!(store.delivery_get(key).is_err());
        assert_eq!(store.deliveries_claim(vec![key], start()).unwrap().len(), 0);
    }
}
