//! The Graph v1.0 endpoints: from a request and the tenant to an answer, without any HTTP.
//!
//! Hides: addresses, pages, expansion, and who may read what. <https://learn.microsoft.com/graph/api/overview>
//! Relationships are in `related`, what is no directory object in `sheets`.
//! Deliberately does not: sleep, throttle, misbehave (see `faults`), or answer what the importer has no use for
//! (writes, other workloads): those are refused, never ignored.

use std::fmt::Write as _;

use serde_json::Value;

use crate::columns::Columns;
use crate::delta;
use crate::faults::Twist;
use crate::filter::Filter;
use crate::object::Object;
use crate::order::{Order, Search};
use crate::query::{Position, Query};
use crate::reply::{self, Failure, Reply};
use crate::rights::{Right, Roles};
use crate::schema::{self, Kind};
use crate::tenant::Tenant;

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

/// The page size when a collection relationship is expanded; not documented, seen in the field.
const EXPANDED_PAGE: usize = 100;
/// The page size when `signInActivity` is selected; larger sizes are clamped.
/// <https://learn.microsoft.com/graph/api/user-list?view=graph-rest-1.0>
const SIGN_IN_PAGE: usize = 500;
/// Keys besides the id. <https://learn.microsoft.com/graph/api/application-get?view=graph-rest-1.0>
const ALTERNATE_KEYS: [(Kind, &str); 4] = [
    (Kind::Application, "appId"),
    (Kind::ServicePrincipal, "appId"),
    (Kind::Device, "deviceId"),
    (Kind::DirectoryRole, "roleTemplateId"),
];
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
        ["solutions", "bookingBusinesses", rest @ ..] => request.bookings(rest),
        ["deviceManagement", "managedDevices", rest @ ..] => request.managed_devices(rest),
        ["directory", "deletedItems", rest @ ..] => request.deleted(rest),
        ["directory", "administrativeUnits", rest @ ..] => request.of_kind(Kind::AdministrativeUnit, rest),
        [set, rest @ ..] => {
            // Administrative units have an address of their own.
            let kind = Kind::ALL.into_iter().find(|kind| kind.address() == *set).ok_or_else(|| no_segment(set))?;
            request.of_kind(kind, rest)
        }
        [] => Err(no_segment("")),
    }
}

/// `/users('x')/manager` and `/users/x/manager` are the same address; `/applications(appId='x')` is by another key,
/// and becomes `appId=x`.
fn segments(path: &str) -> Vec<String> {
    let key = |key: &str| {
        let (name, key) = key.split_once('=').map_or(("", key), |(name, key)| (name, key));
        let key = key.strip_prefix('\'')?.strip_suffix('\'')?.replace("''", "'");
        Some(if name.is_empty() { key } else { format!("{name}={key}") })
    };
    let split = |part: &str| {
        let part = percent_decode(part);
        let keyed = part.split_once('(').and_then(|(set, rest)| Some((set, key(rest.strip_suffix(')')?)?)));
        match keyed {
            Some((set, key)) => vec![set.to_owned(), key],
            None => vec![part],
        }
    };
    path.split('/').filter(|part| !part.is_empty()).flat_map(split).collect()
}

fn percent_decode(text: &str) -> String {
    let text = text.replace('+', "%2B").replace('=', "%3D").replace('&', "%26");
    url::form_urlencoded::parse(text.as_bytes()).next().map(|(name, _)| name.into_owned()).unwrap_or_default()
}

pub(crate) fn no_segment(segment: &str) -> Failure {
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
            [id, "licenseDetails"] if kind == Kind::User => self.license_details(id),
            [id, name, cast @ ..] => self.related(kind, id, name, cast),
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
    pub fn advanced(&self) -> bool {
        self.call.eventual && self.query.count
    }

    pub fn context(&self, set: &str, suffix: &str) -> String {
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
        if kind == Kind::DirectoryRole {
            // No paging at all. <https://learn.microsoft.com/graph/api/directoryrole-list?view=graph-rest-1.0>
            self.query.only(&["select", "expand", "filter", "search"])?;
        }
        let mut size = if kind == Kind::DirectoryRole { usize::MAX } else { self.query.page_size()? };
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
        let wanted = self.wanted(kind)?;
        let mut page = self.begin(kind.address());
        if self.advanced() && self.query.position.is_none() {
            page.count(self.tenant.list(kind).filter(|object| wanted.matches(object)).count());
        }
        if self.query.select.is_none() && expansion.is_none() {
            page.tip();
        }
        page.start();
        let (rows, next) = match &wanted.order {
            None => self.rows_by_id(|after| self.tenant.list_after(kind, after), &wanted, size),
            Some(order) => self.rows_in_order(self.tenant.list(kind), &wanted, order, size),
        };
        for object in rows {
            page.item(|out| {
                columns.open(out, None, object);
                if let Some(expansion) = &expansion {
                    self.expand(out, object, expansion);
                }
                out.push('}');
            });
        }
        Ok(self.end(page, next))
    }

    /// `$filter`, `$search` and `$orderby`, checked for a kind.
    pub fn wanted(&self, kind: Kind) -> Result<Wanted, Failure> {
        let advanced = self.advanced();
        let filter = self.query.filter.as_deref().map(|text| Filter::parse(text, kind, advanced)).transpose()?;
        let search =
            self.query.search.as_deref().map(|text| Search::parse(text, kind, self.call.eventual)).transpose()?;
        let order = self.query.order.as_deref().map(|text| Order::parse(text, kind, advanced)).transpose()?;
        if filter.is_some() && order.is_some() && !advanced {
            return Err(Order::unsupported());
        }
        Ok(Wanted { filter, search, order })
    }

    /// A page that goes on after the id of the page before, whatever came or went since.
    fn rows_by_id<I: Iterator<Item = &'a Object>>(
        &self,
        from: impl Fn(Option<&str>) -> I,
        wanted: &Wanted,
        size: usize,
    ) -> (Vec<&'a Object>, Option<Position>) {
        let after = self.query.position.as_ref().map(|position| position.after.as_str()).filter(|id| !id.is_empty());
        let mut matching = from(after).filter(|object| wanted.matches(object));
        let rows: Vec<&Object> = matching.by_ref().take(self.size(size)).collect();
        let last: &str = match (rows.as_slice(), self.call.twist.duplicate) {
            ([], _) => after.unwrap_or_default(),
            ([.., before, _], true) => before.id(),
            ([.., last], _) => last.id(),
        };
        let next = matching.next().map(|_| Position { after: last.to_owned(), ..Position::default() });
        (rows, next)
    }

    /// A page that goes on after as many rows as were given already.
    fn rows_in_order(
        &self,
        all: impl Iterator<Item = &'a Object>,
        wanted: &Wanted,
        order: &Order,
        size: usize,
    ) -> (Vec<&'a Object>, Option<Position>) {
        let mut rows: Vec<&Object> = all.filter(|object| wanted.matches(object)).collect();
        order.sort(&mut rows);
        let from = self.query.position.as_ref().map_or(0, |position| position.offset);
        let (part, next) = self.slice(&rows, from, size);
        (part.to_vec(), next.map(|offset| Position { offset, ..Position::default() }))
    }

    /// The page of a list that begins at `from`, and where the next one begins.
    pub fn slice<'b, T>(&self, all: &'b [T], from: usize, size: usize) -> (&'b [T], Option<usize>) {
        let from = from.min(all.len());
        let to = all.len().min(from.saturating_add(self.size(size)));
        let next = if self.call.twist.duplicate && to >= from + 2 { to - 1 } else { to };
        (&all[from..to], (to < all.len()).then_some(next))
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
        // The segment is an advanced query by itself.
        let filter = self.query.filter.as_deref().map(|text| Filter::parse(text, kind, true)).transpose()?;
        let search = self.query.search.as_deref().map(|text| Search::parse(text, kind, true)).transpose()?;
        let wanted = Wanted { filter, search, order: None };
        Ok(reply::text(self.tenant.list(kind).filter(|object| wanted.matches(object)).count().to_string()))
    }

    pub fn resolve(&self, kind: Kind, id: &str) -> Result<&'a Object, Failure> {
        if let Some((name, key)) = id.split_once('=').filter(|(name, _)| ALTERNATE_KEYS.contains(&(kind, name))) {
            let keyed =
                |object: &&Object| object.get(name).as_str().is_some_and(|value| value.eq_ignore_ascii_case(key));
            return self.tenant.list(kind).find(keyed).ok_or_else(|| Failure::not_found(key));
        }
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
        let context = self.context(kind.address(), "/$entity");
        Ok(reply::json(200, format!("{context},{}}}", &out[1..])))
    }

    /// `/directory/deletedItems/microsoft.graph.user`: the type is mandatory.
    /// <https://learn.microsoft.com/graph/api/directory-deleteditems-list?view=graph-rest-1.0>
    fn deleted(&self, rest: &[&str]) -> Result<Reply, Failure> {
        let (cast, counting) = match rest {
            [cast] => (*cast, false),
            [cast, "$count"] => (*cast, true),
            _ => return Err(no_segment(rest.last().unwrap_or(&"deletedItems"))),
        };
        let kind =
            Kind::parse(cast).filter(|_| cast.starts_with("microsoft.graph.")).ok_or_else(|| no_segment(cast))?;
        self.may(Right::Deleted(kind))?;
        if counting {
            return self.counted(self.tenant.deleted_after(kind, None).count());
        }
        self.query.only(&["select", "top", "orderby"])?;
        let mut names = self.query.select.clone();
        if names.is_none() {
            let marks = schema::of(kind).defaults().map(|property| property.prop.name().to_string());
            let mut defaults: Vec<String> = marks.filter(|name| name != "deletedDateTime").collect();
            defaults.push("deletedDateTime".to_owned());
            names = Some(defaults);
        }
        let columns = Columns::collection(kind, names.as_deref(), self.call.roles)?;
        let wanted = self.wanted(kind)?;
        let size = self.query.page_size()?;
        let mut page = self.begin("directoryObjects");
        if self.advanced() && self.query.position.is_none() {
            page.count(self.tenant.deleted_after(kind, None).count());
        }
        page.start();
        let (rows, next) = match &wanted.order {
            None => self.rows_by_id(|after| self.tenant.deleted_after(kind, after), &wanted, size),
            Some(order) => self.rows_in_order(self.tenant.deleted_after(kind, None), &wanted, order, size),
        };
        for object in rows {
            page.item(|out| {
                columns.open(out, Some(kind), object);
                out.push('}');
            });
        }
        Ok(self.end(page, next))
    }

    /// The answer to a `$count` segment.
    pub fn counted(&self, count: usize) -> Result<Reply, Failure> {
        match self.call.eventual {
            true => Ok(reply::text(count.to_string())),
            false => Err(Failure::bad_request("$count is not currently supported.")),
        }
    }

    pub fn begin(&self, set: &str) -> Page {
        Page { head: self.context(set, ""), items: String::new() }
    }

    /// Closes a page; a twisted one gets the link it is to carry.
    pub fn end(&self, page: Page, next: Option<Position>) -> Reply {
        let twist = self.call.twist;
        let here = || self.query.position.clone().unwrap_or_default();
        let next = match twist {
            Twist { empty: true, .. } => Some(here()),
            Twist { endless: true, .. } => Some(Position { turn: here().turn + 1, ..here() }),
            _ => next,
        };
        let base = twist.foreign.as_deref().unwrap_or(self.call.base);
        let link = next.map(|position| self.query.link(base, self.call.path, &position));
        reply::json(200, page.close("@odata.nextLink", link.as_deref()))
    }
}

/// The conditions of a list, and its order.
pub(crate) struct Wanted {
    pub filter: Option<Filter>,
    pub search: Option<Search>,
    pub order: Option<Order>,
}

impl Wanted {
    pub fn matches(&self, object: &Object) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.matches(object))
            && self.search.as_ref().is_none_or(|search| search.matches(object))
    }
}

/// A page under construction.
pub(crate) struct Page {
    head: String,
    items: String,
}

impl Page {
    pub fn count(&mut self, count: usize) {
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
    for id in ids.iter().filter_map(Value::as_str).take(request.size(ids.len())) {
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
