//! Events like those of a real fleet: few devices make most events, each goes through sessions,
//! some fail.
//!
//! The same shape gives the same events, except for the end of their time range.

use std::fmt::Write as _;

use conn_log_core::Timestamp;

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Shape {
    /// How many
    pub(crate) count: u64,
    /// Devices; the n-th makes events as 1/n does (Zipf)
    #[arg(long, default_value_t = 5_000)]
    devices: u64,
    /// Applications, chosen in the same way
    #[arg(long, default_value_t = 50)]
    applications: u64,
    /// The time that the events are spread over, up to now
    #[arg(long, default_value_t = 30)]
    pub(crate) days: u32,
    /// Another number gives other events
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Events a second from now on, in place of a time up to now
    #[arg(skip)]
    rate: Option<u64>,
}

impl Shape {
    /// A fleet without an end, whose events are of the moment in which they are made.
    pub(crate) fn live(seed: u64) -> Self {
        Shape { count: u64::MAX, devices: 5_000, applications: 50, days: 0, seed, rate: None }
    }

    /// So many events a second from now on, in the time of the events.
    pub(crate) fn at_rate(count: u64, rate: u64) -> Self {
        Shape { rate: Some(rate), ..Shape::live(1) }.of(count)
    }

    fn of(self, count: u64) -> Self {
        Shape { count, ..self }
    }

    /// The events' JSON, roughly in the order of their timestamps.
    pub(crate) fn events(&self) -> Events {
        let span = i64::from(self.days) * 86_400_000_000;
        let now = Timestamp::from(chrono::Utc::now()).micros();
        Events {
            random: Random::new(self.seed),
            sessions: vec![None; usize::try_from(self.devices).unwrap_or(usize::MAX)],
            applications: self.applications,
            time: now - span,
            step: self
                .rate
                .and_then(|rate| 1_000_000_u64.checked_div(rate))
                .map_or(span / i64::try_from(self.count).unwrap_or(i64::MAX).max(1), |step| {
                    i64::try_from(step).unwrap_or(i64::MAX)
                }),
            left: self.count,
            is_live: self.days == 0 && self.count == u64::MAX,
        }
    }
}

/// The next events of an endless fleet.
pub(crate) struct Events {
    random: Random,
    /// The open session of each device.
    sessions: Vec<Option<Session>>,
    applications: u64,
    time: i64,
    step: i64,
    left: u64,
    /// Whether each event is of the moment in which it is made.
    is_live: bool,
}

#[derive(Clone)]
struct Session {
    id: u64,
    application: u64,
    begun: i64,
}

/// One event of a device.
struct Step {
    connection_type: &'static str,
    status: &'static str,
    session: Session,
    /// Seconds, if the session ends.
    duration: Option<i64>,
}

impl Iterator for Events {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        self.left = self.left.checked_sub(1)?;
        self.time += self.step;
        if self.is_live {
            self.time = Timestamp::from(chrono::Utc::now()).micros();
        }
        let device = self.random.zipf(self.sessions.len() as u64);
        let step = self.step_of(device);
        Some(self.json(device, &step))
    }
}

impl Events {
    fn step_of(&mut self, device: u64) -> Step {
        let slot = usize::try_from(device).unwrap_or(0);
        let time = self.time;
        let step = |connection_type, status, session, duration| Step {
            connection_type,
            status,
            session,
            duration,
        };
        let Some(session) = self.sessions[slot].clone() else {
            let application = self.random.zipf(self.applications);
            let session = Session { id: self.random.next(), application, begun: time };
            if self.random.below(100) < 8 {
                let status = ["failure", "denied", "timeout", "error"];
                return step("attempted", self.random.one_of(&status), session, None);
            }
            self.sessions[slot] = Some(session.clone());
            return step("established", "success", session, None);
        };
        match self.random.below(10) {
            0..5 => {
                self.sessions[slot] = None;
                let seconds = (time - session.begun) / 1_000_000;
                step("terminated", "success", session, Some(seconds))
            }
            5..7 => step("authenticated", "success", session, None),
            7..9 => step("suspended", "success", session, None),
            _ => step("resumed", "success", session, None),
        }
    }

    fn json(&mut self, device: u64, step: &Step) -> String {
        // Device clocks and networks put events a little out of order.
        let late = i64::try_from(self.random.below(5_000_000)).unwrap_or(0);
        let timestamp = Timestamp::from_micros(self.time - late);
        let address = std::net::Ipv4Addr::from_bits(
            0x0a00_0000 + u32::try_from(device * 7_919 % 0x00ff_ffff).unwrap_or(0),
        );
        let agents = [
            "ConnApp/2.1 (Linux; arm64)",
            "ConnApp/2.0 (Android 15; arm64)",
            "ConnApp/2.1 (iOS 19.1)",
            "vendor-sdk/7.3.0 python/3.13",
        ];
        let agent = agents[usize::try_from(device).unwrap_or(0) % agents.len()];
        let network = self.random.one_of(&["wifi", "wifi", "cellular", "ethernet"]);
        let mut json = String::with_capacity(420);
        // Writing to a String cannot fail.
        let _ = write!(
            json,
            r#"{{"device_id":"dev_{device:05}","application_id":"app_{:02}","connection_type":"{}","timestamp":"{timestamp}","ip_address":"{address}","user_agent":"{agent}","status":"{}","#,
            step.session.application, step.connection_type, step.status,
        );
        if let Some(seconds) = step.duration {
            let _ = write!(json, r#""duration":{seconds},"#);
        }
        let _ = write!(
            json,
            r#""metadata":{{"session_id":"sess_{:016x}","network_type":"{network}","signal_strength":-{},"data_transferred":{}}}}}"#,
            step.session.id,
            40 + self.random.below(50),
            self.random.below(1_000_000),
        );
        json
    }
}

/// SplitMix64: small, fast, and uniform enough for test data.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    fn one_of(&mut self, words: &[&'static str]) -> &'static str {
        words[usize::try_from(self.below(words.len() as u64)).unwrap_or(0)]
    }

    /// A number k from 0 to n - 1, with a frequency proportional to 1 / (k + 1): n to the power of
    /// a uniform number in 0 to 1.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small positive numbers, and test data"
    )]
    fn zipf(&mut self, n: u64) -> u64 {
        let even = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        ((n as f64 + 1.0).powf(even) as u64 - 1).min(n - 1)
    }
}
