//! Too many groups, or too much memory: quiet groups are given up, busy ones are cut, and an alert
//! says so.

use std::sync::Arc;

use super::context::Context;
use super::episode::{Episode, Mark};
use super::finder::slot_of;
use super::output::{GroupKey, Output, What};
use super::view::{EventView, text_digest};
use super::watcher::{WatchedRule, Watcher};

/// The group of the alert that tells of too many groups.
pub const OVERFLOW_GROUP: &str = r#"{"overflow":"groups"}"#;

/// A group with fewer observations is not cut.
const CUT_FROM: usize = 1_024;

/// The groups that were given up or cut.
#[derive(Debug, Default)]
pub(super) struct Overflow {
    /// The alert of the day that tells of it, and the number of the rule that it is of.
    told: Option<(i64, Episode)>,
    pub(super) given_up: u64,
}

impl Overflow {
    /// Takes the alert that was told before.
    pub(super) fn remember(&mut self, rule: i64, episode: Episode) {
        self.told = Some((rule, episode));
    }

    /// Tells of so many groups. One alert a day does, and `watched` is the rule of a new one.
    pub(super) fn tell(
        &mut self,
        count: u64,
        watched: &WatchedRule,
        view: &EventView<'_>,
        output: &mut Output,
    ) {
        self.given_up += count;
        if output.is_muted {
            return;
        }
        let time = view.created_at().micros();
        let slot = slot_of(time);
        let group = Arc::new(GroupKey {
            json: OVERFLOW_GROUP.to_owned(),
            hash: text_digest(OVERFLOW_GROUP).cast_signed(),
            values: Vec::new(),
        });
        let known = self.told.take().filter(|(_, episode)| episode.slot == slot);
        let number = known.as_ref().map_or(watched.number, |(number, _)| *number);
        let mut context = Context {
            number,
            event: view.id(),
            ..Context::at(watched, &group, (time, i64::MIN), output)
        };
        let mark = Mark { time, digest: view.digest(), id: view.id() };
        let episode = match known {
            Some((_, mut episode)) => {
                episode.count += count;
                episode.end = time;
                episode.last = vec![mark];
                let is_told = episode.is_told();
                context.tell(What::Extended { is_told }, &episode);
                episode
            }
            None => {
                let mut episode = context.open(slot, mark, view.id());
                (episode.count, episode.told) = (count, (count, time));
                context.tell(What::Opened, &episode);
                episode
            }
        };
        self.told = Some((number, episode));
    }
}

/// Gives up so many groups of all rules, those that were quiet for longest. Groups half way to an alert
/// are among them only if it `is_urgent`. Returns how many there were.
pub(super) fn give_up_quietest(watchers: &mut [Watcher], count: usize, is_urgent: bool) -> u64 {
    let mut all: Vec<(i64, usize, &GroupKey, u64)> = Vec::new();
    for (place, watcher) in watchers.iter().enumerate() {
        all.extend(
            watcher.unprotected(is_urgent).map(|(touched, key, id)| (touched, place, key, id)),
        );
    }
    if count < all.len() {
        // The order of groups of one moment does not depend on when they came.
        all.select_nth_unstable_by(count, |one, other| {
            let order = (one.0, one.1).cmp(&(other.0, other.1));
            order.then_with(|| one.2.values.cmp(&other.2.values))
        });
        all.truncate(count);
    }
    let quiet: Vec<(usize, u64)> = all.into_iter().map(|(_, place, _, id)| (place, id)).collect();
    for (place, id) in &quiet {
        watchers[*place].groups.remove(*id);
    }
    quiet.len() as u64
}

/// Has the groups with the most observations forget their earlier half, until so many are forgotten.
/// A later hit of such a group may have fewer events than there were. Returns how many groups those
/// were.
pub(super) fn cut_busiest(watchers: &mut [Watcher], count: usize) -> u64 {
    let mut all: Vec<(usize, usize, &GroupKey, u64)> = Vec::new();
    for (place, watcher) in watchers.iter().enumerate() {
        let busy = watcher.groups.iter().map(|(id, group)| (group.state.len(), &*group.key, id));
        let busy = busy.filter(|(len, ..)| *len >= CUT_FROM);
        all.extend(busy.map(|(len, key, id)| (len, place, key, id)));
    }
    all.sort_unstable_by(|one, other| {
        let order = (other.0, one.1).cmp(&(one.0, other.1));
        order.then_with(|| one.2.values.cmp(&other.2.values))
    });
    let mut forgotten = 0;
    let busy = all.into_iter().take_while(|(len, ..)| {
        let is_wanted = forgotten < count;
        forgotten += len / 2;
        is_wanted
    });
    let busy: Vec<(usize, u64)> = busy.map(|(_, place, _, id)| (place, id)).collect();
    for (place, id) in &busy {
        watchers[*place].groups.change(*id, |group| {
            group.state.cut();
            // What was read again may be among what is forgotten.
            group.known.forget_before(i64::MAX);
        });
    }
    busy.len() as u64
}
