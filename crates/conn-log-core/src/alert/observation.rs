//! What a rule keeps of an event, and whether it looks at it at all.

use super::episode::Mark;
use super::rule::{Kind, Rule};
use super::view::{EventView, text_number};

/// What a rule keeps of an event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Observation {
    /// Microseconds on the rule's clock.
    pub(super) time: i64,
    /// Equal for repeats.
    pub(super) digest: u64,
    pub(super) id: i64,
    pub(super) detail: Detail,
    /// Bit `n` says that it is counted in the episode of the day that begins `n` days before its
    /// own day.
    pub(super) counted: u32,
}

/// The part of an observation that its rule's kind needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Detail {
    Nothing,
    /// A number made of a value.
    Value(u64),
    /// Its parts in a sequence.
    Role {
        is_first: bool,
        is_then: bool,
    },
    /// On or off.
    Switch(bool),
    /// Where the device was.
    Place(Place),
}

/// Latitude and longitude in ten-millionths of a degree, which are a centimetre: half the size of
/// two floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    latitude: i32,
    longitude: i32,
}

impl Place {
    /// Of degrees.
    pub(super) fn of((latitude, longitude): (f64, f64)) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "at most 180 degrees")]
        let fixed = |degrees: f64| (degrees * 1e7).round() as i32;
        Place { latitude: fixed(latitude), longitude: fixed(longitude) }
    }

    /// In degrees.
    pub(super) fn degrees(self) -> (f64, f64) {
        (f64::from(self.latitude) / 1e7, f64::from(self.longitude) / 1e7)
    }
}

impl Observation {
    /// What a rule keeps of an event that it looks at. `None` if the event lacks what the kind
    /// needs.
    pub(super) fn of(rule: &Rule, view: &EventView<'_>) -> Option<Self> {
        let detail = Detail::of(rule, view)?;
        Some(Observation {
            time: view.time(rule.clock).micros(),
            digest: detail.ranked(view.digest()),
            id: view.id(),
            detail,
            counted: 0,
        })
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { time: self.time, digest: self.digest, id: self.id }
    }

    /// Its place in the order of a window.
    pub(super) fn key(&self) -> (i64, u64, i64) {
        (self.time, self.digest, self.id)
    }
}

impl Detail {
    fn of(rule: &Rule, view: &EventView<'_>) -> Option<Self> {
        Some(match &rule.kind {
            Kind::DistinctCount { of, .. } => Detail::Value(text_number(&view.value(of)?)),
            Kind::Beaconing { .. } => Detail::Value(text_number(&view.fields().application_id)),
            Kind::Sequence { first, then, .. } => {
                let (is_first, is_then) = (view.passes(first), view.passes(then));
                if !is_first && !is_then {
                    return None;
                }
                Detail::Role { is_first, is_then }
            }
            Kind::Flapping { .. } => Detail::Switch(switch_of(view)?),
            Kind::ImpossibleTravel { .. } => Detail::Place(Place::of(view.place()?)),
            _ => Detail::Nothing,
        })
    }

    /// The sort key among events with the same timestamp: a rank in the highest two bits, then the
    /// digest. In a sequence an event that passes only `first` has rank 0, one that passes both
    /// filters rank 2, and one that passes only `then` rank 3.
    fn ranked(self, digest: u64) -> u64 {
        match self {
            Detail::Role { is_first, is_then } => {
                (u64::from(is_then) << 1 | u64::from(!is_first)) << 62 | digest >> 2
            }
            _ => digest,
        }
    }

    /// Whether it counts: a first event of a sequence does; others do if they differ from the one
    /// before.
    pub(super) fn counts_after(self, before: Option<Detail>) -> bool {
        match self {
            Detail::Role { is_first, .. } => is_first,
            _ => before.is_some_and(|before| before != self),
        }
    }
}

/// Whether a rule looks at an event.
pub(super) fn admits(rule: &Rule, view: &EventView<'_>) -> bool {
    view.passes(&rule.filter)
        && rule.exclude.as_ref().is_none_or(|exclude| !view.passes(exclude))
        && match &rule.kind {
            Kind::Match(hours) => hours.contains(view.time(rule.clock)),
            Kind::FailureBurst { .. } => view.fields().status != "success",
            Kind::Flapping { .. } => switch_of(view).is_some(),
            Kind::LongSession { .. } => super::sessions::step_of(view).is_some(),
            _ => true,
        }
}

/// Whether an event says that a connection is on or off.
fn switch_of(view: &EventView<'_>) -> Option<bool> {
    match view.fields().connection_type.as_str() {
        "established" | "resumed" => (view.fields().status == "success").then_some(true),
        "suspended" | "terminated" => Some(false),
        _ => None,
    }
}
