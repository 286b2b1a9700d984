//! Holds what a read brought against how many objects Graph says there are.
//!
//! Hides `$count` and how far two answers of an eventually consistent service may differ. Asks for a page of one object
//! with its `@odata.count`: the bare number of `/$count` would still be a number if the answer were cut short.
//! Deliberately one request a collection, whoever asks: beside a full read, where a count that cannot be had says
//! nothing, and after a read by changes, which is only trusted with one.
//! <https://learn.microsoft.com/graph/aad-advanced-queries>

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use tokio::sync::OnceCell;

use super::Reader;
use super::collections::{GROUPS, RESOURCES, Resource, USERS};
use super::graph::{CONSISTENCY_LEVEL, EVENTUAL, filter_option};
use super::units::{Price, units};
use crate::http::{Request, Response};
use crate::record::{Collection, Coverage};
use crate::snapshot::{Extent, PushedFilter};

/// Counts come from an index that lags behind the lists: so many objects, or so many thousandths, mean nothing.
const SLACK: u64 = 10;
const SLACK_THOUSANDTHS: u64 = 1;

/// Fewer lists than these are read within seconds whatever the quota.
const MANY_LISTS: u64 = 500;

/// What a page says of the whole list. Whatever stands there, or not, the answer is one: asking again brings no other.
#[derive(Deserialize)]
struct Counted {
    #[serde(rename = "@odata.count", default)]
    count: serde_json::Value,
}

/// No directory holds so many objects. A larger number is taken for no answer, so that nobody divides work by it.
/// <https://learn.microsoft.com/entra/identity/users/directory-service-limits-restrictions>
const PLAUSIBLE: u64 = 1_000_000_000;

impl Counted {
    /// The count, or why there is none. OData writes large numbers as text where that is asked for.
    fn count(&self) -> Result<u64, String> {
        let count = match &self.count {
            serde_json::Value::Null => return Err("Graph does not say how many there are".to_owned()),
            serde_json::Value::String(text) => text.parse().ok(),
            number => number.as_u64(),
        };
        count.filter(|count| *count <= PLAUSIBLE).ok_or_else(|| format!("Graph counts {}, which cannot be", self.count))
    }
}

/// How many objects there are according to Graph, or why that is not known; asked once for each collection.
#[derive(Default)]
pub(super) struct Counts(Mutex<BTreeMap<Collection, Arc<Answer>>>);

/// Set by whoever asks first; the others wait for it.
type Answer = OnceCell<Result<u64, String>>;

impl Counts {
    fn cell(&self, collection: Collection) -> Arc<Answer> {
        // A map of cells is whole at any time.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(collection).or_default().clone()
    }

    /// The answer, if there is one already.
    pub fn known(&self, collection: Collection) -> Option<u64> {
        self.cell(collection).get()?.as_ref().ok().copied()
    }
}

impl Reader<'_> {
    /// What Graph says of every collection that is needed and can be counted. Where many groups are listed one by one,
    /// users are counted too: the quota goes by how many there are.
    pub(super) async fn counts(&self) -> Vec<(Collection, u64)> {
        let counted =
            RESOURCES.into_iter().filter(|resource| resource.counted && self.needs.wants(resource.collection));
        let users = async {
            let unseen = self.needs.memberships && !self.needs.wants(Collection::Users);
            if unseen && self.counted(&GROUPS).await.is_ok_and(|groups| groups > MANY_LISTS) {
                // What is not known leaves the quota as it is.
                let _ = self.counted(&USERS).await;
            }
        };
        let counts = futures::future::join_all(counted.map(async |resource| {
            let count = self.counted(resource).await;
            if let Err(reason) = &count {
                tracing::info!(collection = %resource.collection, reason, "the collection could not be counted");
            }
            Some((resource.collection, count.ok()?))
        }));
        let (counts, ()) = futures::join!(counts, users);
        counts.into_iter().flatten().collect()
    }

    /// How many objects of a collection there are according to Graph, or why that is not known.
    pub(super) async fn counted(&self, resource: &Resource) -> Result<u64, String> {
        let count = self.counts.cell(resource.collection).get_or_init(|| self.count(resource, None)).await.clone();
        if let (Collection::Users, Ok(users)) = (resource.collection, &count) {
            self.raise_quota(*users);
        }
        count
    }

    /// Asks for the number; with a filter, how many it lets through.
    pub(super) async fn count(&self, resource: &Resource, asked: Option<&PushedFilter>) -> Result<u64, String> {
        let graph = self.graph();
        let mut query = ["$count=true", "$select=id", "$top=1"].map(str::to_owned).to_vec();
        query.extend(asked.map(|asked| filter_option(&asked.filter)));
        let url = graph.url(resource.path, &query);
        let mut request = Request::get(url).units(units(Price::Other, false));
        request.headers.insert(CONSISTENCY_LEVEL, EVENTUAL);
        let decode =
            |response: &Response| serde_json::from_slice::<Counted>(&response.body).map_err(|cause| cause.to_string());
        let page = graph.fetch(&graph.lane, request, decode).await;
        page.map_err(|stop| stop.to_string())?.count()
    }
}

/// Whether two numbers differ by more than an index lags behind.
pub(super) fn differ(came: u64, expected: u64) -> bool {
    came.abs_diff(expected) > SLACK.max(expected.saturating_mul(SLACK_THOUSANDTHS) / 1000)
}

/// Notes the count; a collection of which clearly fewer or more came than there are is not whole.
pub(super) fn compare(collection: Collection, extent: &mut Extent, came: u64, expected: u64) {
    extent.expected = Some(expected);
    if came == expected {
        return;
    }
    tracing::info!(%collection, came, expected, "what was read differs from what Graph counts");
    if differ(came, expected) && extent.coverage.is_complete() {
        extent.coverage = Coverage::partial(format!("Graph counts {expected} {collection}, but {came} came"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_difference_is_noted_and_a_large_one_is_a_gap() {
        let check = |came: u64, expected: u64, complete: bool| {
            let mut extent = Extent::new(Coverage::Complete);
            compare(Collection::Users, &mut extent, came, expected);
            assert_eq!(
                (extent.coverage.is_complete(), extent.expected),
                (complete, Some(expected)),
                "{came} {expected}"
            );
        };
        check(100, 100, true);
        check(90, 100, true);
        check(89, 100, false);
        check(110, 100, true);
        check(111, 100, false);
        check(99_900, 100_000, true);
        check(99_899, 100_000, false);
        check(0, 10, true);
    }

    #[test]
    fn a_count_that_cannot_be_is_none() {
        let read = |text: &str| serde_json::from_str::<Counted>(text).unwrap().count();
        assert_eq!(read(r#"{"value": [], "@odata.count": 1000000000}"#), Ok(PLAUSIBLE));
        assert_eq!(read(r#"{"@odata.count": "12", "value": []}"#), Ok(12));
        assert!(read(r#"{"value": []}"#).is_err());
        for count in ["1000000001", "18446744073709551615", "18446744073709551616", "-1", "1.5", "\"x\"", "null", "[]"]
        {
            let read = read(&format!(r#"{{"@odata.count": {count}, "value": []}}"#));
            assert!(read.is_err(), "{count}: {read:?}");
        }
    }

    #[test]
    fn an_older_gap_keeps_its_reason() {
        let mut extent = Extent::new(Coverage::partial("page 2 did not arrive"));
        compare(Collection::Users, &mut extent, 1, 1000);
        assert_eq!(extent.coverage, Coverage::partial("page 2 did not arrive"));
    }
}
