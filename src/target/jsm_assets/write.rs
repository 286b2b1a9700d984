//! Sending one change: create, partial update, clear, delete; and what the answer says of it.
//!
//! Hides people and statuses that are looked up first, the label that every object needs, and how a refusal is
//! translated back into the names of attributes. A create is sent once: what may have arrived is uncertain, and the
//! unique key then tells. Updates and deletes may be sent again, since they name whole values and whole objects.
//! Deliberately knows no order and no references to come: see `crate::apply`.
//! <https://developer.atlassian.com/cloud/assets/rest/api-group-object/>

use serde_json::{Value, json};

use super::client::{Call, Class, Failed, is_of_the_run, is_page};
use super::model::{Kind, Slot, Type};
use super::value::{self, Object};
use super::{JsmTarget, Meant, is_id};
use crate::http::{HttpError, Method, Refusal, plain};
use crate::plan::change::{Action, Change, SlotKind, TypeSpec};
use crate::plan::datum::{Datum, Set};
use crate::record::Unknown;
use crate::target::{Outcome, Sent};
use crate::visible::visible;

/// What is sent of a change.
struct Prepared {
    /// `attributes` of the body.
    body: Vec<Value>,
    /// What will be read back, by the plan's name; unknown is what is left as it is.
    back: Vec<(String, Datum)>,
}

/// What Jira says of a person.
#[derive(Clone, Debug)]
pub(super) enum Account {
    /// What it calls them.
    Known(String),
    Nobody,
    /// It does not answer.
    Untold(Unknown),
}

/// Whether a person is named by a mail address, and not as Jira calls them.
pub(super) fn is_mail(name: &str) -> bool {
    name.contains('@')
}

fn rejected(reason: impl Into<String>) -> Sent {
    Outcome::Rejected { reason: reason.into() }.into()
}

impl JsmTarget {
    pub(super) async fn send(&self, spec: &TypeSpec, change: &Change) -> Sent {
        let meant = match self.meant(spec).await {
            Ok(Ok(meant)) => meant,
            Ok(Err(why)) => return rejected(why),
            Err(error) => {
                let outcome = Outcome::NotAttempted { reason: error.what.clone() };
                return Sent { outcome, lost: Some(error) };
            }
        };
        if change.action == Action::Delete {
            return self.delete(&meant, change).await;
        }
        let prepared = match self.prepared(spec, &meant, change).await {
            Ok(prepared) => prepared,
            Err(sent) => return *sent,
        };
        match change.action {
            Action::Create => self.create(&meant, change, prepared).await,
            _ => self.update(spec, &meant, change, prepared).await,
        }
    }

    async fn create(&self, meant: &Meant, change: &Change, prepared: Prepared) -> Sent {
        if let Some(words) = self.full.get() {
            let reason = format!("not sent: the limit of the plan was reached before: {words}");
            return Outcome::NotAttempted { reason }.into();
        }
        self.warn_of_growth().await;
        let mut body = prepared.body;
        if let Some(label) =
            meant.ty.label().filter(|label| body.iter().all(|one| one["objectTypeAttributeId"] != *label.id.0))
        {
            let name = value::normalise(&label.kind, false, Datum::text(change.label.as_str()));
            body.push(one(label, name.as_text().map(str::to_string)));
        }
        let call = Call {
            class: Class::Create,
            ..Call::post("object/create", json!({"objectTypeId": meant.ty.id.0, "attributes": body}))
        };
        match self.client.ask::<Object>(&call).await {
            Ok(object) => Outcome::Done { target_id: object.id.to_string(), read_back: prepared.back }.into(),
            Err(failed) => self.refused(failed, meant, change),
        }
    }

    async fn update(&self, spec: &TypeSpec, meant: &Meant, change: &Change, prepared: Prepared) -> Sent {
        let Some(id) = change.target_id.as_deref().filter(|id| is_id(id)) else {
            return rejected(format!(
                "there is no object {}",
                visible(change.target_id.as_deref().unwrap_or_default())
            ));
        };
        let call = Call {
            method: Method::PUT,
            repeatable: true,
            ..Call::post(format!("object/{id}"), json!({"objectTypeId": meant.ty.id.0, "attributes": prepared.body}))
        };
        match self.client.tell::<Object>(&call).await {
            Ok(object) => {
                let mut back = prepared.back;
                // What the server made of it, where it says so.
                if let Some(object) = object.filter(|object| object.held().is_some()) {
                    let now = meant.current(spec, &object);
                    for (name, value) in back.iter_mut().filter(|(_, value)| value.is_known()) {
                        let at = spec.attributes.iter().position(|attribute| attribute.name == *name);
                        if let Some(stands) = at.and_then(|at| now.values.get(at)) {
                            *value = stands.clone();
                        }
                    }
                }
                Outcome::Done { target_id: id.to_string(), read_back: back }.into()
            }
            Err(failed) => self.refused(failed, meant, change),
        }
    }

    async fn delete(&self, meant: &Meant, change: &Change) -> Sent {
        let id = change.target_id.clone().unwrap_or_default();
        let done = || Outcome::Done { target_id: id.clone(), read_back: Vec::new() }.into();
        if !is_id(&id) {
            return done();
        }
        let call = Call { method: Method::DELETE, ..Call::get(format!("object/{id}")) };
        match self.client.tell::<Value>(&call).await {
            Ok(_) => done(),
            Err(Failed::Http(HttpError::Refused(refusal))) if refusal.status() == 404 => done(),
            Err(failed) => self.refused(failed, meant, change),
        }
    }

    /// The body of a change, with people and statuses looked up.
    async fn prepared(&self, spec: &TypeSpec, meant: &Meant, change: &Change) -> Result<Prepared, Box<Sent>> {
        let mut prepared = Prepared { body: Vec::new(), back: Vec::new() };
        for attribute in &change.attributes {
            let at = spec.attributes.iter().position(|wanted| wanted.name == attribute.name);
            let known = at.zip(value::texts(&attribute.after));
            let Some((at, _)) = known else {
                return Err(Box::new(rejected(format!("{:?} cannot be written", attribute.name))));
            };
            let slot = meant.slot(at);
            let many = spec.attributes[at].many;
            let after = value::normalise(&slot.kind, many, attribute.after.clone());
            let (sent, back) = self.texts(slot, many, after).await?;
            // A new object has nothing that could be cleared.
            if back.is_known() && (!sent.is_empty() || change.action != Action::Create) {
                prepared.body.push(one(slot, sent));
            }
            prepared.back.push((attribute.name.clone(), back));
        }
        Ok(prepared)
    }

    /// What is sent for a value, and what will be read back.
    async fn texts(&self, slot: &Slot, many: bool, value: Datum) -> Result<(Vec<String>, Datum), Box<Sent>> {
        let texts = value::texts(&value).unwrap_or_default();
        match slot.kind {
            Kind::Plain(SlotKind::Status) => {
                let mut ids = Vec::with_capacity(texts.len());
                for text in &texts {
                    ids.push(self.status(text).map_err(|why| Box::new(rejected(why)))?);
                }
                Ok((ids, value))
            }
            Kind::Plain(SlotKind::User) => {
                let mut accounts = Vec::with_capacity(texts.len());
                for text in &texts {
                    match self.account(slot, text).await? {
                        Account::Known(account) => accounts.push(account),
                        Account::Nobody => {}
                        Account::Untold(why) => return Ok((Vec::new(), Datum::Unknown(why))),
                    }
                }
                let back = match many {
                    true => Datum::Set(Set::known(accounts.iter().map(String::as_str))),
                    false => accounts.first().map_or(Datum::Empty, |account| Datum::text(account.as_str())),
                };
                Ok((accounts, back))
            }
            _ => Ok((texts.iter().map(|text| value::written(&slot.kind, text)).collect(), value)),
        }
    }

    fn status(&self, name: &str) -> Result<String, String> {
        let statuses = self.model.get().map(|model| model.statuses.as_slice()).unwrap_or_default();
        let exact = statuses.iter().find(|status| status.name == name);
        let found = exact.or_else(|| statuses.iter().find(|status| status.name.eq_ignore_ascii_case(name)));
        found.map(|status| status.id.to_string()).ok_or_else(|| {
            let known: Vec<&str> = statuses.iter().map(|status| status.name.as_str()).collect();
            format!("Jira has no status {name:?}; it has {}", known.join(", "))
        })
    }

    /// The account of a person named by mail address; who cannot be found is told once and left out, since privacy
    /// settings hide addresses. A refusal costs no more than what it was wanted for.
    async fn account(&self, slot: &Slot, name: &str) -> Result<Account, Box<Sent>> {
        if !is_mail(name) {
            return Ok(Account::Known(name.to_string()));
        }
        // Held while Jira is asked, so that nobody is asked for twice.
        let mut known = self.people.lock().await;
        if let Some(account) = known.get(name) {
            return Ok(account.clone());
        }
        if let Some(why) = self.no_people.get() {
            return Ok(Account::Untold(why.clone()));
        }
        let found = match self.client.people(name).await {
            Ok(found) => found,
            // This name alone may be what Jira does not take.
            Err(Failed::Http(HttpError::Refused(refusal))) if refusal.status() == 400 => {
                let why = Unknown::new(format!("Jira refuses to look an account up: {refusal}"));
                tracing::warn!("{}: {why}; {:?} stays as it is", visible(name), slot.name);
                known.insert(name.to_string(), Account::Untold(why.clone()));
                return Ok(Account::Untold(why));
            }
            Err(Failed::Http(error)) => return Ok(Account::Untold(self.without_people(&error))),
            Err(failed) => {
                let error = self.client.error(failed, &format!("cannot look for the account of {name}"));
                let outcome = Outcome::NotAttempted { reason: error.what.clone() };
                return Err(Box::new(Sent { outcome, lost: Some(error) }));
            }
        };
        let active: Vec<_> = found.iter().filter(|person| person.active != Some(false)).collect();
        let same = |mail: &Option<String>| mail.as_deref().is_some_and(|mail| mail.eq_ignore_ascii_case(name));
        let by_mail: Vec<_> = active.iter().filter(|person| same(&person.email_address)).collect();
        let hidden = |person: &&&super::model::Person| person.email_address.as_deref().unwrap_or_default().is_empty();
        let account = match (by_mail.as_slice(), active.as_slice()) {
            ([person], _) => Account::Known(person.account_id.clone()),
            // The one who is found by an address that is kept private.
            ([], [person]) if hidden(&person) => Account::Known(person.account_id.clone()),
            _ => Account::Nobody,
        };
        if let Account::Nobody = account {
            tracing::warn!(
                "no Atlassian account is found for {}: {:?} stays empty where it is wanted",
                visible(name),
                slot.name
            );
        }
        known.insert(name.to_string(), account.clone());
        Ok(account)
    }

    /// What a failed request means for the change, and for the run.
    fn refused(&self, failed: Failed, meant: &Meant, change: &Change) -> Sent {
        let what = format!("cannot {} {} in {:?}", change.action.word(), change.label, meant.ty.name);
        let error = match failed {
            Failed::Http(error) => error,
            run @ Failed::Run(_) => {
                let error = self.client.error(run, &what);
                return Sent { outcome: Outcome::NotAttempted { reason: error.what.clone() }, lost: Some(error) };
            }
        };
        match &error {
            HttpError::Refused(refusal) if is_of_the_run(refusal.status()) => {
                let refused = refusal.to_string();
                let error = self.client.error(error.into(), &what);
                let reason = match &error.hint {
                    Some(hint) => format!("{refused}: {hint}"),
                    None => refused,
                };
                Sent { outcome: Outcome::NotAttempted { reason }, lost: Some(error) }
            }
            HttpError::Refused(refusal) if refusal.status() == 404 && change.action != Action::Create => {
                rejected("it is not in Jira any more: someone deleted it since it was read; the next run tells")
            }
            HttpError::Refused(refusal) => {
                let words = words(refusal, &meant.ty);
                if change.action == Action::Create && words.to_ascii_lowercase().contains("object limit") {
                    // Every further one would be refused as well; none for what it holds, so the next night sends it anew.
                    let _ = self.full.set(words.clone());
                    return Outcome::NotAttempted { reason: words }.into();
                }
                rejected(words)
            }
            error if error.may_have_acted() => {
                let reason = error.to_string();
                let lost = is_page(error).then(|| self.client.error(error.clone().into(), &what));
                Sent { outcome: Outcome::Uncertain { reason }, lost }
            }
            other => {
                let reason = other.to_string();
                Sent { outcome: Outcome::NotAttempted { reason }, lost: Some(self.client.error(error.into(), &what)) }
            }
        }
    }
}

/// One attribute of a body.
fn one(slot: &Slot, values: impl IntoIterator<Item = String>) -> Value {
    let values: Vec<Value> = values.into_iter().map(|value| json!({"value": value})).collect();
    json!({"objectTypeAttributeId": slot.id.0, "objectAttributeValues": values})
}

/// A refusal with the names of attributes in place of their numbers.
fn words(refusal: &Refusal, ty: &Type) -> String {
    let body: Value = serde_json::from_slice(&refusal.response.body).unwrap_or_default();
    let mut parts: Vec<String> = Vec::new();
    for (key, message) in body["errors"].as_object().into_iter().flatten() {
        let id = key.rsplit('-').next().unwrap_or_default();
        let message = plain(message.as_str().unwrap_or_default());
        parts.push(match ty.slot_by_id(id) {
            Some(slot) => format!("{:?}: {message}", slot.name),
            None => format!("{}: {message}", plain(key)),
        });
    }
    let listed = body["errorMessages"].as_array().into_iter().flatten().filter_map(Value::as_str);
    parts.extend(listed.filter(|text| !text.is_empty()).map(plain));
    if parts.is_empty() { refusal.to_string() } else { parts.join("; ") }
}
