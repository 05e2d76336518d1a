//! What rules keep is bounded: an alert says what was given up, and an attacker is found all the same.

use conn_log_core::alert::{Output, Watch, What};
use conn_log_core::{Event, Record};
use serde_json::json;

use crate::alerts::{AFTER_MIDNIGHT, Memory, busy_kinds, plain, rule, watched};

#[test]
fn memory_is_bounded_and_an_alert_says_what_was_cut() {
    const BYTES_MAX: usize = 8 << 20;
    let rules = busy_kinds();
    let mut watch = Watch::new(watched(&rules)).with_bytes_max(BYTES_MAX);
    let mut memory = Memory::default();
    let mut output = Output::after(0);
    for number in 0..40_000 {
        let mut fields = plain(AFTER_MIDNIGHT + number * 1_000);
        // One device makes every second event, and the others one each.
        let is_busy = number % 2 == 0;
        fields.device_id = if is_busy { "busy".to_owned() } else { format!("d{number}") };
        fields.connection_type = ["established", "terminated"][usize::from(number % 4 == 0)].into();
        fields.ip_address = Some([10, 0, 0, 1].into());
        let created_at = fields.timestamp;
        let record = Record { id: number + 1, created_at, event: Event::from_store(fields) };
        watch.take(&record, &mut memory, &mut output).unwrap();
        assert!(watch.bytes() < BYTES_MAX + BYTES_MAX / 4, "{} after {number}", watch.bytes());
    }
    memory.note(&output.changes);
    let groups: Vec<&str> = memory.alerts.values().map(|(_, group, _)| group.as_str()).collect();
    assert_eq!(groups.iter().filter(|group| group.contains("overflow")).count(), 1, "{groups:?}");
    // What needs fewer events than are kept is found all the same: it goes on and off 500 times a
    // second.
    assert_eq!(groups.iter().filter(|group| group.contains("busy")).count(), 2, "{groups:?}");
    assert!(watch.health(1).groups_given_up > 0);
}

#[test]
fn groups_half_way_to_an_alert_are_given_up_when_there_is_no_end_of_them() {
    let rules = [rule(json!({"name": "burst", "kind": "failure_burst", "group_by": ["device_id"],
        "params": {"threshold": 4, "window_seconds": 3_600}}))];
    let mut watch = Watch::new(watched(&rules)).with_groups_max(1_000);
    let mut output = Output::after(0);
    for number in 0..10_000 {
        let mut fields = plain(AFTER_MIDNIGHT + number * 1_000);
        (fields.device_id, fields.status) = (format!("d{}", number / 2), "denied".to_owned());
        let created_at = fields.timestamp;
        let record = Record { id: number + 1, created_at, event: Event::from_store(fields) };
        watch.take(&record, &mut Memory::default(), &mut output).unwrap();
        assert!(watch.groups() <= 2_020, "{} after {number}", watch.groups());
    }
    assert!(watch.groups() > 1_000);
}

#[test]
fn one_attacker_is_found_among_more_groups_than_are_kept() {
    assert!(find_attacker(20_000, 500, Some(1_000)) <= 1_010);
}

/// Run it with `cargo test --release -p conn-log-core --test core -- --ignored million`.
#[test]
#[ignore = "some seconds with optimization, a minute without"]
fn one_attacker_is_found_among_a_million_random_devices() {
    let begun = std::time::Instant::now();
    assert!(find_attacker(1_000_000, 20_000, None) <= 101_000);
    let seconds = begun.elapsed().as_secs_f64();
    assert!(seconds < 300.0, "{seconds} s");
}

/// Lets each of so many devices fail once, and the attacker each time after so many of them. The
/// attacker has one alert, and one more tells of the groups that were given up. Returns the groups
/// that are kept.
fn find_attacker(devices: i64, every: i64, groups_max: Option<usize>) -> usize {
    let rules = [rule(json!({"name": "burst", "kind": "failure_burst", "group_by": ["device_id"],
        "params": {"threshold": 5, "window_seconds": 3_600}}))];
    let mut watch = Watch::new(watched(&rules));
    if let Some(groups_max) = groups_max {
        watch = watch.with_groups_max(groups_max);
    }
    let mut memory = Memory::default();
    let mut output = Output::after(0);
    for number in 0..devices {
        let is_attacker = number % every == 0;
        let mut fields = plain(AFTER_MIDNIGHT + number * 10_000);
        // Multiplied by an odd number, they are in no order.
        let random = number.unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        fields.device_id = if is_attacker { "attacker".to_owned() } else { format!("{random:x}") };
        fields.status = "denied".to_owned();
        let created_at = fields.timestamp;
        let record = Record { id: number + 1, created_at, event: Event::from_store(fields) };
        watch.take(&record, &mut memory, &mut output).unwrap();
    }
    memory.note(&output.changes);
    let groups: Vec<&str> = memory.alerts.values().map(|(_, group, _)| group.as_str()).collect();
    assert_eq!(groups.iter().filter(|group| group.contains("attacker")).count(), 1, "{groups:?}");
    let opened = output.changes.iter().filter(|change| change.what == What::Opened);
    let overflows = opened.filter(|change| change.group.json.contains("overflow"));
    assert_eq!(overflows.count(), 1);
    watch.groups()
}
