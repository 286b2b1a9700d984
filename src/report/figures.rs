//! How a run went, in figures: the one value behind the summary file, the metrics, mail and webhooks.
//!
//! `summary/1` is an interface: members may be added, never renamed or removed. Hides how it is gathered while a run
//! goes on. Holds no name, address or id of a person; those lie in [`Named`], for who asked for them. Deliberately
//! decides nothing: the exit code is the run's.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::applied::Applied;
use super::cost::{Cost, Price};
use super::json::is_gap;
use super::{summary, words};
use crate::error::{Error, Exit, Result};
use crate::ledger::{Run, RunState};
use crate::plan::Plan;
use crate::plan::change::{Action, NoteKind};

/// Records that a message names at most.
const NAMED: usize = 20;

/// How a run went.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    pub format: &'static str,
    pub job: String,
    /// The command: `run`, `trial`, `apply`.
    pub command: String,
    /// Names the run in history and logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    pub exit: u8,
    /// The exit code in a word.
    pub ended: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    pub began: Timestamp,
    pub took_s: f64,
    /// The last run that ended with 0; this one, where it did.
    pub last_good_run: Option<Timestamp>,
    /// When the runs began that ended as this one did, without another in between.
    pub since: Option<Timestamp>,
    /// How many these are.
    pub in_a_row: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// What the run printed as its last line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    pub types: Vec<TypeFigures>,
    pub notes: BTreeMap<NoteKind, u64>,
    /// What waits for a person.
    pub held: Vec<Held>,
    /// The command that lets it pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approve: Option<String>,
    /// What was not read whole, where the job does not accept that.
    pub partial: Vec<Gap>,
    pub rejected: u64,
    pub uncertain: u64,
    pub not_attempted: u64,
    pub source_requests: u64,
    pub target_requests: u64,
    /// Seconds that Graph had the run wait.
    pub throttled_s: f64,
    /// When the client secret or certificate ends, where that is known.
    pub credential_ends: Option<Timestamp>,
    pub credential_days_left: Option<i64>,
    /// Runs that began and never ended, and that nobody was told of before.
    pub unfinished: Vec<Unfinished>,
    /// Objects of the target, where it is billed by them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    #[serde(skip)]
    pub named: Named,
    /// What is done is known, not only what is planned.
    #[serde(skip)]
    pub is_applied: bool,
}

/// Why a run ended before its end.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Failure {
    pub what: String,
    /// What may name people is left out.
    pub because: Vec<String>,
    pub hint: Option<String>,
}

/// Of one type of the target.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TypeFigures {
    #[serde(rename = "type")]
    pub ty: String,
    pub planned: BTreeMap<Action, u64>,
    /// Empty where nothing was applied.
    pub done: BTreeMap<Action, u64>,
    pub there: u64,
    pub owned: u64,
    /// Owned records left alone because their state is not known.
    pub unknown: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Held {
    pub limit: &'static str,
    pub on: String,
    pub count: u64,
    pub allowed: u64,
    pub words: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct Gap {
    pub what: String,
    pub reason: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct Unfinished {
    pub run: String,
    pub command: String,
    pub began: Timestamp,
}

/// Who it is about: only for those who asked for names.
#[derive(Clone, Debug, Default)]
pub struct Named {
    /// Sentences, each about one record.
    pub records: Vec<String>,
    /// How many more there are.
    pub more: u64,
    /// Causes of a failure that quote records.
    pub because: Vec<String>,
}

impl Named {
    fn add(&mut self, words: impl FnOnce() -> String) {
        match self.records.len() < NAMED {
            true => self.records.push(words()),
            false => self.more += 1,
        }
    }
}

impl Figures {
    pub fn new(job: &str, command: &str, began: Timestamp) -> Figures {
        Figures { format: "summary/1", job: job.into(), command: command.into(), began, ..Figures::default() }
    }

    /// Takes over what a plan says; `job_file` goes into the command that approves it, and `price` is what the target
    /// takes for an object.
    pub fn plan(&mut self, plan: &Plan, job_file: &str, price: Option<&Price>) -> Result<()> {
        let header = &plan.header;
        self.cost = price.map(|price| Cost::of(header, price));
        self.plan = Some(header.id.clone());
        self.summary = Some(summary::plan(plan));
        self.types = header
            .types
            .iter()
            .map(|ty| TypeFigures {
                ty: ty.spec.name.clone(),
                planned: ty.counts.changes.clone(),
                done: BTreeMap::new(),
                there: ty.there,
                owned: ty.owned,
                unknown: ty.counts.unknown.values().sum(),
            })
            .collect();
        for note in plan.notes() {
            *self.notes.entry(note.kind).or_default() += 1;
            if matches!(note.kind, NoteKind::Collision | NoteKind::Returner | NoteKind::Rejected) {
                self.named.add(|| format!("{} {}: {}", note.ty, note.label, note.words));
            }
        }
        let waiting = plan.waiting();
        self.held = waiting
            .iter()
            .map(|check| Held {
                limit: check.limit.word(),
                on: check.on.clone(),
                count: check.count,
                allowed: check.allowed,
                words: check.words.clone(),
            })
            .collect();
        self.approve = words::approve_command(header, job_file).filter(|_| header.preview.is_none());
        let sources = header.sources.iter().filter(|source| is_gap(source));
        self.partial = sources
            .filter_map(|source| Some((source.collection.name().to_owned(), source.coverage.gap()?)))
            .chain(
                header
                    .types
                    .iter()
                    .filter_map(|ty| Some((format!("{} in the target", ty.spec.name), ty.coverage.gap()?))),
            )
            .map(|(what, reason)| Gap { what, reason: reason.to_string() })
            .collect();
        if !waiting.is_empty() {
            for change in plan.changes() {
                let change = change?;
                if let (Action::Retire | Action::Delete | Action::Forget, Some(cause)) = (change.action, &change.cause)
                {
                    self.named
                        .add(|| format!("{} {}: {}, {}", change.ty, change.label, change.action.word(), cause.words));
                }
            }
        }
        Ok(())
    }

    /// Takes over what became of the plan.
    pub fn outcome(&mut self, applied: &Applied<'_>) -> Result<()> {
        self.summary = Some(summary::applied(applied));
        for done in applied.types() {
            if let Some(ty) = self.types.iter_mut().find(|ty| ty.ty == done.ty) {
                ty.done.clone_from(&done.done);
            }
        }
        self.is_applied = true;
        let totals = &applied.totals;
        (self.rejected, self.uncertain) = (totals.rejected, totals.uncertain);
        self.not_attempted = totals.not_attempted;
        self.target_requests = applied.effort.target_requests;
        for not_done in applied.not_done() {
            let not_done = not_done?;
            let (word, reason) = super::csv::outcome_words(&not_done.outcome);
            self.named.add(|| format!("{} {}: {word}: {reason}", not_done.ty, not_done.label));
        }
        Ok(())
    }

    /// Takes over how the run ended. Causes of a stale plan quote records.
    pub fn ended(&mut self, ended: &Result<Exit>, took_s: f64, now: Timestamp) {
        self.took_s = took_s;
        let exit = ended.as_ref().map_or_else(|error| error.exit, |exit| *exit);
        (self.exit, self.ended) = (exit as u8, exit.word());
        if let Err(Error { what, causes, hint, .. }) = ended {
            let quotes = exit == Exit::Stale;
            let because = if quotes { Vec::new() } else { causes.clone() };
            self.error = Some(Failure { what: what.clone(), because, hint: hint.clone() });
            self.named.because = if quotes { causes.clone() } else { Vec::new() };
        }
        self.credential_days_left = self.credential_ends.map(|ends| ends.duration_since(now).as_hours().div_euclid(24));
    }

    /// Takes over what the history says; `runs` are the newest first, this one among them.
    pub fn history(&mut self, runs: &[Run]) {
        let whole = |run: &&Run| run.kind == "run" || run.kind == "apply";
        let own = |run: &&Run| Some(run.id.to_string()) == self.run;
        let good = runs.iter().filter(whole).find(|run| run.exit == Some(Exit::Done as u8));
        self.last_good_run = good.map(|run| run.as_of);
        let alike = runs.iter().filter(whole).filter(|run| run.state != RunState::Interrupted);
        let mut alike = alike.take_while(|run| own(run) || run.exit == Some(self.exit)).peekable();
        if alike.peek().is_some_and(own) {
            let times: Vec<Timestamp> = alike.map(|run| run.as_of).collect();
            self.in_a_row = times.len() as u64;
            self.since = times.last().copied();
        }
    }

    /// Whether a person must look: any exit but 0, a run that died, or a credential that ends within `days`.
    pub fn needs_attention(&self, days: i64) -> bool {
        self.exit != Exit::Done as u8
            || !self.unfinished.is_empty()
            || self.credential_days_left.is_some_and(|left| left < days)
    }

    /// Changes that were done, what only the ledger knows left aside.
    pub fn done(&self) -> u64 {
        let told = |(action, n): (&Action, &u64)| if *action == Action::Settle { 0 } else { *n };
        self.types.iter().flat_map(|ty| &ty.done).map(told).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::RunId;
    use crate::report::examples;

    fn run(id: i64, kind: &str, exit: Option<u8>) -> Run {
        let as_of: Timestamp = format!("2026-03-{id:02}T02:00:00Z").parse().unwrap();
        let state = if exit.is_some() { RunState::Finished } else { RunState::Interrupted };
        Run {
            id: RunId(id),
            kind: kind.into(),
            state,
            as_of,
            finished: None,
            exit,
            plan: None,
            source_as_of: None,
            summary: None,
        }
    }

    #[test]
    fn since_when_is_the_first_of_the_runs_that_ended_alike() {
        let mut figures = Figures::new("contoso", "run", Timestamp::UNIX_EPOCH);
        figures.run = Some("9".into());
        figures.exit = 4;
        let day = |day: i64| Some(format!("2026-03-{day:02}T02:00:00Z").parse::<Timestamp>().unwrap());
        // Trials say nothing about the job, and a run that died neither.
        figures.history(&[
            run(9, "run", Some(4)),
            run(8, "trial", Some(0)),
            run(7, "run", None),
            run(6, "run", Some(4)),
            run(5, "run", Some(0)),
            run(4, "run", Some(4)),
        ]);
        assert_eq!((figures.since, figures.in_a_row, figures.last_good_run), (day(6), 2, day(5)));
        figures.history(&[run(9, "run", Some(4)), run(8, "run", Some(3))]);
        assert_eq!((figures.since, figures.in_a_row, figures.last_good_run), (day(9), 1, None));
    }

    #[test]
    fn nothing_in_the_summary_names_a_person() {
        let plan = examples::everything();
        let ended = examples::applied(&plan, "Adele Vance is refused");
        let applied = Applied::new(&plan, &ended, examples::effort());
        let mut figures = Figures::new("contoso", "run", Timestamp::UNIX_EPOCH);
        figures.plan(&plan, "jobs/contoso.toml", None).unwrap();
        figures.outcome(&applied).unwrap();
        let stale = Err(Error::new(Exit::Stale, "plan 3fa9c1d2 is stale").cause("in User, Adele Vance was changed"));
        figures.ended(&stale, 1.0, Timestamp::UNIX_EPOCH);
        let json = serde_json::to_string(&figures).unwrap();
        for name in ["Adele", "Lidia", "Diego", "Johanna"] {
            assert!(!json.contains(name), "{name} in {json}");
        }
        assert!(json.contains("page 3 failed with status 503") && json.contains("--limit retires"), "{json}");
        assert!(!figures.named.records.is_empty() && figures.named.because.len() == 1);
    }
}
