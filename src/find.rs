//! `find`: references to records that stand in the target and that the job does not own, by their names.
//!
//! Hides how such records are read (once for each type and attribute, keys alone in memory) and what follows from a name
//! that none or several of them have. Deliberately writes nothing, and never guesses: what is not certain keeps what
//! stands in the target.

use std::collections::{BTreeMap, HashMap};

use crate::error::Result;
use crate::job::Job;
use crate::mapping::{Attribute, Find, Missing};
use crate::plan::change::{AttributeSpec, Current, FindIn, Note, NoteKind, TypeSpec};
use crate::plan::datum::{Datum, Set};
use crate::plan::matching::fold;
use crate::record::{Coverage, Key, Unknown};
use crate::target::Target;

/// The records of the target that a job refers to and does not own.
#[derive(Default)]
pub struct Found {
    among: BTreeMap<FindIn, Index>,
}

/// The records of one type by one attribute.
struct Index {
    by: HashMap<String, Hit>,
    /// Why nothing follows from a name that is not in it.
    doubt: Option<Unknown>,
}

enum Hit {
    One(Datum),
    Several(u32),
}

/// What a name leads to.
enum Leads {
    To(Datum),
    Nowhere,
    /// To that many records.
    Astray(u32),
    Unknown(Unknown),
}

/// What must be read of the target besides the job's own types.
pub fn types(job: &Job) -> Vec<TypeSpec> {
    let finds =
        job.mappings.iter().flat_map(|mapping| &mapping.attributes).filter_map(|attribute| attribute.find.as_ref());
    let mut among: Vec<&FindIn> = finds.map(|find| &find.among).collect();
    among.sort();
    among.dedup();
    among.into_iter().map(spec).collect()
}

fn spec(among: &FindIn) -> TypeSpec {
    let column = |name: &String| AttributeSpec { name: name.clone(), only_read: true, ..AttributeSpec::default() };
    let mut attributes = vec![column(&among.by)];
    attributes.extend(among.take.iter().filter(|take| **take != among.by).map(column));
    TypeSpec { name: among.ty.clone(), attributes, key: vec![0], adopt: Vec::new() }
}

impl Found {
    /// Reads what the job's `find` attributes need.
    pub async fn read(job: &Job, target: &dyn Target) -> Result<Found> {
        let mut found = Found::default();
        let finds =
            job.mappings.iter().flat_map(|mapping| &mapping.attributes).filter_map(|attribute| attribute.find.as_ref());
        for among in finds.map(|find| &find.among) {
            if !found.among.contains_key(among) {
                found.among.insert(among.clone(), Index::read(among, target).await?);
            }
        }
        Ok(found)
    }

    fn lead(&self, among: &FindIn, name: &str) -> Leads {
        let Some(index) = self.among.get(among) else {
            return Leads::Unknown(Unknown::new(format!("{} was not read", among.ty)));
        };
        match (index.by.get(&fold(name)), &index.doubt) {
            // A part that was not read may hold a second one of that name.
            (_, Some(doubt)) => Leads::Unknown(doubt.clone()),
            (Some(Hit::One(Datum::Empty)), None) => {
                Leads::Unknown(Unknown::new(format!("the record has no {}", among.take.as_deref().unwrap_or_default())))
            }
            (Some(Hit::One(value)), None) => Leads::To(value.clone()),
            (Some(Hit::Several(count)), None) => Leads::Astray(*count),
            (None, None) => Leads::Nowhere,
        }
    }
}

impl Index {
    async fn read(among: &FindIn, target: &dyn Target) -> Result<Index> {
        let spec = spec(among);
        let ids_are_keys = target.capabilities().ids_are_keys;
        let taken = match &among.take {
            Some(_) => Some(spec.attributes.len() - 1),
            // Where a record is called by its key, and the name was taken for the key, the name is all there is.
            None => ids_are_keys.then_some(0),
        };
        let mut by: HashMap<String, Hit> = HashMap::new();
        let mut count = 0_u64;
        let coverage = target
            .read(&spec, &mut |record: Current| {
                count += 1;
                let Some(name) = record.values.first().and_then(Datum::as_text) else { return Ok(()) };
                let value = taken.map_or_else(|| Datum::text(record.id.as_str()), |at| record.values[at].clone());
                by.entry(fold(name))
                    .and_modify(|hit| match hit {
                        Hit::One(_) => *hit = Hit::Several(2),
                        Hit::Several(count) => *count += 1,
                    })
                    .or_insert(Hit::One(value));
                Ok(())
            })
            .await?;
        let doubt = match coverage {
            Coverage::Partial(reason) => Some(Unknown::new(format!("{} was not read completely: {reason}", among.ty))),
            // Most likely another name or folder is meant; an empty list must not empty every reference.
            Coverage::Complete if count == 0 => Some(Unknown::new(format!("{} holds no record at all", among.ty))),
            Coverage::Complete => None,
        };
        Ok(Index { by, doubt })
    }
}

/// What one attribute's names led to, over all records of a type.
#[derive(Default)]
pub struct Tally {
    /// By what is told before the number of records: how many, and the first of them.
    told: BTreeMap<String, (u64, Key, String, Missing)>,
}

impl Tally {
    /// The value that is written for names, and a note of those that led nowhere.
    pub fn resolve(
        &mut self,
        found: &Found,
        attribute: &Attribute,
        find: &Find,
        value: Datum,
        record: (&Key, &str),
    ) -> Datum {
        let mut one = |name: &str| {
            let FindIn { ty, by, .. } = &find.among;
            let what = match attribute.private {
                true => format!("\"{}\" names a record", attribute.name),
                false => format!("\"{}\" is {name:?}", attribute.name),
            };
            let (words, value) = match found.lead(&find.among, name) {
                Leads::To(value) => return value,
                Leads::Unknown(reason) => {
                    (format!("\"{}\" was not looked up: {reason}", attribute.name), Datum::Unknown(reason))
                }
                Leads::Astray(count) => (
                    format!("{what}, and {count} records of {ty} have that {by}: none is guessed"),
                    Datum::Unknown(Unknown::new(format!("several records of {ty} have that {by}"))),
                ),
                Leads::Nowhere => (
                    format!("{what}, and no record of {ty} has that {by}"),
                    match find.missing {
                        Missing::Empty => Datum::Empty,
                        Missing::Report => Datum::Unknown(Unknown::new(format!("no record of {ty} has that {by}"))),
                    },
                ),
            };
            // What is uncertain stays, whatever is to become of what is missing.
            let fate = if value == Datum::Empty { Missing::Empty } else { Missing::Report };
            let (key, label) = record;
            self.told.entry(words).or_insert_with(|| (0, key.clone(), label.to_string(), fate)).0 += 1;
            value
        };
        match value {
            Datum::One(name) => one(&name),
            Datum::Set(set) => {
                let (mut items, mut maybe, mut rest) = (Vec::new(), Vec::new(), set.rest().cloned());
                let names =
                    set.items.iter().map(|name| (name, true)).chain(set.maybe().iter().map(|name| (name, false)));
                for (name, certain) in names {
                    match one(name) {
                        Datum::One(value) if certain => items.push(value),
                        Datum::One(value) => maybe.push(value),
                        Datum::Unknown(reason) => rest = rest.or(Some(reason)),
                        Datum::Empty | Datum::Set(_) => {}
                    }
                }
                Datum::Set(Set::new(items, maybe, rest))
            }
            other => other,
        }
    }

    /// One note for each name that led nowhere.
    pub fn notes(self, ty: &str) -> impl Iterator<Item = Note> + use<'_> {
        self.told.into_iter().map(move |(words, (count, key, label, fate))| {
            let records = if count == 1 { "1 record".to_string() } else { format!("{count} records") };
            let words = match (fate, count) {
                (Missing::Report, 1) => format!("{words}. {records} keeps what it has."),
                (Missing::Report, _) => format!("{words}. {records} keep what they have."),
                (Missing::Empty, _) => format!("{words}. It is left out of {records}."),
            };
            Note::new(NoteKind::NotFound, ty, &key, &label, words)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::AttributeValue;
    use crate::plan::policy::{Empty, Side, Write};
    use crate::target::memory::MemoryTarget;

    fn attribute(missing: Missing) -> Attribute {
        let among = FindIn { ty: "locations".into(), by: "Name".into(), take: Some("Code".into()) };
        Attribute {
            name: "Office".into(),
            value: AttributeValue::Const(Datum::Empty),
            write: Write::default(),
            empty: Empty::Clear,
            on_adopt: Side::default(),
            on_conflict: Side::default(),
            reference: None,
            many: false,
            separator: None,
            required: false,
            private: false,
            max_length: None,
            find: Some(Find { among, missing }),
            slot: None,
        }
    }

    async fn found(attribute: &Attribute, rows: &[(&str, &str)]) -> Found {
        let target = MemoryTarget::default();
        for (name, code) in rows {
            target.add("locations", vec![Datum::text(*name), Datum::text(*code)]);
        }
        let among = &attribute.find.as_ref().unwrap().among;
        let index = Index::read(among, &target).await.unwrap();
        Found { among: BTreeMap::from([(among.clone(), index)]) }
    }

    /// Resolves one value; the notes without their keys.
    async fn resolved(missing: Missing, rows: &[(&str, &str)], value: Datum) -> (Datum, Vec<String>) {
        let attribute = attribute(missing);
        let found = found(&attribute, rows).await;
        let mut tally = Tally::default();
        let key = Key::parse("a");
        let find = attribute.find.as_ref().unwrap();
        let value = tally.resolve(&found, &attribute, find, value, (&key, "Adele Vance"));
        (value, tally.notes("users").map(|note| note.words).collect())
    }

    #[tokio::test]
    async fn a_name_leads_to_one_record_or_nothing_is_guessed() {
        let rows = [("Oslo", "OSL"), ("Bergen", "BGO"), ("bergen ", "BG2"), ("Moss", "")];
        let report = Missing::Report;
        let (value, notes) = resolved(report, &rows, Datum::text(" oslo")).await;
        assert_eq!((value, notes.len()), (Datum::text("OSL"), 0));
        for (missing, name, certain, words) in [
            (report, "Bergen", false, "2 records of locations have that Name: none is guessed. 1 record keeps"),
            (Missing::Empty, "Bergen", false, "none is guessed. 1 record keeps"),
            (
                report,
                "Molde",
                false,
                "\"Office\" is \"Molde\", and no record of locations has that Name. 1 record keeps",
            ),
            (Missing::Empty, "Molde", true, "It is left out of 1 record."),
            (Missing::Empty, "Moss", false, "the record has no Code"),
        ] {
            let (value, notes) = resolved(missing, &rows, Datum::text(name)).await;
            assert_eq!(value.is_empty(), certain, "{name}: {value}");
            assert!(certain || !value.is_known(), "{name}: {value}");
            assert!(notes.len() == 1 && notes[0].contains(words), "{notes:?}");
        }
    }

    #[tokio::test]
    async fn an_empty_list_empties_no_reference() {
        let (value, notes) = resolved(Missing::Empty, &[], Datum::text("Oslo")).await;
        assert!(matches!(value, Datum::Unknown(_)), "{value}");
        assert!(notes[0].contains("locations holds no record at all"), "{notes:?}");
    }

    #[tokio::test]
    async fn of_many_names_the_doubtful_ones_keep_the_others_from_being_taken_out() {
        let rows = [("Oslo", "OSL"), ("Moss", "MSS")];
        let (value, _) = resolved(Missing::Report, &rows, Datum::set(["Moss", "Oslo", "Molde"])).await;
        let Datum::Set(set) = value else { panic!("not a set") };
        assert_eq!((set.items.clone(), set.rest().is_some()), (vec!["MSS".into(), "OSL".into()], true));
        let (value, _) = resolved(Missing::Empty, &rows, Datum::set(["Oslo", "Molde"])).await;
        assert_eq!(value, Datum::set(["OSL"]));
    }
}
