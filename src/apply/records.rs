//! Applying to a target record by record: in the plan's order, several at a time where none needs another.
//!
//! Hides journal and concurrency, ids that become known on the way (a reference to a record this plan creates reads
//! `new:KEY` until then), the second pass that reference cycles need, and the proof by the first record of each type
//! that the target keeps what it is sent. Deliberately repeats nothing: whether a request may be sent again is the
//! target's business, and whether a change is still wanted the next plan's.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::Ordering;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;

use super::look::{self, Looker, Verdict};
use super::{Sink, TypeOutcome, Watch, as_read_back, reason, stopped_on_request};
use crate::crash;
use crate::error::{Error, Exit, Result};
use crate::ledger::{Became, EntryId, Intent, Ledger, RunId, UnfinishedChange};
use crate::plan::Plan;
use crate::plan::change::{Action, AttributeChange, Change, Current, Held, TypeSpec};
use crate::plan::datum::{Datum, Set};
use crate::record::Key;
use crate::target::{Capabilities, Outcome, Sent, WriteRecords};

/// Of a create that nobody can say whether it arrived.
const UNKNOWN_YET: &str =
    "the target does not show yet whether it arrived, and it is not sent again before that is known";

/// What stands before the source key of a record that the plan creates, where its id is not known beforehand.
const NEW: &str = "new:";

/// How many changes of the plan's order are journalled together; as many second passes may go with them. A crash leaves
/// at most so many to look up.
const WAVE: usize = 64;

/// One application of a plan.
pub(super) struct Work<'a, 'w> {
    plan: &'a Plan,
    target: &'a dyn WriteRecords,
    capabilities: Capabilities,
    ledger: &'a mut Ledger,
    run: RunId,
    sink: &'a mut Sink,
    watch: &'a mut Watch<'w>,
    outcomes: Vec<TypeOutcome>,
    /// What the plan creates, by index of the type.
    made: HashMap<(usize, Key), Made>,
    /// Where in the order a value becomes free that no two records may have: of the type, by attribute and value.
    freed: HashMap<(usize, String, Datum), u32>,
    /// Types of which the plan deletes records.
    deletes: HashSet<usize>,
    /// Types of which a created record was read back, or is about to be.
    proven: HashSet<usize>,
    /// Creates to be read back once nothing is under way any more.
    to_prove: Vec<(usize, Change)>,
    /// What waits for records that come later in the order.
    second: VecDeque<Task>,
    /// How far each change has come, by its place in the plan's order.
    stages: Vec<Stage>,
    /// Places of the changes that may have reached the target.
    sent: HashSet<u32>,
    /// Sent, and the answer is not known: looked at once everything else is done.
    open: Vec<Lost>,
    /// Creates of earlier runs of which nobody knows yet whether they arrived; none of them is sent again.
    pending: Vec<UnfinishedChange>,
    /// Waves sent so far.
    waves: u32,
    /// What the target calls the record that was created last, and in which wave.
    latest: Option<(String, u32)>,
    /// Why nothing more is sent.
    stopped: Option<Error>,
}

/// A change that was sent and whose answer is not known.
struct Lost {
    id: EntryId,
    task: Task,
    intent: Intent,
    /// When it was given up, as a number of waves: what a later one created was created after it.
    wave: u32,
}

/// What became of a record that the plan creates.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Made {
    /// Not reached yet, or under way.
    ToCome,
    Done(String),
    /// Refused, uncertain or not attempted.
    Failed,
}

/// How far a change has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Not reached yet, or under way.
    ToCome,
    /// Written but for its second pass.
    Begun,
    /// Has its outcome.
    Accounted,
}

/// One change on its way.
struct Task {
    /// Of the type in the plan's header.
    ty: usize,
    /// Place in the plan's order.
    at: u32,
    change: Change,
    /// Attributes that refer to records still to come: written in a second pass, which belongs to the same outcome.
    later: Vec<(AttributeChange, Option<Held>)>,
    /// The action the plan shows; what is sent in the second pass is an update.
    shown: Action,
    second: bool,
}

impl<'a, 'w> Work<'a, 'w> {
    pub(super) fn new(
        plan: &'a Plan,
        target: &'a dyn WriteRecords,
        capabilities: Capabilities,
        ledger: &'a mut Ledger,
        run: RunId,
        sink: &'a mut Sink,
        watch: &'a mut Watch<'w>,
    ) -> Work<'a, 'w> {
        let outcome =
            |ty: &crate::plan::TypeSummary| TypeOutcome { ty: ty.spec.name.clone(), ..TypeOutcome::default() };
        Work {
            plan,
            target,
            capabilities,
            ledger,
            run,
            sink,
            watch,
            outcomes: plan.header.types.iter().map(outcome).collect(),
            made: HashMap::new(),
            freed: HashMap::new(),
            deletes: HashSet::new(),
            proven: HashSet::new(),
            to_prove: Vec::new(),
            second: VecDeque::new(),
            stages: vec![Stage::ToCome; plan.len()],
            sent: HashSet::new(),
            open: Vec::new(),
            pending: Vec::new(),
            waves: 0,
            latest: None,
            stopped: None,
        }
    }

    /// Sends everything, and accounts for each change once.
    pub(super) async fn run(mut self) -> Result<(Vec<TypeOutcome>, Option<Error>)> {
        if let Err(error) = self.work().await {
            self.give_up(error)?;
        }
        Ok((self.outcomes, self.stopped))
    }

    async fn work(&mut self) -> Result<()> {
        self.foresee()?;
        self.pending = self.ledger.unfinished_changes()?;
        let plan = self.plan;
        let mut wave: Vec<Task> = Vec::new();
        let mut of_ledger: Vec<Task> = Vec::new();
        let mut removing = false;
        for (at, entry) in (0u32..).zip(plan.typed_changes()) {
            let mut task = Task::new(at, entry?);
            if !sends(&task.change) {
                of_ledger.push(task);
                continue;
            }
            if let Some(reason) = self.may_have_arrived(&task) {
                self.account(&task, Outcome::Uncertain { reason })?;
                continue;
            }
            if removes(task.change.action) && !removing {
                // What refers must be complete before anything it may have referred to goes.
                removing = true;
                self.flush(&mut wave).await?;
                self.second_pass().await?;
            }
            if self.must_wait(&wave, &task) {
                self.flush(&mut wave).await?;
            }
            match self.resolve(&mut task) {
                Ok(()) => {
                    self.park(&mut task);
                    wave.push(task);
                }
                Err(why) => self.account(&task, Outcome::NotAttempted { reason: why })?,
            }
        }
        self.flush(&mut wave).await?;
        self.second_pass().await?;
        self.look_at_open().await?;
        self.write_of_ledger(of_ledger)
    }

    /// The ledger (or a temporary file) failed under way. Target and journal stand as after a crash, and the next run
    /// settles them; until then every change gets the outcome that can be answered for.
    fn give_up(&mut self, error: Error) -> Result<()> {
        let why = reason(&error);
        self.stopped = Some(error);
        for mut task in std::mem::take(&mut self.second) {
            task.second = true;
            task.change.attributes = std::mem::take(&mut task.later).into_iter().map(|(written, _)| written).collect();
            self.account(&task, Outcome::NotAttempted { reason: why.clone() })?;
        }
        let plan = self.plan;
        for (at, entry) in (0u32..).zip(plan.typed_changes()) {
            if self.stages[at as usize] == Stage::Accounted {
                continue;
            }
            let outcome = match self.sent.contains(&at) {
                true => Outcome::Uncertain { reason: format!("sent, but not recorded ({why}); the next run looks") },
                false => Outcome::NotAttempted { reason: why.clone() },
            };
            self.account(&Task::new(at, entry?), outcome)?;
        }
        Ok(())
    }

    fn spec(&self, ty: usize) -> &'a TypeSpec {
        &self.plan.header.types[ty].spec
    }

    /// Notes what the plan creates, so that a reference is known to wait for it, and which values it frees.
    fn foresee(&mut self) -> Result<()> {
        for (at, entry) in (0u32..).zip(self.plan.typed_changes()) {
            let (ty, change) = entry?;
            for (_, written) in self.spec(ty).unique(&change).filter(|(_, written)| !written.before.is_empty()) {
                self.freed.insert((ty, written.name.clone(), written.before.clone()), at);
            }
            match change.action {
                Action::Create => drop(self.made.insert((ty, change.key), Made::ToCome)),
                Action::Delete => drop(self.deletes.insert(ty)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Why a create would perhaps make its record a second time.
    fn may_have_arrived(&self, task: &Task) -> Option<String> {
        let Change { action, ty, key, .. } = &task.change;
        let same = |intent: &Intent| intent.change.ty == *ty && intent.change.key == *key;
        let mut pending = self.pending.iter().filter(|pending| *action == Action::Create && same(&pending.intent));
        pending.next().map(|pending| format!("run {} sent it and got no answer; {UNKNOWN_YET}", pending.run))
    }

    /// Whether the changes gathered so far must be done before this one may be sent.
    fn must_wait(&self, wave: &[Task], task: &Task) -> bool {
        let Some(last) = wave.last() else { return false };
        let proves = |task: &Task| task.change.action == Action::Create && !self.proven.contains(&task.ty);
        let kind = |task: &Task| (task.ty, removes(task.change.action));
        let refers_into = || {
            let spec = self.spec(task.ty);
            let new = references(spec, &task.change).filter_map(|(ty, text)| Some((ty, text.strip_prefix(NEW)?)));
            let mut new = new.map(|(ty, key)| (ty, Key::parse(key)));
            new.any(|(to, key)| {
                wave.iter().any(|other| {
                    other.change.action == Action::Create && other.change.key == key && self.spec(other.ty).name == to
                })
            })
        };
        // A value that no two may have is taken once it is free.
        let takes = || {
            let spec = self.spec(task.ty);
            spec.unique(&task.change).any(|(at, written)| {
                let frees = |(of, other): (usize, &AttributeChange)| of == at && other.before == written.after;
                wave.iter().any(|other| other.ty == task.ty && spec.unique(&other.change).any(frees))
            })
        };
        wave.len() >= WAVE || kind(last) != kind(task) || proves(last) || proves(task) || refers_into() || takes()
    }

    /// Puts ids in place of the records this plan created. Attributes that refer to one still to come are put off; a
    /// record that failed is left out of sets, and leaves a single reference as it is. Says why the change cannot be
    /// sent at all.
    fn resolve(&self, task: &mut Task) -> Result<(), String> {
        let spec = self.spec(task.ty);
        let change = &mut task.change;
        let mut kept = Vec::with_capacity(change.attributes.len());
        for mut written in std::mem::take(&mut change.attributes) {
            let at = spec.attributes.iter().position(|attribute| attribute.name == written.name);
            let to = at.and_then(|at| spec.attributes[at].reference.as_deref());
            let found = to.map_or(Reference::Known, |to| self.look_for(to, &mut written.after));
            let held = change.ledger.as_mut().and_then(|row| row.values.get_mut(&written.name));
            match found {
                Reference::Known => {
                    // Each for itself: what an undo writes is not what was settled, and of a set the ledger may
                    // hold less than stands there.
                    if let (Some(held), Some(to)) = (held, to) {
                        self.look_for(to, &mut held.applied);
                        self.look_for(to, &mut held.settled);
                    }
                    kept.push(written);
                }
                _ if at.is_some_and(|at| spec.key.contains(&at)) => {
                    return Err(format!("its {} was not created", written.name));
                }
                other => {
                    let held = change.ledger.as_mut().and_then(|row| row.values.remove(&written.name));
                    if other == Reference::ToCome {
                        task.later.push((written, held));
                    }
                }
            }
        }
        change.attributes = kept;
        Ok(())
    }

    /// A value that only a later change frees (two records swap theirs) is written in the second pass where the target
    /// lets no two records have it; until then the record has one that nobody else has. A target that takes no such
    /// text refuses both.
    fn park(&self, task: &mut Task) {
        if task.change.action == Action::Create {
            return;
        }
        let spec = self.spec(task.ty);
        let enforced: Vec<String> = self.enforced(spec, &task.change).map(|written| written.name.clone()).collect();
        let Change { key, attributes, ledger, .. } = &mut task.change;
        for written in attributes.iter_mut().filter(|written| enforced.contains(&written.name)) {
            let freed = self.freed.get(&(task.ty, written.name.clone(), written.after.clone()));
            let Some(text) = written.after.as_text().filter(|_| freed.is_some_and(|at| *at > task.at)) else {
                continue;
            };
            let parked = Datum::text(format!("{text} (swapped, {key})"));
            let held = ledger.as_mut().and_then(|row| row.values.get_mut(&written.name));
            // Settled with what nobody wants: should this run end here, the next one writes what is wanted.
            let parking = Held { applied: parked.clone(), settled: parked.clone() };
            let wanted = held.map(|held| std::mem::replace(held, parking));
            let second = AttributeChange { before: parked.clone(), ..written.clone() };
            written.after = parked;
            task.later.push((second, wanted));
        }
    }

    /// What a change writes that the target refuses as long as another record has it.
    fn enforced<'c>(&self, spec: &'c TypeSpec, change: &'c Change) -> impl Iterator<Item = &'c AttributeChange> {
        let keys = self.capabilities.unique_keys;
        let enforced = spec.unique(change).filter(move |(at, _)| keys || spec.attributes[*at].unique);
        enforced.map(|(_, written)| written)
    }

    /// What became of the record that a reference names, where the plan creates it.
    fn made(&self, to: &str, text: &str) -> Option<&Made> {
        let key = text.strip_prefix(NEW)?;
        let ty = self.outcomes.iter().position(|other| other.ty == to)?;
        // What the plan does not create after all (the target refused it lately) will not be there.
        Some(self.made.get(&(ty, Key::parse(key))).unwrap_or(&Made::Failed))
    }

    fn look_for(&self, to: &str, value: &mut Datum) -> Reference {
        let made = |text: &str| self.made(to, text);
        match value {
            Datum::One(text) => match made(text) {
                None => Reference::Known,
                Some(Made::ToCome) => Reference::ToCome,
                Some(Made::Failed) => Reference::Failed,
                Some(Made::Done(id)) => {
                    *value = Datum::text(id.as_str());
                    Reference::Known
                }
            },
            Datum::Set(set) => {
                if set.items.iter().any(|text| made(text) == Some(&Made::ToCome)) {
                    return Reference::ToCome;
                }
                let items = set.items.iter().filter_map(|text| match made(text) {
                    None => Some(text.clone()),
                    Some(Made::Done(id)) => Some(id.as_str().into()),
                    Some(_) => None,
                });
                *set = Set::new(items.collect(), set.maybe().to_vec(), set.rest().cloned());
                Reference::Known
            }
            Datum::Empty | Datum::Unknown(_) => Reference::Known,
        }
    }

    /// Sends what was gathered of the plan's order, and with it second passes that need wait no longer: they go at the pace
    /// of updates, which most targets count apart from creates.
    async fn flush(&mut self, wave: &mut Vec<Task>) -> Result<()> {
        let (mut ready, mut waiting) = (Vec::new(), VecDeque::new());
        for task in std::mem::take(&mut self.second) {
            match ready.len() < WAVE && self.is_ready(&task) {
                true => ready.push(task),
                false => waiting.push_back(task),
            }
        }
        self.second = waiting;
        let mut second = Vec::with_capacity(ready.len());
        for task in ready {
            second.extend(self.second_of(task)?);
        }
        self.send(mixed(std::mem::take(wave), second)).await
    }

    /// Whether everything is there that a second pass writes of, and every value free that it takes.
    fn is_ready(&self, task: &Task) -> bool {
        let spec = self.spec(task.ty);
        task.later.iter().all(|(written, _)| {
            let taken = (task.ty, written.name.clone(), written.after.clone());
            let is_free = self.freed.get(&taken).is_none_or(|at| self.stages[*at as usize] != Stage::ToCome);
            let mut to = refers_to(spec, written);
            is_free && !to.any(|(to, text)| self.made(to, text) == Some(&Made::ToCome))
        })
    }

    /// Journals the changes, sends them, and records each as its answer comes.
    async fn send(&mut self, wave: Vec<Task>) -> Result<()> {
        if wave.is_empty() {
            return Ok(());
        }
        self.look_for_stop();
        if let Some(error) = &self.stopped {
            let why = reason(error);
            return wave.iter().try_for_each(|task| self.account(task, Outcome::NotAttempted { reason: why.clone() }));
        }
        self.waves += 1;
        let at = self.watch.clock.now();
        let intent = |task: &Task| Intent { at, change: task.change.clone(), spec: self.spec(task.ty).clone() };
        let intents: Vec<Intent> = wave.iter().map(intent).collect();
        let ids = self.ledger.journal_changes(self.run, &intents)?;
        let mut waiting: VecDeque<(EntryId, Task, Intent)> =
            ids.into_iter().zip(wave).zip(intents).map(|((id, task), intent)| (id, task, intent)).collect();
        let mut flight: FuturesUnordered<BoxFuture<'a, (EntryId, Task, Intent, Sent)>> = FuturesUnordered::new();
        loop {
            self.look_for_stop();
            while self.stopped.is_none() && flight.len() < self.target.in_flight_max().max(1) {
                let Some((id, task, intent)) = waiting.pop_front() else { break };
                crash::point("before a record is sent");
                let (target, spec) = (self.target, self.spec(task.ty));
                self.sent.insert(task.at);
                flight.push(Box::pin(async move {
                    let sent = target.write(spec, &task.change).await;
                    (id, task, intent, sent)
                }));
            }
            let Some(first) = flight.next().await else { break };
            crash::point("after a record was sent");
            let mut answers = vec![first];
            while let Some(Some(answer)) = futures::FutureExt::now_or_never(flight.next()) {
                answers.push(answer);
            }
            self.record(answers)?;
        }
        // Not before: what is under way stands still while this waits, and may hold what this needs to go on.
        for (ty, change) in std::mem::take(&mut self.to_prove) {
            self.prove(ty, &change).await;
        }
        self.leave(waiting)
    }

    fn look_for_stop(&mut self) {
        if self.stopped.is_none() && self.watch.stop.load(Ordering::Relaxed) {
            self.stopped = Some(stopped_on_request("while records were being written"));
        }
    }

    /// What was journalled and is not sent any more.
    fn leave(&mut self, waiting: VecDeque<(EntryId, Task, Intent)>) -> Result<()> {
        self.ledger.end_changes(waiting.iter().map(|(id, ..)| (*id, None)).collect())?;
        let why = self.stopped.as_ref().map(reason).unwrap_or_default();
        waiting.iter().try_for_each(|(_, task, _)| self.account(task, Outcome::NotAttempted { reason: why.clone() }))
    }

    /// Takes answers into the ledger, all at once, and then into the books.
    fn record(&mut self, answers: Vec<(EntryId, Task, Intent, Sent)>) -> Result<()> {
        let mut ends = Vec::new();
        let mut finished = Vec::new();
        for (id, task, intent, Sent { outcome, lost }) in answers {
            if let Some(error) = lost {
                self.stopped.get_or_insert(error);
            }
            match &outcome {
                Outcome::Done { target_id, read_back } => {
                    ends.push((id, Some(as_read_back(&task.change, target_id.clone(), read_back.clone()))));
                    finished.push((task, outcome));
                }
                Outcome::Uncertain { .. } => self.open.push(Lost { id, task, intent, wave: self.waves }),
                Outcome::Rejected { .. } | Outcome::NotAttempted { .. } => {
                    ends.push((id, None));
                    finished.push((task, outcome));
                }
            }
        }
        self.ledger.end_changes(ends)?;
        for (task, outcome) in finished {
            self.finished(task, outcome)?;
        }
        Ok(())
    }

    /// A change whose end is known: what waits for it learns of it.
    fn finished(&mut self, task: Task, outcome: Outcome) -> Result<()> {
        let place = (task.ty, task.change.key.clone());
        if let (Outcome::Done { target_id, read_back }, Action::Create) = (&outcome, task.change.action) {
            self.made.insert(place, Made::Done(target_id.clone()));
            self.latest = Some((target_id.clone(), self.waves));
            if self.proven.insert(task.ty) {
                self.to_prove.push((task.ty, as_sent(&task.change, target_id, read_back)));
            }
        }
        if task.later.is_empty() || !matches!(outcome, Outcome::Done { .. }) {
            return self.account(&task, outcome);
        }
        self.stages[task.at as usize] = Stage::Begun;
        self.second.push_back(task);
        Ok(())
    }

    /// Reads the first record of a type back, and goes no further when a value that was sent is not there: better one
    /// wrong record than ten thousand.
    async fn prove(&mut self, ty: usize, change: &Change) {
        let spec = self.spec(ty);
        let found = match self.target.look_up(spec, change).await {
            Ok(found) => found,
            Err(error) => {
                self.stopped.get_or_insert(error);
                return;
            }
        };
        let lost = found.first().map(|current| lost_values(spec, change, current));
        let cause = match lost {
            None => format!("it cannot be read back by its id {}", change.target_id.as_deref().unwrap_or_default()),
            Some(lost) if lost.is_empty() => return,
            Some(lost) => format!("the target kept nothing of what was sent for {}", lost.join(", ")),
        };
        let what = format!("the first {} that was created, {}, is not as it was sent", spec.name, change.label);
        let hint = "look at the record and at the attributes' types in the target; then run again";
        self.stopped.get_or_insert(Error::new(Exit::Partial, what).cause(cause).hint(hint));
    }

    /// Writes what still waits for records that came later.
    async fn second_pass(&mut self) -> Result<()> {
        let mut wave = Vec::new();
        while let Some(task) = self.second.pop_front() {
            wave.extend(self.second_of(task)?);
            if wave.len() >= WAVE {
                self.send(std::mem::take(&mut wave)).await?;
            }
        }
        self.send(wave).await
    }

    /// The second pass of a change, with what became known meanwhile; none where nothing is left to write.
    fn second_of(&mut self, mut task: Task) -> Result<Option<Task>> {
        let id = match self.made.get(&(task.ty, task.change.key.clone())) {
            Some(Made::Done(id)) => Some(id.clone()),
            _ => task.change.target_id.clone(),
        };
        let mut row = self.ledger.row(&self.spec(task.ty).name, &task.change.key)?;
        task.change.attributes.clear();
        for (written, held) in std::mem::take(&mut task.later) {
            if let (Some(row), Some(held)) = (&mut row, held) {
                row.values.insert(written.name.clone(), held);
            }
            task.change.attributes.push(written);
        }
        task.change.action = Action::Update;
        task.second = true;
        task.change.target_id = id;
        task.change.ledger = row;
        match self.resolve(&mut task) {
            // What it waits for was never made.
            Ok(()) if task.change.attributes.is_empty() => {
                let target_id = task.change.target_id.clone().unwrap_or_default();
                self.account(&task, Outcome::Done { target_id, read_back: Vec::new() })?;
                Ok(None)
            }
            Ok(()) => Ok(Some(task)),
            Err(why) => {
                self.account(&task, Outcome::NotAttempted { reason: why })?;
                Ok(None)
            }
        }
    }

    /// Looks what became of what got no answer; whatever still cannot be said is left to the next run.
    async fn look_at_open(&mut self) -> Result<()> {
        for Lost { id, task, intent, wave } in std::mem::take(&mut self.open) {
            let looked = match &self.stopped {
                Some(_) => Err(Error::failed("the target is not asked any more in this run")),
                None => self.look(&intent, wave).await,
            };
            let outcome = match looked {
                Err(error) => Outcome::Uncertain { reason: format!("{}; the next run looks", reason(&error)) },
                Ok(verdict) => {
                    let outcome = match &verdict {
                        Verdict::Happened(id, _) => Outcome::Done { target_id: id.clone(), read_back: Vec::new() },
                        Verdict::Nothing => Outcome::NotAttempted {
                            reason: "no answer came, and it did not arrive; the next run tries again".into(),
                        },
                        Verdict::Several => Outcome::Uncertain { reason: "several records carry its key".into() },
                        Verdict::Open => Outcome::Uncertain { reason: format!("no answer came; {UNKNOWN_YET}") },
                    };
                    self.ledger.end_changes(look::end(id, &task.change, verdict).into_iter().collect())?;
                    outcome
                }
            };
            self.account(&task, outcome)?;
        }
        self.look_at_pending().await
    }

    /// Looks at what earlier runs left open, next to what this one created.
    async fn look_at_pending(&mut self) -> Result<()> {
        if self.stopped.is_some() || self.latest.is_none() {
            return Ok(());
        }
        for UnfinishedChange { id, intent, .. } in std::mem::take(&mut self.pending) {
            match self.look(&intent, 0).await {
                Ok(verdict) => self.ledger.end_changes(look::end(id, &intent.change, verdict).into_iter().collect())?,
                Err(error) => tracing::debug!("{} {}: {}", intent.change.ty, intent.change.label, reason(&error)),
            }
        }
        Ok(())
    }

    /// Looks at a change that was given up in that wave, next to a record that was created after it, if there is one.
    async fn look(&self, intent: &Intent, wave: u32) -> Result<Verdict> {
        let later = self.latest.as_ref().filter(|(_, created)| *created > wave);
        let looker = Looker { target: self.target, capabilities: self.capabilities, clock: self.watch.clock };
        looker.look(self.ledger, intent, later.map(|(id, _)| id.as_str())).await
    }

    /// What concerns the ledger alone, type by type.
    fn write_of_ledger(&mut self, tasks: Vec<Task>) -> Result<()> {
        for ty in 0..self.outcomes.len() {
            let of_type = || tasks.iter().filter(|task| task.ty == ty).map(|task| &task.change);
            if self.stopped.is_none() && of_type().next().is_some() {
                let rows = of_type().map(|change| {
                    let (key, row, written) = (change.key.clone(), change.ledger.clone(), change.written(&[]));
                    Ok(Became { key, row, written })
                });
                self.ledger.write_rows(self.run, &self.spec(ty).name, rows)?;
            }
        }
        for task in tasks {
            let outcome = match &self.stopped {
                Some(error) => Outcome::NotAttempted { reason: reason(error) },
                None => Outcome::Done { target_id: String::new(), read_back: Vec::new() },
            };
            self.account(&task, outcome)?;
        }
        Ok(())
    }

    /// The one place where a change gets its outcome.
    fn account(&mut self, task: &Task, outcome: Outcome) -> Result<()> {
        self.stages[task.at as usize] = Stage::Accounted;
        self.sink.tell(&task.change.ty, self.watch);
        let books = &mut self.outcomes[task.ty];
        match &outcome {
            Outcome::Done { .. } => {
                *books.done.entry(task.shown).or_default() += 1;
                return Ok(());
            }
            Outcome::Rejected { reason } => {
                books.rejected += 1;
                // A second pass is no change of the plan's own: its next plan shows what is left to write.
                let planned = self.plan.change_at(task.at)?;
                // What a delete of this run frees may be had by the next one: that is asked again.
                let may_become_free = self.deletes.contains(&task.ty)
                    && self.enforced(self.spec(task.ty), &planned).any(|written| !written.after.is_empty());
                if !task.second && !may_become_free {
                    self.sink.refuse(&planned, reason);
                }
            }
            Outcome::Uncertain { .. } => books.uncertain += 1,
            Outcome::NotAttempted { .. } => books.not_attempted += 1,
        }
        if !task.second && task.shown == Action::Create {
            self.made.insert((task.ty, task.change.key.clone()), Made::Failed);
        }
        let named = || task.change.attributes.iter().map(|a| a.name.as_str()).collect::<Vec<_>>().join(", ");
        let outcome = if task.second { outcome.after(&format!("written, but without {}", named())) } else { outcome };
        let change = Change { action: task.shown, ..task.change.clone() };
        self.sink.push(&change, outcome)
    }
}

impl Task {
    fn new(at: u32, (ty, change): (usize, Change)) -> Task {
        Task { ty, at, shown: change.action, second: false, change, later: Vec::new() }
    }
}

/// How a reference stands.
#[derive(PartialEq, Eq)]
enum Reference {
    Known,
    ToCome,
    Failed,
}

/// Whether the target is sent anything; an adoption that writes nothing is the ledger's business alone.
fn sends(change: &Change) -> bool {
    change.action.writes() && (change.action == Action::Delete || !change.attributes.is_empty())
}

fn removes(action: Action) -> bool {
    matches!(action, Action::Retire | Action::Delete)
}

/// What a change's attributes refer to: the type's name and the id.
fn references<'c>(spec: &'c TypeSpec, change: &'c Change) -> impl Iterator<Item = (&'c str, &'c str)> {
    change.attributes.iter().flat_map(|written| refers_to(spec, written))
}

fn refers_to<'c>(spec: &'c TypeSpec, written: &'c AttributeChange) -> impl Iterator<Item = (&'c str, &'c str)> {
    let attribute = spec.attributes.iter().find(|attribute| attribute.name == written.name);
    let to = attribute.and_then(|attribute| attribute.reference.as_deref());
    let texts: &[Box<str>] = match &written.after {
        Datum::One(text) => std::slice::from_ref(text),
        Datum::Set(set) => &set.items,
        Datum::Empty | Datum::Unknown(_) => &[],
    };
    to.into_iter().flat_map(move |to| texts.iter().map(move |text| (to, &**text)))
}

/// Both in their order, evenly mixed, so that neither has to wait for the other's pace.
fn mixed(first: Vec<Task>, second: Vec<Task>) -> Vec<Task> {
    let (of, all) = (second.len(), first.len() + second.len());
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let next = |nth: usize| match (nth + 1) * of / all > nth * of / all {
        true => second.next(),
        false => first.next(),
    };
    (0..all).filter_map(next).collect()
}

/// A change with what was sent of it in place of what was wanted: nobody may be known by a wanted name.
fn as_sent(change: &Change, target_id: &str, read_back: &[(String, Datum)]) -> Change {
    let mut sent = Change { target_id: Some(target_id.to_owned()), ..change.clone() };
    for written in &mut sent.attributes {
        if let Some((_, value)) = read_back.iter().find(|(name, _)| *name == written.name) {
            written.after = value.clone();
        }
    }
    // What cannot be known was not sent.
    sent.attributes.retain(|written| written.after.is_known());
    sent
}

/// Attributes that were sent with a value and are empty in the target.
fn lost_values(spec: &TypeSpec, change: &Change, current: &Current) -> Vec<String> {
    let stands = |name: &str| spec.attributes.iter().position(|a| a.name == name).and_then(|at| current.values.get(at));
    let mut lost = Vec::new();
    for written in &change.attributes {
        let now = stands(&written.name);
        if !written.after.is_empty() && now.is_none_or(Datum::is_empty) {
            lost.push(written.name.clone());
        } else if now != Some(&written.after) {
            tracing::warn!(
                attribute = written.name,
                sent = %written.after,
                kept = %now.unwrap_or(&Datum::Empty),
                "the target keeps another value than it was sent"
            );
        }
    }
    lost
}

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;
