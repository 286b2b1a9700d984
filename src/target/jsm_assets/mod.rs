//! Jira Service Management Assets, Cloud and Data Center: one schema, one object type for each type of the plan.
//!
//! Hides AQL, pages, ids of types and attributes, and that both products say the same in different JSON. An object is
//! called by its id, a reference is the id of what it leads to. Only object types that the plan names are read, children
//! of them not; a type that is missing, or that does not fit the mapping, counts as not read, so that the rest goes on
//! and nothing of it is written. A new object whose mapping gives no label gets the record's name for one.
//!
//! Searches come from an index that follows the writes, so nothing of a run is ever looked for by a search of the same
//! run, but where an answer was lost and the index had its time. Uniqueness is kept by a unique attribute, which `setup`
//! makes and `check` asks for.
//!
//! Deliberately does not: move objects between types, write attributes of Confluence, versions or projects, or use the
//! import API, whose handling of missing objects is set by hand and cannot be shown beforehand.
//! <https://developer.atlassian.com/cloud/assets/rest/>

mod client;
mod model;
pub mod propose;
pub mod setup;
mod synonyms;
#[cfg(test)]
mod tests;
mod value;
mod write;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock, PoisonError};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{Mutex, OnceCell};
use url::Url;

use self::client::{Call, Class, Client, Failed};
use self::model::{Kind, Model, Type};
use self::value::Object;
use self::write::{Account, is_mail};
use super::{Capabilities, Holder, Remark, Sent, Target, WriteRecords, Writes};
use crate::error::{Error, Result};
use crate::http::{Http, HttpError};
use crate::job::{Flavour, JsmConfig};
use crate::plan::change::{AttributeSpec, Change, Current, TypeSpec};
use crate::plan::datum::{Datum, Set};
use crate::record::{Coverage, Unknown};

/// Until a write is expected to have reached the index. No number is published; a reindexing site may take longer.
const INDEX_DELAY_S: u64 = 30;

/// Until an object that no search shows is taken for one that never arrived, where no search shows a later one either. An
/// index this late would make every reading wrong; short of a day, so that the next night decides.
const INDEX_GIVEN_UP_S: u64 = 12 * 3600;

/// How often a type is read before a count that is not reached is a gap: an object that others pushed from one page to
/// another while it was turned, and one that was made meanwhile, come the second time.
const ROUNDS: usize = 2;

/// Objects whose holders one search asks for; queries are short of an unpublished length.
const HOLDERS_AT_ONCE: usize = 50;

/// What to do where people cannot be looked up.
const NO_PEOPLE: &str = "give the account the global permission \"Browse users and groups\" in Jira, and a scoped token \
                         the scope read:jira-user";

/// Recommended, not enforced.
/// <https://support.atlassian.com/jira-service-management-cloud/docs/recommended-data-structure-for-an-assets-schema/>
const ATTRIBUTES_MAX: usize = 35;
const REFERENCES_MAX: usize = 3;
const TEXTAREAS_MAX: usize = 2;

/// One schema of Assets.
pub struct JsmTarget {
    config: JsmConfig,
    client: Client,
    model: OnceCell<Model>,
    /// What Jira says of a person, by the mail address that a mapping has.
    people: Mutex<HashMap<String, Account>>,
    /// Set once it was asked whether people may be looked up at all.
    asked_for_people: OnceCell<()>,
    /// Why nobody is looked up any more.
    no_people: OnceLock<Unknown>,
    /// Keys of objects, by id, where they do not follow from it.
    odd_keys: std::sync::Mutex<HashMap<Box<str>, Box<str>>>,
    /// The server's words once the plan's object limit was reached: no create is sent after that.
    full: OnceLock<String>,
    /// Set once it was looked how near the included objects are.
    counted: OnceCell<()>,
}

impl JsmTarget {
    /// Contacts nobody and reads no secret.
    pub fn new(config: &JsmConfig, http: &Http) -> Result<JsmTarget> {
        Ok(JsmTarget {
            client: Client::new(config, http)?,
            config: config.clone(),
            model: OnceCell::new(),
            people: Mutex::default(),
            asked_for_people: OnceCell::new(),
            no_people: OnceLock::new(),
            odd_keys: std::sync::Mutex::default(),
            full: OnceLock::new(),
            counted: OnceCell::new(),
        })
    }

    /// The schema as it stands, read once.
    async fn model(&self) -> Result<&Model> {
        self.model.get_or_try_init(|| Model::read(&self.client, &self.config.schema)).await
    }

    /// What a type of the plan is in Jira; in words why it cannot be used.
    async fn meant(&self, spec: &TypeSpec) -> Result<Result<Meant, String>> {
        let model = self.model().await?;
        let attributes: Vec<&str> = spec.attributes.iter().map(|attribute| attribute.name.as_str()).collect();
        let ty = match model.learn(&self.client, &spec.name, &attributes).await? {
            Ok(ty) => ty,
            Err(why) => return Ok(Err(why)),
        };
        Ok(model.places(spec, &ty).map(|places| Meant { ty, places }))
    }

    /// Reads every object of a type.
    async fn pages(&self, ty: &Type, each: &mut (dyn FnMut(Object) -> Result<()> + Send)) -> Result<Turned, Failed> {
        let query = format!("objectTypeId = {} ORDER BY Key ASC", ty.id);
        self.turn_pages(&query, each).await
    }

    async fn turn_pages(
        &self,
        query: &str,
        each: &mut (dyn FnMut(Object) -> Result<()> + Send),
    ) -> Result<Turned, Failed> {
        match self.client.flavour() {
            Flavour::Cloud => self.cloud_pages(query, each).await,
            Flavour::DataCenter => self.server_pages(query, each).await,
        }
    }

    /// Goes on by what came back, never by what was asked for; ends with an empty page, `isLast`, or one that was there.
    /// <https://developer.atlassian.com/cloud/assets/rest/api-group-object/#api-object-aql-post>
    async fn cloud_pages(
        &self,
        query: &str,
        each: &mut (dyn FnMut(Object) -> Result<()> + Send),
    ) -> Result<Turned, Failed> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Page {
            #[serde(deserialize_with = "model::null_as_default")]
            values: Vec<Object>,
            #[serde(default, deserialize_with = "flag")]
            is_last: bool,
        }
        let (mut start, mut size) = (0, self.config.page_size);
        let mut last = LastPage::default();
        loop {
            let call = cloud_page(query, start, size);
            let page: Page = match self.client.ask(&call).await {
                // A size that is refused is tried smaller: the largest is not published.
                Err(Failed::Http(HttpError::Refused(refusal)))
                    if start == 0 && size > 25 && refusal.status() == 400 =>
                {
                    size = (size / 4).max(25);
                    continue;
                }
                // So is one whose answer grew too large.
                Err(Failed::Http(HttpError::TooLarge { .. })) if size > 25 => {
                    size = (size / 4).max(25);
                    continue;
                }
                answer => answer?,
            };
            if last.comes_again(&page.values) {
                return Ok(Turned { counted: None, stuck: true });
            }
            let ended = page.values.is_empty() || page.is_last;
            start += page.values.len();
            page.values.into_iter().try_for_each(&mut *each)?;
            if ended {
                return Ok(Turned::default());
            }
        }
    }

    /// Pages have numbers, and their size is the server's; the answer counts all that fit, if it does. A page that is as
    /// large as was asked for may have another behind it, whatever is counted.
    /// <https://docs.atlassian.com/assets/REST/10.8.0/>
    async fn server_pages(
        &self,
        query: &str,
        each: &mut (dyn FnMut(Object) -> Result<()> + Send),
    ) -> Result<Turned, Failed> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Page {
            #[serde(deserialize_with = "model::null_as_default")]
            object_entries: Vec<Object>,
            #[serde(default)]
            total_filter_count: Option<u64>,
        }
        let mut size = self.config.page_size;
        let (mut read, mut counted) = (0, None);
        let mut number = 1;
        let mut last = LastPage::default();
        loop {
            let call = server_page(query, number, size, self.client.is_insight().await?);
            let page: Page = match self.client.ask(&call).await {
                Err(Failed::Http(HttpError::Refused(refusal)))
                    if number == 1 && size > 25 && refusal.status() == 400 =>
                {
                    size = (size / 4).max(25);
                    continue;
                }
                answer => answer?,
            };
            counted = page.total_filter_count.or(counted);
            if last.comes_again(&page.object_entries) {
                return Ok(Turned { counted, stuck: true });
            }
            let came = page.object_entries.len() as u64;
            read += came;
            let ended = came == 0 || (came < u64::from(size) && counted.is_some_and(|counted| read >= counted));
            page.object_entries.into_iter().try_for_each(&mut *each)?;
            if ended {
                return Ok(Turned { counted, stuck: false });
            }
            number += 1;
        }
    }

    /// How many objects a type has, by the server's own count.
    async fn count(&self, ty: &Type) -> Result<u64, Failed> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Count {
            total_count: u64,
        }
        let call = search("object/aql/totalcount", &format!("objectTypeId = {}", ty.id));
        self.client.ask::<Count>(&call).await.map(|count| count.total_count)
    }

    /// The objects that a query finds.
    async fn found(&self, query: &str) -> Result<Vec<Object>, Failed> {
        let mut found = Vec::new();
        let mut each = |object| {
            found.push(object);
            Ok(())
        };
        self.turn_pages(query, &mut each).await?;
        Ok(found)
    }

    /// An object by its id; none when there is none of that type.
    async fn object(&self, ty: &Type, id: &str) -> Result<Option<Object>, Failed> {
        let found = self.any_object(id).await?;
        Ok(found.filter(|object| object.object_type.as_ref().is_none_or(|of| of.id == ty.id)))
    }

    async fn any_object(&self, id: &str) -> Result<Option<Object>, Failed> {
        if !is_id(id) {
            return Ok(None);
        }
        match self.client.ask::<Object>(&Call::get(format!("object/{id}"))).await {
            Ok(object) => Ok(Some(object)),
            Err(Failed::Http(HttpError::Refused(refusal))) if refusal.status() == 404 => Ok(None),
            Err(failed) => Err(failed),
        }
    }

    /// How near the site is to the number of objects that its plan includes; none while a tenth is free, or where it is
    /// not told.
    async fn growth(&self) -> Option<Remark> {
        let included = u64::from(self.config.objects_included);
        let held =
            self.client.objects_in_all().await.filter(|held| held.saturating_mul(10) > included.saturating_mul(9))?;
        Some(Remark {
            words: format!("the site holds {held} objects, and its plan includes {included}"),
            hint: "Atlassian bills what is beyond by the object, or refuses it: narrow [scope], or correct \
                   `objects_included` in [target]"
                .into(),
        })
    }

    /// Told once, before the first object is made.
    async fn warn_of_growth(&self) {
        let warn = async || {
            if let Some(remark) = self.growth().await {
                tracing::warn!("{}: {}", remark.words, remark.hint);
            }
        };
        self.counted.get_or_init(warn).await;
    }

    /// Asks once whether people may be looked up, where something that is written needs it: what is refused then is left
    /// as it is from the plan on.
    async fn ask_for_people(&self, types: &[TypeSpec]) -> Result<()> {
        let wants = |spec: &TypeSpec| {
            let mut written = spec.attributes.iter().filter(|attribute| !attribute.only_read);
            written.any(|attribute| self.kind(spec, attribute) == Some(Kind::User))
        };
        let ask = async || match self.client.people("entra-import").await {
            Ok(_) => Ok(()),
            Err(Failed::Run(error)) => Err(error),
            Err(Failed::Http(error)) => {
                self.without_people(&error);
                Ok(())
            }
        };
        if types.iter().any(wants) {
            self.asked_for_people.get_or_try_init(ask).await?;
        }
        Ok(())
    }

    /// Nobody is looked up any more, which is told once.
    fn without_people(&self, error: &HttpError) -> Unknown {
        let tell = || {
            let why =
                format!("Jira does not look people up, so that attributes of kind User stay as they are: {error}");
            tracing::warn!("{why}: {NO_PEOPLE}");
            Unknown::new(why)
        };
        self.no_people.get_or_init(tell).clone()
    }

    /// Notes the key of an object that does not follow from its id.
    fn remember_key(&self, model: &Model, object: &Object) {
        let Some(key) = object.object_key.as_deref().filter(|key| *key != model.usual_key(&object.id.0)) else {
            return;
        };
        let mut odd = self.odd_keys.lock().unwrap_or_else(PoisonError::into_inner);
        odd.insert(object.id.0.clone(), key.into());
    }

    /// The key of an object that was read.
    fn key_of(&self, model: &Model, id: &str) -> String {
        let odd = self.odd_keys.lock().unwrap_or_else(PoisonError::into_inner);
        odd.get(id).map_or_else(|| model.usual_key(id), |key| key.to_string())
    }

    /// What is worth knowing of a type in use.
    fn remarks(&self, spec: &TypeSpec, meant: &Meant) -> Vec<Remark> {
        let mut remarks = Vec::new();
        let key: Vec<&model::Slot> = spec.key.iter().map(|at| meant.slot(*at)).collect();
        if let [key] = key.as_slice()
            && !key.unique
        {
            remarks.push(Remark {
                words: format!("the key attribute {:?} of {:?} is not unique in Jira", key.name, meant.ty.name),
                hint: "set Unique in the attribute's configuration: two runs at once could make an object twice".into(),
            });
        }
        if let Some(why) = beyond_recommended(meant.ty.slots.iter().map(|slot| &slot.kind)) {
            remarks.push(Remark {
                words: format!("the object type {:?} {why}", meant.ty.name),
                hint: "Atlassian recommends no more, for speed: leave attributes out with `attributes.\"…\" = false`"
                    .into(),
            });
        }
        remarks
    }
}

/// In words what of a type is beyond what Atlassian recommends.
fn beyond_recommended<'k>(kinds: impl Iterator<Item = &'k Kind>) -> Option<String> {
    let (mut all, mut references, mut areas, mut people, mut groups) = (0, 0, 0, 0, 0);
    for kind in kinds {
        all += 1;
        match kind {
            Kind::Reference { .. } => references += 1,
            Kind::Textarea => areas += 1,
            Kind::User => people += 1,
            Kind::Group => groups += 1,
            _ => {}
        }
    }
    let told = [
        (all, ATTRIBUTES_MAX, "attributes"),
        (references, REFERENCES_MAX, "object references"),
        (areas, TEXTAREAS_MAX, "textareas"),
        (people, 1, "User attributes"),
        (groups, 1, "Group attributes"),
    ];
    let beyond: Vec<String> = told
        .into_iter()
        .filter(|(count, most, _)| count > most)
        .map(|(count, most, what)| format!("{count} {what} ({most} are recommended)"))
        .collect();
    (!beyond.is_empty()).then(|| format!("has {}", beyond.join(", ")))
}

/// How reading page by page ended.
#[derive(Default)]
struct Turned {
    /// How many objects the server says there are, where it says so while reading.
    counted: Option<u64>,
    /// A page came that brought nothing new, of a server that does not turn pages.
    stuck: bool,
}

/// The objects of the page before.
#[derive(Default)]
struct LastPage(HashSet<model::Id>);

impl LastPage {
    /// Whether nothing is on this page that was not on the one before; it is the one before from now on.
    fn comes_again(&mut self, page: &[Object]) -> bool {
        let again = !page.is_empty() && page.iter().all(|object| self.0.contains(&object.id));
        self.0 = page.iter().map(|object| object.id.clone()).collect();
        again
    }
}

/// A type of the plan with where its attributes lie in Jira.
struct Meant {
    ty: Arc<Type>,
    /// For each attribute of the plan its place in [`Type::slots`].
    places: Vec<usize>,
}

impl Meant {
    fn slot(&self, attribute: usize) -> &model::Slot {
        &self.ty.slots[self.places[attribute]]
    }

    /// An object in the plan's form.
    fn current(&self, spec: &TypeSpec, object: &Object) -> Current {
        let values = spec.attributes.iter().enumerate();
        let values = values.map(|(at, attribute)| value::held(object, self.slot(at), attribute.many)).collect();
        Current { id: object.id.to_string(), values }
    }
}

/// A query as a call; asking twice is harmless.
fn search(path: &str, query: &str) -> Call<'static> {
    Call { class: Class::Search, repeatable: true, ..Call::post(path, json!({"qlQuery": query})) }
}

/// Objects of Cloud from the one at `start` (from 0) on.
fn cloud_page(query: &str, start: usize, size: u32) -> Call<'static> {
    search("object/aql", query).with("startAt", start).with("maxResults", size).with("includeAttributes", true)
}

/// A page of Data Center; the first is 1. Before Assets 10 the language was called IQL.
fn server_page(query: &str, number: usize, size: u32, is_insight: bool) -> Call<'static> {
    let (path, name) = if is_insight { ("iql/objects", "iql") } else { ("aql/objects", "qlQuery") };
    Call { class: Class::Search, ..Call::get(path) }
        .with(name, query)
        .with("page", number)
        .with("resultPerPage", size)
        .with("includeAttributes", true)
        .with("includeAttributesDeep", 1)
        .with("includeTypeAttributes", false)
        .with("includeExtendedInfo", false)
}

/// A few objects of a type, to see what stands in them.
async fn first_objects(client: &Client, ty: &model::Id) -> Result<Vec<Object>, Failed> {
    let query = format!("objectTypeId = {ty} ORDER BY Key ASC");
    match client.flavour() {
        Flavour::Cloud => client.list(&cloud_page(&query, 0, 25)).await,
        Flavour::DataCenter => client.list(&server_page(&query, 1, 25, client.is_insight().await?)).await,
    }
}

/// A text between quotes in AQL.
/// <https://support.atlassian.com/jira-service-management-cloud/docs/use-assets-query-language-aql/>
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Object ids are numbers in both products; anything else would become another path.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// One published example shows the text "false".
fn flag<'de, D: serde::Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    Ok(value.as_bool().unwrap_or_else(|| value.as_str().is_some_and(|text| text.eq_ignore_ascii_case("true"))))
}

#[async_trait]
impl Target for JsmTarget {
    fn identity(&self) -> String {
        self.config.identity()
    }

    fn capabilities(&self) -> Capabilities {
        // Keys are unique only where Jira's attribute is set so, which no run may rely on.
        Capabilities {
            unique_keys: false,
            visibility_delay_s: INDEX_DELAY_S,
            certainty_delay_s: INDEX_GIVEN_UP_S,
            ids_are_keys: false,
        }
    }

    async fn prepare(&self, types: &[TypeSpec]) -> Result<()> {
        for spec in types {
            // What cannot be used is told when it is read.
            let _ = self.meant(spec).await?;
        }
        self.ask_for_people(types).await
    }

    fn length_max(&self, ty: &TypeSpec, attribute: usize) -> Option<usize> {
        let kind = self.kind(ty, &ty.attributes[attribute])?;
        (kind == Kind::Text).then_some(value::TEXT_MAX)
    }

    fn keeps_unique(&self, ty: &TypeSpec, attribute: usize) -> bool {
        self.slot(ty, &ty.attributes[attribute], |slot| slot.unique).unwrap_or(false)
    }

    fn normalise(&self, ty: &TypeSpec, attribute: usize, value: Datum) -> Datum {
        let spec = &ty.attributes[attribute];
        // Nothing is known of a type that is not there, and nothing of it is written.
        let kind = self.kind(ty, spec).unwrap_or(Kind::Textarea);
        if let (Kind::User, Some(why)) = (&kind, self.no_people.get())
            && value::texts(&value).is_some_and(|texts| texts.iter().any(|text| is_mail(text)))
        {
            return match spec.many {
                true => Datum::Set(Set::new(Vec::new(), Vec::new(), Some(why.clone()))),
                false => Datum::Unknown(why.clone()),
            };
        }
        value::normalise(&kind, spec.many, value)
    }

    /// Published examples of `outboundReferences` name objects by their keys.
    /// <https://support.atlassian.com/jira-service-management-cloud/docs/use-assets-query-language-aql/>
    async fn holders(&self, spec: &TypeSpec, ids: &[String]) -> Result<Result<Vec<Holder>, String>> {
        let mut holders = Vec::new();
        if self.meant(spec).await?.is_err() {
            return Ok(Ok(holders));
        }
        let model = self.model().await?;
        for some in ids.chunks(HOLDERS_AT_ONCE) {
            let wanted: Vec<&str> = some.iter().map(String::as_str).filter(|id| is_id(id)).collect();
            if wanted.is_empty() {
                continue;
            }
            let keys: Vec<String> = wanted.iter().map(|id| self.key_of(model, id)).collect();
            let found = match self.found(&format!("{} ORDER BY Key ASC", refers_to_any(&keys))).await {
                Ok(found) => found,
                Err(Failed::Run(error)) => return Err(error),
                Err(Failed::Http(error)) => return Ok(Err(format!("Jira does not tell it: {error}"))),
            };
            for object in found {
                let of = object.object_type.as_ref().map(|of| &of.id);
                let ty = model.types.iter().find(|ty| Some(&ty.id) == of).map_or("object", |ty| ty.name.as_str());
                for id in object.refers_to().filter(|id| wanted.contains(id)) {
                    let (of, ty, name) = (id.to_owned(), ty.to_owned(), object.name());
                    holders.push(Holder { of, ty, id: object.id.to_string(), name });
                }
            }
        }
        Ok(Ok(holders))
    }

    fn hosts(&self) -> Vec<(&'static str, Url)> {
        self.client.hosts()
    }

    fn requests(&self) -> u64 {
        self.client.requests()
    }

    async fn check(&self, types: &[TypeSpec]) -> Result<Vec<Remark>> {
        let mut remarks = Vec::new();
        let mut wrong = Vec::new();
        for spec in types {
            match self.meant(spec).await? {
                Ok(meant) => remarks.extend(self.remarks(spec, &meant)),
                Err(why) => wrong.push(why),
            }
        }
        if !wrong.is_empty() {
            let what = format!("the schema {:?} does not fit the mappings", self.config.schema);
            let error = wrong.into_iter().fold(Error::usage(what), Error::cause);
            return Err(error
                .hint("run `entra-import setup JOB`, which shows first what it would make; or correct the mapping"));
        }
        self.ask_for_people(types).await?;
        remarks.extend(self.no_people.get().map(|why| Remark { words: why.to_string(), hint: NO_PEOPLE.into() }));
        let writes = types.iter().any(|spec| spec.attributes.iter().any(|attribute| !attribute.only_read));
        if writes {
            remarks.extend(self.growth().await);
            let what = format!("objects cannot be made in the schema {:?}", self.config.schema);
            self.client.may_create().await.map_err(|failed| self.client.error(failed, &what))?;
        }
        Ok(remarks)
    }

    async fn read(&self, spec: &TypeSpec, each: &mut (dyn FnMut(Current) -> Result<()> + Send)) -> Result<Coverage> {
        let meant = match self.meant(spec).await? {
            Ok(meant) => meant,
            Err(why) => return Ok(Coverage::partial(why)),
        };
        let model = self.model().await?;
        let failed = |failed| self.client.error(failed, &format!("cannot read the objects of {:?}", spec.name));
        let (mut seen, mut bare) = (HashSet::new(), 0);
        let mut gap = String::new();
        for _ in 0..ROUNDS {
            let mut one = |object: Object| {
                // An object that moved between two pages comes twice.
                if !seen.insert(object.id.clone()) {
                    return Ok(());
                }
                bare += u64::from(object.held().is_none());
                self.remember_key(model, &object);
                each(meant.current(spec, &object))
            };
            let Turned { counted, stuck } = self.pages(&meant.ty, &mut one).await.map_err(failed)?;
            if bare > 0 {
                return Ok(Coverage::partial(format!("{bare} objects came without their attributes")));
            }
            let counted = match (counted, self.client.flavour()) {
                (None, Flavour::Cloud) => match self.count(&meant.ty).await {
                    Err(Failed::Http(HttpError::Refused(refusal))) if !client::is_of_the_run(refusal.status()) => {
                        return Ok(Coverage::partial(format!("the objects cannot be counted: {refusal}")));
                    }
                    counted => Some(counted.map_err(failed)?),
                },
                (counted, _) => counted,
            };
            let read = seen.len() as u64;
            match counted {
                Some(counted) if read >= counted => return Ok(Coverage::Complete),
                Some(counted) if stuck => {
                    gap = format!("{read} of {counted} objects came, and then the same page again");
                }
                Some(counted) => gap = format!("{read} of {counted} objects came"),
                None if stuck => gap = format!("after {read} objects the same page came again"),
                None => return Ok(Coverage::Complete),
            }
        }
        Ok(Coverage::partial(gap))
    }

    fn writes(&self) -> Writes<'_> {
        Writes::Records(self)
    }
}

impl JsmTarget {
    /// What an attribute holds, as far as its type was learnt.
    fn kind(&self, ty: &TypeSpec, attribute: &AttributeSpec) -> Option<Kind> {
        self.slot(ty, attribute, |slot| slot.kind.clone())
    }

    fn slot<T>(&self, ty: &TypeSpec, attribute: &AttributeSpec, look: impl FnOnce(&model::Slot) -> T) -> Option<T> {
        let known = self.model.get()?.known(&ty.name)?;
        Some(look(&known.slots[known.place(&attribute.name)?]))
    }
}

#[async_trait]
impl WriteRecords for JsmTarget {
    fn in_flight_max(&self) -> usize {
        self.config.max_in_flight as usize
    }

    async fn write(&self, spec: &TypeSpec, change: &Change) -> Sent {
        self.send(spec, change).await
    }

    async fn look_up(&self, spec: &TypeSpec, change: &Change) -> Result<Vec<Current>> {
        let Ok(meant) = self.meant(spec).await? else { return Ok(Vec::new()) };
        let what = format!("cannot look up {} in {:?}", change.label, spec.name);
        let failed = |failed| self.client.error(failed, &what);
        if let Some(id) = &change.target_id {
            let object = self.object(&meant.ty, id).await.map_err(failed)?;
            return Ok(object.iter().map(|object| meant.current(spec, object)).collect());
        }
        let Some(query) = self.key_query(spec, &meant, change).await.map_err(failed)? else { return Ok(Vec::new()) };
        let found = self.found(&format!("{query} ORDER BY Key ASC")).await.map_err(failed)?;
        Ok(self.carriers(spec, &meant, change, &found))
    }

    /// Both in one query: what an index shows that follows behind, and it alone, must tell, and each node of a Data Center
    /// has its own.
    async fn look_up_beside(&self, spec: &TypeSpec, change: &Change, later: &str) -> Result<(Vec<Current>, bool)> {
        let Ok(meant) = self.meant(spec).await? else { return Ok((Vec::new(), false)) };
        let what = format!("cannot look up {} in {:?}", change.label, spec.name);
        let failed = |failed| self.client.error(failed, &what);
        let query = self.key_query(spec, &meant, change).await.map_err(failed)?;
        let Some(query) = query.filter(|_| is_id(later)) else { return Ok((Vec::new(), false)) };
        let query = format!("({query}) OR objectId = {later} ORDER BY Key ASC");
        let mut found = self.found(&query).await.map_err(failed)?;
        let all = found.len();
        found.retain(|object| *object.id.0 != *later);
        Ok((self.carriers(spec, &meant, change, &found), found.len() < all))
    }
}

impl JsmTarget {
    /// Those of the objects that carry what a change writes: AQL ignores letter case, keys need not.
    fn carriers(&self, spec: &TypeSpec, meant: &Meant, change: &Change, found: &[Object]) -> Vec<Current> {
        let known = known_by(spec, meant, change);
        let carries = |current: &Current| {
            known.iter().all(|at| {
                let wanted = written(spec, change, *at).map(|value| self.normalise(spec, *at, value.clone()));
                wanted.as_ref() == current.values.get(*at)
            })
        };
        found.iter().map(|object| meant.current(spec, object)).filter(carries).collect()
    }

    /// The query for the records that carry what a change writes; none where that says nothing.
    async fn key_query(&self, spec: &TypeSpec, meant: &Meant, change: &Change) -> Result<Option<String>, Failed> {
        let mut query = format!("objectTypeId = {}", meant.ty.id);
        let mut says = false;
        for at in known_by(spec, meant, change) {
            // Sets are compared once the records are here.
            let Some(text) = written(spec, change, at).and_then(Datum::as_text) else {
                if spec.key.is_empty() { continue } else { return Ok(None) }
            };
            let slot = meant.slot(at);
            if spec.key.is_empty() && !slot.kind.is_found_as_written() {
                continue;
            }
            says = true;
            query.push_str(" AND ");
            query.push_str(&match slot.kind {
                Kind::Reference { .. } => match self.any_object(text).await? {
                    Some(Object { object_key: Some(key), .. }) => refers_to_any(&[key]),
                    _ => return Ok(None),
                },
                _ => format!("{} = {}", quoted(&slot.name), quoted(text)),
            });
        }
        Ok(says.then_some(query))
    }
}

/// What a change writes into an attribute.
fn written<'c>(spec: &TypeSpec, change: &'c Change, at: usize) -> Option<&'c Datum> {
    let name = &spec.attributes[at].name;
    change.attributes.iter().find(|written| written.name == *name).map(|written| &written.after)
}

/// The attributes by which a record is found that has no id yet: its key, or everything that is written where the key
/// lives in the ledger alone. People are known to Jira by another name than is written.
fn known_by(spec: &TypeSpec, meant: &Meant, change: &Change) -> Vec<usize> {
    if !spec.key.is_empty() {
        return spec.key.clone();
    }
    let of = (0..spec.attributes.len()).filter(|at| written(spec, change, *at).is_some());
    of.filter(|at| meant.slot(*at).kind != Kind::User).collect()
}

/// The condition of objects that refer to one with any of these keys.
fn refers_to_any(keys: &[String]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| format!("Key = {}", quoted(key))).collect();
    format!("object HAVING outboundReferences({})", keys.join(" OR "))
}
