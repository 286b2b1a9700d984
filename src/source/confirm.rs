//! Looks up objects by id that a read did not return, so that "not in the list" is never taken for "gone".
//!
//! Hides the deleted items, getByIds and its permission. Deliberately concludes nothing: whoever plans decides what
//! deleted, absent and neither mean. <https://learn.microsoft.com/graph/api/directory-deleteditems-list> and
//! <https://learn.microsoft.com/graph/api/directoryobject-getbyids>

use std::collections::{BTreeSet, HashMap, HashSet};

use futures::StreamExt;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::collections::{ADMINISTRATIVE_UNITS, DEVICES, DIRECTORY_ROLES, GET_BY_IDS, GROUPS, Resource, USERS};
use super::graph::Stop;
use super::members::Tally;
use super::objects::{Group, ObjectRow, select, select_alone};
use super::units::{Price, units};
use super::{Missing, Reader, selection};
use crate::error::Result;
use crate::http::{Request, Response};
use crate::record::{Collection, Coverage, Guid};
use crate::snapshot::{Extent, Manifest, type_name};

/// Ids in one getByIds request. <https://learn.microsoft.com/graph/api/directoryobject-getbyids>
const IDS_MAX: usize = 1000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeletedRow {
    id: Guid,
    deleted_date_time: Option<Timestamp>,
}

/// An object's JSON with what the reader needs of it; none when Graph does not know the id.
type Found = Option<(ObjectRow, Box<RawValue>)>;

impl Reader<'_> {
    /// Looks everything up and writes what it learns.
    pub(super) async fn confirm(&self, missing: Vec<Missing>, manifest: &mut Manifest) -> Result<()> {
        for resource in [&USERS, &GROUPS, &DEVICES, &ADMINISTRATIVE_UNITS, &DIRECTORY_ROLES] {
            let collection = resource.collection;
            let ids: BTreeSet<Guid> = missing.iter().filter(|(of, _)| *of == collection).map(|(_, id)| *id).collect();
            if ids.is_empty() {
                continue;
            }
            let mut extent = selection(self.needs, self.rights, resource);
            let rest = self.confirm_deleted(resource, ids, &mut extent).await?;
            let groups = self.look_up(resource, rest, &mut extent).await?;
            add_lookups(manifest, collection, &extent);
            if self.needs.memberships && !groups.is_empty() {
                let read = self.members(&groups, Tally::new(self), None).await?;
                add_lookups(manifest, Collection::Memberships, &read);
            }
        }
        Ok(())
    }

    /// Notes which of `ids` are among the deleted objects; returns the others.
    async fn confirm_deleted(
        &self,
        resource: &Resource,
        mut ids: BTreeSet<Guid>,
        extent: &mut Extent,
    ) -> Result<BTreeSet<Guid>> {
        let Some(cast) = resource.deleted else { return Ok(ids) };
        let graph = self.graph();
        // No $top: the largest size is not documented for this list.
        let first = graph.url(&format!("directory/deletedItems/{cast}"), &["$select=id,deletedDateTime".to_owned()]);
        let mut seen = HashSet::new();
        let take = |row: DeletedRow, _: &str| {
            if ids.remove(&row.id) {
                self.writer.deleted(resource.collection, row.id, row.deleted_date_time)?;
            }
            Ok(seen.insert(row.id))
        };
        let walk = graph.walk(&graph.lane, first, units(Price::Other, false), take).await;
        extent.requests += walk.requests;
        match walk.stop {
            Some(Stop::Local(error)) => Err(error),
            Some(stop) => {
                // Those found are proved; for the others the lookup by id still tells whether they exist.
                if stop.refusal().is_some_and(|refusal| refusal.status() == 403) {
                    // The app may never list them: every night is like this one, and two reads prove what is gone.
                    tracing::info!(collection = %resource.collection, "deleted objects may not be listed");
                } else {
                    tracing::warn!(collection = %resource.collection, reason = %stop, "deleted objects could not all be read");
                    lacks(extent, format!("deleted objects could not all be read: {stop}"));
                }
                Ok(ids)
            }
            None => Ok(ids),
        }
    }

    /// Fetches objects by id, adds those found to the snapshot and notes those that are nowhere. Returns groups found.
    async fn look_up(&self, resource: &Resource, ids: BTreeSet<Guid>, extent: &mut Extent) -> Result<Vec<Group>> {
        let mut one_by_one: Vec<Guid> = ids.into_iter().collect();
        let mut groups = Vec::new();
        let mut failure = None;
        // Without this permission, properties would come as null and be taken for values.
        if self.rights.surely(GET_BY_IDS) {
            let all = std::mem::take(&mut one_by_one);
            for ids in all.chunks(IDS_MAX) {
                extent.requests += 1;
                let mut found = match self.get_by_ids(resource, ids, extent).await {
                    Ok(found) => found,
                    // What cannot be asked for together can be asked for one by one.
                    Err(stop) if is_unimplemented(&stop) => {
                        one_by_one.extend(ids);
                        continue;
                    }
                    Err(stop) => {
                        failure = Some(note_failure(resource, stop)?);
                        continue;
                    }
                };
                for id in ids {
                    match found.remove(id) {
                        // getByIds expands nothing, and a user without the key would seem to have no manager.
                        Some(_) if extent.properties.contains("manager") => one_by_one.push(*id),
                        found => groups.extend(self.note(resource, *id, found)?),
                    }
                }
            }
        }
        extent.requests += one_by_one.len() as u64;
        let (in_flight, selection) = (self.source.config.in_flight_max.max(1), &*extent);
        let mut answers = futures::stream::iter(one_by_one)
            .map(|id| async move { (id, self.get_one(resource, id, selection).await) })
            .buffer_unordered(in_flight);
        while let Some((id, answer)) = answers.next().await {
            match answer {
                Ok(found) => groups.extend(self.note(resource, id, found)?),
                Err(stop) => {
                    // A right that is missing is missing for all of them; the rest stays unknown unasked.
                    let refused = stop.refusal().is_some_and(|refusal| matches!(refusal.status(), 401 | 403));
                    failure = Some(note_failure(resource, stop)?);
                    if refused {
                        break;
                    }
                }
            }
        }
        drop(answers);
        if let Some(reason) = failure {
            tracing::warn!(collection = %resource.collection, reason, "not every object could be looked up by id");
            lacks(extent, format!("objects that the list did not show could not be looked up by id: {reason}"));
        }
        Ok(groups)
    }

    /// Writes down what became of one id.
    fn note(&self, resource: &Resource, id: Guid, found: Found) -> Result<Option<Group>> {
        let Some((row, json)) = found else {
            self.writer.absent(resource.collection, id)?;
            return Ok(None);
        };
        self.writer.object(resource.collection, id, json.get())?;
        let is_group = resource.collection == Collection::Groups;
        Ok(is_group.then(|| Group { id, hidden: row.hides_members(), name: None }))
    }

    async fn get_by_ids(
        &self,
        resource: &Resource,
        ids: &[Guid],
        extent: &Extent,
    ) -> Result<HashMap<Guid, (ObjectRow, Box<RawValue>)>, Stop> {
        let graph = self.graph();
        let query = [select_alone(resource.collection, extent)];
        let body = json!({ "ids": ids, "types": [type_name(resource.collection)] }).to_string();
        let request = Request::post(graph.url("directoryObjects/getByIds", &query), body).repeatable();
        graph.fetch(&graph.lane, request.units(units(Price::GetByIds, false)), decode_found).await
    }

    async fn get_one(&self, resource: &Resource, id: Guid, extent: &Extent) -> Result<Found, Stop> {
        let graph = self.graph();
        let url = graph.url(&format!("{}/{id}", resource.path), &select(resource.collection, extent));
        let price = units(Price::Other, extent.properties.contains("manager"));
        let decode = |response: &Response| {
            let json: Box<RawValue> = serde_json::from_slice(&response.body).map_err(|cause| cause.to_string())?;
            let row: ObjectRow = serde_json::from_str(json.get()).map_err(|cause| cause.to_string())?;
            // What answers for another id is not this object.
            if row.key(resource.collection) != Some(id) {
                return Err("the answer is about another object".to_owned());
            }
            Ok(Some((row, json)))
        };
        match graph.fetch(&graph.lane, Request::get(url).units(price), decode).await {
            Err(stop) if stop.is_not_found() => Ok(None),
            other => other,
        }
    }
}

/// Whether there is no such function where the address leads: a gateway, or another edition of Graph.
fn is_unimplemented(stop: &Stop) -> bool {
    stop.refusal().is_some_and(|refusal| matches!(refusal.status(), 404 | 405 | 501))
}

fn decode_found(response: &Response) -> Result<HashMap<Guid, (ObjectRow, Box<RawValue>)>, String> {
    #[derive(Deserialize)]
    struct Answer {
        value: Vec<Box<RawValue>>,
    }
    let answer: Answer = serde_json::from_slice(&response.body).map_err(|cause| cause.to_string())?;
    let mut found = HashMap::new();
    for json in answer.value {
        let row: ObjectRow = serde_json::from_str(json.get()).map_err(|cause| cause.to_string())?;
        let id = row.key(Collection::Users).ok_or("an object came without a usable id")?;
        found.insert(id, (row, json));
    }
    Ok(found)
}

/// A lookup that failed leaves the object unknown, unless nothing further can work either. Says why it failed.
fn note_failure(resource: &Resource, stop: Stop) -> Result<String> {
    if let Stop::SignIn(error) | Stop::Local(error) = stop {
        return Err(error);
    }
    let said = stop.refusal().map(ToString::to_string);
    tracing::info!(collection = %resource.collection, reason = %stop, said, "an object could not be looked up by id");
    Ok(stop.to_string())
}

/// A night that could not prove what left must not look like one on which nobody left.
fn lacks(extent: &mut Extent, reason: String) {
    if extent.coverage.is_complete() {
        extent.coverage = Coverage::partial(reason);
    }
}

/// Adds what looking up took, and what it could not tell.
fn add_lookups(manifest: &mut Manifest, collection: Collection, more: &Extent) {
    if let Some(extent) = manifest.collections.get_mut(&collection) {
        extent.requests += more.requests;
        extent.pages += more.pages;
        if let (true, Some(reason)) = (extent.coverage.is_complete(), more.coverage.gap()) {
            extent.coverage = Coverage::Partial(reason.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderMap;

    #[test]
    fn the_documented_answer_of_get_by_ids_is_read() {
        let body = include_bytes!("../../tests/data/graph/directoryobjects-getbyids.json");
        let response = Response {
            status: 200,
            headers: HeaderMap::new(),
            body: body.as_slice().into(),
            client_request_id: Guid::default(),
        };
        let found = decode_found(&response).unwrap();
        // The page prints one id twice.
        assert_eq!(found.len(), 1);
        assert!(found[&"84b80893-8749-40a3-97b7-68513b600544".parse().unwrap()].1.get().contains("Billy Smith"));
    }
}
