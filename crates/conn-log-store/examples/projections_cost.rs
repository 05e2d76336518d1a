//! What projections cost and how fast they answer: fills a log, steps through it, asks.
//!
//! `cargo run --release -p conn-log-store --example projections_cost -- <database URL> [events]`

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement, for a developer")]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]

use std::time::Instant;

use conn_log_core::{Event, EventParts, Timestamp};
use conn_log_store::{
    DatabaseUrl, GroupBy, Interval, PageQuery, PageStart, Progress, SessionFilter, StatisticsQuery,
    Store, StoreOptions, Submission, TenantId,
};

const DEVICES: usize = 5_000;
const APPLICATIONS: usize = 50;
const DAYS: i64 = 30;

/// A small generator of numbers that look random, the same each time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut bits = self.0 ^ (self.0 >> 33);
        bits = bits.wrapping_mul(0xff51_afd7_ed55_8ccd);
        ((bits ^ (bits >> 33)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Zipf-like: 0 most often.
    fn skewed(&mut self, count: usize) -> usize {
        ((count as f64 + 1.0).powf(self.next()) - 1.0) as usize
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let url: DatabaseUrl = arguments.next().unwrap().parse().unwrap();
    let count: usize = arguments.next().map_or(1_000_000, |text| text.parse().unwrap());
    let mut options = StoreOptions::new(url);
    options.projections = false;
    let store = Store::open(options).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tenant = TenantId::DEFAULT;
    let existing = store.log_size(tenant).unwrap() as usize;
    if existing < count {
        let begun = Instant::now();
        let mut ndjson = 0;
        let mut numbers = Numbers(7);
        let mut sessions = vec![None; DEVICES];
        let mut done = 0;
        while done < count {
            let some = 10_000.min(count - done);
            let events: Vec<Event> =
                (done..done + some).map(|i| event(&mut numbers, &mut sessions, i, count)).collect();
            ndjson += events.iter().map(|event| event.parts().metadata.len() + 250).sum::<usize>();
            let submission = Submission { tenant, events, claim: None };
            runtime.block_on(store.append(submission)).unwrap();
            done += some;
        }
        let seconds = begun.elapsed().as_secs_f64();
        println!(
            "append: {:.1} us/event, about {} MB of NDJSON",
            seconds * 1e6 / count as f64,
            ndjson >> 20
        );
    }
    let begun = Instant::now();
    let (mut taken, mut slowest) = (0, 0.0_f64);
    loop {
        let step = Instant::now();
        match store.projections_step(tenant, 5_000).unwrap() {
            Progress::Taken(some) => taken += some,
            Progress::UpToDate | Progress::Busy => break,
        }
        slowest = slowest.max(step.elapsed().as_secs_f64());
    }
    if taken > 0 {
        let each = begun.elapsed().as_secs_f64() * 1e6 / taken as f64;
        println!("steps: {each:.1} us/event over {taken}, slowest step {:.0} ms", slowest * 1e3);
    }
    ask(&store, tenant);
}

fn event(
    numbers: &mut Numbers,
    sessions: &mut [Option<(String, usize)>],
    index: usize,
    count: usize,
) -> Event {
    let device = numbers.skewed(DEVICES);
    let start = Timestamp::parse("2026-10-01T00:00:00Z").unwrap().micros();
    let span = DAYS * 86_400_000_000;
    let timestamp = start + (span as f64 * index as f64 / count as f64) as i64;
    let draw = numbers.next();
    let mut duration = None;
    let mut application = numbers.skewed(APPLICATIONS);
    let mut session_id = sessions[device].as_ref().map(|session| session.0.clone());
    let kind = match (&sessions[device], draw) {
        (Some((_, used)), d) if d < 0.4 => {
            application = *used;
            duration = Some((numbers.next() * 9.0).exp().round() / 10.0);
            sessions[device] = None;
            "terminated"
        }
        (Some(_), d) if d < 0.7 => "suspended",
        (Some(_), _) => "resumed",
        (None, d) if d < 0.7 => {
            let id = format!("{:016x}{:016x}", numbers.next().to_bits(), numbers.next().to_bits());
            session_id = Some(id.clone());
            sessions[device] = Some((id, application));
            "established"
        }
        (None, d) if d < 0.85 => "attempted",
        (None, _) => "authenticated",
    };
    let status = match numbers.next() {
        d if d < 0.93 => "success",
        d if d < 0.97 => "failure",
        _ => "timeout",
    };
    let network = ["wifi", "4g", "5g", "ethernet"][numbers.skewed(4)];
    let signal = -30 - (numbers.next() * 60.0) as i64;
    Event::restore(EventParts {
        device_id: format!("dev_{device:05}"),
        application_id: format!("app_{application:03}"),
        connection_type: kind.to_owned(),
        status: status.to_owned(),
        timestamp: Timestamp::from_micros(timestamp),
        ip_address: Some(std::net::IpAddr::from([
            10,
            0,
            (device / 250) as u8,
            (device % 250) as u8,
        ])),
        user_agent: Some("MyApp/1.0".to_owned()),
        duration,
        session_id,
        event_id: None,
        metadata: format!(
            r#"{{"network_type":"{network}","protocol":"TLS 1.3","signal_strength":{signal}}}"#
        ),
    })
}

fn timed<T>(what: &str, mut ask: impl FnMut() -> Vec<T>) {
    let mut times: Vec<f64> = Vec::new();
    let mut rows = 0;
    for _ in 0..7 {
        let begun = Instant::now();
        rows = ask().len();
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    println!("{what}: median {:.1} ms, worst {:.1} ms, {rows} rows", times[3], times[6]);
}

fn ask(store: &Store, tenant: TenantId) {
    let by = |names: &str| GroupBy {
        application_id: names.contains('a'),
        device_id: names.contains('d'),
        connection_type: names.contains('t'),
        status: names.contains('s'),
        network_type: names.contains('n'),
    };
    let question = |interval, names| StatisticsQuery {
        interval,
        group_by: by(names),
        ..StatisticsQuery::default()
    };
    let at = |text| Timestamp::parse(text);
    let day = |interval, names| StatisticsQuery {
        since: at("2026-10-15T00:20:00Z"),
        until: at("2026-10-16T00:20:00Z"),
        ..question(interval, names)
    };
    let hour = Some(Interval::Hour);
    for (what, query) in [
        ("30 days by hour by application", question(hour, "a")),
        ("30 days by day", question(Some(Interval::Day), "")),
        ("30 days by status", question(None, "s")),
        ("30 days by device", question(None, "d")),
        ("30 days by hour by type", question(hour, "t")),
        ("a day by minute", day(Some(Interval::Minute), "")),
        ("a day by hour by application, odd edges", day(hour, "a")),
        (
            "one device, 30 days by hour",
            StatisticsQuery { device_ids: vec!["dev_00003".to_owned()], ..question(hour, "") },
        ),
    ] {
        timed(what, || store.statistics(tenant, &query).unwrap());
    }
    let names = PageQuery { start: PageStart::First, limit: 100 };
    timed("devices, a page", || store.device_list(tenant, &names).unwrap().items);
    timed("applications, all", || store.application_list(tenant, &names).unwrap().items);
    let first = PageQuery { start: PageStart::First, limit: 100 };
    let open = SessionFilter { open: Some(true), ..SessionFilter::default() };
    let device =
        SessionFilter { device_ids: vec!["dev_00003".to_owned()], ..SessionFilter::default() };
    timed("sessions, newest", || {
        store.session_list(tenant, &SessionFilter::default(), &first).unwrap().items
    });
    timed("sessions, open", || store.session_list(tenant, &open, &first).unwrap().items);
    timed("sessions of a device", || store.session_list(tenant, &device, &first).unwrap().items);
}
