//! The evaluation of one log's rules: its state in memory, and its steps.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use conn_log_core::Timestamp;
use conn_log_core::alert::{Output, RuleHealth, Want, What};

use super::commit::{self, Commit};
use super::costs::{self, Costs};
use super::log_history::LogHistory;
use super::reading::{Reader, Reading};
use super::recall::{self, Known};
use super::slowed::Slowed;
use super::stand_back::{BEHIND_EVENTS, Meter, StandBack};
use super::strand::Strand;
use crate::clock::now;
use crate::control::alerts::StoredRule;
use crate::control::alerts::heads::Head;
use crate::engine::{AnyConnection, Engine, Position, Signals};
use crate::error::StoreError;
use crate::log::heads as log_heads;
use crate::log::span::Span;
use crate::observer::Observer;
use crate::tenant_id::TenantId;

/// Events of one step: with a hundred rules some milliseconds of work.
const STEP_EVENTS: i64 = 1_000;

/// While rules are far behind, changes of alerts are gathered before they are written: for at most
/// this time, and at most this many. A transaction for each step would hold up the writer.
const GATHERED_TIME_MAX: Duration = Duration::from_millis(100);
const GATHERED_CHANGES_MAX: usize = 1_000;

/// The rules of one log, and how far they have been evaluated.
pub(super) struct Evaluation {
    pub(super) revision: i64,
    rules: Vec<StoredRule>,
    known: HashMap<i64, Known>,
    /// The rules that keep up.
    main: Strand,
    /// The others; the first one has its turn next.
    slowed: Vec<Slowed>,
    /// The names of positions to delete.
    gone: Vec<String>,
    costs: Costs,
    stand_back: StandBack,
    last_alert: i64,
    /// What the rules that keep up have told, and is not written yet.
    gathered: Output,
    /// When it began to be gathered.
    gathered_since: Instant,
}

/// What a step found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stepped {
    /// There may be more to do at once.
    More,
    /// The rules stand back: there is more to do, but not now.
    Back,
    /// Nothing is left to do until a commit or that deadline.
    Idle(Option<Timestamp>),
    /// Another process, or another revision of the rules, has come in between.
    Lost,
}

/// How a rule fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleState {
    /// What it keeps, and what it read again.
    pub health: RuleHealth,
    /// Whether it goes on behind the other rules, because it costs too much.
    pub is_slowed: bool,
    /// Events of the log that it has not taken in.
    pub behind_events: i64,
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
    pub(super) meter: &'a dyn Meter,
}

impl Tools<'_> {
    fn reader<'b>(&'b mut self, rules: &'b HashMap<i64, Known>) -> Reader<'b> {
        Reader {
            connection: self.reader,
            tenant: self.tenant,
            time_max: self.engine.read_time_max(),
            plans: self.engine.plans_by_key(),
            rules,
        }
    }
}

impl Evaluation {
    pub(super) fn new(
        head: &Head,
        rules: Vec<StoredRule>,
        main: Strand,
        slowed: Vec<Slowed>,
        gone: Vec<String>,
    ) -> Self {
        let known = recall::known(&rules);
        Evaluation {
            revision: head.revision,
            rules,
            known,
            main,
            slowed,
            gone,
            costs: Costs::default(),
            stand_back: StandBack::new(Duration::ZERO),
            last_alert: head.alerts,
            gathered: Output::default(),
            gathered_since: Instant::now(),
        }
    }

    /// The same, and the rules stand back for at most that long.
    pub(super) fn standing_back_for(self, wait_max: Duration) -> Self {
        Evaluation { stand_back: StandBack::new(wait_max), ..self }
    }

    /// How the rules fare, by their ids, while the log has that size.
    pub(super) fn states(&self, size: i64) -> HashMap<i64, RuleState> {
        let of = |rule: &StoredRule| {
            let slowed = self.slowed.iter().find(|slowed| slowed.rule == rule.id);
            let strand = slowed.map_or(&self.main, |slowed| &slowed.strand);
            let state = RuleState {
                health: strand.watch.health(rule.id),
                is_slowed: slowed.is_some(),
                behind_events: size - strand.watermark,
            };
            (rule.id, state)
        };
        self.rules.iter().map(of).collect()
    }

    pub(super) fn groups(&self) -> usize {
        self.main.watch.groups() + self.slowed.iter().map(Slowed::groups).sum::<usize>()
    }

    /// The memory of the rules that are slowed.
    fn bytes_slowed(&self) -> usize {
        self.slowed.iter().map(|slowed| slowed.strand.watch.bytes()).sum()
    }

    /// The last id that the rules have taken in that keep up.
    pub(super) fn watermark(&self) -> i64 {
        self.main.watermark
    }

    /// Takes in the next events, or judges deadlines if there are none.
    ///
    /// # Errors
    /// The evaluation must be recalled afterwards.
    pub(super) fn step(&mut self, tools: &mut Tools<'_>) -> Result<Stepped, StoreError> {
        let log = log_heads::bounds(tools.reader, tools.tenant)?;
        let from = self.main.watermark.max(log.first_id - 1);
        if from >= log.size || self.main.watch.rules().next().is_none() {
            self.main.watermark = from.max(log.size);
            if !self.write_gathered(tools)? {
                return Ok(Stepped::Lost);
            }
            return self.judge(tools);
        }
        let begun = tools.meter.now();
        if !self.may_go(tools, begun, (log.size, from)) {
            return Ok(Stepped::Back);
        }
        let stepped = self.take(tools, from, log.size)?;
        self.stand_back.note_work(tools.meter.now().saturating_sub(begun));
        Ok(stepped)
    }

    /// Takes in the events after `from` of a log of that size.
    fn take(&mut self, tools: &mut Tools<'_>, from: i64, size: i64) -> Result<Stepped, StoreError> {
        let (groups, bytes) = (self.groups() - self.main.watch.groups(), self.bytes_slowed());
        self.main.watch.leave_room(groups, bytes);
        if self.gathered.changes.is_empty() {
            self.main.watch.tidy();
        }
        let span = Span { first: from + 1, last: size.min(from + STEP_EVENTS) };
        let records = recall::read(tools.reader, tools.tenant, span)?;
        let wants = self.main.watch.wants(&records);
        // A late event's neighbourhood is read with its alerts from the table, so the gathered changes
        // must be there first.
        if !wants.is_empty() && !self.write_gathered(tools)? {
            return Ok(Stepped::Lost);
        }
        let slowed = self.hand_over(tools, from, wants)?;
        let mut output = self.take_gathered();
        let mut reader = tools.reader(&self.known);
        let mut history = LogHistory::new(&mut reader);
        for record in &records {
            self.main.watch.take(record, &mut history, &mut output)?;
        }
        self.main.watermark = span.last;
        self.costs.add(self.main.watch.spent());
        if size - span.last >= BEHIND_EVENTS && slowed.is_empty() && self.may_gather(&output) {
            self.gathered = output;
        } else if !self.write(tools, None, output, &slowed)? {
            return Ok(Stepped::Lost);
        }
        let behind = if self.stand_back.excuses(span.last) { 0 } else { size - span.last };
        if let Some(rule) = self.costs.too_costly(behind) {
            let output = self.take_gathered();
            let position = self.slow(tools.tenant, rule, span.last);
            if !self.write(tools, None, output, &position)? {
                return Ok(Stepped::Lost);
            }
        }
        Ok(Stepped::More)
    }

    /// Whether the rules go on, that have taken in the events up to an id of a log of that size.
    fn may_go(&mut self, tools: &Tools<'_>, now: Duration, (size, taken): (i64, i64)) -> bool {
        let was_back = self.stand_back.is_back();
        let may_go = self.stand_back.may_go(tools.meter, now, (size, taken));
        if was_back == may_go {
            let (does, behind) = (if may_go { "go on" } else { "stand back" }, size - taken);
            log::debug!("the rules of tenant {} {does}, {behind} events behind", tools.tenant.0);
        }
        may_go
    }

    /// Whether more may be gathered before it is written.
    fn may_gather(&self, output: &Output) -> bool {
        output.changes.is_empty()
            || output.changes.len() < GATHERED_CHANGES_MAX
                && self.gathered_since.elapsed() < GATHERED_TIME_MAX
    }

    /// Takes what is gathered, to add to it.
    fn take_gathered(&mut self) -> Output {
        let gathered = std::mem::take(&mut self.gathered);
        if gathered.changes.is_empty() {
            self.gathered_since = Instant::now();
            return Output::after(self.last_alert);
        }
        gathered
    }

    /// Writes what the rules that keep up have told, if it is time to write anything. Returns false if
    /// something has come in between.
    pub(super) fn write_gathered(&mut self, tools: &mut Tools<'_>) -> Result<bool, StoreError> {
        let output = self.take_gathered();
        self.write(tools, None, output, &[])
    }

    /// Reads what the next events need of the log and hands it over. A rule that needs too much of it
    /// is slowed. Returns the positions of these rules.
    fn hand_over(
        &mut self,
        tools: &mut Tools<'_>,
        from: i64,
        wants: Vec<Want>,
    ) -> Result<Vec<Position>, StoreError> {
        let mut by_rule: Vec<(i64, Vec<Want>)> = Vec::new();
        for want in wants {
            match by_rule.last_mut().filter(|(rule, _)| *rule == want.rule) {
                Some((_, wants)) => wants.push(want),
                None => by_rule.push((want.rule, vec![want])),
            }
        }
        let mut slowed = Vec::new();
        let (mut reads, mut events, begun) = (0, 0, Instant::now());
        for (rule, wants) in by_rule {
            reads += wants.len();
            let is_cheap = wants.len() <= costs::READS_MAX && reads <= costs::READS_OF_ALL_MAX;
            let read_begun = Instant::now();
            let readings = if is_cheap {
                let until = begun + costs::READ_TIME_MAX;
                self.read_all(tools, wants, costs::EVENTS_READ_MAX - events, until)?
            } else {
                None
            };
            self.costs.add([(rule, read_begun.elapsed())]);
            match readings {
                Some(readings) => {
                    for reading in readings {
                        events += reading.len();
                        reading.grant(&mut self.main.watch);
                    }
                }
                None => slowed.extend(self.slow(tools.tenant, rule, from)),
            }
        }
        Ok(slowed)
    }

    /// Reads all of that. `None` if it is more than so many events, or takes too long.
    fn read_all(
        &self,
        tools: &mut Tools<'_>,
        wants: Vec<Want>,
        events_max: usize,
        until: Instant,
    ) -> Result<Option<Vec<Reading>>, StoreError> {
        let (mut events, mut readings) = (0, Vec::new());
        let now = now();
        for want in wants {
            let mut reading = Reading::new(want, now);
            while !reading.is_done() {
                let mut reader = tools.reader(&self.known);
                reading.advance(&mut reader, &self.main.watch)?;
                if Instant::now() >= until || events + reading.len() > events_max {
                    return Ok(None);
                }
            }
            events += reading.len();
            readings.push(reading);
        }
        Ok(Some(readings))
    }

    /// Lets a rule go on behind the others. Returns its position, which must be written before
    /// anything else.
    fn slow(&mut self, tenant: TenantId, rule: i64, watermark: i64) -> Vec<Position> {
        let version = self.known.get(&rule).map_or(0, |known| known.version);
        let Some(watch) = self.main.watch.release(rule) else { return Vec::new() };
        log::warn!(
            "rule {rule} of tenant {} costs too much, and goes on behind the others",
            tenant.0
        );
        let strand = Strand::of_rule((rule, version), watch, watermark, None);
        self.gone.retain(|name| *name != strand.name);
        let position = strand.position(tenant);
        self.slowed.push(Slowed::new(rule, strand));
        vec![position]
    }

    /// Lets one of the rules that are slowed go on for that long. Returns whether any has more to do.
    ///
    /// # Errors
    /// The evaluation must be recalled afterwards.
    pub(super) fn step_slowed(
        &mut self,
        tools: &mut Tools<'_>,
        time: Duration,
    ) -> Result<Stepped, StoreError> {
        if self.slowed.is_empty() {
            return Ok(Stepped::Idle(None));
        }
        self.slowed.rotate_left(1);
        let (first_id, last) =
            (log_heads::bounds(tools.reader, tools.tenant)?.first_id, self.main.watermark);
        let (groups, bytes) = (self.groups(), self.main.watch.bytes() + self.bytes_slowed());
        let mut output = Output::after(self.last_alert);
        let Some(slowed) = self.slowed.first_mut() else { return Ok(Stepped::Idle(None)) };
        let watch = &mut slowed.strand.watch;
        watch.leave_room(groups - watch.groups(), bytes - watch.bytes());
        let mut reader = tools.reader(&self.known);
        slowed.advance(&mut reader, (first_id, last), Instant::now() + time, &mut output)?;
        if !self.write(tools, Some(0), output, &[])? {
            return Ok(Stepped::Lost);
        }
        let Some(place) = self.slowed.iter().position(|slowed| slowed.is_at(last)) else {
            return Ok(Stepped::More);
        };
        // It has caught up.
        let slowed = self.slowed.remove(place);
        log::info!("rule {} of tenant {} has caught up", slowed.rule, tools.tenant.0);
        self.gone.push(slowed.strand.name);
        self.main.watch.adopt(slowed.strand.watch);
        if !self.write(tools, None, Output::after(self.last_alert), &[])? {
            return Ok(Stepped::Lost);
        }
        Ok(Stepped::More)
    }

    /// Judges what is due while the log is idle.
    fn judge(&mut self, tools: &mut Tools<'_>) -> Result<Stepped, StoreError> {
        let due = self.main.watch.next_deadline().filter(|due| *due <= tools.now);
        let mut output = Output::after(self.last_alert);
        if due.is_some() {
            // From here on no event can be stored at a time that is judged.
            let watermark = self.main.watermark;
            if !commit::advance_clock(tools.engine, tools.tenant, watermark, tools.now)? {
                return Ok(Stepped::More);
            }
            self.main.watch.judge_until(tools.now, &mut output);
        }
        if !self.write(tools, None, output, &[])? {
            return Ok(Stepped::Lost);
        }
        Ok(Stepped::Idle(self.main.watch.next_deadline()))
    }

    /// Writes alerts and the watermark of a strand, if it is time to: of the rules that keep up, or
    /// of a slowed one. Returns false if something has come in between.
    fn write(
        &mut self,
        tools: &mut Tools<'_>,
        slowed: Option<usize>,
        output: Output,
        positions: &[Position],
    ) -> Result<bool, StoreError> {
        let strand = match slowed.and_then(|place| self.slowed.get_mut(place)) {
            Some(slowed) => &mut slowed.strand,
            None => &mut self.main,
        };
        let has_news = !output.changes.is_empty() || !positions.is_empty();
        if !has_news && self.gone.is_empty() && !strand.is_worth_writing() {
            return Ok(true);
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
            position: strand.position(tools.tenant),
            stored: strand.stored,
            slowed: positions.to_vec(),
            gone: self.gone.clone(),
            changes: commit::prepare(tools.reader, tools.tenant, &self.rules, output.changes)?,
        };
        let last_alert = commit.last_alert;
        let is_written = commit.run(tools.engine)?;
        if is_written {
            strand.is_stored();
            for slowed in &mut self.slowed {
                if positions.iter().any(|position| position.name == slowed.strand.name) {
                    slowed.strand.is_stored();
                }
            }
            self.gone.clear();
            self.last_alert = last_alert;
            self.report(tools, &opened);
            if is_told {
                // Streams and webhooks read the outbox.
                tools.signals.wake_for_alert_change(tools.tenant);
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
