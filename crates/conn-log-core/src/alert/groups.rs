//! The groups of one rule, and the queue of their deadlines.
//!
//! Most deadlines move with each event: those of a silence do. So the queue is not kept up to date: a
//! group stands in it at its deadline or earlier, and moves when its time comes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use foldhash::HashMap;

use super::group::{Group, State};
use super::late::Known;
use super::output::GroupKey;
use super::rule::Rule;
use super::subjects::Subject;

/// So many stale entries of the queue do not matter.
const STALE_MIN: usize = 1_024;

#[derive(Debug, Default)]
pub(super) struct Groups {
    /// By the numbers of their subjects.
    all: HashMap<u64, Group>,
    /// The earliest first.
    queue: BinaryHeap<Reverse<(i64, u64)>>,
    observations: usize,
}

impl Groups {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The observations of all groups.
    pub(super) fn observations(&self) -> usize {
        self.observations
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut Group> {
        self.all.get_mut(&id)
    }

    pub(super) fn get(&self, id: u64) -> Option<&Group> {
        self.all.get(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Group)> {
        self.all.iter().map(|(id, group)| (*id, group))
    }

    /// The group of a subject, which is new if there is none.
    pub(super) fn of(&mut self, subject: &Subject, rule: &Rule, clock: i64) -> &mut Group {
        self.all.entry(subject.id).or_insert_with(|| Group {
            key: Arc::clone(&subject.key),
            state: State::of(rule),
            known: Known::default(),
            touched: clock,
            queued: None,
        })
    }

    /// Changes a group, and keeps count of its observations.
    pub(super) fn change<T>(&mut self, id: u64, change: impl FnOnce(&mut Group) -> T) -> Option<T> {
        let group = self.all.get_mut(&id)?;
        let before = group.state.len();
        let changed = change(group);
        self.observations = self.observations + group.state.len() - before;
        Some(changed)
    }

    /// Gives all groups the numbers that their subjects have elsewhere.
    pub(super) fn renumber(&mut self, mut subject: impl FnMut(&GroupKey) -> Subject) {
        self.queue.clear();
        for (_, mut group) in std::mem::take(&mut self.all) {
            let subject = subject(&group.key);
            let deadline = group.queued.take();
            group.key = subject.key;
            self.all.insert(subject.id, group);
            self.queue(subject.id, deadline);
        }
    }

    pub(super) fn remove(&mut self, id: u64) {
        if let Some(group) = self.all.remove(&id) {
            self.observations -= group.state.len();
        }
    }

    /// Keeps the groups that are wanted.
    pub(super) fn retain(&mut self, mut is_wanted: impl FnMut(&mut Group) -> bool) {
        let mut observations = 0;
        self.all.retain(|_, group| {
            let is_wanted = is_wanted(group);
            observations += if is_wanted { group.state.len() } else { 0 };
            is_wanted
        });
        self.observations = observations;
    }

    /// Queues a group whose deadline may have moved.
    pub(super) fn queue(&mut self, id: u64, deadline: Option<i64>) {
        if let (Some(group), Some(deadline)) = (self.all.get_mut(&id), deadline)
            && group.queued.is_none_or(|queued| deadline < queued)
        {
            group.queued = Some(deadline);
            self.queue.push(Reverse((deadline, id)));
            if self.queue.len() > 2 * self.all.len() + STALE_MIN {
                self.forget_stale();
            }
        }
    }

    /// Takes out what groups that were given up have left in the queue.
    fn forget_stale(&mut self) {
        let all = &self.all;
        self.queue
            .retain(|Reverse((at, id))| all.get(id).is_some_and(|group| group.queued == Some(*at)));
    }

    /// No deadline is earlier.
    pub(super) fn queued_first(&self) -> Option<i64> {
        self.queue.peek().map(|Reverse((at, _))| *at)
    }

    /// The next deadline: moves the groups at the front of the queue to where they belong.
    pub(super) fn next_deadline(&mut self, rule: &Rule) -> Option<i64> {
        while let Some(Reverse((at, id))) = self.queue.peek().copied() {
            let Some(group) = self.all.get_mut(&id).filter(|group| group.queued == Some(at)) else {
                // It was given up, or stands in the queue once more.
                self.queue.pop();
                continue;
            };
            // Nothing was due before that time.
            let deadline = group.state.deadline(rule, at - 1);
            if deadline.is_some_and(|deadline| deadline <= at) {
                return Some(at);
            }
            self.queue.pop();
            group.queued = None;
            self.queue(id, deadline);
        }
        None
    }

    /// Takes the groups with that deadline, which is the next one, out of the queue. They are in the
    /// order of their keys, whatever the order of their arrival.
    pub(super) fn due(&mut self, at: i64, rule: &Rule) -> Vec<u64> {
        let mut due = Vec::new();
        while self.next_deadline(rule).is_some_and(|next| next <= at) {
            let Some(Reverse((_, id))) = self.queue.pop() else { break };
            if let Some(group) = self.all.get_mut(&id) {
                group.queued = None;
                due.push((Arc::clone(&group.key), id));
            }
        }
        due.sort_by(|(one, _), (other, _)| one.values.cmp(&other.values));
        due.into_iter().map(|(_, id)| id).collect()
    }
}
