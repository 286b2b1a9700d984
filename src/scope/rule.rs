//! The filter and the exclude list of one collection, on one record; and the words for what they leave out.
//!
//! Hides in which order they are asked and which of them has the last word. Deliberately knows one record at a time: ends
//! of pairs and accepted scopes are [`super::Judge`]'s.

use std::collections::BTreeSet;

use super::Standing;
use crate::expr::{Expr, Navigate, Truth};
use crate::job::{self, Exclude, Job};
use crate::plan::change::Cause;
use crate::record::{Collection, Record};

/// Stands for the job's list of excluded records, in the place of a clause.
const EXCLUDE: &str = "exclude";
pub(super) const UNTIL_EDITED: &str = "in scope until the scope was edited; now left out: ";
pub(super) const DISABLED: &str = "disabled: ";
pub(super) const NOT_TRUE: &str = " is not true";

/// The filter and the exclude list of one collection, ready to judge.
pub(super) struct Rule<'a> {
    filter: Option<&'a Expr>,
    /// In the order written, each with its normal form.
    clauses: Vec<(Expr, String)>,
    exclude: Option<&'a Exclude>,
}

impl<'a> Rule<'a> {
    pub(super) fn new(scope: &'a job::Scope, collection: Collection) -> Rule<'a> {
        let filter = scope.filters.get(&collection).map(|filter| &filter.expr);
        let named = filter.map(Expr::clauses).unwrap_or_default().into_iter().map(|clause| {
            let words = clause.to_string();
            (clause, words)
        });
        Rule { filter, clauses: named.collect(), exclude: scope.exclude.get(&collection) }
    }

    /// `Err` names the clause that is false. What each clause did is added to `effects`, if that has room for it.
    pub(super) fn judge(
        &self,
        record: &Record,
        navigate: &dyn Navigate,
        effects: &mut [Effect],
    ) -> Result<Standing, &str> {
        let mut doubt = None;
        match self.exclude.map(|exclude| exclude.covers(record, navigate)) {
            Some(Ok(true)) => return Err(EXCLUDE),
            Some(Err(reason)) => doubt = Some(reason),
            _ => {}
        }
        let mut unknown = Vec::new();
        for (index, (clause, words)) in self.clauses.iter().enumerate() {
            match clause.truth(record, navigate) {
                Truth::True => {}
                Truth::False => {
                    effects.get_mut(index).into_iter().for_each(|effect| effect.dropped += 1);
                    return Err(words);
                }
                Truth::Unknown(reason) => {
                    unknown.push(index);
                    doubt = doubt.or(Some(reason));
                }
            }
        }
        for index in unknown {
            effects.get_mut(index).into_iter().for_each(|effect| effect.unknown += 1);
        }
        Ok(doubt.map_or(Standing::In, Standing::Unknown))
    }

    /// What each part says of a record, whatever the others say. Without a record nothing is said.
    pub(super) fn opinion(&self, record: Option<&Record>, navigate: &dyn Navigate) -> Opinion {
        let excluded = |exclude: &&Exclude| {
            Some(match exclude.covers(record?, navigate) {
                Ok(true) => Truth::True,
                Ok(false) => Truth::False,
                Err(reason) => Truth::Unknown(reason),
            })
        };
        let clause =
            |(clause, _): &(Expr, String)| (clause.clone(), record.map(|record| clause.truth(record, navigate)));
        Opinion {
            filter: self.filter.map(Expr::to_string),
            excluded: self.exclude.as_ref().and_then(excluded),
            clauses: self.clauses.iter().map(clause).collect(),
        }
    }

    /// Room for what each clause does.
    pub(super) fn effects(&self) -> Vec<Effect> {
        vec![Effect::default(); self.clauses.len()]
    }
}

/// What a scope says of one record, part by part.
pub struct Opinion {
    /// The filter in its normal form.
    pub filter: Option<String>,
    /// Whether the list of excluded records names it; none where there is no list, or no record.
    pub excluded: Option<Truth>,
    /// In the order written.
    pub clauses: Vec<(Expr, Option<Truth>)>,
}

/// What one clause of a filter did to the records of its collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// Records for which it is the first clause that is false.
    pub dropped: u64,
    /// Records that no clause dropped and of which this one is not known.
    pub unknown: u64,
}

/// The clauses of today's filter that every accepted scope has too, in their normal form: what they leave out is out
/// whichever of the scopes is asked.
pub fn shared_clauses(job: &Job, collection: Collection) -> BTreeSet<String> {
    let of = |scope: &job::Scope| -> BTreeSet<String> {
        let filter = scope.filters.get(&collection).map(|filter| filter.expr.clauses());
        filter.unwrap_or_default().iter().map(Expr::to_string).collect()
    };
    let accepted = job.accepted.iter().map(|accepted| of(&accepted.scope));
    accepted.fold(of(&job.scope), |shared, clauses| shared.intersection(&clauses).cloned().collect())
}

/// Why a record is out, for people.
pub(super) fn told(clause: &str) -> String {
    match clause {
        EXCLUDE => "excluded by the job".into(),
        clause => format!("{clause}{NOT_TRUE}"),
    }
}

/// The clause alone, for counting: "980 left out by accountEnabled eq true".
pub(super) fn left_out_by(standing: &Standing) -> Option<&str> {
    let (Standing::Out(Cause { words, .. }) | Standing::LeftOut(Cause { words, .. }) | Standing::Edited(words)) =
        standing
    else {
        return None;
    };
    let words = words.strip_prefix(UNTIL_EDITED).or(words.strip_prefix(DISABLED)).unwrap_or(words);
    Some(words.strip_suffix(NOT_TRUE).unwrap_or("the job's exclude list"))
}
