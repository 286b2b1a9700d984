//! `history`: the past runs of a job, who approved and decided what, and the last good run. Contacts nobody.
//!
//! Reads the ledger, and may do so while a run is under way. Deliberately judges nothing.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::cli::History;
use crate::error::{Context, Exit, Result};
use crate::job::Job;
use crate::ledger::{Decided, Ledger, Run, RunState, UsedApproval};
use crate::plan::change::Action;
use crate::report::lookup::AnswerFormat;
use crate::report::say;
use crate::state::State;
use crate::visible::{shell_word, shortened, visible};

/// The longest error that is shown in a line.
const ERROR_WIDTH: usize = 100;

/// Prints the newest runs and decisions.
pub fn history(command: &History) -> Result<Exit> {
    let job = Job::load(&command.job, None)?;
    let identity = super::decisions::identity(&job)?;
    let Some(ledger) = Ledger::open_to_read(&State::of(&job).ledger(), &identity)? else {
        match command.format {
            AnswerFormat::Text => say!("{}: no run yet", job.name),
            AnswerFormat::Json => print_json(&document(&job.name, &Past::default()))?,
        }
        return Ok(Exit::Done);
    };
    let past = Past::read(&ledger, command.first)?;
    match command.format {
        AnswerFormat::Json => print_json(&document(&job.name, &past))?,
        AnswerFormat::Text => text(&job.name, &shell_word(&command.job.display().to_string()), &past),
    }
    Ok(Exit::Done)
}

/// What the ledger remembers.
#[derive(Default)]
struct Past {
    /// With whether the run can be taken back.
    runs: Vec<(Run, bool)>,
    approvals: Vec<UsedApproval>,
    decisions: Vec<Decided>,
    last_good_run: Option<crate::ledger::GoodRun>,
}

impl Past {
    fn read(ledger: &Ledger, first: u32) -> Result<Past> {
        let runs = ledger.runs(first)?.into_iter().map(|run| {
            let kept = !ledger.types_written(run.id)?.is_empty();
            Ok((run, kept))
        });
        Ok(Past {
            runs: runs.collect::<Result<_>>()?,
            approvals: ledger.used_approvals()?,
            decisions: ledger.decisions(first)?,
            last_good_run: ledger.last_good_run()?,
        })
    }

    fn approvals_of(&self, run: &Run) -> impl Iterator<Item = &UsedApproval> {
        self.approvals.iter().filter(move |approval| approval.used_by == run.id)
    }
}

/// How many changes of which action were done, and how many were not.
fn counts(run: &Run) -> (BTreeMap<Action, u64>, [u64; 3]) {
    let (mut done, mut not_done) = (BTreeMap::new(), [0; 3]);
    let types = run.summary.as_ref().and_then(|summary| summary["types"].as_array());
    for ty in types.into_iter().flatten() {
        for action in Action::ALL.into_iter().filter(|action| *action != Action::Settle) {
            let count = ty["done"][action.word()].as_u64().unwrap_or_default();
            if count > 0 {
                *done.entry(action).or_default() += count;
            }
        }
        for (sum, name) in not_done.iter_mut().zip(["rejected", "uncertain", "not_attempted"]) {
            *sum += ty[name].as_u64().unwrap_or_default();
        }
    }
    (done, not_done)
}

fn seconds(run: &Run) -> Option<i64> {
    run.finished.map(|finished| finished.duration_since(run.as_of).as_secs())
}

fn state_word(run: &Run) -> &'static str {
    match run.state {
        RunState::Running => "running",
        RunState::Finished => "finished",
        RunState::Interrupted => "interrupted",
    }
}

fn document(job: &str, past: &Past) -> Json {
    let runs = past.runs.iter().map(|(run, kept)| {
        let (done, [rejected, uncertain, not_attempted]) = counts(run);
        let approvals: Vec<Json> = past.approvals_of(run).map(approval_json).collect();
        let said = |name: &str| run.summary.as_ref().map_or(Json::Null, |summary| summary[name].clone());
        json!({
            "run": run.id.0, "kind": run.kind, "state": state_word(run), "started": run.as_of,
            "finished": run.finished, "seconds": seconds(run), "exit": run.exit, "plan": run.plan,
            "held": said("held") == Json::Bool(true), "error": said("error"), "done": done,
            "rejected": rejected, "uncertain": uncertain, "not_attempted": not_attempted,
            "approvals": approvals, "can_be_undone": kept,
        })
    });
    let decisions = past.decisions.iter().map(|decided| {
        let Decided { at, by, what, ty, key } = decided;
        json!({ "at": at, "by": by, "what": what, "type": ty, "key": key })
    });
    json!({
        "format": "history/1", "job": job, "last_good_run": past.last_good_run,
        "runs": runs.collect::<Vec<_>>(), "decisions": decisions.collect::<Vec<_>>(),
    })
}

fn approval_json(approval: &UsedApproval) -> Json {
    let UsedApproval { limit, plan, at, by, records, .. } = approval;
    json!({ "limit": limit, "plan": plan, "at": at, "by": by, "records": records })
}

fn print_json(document: &Json) -> Result<()> {
    let text = serde_json::to_string_pretty(document).failing(|| "cannot print the history".into())?;
    say!("{text}");
    Ok(())
}

fn text(job: &str, file: &str, past: &Past) {
    match &past.last_good_run {
        Some(good) => say!("{job}: the last run that went through read Entra at {:.0}", good.as_of),
        None => say!("{job}: no run has gone through yet"),
    }
    for (run, kept) in &past.runs {
        let exit = match (run.state, run.exit) {
            (RunState::Finished, Some(exit)) => format!("exit {exit}"),
            (RunState::Running, _) => "under way, or died".to_string(),
            _ => "died".to_string(),
        };
        let took = seconds(run).map(|seconds| format!(", {seconds} s")).unwrap_or_default();
        say!("  run {:<5} {:.0}  {:8} {exit}{took}: {}", run.id, run.as_of, visible(&run.kind), what(run));
        for approval in past.approvals_of(run) {
            let UsedApproval { limit, plan, at, by, records, .. } = approval;
            say!(
                "            {limit} approved by {} at {at:.0}: {records} records of plan {}",
                visible(by),
                visible(plan)
            );
        }
        if *kept {
            say!("            can be taken back: entra-import undo {file} {}", run.id);
        }
    }
    if !past.decisions.is_empty() {
        say!("Decisions");
    }
    for Decided { at, by, what, ty, key } in &past.decisions {
        say!("  {at:.0}  {what:16} {} {} by {}", visible(ty), visible(&key.to_string()), visible(by));
    }
}

/// What a run did, in a few words.
fn what(run: &Run) -> String {
    match run.state {
        RunState::Running => return "what it wrote is settled by the next run".to_string(),
        RunState::Interrupted => return "what it wrote is settled".to_string(),
        RunState::Finished => {}
    }
    let said = |name: &str| run.summary.as_ref().map(|summary| &summary[name]).filter(|value| !value.is_null());
    if let Some(error) = said("error").and_then(Json::as_str) {
        return shortened(error, ERROR_WIDTH);
    }
    if said("held").is_some() {
        return format!("plan {} held, nothing written", said("plan").and_then(Json::as_str).unwrap_or_default());
    }
    if let Some(decided) = said("decided").and_then(Json::as_u64) {
        return format!("{decided} decided");
    }
    let (done, not_done) = counts(run);
    let mut parts: Vec<String> = done.iter().map(|(action, count)| format!("{count} {}", action.past())).collect();
    for (count, word) in not_done.into_iter().zip(["rejected", "uncertain", "not attempted"]) {
        if count > 0 {
            parts.push(format!("{count} {word}"));
        }
    }
    if parts.is_empty() { "nothing to do".to_string() } else { parts.join(", ") }
}
