//! Which rules may look at an event: by its type and status, and by its device or application.

use foldhash::HashMap;

use super::rule::Rule;
use crate::EventFields;

/// Limit of pairs of type and status that are remembered with their rules. There are some dozens,
/// unless a deployment adds names.
const PAIRS_MAX: usize = 1_000;

/// The places of the rules that may look at events, by type and status.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    by_type: HashMap<String, HashMap<String, Places>>,
    pairs: usize,
}

/// Rules by the device or the application that they ask for.
#[derive(Debug, Default)]
struct Places {
    by_device: HashMap<String, Vec<usize>>,
    by_application: HashMap<String, Vec<usize>>,
    others: Vec<usize>,
}

impl Candidates {
    /// Makes `places` those of the rules that may look at an event, in order.
    pub(super) fn find<'a>(
        &mut self,
        fields: &EventFields,
        rules: impl Iterator<Item = &'a Rule>,
        places: &mut Vec<usize>,
    ) {
        places.clear();
        let (kind, status) = (&fields.connection_type, &fields.status);
        if self.by_type.get(kind).is_none_or(|by_status| !by_status.contains_key(status)) {
            self.add(kind, status, rules);
        }
        let Some(found) = self.by_type.get(kind).and_then(|by_status| by_status.get(status)) else {
            return;
        };
        places.extend(&found.others);
        places.extend(found.by_device.get(&fields.device_id).into_iter().flatten());
        places.extend(found.by_application.get(&fields.application_id).into_iter().flatten());
        if places.len() > found.others.len() {
            places.sort_unstable();
        }
    }

    fn add<'a>(&mut self, kind: &str, status: &str, rules: impl Iterator<Item = &'a Rule>) {
        if self.pairs >= PAIRS_MAX {
            *self = Candidates::default();
        }
        self.pairs += 1;
        let by_status = self.by_type.entry(kind.to_owned()).or_default();
        by_status.insert(status.to_owned(), Places::of(rules, kind, status));
    }
}

impl Places {
    fn of<'a>(rules: impl Iterator<Item = &'a Rule>, kind: &str, status: &str) -> Self {
        let mut all = Places::default();
        let passes = |wanted: &[String], value: &str| {
            wanted.is_empty() || wanted.iter().any(|wanted| wanted == value)
        };
        for (place, rule) in rules.enumerate() {
            let filter = rule.filter();
            if !passes(&filter.connection_types, kind) || !passes(&filter.statuses, status) {
                continue;
            }
            if !filter.device_ids.is_empty() {
                for name in &filter.device_ids {
                    all.by_device.entry(name.clone()).or_default().push(place);
                }
            } else if !filter.application_ids.is_empty() {
                for name in &filter.application_ids {
                    all.by_application.entry(name.clone()).or_default().push(place);
                }
            } else {
                all.others.push(place);
            }
        }
        all
    }
}
