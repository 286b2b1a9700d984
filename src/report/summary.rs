//! A plan, and what became of it, in one line.
//!
//! **The summary lines are an interface**: scripts and cron mails read them. Their words, their order and the numbers
//! that are always there do not change; new parts are only ever added at the end, after `; `.
//!
//! ```text
//! contoso: plan 3fa9c1d2: 12 to create, 0 to adopt, 3 to update, 1 to retire, 0 to return, 0 to delete, 0 to forget; 0 unknown; 4 notes; 0 held; complete
//! contoso: plan 3fa9c1d2 applied: 12 created, 0 adopted, 3 updated, 1 retired, 0 returned, 0 deleted, 0 forgotten; 0 rejected, 0 uncertain, 0 not attempted; 4 notes; complete; 312 requests in 41 s
//! ```
//!
//! `complete` is `partial (users, groups)` when a source was not read completely and the job does not accept that;
//! a plan that cannot be applied ends in `; preview`.

use super::applied::Applied;
use super::json::is_gap;
use crate::plan::change::Action;
use crate::plan::{Header, Plan};
use crate::snapshot::How;
use crate::visible::{shortened, visible};

/// Characters of a reason before it is shortened.
const WORDS_WIDTH: usize = 400;

/// The plan in one line, without a line break. Its form is an interface; see the head of this module.
pub fn plan(plan: &Plan) -> String {
    let header = &plan.header;
    let total = |action: Action| header.types.iter().filter_map(|ty| ty.counts.changes.get(&action)).sum::<u64>();
    let actions: Vec<String> = told_actions().map(|action| format!("{} to {}", total(action), action.word())).collect();
    let unknown: u64 = header.types.iter().flat_map(|ty| ty.counts.unknown.values()).sum();
    let held = header.limits.iter().filter(|limit| limit.held).count();
    let mut line = format!(
        "{}: plan {}: {}; {unknown} unknown; {} notes; {held} held; {}",
        visible(&header.job),
        visible(&header.id),
        actions.join(", "),
        plan.notes().len(),
        completeness(header)
    );
    if header.preview.is_some() {
        line.push_str("; preview");
    }
    line
}

/// The outcome in one line, without a line break. Its form is an interface; see the head of this module.
pub fn applied(applied: &Applied) -> String {
    let Applied { header, totals, effort, .. } = applied;
    let done = |action: Action| totals.done.get(&action).copied().unwrap_or_default();
    let actions: Vec<String> = told_actions().map(|action| format!("{} {}", done(action), action.past())).collect();
    format!(
        "{}: plan {} applied: {}; {} rejected, {} uncertain, {} not attempted; {} notes; {}; {} requests in {} s{}",
        visible(&header.job),
        visible(&header.id),
        actions.join(", "),
        totals.rejected,
        totals.uncertain,
        totals.not_attempted,
        applied.notes,
        completeness(header),
        effort.source_requests + effort.target_requests,
        effort.took.as_secs(),
        kind_of_read(header),
    )
}

/// Whether changes were read or everything, and why; nothing where a job reads everything always.
fn kind_of_read(header: &Header) -> String {
    let hows = || header.sources.iter().map(|source| &source.how);
    let since = hows().filter_map(|how| if let How::Delta { since, .. } = how { Some(since) } else { None }).min();
    let mut whys: Vec<&str> =
        hows().filter_map(|how| if let How::Full(why) = how { why.as_deref() } else { None }).collect();
    whys.sort_unstable();
    whys.dedup();
    match since {
        Some(since) => format!("; changes since {since:.0}"),
        None if whys.is_empty() => String::new(),
        None => format!("; read in full: {}", shortened(&whys.join(", and "), WORDS_WIDTH)),
    }
}

/// What settles is the ledger's own business and no news.
fn told_actions() -> impl Iterator<Item = Action> {
    Action::ALL.into_iter().filter(|action| *action != Action::Settle)
}

/// `complete`, or what is not and is not accepted.
pub(super) fn completeness(header: &Header) -> String {
    let sources = header.sources.iter().filter(|source| is_gap(source)).map(|gap| gap.collection.name().to_string());
    let types = header.types.iter().filter(|ty| !ty.coverage.is_complete());
    let gaps: Vec<String> =
        sources.chain(types.map(|ty| format!("{} in the target", visible(&ty.spec.name)))).collect();
    if gaps.is_empty() { "complete".to_string() } else { format!("partial ({})", gaps.join(", ")) }
}
