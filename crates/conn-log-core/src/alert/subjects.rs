//! Subjects: the devices, addresses and other values that rules group events by.
//!
//! Rules that group by the same fields share them. For each event a subject is looked up once, its
//! key is made once, and rules find their groups by its number.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};
use serde_json::{Map, Value};

use super::output::GroupKey;
use super::rule::Field;
use super::view::{EventView, text_digest};

/// Below so many subjects none is forgotten.
const KEPT_MIN: usize = 1_024;

/// The values of some fields, which are those of a group in any number of rules.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    /// It is never used again for another subject.
    pub(super) id: u64,
    pub(super) key: Arc<GroupKey>,
}

/// The subjects of all rules.
#[derive(Debug, Default)]
pub(super) struct Subjects {
    groupings: Vec<Grouping>,
    last_id: u64,
    /// Room for the name of a subject.
    name: String,
}

/// The subjects of the rules that group by the same fields.
#[derive(Debug)]
struct Grouping {
    fields: Vec<Field>,
    by_name: HashMap<String, Subject>,
    /// So many may be there before those without a group are forgotten.
    kept_max: usize,
    /// The last event that was asked for, and its subject.
    latest: Option<(i64, Option<Subject>)>,
}

impl Subjects {
    /// The place of the subjects that some fields make.
    pub(super) fn grouping(&mut self, fields: &[Field]) -> usize {
        let known = self.groupings.iter().position(|grouping| grouping.fields == fields);
        known.unwrap_or_else(|| {
            self.groupings.push(Grouping {
                fields: fields.to_vec(),
                by_name: HashMap::new(),
                kept_max: KEPT_MIN,
                latest: None,
            });
            self.groupings.len() - 1
        })
    }

    /// The subject of an event. `None` if it lacks a field: then it is of no group.
    pub(super) fn of(&mut self, grouping: usize, view: &EventView<'_>) -> Option<&Subject> {
        let latest = &self.groupings[grouping].latest;
        if latest.as_ref().is_none_or(|(event, _)| *event != view.id()) {
            let subject = self.find(grouping, view);
            self.groupings[grouping].latest = Some((view.id(), subject));
        }
        self.groupings[grouping].latest.as_ref()?.1.as_ref()
    }

    fn find(&mut self, grouping: usize, view: &EventView<'_>) -> Option<Subject> {
        self.name.clear();
        for (place, field) in self.groupings[grouping].fields.iter().enumerate() {
            if place > 0 {
                self.name.push('\0');
            }
            self.name.push_str(&view.value(field)?);
        }
        if let Some(subject) = self.groupings[grouping].by_name.get(&self.name) {
            return Some(subject.clone());
        }
        let values = values(&self.groupings[grouping].fields, view)?;
        Some(self.add(grouping, values))
    }

    pub(super) fn len(&self) -> usize {
        self.groupings.iter().map(|grouping| grouping.by_name.len()).sum()
    }

    /// Forgets the subjects without a group.
    pub(super) fn forget_unused(&mut self) {
        self.groupings.iter_mut().for_each(Grouping::forget_unused);
    }

    /// The subject with these values.
    pub(super) fn with(&mut self, grouping: usize, values: Vec<String>) -> Subject {
        let known = self.groupings[grouping].by_name.get(&values.join("\0")).cloned();
        known.unwrap_or_else(|| self.add(grouping, values))
    }

    fn add(&mut self, grouping: usize, values: Vec<String>) -> Subject {
        self.last_id += 1;
        let grouping = &mut self.groupings[grouping];
        if grouping.by_name.len() >= grouping.kept_max {
            grouping.forget_unused();
        }
        let name = values.join("\0");
        let key = Arc::new(key(&grouping.fields, values));
        let subject = Subject { id: self.last_id, key };
        grouping.by_name.insert(name, subject.clone());
        subject
    }
}

impl Grouping {
    /// Forgets the subjects without a group.
    fn forget_unused(&mut self) {
        self.by_name.retain(|_, subject| Arc::strong_count(&subject.key) > 1);
        self.kept_max = KEPT_MIN.max(2 * self.by_name.len());
    }
}

/// The values of an event's fields. `None` if it lacks one.
pub(super) fn values(fields: &[Field], view: &EventView<'_>) -> Option<Vec<String>> {
    fields.iter().map(|field| Some(view.value(field)?.into_owned())).collect()
}

fn key(fields: &[Field], values: Vec<String>) -> GroupKey {
    let members = fields.iter().zip(&values);
    let members = members.map(|(field, value)| (field.to_string(), Value::from(value.as_str())));
    let json = Value::Object(members.collect::<Map<String, Value>>()).to_string();
    let hash = text_digest(&json).cast_signed();
    GroupKey { json, hash, values }
}
