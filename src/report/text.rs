//! Plans, outcomes and checks as text for people, readable without colour and safe on any terminal.
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
//!
//! Values are in quotes, with hidden characters as escapes ([`super::visible`]); values longer than
//! `VALUE_WIDTH` characters are shortened here and only here, unless [`Detail::Full`] is asked for. Deliberately
//! looks up nothing: a reference is shown by the key it holds.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::io::Write;

use anstyle::{AnsiColor, Style};

use super::applied::Applied;
use super::check::{Check, Verdict};
use super::cost::Cost;
use super::csv::outcome_words;
use super::json::is_gap;
use super::visible::{quoted, shell_word, shortened, visible};
use super::{Detail, View, write_failed};
use crate::error::{Context, Result};
use crate::plan::change::{Action, Adoption, AttributeChange, Change, Difference, Note, NoteKind};
use crate::plan::datum::{Datum, Set};
use crate::plan::{FilterSummary, Header, LimitCheck, LimitName, Plan, Ran, SourceSummary, TypeSummary};
use crate::snapshot::How;

/// In place of the values of a private attribute.
pub(super) const HIDDEN: &str = "changed (private)";
/// Characters of one value before it is shortened.
const VALUE_WIDTH: usize = 72;
/// Characters of a record's name before it is shortened.
const LABEL_WIDTH: usize = 80;
/// Characters of a sentence before it is shortened; sentences may quote values.
const WORDS_WIDTH: usize = 400;
/// Elements of one set, added or removed, that are shown before the rest is only counted.
const ELEMENTS_SHOWN: usize = 10;
/// Changes of one action of one type that are shown before the rest is only counted.
const CHANGES_SHOWN: u64 = 10;
/// Notes of one kind, and changes not done of one outcome, that are shown before the rest is only counted.
const NOTES_SHOWN: u64 = 5;
/// The widest column of attribute names; longer names push their own line out.
const NAME_WIDTH: usize = 24;

/// What a piece of text means, for colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tone {
    Strong,
    Good,
    Update,
    Adopt,
    Bad,
    Quiet,
}

/// Puts colour on text, or does not.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    pub on: bool,
}

impl Paint {
    /// The text in its colour.
    pub fn text(self, tone: Tone, text: impl Display) -> String {
        if !self.on {
            return text.to_string();
        }
        let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
        let style = match tone {
            Tone::Strong => Style::new().bold(),
            Tone::Good => colour(AnsiColor::Green),
            Tone::Update => colour(AnsiColor::Yellow),
            Tone::Adopt => colour(AnsiColor::Cyan),
            Tone::Bad => colour(AnsiColor::Red).bold(),
            Tone::Quiet => Style::new().dimmed(),
        };
        format!("{style}{text}{style:#}")
    }
}

/// The whole plan; its last line is [`summary`].
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
    page.text.push_str(&summary(plan));
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

/// What became of a plan: each change that was not done, and [`applied_summary`] as the last line. When everything
/// was done that line is all.
pub fn applied(applied: &Applied, view: &View, to: &mut dyn Write) -> Result<()> {
    let mut page = Page::new(view, to);
    page.not_done(applied)?;
    page.text.push_str(&applied_summary(applied));
    page.text.push('\n');
    page.flush()
}

/// The findings of one job in full; of several jobs the findings that are not good, then one table.
pub fn checks(checks: &[Check], view: &View, to: &mut dyn Write) -> Result<()> {
    let mut page = Page::new(view, to);
    for check in checks {
        page.findings(check, checks.len() > 1 && view.detail == Detail::Brief);
    }
    if checks.len() > 1 {
        page.check_table(checks);
    }
    page.flush()
}

/// One change with its attributes and its cause, as a plan shows it.
pub(super) fn change_lines(change: &Change, view: &View) -> String {
    let mut nowhere = std::io::sink();
    let mut page = Page::new(view, &mut nowhere);
    page.change(change);
    page.text
}

/// The plan in one line, without a line break. Its form is an interface; see the head of this module.
pub fn summary(plan: &Plan) -> String {
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
pub fn applied_summary(applied: &Applied) -> String {
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

fn completeness(header: &Header) -> String {
    let sources = header.sources.iter().filter(|source| is_gap(source)).map(|gap| gap.collection.name().to_string());
    let types = header.types.iter().filter(|ty| !ty.coverage.is_complete());
    let gaps: Vec<String> =
        sources.chain(types.map(|ty| format!("{} in the target", visible(&ty.spec.name)))).collect();
    if gaps.is_empty() { "complete".to_string() } else { format!("partial ({})", gaps.join(", ")) }
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

/// A number with a comma between thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
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

fn plural<'a>(number: u64, one: &'a str, many: &'a str) -> &'a str {
    if number == 1 { one } else { many }
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

    fn change(&mut self, change: &Change) {
        let symbol = self.paint.text(tone(change.action), change.action.symbol());
        let name = self.record_name(&change.label, &change.key);
        self.line(format_args!("  {symbol} {name}"));
        let width = change.attributes.iter().map(|attribute| visible(&attribute.name).chars().count()).max();
        let width = width.unwrap_or_default().min(NAME_WIDTH);
        for attribute in &change.attributes {
            self.attribute(attribute, change.action, width);
        }
        if let Some(cause) = &change.cause {
            let words = shortened(&cause.words, WORDS_WIDTH);
            self.line(format_args!("      because {words}"));
        }
    }

    fn attribute(&mut self, attribute: &AttributeChange, action: Action, width: usize) {
        // A new record has nothing where nothing is written.
        if action == Action::Create && !attribute.hidden && attribute.before.is_empty() && attribute.after.is_empty() {
            return;
        }
        let name = visible(&attribute.name);
        let mut text = match (&attribute.before, &attribute.after) {
            _ if attribute.hidden => HIDDEN.to_string(),
            (Datum::Empty, after) if action == Action::Create => self.value(after),
            (before, Datum::Set(after)) => self.set_change(before, after),
            (before @ Datum::Set(_), Datum::Empty) => self.set_change(before, &Set::default()),
            (before, after) => format!("{} -> {}", self.value(before), self.value(after)),
        };
        if let Some(cause) = &attribute.cause {
            let _ = write!(text, "  ({})", shortened(cause, WORDS_WIDTH));
        }
        self.line(format_args!("      {name:width$}  {text}"));
    }

    /// `+ "VPN"  - "Old"`: only what differs.
    fn set_change(&self, before: &Datum, after: &Set) -> String {
        let none = Set::default();
        let before = match before {
            Datum::Empty => &none,
            Datum::Set(set) => set,
            // A single value, or an unknown one, has no elements to compare.
            single => return format!("{} -> {}", self.value(single), self.elements(after)),
        };
        let only = |these: &Set, those: &Set| -> Vec<Box<str>> {
            these.items.iter().filter(|item| those.items.binary_search(item).is_err()).cloned().collect()
        };
        let (added, removed) = (only(after, before), only(before, after));
        let mut parts = Vec::new();
        if !added.is_empty() {
            parts.push(format!("{} {}", self.paint.text(Tone::Good, "+"), self.items(&added)));
        }
        if !removed.is_empty() {
            parts.push(format!("{} {}", self.paint.text(Tone::Bad, "-"), self.items(&removed)));
        }
        if parts.is_empty() {
            // Only the doubt differs.
            return format!("{} -> {}", self.elements(before), self.elements(after));
        }
        parts.join("  ")
    }

    fn value(&self, value: &Datum) -> String {
        match value {
            Datum::Empty => "(empty)".to_string(),
            Datum::One(text) => quoted(text, self.value_width()),
            Datum::Unknown(reason) => format!("unknown ({})", shortened(&reason.0, WORDS_WIDTH)),
            Datum::Set(set) => self.elements(set),
        }
    }

    fn elements(&self, set: &Set) -> String {
        let mut text = if set.items.is_empty() { "(none)".to_string() } else { self.items(&set.items) };
        if !set.maybe().is_empty() {
            let _ = write!(text, ", perhaps {}", self.items(set.maybe()));
        }
        if let Some(reason) = set.rest() {
            let _ = write!(text, ", perhaps more ({})", shortened(&reason.0, WORDS_WIDTH));
        }
        text
    }

    fn items(&self, items: &[Box<str>]) -> String {
        let shown = if self.view.detail == Detail::Full { items.len() } else { ELEMENTS_SHOWN };
        let mut texts: Vec<String> = items.iter().take(shown).map(|item| quoted(item, self.value_width())).collect();
        if items.len() > shown {
            texts.push(format!("and {} more", grouped((items.len() - shown) as u64)));
        }
        texts.join(", ")
    }

    fn value_width(&self) -> usize {
        if self.view.detail == Detail::Full { usize::MAX } else { VALUE_WIDTH }
    }

    fn record_name(&self, label: &str, key: &impl Display) -> String {
        let (label, key) = (shortened(label, LABEL_WIDTH), shortened(&key.to_string(), LABEL_WIDTH * 2));
        if label.is_empty() || label == key { key } else { format!("{label} ({key})") }
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

    fn check_table(&mut self, checks: &[Check]) {
        let names: Vec<String> = checks.iter().map(|check| shortened(&check.job, LABEL_WIDTH)).collect();
        let width = names.iter().map(|name| name.chars().count()).chain([3]).max().unwrap_or_default();
        self.heading(format_args!("{:width$}  {:8} {:>5} {:>8} {:>4}", "Job", "Verdict", "Good", "Warnings", "Bad"));
        for (check, name) in checks.iter().zip(names) {
            let verdict = self.verdict(check.verdict(), 8);
            let [good, warnings, bad] =
                [Verdict::Good, Verdict::Warning, Verdict::Bad].map(|verdict| check.count(verdict));
            self.line(format_args!("{name:width$}  {verdict} {good:>5} {warnings:>8} {bad:>4}"));
        }
        self.line("");
    }

    fn verdict(&self, verdict: Verdict, width: usize) -> String {
        let tone = match verdict {
            Verdict::Good => Tone::Good,
            Verdict::Warning => Tone::Update,
            Verdict::Bad => Tone::Bad,
        };
        self.paint.text(tone, format_args!("{:width$}", verdict.word()))
    }

    fn findings(&mut self, check: &Check, without_good: bool) {
        let shown = |verdict: Verdict| !without_good || verdict > Verdict::Good;
        if !check.findings.iter().any(|finding| shown(finding.verdict)) {
            return;
        }
        let job = shortened(&check.job, LABEL_WIDTH);
        self.heading(job);
        for finding in check.findings.iter().filter(|finding| shown(finding.verdict)) {
            let verdict = self.verdict(finding.verdict, 7);
            // A mistake in a file is shown with its place, which takes lines.
            let words: Vec<String> = finding.words.lines().map(|line| shortened(line, WORDS_WIDTH)).collect();
            let (about, words) = (shortened(&finding.about, LABEL_WIDTH), words.join("\n           "));
            self.line(format_args!("  {verdict}  {about}: {words}"));
            if let Some(hint) = &finding.hint {
                self.line(format_args!("           to do: {}", shortened(hint, WORDS_WIDTH)));
            }
        }
        self.line("");
    }
}

/// The command that lets everything pass that this plan is held by; `None` when nothing holds it.
pub fn approve_command(header: &Header, job_file: &str) -> Option<String> {
    let mut limits: Vec<_> = header.limits.iter().filter(|check| check.waits()).map(|check| check.limit).collect();
    limits.sort_unstable();
    limits.dedup();
    if limits.is_empty() {
        return None;
    }
    let mut command = format!("entra-import approve {} {}", shell_word(job_file), shell_word(&header.id));
    for limit in limits {
        let _ = write!(command, " --limit {limit}");
    }
    Some(command)
}

pub(super) fn note_words(kind: NoteKind, count: u64) -> &'static str {
    let (one, many) = match kind {
        NoteKind::Collision => (
            "collision: it is not clear which record is meant, so nothing was written",
            "collisions: it is not clear which records are meant, so nothing was written",
        ),
        NoteKind::Returner => (
            "returner: a new object matches the record of a deleted one",
            "returners: new objects match the records of deleted ones",
        ),
        NoteKind::Rejected => ("record could not be mapped", "records could not be mapped"),
        NoteKind::Refused => (
            "change was refused by the target lately and is not sent again yet",
            "changes were refused by the target lately and are not sent again yet",
        ),
        NoteKind::NotUndone => (
            "record or value was changed since and is not taken back",
            "records or values were changed since and are not taken back",
        ),
        NoteKind::FilterEdit => (
            "record would leave only because the scope or a mapping was edited",
            "records would leave only because the scope or a mapping was edited",
        ),
        NoteKind::DeletedInTarget => ("record was deleted in the target", "records were deleted in the target"),
        NoteKind::Kept => ("record left Entra's scope and is kept", "records left Entra's scope and are kept"),
        NoteKind::StillHolds => (
            "record left and still holds what this job does not own",
            "records left and still hold what this job does not own",
        ),
        NoteKind::ChangedInTarget => {
            ("change made in the target was left alone", "changes made in the target were left alone")
        }
        NoteKind::Conflict => (
            "value was changed on both sides and was left alone",
            "values were changed on both sides and were left alone",
        ),
        NoteKind::DiffersSinceAdoption => (
            "value differed when its record was adopted and was left alone",
            "values differed when their records were adopted and were left alone",
        ),
        NoteKind::ReferenceLeftOut => (
            "reference was left out because its record is not there",
            "references were left out because their records are not there",
        ),
        NoteKind::Protected => (
            "protected record would have changed and was left alone",
            "protected records would have changed and were left alone",
        ),
        NoteKind::NotFound => (
            "name leads to no record of the target, or to several",
            "names lead to no record of the target, or to several",
        ),
        NoteKind::Shortened => (
            "value was longer than the mapping allows and is cut",
            "values were longer than the mapping allows and are cut",
        ),
        NoteKind::Stranger => (
            "record carries an Entra id that this job does not own",
            "records carry an Entra id that this job does not own",
        ),
    };
    plural(count, one, many)
}
