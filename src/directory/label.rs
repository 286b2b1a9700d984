//! What a record is called, for people: its name, or those of its ends.
//!
//! Hides which properties that takes. Deliberately no key of anything: names change and repeat.

use super::Directory;
use crate::expr::Catalog;
use crate::record::{Collection, Form, Guid, Key, Record, Value};

/// A text for people, from the record itself; needs the properties that [`label_needs`] asks for.
pub fn label(directory: &Directory<'_>, catalog: &Catalog, record: &Record) -> String {
    let text = |record: &Record, name: &str| {
        let slot = catalog.shape(record.collection).slot(name)?;
        match record.slots.get(slot) {
            Some(Some(Value::Text(text))) => Some(text.to_string()),
            _ => None,
        }
    };
    let object = |collection: Collection, id: Guid| {
        let record = directory.followed(collection, id).ok().flatten();
        record.and_then(|record| text(&record, "displayName")).unwrap_or_else(|| id.to_string())
    };
    match (&record.key, record.collection) {
        (Key::Pair(of, member), pairs) => {
            let kinds = [Collection::Users, Collection::Groups, Collection::Devices];
            let home = kinds.into_iter().find(|kind| directory.snapshot().objects(*kind).contains(*member));
            let member = home.map_or_else(|| member.to_string(), |home| object(home, *member));
            let (between, home) = match pairs {
                Collection::GroupOwners | Collection::DeviceOwners => ("owner of", pairs.pairs()),
                Collection::DeviceUsers => ("user of", pairs.pairs()),
                _ => ("in", pairs.pairs()),
            };
            format!("{member} {between} {}", object(home.map_or(Collection::Groups, |pairs| pairs.of), *of))
        }
        (Key::Assignment(parts), _) => {
            let product = text(record, "productName").unwrap_or_else(|| parts.1.to_string());
            format!("{product} of {}", object(Collection::Users, parts.0))
        }
        (_, Collection::Licenses) => text(record, "productName").unwrap_or_else(|| record.key.to_string()),
        _ => text(record, "displayName").unwrap_or_else(|| record.key.to_string()),
    }
}

/// Adds what [`label`] reads for records of that collection.
pub fn label_needs(catalog: &mut Catalog, collection: Collection) {
    let name = |collection: Collection| (collection, "displayName");
    let needs: Vec<(Collection, &str)> = match (collection, collection.form()) {
        (Collection::Licenses, _) => vec![(collection, "productName")],
        // Groups in groups: nobody's rights to read users are needed for that.
        (_, Form::Pairs(pairs)) => vec![name(pairs.of), name(pairs.members[0])],
        (_, Form::Assignments) => vec![name(Collection::Users), (collection, "productName")],
        // A list that nothing is known of may refuse to select what it does not have.
        (Collection::SignInActivity, _) | (_, Form::Custom) => vec![],
        (_, Form::Objects) => vec![name(collection)],
    };
    for (collection, name) in needs {
        // These are properties of the schema; a catalog that is full leaves labels to be ids.
        let _ = catalog.require(collection, name);
    }
}
