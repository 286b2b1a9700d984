//! The Graph v1.0 endpoints: from a request and the tenant to an answer, without any HTTP.
//!
//! Hides: addresses, pages, expansion, and who may read what. <https://learn.microsoft.com/graph/api/overview>
//! Deliberately does not: sleep, throttle, misbehave (see `faults`), or answer what the importer has no use for
//! (writes, `$search`, `$orderby`, other workloads): those are refused, never ignored.

use std::fmt::Write as _;

use serde_json::Value;

use crate::columns::Columns;
use crate::delta;
use crate::faults::Twist;
use crate::filter::Filter;
use crate::object::Object;
use crate::query::{Expand, Position, Query};
use crate::reply::{Failure, Reply};
use crate::rights::{Right, Roles};
use crate::schema::{self, Kind};
use crate::tenant::{Member, Tenant};

/// One request to `/v1.0`, decoded as far as every endpoint needs.
pub(crate) struct Call<'a> {
    pub method: &'a str,
    /// After `/v1.0`, as sent.
    pub path: &'a str,
    /// The query string, as sent.
    pub query: &'a str,
    /// `ConsistencyLevel: eventual` was sent.
    pub eventual: bool,
    /// `Prefer: return=minimal` was sent.
    pub minimal: bool,
    pub body: &'a [u8],
    /// Scheme and host of the links in the answer.
    pub base: &'a str,
    pub roles: &'a Roles,
    pub twist: &'a Twist,
    /// Whether the tenant has Entra ID P1 (sign-in activity).
    pub premium: bool,
}

/// The largest number of expanded objects of a collection relationship; nothing marks the cut.
/// <https://learn.microsoft.com/graph/query-parameters#expand-parameter>
const EXPANDED: usize = 20;
/// The page size when a collection relationship is expanded; not documented, seen in the field.
const EXPANDED_PAGE: usize = 100;
/// The page size when `signInActivity` is selected; larger sizes are clamped.
/// <https://learn.microsoft.com/graph/api/user-list?view=graph-rest-1.0>
const SIGN_IN_PAGE: usize = 500;
/// The most ids in a getByIds request.
/// <https://learn.microsoft.com/graph/api/directoryobject-getbyids?view=graph-rest-1.0>
const GET_BY_IDS: usize = 1000;

/// Answers a request.
pub(crate) fn answer(tenant: &Tenant, call: &Call<'_>) -> Result<Reply, Failure> {
    let segments = segments(call.path);
    let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
    if let (["directoryObjects", "getByIds" | "microsoft.graph.getByIds"], "POST") = (parts.as_slice(), call.method) {
        return get_by_ids(tenant, call);
    }
    if call.method != "GET" {
        return Err(Failure::new(
            405,
            "Request_BadRequest",
            "Specified HTTP method is not allowed for the request target.",
        ));
    }
    if let [set, "delta" | "delta()" | "microsoft.graph.delta"] = parts.as_slice()
        && let Some(kind) = [Kind::User, Kind::Group, Kind::Device].into_iter().find(|kind| kind.set() == *set)
    {
        return delta::answer(tenant, call, kind);
    }
    let query = Query::parse(call.path, call.query)?;
    let request = Request { tenant, call, query };
    match parts.as_slice() {
        ["subscribedSkus"] => request.skus(),
        ["organization"] => request.organization(),
        ["directory", "deletedItems", cast] => request.deleted(cast),
        [set, rest @ ..] => {
            let kind = Kind::ALL.into_iter().find(|kind| kind.set() == *set).ok_or_else(|| no_segment(set))?;
            request.of_kind(kind, rest)
        }
        [] => Err(no_segment("")),
    }
}

/// `/users('x')/manager` and `/users/x/manager` are the same address.
fn segments(path: &str) -> Vec<String> {
    let decode = |part: &str| percent_decode(part);
    let split = |part: &str| match part.split_once("('").and_then(|(set, key)| Some((set, key.strip_suffix("')")?))) {
        Some((set, key)) => vec![decode(set), decode(key).replace("''", "'")],
        None => vec![decode(part)],
    };
    path.split('/').filter(|part| !part.is_empty()).flat_map(split).collect()
}

fn percent_decode(text: &str) -> String {
    let text = text.replace('+', "%2B");
    url::form_urlencoded::parse(text.as_bytes()).next().map(|(name, _)| name.into_owned()).unwrap_or_default()
}

fn no_segment(segment: &str) -> Failure {
    Failure::new(400, "BadRequest", format!("Resource not found for the segment '{segment}'."))
}

pub(crate) struct Request<'a> {
    pub tenant: &'a Tenant,
    pub call: &'a Call<'a>,
    pub query: Query,
}

impl<'a> Request<'a> {
    fn of_kind(&self, kind: Kind, rest: &[&str]) -> Result<Reply, Failure> {
        match rest {
            [] => self.list(kind),
            ["$count"] => self.count(kind),
            [id] => self.one(kind, id),
            [id, "manager"] if kind == Kind::User => self.manager(id),
            [id, "memberOf", cast @ ..] => self.related(kind, id, "memberOf", cast),
            [id, name @ ("members" | "owners" | "transitiveMembers"), cast @ ..] if kind == Kind::Group => {
                self.related(kind, id, name, cast)
            }
            [id, "registeredOwners", cast @ ..] if kind == Kind::Device => {
                self.related(kind, id, "registeredOwners", cast)
            }
            [_, segment, ..] => Err(no_segment(segment)),
        }
    }

    pub fn may(&self, right: Right) -> Result<(), Failure> {
        if self.call.roles.allow(right) { Ok(()) } else { Err(Failure::denied()) }
    }

    fn may_list(&self, kind: Kind) -> Result<(), Failure> {
        match kind {
            Kind::User if self.call.roles.list_users() => Ok(()),
            kind => self.may(Right::Read(kind)),
        }
    }

    /// `ConsistencyLevel: eventual` with `$count=true`: an advanced query.
    /// <https://learn.microsoft.com/graph/aad-advanced-queries>
    fn advanced(&self) -> bool {
        self.call.eventual && self.query.count
    }

    fn context(&self, set: &str, suffix: &str) -> String {
        let mut shape = self.query.select.as_ref().map(|names| names.join(",")).unwrap_or_default();
        if let Some(expand) = &self.query.expand {
            let comma = if shape.is_empty() { "" } else { "," };
            let inner = expand.select.as_ref().map(|names| names.join(",")).unwrap_or_default();
            write!(shape, "{comma}{}({inner})", expand.name).expect("writing to a string");
        }
        let shape = if shape.is_empty() { shape } else { format!("({shape})") };
        format!(
            "{{\"@odata.context\":{}",
            Value::from(format!("{}/v1.0/$metadata#{set}{shape}{suffix}", self.call.base))
        )
    }

    fn list(&self, kind: Kind) -> Result<Reply, Failure> {
        self.may_list(kind)?;
        self.query.only(&["select", "top", "expand", "filter"])?;
        let mut size = self.query.page_size()?;
        let expansion = self.expansion(kind)?;
        let columns = Columns::collection(kind, self.query.select.as_deref(), self.call.roles)?;
        let filter = self.query.filter.as_deref();
        if columns.has("signInActivity") || filter.is_some_and(|filter| filter.contains("signInActivity/")) {
            self.may(Right::SignIns)?;
            self.premium()?;
            size = size.min(SIGN_IN_PAGE);
        }
        if expansion.as_ref().is_some_and(|expansion| expansion.name != "manager") {
            size = size.min(EXPANDED_PAGE);
        }
        let filter = filter.map(|text| Filter::parse(text, kind, self.advanced())).transpose()?;
        let after = self.query.position.as_ref().map(|position| position.after.as_str());
        let matches = |object: &&Object| filter.as_ref().is_none_or(|filter| filter.matches(object));
        let mut rows = self.tenant.list_after(kind, after.filter(|id| !id.is_empty())).filter(matches);
        let mut page = self.begin(kind.set());
        if self.advanced() && self.query.position.is_none() {
            let count = self.tenant.list(kind).filter(matches).count();
            page.count(count);
        }
        if self.query.select.is_none() && expansion.is_none() {
            page.tip();
        }
        page.start();
        let mut ids = Vec::new();
        for object in rows.by_ref().take(self.size(size)) {
            ids.push(object.id());
            page.item(|out| {
                columns.open(out, None, object);
                if let Some(expansion) = &expansion {
                    self.expand(out, object, expansion);
                }
                out.push('}');
            });
        }
        let last = match (ids.as_slice(), self.call.twist.duplicate) {
            ([], _) => after.unwrap_or_default(),
            ([.., before, _], true) => before,
            ([.., last], _) => last,
        };
        let next = rows.next().map(|_| Position { after: last.to_owned(), ..Position::default() });
        Ok(self.end(page, next))
    }

    fn premium(&self) -> Result<(), Failure> {
        if self.call.premium {
            return Ok(());
        }
        let message = "Neither tenant is B2C or tenant doesn't have premium license";
        Err(Failure::new(403, "Authentication_RequestFromNonPremiumTenantOrB2CTenant", message))
    }

    /// The number of rows to give: none when the page is to come back empty.
    pub fn size(&self, size: usize) -> usize {
        if self.call.twist.empty { 0 } else { size }
    }

    fn count(&self, kind: Kind) -> Result<Reply, Failure> {
        self.may_list(kind)?;
        if !self.call.eventual {
            return Err(Failure::bad_request("$count is not currently supported."));
        }
        let filter = self.query.filter.as_deref().map(|text| Filter::parse(text, kind, true)).transpose()?;
        let matches = |object: &&Object| filter.as_ref().is_none_or(|filter| filter.matches(object));
        Ok(Reply::text(self.tenant.list(kind).filter(matches).count().to_string()))
    }

    fn resolve(&self, kind: Kind, id: &str) -> Result<&'a Object, Failure> {
        if let Some(object) = self.tenant.get(kind, &id.to_ascii_lowercase()).or_else(|| self.tenant.get(kind, id)) {
            return Ok(object);
        }
        if kind == Kind::User {
            let named = |object: &&Object| {
                object.get("userPrincipalName").as_str().is_some_and(|name| name.to_lowercase() == id.to_lowercase())
            };
            return self.tenant.list(kind).find(named).ok_or_else(|| Failure::not_found(id));
        }
        let guid = id.len() == 36 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        if guid {
            Err(Failure::not_found(id))
        } else {
            Err(Failure::bad_request(format!("Invalid object identifier '{id}'.")))
        }
    }

    fn one(&self, kind: Kind, id: &str) -> Result<Reply, Failure> {
        self.may_list(kind)?;
        self.query.only(&["select", "expand"])?;
        let expansion = self.expansion(kind)?;
        let columns = Columns::single(kind, self.query.select.as_deref(), self.call.roles)?;
        if columns.has("signInActivity") {
            self.premium()?;
        }
        let object = self.resolve(kind, id)?;
        let mut out = String::new();
        columns.open(&mut out, None, object);
        if let Some(expansion) = &expansion {
            self.expand(&mut out, object, expansion);
        }
        let context = self.context(kind.set(), "/$entity");
        Ok(Reply::json(200, format!("{context},{}}}", &out[1..])))
    }

    fn manager(&self, id: &str) -> Result<Reply, Failure> {
        self.may(Right::Read(Kind::User))?;
        self.query.only(&["select"])?;
        let user = self.resolve(Kind::User, id)?;
        let manager = self.tenant.manager(user.id()).ok_or_else(|| Failure::not_found("manager"))?;
        let columns = self.related_columns(self.query.select.as_deref())?;
        let mut out = String::new();
        self.related_item(&mut out, manager, &columns, true);
        Ok(Reply::json(200, format!("{},{}", self.context("directoryObjects", "/$entity"), &out[1..])))
    }

    fn related_columns(&self, names: Option<&[String]>) -> Result<[Columns; 5], Failure> {
        let [a, b, c, d, e] = Kind::ALL.map(|kind| Columns::related(kind, names, self.call.roles));
        Ok([a?, b?, c?, d?, e?])
    }

    fn related_item(&self, out: &mut String, member: &Member, columns: &[Columns; 5], annotate: bool) {
        let annotation = annotate.then_some(member.kind);
        let columns = &columns[member.kind as usize];
        match self.tenant.get(member.kind, &member.id) {
            Some(object) => columns.open(out, annotation, object),
            None => columns.open(out, annotation, &Object::new(member.id.clone(), &serde_json::Map::new())),
        }
        out.push('}');
    }

    /// A relationship's ends, page by page.
    fn related(&self, kind: Kind, id: &str, name: &str, cast: &[&str]) -> Result<Reply, Failure> {
        match name {
            "memberOf" => self.may(Right::MemberOf)?,
            "registeredOwners" => self.may(Right::Read(Kind::Device))?,
            _ => self.may(Right::Members)?,
        }
        self.query.only(&["select", "top"])?;
        let (cast, counting) = match cast {
            [] => (None, false),
            ["$count"] => (None, true),
            [cast] => (Some(Kind::parse(cast).ok_or_else(|| no_segment(cast))?), false),
            [cast, "$count"] => (Some(Kind::parse(cast).ok_or_else(|| no_segment(cast))?), true),
            [_, segment, ..] => return Err(no_segment(segment)),
        };
        let object = self.resolve(kind, id)?;
        let ends = self.ends(object, name);
        let ends: Vec<&Member> = ends.iter().filter(|member| cast.is_none_or(|kind| member.kind == kind)).collect();
        if counting {
            return match self.call.eventual {
                true => Ok(Reply::text(ends.len().to_string())),
                false => Err(Failure::bad_request("$count is not currently supported.")),
            };
        }
        if cast.is_some() && !self.advanced() {
            return Err(Failure::unsupported(
                "Request with $cast is not supported without the ConsistencyLevel header set to eventual and $count=true.",
            ));
        }
        let columns = self.related_columns(self.query.select.as_deref())?;
        let from = self.query.position.as_ref().map_or(0, |position| position.offset);
        let to = ends.len().min(from + self.size(self.query.page_size()?));
        let mut page = self.begin(cast.map_or("directoryObjects", Kind::set));
        if self.advanced() && from == 0 {
            page.count(ends.len());
        }
        page.start();
        for member in ends.get(from..to).unwrap_or_default() {
            page.item(|out| self.related_item(out, member, &columns, cast.is_none()));
        }
        let next = if self.call.twist.duplicate && to >= from + 2 { to - 1 } else { to };
        let next = (to < ends.len()).then(|| Position { offset: next, after: object.id().to_string() });
        Ok(self.end(page, next))
    }

    fn ends(&self, object: &Object, name: &str) -> Vec<Member> {
        match name {
            "memberOf" => self.tenant.member_of(object.id()),
            "owners" | "registeredOwners" => self.tenant.owners(object.id()).to_vec(),
            _ if !self.may_see_members(object) => Vec::new(),
            "members" => self.tenant.members(object.id()).to_vec(),
            _ => self.tenant.transitive_members(object.id()),
        }
    }

    /// Members of a group with `HiddenMembership` need Member.Read.Hidden: the list is empty without, and says nothing.
    /// <https://learn.microsoft.com/graph/api/group-list-members?view=graph-rest-1.0>
    pub fn may_see_members(&self, group: &Object) -> bool {
        let hidden = group.get("visibility").as_str() == Some("HiddenMembership");
        !hidden || self.call.roles.allow(Right::HiddenMembers)
    }

    fn expansion(&self, kind: Kind) -> Result<Option<Expansion>, Failure> {
        let Some(Expand { name, select }) = &self.query.expand else { return Ok(None) };
        if self.advanced() {
            return Err(Failure::unsupported("$expand is not supported together with advanced query parameters."));
        }
        let right = match (kind, name.as_str()) {
            (Kind::User, "manager") => Right::Read(Kind::User),
            (Kind::User, "memberOf") => Right::MemberOf,
            (Kind::Group, "members" | "owners") => Right::Members,
            (Kind::Device, "registeredOwners") => Right::Read(Kind::Device),
            _ => {
                let message = format!(
                    "Parsing OData Select and Expand failed: Could not find a property named '{name}' on type 'microsoft.graph.{}'.",
                    kind.name()
                );
                return Err(Failure::bad_request(message));
            }
        };
        self.may(right)?;
        let columns = self.related_columns(select.as_deref())?;
        Ok(Some(Expansion { name: name.clone(), columns }))
    }

    fn expand(&self, out: &mut String, object: &Object, expansion: &Expansion) {
        let start = if out.ends_with('{') { "" } else { "," };
        if expansion.name == "manager" {
            if let Some(manager) = self.tenant.manager(object.id()) {
                write!(out, "{start}\"manager\":").expect("writing to a string");
                self.related_item(out, manager, &expansion.columns, true);
            }
            return;
        }
        write!(out, "{start}\"{}\":[", expansion.name).expect("writing to a string");
        for (number, member) in self.ends(object, &expansion.name).iter().take(EXPANDED).enumerate() {
            if number > 0 {
                out.push(',');
            }
            self.related_item(out, member, &expansion.columns, true);
        }
        out.push(']');
    }

    fn deleted(&self, cast: &str) -> Result<Reply, Failure> {
        let kind =
            Kind::parse(cast).filter(|_| cast.starts_with("microsoft.graph.")).ok_or_else(|| no_segment(cast))?;
        self.may(Right::Deleted(kind))?;
        self.query.only(&["select", "top"])?;
        let mut names = self.query.select.clone();
        if names.is_none() {
            let marks = schema::of(kind).defaults().map(|property| property.prop.name().to_string());
            let mut defaults: Vec<String> = marks.filter(|name| name != "deletedDateTime").collect();
            defaults.push("deletedDateTime".to_owned());
            names = Some(defaults);
        }
        let columns = Columns::collection(kind, names.as_deref(), self.call.roles)?;
        let after = self.query.position.as_ref().map(|position| position.after.as_str()).filter(|id| !id.is_empty());
        let mut rows = self.tenant.deleted_after(kind, after);
        let mut page = self.begin("directoryObjects");
        page.start();
        let mut last = after.unwrap_or_default();
        for object in rows.by_ref().take(self.size(self.query.page_size()?)) {
            last = object.id();
            page.item(|out| {
                columns.open(out, Some(kind), object);
                out.push('}');
            });
        }
        let next = rows.next().map(|_| Position { after: last.to_owned(), ..Position::default() });
        Ok(self.end(page, next))
    }

    fn skus(&self) -> Result<Reply, Failure> {
        self.may(Right::Skus)?;
        self.query.only(&["select"])?;
        let columns =
            Columns::select(schema::sku(), "microsoft.graph.subscribedSku", self.query.select.as_deref(), |_| true)?;
        Ok(self.whole("subscribedSkus", self.tenant.skus(), &columns))
    }

    fn organization(&self) -> Result<Reply, Failure> {
        self.may(Right::Organization)?;
        self.query.only(&["select"])?;
        let names = self.query.select.as_deref();
        let columns = Columns::select(schema::organization(), "microsoft.graph.organization", names, |_| true)?;
        Ok(self.whole("organization", std::slice::from_ref(self.tenant.organization()), &columns))
    }

    /// A collection without paging.
    fn whole(&self, set: &str, objects: &[Object], columns: &Columns) -> Reply {
        let mut page = self.begin(set);
        page.start();
        for object in objects {
            page.item(|out| {
                columns.open(out, None, object);
                out.push('}');
            });
        }
        self.end(page, None)
    }

    pub fn begin(&self, set: &str) -> Page {
        Page { head: self.context(set, ""), items: String::new() }
    }

    /// Closes a page; a twisted one gets the link it is to carry.
    pub fn end(&self, page: Page, next: Option<Position>) -> Reply {
        let twist = self.call.twist;
        let next = if twist.empty { Some(self.query.position.clone().unwrap_or_default()) } else { next };
        let base = twist.foreign.as_deref().unwrap_or(self.call.base);
        let link = next.map(|position| self.query.link(base, self.call.path, &position));
        Reply::json(200, page.close("@odata.nextLink", link.as_deref()))
    }
}

struct Expansion {
    name: String,
    columns: [Columns; 5],
}

/// A page under construction.
pub(crate) struct Page {
    head: String,
    items: String,
}

impl Page {
    fn count(&mut self, count: usize) {
        write!(self.head, ",\"@odata.count\":{count}").expect("writing to a string");
    }

    /// The extra annotation of pages without `$select`.
    fn tip(&mut self) {
        let tip =
            "Use $select to choose only the properties your app needs, as this can lead to performance improvements.";
        write!(self.head, ",\"@microsoft.graph.tips\":\"{tip}\"").expect("writing to a string");
    }

    pub fn start(&mut self) {
        self.items.push_str("\"value\":[");
    }

    /// For a page without items.
    pub fn ensure_started(&mut self) {
        if self.items.is_empty() {
            self.start();
        }
    }

    pub fn item(&mut self, write: impl FnOnce(&mut String)) {
        if !self.items.ends_with('[') {
            self.items.push(',');
        }
        write(&mut self.items);
    }

    pub fn close(self, name: &str, link: Option<&str>) -> String {
        let link = link.map(|link| format!(",\"{name}\":{}", Value::from(link))).unwrap_or_default();
        format!("{}{link},{}]}}", self.head, self.items)
    }
}

/// <https://learn.microsoft.com/graph/api/directoryobject-getbyids?view=graph-rest-1.0>
fn get_by_ids(tenant: &Tenant, call: &Call<'_>) -> Result<Reply, Failure> {
    let query = Query::parse(call.path, call.query)?;
    query.only(&["select"])?;
    let request = Request { tenant, call, query };
    request.may(Right::GetByIds)?;
    let body: Value =
        serde_json::from_slice(call.body).map_err(|_| Failure::bad_request("Unable to read JSON request payload."))?;
    let ids = body
        .get("ids")
        .and_then(Value::as_array)
        .ok_or_else(|| Failure::bad_request("The 'ids' parameter is required."))?;
    if ids.len() > GET_BY_IDS {
        return Err(Failure::bad_request(format!(
            "Too many elements in parameter 'ids'. The maximum is {GET_BY_IDS}."
        )));
    }
    let types = body.get("types").and_then(Value::as_array);
    let types = types.filter(|types| !types.iter().any(|name| name == "directoryObject"));
    let types: Option<Vec<_>> =
        types.map(|types| types.iter().filter_map(Value::as_str).filter_map(Kind::parse).collect());
    let columns = request.related_columns(request.query.select.as_deref())?;
    let mut page = request.begin("directoryObjects");
    page.start();
    for id in ids.iter().filter_map(Value::as_str) {
        let Some((kind, object)) = tenant.find(&id.to_ascii_lowercase()).or_else(|| tenant.find(id)) else { continue };
        if types.as_ref().is_none_or(|types| types.contains(&kind)) {
            page.item(|out| {
                columns[kind as usize].open(out, Some(kind), object);
                out.push('}');
            });
        }
    }
    Ok(request.end(page, None))
}
