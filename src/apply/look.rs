//! Looking what became of changes that were sent by themselves and whose end nobody saw.
//!
//! Hides how a record's present state tells whether a change happened, and when a create that is not seen is proved not
//! to have arrived: where the target keeps the key unique (a second one would be refused), next to a record that was
//! created later and is seen, or after so long that nobody would believe the target any more. Deliberately sends nothing:
//! what did not happen is for a plan to decide anew.

use std::time::Duration;

use jiff::Timestamp;

use crate::clock::Clock;
use crate::crash;
use crate::error::Result;
use crate::ledger::{Became, ChangeEnd, EntryId, Intent, Ledger};
use crate::plan::change::{Action, Change, Current, Row, TypeSpec};
use crate::plan::datum::Datum;
use crate::target::{Capabilities, WriteRecords};

/// What a look at the target shows of a change.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// It happened: what the target calls the record, and the ledger's row, with values as they stand there.
    Happened(String, Option<Box<Row>>),
    /// It did not happen.
    Nothing,
    /// Several records carry the key: which of them is the one cannot be said, and the plan will name them.
    Several,
    /// A create that does not show, and nothing proves that it will not: it stays in the journal, and is not sent again.
    Open,
}

/// Who looks, and where.
pub(super) struct Looker<'a> {
    pub target: &'a dyn WriteRecords,
    pub capabilities: Capabilities,
    pub clock: &'a Clock,
}

/// Settles every change that an earlier run left in the journal.
pub(super) async fn settle(looker: &Looker<'_>, ledger: &mut Ledger, words: &mut Vec<String>) -> Result<()> {
    for unfinished in ledger.unfinished_changes()? {
        let (run, change) = (unfinished.run, &unfinished.intent.change);
        let about = format!("{} {} ({})", change.ty, change.label, change.key);
        let word = change.action.word();
        let verdict = looker.look(ledger, &unfinished.intent, None).await?;
        crash::point("unfinished change looked at");
        words.push(match &verdict {
            Verdict::Happened(..) => format!("Run {run} had sent the {word} of {about} when it ended: recorded now."),
            Verdict::Nothing => format!("Run {run} ended before the {word} of {about} arrived: nothing to put right."),
            Verdict::Several => {
                format!("Run {run} ended during the {word} of {about}, and several records carry its key by now.")
            }
            Verdict::Open => format!(
                "Run {run} got no answer to the {word} of {about}, and the target does not show yet whether it arrived: \
                 it is not sent again before that is known."
            ),
        });
        ledger.end_changes(end(unfinished.id, change, verdict).into_iter().collect())?;
    }
    Ok(())
}

/// The end of a journal entry that follows from a look; none where it has to stay.
pub(super) fn end(id: EntryId, change: &Change, verdict: Verdict) -> Option<ChangeEnd> {
    match verdict {
        Verdict::Happened(_, row) => {
            let (key, written) = (change.key.clone(), change.written(&[]));
            Some((id, Some(Became { key, row: row.map(|row| *row), written })))
        }
        Verdict::Nothing | Verdict::Several => Some((id, None)),
        Verdict::Open => None,
    }
}

impl Looker<'_> {
    /// Looks, once the target is expected to show what was sent. `later` is what the target calls a record that was
    /// created since, whatever its type.
    pub async fn look(&self, ledger: &Ledger, intent: &Intent, later: Option<&str>) -> Result<Verdict> {
        let Intent { at, change, spec } = intent;
        self.wait_for(*at).await;
        let is_proof = change.action != Action::Create || self.refuses_twins(spec) || self.is_certain(*at);
        let (mut found, is_proof) = match later {
            Some(later) if !is_proof => self.target.look_up_beside(spec, change, later).await?,
            _ => (self.target.look_up(spec, change).await?, is_proof),
        };
        if change.action == Action::Create && spec.key.is_empty() {
            // Nothing in the record says whose it is: another of the same values, known under its own key, is not this one.
            let mut others = Vec::with_capacity(found.len());
            for current in &found {
                others.push(ledger.key_of(&spec.name, &current.id)?.is_some_and(|key| key != change.key));
            }
            let mut others = others.into_iter();
            found.retain(|_| !others.next().unwrap_or_default());
        }
        Ok(match judge(spec, change, &found) {
            Verdict::Nothing if !is_proof => Verdict::Open,
            verdict => verdict,
        })
    }

    async fn wait_for(&self, at: Timestamp) {
        let delay = self.capabilities.visibility_delay();
        // A clock that went back must not make this wait for days.
        self.clock.sleep(self.clock.until(after(at, delay)).min(delay)).await;
    }

    /// Whether the target refuses a second record of the same key, so that a create that comes twice makes nothing.
    fn refuses_twins(&self, spec: &TypeSpec) -> bool {
        self.capabilities.unique_keys && !spec.key.is_empty()
            || spec.key.len() == 1 && spec.key.iter().all(|at| spec.attributes[*at].unique)
    }

    fn is_certain(&self, at: Timestamp) -> bool {
        self.clock.now() >= after(at, self.capabilities.certainty_delay())
    }
}

fn after(at: Timestamp, delay: Duration) -> Timestamp {
    let seconds = i64::try_from(delay.as_secs()).unwrap_or(i64::MAX);
    at.saturating_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(at)
}

/// What the records found say about a change.
fn judge(spec: &TypeSpec, change: &Change, found: &[Current]) -> Verdict {
    let [current] = found else {
        return match (found.is_empty(), change.action) {
            (true, Action::Delete) => Verdict::Happened(change.target_id.clone().unwrap_or_default(), None),
            (true, _) => Verdict::Nothing,
            (false, _) => Verdict::Several,
        };
    };
    let stands = |name: &str| {
        let at = spec.attributes.iter().position(|attribute| attribute.name == name)?;
        current.values.get(at)
    };
    let arrived = |after: &Datum, name: &str| stands(name) == Some(after);
    let happened = match change.action {
        Action::Delete => false,
        // It carries the key that only this change would have given it.
        Action::Create => true,
        // An update is one request: where one of its values stands, it arrived.
        _ => change
            .attributes
            .iter()
            .any(|written| written.before != written.after && arrived(&written.after, &written.name)),
    };
    if !happened {
        return Verdict::Nothing;
    }
    let row = change.ledger.clone().map(|mut row| {
        row.target_id.clone_from(&current.id);
        for written in change.attributes.iter().filter(|written| !arrived(&written.after, &written.name)) {
            // Someone wrote it since, or the target keeps it in a form of its own: compared anew.
            row.values.remove(&written.name);
        }
        Box::new(row)
    });
    Verdict::Happened(current.id.clone(), row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::change::{Held, Origin, State};
    use crate::target::conformance::{change, people};

    fn intent(action: Action) -> Change {
        let written = [("Name", Datum::text("new")), ("Email", Datum::text("mail"))];
        let mut change = change(&people(), action, Some("1"), &written);
        change.attributes.iter_mut().for_each(|written| written.before = Datum::text("old"));
        let both = |value: &Datum| Held { applied: value.clone(), settled: value.clone() };
        let values = written.iter().map(|(name, value)| ((*name).to_string(), both(value))).collect();
        change.ledger = (action != Action::Delete).then(|| Row {
            mapping: "m".into(),
            state: State::Owned,
            origin: Origin::Created,
            target_id: String::new(),
            label: "l".into(),
            values,
            missing_since: None,
        });
        change
    }

    fn record(name: &str, email: &str) -> Current {
        let values = [Datum::text("key"), Datum::text(name), Datum::text(email), Datum::Empty];
        Current { id: "7".into(), values: values.to_vec() }
    }

    /// What was found against what is concluded: the attributes whose values the ledger holds afterwards.
    #[test]
    fn what_stands_in_the_target_tells_what_happened() {
        let cases: [(Action, &[Current], &str); 9] = [
            (Action::Create, &[], "nothing"),
            (Action::Create, &[record("new", "mail")], "Email Name"),
            (Action::Create, &[record("new", "edited")], "Name"),
            (Action::Update, &[], "nothing"),
            (Action::Update, &[record("old", "old")], "nothing"),
            (Action::Update, &[record("new", "mail")], "Email Name"),
            (Action::Update, &[record("new", "edited")], "Name"),
            (Action::Delete, &[], "forgotten"),
            (Action::Delete, &[record("new", "mail")], "nothing"),
        ];
        for (action, found, expected) in cases {
            let got = match judge(&people(), &intent(action), found) {
                Verdict::Happened(_, Some(row)) => row.values.into_keys().collect::<Vec<_>>().join(" "),
                Verdict::Happened(_, None) => "forgotten".into(),
                Verdict::Nothing => "nothing".into(),
                Verdict::Several => "several".into(),
                Verdict::Open => "open".into(),
            };
            assert_eq!(got, expected, "{action:?} {found:?}");
        }
        let twice = [record("new", "mail"), record("new", "mail")];
        assert_eq!(judge(&people(), &intent(Action::Create), &twice), Verdict::Several);
    }
}
