//! `setup`: makes what a schema lacks of what the job's mappings need, and nothing else.
//!
//! Hides what follows from a mapping (types of attributes, cardinality, the unique key), the order in which Jira must
//! be asked, and the ids that become known on the way. What is there is never changed: where it does not fit, that is
//! told. A second call finds nothing to make. Needs the rights of a schema developer, which a nightly run does not.
//! <https://developer.atlassian.com/cloud/assets/rest/api-group-objecttypeattribute/>

use serde_json::{Value, json};

use super::beyond_recommended;
use super::client::{Call, Client, Failed};
use super::model::{self, Id, Kind, Listed, Model, Named, Schema};
use super::value::TEXT_MAX;
use crate::error::{Error, Result};
use crate::http::{Http, HttpError};
use crate::job::{Job, JsmConfig};
use crate::mapping::{KeyRule, Mapping, Slot, SlotKind};
use crate::plan::change::AttributeSpec;
use crate::plan::policy::StepAction;
use crate::target::Remark;

const STATUSES: &str = "config/statustype";
const REFERENCE_TYPES: &str = "config/referencetype";

/// What came of it.
#[derive(Debug, Default)]
pub struct Setup {
    /// What was made, or would be, one line each.
    pub steps: Vec<String>,
    /// What is there and does not fit; a person must change it.
    pub misfits: Vec<String>,
    pub remarks: Vec<Remark>,
}

/// A type as the mappings want it.
struct WantedType {
    name: String,
    attributes: Vec<Wanted>,
}

/// An attribute as a mapping wants it.
#[derive(Clone)]
struct Wanted {
    name: String,
    kind: WantedKind,
    many: bool,
    /// It is the key: required, and unique where it is the whole key.
    key: bool,
    unique: bool,
    /// As the plan asks for it.
    holds: Option<Slot>,
}

#[derive(Clone)]
enum WantedKind {
    Simple(Kind),
    Select(Vec<String>),
    Status(Vec<String>),
    User,
    /// To objects of the type of that name.
    Reference(String),
}

/// One thing to make.
enum Step {
    Schema { key: String },
    Type { name: String },
    Status { name: String, active: bool },
    ReferenceType { name: String },
    Attribute { ty: String, wanted: Wanted },
}

/// Compares the schema with the job's mappings, and makes what lacks unless it is a dry run. `tell` hears of each step
/// when it is done.
pub async fn setup(
    config: &JsmConfig,
    http: &Http,
    job: &Job,
    dry_run: bool,
    tell: &mut dyn FnMut(&str),
) -> Result<Setup> {
    let client = Client::new(config, http)?;
    let wanted = wanted(job)?;
    let mut at = There::read(&client, config).await?;
    let mut setup = Setup::default();
    let steps = at.lacks(&client, &wanted, &mut setup).await?;
    for step in steps {
        let words = step.words(&config.schema);
        if !dry_run {
            let made = at.make(&client, &step).await;
            made.map_err(|failed| client.error(refusal_in_words(failed), &format!("cannot make {words}")))?;
        }
        tell(&words);
        setup.steps.push(words);
    }
    for ty in &wanted {
        let kinds: Vec<Kind> = ty.attributes.iter().map(Wanted::jira_kind).collect();
        if let Some(why) = beyond_recommended(kinds.iter()) {
            setup.remarks.push(Remark {
                words: format!("with the job's attributes {:?} {why}", ty.name),
                hint: "leave attributes out with `attributes.\"…\" = false` in [[mapping]]".into(),
            });
        }
    }
    Ok(setup)
}

/// The server's own words about what it does not want, since they name no record.
fn refusal_in_words(failed: Failed) -> Failed {
    match failed {
        Failed::Http(HttpError::Refused(mut refusal)) if refusal.message.is_none() => {
            let body: Value = serde_json::from_slice(&refusal.response.body).unwrap_or_default();
            let texts: Vec<&str> =
                body["errors"].as_object().into_iter().flatten().filter_map(|(_, v)| v.as_str()).collect();
            refusal.message = (!texts.is_empty()).then(|| crate::http::plain(&texts.join("; ")));
            Failed::Http(HttpError::Refused(refusal))
        }
        other => other,
    }
}

/// The types that the job's mappings make, with all their attributes.
fn wanted(job: &Job) -> Result<Vec<WantedType>> {
    let mut types: Vec<WantedType> = Vec::new();
    for mapping in &job.mappings {
        let mut attributes = Vec::with_capacity(mapping.attributes.len());
        for index in 0..mapping.attributes.len() {
            attributes.push(attribute(job, mapping, index)?);
        }
        let steps = mapping.removal.by_cause.values().flatten().chain(&mapping.removal.default);
        for step in steps {
            let StepAction::Flag(flags) = &step.action else { continue };
            for name in flags.keys().filter(|name| !mapping.attributes.iter().any(|own| own.name == **name)) {
                let kind = WantedKind::Simple(Kind::Text);
                attributes.push(Wanted {
                    name: name.clone(),
                    kind,
                    many: false,
                    key: false,
                    unique: false,
                    holds: None,
                });
            }
        }
        let at = types.iter().position(|ty| ty.name == mapping.target).unwrap_or_else(|| {
            types.push(WantedType { name: mapping.target.clone(), attributes: Vec::new() });
            types.len() - 1
        });
        for wanted in attributes {
            if !types[at].attributes.iter().any(|other| other.name == wanted.name) {
                types[at].attributes.push(wanted);
            }
        }
    }
    Ok(types)
}

fn attribute(job: &Job, mapping: &Mapping, index: usize) -> Result<Wanted> {
    let attribute = &mapping.attributes[index];
    let (key, unique) = match &mapping.key {
        KeyRule::Attributes(key) => (key.contains(&index), *key == [index]),
        KeyRule::Ledger => (false, false),
    };
    let target = attribute.reference.as_ref().and_then(|name| job.mapping(name)).map(|mapping| mapping.target.clone());
    let found = attribute.find.as_ref().filter(|find| find.among.take.is_none()).map(|find| find.among.ty.clone());
    let kind = match (target.or(found), &attribute.slot) {
        (Some(ty), _) => WantedKind::Reference(ty),
        (None, Some(slot)) => {
            if let Some(bad) = slot.options.iter().find(|option| option.contains(',')) {
                return Err(Error::usage(format!("{bad:?} cannot be an option of {:?}", attribute.name))
                    .cause("Jira takes the options of a select as one text with commas between")
                    .hint("write the option without a comma"));
            }
            match slot.kind {
                SlotKind::Select => WantedKind::Select(slot.options.clone()),
                SlotKind::Status => WantedKind::Status(slot.options.clone()),
                SlotKind::User => WantedKind::User,
                simple => WantedKind::Simple(simple_kind(simple)),
            }
        }
        (None, None) => {
            let is_long = attribute.max_length.is_some_and(|most| most.characters > TEXT_MAX);
            WantedKind::Simple(match attribute.holds().map_or(SlotKind::Text, |slot| slot.kind) {
                SlotKind::Text if is_long => Kind::Textarea,
                kind => simple_kind(kind),
            })
        }
    };
    let holds = attribute.holds();
    Ok(Wanted { name: attribute.name.clone(), kind, many: attribute.many, key, unique, holds })
}

fn simple_kind(kind: SlotKind) -> Kind {
    match kind {
        SlotKind::Textarea => Kind::Textarea,
        SlotKind::Integer => Kind::Integer,
        SlotKind::Double => Kind::Double,
        SlotKind::Boolean => Kind::Boolean,
        SlotKind::Date => Kind::Date,
        SlotKind::Time => Kind::Time,
        SlotKind::DateTime => Kind::DateTime,
        SlotKind::Url => Kind::Url,
        SlotKind::Email => Kind::Email,
        SlotKind::Ip => Kind::Ip,
        SlotKind::Text | SlotKind::Select | SlotKind::Status | SlotKind::User => Kind::Text,
    }
}

impl Wanted {
    fn jira_kind(&self) -> Kind {
        match &self.kind {
            WantedKind::Simple(kind) => kind.clone(),
            WantedKind::Select(_) => Kind::Select,
            WantedKind::Status(_) => Kind::Status,
            WantedKind::User => Kind::User,
            WantedKind::Reference(_) => Kind::Reference { to: Id("".into()), and_children: false },
        }
    }

    /// As the plan would ask for it.
    fn spec(&self) -> AttributeSpec {
        let reference = match &self.kind {
            WantedKind::Reference(to) => Some(to.clone()),
            _ => None,
        };
        let (name, holds) = (self.name.clone(), self.holds.clone());
        AttributeSpec { name, many: self.many, reference, holds, ..AttributeSpec::default() }
    }

    fn words(&self) -> String {
        let mut words = match &self.kind {
            WantedKind::Reference(to) => format!("reference to {to:?}"),
            WantedKind::Select(options) => format!("Select of {}", options.join(", ")),
            WantedKind::Status(options) => format!("Status of {}", options.join(", ")),
            WantedKind::User => "User".into(),
            WantedKind::Simple(kind) => kind.to_string(),
        };
        for (so, word) in [(self.many, "any number"), (self.key, "required"), (self.unique, "unique")] {
            if so {
                words.push_str(", ");
                words.push_str(word);
            }
        }
        words
    }
}

impl Step {
    fn words(&self, schema: &str) -> String {
        match self {
            Step::Schema { key } => format!("object schema {schema:?} with the key {key}"),
            Step::Type { name } => format!("object type {name:?}"),
            Step::Status { name, active } => {
                format!("status {name:?}, {}", if *active { "active" } else { "inactive" })
            }
            Step::ReferenceType { name } => format!("reference type {name:?}"),
            Step::Attribute { ty, wanted } => format!("attribute {:?} of {ty:?}: {}", wanted.name, wanted.words()),
        }
    }
}

/// What is there, growing as things are made.
struct There {
    name: String,
    schemas: Vec<Schema>,
    /// The schema's own things; none before it was made.
    model: Option<Model>,
    schema: Option<Id>,
    types: Vec<Listed>,
    statuses: Vec<Named>,
    reference_types: Vec<Named>,
}

impl There {
    async fn read(client: &Client, config: &JsmConfig) -> Result<There> {
        let schemas = model::schemas(client).await?;
        let wanted = &config.schema;
        let same = |schema: &&Schema| {
            schema.name.eq_ignore_ascii_case(wanted) || schema.object_schema_key.eq_ignore_ascii_case(wanted)
        };
        let schema = schemas.iter().find(same).map(|schema| schema.id.clone());
        let failed = |failed| client.error(failed, "cannot read the schema's configuration");
        let model = match &schema {
            Some(_) => Some(Model::read(client, wanted).await?),
            None => None,
        };
        let reference_types = model::named(client, REFERENCE_TYPES, schema.as_ref()).await.map_err(failed)?;
        let statuses = match &model {
            Some(model) => model.statuses.clone(),
            None => model::named(client, STATUSES, None).await.map_err(failed)?,
        };
        let types = model.as_ref().map(|model| model.types.clone()).unwrap_or_default();
        Ok(There { name: wanted.clone(), schemas, model, schema, types, statuses, reference_types })
    }

    /// What lacks, in the order in which it can be made; what does not fit goes into `setup`.
    async fn lacks(&self, client: &Client, wanted: &[WantedType], setup: &mut Setup) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        if self.schema.is_none() {
            steps.push(Step::Schema { key: self.free_key() });
        }
        let (mut names, mut attributes) = (Vec::new(), Vec::new());
        for ty in wanted {
            let known = match &self.model {
                Some(model) if model.listed(&ty.name).is_some() => model.learn(client, &ty.name, &[]).await?.ok(),
                _ => None,
            };
            if known.is_none() {
                setup.remarks.extend(self.renamed(client, ty, wanted).await?);
                steps.push(Step::Type { name: ty.name.clone() });
            }
            for attribute in &ty.attributes {
                let there = known.as_ref().and_then(|known| Some(&known.slots[known.place(&attribute.name)?]));
                match (there, &self.model) {
                    (Some(slot), Some(model)) => {
                        if let Err(why) = model.check(&attribute.spec(), slot) {
                            setup.misfits.push(format!("the attribute {:?} of {:?} {why}", attribute.name, ty.name));
                        }
                    }
                    // Every new type comes with a label of that name.
                    _ if known.is_none() && attribute.name == "Name" => {}
                    _ => attributes.push(Step::Attribute { ty: ty.name.clone(), wanted: attribute.clone() }),
                }
                self.lacks_names(attribute, there.is_some(), &mut names);
            }
        }
        steps.extend(names);
        steps.extend(attributes);
        Ok(steps)
    }

    /// Whether a type that is to be made may be there under another name; what the job itself names so is another.
    async fn renamed(&self, client: &Client, ty: &WantedType, wanted: &[WantedType]) -> Result<Option<Remark>> {
        let Some(model) = &self.model else { return Ok(None) };
        let attributes: Vec<&str> = ty.attributes.iter().map(|attribute| attribute.name.as_str()).collect();
        let mut renamed = model.renamed(client, &attributes).await?;
        renamed.retain(|name| !wanted.iter().any(|other| other.name.eq_ignore_ascii_case(name)));
        Ok((!renamed.is_empty()).then(|| Remark {
            words: format!("{} every attribute that the object type {:?} is to have", model::has(&renamed), ty.name),
            hint: "if the type was renamed in Jira, give it back its name there, and delete the new one".into(),
        }))
    }

    /// Statuses and kinds of reference that an attribute needs; one that is there has its kind of reference.
    fn lacks_names(&self, attribute: &Wanted, there: bool, steps: &mut Vec<Step>) {
        let has = |all: &[Named], name: &str| all.iter().any(|there| there.name.eq_ignore_ascii_case(name));
        let asked = |steps: &[Step], wanted: &str| {
            steps
                .iter()
                .any(|step| matches!(step, Step::Status { name, .. } | Step::ReferenceType { name } if name == wanted))
        };
        match &attribute.kind {
            WantedKind::Status(options) => {
                for (place, name) in options.iter().enumerate() {
                    if !has(&self.statuses, name) && !asked(steps, name) {
                        steps.push(Step::Status { name: name.clone(), active: place == 0 });
                    }
                }
            }
            WantedKind::Reference(_)
                if !there && !has(&self.reference_types, &attribute.name) && !asked(steps, &attribute.name) =>
            {
                steps.push(Step::ReferenceType { name: attribute.name.clone() });
            }
            _ => {}
        }
    }

    /// A key for the schema out of its name: capitals and digits, at most ten, and not taken.
    fn free_key(&self) -> String {
        let all: String =
            self.name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_uppercase();
        let stem: String = all.trim_start_matches(|c: char| c.is_ascii_digit()).chars().take(8).collect();
        let stem = if stem.is_empty() { "ENTRA".to_string() } else { stem };
        let taken = |key: &str| self.schemas.iter().any(|schema| schema.object_schema_key.eq_ignore_ascii_case(key));
        let numbered = (2..100).map(|n| format!("{stem}{n}"));
        std::iter::once(stem.clone()).chain(numbered).find(|key| !taken(key)).unwrap_or(stem)
    }

    async fn make(&mut self, client: &Client, step: &Step) -> Result<(), Failed> {
        let schema = || self.schema.clone().map(|id| id.to_string());
        match step {
            Step::Schema { key } => {
                let body = json!({"name": self.name, "objectSchemaKey": key, "description": "Made by entra-import"});
                self.schema = Some(client.make("objectschema/create", body).await?);
            }
            Step::Type { name } => {
                let icons: Vec<Named> = client.list(&Call::get("icon/global")).await?;
                let like = icons.iter().find(|icon| icon.name.eq_ignore_ascii_case(name));
                let icon = like.or(icons.first()).map(|icon| icon.id.to_string());
                let body = json!({"name": name, "iconId": icon, "objectSchemaId": schema(), "inherited": false, "abstractObjectType": false});
                let id = client.make("objecttype/create", body).await?;
                self.types.push(Listed {
                    id,
                    name: name.clone(),
                    parent_object_type_id: None,
                    abstract_object_type: false,
                });
            }
            Step::Status { name, active } => {
                let body = json!({"name": name, "category": u8::from(*active), "objectSchemaId": schema()});
                let status = self.make_named(client, STATUSES, name, body).await?;
                self.statuses.push(status);
            }
            Step::ReferenceType { name } => {
                let body = json!({"name": name, "objectSchemaId": schema()});
                let by = self.make_named(client, REFERENCE_TYPES, name, body).await?;
                self.reference_types.push(by);
            }
            Step::Attribute { ty, wanted } => {
                let path = format!("objecttypeattribute/{}", self.type_id(ty)?);
                client.make(&path, self.body(wanted)?).await?;
            }
        }
        Ok(())
    }

    /// Makes a status or a kind of reference; one that is there after all, since somebody made it meanwhile or no list
    /// told of it, is as good.
    async fn make_named(&self, client: &Client, path: &str, name: &str, body: Value) -> Result<Named, Failed> {
        match client.make(path, body).await {
            Ok(id) => Ok(Named { id, name: name.to_owned(), category: None, of: self.schema.clone() }),
            Err(Failed::Http(HttpError::Refused(refusal))) if matches!(refusal.status(), 400 | 409) => {
                let there = model::named(client, path, self.schema.as_ref()).await?;
                let same = there.into_iter().find(|there| there.name.eq_ignore_ascii_case(name));
                same.ok_or(Failed::Http(HttpError::Refused(refusal)))
            }
            Err(failed) => Err(failed),
        }
    }

    fn type_id(&self, name: &str) -> Result<String, Failed> {
        let found = self.types.iter().find(|ty| ty.name.eq_ignore_ascii_case(name)).map(|ty| ty.id.to_string());
        found.ok_or_else(|| {
            let error = Error::usage(format!("there is no object type {name:?} in the schema {:?}", self.name));
            Failed::Run(error.hint("`find` refers to types that somebody else keeps: make it in Jira first"))
        })
    }

    /// The body that makes an attribute.
    fn body(&self, wanted: &Wanted) -> Result<Value, Failed> {
        let id = |all: &[Named], name: &str| {
            all.iter().find(|there| there.name.eq_ignore_ascii_case(name)).map(|there| there.id.to_string())
        };
        let mut body = json!({
            "name": wanted.name, "label": false, "minimumCardinality": u8::from(wanted.key),
            "maximumCardinality": if wanted.many { -1 } else { 1 }, "uniqueAttribute": wanted.unique,
        });
        let more = match &wanted.kind {
            WantedKind::Simple(kind) => {
                let number = model::SIMPLE.iter().find(|(_, known)| known == kind).map(|(number, _)| *number);
                json!({"type": 0, "defaultTypeId": number})
            }
            WantedKind::Select(options) => json!({"type": 0, "defaultTypeId": 10, "options": options.join(",")}),
            WantedKind::Status(options) => {
                let ids: Vec<String> = options.iter().filter_map(|name| id(&self.statuses, name)).collect();
                json!({"type": 7, "typeValueMulti": ids})
            }
            WantedKind::User => json!({"type": 2, "additionalValue": "SHOW_PROFILE"}),
            WantedKind::Reference(to) => {
                let by = id(&self.reference_types, &wanted.name);
                json!({"type": 1, "typeValue": self.type_id(to)?, "additionalValue": by})
            }
        };
        if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
            body.extend(more);
        }
        Ok(body)
    }
}
