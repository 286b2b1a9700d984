//! Asks Graph to leave out what a job's scope leaves out anyhow.
//!
//! Hides when that pays, what becomes of a filter that Graph refuses, and how much came in the end. What comes is judged
//! anew by whoever plans, so that a filter saves pages and decides nothing. Deliberately knows no scope: it is given a
//! condition, and the objects whose state must be known whatever the condition says.
//! <https://learn.microsoft.com/graph/filter-query-parameter>

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::collections::{GET_BY_IDS, Resource};
use super::delta::Since;
use super::graph::Stop;
use super::objects::words;
use super::{Reader, counts};
use crate::expr::{Allowed, Expr};
use crate::record::{Collection, Guid};
use crate::snapshot::{Extent, Pushed, PushedFilter};

/// What of a collection is wanted, where that is not all of it.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Objects of which it is false may be left out.
    pub filter: Expr,
    /// Objects whose state must be known all the same: those left out are looked up by id afterwards.
    pub known: Arc<BTreeSet<Guid>>,
    /// How many of these are sure to be left out.
    pub leaving: u64,
}

/// [`Wanted`] by collection; everything of the others.
pub type WantedParts = BTreeMap<Collection, Wanted>;

/// Ids in one getByIds request, and objects on one page.
const IDS_A_REQUEST: u64 = 1000;

impl Reader<'_> {
    /// What Graph is asked to leave out, or why nothing; none where there is nothing to leave out. `advanced` says that
    /// it did not refuse an advanced query.
    pub(super) async fn pushed(&self, resource: &Resource, extent: &Extent, advanced: bool) -> Option<Pushed> {
        let wanted = self.source.wanted.get(&resource.collection)?;
        // A read that changes are to be laid over must be whole.
        if !matches!(self.delta.since, Since::Never) {
            return None;
        }
        let allowed = Allowed {
            // Graph refuses an advanced query that expands something.
            advanced: advanced && !extent.properties.contains("manager"),
            readable: &|property| !extent.unreadable.contains_key(property),
        };
        let down = wanted.filter.push_down(resource.collection, &allowed)?;
        let total = match self.counted(resource).await {
            Ok(total) => total,
            Err(why) => return Some(Pushed::Nothing(format!("how many there are is not known ({why})"))),
        };
        if let Some(why) = self.dearer(resource, extent, wanted.leaving, total) {
            return Some(Pushed::Nothing(why));
        }
        let (filter, clauses) = (down.filter, down.clauses);
        Some(Pushed::Filter(PushedFilter { filter, advanced: down.advanced, clauses, total, came: 0 }))
    }

    /// Why the whole list is the shorter way, if it is.
    fn dearer(&self, resource: &Resource, extent: &Extent, left_out: u64, total: u64) -> Option<String> {
        let together = self.rights.surely(GET_BY_IDS) && !extent.properties.contains("manager");
        let lookups = if together { left_out.div_ceil(IDS_A_REQUEST) } else { left_out };
        let pages = total.div_ceil(u64::from(resource.page_size_max.unwrap_or(1)));
        (lookups > pages.max(1)).then(|| {
            format!(
                "{left_out} objects of the target would have to be looked up by id, and the whole list is {pages} pages"
            )
        })
    }

    /// What to ask with instead, when what a filtered walk brought will not do; none when it will. Not every tenant takes
    /// advanced queries, so that one that is refused is asked again without them.
    pub(super) async fn otherwise(
        &self,
        resource: &Resource,
        extent: &mut Extent,
        stop: Option<&Stop>,
        others: &BTreeSet<Guid>,
    ) -> Option<Pushed> {
        let why = match stop {
            Some(stop) => refused(stop, extent),
            None => self.came(resource, extent, others).await.err(),
        }?;
        let collection = resource.collection;
        if stop.is_some() && extent.filter().is_some_and(|asked| asked.advanced) {
            tracing::info!(%collection, why, "asking without an advanced query");
            if let Some(asked @ Pushed::Filter(_)) = self.pushed(resource, extent, false).await {
                return Some(asked);
            }
        }
        tracing::info!(%collection, why, "reading everything");
        Some(Pushed::Nothing(why))
    }

    /// After the last page: compares with Graph's count under the same filter, and notes what must be looked up by id.
    /// `others` are objects that those that came refer to. Says why everything must be read after all, if it must.
    async fn came(&self, resource: &Resource, extent: &mut Extent, others: &BTreeSet<Guid>) -> Result<(), String> {
        let Some(Pushed::Filter(mut asked)) = extent.pushed.clone() else { return Ok(()) };
        let collection = resource.collection;
        let known = self.source.wanted.get(&collection).map(|wanted| wanted.known.clone()).unwrap_or_default();
        let missing = self.writer.missing(collection, known.union(others));
        if let Some(why) = self.dearer(resource, extent, missing.len() as u64, asked.total) {
            return Err(why);
        }
        asked.came = self.writer.count(collection);
        match self.count(resource, Some(&asked)).await {
            Ok(expected) => counts::compare(collection, extent, asked.came, expected),
            Err(reason) => tracing::info!(%collection, reason, "what the filter lets through could not be counted"),
        }
        extent.pushed = Some(Pushed::Filter(asked));
        let others = self.writer.missing(collection, others.iter());
        self.delta.doubt(collection, others);
        Ok(())
    }
}

/// Why Graph does not take the filter, if that is why the walk stopped.
fn refused(stop: &Stop, extent: &Extent) -> Option<String> {
    extent.filter()?;
    if matches!(stop, Stop::Expired(_)) {
        return None;
    }
    let refusal = stop.refusal().filter(|refusal| matches!(refusal.status(), 400 | 501))?;
    Some(format!("Graph refused the filter ({})", words(refusal)))
}
