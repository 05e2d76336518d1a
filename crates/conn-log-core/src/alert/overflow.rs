//! Too many groups: the quiet ones are given up, and an alert says so.

use std::sync::Arc;

use super::context::Context;
use super::episode::{Episode, Mark};
use super::finder::slot_of;
use super::output::{GroupKey, Output, What};
use super::view::{EventView, text_digest};
use super::watcher::{WatchedRule, Watcher};

/// The group of the alert that tells of too many groups.
pub const OVERFLOW_GROUP: &str = r#"{"overflow":"groups"}"#;

/// The groups that were given up.
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

    /// Gives up so many groups of all rules, those that were quiet for longest. `by` is the rule
    /// that looked at the event.
    pub(super) fn give_up(
        &mut self,
        count: usize,
        watchers: &mut [Watcher],
        by: usize,
        view: &EventView<'_>,
        output: &mut Output,
    ) {
        let quiet = quietest(watchers, count);
        for (place, id) in &quiet {
            watchers[*place].groups.remove(*id);
        }
        let count = quiet.len() as u64;
        self.given_up += count;
        if !output.is_muted {
            self.tell(&watchers[by].watched, view, count, output);
        }
    }

    /// One alert a day says that groups were given up.
    fn tell(
        &mut self,
        watched: &WatchedRule,
        view: &EventView<'_>,
        count: u64,
        output: &mut Output,
    ) {
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

/// The places of the rules and the numbers of so many groups that may be given up. The order of
/// groups of one moment does not depend on when they came.
fn quietest(watchers: &[Watcher], count: usize) -> Vec<(usize, u64)> {
    let mut all: Vec<(i64, usize, &GroupKey, u64)> = Vec::new();
    for (place, watcher) in watchers.iter().enumerate() {
        all.extend(watcher.unprotected().map(|(touched, key, id)| (touched, place, key, id)));
    }
    if count < all.len() {
        all.select_nth_unstable_by(count, |one, other| {
            let order = (one.0, one.1).cmp(&(other.0, other.1));
            order.then_with(|| one.2.values.cmp(&other.2.values))
        });
        all.truncate(count);
    }
    all.into_iter().map(|(_, place, _, id)| (place, id)).collect()
}
