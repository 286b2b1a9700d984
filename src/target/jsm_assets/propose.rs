//! `init --from-schema`: mapping files for a schema that is there already, also one that another importer made.
//!
//! Reads object types, attributes and the first objects of each, and proposes for every type that looks like users,
//! groups, licenses or devices which attribute comes from which property, by which key a record is recognised, and by
//! what objects that are there already are taken over. What the names of `synonyms` do not know is listed in the file
//! for a person, with the reason; nothing is guessed from values, but whether they are Entra ids. Deliberately writes
//! nothing, to Jira or to disk.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use super::client::Client;
use super::model::{self, Id, Kind, Listed, Model, Named, Slot};
use super::synonyms::{self as known, KINDS, Sure};
use super::{first_objects, value};
use crate::error::{Error, Result};
use crate::expr::{Catalog, compile};
use crate::http::Http;
use crate::job::JsmConfig;
use crate::plan::change::SlotKind;
use crate::record::{Collection, Guid};
use crate::schema::{self, Type as ValueType};
use crate::visible::visible;

/// What fits a schema.
#[derive(Debug)]
pub struct Proposal {
    /// In the order in which a job names them.
    pub mappings: Vec<ProposedMapping>,
    /// Object types for which there is none, each with the reason.
    pub others: Vec<(String, &'static str)>,
}

/// One mapping file.
#[derive(Debug)]
pub struct ProposedMapping {
    pub name: &'static str,
    /// The object type.
    pub ty: String,
    pub text: String,
    /// Attributes that get a value.
    pub matched: usize,
    /// Attributes that get none, each with the reason.
    pub left: Vec<(String, String)>,
    /// The key attribute; none where the ledger alone has to know.
    pub key: Option<String>,
    /// Attributes by which objects that are there are taken over.
    pub adopt: Vec<String>,
    /// An attribute that could mark who left, with the value.
    pub flag: Option<(String, String)>,
}

/// A type of the schema with what is known of it.
struct Seen {
    listed: Listed,
    slots: Vec<Slot>,
    /// A few texts that stand in each attribute.
    samples: HashMap<Id, Vec<String>>,
}

/// Reads the schema and proposes what fits it. A schema that does not exist is an error, as in a run.
pub async fn propose(config: &JsmConfig, http: &Http) -> Result<Proposal> {
    let client = Client::new(config, http)?;
    let model = Model::read(&client, &config.schema).await?;
    let mut seen: Vec<Seen> = Vec::new();
    for listed in &model.types {
        // A name leads to the first type that bears it.
        if seen.iter().any(|other| other.listed.name.eq_ignore_ascii_case(&listed.name)) {
            continue;
        }
        let what = format!("cannot read the object type {:?}", listed.name);
        let failed = |failed| client.error(failed, &what);
        let slots = model::slots(&client, &listed.id).await.map_err(failed)?;
        let objects = first_objects(&client, &listed.id).await.map_err(failed)?;
        let mut samples: HashMap<Id, Vec<String>> = HashMap::new();
        for (object, slot) in objects.iter().flat_map(|object| slots.iter().map(move |slot| (object, slot))) {
            let texts = value::texts(&value::held(object, slot, true)).unwrap_or_default();
            samples.entry(slot.id.clone()).or_default().extend(texts.into_iter().map(String::from));
        }
        seen.push(Seen { listed: listed.clone(), slots, samples });
    }
    let site = config.site.as_str().trim_end_matches('/');
    let proposal = Proposer { seen: &seen, model: &model, site, schema: &model.schema.name }.all();
    if proposal.mappings.is_empty() {
        let names: Vec<String> = proposal.others.iter().map(|(name, _)| format!("{name:?}")).collect();
        let error = Error::usage(format!(
            "no object type of {:?} looks like users, groups, licenses or devices",
            config.schema
        ))
        .hint(
            "leave `--from-schema` away: `setup` then makes types for the shipped mappings beside those that are there",
        );
        return Err(if names.is_empty() {
            error.cause("it has no object type")
        } else {
            error.cause(format!("it has {}", names.join(", ")))
        });
    }
    Ok(proposal)
}

/// What a type becomes, before it is text.
struct Draft<'s> {
    seen: &'s Seen,
    lines: Vec<Line<'s>>,
    left: Vec<(String, String)>,
}

/// An attribute with its value.
struct Line<'s> {
    slot: &'s Slot,
    /// The expression; empty for a fixed value.
    value: String,
    /// What stands behind the attribute's name in the file.
    toml: String,
    /// Above it in the file.
    note: Option<String>,
}

/// What becomes of one attribute.
enum Verdict {
    Takes { value: String, toml: String, note: Option<String> },
    Left(String),
}

struct Proposer<'s> {
    seen: &'s [Seen],
    model: &'s Model,
    site: &'s str,
    schema: &'s str,
}

impl<'s> Proposer<'s> {
    fn all(&self) -> Proposal {
        let chosen = self.chosen();
        let mappings = KINDS.iter().filter_map(|(collection, name, _)| {
            let seen = chosen.get(collection)?;
            Some(self.mapping(*collection, name, seen, &chosen))
        });
        let mappings: Vec<ProposedMapping> = mappings.collect();
        let others = self.seen.iter().filter(|seen| !chosen.values().any(|chosen| chosen.listed.id == seen.listed.id));
        let why = |seen: &Seen| match KINDS.iter().any(|(of, ..)| known::is_kind(*of, &seen.listed.name)) {
            _ if seen.listed.abstract_object_type => "holds no objects itself",
            true => "another type fits better",
            false => "looks like nothing in Entra ID",
        };
        let others = others.map(|seen| (seen.listed.name.clone(), why(seen))).collect();
        Proposal { mappings, others }
    }

    /// For each collection the type that fits it best: by its name first, then by how many attributes match.
    fn chosen(&self) -> BTreeMap<Collection, &'s Seen> {
        let mut chosen = BTreeMap::new();
        let mut taken: Vec<&Id> = Vec::new();
        // What a type is called counts for every collection before what it is made of does for any.
        for by_name in [true, false] {
            for (collection, ..) in &KINDS {
                if chosen.contains_key(collection) {
                    continue;
                }
                let fits = |seen: &&&Seen| {
                    let open = !seen.listed.abstract_object_type && !taken.contains(&&seen.listed.id);
                    open && match by_name {
                        true => known::is_kind(*collection, &seen.listed.name),
                        false => self.marks(*collection, seen) >= 2,
                    }
                };
                let weight = |seen: &&Seen| (self.marks(*collection, seen), self.matches(*collection, seen));
                // Of equals the first.
                if let Some(best) =
                    self.seen.iter().collect::<Vec<_>>().iter().filter(fits).rev().max_by_key(|seen| weight(seen))
                {
                    taken.push(&best.listed.id);
                    chosen.insert(*collection, *best);
                }
            }
        }
        chosen
    }

    /// How many attributes only that collection has.
    fn marks(&self, collection: Collection, seen: &Seen) -> usize {
        let marks = known::marks(collection);
        let value = |slot: &&Slot| {
            let link = known::link(collection, &slot.name).map(|link| link.id);
            known::value(collection, &slot.name).or(link).is_some_and(|value| marks.contains(&value))
        };
        let ids = seen.slots.iter().filter(|slot| known::is_id(collection, &slot.name) == Some(Sure::ByName)).count();
        let ids = if collection == Collection::Licenses { ids } else { 0 };
        seen.slots.iter().filter(value).count() + ids
    }

    fn matches(&self, collection: Collection, seen: &Seen) -> usize {
        seen.slots.iter().filter(|slot| known::value(collection, &slot.name).is_some()).count()
    }

    fn mapping(
        &self,
        collection: Collection,
        name: &'static str,
        seen: &'s Seen,
        chosen: &BTreeMap<Collection, &Seen>,
    ) -> ProposedMapping {
        let mut draft = Draft { seen, lines: Vec::new(), left: Vec::new() };
        for slot in seen.slots.iter().filter(|slot| slot.editable) {
            match self.verdict(collection, seen, slot, chosen) {
                Verdict::Takes { value, toml, note } => draft.lines.push(Line { slot, value, toml, note }),
                Verdict::Left(why) => {
                    let required =
                        if slot.least > 0 { "Jira requires it, so no object can be made without it; " } else { "" };
                    draft.left.push((slot.name.clone(), format!("{}: {required}{why}", slot.kind)));
                }
            }
        }
        let key = key(collection, &draft);
        let adopt = adopt(collection, &draft, key);
        let flag = draft
            .seen
            .slots
            .iter()
            .filter(|slot| slot.kind == Kind::Plain(SlotKind::Status) && slot.editable)
            .find_map(|slot| {
                let gone = self.statuses(slot).into_iter().find(|status| is_active(status) == Some(false))?;
                Some((slot.name.clone(), gone.name.clone()))
            });
        let key = key.map(|slot| slot.name.clone());
        let text = self.file(collection, name, &draft, key.as_deref(), &adopt);
        ProposedMapping {
            name,
            ty: seen.listed.name.clone(),
            text,
            matched: draft.lines.len(),
            left: draft.left,
            key,
            adopt,
            flag,
        }
    }

    fn verdict(
        &self,
        collection: Collection,
        seen: &Seen,
        slot: &Slot,
        chosen: &BTreeMap<Collection, &Seen>,
    ) -> Verdict {
        if known::is_crowd(collection, &slot.name)
            && !matches!(slot.kind, Kind::Plain(SlotKind::Integer | SlotKind::Double))
        {
            let why = "may be thousands; membership is kept on the users, and AQL finds the way back";
            return Verdict::Left(why.into());
        }
        match &slot.kind {
            Kind::Reference { to, and_children } => self.reference(collection, slot, (to, *and_children), chosen),
            Kind::Plain(SlotKind::User) => user(collection, slot),
            Kind::Plain(SlotKind::Status) => self.status(slot),
            Kind::Plain(SlotKind::Select) => select(collection, slot),
            Kind::Group => Verdict::Left("groups of Jira are not those of Entra ID".into()),
            Kind::Other(_) => Verdict::Left("this program does not write such attributes".into()),
            _ => plain(collection, seen, slot),
        }
    }

    fn reference(
        &self,
        collection: Collection,
        slot: &Slot,
        (to, and_children): (&Id, bool),
        chosen: &BTreeMap<Collection, &Seen>,
    ) -> Verdict {
        let single = slot.most == Some(1);
        let link = known::link(collection, &slot.name);
        let own =
            |of: Collection| chosen.get(&of).is_some_and(|seen| self.model.fits(&seen.listed.id, to, and_children));
        if let Some(link) = link
            && own(link.to)
        {
            let (value, note) = match many(collection, link.id) && single {
                true => {
                    let note = "Holds one value in Jira: of several the first by its id, so that it is the same one every night.";
                    (format!("first(sort({}))", link.id), Some(note.to_string()))
                }
                false => (link.id.to_string(), None),
            };
            let mapping = KINDS.iter().find(|(of, ..)| *of == link.to).map_or("", |(_, name, _)| name);
            let toml = format!("{{ value = {}, ref = {} }}", quoted(&value), quoted(mapping));
            return Verdict::Takes { value, toml, note };
        }
        let Some(target) = self.seen.iter().find(|seen| seen.listed.id == *to) else {
            return Verdict::Left("refers to objects of another schema".into());
        };
        let name = &target.listed.name;
        if chosen.values().any(|seen| seen.listed.id == *to) {
            return Verdict::Left(format!("refers to {}, and which of them its name does not say", visible(name)));
        }
        let value = link.map(|link| link.text).or_else(|| known::value(collection, &slot.name));
        let label = target.slots.iter().find(|slot| slot.label).map_or("Name", |slot| slot.name.as_str());
        match value {
            Some(value) if !(single && many(collection, value)) => {
                let find = format!("{{ type = {}, by = {} }}", quoted(name), quoted(label));
                let toml = format!("{{ value = {}, find = {find} }}", quoted(value));
                let note = format!(
                    "Objects of {} are found by {}, never made: who has none is listed.",
                    visible(name),
                    visible(label)
                );
                Verdict::Takes { value: value.to_string(), toml, note: Some(note) }
            }
            Some(_) => Verdict::Left("holds one value in Jira, and Entra ID has several".into()),
            None => Verdict::Left(format!("refers to {}; nothing in Entra ID is called so", visible(name))),
        }
    }

    /// The statuses that an attribute may take.
    fn statuses(&self, slot: &Slot) -> Vec<&'s Named> {
        let open = |status: &&Named| slot.allowed.is_empty() || slot.allowed.contains(&status.id);
        self.model.statuses.iter().filter(open).collect()
    }

    fn status(&self, slot: &Slot) -> Verdict {
        let statuses = self.statuses(slot);
        let Some(active) = statuses.iter().find(|status| is_active(status) == Some(true)) else {
            return Verdict::Left("none of its statuses says that something is in use".into());
        };
        let gone = statuses.iter().find(|status| is_active(status) == Some(false));
        let options: Vec<String> = std::iter::once(active).chain(gone).map(|status| quoted(&status.name)).collect();
        let toml = format!(
            "{{ const = {}, write = \"on-create\", type = \"status\", options = [{}] }}",
            quoted(&active.name),
            options.join(", ")
        );
        Verdict::Takes { value: String::new(), toml, note: None }
    }

    fn file(
        &self,
        collection: Collection,
        name: &str,
        draft: &Draft<'_>,
        key: Option<&str>,
        adopt: &[String],
    ) -> String {
        let ty = &draft.seen.listed.name;
        let mut text = String::new();
        // Writing to a text cannot fail.
        let _ = writeln!(
            text,
            "# Proposed by `entra-import init` for the object type {} of {} at {}.\n#\n# What an attribute is called decided: \
             read it through before the first run, and look at `entra-import plan`.\n",
            visible(ty),
            visible(self.schema),
            visible(self.site),
        );
        let _ =
            writeln!(text, "format = \"mapping/1\"\nname   = {}\nsource = {}", quoted(name), quoted(collection.name()));
        let _ = writeln!(text, "target = {}\n", quoted(ty));
        match key {
            Some(key) => {
                let unique = draft.lines.iter().any(|line| line.slot.name == key && line.slot.unique);
                if !unique {
                    text.push_str("# Not unique in Jira: set Unique there, so that no two runs at once can make an object twice.\n");
                }
                let _ = writeln!(text, "key    = {}", quoted(key));
            }
            None => {
                let id = known::id_of(collection);
                let _ = writeln!(
                    text,
                    "# No attribute holds Entra's id, so only the ledger knows which object is whose: back it up. Safer is an \
                     attribute\n# for it: write   \"Object ID\" = \"{id}\"   below and   key = \"Object ID\"   here, and run \
                     `entra-import setup`.\nkey    = {{ ledger = true }}"
                );
            }
        }
        if !adopt.is_empty() {
            let names: Vec<String> = adopt.iter().map(|name| quoted(name)).collect();
            let _ = writeln!(
                text,
                "# Objects that are there are taken over by the first of these that exactly one object has. The first run shows \
                 each\n# and waits for approval; values that stand there are kept.\nadopt  = [{}]",
                names.join(", ")
            );
        }
        text.push_str("\n[attributes]\n");
        let names: Vec<String> = draft.lines.iter().map(|line| quoted(&line.slot.name)).collect();
        let width =
            names.iter().map(|name| name.chars().count()).filter(|width| *width <= 32).max().unwrap_or_default();
        for (line, name) in draft.lines.iter().zip(&names) {
            if let Some(note) = &line.note {
                let _ = writeln!(text, "# {note}");
            }
            let _ = writeln!(text, "{name:width$} = {}", line.toml);
        }
        if !draft.left.is_empty() {
            text.push_str(
                "\n# Not matched. Write a line above for what should get a value; the rest stays untouched.\n",
            );
            for (name, why) in &draft.left {
                let _ = writeln!(text, "#   {} ({})", visible(&quoted(name)), visible(why));
            }
        }
        text
    }
}

fn is_active(status: &Named) -> Option<bool> {
    known::says_active(&status.name).or(match status.category {
        Some(1) => Some(true),
        Some(0) => Some(false),
        _ => None,
    })
}

/// The type of an expression over a collection; all that are asked for are rows of `synonyms`, which compile.
fn type_of(collection: Collection, value: &str) -> ValueType {
    compile(value, Some(collection), &mut Catalog::new()).map_or(ValueType::ANY, |expr| expr.ty())
}

fn many(collection: Collection, value: &str) -> bool {
    type_of(collection, value).many
}

/// A text, number, date or flag.
fn plain(collection: Collection, seen: &Seen, slot: &Slot) -> Verdict {
    let takes = |value: String, toml: String| Verdict::Takes { value, toml, note: None };
    if let Some(sure) = known::is_id(collection, &slot.name)
        && matches!(slot.kind, Kind::Plain(SlotKind::Text | SlotKind::Textarea))
    {
        let samples = seen.samples.get(&slot.id).map_or(&[][..], Vec::as_slice);
        let ids = samples.iter().filter(|text| text.parse::<Guid>().is_ok()).count();
        let (all, some) = (ids == samples.len(), !samples.is_empty());
        let value = known::id_of(collection).to_string();
        return match (all, some || sure == Sure::ByName) {
            (true, true) => takes(value.clone(), quoted(&value)),
            (false, _) => Verdict::Left("what stands there are no ids of Entra".into()),
            (true, false) => {
                Verdict::Left(format!("if it is to hold Entra's id, write \"{value}\" and make it the key"))
            }
        };
    }
    let link = known::link(collection, &slot.name).map(|link| link.text);
    if slot.label && known::value(collection, &slot.name).is_none() {
        let value = known::value(collection, "Name").unwrap_or("displayName");
        return takes(value.into(), format!("{{ value = {}, required = true }}", quoted(value)));
    }
    let Some(value) = known::value(collection, &slot.name).or(link) else {
        return Verdict::Left("nothing in Entra ID is called so".into());
    };
    let ty = type_of(collection, value);
    if !holds(&slot.kind, ty, value) {
        return Verdict::Left(format!("{value} is {ty}, which does not fit"));
    }
    let toml = match () {
        () if ty.many && slot.most == Some(1) => format!("{{ value = {}, separator = \"; \" }}", quoted(value)),
        () if slot.label => format!("{{ value = {}, required = true }}", quoted(value)),
        () => quoted(value),
    };
    takes(value.into(), toml)
}

/// Whether an attribute of Jira can hold values of that type.
fn holds(kind: &Kind, ty: ValueType, value: &str) -> bool {
    use schema::Kind as Of;
    match kind {
        Kind::Plain(SlotKind::Text | SlotKind::Textarea) => true,
        Kind::Plain(SlotKind::Integer) => ty.kind == Of::Int,
        Kind::Plain(SlotKind::Double) => matches!(ty.kind, Of::Int | Of::Double),
        Kind::Plain(SlotKind::Boolean) => ty.kind == Of::Bool,
        Kind::Plain(SlotKind::Date | SlotKind::DateTime) => matches!(ty.kind, Of::Date | Of::DateTime),
        Kind::Plain(SlotKind::Time) => ty.kind == Of::Time,
        // Other texts would be refused.
        Kind::Plain(SlotKind::Email) => value.to_ascii_lowercase().contains("mail"),
        _ => false,
    }
}

/// A Jira account, found by mail address.
fn user(collection: Collection, slot: &Slot) -> Verdict {
    let single = slot.most == Some(1);
    let linked = known::link(collection, &slot.name).and_then(|link| link.mail);
    let own = (collection == Collection::Users && known::is_own_account(&slot.name))
        .then_some("coalesce(mail, userPrincipalName)");
    match linked.or(own) {
        None => Verdict::Left("whose account it is its name does not say".into()),
        Some(value) => {
            let several = single && many(collection, value);
            let value = if several { format!("first(sort({value}))") } else { value.to_string() };
            let note = "Looked up in Jira by mail address; who is not found is named and left out.".to_string();
            let toml = format!("{{ value = {}, type = \"user\" }}", quoted(&value));
            Verdict::Takes { value, toml, note: Some(note) }
        }
    }
}

/// One of some texts: only what surely is one of them.
fn select(collection: Collection, slot: &Slot) -> Verdict {
    let option = |wanted: &[&str]| slot.options.iter().find(|option| wanted.contains(&known::folded(option).as_str()));
    let literal = |option: &str| format!("'{}'", option.replace('\'', "''"));
    let takes = |value: String| {
        let options: Vec<String> = slot.options.iter().map(|option| quoted(option)).collect();
        let toml = format!("{{ value = {}, type = \"select\", options = [{}] }}", quoted(&value), options.join(", "));
        Verdict::Takes { value, toml, note: None }
    };
    let Some(value) = known::value(collection, &slot.name) else {
        return Verdict::Left("nothing in Entra ID is called so".into());
    };
    let is_on = slot.options.iter().find(|option| known::says_active(option) == Some(true));
    let is_off = slot.options.iter().find(|option| known::says_active(option) == Some(false));
    if type_of(collection, value).kind == schema::Kind::Bool
        && let (Some(on), Some(off)) = (is_on, is_off)
    {
        return takes(format!("case({value} eq true: {}, {value} eq false: {})", literal(on), literal(off)));
    }
    if value.contains("userType")
        && let (Some(member), Some(guest)) = (option(&["member", "internal"]), option(&["guest", "external"]))
    {
        return takes(format!("case(userType eq 'Guest': {}, true: {})", literal(guest), literal(member)));
    }
    if value == known::GROUP_TYPE {
        let names: [&[&str]; 4] = [
            &["microsoft365", "office365", "m365", "unified"],
            &["mailenabledsecurity", "mailenabledsecuritygroup"],
            &["distribution", "distributionlist", "distributiongroup"],
            &["security", "securitygroup"],
        ];
        if let [Some(unified), Some(mail), Some(list), Some(security)] = names.map(option) {
            return takes(format!(
                "case(groupTypes/any(t: t eq 'Unified'): {}, mailEnabled eq true and securityEnabled eq true: {}, \
                 mailEnabled eq true: {}, true: {})",
                literal(unified),
                literal(mail),
                literal(list),
                literal(security)
            ));
        }
    }
    let options: Vec<String> = slot.options.iter().take(8).map(|option| quoted(option)).collect();
    Verdict::Left(format!("{value} may have values that Jira refuses; the options are {}", options.join(", ")))
}

/// The attribute that holds Entra's id: a unique one before others.
fn key<'s>(collection: Collection, draft: &Draft<'s>) -> Option<&'s Slot> {
    let id = known::id_of(collection);
    let fits = |line: &&Line<'s>| {
        line.value == id && line.slot.kind == Kind::Plain(SlotKind::Text) && line.slot.most == Some(1)
    };
    let all: Vec<&Slot> = draft.lines.iter().filter(fits).map(|line| line.slot).collect();
    all.iter().find(|slot| slot.unique).or(all.first()).copied()
}

/// What tells an object that is there already: surer names before names for people.
fn adopt(collection: Collection, draft: &Draft<'_>, key: Option<&Slot>) -> Vec<String> {
    let wanted: &[&str] = match collection {
        Collection::Users => &["userPrincipalName", "mail", "employeeId"],
        Collection::Licenses => &["skuPartNumber"],
        Collection::Devices => &["deviceId"],
        _ => &[],
    };
    let holding = |value: &str| {
        let fits = |line: &&Line<'_>| {
            line.value == value
                && line.slot.most == Some(1)
                && matches!(line.slot.kind, Kind::Plain(SlotKind::Text | SlotKind::Email))
        };
        draft.lines.iter().find(fits).map(|line| line.slot.name.clone())
    };
    let mut names: Vec<String> = wanted.iter().filter_map(|value| holding(value)).collect();
    if names.is_empty() {
        let label = draft.lines.iter().find(|line| line.slot.label).map(|line| line.slot.name.clone());
        names.extend(label);
    }
    names.retain(|name| key.is_none_or(|key| key.name != *name));
    names
}

/// A text as TOML's basic string, which also spells an attribute's name.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if visible(c.encode_utf8(&mut [0; 4])) != c.to_string() => {
                let _ = write!(quoted, "\\U{:08X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
