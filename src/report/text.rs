//! Plans, outcomes and checks as text for people, readable without colour and safe on any terminal.
//!
//! The last line of each is a [`summary`], which is an interface. Deliberately looks up nothing, and holds no more of a
//! plan in memory than it shows.

mod checks;
mod values;

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::io::Write;

pub use self::checks::checks;
use super::applied::Applied;
use super::cost::Cost;
use super::csv::outcome_words;
use super::json::is_gap;
use super::paint::{Paint, Tone};
use super::summary::{self, completeness};
use super::words::{approve_command, grouped, note_words, plural};
use super::{Detail, View, write_failed};
use crate::error::{Context, Result};
use crate::plan::change::{Action, Adoption, Change, Difference, Note, NoteKind};
use crate::plan::{FilterSummary, Header, LimitCheck, LimitName, Plan, Ran, SourceSummary, TypeSummary};
use crate::visible::{shell_word, shortened, visible};

/// In place of the values of a private attribute.
pub(super) const HIDDEN: &str = "changed (private)";
/// Characters of a record's name before it is shortened.
const LABEL_WIDTH: usize = 80;
/// Characters of a sentence before it is shortened; sentences may quote values.
const WORDS_WIDTH: usize = 400;
/// Changes of one action of one type that are shown before the rest is only counted.
const CHANGES_SHOWN: u64 = 10;
/// Notes of one kind, and changes not done of one outcome, that are shown before the rest is only counted.
const NOTES_SHOWN: u64 = 5;

/// The whole plan; its last line is [`summary::plan`].
pub fn plan(plan: &Plan, view: &View, to: &mut dyn Write) -> Result<()> {
    let mut page = Page::new(view, to);
    page.opening(&plan.header);
    page.sources(&plan.header.sources);
    for (index, ty) in plan.header.types.iter().enumerate() {
        page.type_heading(ty);
        page.flush()?;
        page.changes(plan, index)?;
    }
    page.notes(plan.notes())?;
    page.limits(&plan.header);
    page.nothing_to_do(plan);
    if let Some(price) = &view.price {
        page.line(visible(&Cost::of(&plan.header, price).to_string()));
    }
    page.text.push_str(&summary::plan(plan));
    page.text.push('\n');
    page.flush()
}

/// What a person must look at before a run is let alone: gaps in the sources, records left out, and limits that hold.
/// Writes nothing when there is none of it.
pub fn attention(plan: &Plan, view: &View, to: &mut dyn Write) -> Result<()> {
    let mut page = Page::new(view, to);
    let gaps: Vec<SourceSummary> = plan.header.sources.iter().filter(|source| is_gap(source)).cloned().collect();
    page.sources(&gaps);
    let left_out = |note: &&Note| {
        matches!(
            note.kind,
            NoteKind::Collision | NoteKind::Returner | NoteKind::Rejected | NoteKind::Refused | NoteKind::NotUndone
        )
    };
    page.notes(&plan.notes().iter().filter(left_out).cloned().collect::<Vec<_>>())?;
    page.limits(&plan.header);
    page.flush()
}

/// What became of a plan: each change that was not done, and [`summary::applied`] as the last line. When everything
/// was done that line is all.
pub fn applied(applied: &Applied, view: &View, to: &mut dyn Write) -> Result<()> {
    let mut page = Page::new(view, to);
    page.not_done(applied)?;
    page.text.push_str(&summary::applied(applied));
    page.text.push('\n');
    page.flush()
}

/// One change with its attributes and its cause, as a plan shows it.
pub(super) fn change_lines(change: &Change, view: &View) -> String {
    let mut nowhere = std::io::sink();
    let mut page = Page::new(view, &mut nowhere);
    page.change(change);
    page.text
}

fn tone(action: Action) -> Tone {
    match action {
        Action::Create | Action::Return => Tone::Good,
        Action::Adopt => Tone::Adopt,
        Action::Update => Tone::Update,
        Action::Retire | Action::Delete | Action::Forget => Tone::Bad,
        Action::Settle => Tone::Quiet,
    }
}

/// What one way to find records made by hand came to.
fn adoption(way: &Adoption) -> impl Iterator<Item = String> {
    let by = way.by.as_deref().map_or("key".to_string(), |name| visible(name).to_string());
    let counts = [(way.adopted, "adopted"), (way.collisions, plural(way.collisions, "collision", "collisions"))];
    let found = counts.into_iter().filter(|(count, _)| *count > 0);
    found.map(move |(count, words)| format!("{} {words} by {by}", grouped(count)))
}

/// Records that nobody makes any more and that a person let go of: it is told once, in the plan that does it.
fn released(check: &LimitCheck) -> bool {
    check.limit == LimitName::FilterEdit && check.count > 0 && !check.waits()
}

/// Text that is being put together, section by section.
struct Page<'a> {
    to: &'a mut dyn Write,
    text: String,
    view: &'a View,
    paint: Paint,
}

impl<'a> Page<'a> {
    fn new(view: &'a View, to: &'a mut dyn Write) -> Page<'a> {
        Page { to, text: String::new(), view, paint: Paint { on: view.colour } }
    }

    fn flush(&mut self) -> Result<()> {
        self.to.write_all(self.text.as_bytes()).failing(write_failed)?;
        self.text.clear();
        Ok(())
    }

    fn line(&mut self, text: impl Display) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{text}");
    }

    fn heading(&mut self, text: impl Display) {
        let text = self.paint.text(Tone::Strong, text);
        self.line(text);
    }

    /// Whether the `index`-th of several is shown; `first` is how many are without `--all`.
    fn shows(&self, index: u64, first: u64) -> bool {
        self.view.detail >= Detail::All || index < first
    }

    fn opening(&mut self, header: &Header) {
        let (id, job) = (visible(&header.id), visible(&header.job));
        self.heading(format_args!("Plan {id} of job {job}"));
        self.line(format_args!("  from {} to {}", visible(&header.tenant), visible(&header.target)));
        self.line(format_args!("  Entra ID as read at {:.0}", header.source_as_of));
        if header.first_run {
            self.line("  This is the first run of the job: nothing in the target is known to be its own.");
        }
        if let Some(reason) = &header.preview {
            let reason = shortened(reason, WORDS_WIDTH);
            let label = self.paint.text(Tone::Bad, "Preview only");
            self.line(format_args!("  {label}: it cannot be applied. {reason}"));
        }
        self.line("");
    }

    fn sources(&mut self, sources: &[SourceSummary]) {
        if sources.is_empty() {
            return;
        }
        self.heading("Sources");
        for source in sources {
            let name = source.collection.name();
            self.line(format_args!("  {name}: {} read, {} in scope", grouped(source.read), grouped(source.in_scope)));
            if let Some(reason) = source.coverage.gap() {
                let reason = shortened(&reason.0, WORDS_WIDTH);
                let (tone, accepted) =
                    if source.accepted { (Tone::Quiet, ", as the job accepts") } else { (Tone::Bad, "") };
                let label = self.paint.text(tone, format_args!("not complete{accepted}"));
                self.line(format_args!("    {label}: {reason}"));
            }
            if let Some(how) = source.how.words() {
                self.line(format_args!("    {}", shortened(&how, WORDS_WIDTH)));
            }
            self.left_out(source);
        }
        if !sources.iter().all(|source| source.coverage.is_complete()) {
            self.line("  What was not read is not known, and nothing is removed because of it.");
        }
        self.line("");
    }

    /// What left records out: one line for each cause, in full detail one for each clause of the filter.
    fn left_out(&mut self, source: &SourceSummary) {
        let filter = source.filter.as_ref().filter(|_| self.view.detail == Detail::Full);
        let in_table = |cause: &str| filter.is_some_and(|filter| filter.clauses.iter().any(|own| own.clause == cause));
        if let Some(filter) = filter {
            self.filter(filter);
        }
        for (cause, count) in source.left_out.iter().filter(|(cause, _)| !in_table(cause)) {
            let (count, cause) = (grouped(*count), shortened(cause, WORDS_WIDTH));
            self.line(format_args!("    {count} left out by {cause}"));
        }
    }

    fn filter(&mut self, filter: &FilterSummary) {
        self.line(format_args!("    filter: {}", shortened(&filter.filter, WORDS_WIDTH)));
        self.line(format_args!("      {:>9}  {:>9}  {:8}  clause", "dropped", "not known", "where"));
        for clause in &filter.clauses {
            let place = match clause.ran {
                Ran::Here => "here",
                Ran::AtGraph => "at Graph",
            };
            let (dropped, unknown) = (grouped(clause.dropped), grouped(clause.unknown));
            let words = shortened(&clause.clause, WORDS_WIDTH);
            self.line(format_args!("      {dropped:>9}  {unknown:>9}  {place:8}  {words}"));
        }
        if let Some(graph) = &filter.graph {
            let (count, asked) = (grouped(graph.left_out), shortened(&graph.filter, WORDS_WIDTH));
            self.line(format_args!("      {count:>9}  left out by Graph, asked for {asked}"));
        }
        if let Some(why) = &filter.here_because {
            self.line(format_args!("      Graph was asked for everything: {}", shortened(why, WORDS_WIDTH)));
        }
    }

    fn type_heading(&mut self, ty: &TypeSummary) {
        let counts = &ty.counts;
        let actions: Vec<String> = counts
            .changes
            .iter()
            .filter(|(action, count)| **count > 0 && **action != Action::Settle)
            .map(|(action, count)| format!("{} to {}", grouped(*count), action.word()))
            .collect();
        let actions = if actions.is_empty() { "no changes".to_string() } else { actions.join(", ") };
        let name = visible(&ty.spec.name);
        self.heading(format_args!("{name}: {actions}"));
        let mut facts = vec![format!("{} there", grouped(ty.there)), format!("{} owned", grouped(ty.owned))];
        for (count, words) in [
            (counts.unchanged, "unchanged"),
            (counts.not_ours, "not ours"),
            (counts.declined, "declined"),
            (
                counts.elements_removed,
                plural(counts.elements_removed, "element taken out of a set", "elements taken out of sets"),
            ),
        ] {
            if count > 0 {
                facts.push(format!("{} {words}", grouped(count)));
            }
        }
        self.line(format_args!("  {}", facts.join(", ")));
        if let Some(reason) = ty.coverage.gap() {
            let label = self.paint.text(Tone::Bad, "the target was not read completely");
            self.line(format_args!("  {label}: {}", shortened(&reason.0, WORDS_WIDTH)));
        }
        if !counts.adoption.is_empty() {
            let ways: Vec<String> = counts.adoption.iter().flat_map(adoption).collect();
            self.line(format_args!("  {}", ways.join(", ")));
        }
        for (reason, count) in &counts.unknown {
            let reason = shortened(reason, WORDS_WIDTH);
            self.line(format_args!("  {} left alone because not known: {reason}", grouped(*count)));
        }
        self.line("");
    }

    /// The changes of one type, grouped by action. What is shown and counted here is what is there, whatever the
    /// header says. Briefly, one pass suffices; else there is one more per action, so that nothing is held in memory.
    fn changes(&mut self, plan: &Plan, ty: usize) -> Result<()> {
        let detail = self.view.detail;
        let mut found: BTreeMap<Action, (u64, Vec<Change>)> = BTreeMap::new();
        for change in plan.changes_of(ty) {
            let change = change?;
            let (count, first) = found.entry(change.action).or_default();
            *count += 1;
            if detail == Detail::Brief && *count <= CHANGES_SHOWN {
                first.push(change);
            }
        }
        for (action, (count, first)) in found {
            if action == Action::Settle && detail < Detail::Full {
                continue;
            }
            if detail == Detail::Brief {
                first.iter().for_each(|change| self.change(change));
                self.more(count - first.len() as u64, &format!("to {}", action.word()));
            } else {
                for change in plan.changes_of(ty) {
                    let change = change?;
                    if change.action == action {
                        self.change(&change);
                        self.flush()?;
                    }
                }
            }
            self.line("");
            self.flush()?;
        }
        Ok(())
    }

    fn more(&mut self, count: u64, what: &str) {
        if count > 0 {
            let text = format!("… and {} more {what}; --all shows them", grouped(count));
            let text = self.paint.text(Tone::Quiet, text);
            self.line(format_args!("  {text}"));
        }
    }

    fn notes(&mut self, notes: &[Note]) -> Result<()> {
        if notes.is_empty() {
            return Ok(());
        }
        self.heading("Notes");
        let mut kinds: BTreeMap<NoteKind, u64> = BTreeMap::new();
        notes.iter().for_each(|note| *kinds.entry(note.kind).or_default() += 1);
        for (kind, count) in kinds {
            self.line(format_args!("  {} {}", grouped(count), note_words(kind, count)));
            for (index, note) in (0..).zip(notes.iter().filter(|note| note.kind == kind)) {
                if self.shows(index, NOTES_SHOWN) {
                    self.note(note);
                    self.flush()?;
                }
            }
            if !self.shows(count - 1, NOTES_SHOWN) {
                self.text.push_str("  ");
                self.more(count - NOTES_SHOWN, "of these");
            }
        }
        self.line("");
        Ok(())
    }

    fn note(&mut self, note: &Note) {
        let (ty, name) = (visible(&note.ty), self.record_name(&note.label, &note.key));
        self.line(format_args!("    {ty} {name}"));
        let words = shortened(&note.words, WORDS_WIDTH);
        self.line(format_args!("      {words}"));
        if let Some(target_id) = &note.target_id {
            let (job, key, id) = (&self.view.job_file, note.key.to_string(), target_id);
            let command = [job, &key, id].map(|word| shell_word(word)).join(" ");
            self.line(format_args!("      to let it have that record: entra-import adopt {command}"));
        }
        if let Some(Difference { name, hidden: true, .. }) = &note.attribute {
            self.line(format_args!("      {}: {HIDDEN}", visible(name)));
        } else if let Some(Difference { name, desired, current, applied, .. }) = &note.attribute {
            let (name, source, target) = (visible(name), self.value(desired), self.value(current));
            let mut text = format!("{name}: {source} in Entra, {target} in the target");
            if let Some(applied) = applied {
                let _ = write!(text, ", {} written last", self.value(applied));
            }
            self.line(format_args!("      {text}"));
        }
    }

    fn limits(&mut self, header: &Header) {
        let full = self.view.detail == Detail::Full;
        let shown: Vec<&LimitCheck> =
            header.limits.iter().filter(|limit| limit.waits() || released(limit) || full).collect();
        if shown.is_empty() {
            return;
        }
        self.heading("Limits");
        for check in shown {
            let state = match (check.held, check.waits()) {
                (true, _) => self.paint.text(Tone::Bad, "held"),
                (false, true) => self.paint.text(Tone::Bad, "waits"),
                (false, false) if check.approved > 0 => "approved".to_string(),
                (false, false) => "passed".to_string(),
            };
            let on = visible(&check.on);
            self.line(format_args!("  {state}: {} on {on}: {}", check.limit, shortened(&check.words, WORDS_WIDTH)));
            let approved = match check.approved {
                0 => String::new(),
                approved => format!(", {} approved", grouped(approved)),
            };
            let (count, allowed, base) = (grouped(check.count), grouped(check.allowed), grouped(check.base));
            self.line(format_args!("    {count} counted, {allowed} allowed without approval, of {base}{approved}"));
        }
        if header.preview.is_none()
            && let Some(command) = approve_command(header, &self.view.job_file)
        {
            let words = match header.limits.iter().any(|check| check.held) {
                true if header.undoes.is_some() => {
                    "Nothing is written while a limit holds. To let these records pass when this is tried again:"
                }
                true => "Nothing is written while a limit holds. To let these records pass on the next run:",
                false => "These records wait, the rest goes through. To let them pass on the next run:",
            };
            self.line(format_args!("  {words}"));
            self.line(format_args!("    {command}"));
        }
        self.line("");
    }

    fn nothing_to_do(&mut self, plan: &Plan) {
        let counts = plan.header.types.iter().flat_map(|ty| &ty.counts.changes);
        let changes: u64 = counts.filter(|(action, _)| **action != Action::Settle).map(|(_, count)| count).sum();
        if changes > 0 {
            return;
        }
        let held = plan.header.limits.iter().any(|limit| limit.held);
        let words = match (completeness(&plan.header) == "complete", plan.notes().is_empty() && !held) {
            (true, true) => "Nothing to do: the target holds what Entra ID says.",
            (true, false) => "Nothing to do but to decide about what is listed above.",
            (false, _) => "Nothing to do as far as is known: not everything could be read.",
        };
        self.line(words);
    }

    /// Each outcome with the changes that had it, in the order rejected, uncertain, not attempted.
    fn not_done(&mut self, applied: &Applied) -> Result<()> {
        let totals = &applied.totals;
        let groups = [
            ("rejected", totals.rejected, "The target refused these records; the others were written."),
            ("uncertain", totals.uncertain, "These were sent and the answer is not known. The next run looks first."),
            ("not attempted", totals.not_attempted, "These were not sent. The next run plans them anew."),
        ];
        for (outcome, count, words) in groups.into_iter().filter(|(_, count, _)| *count > 0) {
            let heading = format!("{} {outcome}", grouped(count));
            self.heading(heading);
            self.line(format_args!("  {words}"));
            let mut index = 0;
            for not_done in applied.not_done() {
                let not_done = not_done?;
                let (word, reason) = outcome_words(&not_done.outcome);
                if word != outcome {
                    continue;
                }
                if !self.shows(index, CHANGES_SHOWN) {
                    break;
                }
                index += 1;
                let symbol = self.paint.text(tone(not_done.action), not_done.action.symbol());
                let (ty, name) = (visible(&not_done.ty), self.record_name(&not_done.label, &not_done.key));
                self.line(format_args!("  {symbol} {ty} {name}: {}", shortened(reason, WORDS_WIDTH)));
                self.flush()?;
            }
            self.more(count - index, outcome);
            self.line("");
        }
        Ok(())
    }
}
