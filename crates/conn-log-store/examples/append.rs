//! How fast the store appends: `append URL [EVENTS] [BATCH] [TASKS]`.
//!
//! Prints events a second for each tenth of the run, the whole, and where the writer's time went.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a tool for developers"
)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use conn_log_core::{Event, EventParts, Timestamp};
use conn_log_store::{GroupCommitted, Observer, Store, StoreOptions, Submission, TenantId};

#[derive(Default)]
struct Groups(Mutex<Vec<GroupCommitted>>);

impl Observer for Groups {
    fn group_committed(&self, group: GroupCommitted) {
        self.0.lock().unwrap().push(group);
    }
}

fn event(n: u64) -> Event {
    Event::restore(EventParts {
        device_id: format!("dev_{:05}", n.wrapping_mul(2_654_435_761) % 5_000),
        application_id: format!("app_{}", n % 20),
        connection_type: "established".to_owned(),
        status: "success".to_owned(),
        timestamp: Timestamp::from_micros(
            1_700_000_000_000_000 + i64::try_from(n).unwrap() * 1_000,
        ),
        ip_address: Some(
            std::net::Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(n % 5_000).unwrap()).into(),
        ),
        user_agent: Some("ConnApp/2.1 (Linux; arm64)".to_owned()),
        duration: Some(1.5),
        session_id: Some(format!("sess_{:08}", n / 3)),
        event_id: None,
        metadata: format!(
            r#"{{"data_transferred":{n},"network_type":"wifi","session_id":"sess_{:08}","signal_strength":-45}}"#,
            n / 3
        ),
    })
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().expect("append URL [EVENTS] [BATCH] [TASKS]").parse().unwrap();
    let mut number = |default: u64| arguments.next().map_or(default, |text| text.parse().unwrap());
    let (events, batch, tasks) = (number(1_000_000), number(1_000), number(4));
    let groups = Arc::new(Groups::default());
    let options = StoreOptions { observer: Some(groups.clone()), ..StoreOptions::new(url) };
    let store = Store::open(options).unwrap();
    let next = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let threads: Vec<_> = (0..tasks)
        .map(|_| {
            let (store, next) = (store.clone(), Arc::clone(&next));
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                loop {
                    let from = next.fetch_add(batch, Ordering::Relaxed);
                    if from >= events {
                        return;
                    }
                    let submission = Submission {
                        tenant: TenantId::DEFAULT,
                        events: (from..from + batch).map(event).collect(),
                        claim: None,
                    };
                    runtime.block_on(store.append(submission)).unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let elapsed = begun.elapsed();
    store.close();

    let groups = groups.0.lock().unwrap();
    let rate = |count: usize, time: Duration| {
        let micros = u64::try_from(time.as_micros()).unwrap().max(1);
        u64::try_from(count).unwrap() * 1_000_000 / micros
    };
    let total: usize = groups.iter().map(|group| group.events_stored).sum();
    for tenth in groups.chunks(groups.len().div_ceil(10)) {
        let count = tenth.iter().map(|group| group.events_stored).sum();
        println!("  writer alone {} events/s", rate(count, tenth.iter().map(|g| g.elapsed).sum()));
    }
    let busy: Duration = groups.iter().map(|group| group.elapsed).sum();
    let commit: Duration = groups.iter().map(|group| group.commit).sum();
    println!(
        "{total} events in {elapsed:.2?}: {} events/s; {} commits, {} events each; writer busy {busy:.2?}, of which commit {commit:.2?}",
        rate(total, elapsed),
        groups.len(),
        total / groups.len(),
    );
}
