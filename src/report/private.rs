//! A plan without the values of private attributes: what every report shows, whatever its format.
//!
//! Hides where in a plan such values stand: changes, the ledger's rows behind them, and differences that were left
//! alone. Deliberately not used for a plan that is saved, which must hold what it writes.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::error::Result;
use crate::plan::Plan;
use crate::plan::change::{Change, Note, State};
use crate::plan::datum::Datum;

/// The plan as it may be shown. Borrowed where nothing is private.
pub fn shown(plan: &Plan) -> Result<Cow<'_, Plan>> {
    let private: BTreeSet<(&str, &str)> = plan
        .header
        .types
        .iter()
        .flat_map(|ty| ty.spec.attributes.iter().map(move |attribute| (ty, attribute)))
        .filter(|(_, attribute)| attribute.private)
        .map(|(ty, attribute)| (ty.spec.name.as_str(), attribute.name.as_str()))
        .collect();
    if private.is_empty() {
        return Ok(Cow::Borrowed(plan));
    }
    let is_private = |ty: &str, name: &str| private.contains(&(ty, name));
    let notes = plan.notes().iter().cloned().map(|note| without_values_of_note(note, &is_private)).collect();
    plan.rewritten(|change| without_values(change, &is_private), notes).map(Cow::Owned)
}

/// A change without the values of private attributes.
pub fn without_values(mut change: Change, is_private: &dyn Fn(&str, &str) -> bool) -> Change {
    let ty = change.ty.clone();
    for attribute in change.attributes.iter_mut().filter(|attribute| is_private(&ty, &attribute.name)) {
        (attribute.before, attribute.after, attribute.hidden) = (Datum::Empty, Datum::Empty, true);
    }
    // Made of all values: whoever knows the others could try what the private one is.
    change.based_on = None;
    if let Some(row) = &mut change.ledger {
        row.values.retain(|name, _| !is_private(&ty, name));
        if let State::Retired(leaving) = &mut row.state {
            leaving.before.retain(|name, _| !is_private(&ty, name));
        }
    }
    change
}

/// A note without the values of a private attribute.
pub fn without_values_of_note(mut note: Note, is_private: &dyn Fn(&str, &str) -> bool) -> Note {
    let ty = &note.ty;
    if let Some(difference) = note.attribute.as_mut().filter(|difference| is_private(ty, &difference.name)) {
        (difference.desired, difference.current, difference.applied) = (Datum::Empty, Datum::Empty, None);
        difference.hidden = true;
    }
    note
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::examples::everything;
    use crate::report::{Detail, Format, View};

    #[test]
    fn no_format_shows_a_private_value() {
        let mut plan = everything();
        let secret = "Bergen";
        let spec = plan.header.types.iter_mut().find(|ty| ty.spec.name == "User").expect("the example has users");
        let named = |name: &str| crate::plan::change::AttributeSpec { name: name.into(), ..Default::default() };
        spec.spec.attributes.push(named("Office"));
        let render = |plan: &Plan, format: Format| {
            let mut bytes = Vec::new();
            format.plan(plan, &View { detail: Detail::Full, ..View::default() }, &mut bytes).unwrap();
            String::from_utf8(bytes).unwrap()
        };
        crate::plan::file::identify(&mut plan).unwrap();
        let formats = [Format::Text, Format::Json, Format::Csv];
        for format in formats {
            assert!(render(&plan, format).contains(secret), "the example shows what is to be hidden");
        }
        for ty in plan.header.types.iter_mut().filter(|ty| ty.spec.name == "User") {
            ty.spec.attributes.iter_mut().filter(|spec| spec.name == "Office").for_each(|spec| spec.private = true);
        }
        crate::plan::file::identify(&mut plan).unwrap();
        for format in formats {
            let text = render(&plan, format);
            assert!(!text.contains(secret) && text.contains("Office"), "{text}");
        }
        let json = render(&plan, Format::Json);
        assert!(!json.contains("checksum") && serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{json}");
        let refused = crate::plan::file::read_from(json.as_bytes(), "shown.json").err().expect("no plan to apply");
        assert!(refused.to_string().contains("not applied"), "{refused}");
        // What is saved holds what it writes.
        let mut saved = Vec::new();
        crate::plan::file::write(&plan, &mut saved).unwrap();
        assert!(String::from_utf8(saved).unwrap().contains(secret));
    }
}
