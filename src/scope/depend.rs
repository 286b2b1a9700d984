//! Which objects a row depends on, and in which collections they may be: what must be looked up before it is judged.
//!
//! Deliberately looks nothing up itself: that is [`crate::source`]'s.

use std::collections::BTreeSet;

use crate::expr::Catalog;
use crate::mapping::{Mapping, each};
use crate::record::{Collection, Guid, Key};
use crate::snapshot::{MemberKind, Members, Snapshot};

/// The objects that a row's key speaks of, with the collection that each is most likely in.
pub fn ends(mapping: &Mapping, key: &Key) -> Vec<(Collection, Guid)> {
    let source = mapping.source;
    match (key, source.pairs()) {
        (key, _) if mapping.each.is_some() => each::split(key).map(|(id, _)| (source, id)).into_iter().collect(),
        (Key::Guid(id), None) => vec![(source, *id)],
        (Key::Pair(of, member), Some(pairs)) => vec![(pairs.of, *of), (pairs.members[0], *member)],
        (Key::Assignment(parts), _) => vec![(Collection::Users, parts.0)],
        _ => Vec::new(),
    }
}

/// Every id that the ledger's rows of this job depend on and that the snapshot did not return: to be looked up.
/// `lists` are those that pairs of the mapping's source come from.
pub fn missing(
    snapshot: &Snapshot,
    lists: &Members,
    catalog: &Catalog,
    mapping: &Mapping,
    key: &Key,
    missing: &mut BTreeSet<(Collection, Guid)>,
) {
    if mapping.distinct.is_some() {
        return;
    }
    let mut need = |collection: Collection, id: Guid| {
        if !snapshot.objects(collection).contains(id) {
            missing.insert((collection, id));
        }
    };
    match key {
        key if mapping.each.is_some() => {
            if let Some((id, _)) = each::split(key).filter(|_| is_looked_up(mapping.source)) {
                need(mapping.source, id);
            }
        }
        Key::Guid(id) if is_looked_up(mapping.source) => need(mapping.source, *id),
        Key::Pair(of, member) => {
            need(container(mapping.source), *of);
            // Contacts and service principals are in no collection: while they are listed there is nothing to look up.
            let listed = lists.of(*of).unwrap_or_default();
            if listed.binary_search_by_key(member, |member| member.id).is_ok_and(|at| !is_read(listed[at].kind)) {
                return;
            }
            let homes = member_homes(mapping.source, catalog);
            if !homes.iter().any(|home| snapshot.objects(*home).contains(*member)) {
                missing.extend(homes.iter().map(|home| (*home, *member)));
            }
        }
        Key::Assignment(parts) => need(Collection::Users, parts.0),
        Key::Guid(_) | Key::Text(_) => {}
    }
}

/// Whether members of that kind have a collection of their own.
fn is_read(kind: MemberKind) -> bool {
    matches!(kind, MemberKind::User | MemberKind::Group | MemberKind::Device)
}

/// Whether an object of the collection can be looked up by its id, so that one that a list does not show is known.
pub(super) fn is_looked_up(collection: Collection) -> bool {
    use Collection::{AdministrativeUnits, Devices, DirectoryRoles, Groups, Users};
    matches!(collection, Users | Groups | Devices | AdministrativeUnits | DirectoryRoles)
}

/// What the first end of a pair is.
pub(super) fn container(pairs: Collection) -> Collection {
    pairs.pairs().map_or(Collection::Groups, |pairs| pairs.of)
}

/// The collections in which the member of a pair may be found. What is no user is not gone: it may be a device, and a
/// lookup finds an object only under its own type.
pub(super) fn member_homes(pairs: Collection, catalog: &Catalog) -> Vec<Collection> {
    let homes = pairs.pairs().map_or(&[][..], |pairs| pairs.members);
    // Without devices in the job a member that is none of its users is judged as the user it was.
    homes.iter().copied().filter(|home| *home != Collection::Devices || catalog.uses(*home)).collect()
}
