//! The evaluation of one log's rules: its state in memory, and its steps.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use conn_log_core::Timestamp;
use conn_log_core::alert::{Output, RuleHealth, Watch, What};

use super::commit::{self, Commit};
use super::log_history::LogHistory;
use super::recall::{self, Known};
use crate::clock::now;
use crate::control::alerts::StoredRule;
use crate::control::alerts::heads::Head;
use crate::engine::{AnyConnection, Engine, Signals};
use crate::error::StoreError;
use crate::log::heads as log_heads;
use crate::log::span::Span;
use crate::observer::Observer;
use crate::tenant_id::TenantId;

/// Events of one step: with a hundred rules some milliseconds of work.
const STEP_EVENTS: i64 = 1_000;

/// The watermark is written at least after so many events without an alert, or this time. After a
/// crash these events are evaluated again, with the same result.
const UNWRITTEN_EVENTS_MAX: i64 = 20_000;
const UNWRITTEN_TIME_MAX: Duration = Duration::from_secs(2);

/// The rules of one log, and how far they have been evaluated.
pub(super) struct Evaluation {
    pub(super) revision: i64,
    rules: Vec<StoredRule>,
    known: HashMap<i64, Known>,
    watch: Watch,
    watermark: i64,
    /// The watermark in the table; `None` if there is none.
    stored: Option<i64>,
    stored_at: Instant,
    last_alert: i64,
}

/// What a step found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stepped {
    /// There may be more to do at once.
    More,
    /// Nothing is left to do until a commit or that deadline.
    Idle(Option<Timestamp>),
    /// Another process, or another revision of the rules, has come in between.
    Lost,
}

/// The tools of a step.
pub(super) struct Tools<'a> {
    pub(super) engine: &'a Engine,
    pub(super) reader: &'a mut AnyConnection,
    pub(super) tenant: TenantId,
    pub(super) holder: &'a str,
    pub(super) now: Timestamp,
    pub(super) signals: &'a Signals,
    pub(super) observer: Option<&'a dyn Observer>,
}

impl Evaluation {
    pub(super) fn new(
        head: &Head,
        rules: Vec<StoredRule>,
        watch: Watch,
        watermark: i64,
        stored: Option<i64>,
    ) -> Self {
        let known = recall::known(&rules);
        Evaluation {
            revision: head.revision,
            rules,
            known,
            watch,
            watermark,
            stored,
            stored_at: Instant::now(),
            last_alert: head.alerts,
        }
    }

    /// The rules' health, by their ids.
    pub(super) fn health(&self) -> HashMap<i64, RuleHealth> {
        self.rules.iter().map(|rule| (rule.id, self.watch.health(rule.id))).collect()
    }

    pub(super) fn groups(&self) -> usize {
        self.watch.groups()
    }

    pub(super) fn watermark(&self) -> i64 {
        self.watermark
    }

    /// Takes in the next events, or judges deadlines if there are none.
    ///
    /// # Errors
    /// The evaluation must be recalled afterwards.
    pub(super) fn step(&mut self, tools: &mut Tools<'_>) -> Result<Stepped, StoreError> {
        let log = log_heads::bounds(tools.reader, tools.tenant)?;
        let from = self.watermark.max(log.first_id - 1);
        if from >= log.size {
            self.watermark = from;
            return self.judge(tools);
        }
        self.watch.tidy();
        let span = Span { first: from + 1, last: log.size.min(from + STEP_EVENTS) };
        let records = recall::read(tools.reader, tools.tenant, span)?;
        let mut output = Output::after(self.last_alert);
        for record in &records {
            let mut history = LogHistory {
                connection: tools.reader,
                tenant: tools.tenant,
                time_max: tools.engine.read_time_max(),
                plans: tools.engine.plans_by_key(),
                rules: &self.known,
            };
            self.watch.take(record, &mut history, &mut output)?;
        }
        self.watermark = span.last;
        let is_written = self.write(tools, output)?;
        Ok(if is_written { Stepped::More } else { Stepped::Lost })
    }

    /// Judges what is due while the log is idle.
    fn judge(&mut self, tools: &mut Tools<'_>) -> Result<Stepped, StoreError> {
        let due = self.watch.next_deadline().filter(|due| *due <= tools.now);
        if due.is_some() {
            // From here on no event can be stored at a time that is judged.
            if !commit::advance_clock(tools.engine, tools.tenant, self.watermark, tools.now)? {
                return Ok(Stepped::More);
            }
            let mut output = Output::after(self.last_alert);
            self.watch.judge_until(tools.now, &mut output);
            if !self.write(tools, output)? {
                return Ok(Stepped::Lost);
            }
        } else if !self.write(tools, Output::after(self.last_alert))? {
            return Ok(Stepped::Lost);
        }
        Ok(Stepped::Idle(self.watch.next_deadline()))
    }

    /// Writes alerts and watermark, if it is time to. Returns false if something has come in
    /// between.
    fn write(&mut self, tools: &mut Tools<'_>, output: Output) -> Result<bool, StoreError> {
        if output.changes.is_empty() {
            let unwritten = self.watermark - self.stored.unwrap_or(0);
            let is_first = self.stored.is_none();
            let is_time = self.stored_at.elapsed() >= UNWRITTEN_TIME_MAX && unwritten > 0;
            if !is_first && !is_time && unwritten < UNWRITTEN_EVENTS_MAX {
                return Ok(true);
            }
        }
        let opened: Vec<(i64, i64)> = output
            .changes
            .iter()
            .filter(|change| change.what == What::Opened)
            .map(|change| (change.rule, change.at))
            .collect();
        let is_told = !output.changes.is_empty();
        let commit = Commit {
            tenant: tools.tenant,
            holder: tools.holder.to_owned(),
            revision: self.revision,
            known_alerts: self.last_alert,
            last_alert: output.last_alert,
            stored: self.stored,
            watermark: self.watermark,
            changes: commit::prepare(tools.reader, tools.tenant, &self.rules, output.changes)?,
        };
        let last_alert = commit.last_alert;
        let is_written = commit.run(tools.engine)?;
        if is_written {
            self.stored = Some(self.watermark);
            self.stored_at = Instant::now();
            self.last_alert = last_alert;
            self.report(tools, &opened);
            if is_told {
                // Streams and webhooks read the outbox.
                tools.signals.wake();
            }
        }
        Ok(is_written)
    }

    /// Reports new alerts: their rules, and the times of the log's clock at which they were found.
    fn report(&self, tools: &Tools<'_>, opened: &[(i64, i64)]) {
        let Some(observer) = tools.observer else { return };
        let now = now().micros();
        for (id, at) in opened {
            if let Some(rule) = self.rules.iter().find(|rule| rule.id == *id) {
                let (kind, severity) = (rule.rule.kind().name(), rule.rule.severity().name());
                let delay = Duration::from_micros((now - at).max(0).unsigned_abs());
                observer.alert_opened(kind, severity, delay);
            }
        }
    }
}
