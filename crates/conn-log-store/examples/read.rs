//! How fast lists are in a large log: `read URL [EVENTS] [INDEX_RUN_EVENTS]`, on an empty database,
//! or on one that this has filled before. With 0 as the last, the log is filled without an index.
//!
//! 5,000 devices and 50 applications, as likely as 1/rank; 5 % failures; sessions of about three
//! events; 30 days in order, but for one event in a hundred that is up to a day late. Prints the rate
//! of loading by tenths, how long the index lags behind, and each list's median and 99th percentile.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a tool for developers"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use conn_log_core::{
    Event, EventFilter, EventParts, EventQuery, Order, Position, Start, Timestamp,
};
use conn_log_store::{Store, StoreOptions, Submission, TenantId};

const TENANT: TenantId = TenantId::DEFAULT;
const BATCH: u64 = 1_000;
const TASKS: u64 = 4;
const DEVICES: f64 = 5_000.0;
const APPLICATIONS: f64 = 50.0;
const START_MICROS: i64 = 1_790_000_000_000_000;
const DAY_MICROS: i64 = 86_400_000_000;
const LISTS_EACH: u64 = 300;

/// SplitMix64: the same log each time, whichever thread makes an event.
#[derive(Clone, Copy)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn fraction(&mut self) -> f64 {
        f64::from(u32::try_from(self.next() >> 32).unwrap()) / f64::from(u32::MAX)
    }

    /// 0, 1, 2 … below `count`, each about as likely as 1/rank.
    fn zipf(&mut self, count: f64) -> u32 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "small and positive"
        )]
        let rank = count.powf(self.fraction()) as u32;
        rank.saturating_sub(1)
    }

    fn below(&mut self, count: u64) -> u64 {
        self.next() % count
    }
}

fn address(device: u32) -> [u8; 4] {
    let [_, _, a, b] = device.to_be_bytes();
    [10, a, b, 7]
}

fn session(n: u64, device: u32) -> String {
    format!("sess_{device:05}_{:06x}", n / 300_000)
}

fn event(n: u64, events: u64) -> Event {
    let mut random = Random(n);
    let device = random.zipf(DEVICES);
    let mut time = START_MICROS
        + i64::try_from(u128::from(n) * 30 * 86_400_000_000 / u128::from(events)).unwrap();
    if random.below(100) == 0 {
        time -= i64::try_from(random.below(DAY_MICROS.unsigned_abs())).unwrap();
    }
    let status = match random.below(400) {
        0..5 => "failure",
        5..10 => "denied",
        10..15 => "timeout",
        15..20 => "error",
        _ => "success",
    };
    // Those of busy devices are longer, as their devices come again sooner.
    let session_id = session(n, device);
    Event::restore(EventParts {
        device_id: format!("dev_{device:05}"),
        application_id: format!("app_{:02}", random.zipf(APPLICATIONS)),
        connection_type: "established".to_owned(),
        status: status.to_owned(),
        timestamp: Timestamp::from_micros(time),
        ip_address: Some(address(device).into()),
        user_agent: Some("ConnApp/2.1 (Linux; arm64)".to_owned()),
        duration: Some(1.5),
        metadata: format!(
            r#"{{"data_transferred":{n},"network_type":"wifi","session_id":"{session_id}","signal_strength":-45}}"#
        ),
        session_id: Some(session_id),
        event_id: None,
    })
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().expect("read URL [EVENTS]").parse().unwrap();
    let events = arguments.next().map_or(10_000_000, |text| text.parse().unwrap());
    let index_run_events = arguments.next().map_or(8_192, |text| text.parse().unwrap());
    let is_indexed = index_run_events > 0;
    let index_run_events = if is_indexed { index_run_events } else { u32::MAX };
    let store = Store::open(StoreOptions { index_run_events, ..StoreOptions::new(url) }).unwrap();
    if store.log_size(TENANT).unwrap() == 0 {
        load(&store, events);
    }
    if is_indexed {
        wait_for_index(&store, index_run_events);
        lists(&store, events);
    }
    store.close();
}

fn load(store: &Store, events: u64) {
    let next = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let threads: Vec<_> = (0..TASKS)
        .map(|_| {
            let (store, next) = (store.clone(), Arc::clone(&next));
            std::thread::spawn(move || append(&store, &next, events))
        })
        .collect();
    let mut tenth = Instant::now();
    for part in 1..=10 {
        while next.load(Ordering::Relaxed) < events / 10 * part {
            std::thread::sleep(Duration::from_millis(5));
        }
        println!(
            "  {:.0} events/s, {} not indexed yet",
            rate(events / 10, tenth.elapsed()),
            store.index_lag(TENANT).unwrap()
        );
        tenth = Instant::now();
    }
    for thread in threads {
        thread.join().unwrap();
    }
    println!("{events} events: {:.0} events/s", rate(events, begun.elapsed()));
}

fn wait_for_index(store: &Store, lag_max: u32) {
    let begun = Instant::now();
    while store.index_lag(TENANT).unwrap() > i64::from(lag_max) {
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("the index was {:.2?} behind", begun.elapsed());
    // The last merges.
    std::thread::sleep(Duration::from_secs(3));
}

fn append(store: &Store, next: &AtomicU64, events: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    loop {
        let from = next.fetch_add(BATCH, Ordering::Relaxed);
        if from >= events {
            return;
        }
        let submission = Submission {
            tenant: TENANT,
            events: (from..from + BATCH).map(|n| event(n, events)).collect(),
            claim: None,
        };
        runtime.block_on(store.append(submission)).unwrap();
    }
}

fn rate(events: u64, time: Duration) -> f64 {
    f64::from(u32::try_from(events).unwrap()) / time.as_secs_f64()
}

fn lists(store: &Store, events: u64) {
    let device = |rank: u64| EventFilter {
        device_ids: vec![format!("dev_{rank:05}")],
        ..EventFilter::default()
    };
    let window = |random: &mut Random, micros: i64| {
        let last = (30 * DAY_MICROS - micros).unsigned_abs();
        let since = START_MICROS + i64::try_from(random.below(last)).unwrap();
        EventFilter {
            since: Some(Timestamp::from_micros(since)),
            until: Some(Timestamp::from_micros(since + micros)),
            ..EventFilter::default()
        }
    };
    let hour = DAY_MICROS / 24;
    let failures = || ["failure", "denied", "timeout", "error"].map(String::from).to_vec();
    let network = |text: String| Some(text.parse().unwrap());
    let newest = Order::IdDescending;
    let latest = Order::TimestampDescending;

    measure(store, "newest of all", |_| (EventFilter::default(), newest));
    measure(store, "a device, any", |r| (device(r.below(5_000)), newest));
    measure(store, "a device, likely ones", |r| (device(r.zipf(DEVICES).into()), newest));
    measure(store, "a device that is none", |r| (device(90_000 + r.below(9_999)), newest));
    measure(store, "a device, latest first", |r| (device(r.below(5_000)), latest));
    measure(store, "a session", |r| {
        let (n, device) = (r.below(events), r.zipf(DEVICES));
        (EventFilter { session_id: Some(session(n, device)), ..EventFilter::default() }, newest)
    });
    measure(store, "failures of an application", |r| {
        let application_ids = vec![format!("app_{:02}", r.below(49))];
        (EventFilter { application_ids, statuses: failures(), ..EventFilter::default() }, newest)
    });
    measure(store, "an application", |r| {
        let application_ids = vec![format!("app_{:02}", r.below(49))];
        (EventFilter { application_ids, ..EventFilter::default() }, newest)
    });
    measure(store, "all failures", |_| {
        (EventFilter { statuses: failures(), ..EventFilter::default() }, newest)
    });
    measure(store, "a minute", |r| (window(r, hour / 60), newest));
    measure(store, "an hour", |r| (window(r, hour), newest));
    measure(store, "a day", |r| (window(r, DAY_MICROS), newest));
    measure(store, "an hour, latest first", |r| (window(r, hour), latest));
    measure(store, "a day, earliest first", |r| (window(r, DAY_MICROS), Order::TimestampAscending));
    measure(store, "latest of all", |_| (EventFilter::default(), latest));
    for (name, bits) in [("/32", 32), ("/24", 24), ("/16", 16), ("/8", 8)] {
        measure(store, &format!("a block {name} within a day"), |r| {
            let [a, b, c, d] = address(r.zipf(DEVICES));
            let ip_network = network(format!("{a}.{b}.{c}.{d}/32"))
                .map(|net: ipnet::IpNet| ipnet::IpNet::new(net.addr(), bits).unwrap().trunc());
            (EventFilter { ip_network, ..window(r, DAY_MICROS) }, newest)
        });
    }
    for (name, from) in [("page 1 of the feed", 0), ("page 10,000 of the feed", 1_000_000)] {
        pages(store, name, |r| {
            let id = from + i64::try_from(r.below(10_000)).unwrap();
            let start = Start::After(Position { timestamp: Timestamp::EPOCH, id });
            EventQuery { order: Order::IdAscending, start, limit: 100, ..EventQuery::default() }
        });
    }
}

fn measure(store: &Store, name: &str, of: impl Fn(&mut Random) -> (EventFilter, Order)) {
    pages(store, name, |random| {
        let (filter, order) = of(random);
        EventQuery { filter, order, start: Start::First, limit: 100 }
    });
}

fn pages(store: &Store, name: &str, of: impl Fn(&mut Random) -> EventQuery) {
    let mut times = Vec::new();
    let mut records = 0;
    for n in 0..LISTS_EACH {
        let query = of(&mut Random(n.wrapping_mul(0x1234_5678_9abc_def1)));
        let begun = Instant::now();
        records += store.event_list(TENANT, &query).unwrap().records.len();
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    println!(
        "{name:30} median {:>9.2?}   p99 {:>9.2?}   {} records each",
        at(50),
        at(99),
        records / times.len()
    );
}
