//! A rule: what to look for, in which events, and when hits are one alert.

use std::fmt;

use super::hours::LocalHours;
use crate::{EventFilter, MetadataPath};

/// A rule that keeps every bound. It comes from [`Rule::from_json`] only.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) filter: EventFilter,
    pub(super) exclude: Option<EventFilter>,
    pub(super) group_by: Vec<Field>,
    pub(super) clock: Clock,
    pub(super) lateness_seconds: u32,
    pub(super) count_repeats: bool,
    pub(super) severity: Severity,
    pub(super) cooldown_seconds: u32,
    pub(super) enabled: bool,
}

impl Rule {
    /// The name for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it looks for.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The events that it looks at.
    pub fn filter(&self) -> &EventFilter {
        &self.filter
    }

    /// The events among these that it leaves out.
    pub fn exclude(&self) -> Option<&EventFilter> {
        self.exclude.as_ref()
    }

    /// The fields whose values make up a group; one to three.
    pub fn group_by(&self) -> &[Field] {
        &self.group_by
    }

    /// The time that its windows are measured by.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// How urgent its alerts are.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// Whether it is evaluated.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Whether both rules find the same alerts: a change of name, severity or `enabled` makes no
    /// new version.
    pub fn finds_the_same_as(&self, other: &Rule) -> bool {
        let of = |rule: &Rule| Rule {
            name: String::new(),
            severity: Severity::Info,
            enabled: true,
            ..rule.clone()
        };
        of(self) == of(other)
    }

    /// The longest time between the first and the last event of one hit, in microseconds.
    pub(super) fn reach_micros(&self) -> i64 {
        let seconds = match &self.kind {
            Kind::Match(_) => 0,
            Kind::FailureBurst { window_seconds, .. }
            | Kind::DistinctCount { window_seconds, .. }
            | Kind::Sequence { window_seconds, .. }
            | Kind::Flapping { window_seconds, .. }
            | Kind::Volume { window_seconds, .. } => *window_seconds,
            Kind::Silence { after_seconds } => *after_seconds,
            Kind::LongSession { longer_than_seconds } => *longer_than_seconds,
            Kind::ImpossibleTravel { max_kmh, .. } => super::travel::reach_seconds(*max_kmh),
            Kind::FirstSeen { forget_after_days, .. } => forget_after_days * 86_400,
            Kind::Beaconing { .. } => super::beaconing::SPAN_SECONDS,
        };
        i64::from(seconds) * SECOND
    }

    pub(super) fn lateness_micros(&self) -> i64 {
        i64::from(self.lateness_seconds) * SECOND
    }

    /// Hits of a group within this time of each other are one alert, in microseconds.
    pub fn cooldown_micros(&self) -> i64 {
        i64::from(self.cooldown_seconds) * SECOND
    }

    /// How far back the log must be read before the rule is evaluated again after a start, in
    /// microseconds of the log's clock.
    pub fn memory_micros(&self) -> i64 {
        let reach = match &self.kind {
            Kind::Volume { window_seconds, baseline_windows, .. } => {
                i64::from(*window_seconds) * i64::from(baseline_windows + 2) * SECOND
            }
            // It is looked up in the log, event by event.
            Kind::FirstSeen { .. } => 0,
            _ => 2 * self.reach_micros(),
        };
        reach + self.lateness_micros()
    }
}

/// Microseconds.
pub(super) const SECOND: i64 = 1_000_000;

/// The kinds of rules, with their parameters.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Any event that passes the filter, within some hours.
    Match(LocalHours),
    /// That many failures within the window.
    FailureBurst {
        /// 2 or more.
        threshold: u32,
        /// In seconds.
        window_seconds: u32,
    },
    /// That many different values of a field within the window.
    DistinctCount {
        /// The field.
        of: Field,
        /// 2 or more.
        at_least: u32,
        /// In seconds.
        window_seconds: u32,
    },
    /// That many of the first, then one of the second, within the window.
    Sequence {
        /// The first events.
        first: Box<EventFilter>,
        /// How many of them, 1 or more.
        count: u32,
        /// The event after them.
        then: Box<EventFilter>,
        /// In seconds.
        window_seconds: u32,
    },
    /// A combination of values never seen before, or not for so long.
    FirstSeen {
        /// The fields of the combination, one to three.
        of: Vec<Field>,
        /// For that long after the rule's start nothing is new.
        learning_seconds: u32,
        /// A combination that was not seen for that long is new again.
        forget_after_days: u32,
    },
    /// That many changes between on and off within the window.
    Flapping {
        /// 2 or more.
        transitions: u32,
        /// In seconds.
        window_seconds: u32,
    },
    /// No event for that long.
    Silence {
        /// In seconds.
        after_seconds: u32,
    },
    /// A session longer than that, open or ended.
    LongSession {
        /// In seconds.
        longer_than_seconds: u32,
    },
    /// Two places that no one can travel between in that time.
    ImpossibleTravel {
        /// A faster journey is impossible.
        max_kmh: u32,
        /// Shorter distances are errors of the places.
        min_km: u32,
    },
    /// Connections too regular to be human, which few devices of the application share.
    Beaconing {
        /// Fewer connections say nothing.
        min_connections: u32,
        /// The least score, 0 to 1.
        score: f64,
        /// The largest share of the application's devices with the same period, 0 to 1.
        max_prevalence: f64,
    },
    /// Far more, or far fewer, events than in the windows before.
    Volume {
        /// More than 1.
        factor: f64,
        /// In seconds.
        window_seconds: u32,
        /// The number of windows that are compared with.
        baseline_windows: u32,
    },
}

/// The names of the kinds, in the order of the documents.
pub const KINDS: [&str; 11] = [
    "match",
    "failure_burst",
    "distinct_count",
    "sequence",
    "first_seen",
    "flapping",
    "silence",
    "long_session",
    "impossible_travel",
    "beaconing",
    "volume",
];

impl Kind {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Match(_) => "match",
            Kind::FailureBurst { .. } => "failure_burst",
            Kind::DistinctCount { .. } => "distinct_count",
            Kind::Sequence { .. } => "sequence",
            Kind::FirstSeen { .. } => "first_seen",
            Kind::Flapping { .. } => "flapping",
            Kind::Silence { .. } => "silence",
            Kind::LongSession { .. } => "long_session",
            Kind::ImpossibleTravel { .. } => "impossible_travel",
            Kind::Beaconing { .. } => "beaconing",
            Kind::Volume { .. } => "volume",
        }
    }
}

/// The time that windows are measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The event's own `timestamp`.
    Event,
    /// `created_at`: a sender cannot choose it.
    Received,
}

/// How urgent an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// For the record.
    Info,
    /// For someone to look at.
    Warning,
    /// For someone to act on.
    Critical,
}

impl Clock {
    /// Both.
    pub const ALL: &[Clock] = &[Clock::Event, Clock::Received];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Clock::Event => "event",
            Clock::Received => "received",
        }
    }
}

impl Severity {
    /// All of them.
    pub const ALL: &[Severity] = &[Severity::Info, Severity::Warning, Severity::Critical];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }

    /// The severity of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        Severity::ALL.iter().copied().find(|severity| severity.name() == name)
    }
}

/// A field whose values make groups, or are told apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// `device_id`.
    Device,
    /// `application_id`.
    Application,
    /// `ip_address`.
    Address,
    /// `user_agent`.
    UserAgent,
    /// `network_type`, which is `metadata.network_type`.
    NetworkType,
    /// `metadata.<path>`.
    Metadata(MetadataPath),
}

impl Field {
    /// The field of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "device_id" => Field::Device,
            "application_id" => Field::Application,
            "ip_address" => Field::Address,
            "user_agent" => Field::UserAgent,
            "network_type" => Field::NetworkType,
            _ => Field::Metadata(MetadataPath::parse(name.strip_prefix("metadata.")?)?),
        })
    }
}

/// Its name.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Field::Device => f.write_str("device_id"),
            Field::Application => f.write_str("application_id"),
            Field::Address => f.write_str("ip_address"),
            Field::UserAgent => f.write_str("user_agent"),
            Field::NetworkType => f.write_str("network_type"),
            Field::Metadata(path) => write!(f, "metadata.{path}"),
        }
    }
}
