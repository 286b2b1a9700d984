//! What `explain` prints: a page about one record for people, one document for programs.
//!
//! Deliberately leaves nothing out of the document; the page cuts long values and long lists, unless it is asked for all.

use std::fmt::Write as _;
use std::io::Write;

use serde_json::Value as Json;

use super::lookup::{AnswerFormat, document, lists_of};
use super::text::{HIDDEN, change_lines};
use super::words::grouped;
use super::{Detail, View, write_failed};
use crate::error::{Context, Result};
use crate::explain::{
    AttributeView, ClauseView, Explanation, Fate, Input, LinkView, ScopeView, SourceView, TargetView,
};
use crate::plan::Ran;
use crate::plan::attributes::ChangedBy;
use crate::plan::change::Origin;
use crate::plan::datum::Datum;
use crate::visible::{quoted, shortened, visible};

/// Characters of one value, and of one sentence, before it is shortened.
const VALUE_WIDTH: usize = 72;
const WORDS_WIDTH: usize = 400;
/// Elements of a list, and links of a record, that are shown before the rest is only counted.
const SHOWN: usize = 10;

impl AnswerFormat {
    /// Everything there is to say of one record.
    pub fn explained(self, explanation: &Explanation, view: &View, to: &mut dyn Write) -> Result<()> {
        match self {
            AnswerFormat::Text => to.write_all(Page::of(explanation, view).as_bytes()).failing(write_failed),
            AnswerFormat::Json => document("explain/1", explanation, to),
        }
    }
}

struct Page<'a> {
    text: String,
    view: &'a View,
}

impl Page<'_> {
    fn of(explanation: &Explanation, view: &View) -> String {
        let mut page = Page { text: String::new(), view };
        let name = explanation.name.as_deref().map(|name| format!("  {}", visible(name))).unwrap_or_default();
        page.line(0, &format!("{}{name}, read at {:.0}", visible(&explanation.key), explanation.as_of));
        if let Some(why) = &explanation.preview {
            page.line(1, &format!("preview only: {}", shortened(why, WORDS_WIDTH)));
        }
        explanation.sources.iter().for_each(|source| page.source(source));
        explanation.targets.iter().for_each(|target| page.target(target));
        page.links(&explanation.links);
        page.limits(explanation);
        page.text
    }

    /// One line, so many steps in.
    fn line(&mut self, depth: usize, text: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{:width$}{text}", "", width = 2 * depth);
    }

    fn is_full(&self) -> bool {
        self.view.detail >= Detail::Full
    }

    fn source(&mut self, source: &SourceView) {
        self.line(0, "");
        let words = shortened(&source.words, WORDS_WIDTH);
        let state = match source.state {
            "in" => words,
            "edited" => format!("waits: {words}"),
            state => format!("{}: {words}", state.replace('-', " ")),
        };
        self.line(0, &format!("{}: {state}", source.collection));
        if let Some(object) = &source.object {
            for (name, value) in &object.properties {
                if !is_nothing(value) {
                    let value = self.json(value);
                    self.line(1, &format!("{}: {value}", visible(name)));
                }
            }
            let lists = lists_of(object, if self.is_full() { usize::MAX } else { SHOWN });
            lists
                .lines()
                .for_each(|line| self.line(1, line.strip_prefix("  manager").map_or(line, |_| line.trim_start())));
        }
        for (name, value) in &source.properties {
            let value = self.json(value);
            self.line(1, &format!("{}: {value}", visible(name)));
        }
        if !source.private.is_empty() {
            let names: Vec<&str> = source.private.iter().map(String::as_str).collect();
            self.line(1, &format!("not shown, because private: {}", names.join(", ")));
        }
        self.scope("scope", &source.scope);
        source.accepted.iter().for_each(|scope| self.scope("scope accepted before", scope));
    }

    fn scope(&mut self, title: &str, scope: &ScopeView) {
        match &scope.filter {
            Some(filter) => self.line(1, &format!("{title}: {}", shortened(filter, WORDS_WIDTH))),
            None => self.line(1, &format!("{title}: all are let in")),
        }
        match &scope.excluded {
            Some(Json::Bool(true)) => self.line(2, "true      on the job's list of excluded records"),
            Some(Json::Bool(false)) | None => {}
            Some(unknown) => self.line(2, &format!("unknown   on the job's exclude list: {}", reason(unknown))),
        }
        scope.clauses.iter().for_each(|clause| self.clause(clause));
    }

    fn clause(&mut self, clause: &ClauseView) {
        let (value, why) = match &clause.value {
            Some(Json::Bool(value)) => (value.to_string(), None),
            Some(unknown) => ("unknown".to_owned(), Some(reason(unknown))),
            None => ("-".to_owned(), None),
        };
        let at_graph = if clause.ran == Ran::AtGraph { "  (Graph was asked for it)" } else { "" };
        self.line(2, &format!("{value:8}  {}{at_graph}", shortened(&clause.clause, WORDS_WIDTH)));
        if let Some(why) = why {
            self.line(7, &why);
        }
        clause.inputs.iter().for_each(|input| self.input(7, input));
    }

    fn input(&mut self, depth: usize, input: &Input) {
        let value = match &input.value {
            Some(value) => self.json(value),
            None => "(private)".to_owned(),
        };
        self.line(depth, &format!("{} = {value}", visible(&input.path)));
    }

    fn target(&mut self, target: &TargetView) {
        self.line(0, "");
        self.line(0, &format!("{}: {}", visible(&target.ty), shortened(&target.fate.outcome, WORDS_WIDTH)));
        let id = target.target_id.as_deref().map(|id| quoted(id, VALUE_WIDTH)).unwrap_or_default();
        let found = match target.found {
            "there" => format!("the target holds it as {id}"),
            "absent" => "the target does not hold it".to_owned(),
            "not-read" => "the target was not read completely, and it was not seen".to_owned(),
            "collision" => "several records of the target match, or another owns the match".to_owned(),
            "returner" => format!("record {id} of the target belongs to a deleted object"),
            _ => "nothing was looked for in the target".to_owned(),
        };
        self.line(1, &found);
        if let Some(ledger) = &target.ledger {
            let origin = match ledger.origin {
                Origin::Created => "created",
                Origin::Adopted => "taken over",
            };
            let state = ledger.state.replace('-', " ");
            self.line(1, &format!("ledger: {state}, {origin} by mapping {}", visible(&ledger.mapping)));
            if let Some(leaving) = &ledger.leaving {
                self.line(2, &shortened(leaving, WORDS_WIDTH));
            }
            if let Some(since) = ledger.missing_since {
                self.line(2, &format!("not found by id since {since:.0}"));
            }
        }
        if let Some(reason) = &target.rejected {
            self.line(1, &format!("the mapping fails: {}", shortened(reason, WORDS_WIDTH)));
        }
        self.line(1, &format!("attributes, as mapping {} makes them", visible(&target.mapping)));
        target.attributes.iter().for_each(|attribute| self.attribute(attribute));
        self.fate(&target.fate);
    }

    fn attribute(&mut self, attribute: &AttributeView) {
        let name = visible(&attribute.name).into_owned();
        if attribute.hidden {
            let changed = attribute.changed_by.map(words_of).map(|words| format!("; {words}")).unwrap_or_default();
            self.line(2, &format!("{name}: (private){changed}"));
            return;
        }
        let sides =
            [("Entra", &attribute.desired), ("target", &attribute.current), ("written last", &attribute.applied)];
        let same = attribute.changed_by.is_none() && attribute.desired == attribute.current;
        let shown = sides.iter().filter(|(side, _)| !same || *side == "Entra");
        let shown: Vec<String> =
            shown.filter_map(|(side, value)| Some(format!("{} in {side}", self.datum(value.as_ref()?)))).collect();
        let shown: Vec<String> =
            shown.into_iter().map(|words| words.replace(" in written last", " written last")).collect();
        let mut text = match (same, &attribute.desired) {
            (true, Some(value)) => format!("{} on both sides", self.datum(value)),
            _ => shown.join(", "),
        };
        if let Some(changed) = attribute.changed_by {
            let _ = write!(text, "; {}", words_of(changed));
        }
        self.line(2, &format!("{name}: {text}"));
        if let Some(expression) = &attribute.expression {
            let inputs: Vec<&Input> = attribute.inputs.iter().filter(|input| input.path != *expression).collect();
            let expression = shortened(expression, WORDS_WIDTH);
            self.line(4, &expression);
            inputs.into_iter().for_each(|input| self.input(5, input));
        }
    }

    fn fate(&mut self, fate: &Fate) {
        if let Some(change) = &fate.change {
            self.line(1, "change");
            let lines = change_lines(change, self.view);
            lines.lines().for_each(|line| self.text.push_str(&format!("  {line}\n")));
        }
        for note in &fate.notes {
            self.line(1, &format!("note: {}", shortened(&note.words, WORDS_WIDTH)));
            if let Some(difference) = &note.attribute {
                let name = visible(&difference.name).into_owned();
                let words = if difference.hidden { HIDDEN.to_owned() } else { self.datum(&difference.desired) };
                self.line(2, &format!("{name}: {words}"));
            }
        }
        for limit in &fate.held_by {
            self.line(1, &format!("held: this counts against the limit {limit}"));
        }
    }

    fn links(&mut self, links: &[LinkView]) {
        if links.is_empty() {
            return;
        }
        self.line(0, "");
        let changing = links.iter().filter(|link| link.fate.change.is_some()).count();
        let (all, changing) = (grouped(links.len() as u64), grouped(changing as u64));
        self.line(0, &format!("links: {all}, of which {changing} would change"));
        let most = if self.is_full() { usize::MAX } else { SHOWN };
        // Those that change come first.
        let mut sorted: Vec<&LinkView> = links.iter().collect();
        sorted.sort_by_key(|link| link.fate.change.is_none());
        for link in sorted.iter().take(most) {
            let (name, outcome) = (visible(&link.name), shortened(&link.fate.outcome, WORDS_WIDTH));
            self.line(1, &format!("{} {name} ({}): {outcome}", visible(&link.ty), visible(&link.key)));
        }
        if links.len() > most {
            self.line(1, &format!("and {} more; -v shows them", grouped((links.len() - most) as u64)));
        }
    }

    fn limits(&mut self, explanation: &Explanation) {
        if explanation.limits.is_empty() {
            return;
        }
        self.line(0, "");
        let held = explanation.limits.iter().any(|check| check.held);
        let words = match held {
            true => "the whole run is held: nothing is written before a person approves",
            false => "some records of the run wait for approval",
        };
        self.line(0, words);
        for check in &explanation.limits {
            let words = shortened(&check.words, WORDS_WIDTH);
            self.line(1, &format!("{} on {}: {words}", check.limit, visible(&check.on)));
        }
    }

    fn datum(&self, datum: &Datum) -> String {
        let width = if self.is_full() { usize::MAX } else { VALUE_WIDTH };
        match datum {
            Datum::Empty => "(empty)".to_owned(),
            Datum::One(text) => quoted(text, width),
            Datum::Unknown(reason) => format!("unknown ({})", shortened(&reason.0, WORDS_WIDTH)),
            Datum::Set(set) => {
                let mut items: Vec<String> = set.items.iter().map(|item| quoted(item, width)).collect();
                self.cut(&mut items);
                items.extend(set.maybe().iter().map(|item| format!("perhaps {}", quoted(item, width))));
                items.extend(
                    set.rest()
                        .cloned()
                        .iter()
                        .map(|rest| format!("perhaps more ({})", shortened(&rest.0, WORDS_WIDTH))),
                );
                if items.is_empty() { "(none)".to_owned() } else { items.join(", ") }
            }
        }
    }

    fn json(&self, value: &Json) -> String {
        let width = if self.is_full() { usize::MAX } else { VALUE_WIDTH };
        match value {
            Json::Null => "(empty)".to_owned(),
            Json::String(text) => quoted(text, width),
            Json::Array(items) if items.is_empty() => "(none)".to_owned(),
            Json::Array(items) => {
                let mut items: Vec<String> = items.iter().map(|item| self.json(item)).collect();
                self.cut(&mut items);
                items.join(", ")
            }
            Json::Object(object) if object.len() == 1 && object.contains_key("unknown") => {
                format!("unknown ({})", reason(value))
            }
            other => shortened(&other.to_string(), if self.is_full() { usize::MAX } else { WORDS_WIDTH }),
        }
    }

    fn cut(&self, items: &mut Vec<String>) {
        if items.len() > SHOWN && !self.is_full() {
            let more = items.len() - SHOWN;
            items.truncate(SHOWN);
            items.push(format!("and {} more", grouped(more as u64)));
        }
    }
}

/// Whose doing a difference is.
fn words_of(changed: ChangedBy) -> &'static str {
    match changed {
        ChangedBy::Entra => "changed in Entra",
        ChangedBy::Target => "changed in the target",
        ChangedBy::Both => "changed in Entra and in the target",
        ChangedBy::Nobody => "neither changed since it was settled",
        ChangedBy::Unknown => "who changed it is not known: it was never written by this job",
    }
}

/// The reason in `{"unknown": "reason"}`.
fn reason(value: &Json) -> String {
    shortened(value["unknown"].as_str().unwrap_or_default(), WORDS_WIDTH)
}

fn is_nothing(value: &Json) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}
