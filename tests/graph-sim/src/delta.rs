//! Delta queries: `/users/delta`, `/groups/delta` with `members@delta`, `/devices/delta`.
//!
//! Hides: rounds, slices of large groups, and tokens that carry the first request's parameters and nothing else.
//! <https://learn.microsoft.com/graph/delta-query-overview> <https://learn.microsoft.com/graph/api/group-delta>
//! Properties that no delta query tracks are neither told nor a reason to tell ([`UNTRACKED`]). A tenant that
//! [`Tenant::tell_badly`] asked for it tells the same changes in the least convenient way the documentation allows:
//! several times, out of order, in slices, old values before new ones, joins before leaves, on pages of any size.
//! Deliberately does not: delay changes.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fastrand::Rng;
use serde_json::{Value, json};
use sim_server::hash;

use crate::columns::Columns;
use crate::graph::{Call, Page, Request};
use crate::object::{Object, Prop};
use crate::query::Query;
use crate::reply::{self, Failure, Reply};
use crate::rights::Right;
use crate::schema::Kind;
use crate::tenant::{Change, Deletion, Member, Tenant, What};

/// Objects on a page; not documented, seen in the field.
const OBJECTS: usize = 200;
/// Memberships on a page, and in one slice of a group; not documented, seen in the field.
const MEMBERSHIPS: usize = 500;
/// The most ids in `$filter`.
const FILTER_IDS: usize = 50;

/// Kept outside the directory or worked out by another service.
/// <https://learn.microsoft.com/graph/delta-query-overview>
const UNTRACKED: [&str; 3] = ["licenseAssignmentStates", "signInActivity", "customSecurityAttributes"];

/// What a skiptoken or deltatoken holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    /// The tenant's history; a token of an earlier one has expired.
    epoch: u64,
    /// Where in the journal the round's changes begin; nothing in a first round.
    from: Option<usize>,
    /// Where the next round's changes will begin.
    until: usize,
    /// First round: the id to go on after.
    after: String,
    /// First round: members of the next group given already. Later: changed objects given already.
    offset: usize,
    /// The first request's query string.
    query: String,
}

impl State {
    fn token(&self) -> String {
        let from = self.from.map_or_else(|| "-".to_owned(), |from| from.to_string());
        let text = format!("{}|{from}|{}|{}|{}|{}", self.epoch, self.until, self.offset, self.after, self.query);
        URL_SAFE_NO_PAD.encode(format!("{:016x}|{text}", hash(text.as_bytes())))
    }

    fn read(token: &str) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let (seal, text) = text.split_once('|')?;
        if seal != format!("{:016x}", hash(text.as_bytes())) {
            return None;
        }
        let mut parts = text.splitn(6, '|');
        let epoch = parts.next()?.parse().ok()?;
        let from = parts.next()?;
        let from = if from == "-" { None } else { Some(from.parse().ok()?) };
        let (until, offset) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Self { epoch, from, until, offset, after: parts.next()?.to_owned(), query: parts.next()?.to_owned() })
    }
}

/// The token in a query string, the rest of it, and whether it is a deltatoken.
fn split(query: &str) -> (Option<(String, bool)>, String) {
    let mut token = None;
    let mut rest = Vec::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        match url::form_urlencoded::parse(part.as_bytes()).next() {
            Some((name, value)) if matches!(&*name, "$skiptoken" | "$deltatoken") => {
                token = Some((value.into_owned(), name == "$deltatoken"));
            }
            _ => rest.push(part),
        }
    }
    (token, rest.join("&"))
}

/// The address that starts anew, for the `Location` of a 410: the first request's parameters and an empty token.
pub(crate) fn restart(base: &str, path: &str, query: &str) -> String {
    let (token, rest) = split(query);
    let query = token.and_then(|(token, _)| State::read(&token)).map_or(rest, |state| state.query);
    let glue = if query.is_empty() { "" } else { "&" };
    format!("{base}/v1.0{path}?{query}{glue}$deltatoken=")
}

/// Answers a delta request.
pub(crate) fn answer(tenant: &Tenant, call: &Call<'_>, kind: Kind) -> Result<Reply, Failure> {
    let (token, rest) = split(call.query);
    let fresh = State { epoch: tenant.epoch(), until: tenant.journal().len(), query: rest.clone(), ..State::default() };
    let (state, latest) = match token {
        None => (fresh, false),
        Some((token, true)) if token.is_empty() || token == "latest" => (fresh, token == "latest"),
        Some((token, is_delta)) => {
            let state = State::read(&token).filter(|state| state.epoch == tenant.epoch()).ok_or_else(lost)?;
            if !rest.is_empty() {
                return Err(Failure::bad_request(
                    "Query parameters must not be repeated beside a delta or skip token.",
                ));
            }
            (
                if is_delta {
                    State { from: Some(state.until), until: fresh.until, offset: 0, after: String::new(), ..state }
                } else {
                    state
                },
                false,
            )
        }
    };
    let query = Query::parse(call.path, &state.query)?;
    query.only(&["select", "top", "filter"])?;
    let request = Request { tenant, call, query };
    request.may(if kind == Kind::Device { Right::DevicesDelta } else { Right::Read(kind) })?;
    let round = Round::new(&request, kind, state)?;
    if latest {
        return Ok(round.close(request.begin(kind.set()), None));
    }
    Ok(if round.state.from.is_some() { round.changes() } else { round.first() })
}

/// The answer to a token that is no longer known.
pub(crate) fn lost() -> Failure {
    Failure::new(400, "syncStateNotFound", "The sync state generation is not found; it has expired.")
}

struct Round<'a> {
    request: &'a Request<'a>,
    kind: Kind,
    state: State,
    columns: Columns,
    relations: Vec<&'static str>,
    ids: Option<Vec<String>>,
}

impl<'a> Round<'a> {
    fn new(request: &'a Request<'a>, kind: Kind, state: State) -> Result<Self, Failure> {
        let known: &[&'static str] = match kind {
            Kind::User => &["manager"],
            Kind::Group => &["members", "owners"],
            _ => &[],
        };
        let selected = request.query.select.clone();
        let relations =
            known.iter().copied().filter(|name| selected.iter().flatten().any(|given| given == name)).collect();
        let names = selected.map(|mut names| {
            names.retain(|name| !known.contains(&name.as_str()) && !UNTRACKED.contains(&name.as_str()));
            if !names.iter().any(|name| name == "id") {
                names.push("id".to_owned());
            }
            names
        });
        let columns = Columns::collection(kind, names.as_deref(), request.call.roles)?;
        let ids = request.query.filter.as_deref().map(ids).transpose()?;
        Ok(Self { request, kind, state, columns, relations, ids })
    }

    fn wanted(&self, id: &str) -> bool {
        self.ids.as_ref().is_none_or(|ids| ids.iter().any(|wanted| wanted == id))
    }

    fn has(&self, relation: &str) -> bool {
        self.relations.contains(&relation)
    }

    /// A page of the first round: the current state, large groups in slices.
    fn first(&self) -> Reply {
        let tenant = self.request.tenant;
        let mut page = self.begin();
        if self.state.after.is_empty() && self.state.offset == 0 && tenant.tells_badly().is_some() {
            // What was deleted earlier may show in a first round, too.
            for object in tenant.deleted_after(self.kind, None).take(3).filter(|object| self.wanted(object.id())) {
                page.item(|out| out.push_str(&removed(object.id(), "changed")));
            }
        }
        let mut room = MEMBERSHIPS;
        let mut offset = self.state.offset;
        let mut last = self.state.after.clone();
        let after = Some(self.state.after.as_str()).filter(|id| !id.is_empty());
        let rows = tenant.list_after(self.kind, after).filter(|object| self.wanted(object.id()));
        for (number, object) in rows.enumerate() {
            if number == self.request.size(OBJECTS) || room == 0 {
                return self.close(page, Some(State { after: last, offset, ..self.state.clone() }));
            }
            let members = if self.has("members") && self.request.may_see_members(object) {
                tenant.members(object.id())
            } else {
                &[]
            };
            let slice = &members[offset.min(members.len())..members.len().min(offset + room)];
            page.item(|out| {
                self.columns.open_set(out, object, &[]);
                relation(out, "members", slice, &[]);
                if self.has("owners") {
                    relation(out, "owners", tenant.owners(object.id()), &[]);
                }
                if self.has("manager") {
                    relation(out, "manager", tenant.manager(object.id()).map_or(&[], std::slice::from_ref), &[]);
                }
                out.push('}');
            });
            room -= slice.len();
            if offset + slice.len() < members.len() {
                return self
                    .close(page, Some(State { after: last, offset: offset + slice.len(), ..self.state.clone() }));
            }
            offset = 0;
            last = object.id().to_string();
        }
        self.close(page, None)
    }

    /// A page of a later round: what the journal says, one entry for each object.
    fn changes(&self) -> Reply {
        let from = self.state.from.unwrap_or_default();
        let journal = self.request.tenant.journal().get(from..self.state.until).unwrap_or_default();
        let mut order: Vec<&Arc<str>> = Vec::new();
        let mut by_id: HashMap<&Arc<str>, Vec<&Change>> = HashMap::new();
        for change in journal.iter().filter(|change| change.kind == self.kind && self.wanted(&change.id)) {
            by_id.entry(&change.id).or_insert_with(|| {
                order.push(&change.id);
                Vec::new()
            });
            by_id.entry(&change.id).and_modify(|changes| changes.push(change));
        }
        if let Some(seed) = self.request.tenant.tells_badly() {
            let told = order.iter().filter_map(|id| self.change(id, &by_id[id]).map(|text| (&***id, text)));
            return self.badly(self.scrambled(told.collect(), &by_id, seed));
        }
        let mut page = self.begin();
        let end = order.len().min(self.state.offset + self.request.size(OBJECTS));
        for id in &order[self.state.offset.min(end)..end] {
            if let Some(text) = self.change(id, &by_id[id]) {
                page.item(|out| out.push_str(&text));
            }
        }
        self.close(page, (end < order.len()).then(|| State { offset: end, ..self.state.clone() }))
    }

    /// One changed object, or nothing when only what is not selected changed.
    fn change(&self, id: &str, changes: &[&Change]) -> Option<String> {
        let Some(object) = self.request.tenant.get(self.kind, id) else {
            let hard = changes.iter().any(|change| matches!(change.what, What::Removed(Deletion::Hard)));
            return Some(removed(id, if hard { "deleted" } else { "changed" }));
        };
        let created = changes.iter().any(|change| matches!(change.what, What::Created));
        let set: Vec<Prop> = changes
            .iter()
            .filter_map(|change| if let What::Set(props) = &change.what { Some(props) } else { None })
            .flatten()
            .copied()
            .collect();
        let mut relations = String::new();
        for name in &self.relations {
            let (added, removed) = self.ends(name, object, changes);
            relation(&mut relations, name, &added, &removed);
        }
        let touched = created || self.columns.props().any(|prop| set.contains(&prop)) || !relations.is_empty();
        let minimal = self.request.call.minimal && !created;
        let mut out = String::new();
        if minimal {
            self.columns.only(&set).open_set(&mut out, object, &set);
        } else {
            self.columns.open_set(&mut out, object, &set);
        }
        touched.then(|| format!("{out}{relations}}}"))
    }

    /// What was added to and removed from a relationship, by its present state.
    fn ends(&self, name: &str, object: &Object, changes: &[&Change]) -> (Vec<Member>, Vec<Member>) {
        let tenant = self.request.tenant;
        let now = match name {
            "manager" => tenant.manager(object.id()).map_or(&[][..], std::slice::from_ref),
            "owners" => tenant.owners(object.id()),
            _ if !self.request.may_see_members(object) => return (Vec::new(), Vec::new()),
            _ => tenant.members(object.id()),
        };
        let mut touched: Vec<Member> = Vec::new();
        // A restored object comes back as new, with everything it has.
        if changes.iter().any(|change| matches!(change.what, What::Created)) {
            touched.extend(now.iter().cloned());
        }
        for change in changes {
            let end = match (&change.what, name) {
                (What::Member(member), "members") | (What::Owner(member), "owners") => Some(member),
                (What::Manager(before), "manager") => {
                    touched.extend(now.iter().cloned());
                    before.as_ref()
                }
                _ => None,
            };
            touched.extend(end.cloned());
        }
        let mut seen = std::collections::HashSet::new();
        touched.retain(|member| seen.insert(member.clone()));
        touched.into_iter().partition(|member| now.contains(member))
    }

    /// The round's entries as they are told badly; none is a page without entries.
    fn scrambled(
        &self,
        told: Vec<(&str, String)>,
        by_id: &HashMap<&Arc<str>, Vec<&Change>>,
        seed: u64,
    ) -> Vec<Option<String>> {
        let mut rng = Rng::with_seed(seed ^ self.state.until as u64);
        let mut queues: Vec<VecDeque<String>> = Vec::new();
        for (id, text) in told {
            let came_back = by_id[&Arc::from(id)].iter().any(|change| matches!(change.what, What::Removed(_)));
            let mut entries = self.retold(id, &text, came_back, &mut rng);
            if rng.u8(..4) == 0 {
                entries.extend(entries.clone());
            }
            queues.push(entries.into());
        }
        let mut entries = Vec::new();
        while !queues.is_empty() {
            if rng.u8(..8) == 0 {
                entries.push(None);
            }
            let at = rng.usize(..queues.len());
            entries.extend(queues[at].pop_front().map(Some));
            if queues[at].is_empty() {
                queues.swap_remove(at);
            }
        }
        entries
    }

    /// One entry as several that come to the same.
    fn retold(&self, id: &str, text: &str, came_back: bool, rng: &mut Rng) -> Vec<String> {
        let last: Value = serde_json::from_str(text).expect("an entry is JSON");
        if last.get("@removed").is_some() {
            // Deleted softly first, for good later.
            return if rng.bool() { vec![removed(id, "changed"), text.to_owned()] } else { vec![text.to_owned()] };
        }
        let mut entries = Vec::new();
        let mut whole = last.clone();
        if came_back || rng.u8(..6) == 0 {
            entries.push(removed(id, "changed"));
            if let (true, Some(group)) = (self.has("members"), self.request.tenant.get(Kind::Group, id))
                && self.request.may_see_members(group)
            {
                let mut all = String::new();
                relation(&mut all, "members", self.request.tenant.members(id), &[]);
                let all: Value = serde_json::from_str(&format!("{{{}}}", all.trim_start_matches(','))).expect("JSON");
                whole["members@delta"] = all.get("members@delta").cloned().unwrap_or_else(|| json!([]));
            }
        }
        if rng.u8(..3) == 0 {
            entries.push(stale(&last));
        }
        let Some(ends) = whole["members@delta"].as_array().cloned() else {
            entries.push(last.to_string());
            return entries;
        };
        for slice in ends.chunks(rng.usize(1..4)) {
            if rng.bool() {
                let before: Vec<Value> = slice.iter().map(opposite).collect();
                entries.push(json!({"id": id, "members@delta": before}).to_string());
            }
            let mut part = if rng.bool() { last.clone() } else { json!({ "id": id }) };
            part["members@delta"] = slice.into();
            entries.push(part.to_string());
        }
        // The properties come with one slice at least.
        let mut rest = last;
        rest.as_object_mut().expect("an object").remove("members@delta");
        entries.push(rest.to_string());
        entries
    }

    /// Pages of a few entries each, or of none.
    fn badly(&self, entries: Vec<Option<String>>) -> Reply {
        let mut page = self.begin();
        let mut at = self.state.offset;
        let end = (at + 1 + at % 5).min(entries.len());
        while at < end {
            let Some(text) = &entries[at] else {
                at += 1;
                break;
            };
            page.item(|out| out.push_str(text));
            at += 1;
        }
        self.close(page, (at < entries.len()).then(|| State { offset: at, ..self.state.clone() }))
    }

    fn begin(&self) -> Page {
        let mut page = self.request.begin(self.kind.set());
        page.start();
        page
    }

    /// Every page has exactly one of the two links.
    fn close(&self, mut page: Page, next: Option<State>) -> Reply {
        page.ensure_started();
        let next = if self.request.call.twist.empty { Some(self.state.clone()) } else { next };
        let (name, option, state) = match next {
            Some(state) => ("@odata.nextLink", "$skiptoken", state),
            None => ("@odata.deltaLink", "$deltatoken", self.state.clone()),
        };
        let base = self.request.call.twist.foreign.as_deref().unwrap_or(self.request.call.base);
        let link = format!("{base}/v1.0{}?{option}={}", self.request.call.path, state.token());
        reply::json(200, page.close(name, Some(&link)))
    }
}

fn removed(id: &str, reason: &str) -> String {
    json!({"id": id, "@removed": {"reason": reason}}).to_string()
}

/// The object as it might have been before: told again, ahead of what it is now.
fn stale(now: &Value) -> String {
    let mut before = now.as_object().expect("an entry is an object").clone();
    before.retain(|name, _| !name.contains('@'));
    for (name, value) in &mut before {
        if let (true, Value::String(text)) = (name != "id", value) {
            text.insert_str(0, "formerly ");
        }
    }
    Value::from(before).to_string()
}

/// A member that left, as it joined; one that joined, as it left before.
fn opposite(end: &Value) -> Value {
    let mut other = end.clone();
    match end.get("@removed") {
        Some(_) => drop(other.as_object_mut().and_then(|end| end.remove("@removed"))),
        None => other["@removed"] = json!({"reason": "deleted"}),
    }
    other
}

/// `id eq '…' or id eq '…'`: the only filter there is.
fn ids(filter: &str) -> Result<Vec<String>, Failure> {
    let id = |clause: &str| Some(clause.trim().strip_prefix("id eq '")?.strip_suffix('\'')?.to_owned());
    let ids: Option<Vec<String>> = filter.split(" or ").map(id).collect();
    let ids = ids.ok_or_else(|| Failure::unsupported("Only filtering by id is supported for delta queries."))?;
    if ids.len() > FILTER_IDS {
        return Err(Failure::unsupported(format!("At most {FILTER_IDS} ids can be tracked.")));
    }
    Ok(ids)
}

/// `,"members@delta":[…]`, or nothing at all when there is nothing to say.
fn relation(out: &mut String, name: &str, added: &[Member], removed: &[Member]) {
    if added.is_empty() && removed.is_empty() {
        return;
    }
    let end =
        |member: &Member| json!({"@odata.type": format!("#microsoft.graph.{}", member.kind.name()), "id": &*member.id});
    let gone = |member: &Member| {
        let mut entry = end(member);
        entry["@removed"] = json!({"reason": "deleted"});
        entry
    };
    let entries: Vec<Value> = removed.iter().map(gone).chain(added.iter().map(end)).collect();
    out.push_str(&format!(",\"{name}@delta\":{}", Value::from(entries)));
}
