//! Relationships: lists of what an object is joined to, and `$expand`.
//!
//! Hides: which relationships there are, who may see them, and where `$expand` stops.
//! <https://learn.microsoft.com/graph/query-parameters#expand-parameter>
//! Deliberately does not: nest expansions, or page through them (Graph does neither).

use std::fmt::Write as _;

use crate::columns::Columns;
use crate::filter::Filter;
use crate::graph::{Request, Wanted, no_segment};
use crate::object::Object;
use crate::query::{Expand, Position};
use crate::reply::{self, Failure, Reply};
use crate::rights::Right;
use crate::schema::Kind;
use crate::tenant::Member;

/// Expanded objects of a collection relationship, at most; nothing marks the cut.
const EXPANDED: usize = 20;
/// The one exception. <https://learn.microsoft.com/graph/api/user-list-registereddevices?view=graph-rest-1.0>
const EXPANDED_DEVICES: usize = 100;

/// Of what, its name, who may see it, and how many objects `$expand` gives (nothing where it is refused).
type Relation = (Kind, &'static str, Right, Option<usize>);

const RELATIONS: [Relation; 24] = [
    (Kind::User, "memberOf", Right::MemberOf(Kind::User), Some(EXPANDED)),
    (Kind::User, "transitiveMemberOf", Right::TransitiveMemberOf(Kind::User), Some(EXPANDED)),
    (Kind::User, "directReports", Right::Read(Kind::User), Some(EXPANDED)),
    (Kind::User, "ownedDevices", Right::Read(Kind::User), Some(EXPANDED)),
    (Kind::User, "registeredDevices", Right::Read(Kind::User), Some(EXPANDED_DEVICES)),
    (Kind::Group, "members", Right::Members, Some(EXPANDED)),
    (Kind::Group, "transitiveMembers", Right::Members, None),
    (Kind::Group, "memberOf", Right::MemberOf(Kind::Group), Some(EXPANDED)),
    (Kind::Group, "transitiveMemberOf", Right::TransitiveMemberOf(Kind::Group), None),
    (Kind::Group, "owners", Right::GroupOwners, Some(EXPANDED)),
    (Kind::Device, "registeredOwners", Right::Read(Kind::Device), Some(EXPANDED)),
    (Kind::Device, "registeredUsers", Right::Read(Kind::Device), Some(EXPANDED)),
    (Kind::Device, "memberOf", Right::MemberOf(Kind::Device), Some(EXPANDED)),
    (Kind::Device, "transitiveMemberOf", Right::TransitiveMemberOf(Kind::Device), None),
    (Kind::OrgContact, "memberOf", Right::MemberOf(Kind::OrgContact), Some(EXPANDED)),
    (Kind::OrgContact, "transitiveMemberOf", Right::TransitiveMemberOf(Kind::OrgContact), None),
    (Kind::ServicePrincipal, "memberOf", Right::MemberOf(Kind::ServicePrincipal), Some(EXPANDED)),
    (Kind::ServicePrincipal, "transitiveMemberOf", Right::TransitiveMemberOf(Kind::ServicePrincipal), None),
    (Kind::ServicePrincipal, "owners", Right::Read(Kind::ServicePrincipal), Some(EXPANDED)),
    (Kind::AdministrativeUnit, "members", Right::Read(Kind::AdministrativeUnit), Some(EXPANDED)),
    (Kind::DirectoryRole, "members", Right::Read(Kind::DirectoryRole), Some(EXPANDED)),
    (Kind::Application, "owners", Right::Read(Kind::Application), Some(EXPANDED)),
    // Single-valued: the limit does not concern it.
    (Kind::User, "manager", Right::Read(Kind::User), Some(1)),
    (Kind::OrgContact, "manager", Right::Read(Kind::OrgContact), Some(1)),
];

/// `$expand` of a list or an object, checked.
pub(crate) struct Expansion {
    pub name: &'static str,
    limit: usize,
    columns: Vec<Columns>,
}

impl Request<'_> {
    pub fn manager(&self, id: &str) -> Result<Reply, Failure> {
        self.may(Right::Read(Kind::User))?;
        self.query.only(&["select"])?;
        let user = self.resolve(Kind::User, id)?;
        let manager = self.tenant.manager(user.id()).ok_or_else(|| Failure::not_found("manager"))?;
        let columns = self.related_columns(self.query.select.as_deref())?;
        let mut out = String::new();
        self.related_item(&mut out, manager, &columns, true);
        Ok(reply::json(200, format!("{},{}", self.context("directoryObjects", "/$entity"), &out[1..])))
    }

    /// The columns of each kind, by its number.
    pub fn related_columns(&self, names: Option<&[String]>) -> Result<Vec<Columns>, Failure> {
        Kind::ALL.into_iter().map(|kind| Columns::related(kind, names, self.call.roles)).collect()
    }

    fn related_item(&self, out: &mut String, member: &Member, columns: &[Columns], annotate: bool) {
        let annotation = annotate.then_some(member.kind);
        let columns = &columns[member.kind as usize];
        match self.tenant.get(member.kind, &member.id) {
            Some(object) => columns.open(out, annotation, object),
            None => columns.open(out, annotation, &Object::new(member.id.clone(), &serde_json::Map::new())),
        }
        out.push('}');
    }

    /// A relationship's ends, page by page.
    pub fn related(&self, kind: Kind, id: &str, name: &str, cast: &[&str]) -> Result<Reply, Failure> {
        let known = |relation: &&Relation| relation.0 == kind && relation.1.eq_ignore_ascii_case(name);
        let (_, name, right, _) = RELATIONS.iter().find(known).ok_or_else(|| no_segment(name))?;
        self.may(*right)?;
        let (cast, counting) = match cast {
            [] => (None, false),
            ["$count"] => (None, true),
            [cast] => (Some(Kind::parse(cast).ok_or_else(|| no_segment(cast))?), false),
            [cast, "$count"] => (Some(Kind::parse(cast).ok_or_else(|| no_segment(cast))?), true),
            [_, segment, ..] => return Err(no_segment(segment)),
        };
        // Roles have no pages, here either; everything but $select and $top is an advanced query on a relationship.
        let mut allowed = if kind == Kind::DirectoryRole { vec!["select"] } else { vec!["select", "top"] };
        if self.advanced() || counting {
            allowed.extend(["filter", "search", "orderby"]);
        }
        self.query.only(&allowed)?;
        let object = self.resolve(kind, id)?;
        let ends = self.wanted_ends(self.ends(object, name), cast, counting)?;
        if counting {
            return self.counted(ends.len());
        }
        if cast.is_some() && !self.advanced() {
            return Err(Failure::unsupported(
                "Request with $cast is not supported without the ConsistencyLevel header set to eventual and $count=true.",
            ));
        }
        let columns = self.related_columns(self.query.select.as_deref())?;
        let size = if kind == Kind::DirectoryRole { usize::MAX } else { self.query.page_size()? };
        let from = self.query.position.as_ref().map_or(0, |position| position.offset);
        let (part, next) = self.slice(&ends, from, size);
        let mut page = self.begin(cast.map_or("directoryObjects", Kind::set));
        if self.advanced() && from == 0 {
            page.count(ends.len());
        }
        page.start();
        for member in part {
            page.item(|out| self.related_item(out, member, &columns, cast.is_none()));
        }
        Ok(self
            .end(page, next.map(|offset| Position { offset, after: object.id().to_string(), ..Position::default() })))
    }

    /// The ends of the type asked for that meet `$filter` and `$search`, in the order asked for.
    fn wanted_ends(&self, ends: Vec<Member>, cast: Option<Kind>, counting: bool) -> Result<Vec<Member>, Failure> {
        let ends: Vec<Member> = ends.into_iter().filter(|end| cast.is_none_or(|kind| end.kind == kind)).collect();
        if self.query.filter.is_none() && self.query.search.is_none() && self.query.order.is_none() {
            return Ok(ends);
        }
        let wanted = |kind: Kind| match (counting, self.query.filter.as_deref()) {
            (true, Some(filter)) => Filter::parse(filter, kind, true).map(|filter| Wanted {
                filter: Some(filter),
                search: None,
                order: None,
            }),
            _ => self.wanted(kind),
        };
        // Without a cast, a condition that a type cannot meet is met by none of its objects.
        let kinds: Vec<Kind> = cast.map_or(Kind::ALL.to_vec(), |kind| vec![kind]);
        let wanted: Vec<(Kind, Result<Wanted, Failure>)> = kinds.into_iter().map(|kind| (kind, wanted(kind))).collect();
        if wanted.iter().all(|(_, wanted)| wanted.is_err()) {
            return Err(wanted.into_iter().find_map(|(_, wanted)| wanted.err()).unwrap_or_else(Failure::denied));
        }
        let of = |kind: Kind| wanted.iter().find(|(of, _)| *of == kind).and_then(|(_, wanted)| wanted.as_ref().ok());
        let mut rows: Vec<(Member, &Object)> = Vec::new();
        for end in ends {
            if let (Some(object), Some(wanted)) = (self.tenant.get(end.kind, &end.id), of(end.kind))
                && wanted.matches(object)
            {
                rows.push((end, object));
            }
        }
        if let Some(order) = wanted.iter().find_map(|(_, wanted)| wanted.as_ref().ok()?.order.as_ref()) {
            rows.sort_by(|(_, a), (_, b)| order.compare(a, b));
        }
        Ok(rows.into_iter().map(|(member, _)| member).collect())
    }

    pub fn ends(&self, object: &Object, name: &str) -> Vec<Member> {
        let id = object.id();
        match name {
            "memberOf" => self.tenant.member_of(id),
            "transitiveMemberOf" => self.tenant.transitive_member_of(id),
            "directReports" => self.tenant.direct_reports(id),
            "ownedDevices" => self.tenant.devices_of(id, true),
            "registeredDevices" => self.tenant.devices_of(id, false),
            "owners" | "registeredOwners" => self.tenant.owners(id).to_vec(),
            "registeredUsers" => self.tenant.registered_users(id).to_vec(),
            "manager" => self.tenant.manager(id).cloned().into_iter().collect(),
            _ if !self.may_see_members(object) => Vec::new(),
            "members" => self.tenant.members(id).to_vec(),
            _ => self.tenant.transitive_members(id),
        }
    }

    /// Members of a group or unit with `HiddenMembership` need Member.Read.Hidden: the list is empty without, and says
    /// nothing. <https://learn.microsoft.com/graph/api/group-list-members?view=graph-rest-1.0>
    pub fn may_see_members(&self, holder: &Object) -> bool {
        let hidden = holder.get("visibility").as_str() == Some("HiddenMembership");
        !hidden || self.call.roles.allow(Right::HiddenMembers)
    }

    pub fn expansion(&self, kind: Kind) -> Result<Option<Expansion>, Failure> {
        let Some(Expand { name, select }) = &self.query.expand else { return Ok(None) };
        if self.advanced() {
            return Err(Failure::unsupported("$expand is not supported together with advanced query parameters."));
        }
        let known = RELATIONS.iter().find(|relation| relation.0 == kind && relation.1 == name);
        let Some(&(_, name, right, Some(limit))) = known else {
            let kind = kind.name();
            return Err(Failure::bad_request(format!(
                "Parsing OData Select and Expand failed: Could not find a property named '{name}' on type 'microsoft.graph.{kind}'."
            )));
        };
        self.may(right)?;
        Ok(Some(Expansion { name, limit, columns: self.related_columns(select.as_deref())? }))
    }

    pub fn expand(&self, out: &mut String, object: &Object, expansion: &Expansion) {
        let start = if out.ends_with('{') { "" } else { "," };
        let ends = self.ends(object, expansion.name);
        if expansion.name == "manager" {
            if let Some(manager) = ends.first() {
                write!(out, "{start}\"manager\":").expect("writing to a string");
                self.related_item(out, manager, &expansion.columns, true);
            }
            return;
        }
        write!(out, "{start}\"{}\":[", expansion.name).expect("writing to a string");
        for (number, member) in ends.iter().take(expansion.limit).enumerate() {
            if number > 0 {
                out.push(',');
            }
            self.related_item(out, member, &expansion.columns, true);
        }
        out.push(']');
    }
}
