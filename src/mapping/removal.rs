//! `removal`: what happens, step by step, to records that are on their way out.
//!
//! Hides the two ways to write it (one ladder, or one per cause), refuses ladders that no target could climb, and
//! passes over `deactivate`, with words: ladders are shared between jobs (`extends`), and no target of this version has
//! a switch for its records. Deliberately does not decide when a record is on its way out.

use std::collections::BTreeMap;

use crate::diagnostic::Problems;
use crate::plan::policy::{CauseKind, Removal, Step, StepAction};
use crate::tree::{Fields, Kind, Node};

/// The longest wait before a step, in days: a hundred years.
const AFTER_DAYS_MAX: i64 = 36_500;

/// What is said of a step that no target can take.
const NO_SWITCH: &str = "the step `deactivate` is passed over: neither rows of a CSV file nor objects of Assets can be \
                         switched off; `{ flag = { \"Status\" = \"Left\" } }` marks them";

/// Reads `removal = [steps]`, or a table with a ladder per cause.
pub fn read(node: &Node, problems: &mut Problems) -> Removal {
    match &node.kind {
        Kind::List(_) => Removal { default: ladder(node, problems), ..Removal::default() },
        Kind::Table(table) => {
            let mut fields = Fields::new(table, &node.place, "`removal`");
            let default = fields.get("default").map(|node| ladder(node, problems)).unwrap_or_default();
            let mut by_cause = BTreeMap::new();
            for (key, cause) in [("gone", CauseKind::Gone), ("disabled", CauseKind::Disabled), ("out", CauseKind::Out)]
            {
                if let Some(node) = fields.get(key) {
                    by_cause.insert(cause, ladder(node, problems));
                }
            }
            let delete_adopted = fields.get("delete_adopted").and_then(|node| node.bool(problems)).unwrap_or(false);
            fields.finish(&[], problems);
            Removal { default, by_cause, delete_adopted }
        }
        _ => {
            problems.add_with_help(
                &node.place,
                format!("expected a list of steps or a table, found {}", node.kind.what()),
                "write `removal = [ { delete = {}, after_days = 365 } ]`, or `removal = []` to keep and list",
            );
            Removal::default()
        }
    }
}

fn ladder(node: &Node, problems: &mut Problems) -> Vec<Step> {
    let Some(items) = node.list(problems) else { return Vec::new() };
    let mut steps: Vec<Step> = Vec::with_capacity(items.len());
    let mut days_before = 0;
    for item in items {
        let Some((action, after_days)) = step(item, problems) else { continue };
        if steps.last().is_some_and(|last| last.action == StepAction::Delete) {
            problems.add(&item.place, "nothing can follow `delete`: the record is gone then");
        } else if days_before > after_days {
            problems.add_with_help(
                &item.place,
                format!("this step comes after {after_days} days, the one before it after {days_before}"),
                "write the steps in the order of their days, each counted from the first run that proved the cause",
            );
        }
        days_before = after_days;
        steps.extend(action.map(|action| Step { action, after_days }));
    }
    steps
}

/// What a step does, none where no target can do it, and after how many days.
fn step(node: &Node, problems: &mut Problems) -> Option<(Option<StepAction>, u32)> {
    let mut fields = Fields::new(node.table(problems)?, &node.place, "a step of `removal`");
    let flag = fields.get("flag");
    let deactivate = fields.get("deactivate");
    let delete = fields.get("delete");
    let days = fields.get("after_days").map_or(Some(0), |node| node.int(0..=AFTER_DAYS_MAX, problems));
    fields.finish(&[("delete_adopted", "beside `default`, in `removal` itself")], problems);
    let action = match (flag, deactivate, delete) {
        (Some(values), None, None) => Some(StepAction::Flag(flag_values(values, problems)?)),
        (None, Some(options), None) => {
            no_options(options, "`deactivate`", problems)?;
            problems.remark(&node.place, NO_SWITCH);
            None
        }
        (None, None, Some(options)) => {
            no_options(options, "`delete`", problems)?;
            Some(StepAction::Delete)
        }
        _ => {
            problems.add_with_help(
                &node.place,
                "a step does exactly one thing",
                "write one of `{ flag = { \"Status\" = \"Left\" } }`, `{ deactivate = {}, after_days = 30 }` and \
                 `{ delete = {}, after_days = 365 }`",
            );
            return None;
        }
    };
    Some((action, u32::try_from(days?).ok()?))
}

fn no_options(node: &Node, step: &str, problems: &mut Problems) -> Option<()> {
    Fields::new(node.table(problems)?, &node.place, step).finish(&[], problems);
    Some(())
}

fn flag_values(node: &Node, problems: &mut Problems) -> Option<BTreeMap<String, String>> {
    let table = node.table(problems)?;
    if table.entries.is_empty() {
        problems.add(&node.place, "`flag` names no attribute to set");
    }
    let pairs = table.entries.iter().map(|entry| {
        let text = super::scalar_text(&entry.value);
        if text.is_none() {
            problems.add(&entry.value.place, format!("expected a text, found {}", entry.value.kind.what()));
        }
        Some((entry.key.clone(), text?))
    });
    pairs.collect()
}
