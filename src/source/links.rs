//! Reads what joins objects to others, list by list: owners of groups, owners and users of devices, members of units
//! and roles.
//!
//! Hides the cheapest way to all of them: one pass over the objects with `$expand`, which shows at most 20 of each, and
//! then the whole list of every object that showed so many. Deliberately independent of the pass that reads the objects
//! themselves: neither can break the other. <https://learn.microsoft.com/graph/query-parameters#expand-parameter>

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;

use super::Reader;
use super::collections::{GROUPS, HIDDEN_MEMBERS, Resource, is_hidden, row_of};
use super::graph::Stop;
use super::members::{Gathered, MemberList, MemberRow, hidden, shown_whole};
use super::objects::denied;
use super::units::units;
use crate::error::Result;
use crate::record::{Collection, Coverage, Guid, Unknown};
use crate::snapshot::Extent;

/// An object with what it is joined to, where that was expanded.
#[derive(Deserialize)]
struct ExpandedObject {
    id: Guid,
    visibility: Option<String>,
    #[serde(alias = "owners", alias = "registeredOwners", alias = "registeredUsers")]
    expanded: Option<Vec<MemberRow>>,
}

/// An object whose list must be asked for.
struct Asked {
    of: Guid,
    /// Its members are shown only with a permission of its own.
    hidden: bool,
}

/// Pages and requests of one list.
#[derive(Default)]
struct Effort {
    pages: u64,
    requests: u64,
}

impl Reader<'_> {
    /// Reads the lists of one collection of pairs, if they are needed. Fails only when the snapshot cannot be written.
    pub(super) async fn links(&self, resource: &'static Resource) -> Result<Option<(Collection, Extent)>> {
        let collection = resource.collection;
        if !self.needs.links.contains(&collection) {
            return Ok(None);
        }
        let mut extent = Extent::new(Coverage::Complete);
        extent.properties = ["id".to_owned()].into();
        let mut by_list = Vec::new();
        let mut stop = self.pass(resource, resource.expand, &mut by_list, &mut extent).await?;
        // What cannot be expanded can still be listed. The objects are walked anew, for a plain list of them.
        if let Some(refused) = stop.as_ref().filter(|stop| resource.expand.is_some() && !stop.is_lost()) {
            tracing::info!(%collection, reason = %refused, "the relationship cannot be expanded; reading list by list");
            self.writer.restart(collection)?;
            by_list.clear();
            extent.coverage = Coverage::Complete;
            stop = self.pass(resource, None, &mut by_list, &mut extent).await?;
        }
        if let Some(stop) = stop {
            extent.coverage = Coverage::Partial(self.gap_of_links(resource, &stop));
        }
        if let Some(reason) = self.by_list(resource, by_list, &mut extent).await? {
            extent.coverage = Coverage::Partial(reason);
        }
        Ok(Some((collection, extent)))
    }

    /// One walk over the objects. Writes the lists that are whole and leaves the others in `by_list`; returns why it
    /// ended early.
    async fn pass(
        &self,
        resource: &Resource,
        expand: Option<&str>,
        by_list: &mut Vec<Asked>,
        extent: &mut Extent,
    ) -> Result<Option<Stop>> {
        let container = container(resource);
        let select = match container.collection {
            Collection::AdministrativeUnits => "$select=id,visibility",
            _ => "$select=id",
        };
        let mut query = vec![select.to_owned()];
        query.extend(expand.map(|name| format!("$expand={name}($select=id)")));
        query.extend(container.page_size_max.map(|size| format!("$top={size}")));
        let graph = self.graph();
        let mut seen = HashSet::new();
        let take = |row: ExpandedObject, _: &str| {
            if !seen.insert(row.id) {
                return Ok(false);
            }
            let hidden = is_hidden(row.visibility.as_deref());
            match shown_whole(row.expanded.as_deref().filter(|_| expand.is_some())) {
                Some(members) => self.writer.list(resource.collection, row.id, &members, None)?,
                None => by_list.push(Asked { of: row.id, hidden }),
            }
            Ok(true)
        };
        let price = units(container.price, expand.is_some());
        let walk = graph.walk(&graph.lane, graph.url(container.path, &query), price, take).await;
        extent.pages += walk.pages;
        extent.requests += walk.requests;
        if walk.unreadable > 0 {
            let words = format!("{} of the {} came without a usable id", walk.unreadable, container.collection);
            extent.coverage = Coverage::partial(words);
        }
        match walk.stop {
            Some(Stop::Local(error)) => Err(error),
            stop => Ok(stop),
        }
    }

    /// Asks for whole lists, many at a time. Returns a reason that makes asking any further hopeless.
    async fn by_list(&self, resource: &Resource, lists: Vec<Asked>, extent: &mut Extent) -> Result<Option<Unknown>> {
        let total = Some(lists.len() as u64);
        let hopeless: Mutex<Option<Unknown>> = Mutex::new(None);
        let known = || hopeless.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let in_flight = self.source.config.in_flight_max.max(1);
        let efforts: Vec<Effort> = futures::stream::iter(lists)
            .map(|asked| async {
                let (of, mut effort) = (asked.of, Effort::default());
                let list = match known() {
                    Some(reason) => MemberList::unknown(reason),
                    None => {
                        let (list, stop) = self.list(resource, asked, &mut effort).await?;
                        if stop.is_some_and(|stop| self.is_hopeless(resource, &stop)) {
                            *hopeless.lock().unwrap_or_else(PoisonError::into_inner) = list.gap.clone();
                        }
                        list
                    }
                };
                list.write(self.writer, resource.collection, of)?;
                self.progress.at(resource.collection, self.writer.count(resource.collection), total);
                Ok(effort)
            })
            .buffer_unordered(in_flight)
            .try_collect()
            .await?;
        for effort in efforts {
            extent.pages += effort.pages;
            extent.requests += effort.requests;
        }
        Ok(known())
    }

    /// One object's list, and why it ended early.
    async fn list(&self, resource: &Resource, asked: Asked, effort: &mut Effort) -> Result<(MemberList, Option<Stop>)> {
        if asked.hidden && !self.rights.any(&[HIDDEN_MEMBERS]) {
            return Ok((MemberList::unknown(hidden()), None));
        }
        let path = resource.path.replace("{id}", &asked.of.to_string());
        let mut query = vec!["$select=id".to_owned()];
        query.extend(resource.page_size_max.map(|size| format!("$top={size}")));
        let mut gathered = Gathered::default();
        let take = |row: MemberRow, _: &str| Ok(gathered.take(&row));
        let graph = self.graph();
        let mut walk = graph.walk(&graph.lane, graph.url(&path, &query), units(resource.price, false), take).await;
        effort.pages += walk.pages;
        effort.requests += walk.requests;
        let stop = walk.stop.take();
        let (members, mut gap) = gathered.finish(&walk);
        // Graph shows an empty list in place of a hidden one, and nobody knows what this token may do.
        if asked.hidden && members.is_empty() && !self.rights.surely(&[HIDDEN_MEMBERS]) {
            gap.get_or_insert_with(hidden);
        }
        match &stop {
            Some(Stop::Local(_)) => {}
            Some(stop) if stop.is_not_found() => {
                effort.requests += 1;
                if self.is_gone(container(resource), asked.of).await {
                    return Ok((MemberList::vanished(), None));
                }
                gap = Some(self.gap_of_links(resource, stop));
            }
            Some(stop) => gap = Some(self.gap_of_links(resource, stop)),
            None => {}
        }
        match stop {
            Some(Stop::Local(error)) => Err(error),
            stop => Ok((MemberList { members, gap, vanished: false }, stop)),
        }
    }

    /// Why lists of a collection are not whole.
    fn gap_of_links(&self, resource: &Resource, stop: &Stop) -> Unknown {
        let collection = resource.collection;
        Unknown::new(match stop.refusal().filter(|refusal| matches!(refusal.status(), 401 | 403)) {
            Some(refusal) => {
                format!("the app may not read {collection}: {}", denied(self.rights, resource.permissions, refusal))
            }
            None => format!("{collection} could not be read: {stop}"),
        })
    }
}

/// The collection whose objects have these lists.
fn container(resource: &Resource) -> &'static Resource {
    resource.collection.pairs().and_then(|pairs| row_of(pairs.of)).unwrap_or(&GROUPS)
}
