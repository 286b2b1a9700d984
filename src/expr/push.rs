//! What of a filter Graph can evaluate itself, as the text of `$filter`.
//!
//! Hides Graph's table of properties and operators, and where its semantics may differ from ours. What is pushed is a
//! *wider* condition than the filter: it is true of every record of which the filter is true or unknown, so whoever
//! reads with it still judges every record that comes, and no record is lost. A clause for which that is not certain
//! is left out. So there is never `not` (it would turn wider into narrower), nor `ne` over free text (Graph may hold
//! more texts for equal than we do), nor order of texts (whose collation is not documented), nor `contains`.
//!
//! <https://learn.microsoft.com/graph/aad-advanced-queries>, and for quotes and percent-encoding
//! <https://learn.microsoft.com/graph/filter-query-parameter>

use std::ops::Range;

use jiff::civil::Date;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

use super::Expr;
use super::ast::{Binary, Call, End, Head, Items, Lambda, Node, NodeKind, Path, Segment};
use crate::record::{Collection, Guid, Value};
use crate::schema::{self, Kind, Type};

/// What Graph is asked to leave out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushDown {
    /// `$filter`, not percent-encoded.
    pub filter: String,
    /// Whether it needs `ConsistencyLevel: eventual` and `$count=true`.
    pub advanced: bool,
    /// The clauses of the filter that Graph evaluates, wholly or in part, in their normal form.
    pub clauses: Vec<String>,
}

/// Under which conditions a filter is pushed.
pub struct Allowed<'a> {
    /// Advanced queries: not where something is expanded in the same request.
    pub advanced: bool,
    /// Whether the app may read a property. Of one that it may not, the value is unknown here, and null at Graph.
    pub readable: &'a dyn Fn(&str) -> bool,
}

impl Expr {
    /// The part of a filter over `collection` that Graph can evaluate; none when it can evaluate nothing of it.
    pub fn push_down(&self, collection: Collection, allowed: &Allowed<'_>) -> Option<PushDown> {
        let pusher = Pusher { table: table(collection)?, collection, allowed };
        let (mut whole, mut clauses) = (Part::default(), Vec::new());
        for clause in self.clauses() {
            let Some(part) = pusher.wider(&clause.node) else { continue };
            if let Some(more) = whole.and(&part) {
                whole = more;
                clauses.push(clause.to_string());
            }
        }
        (!clauses.is_empty()).then_some(PushDown { filter: whole.text, advanced: whole.advanced, clauses })
    }
}

/// Conditions joined by `or` in one filter, at most, and values after one `in`: Graph refuses more.
/// <https://learn.microsoft.com/graph/filter-query-parameter>
const ALTERNATIVES_MAX: usize = 15;
/// Longer addresses are refused on the way by some proxies; what does not fit is judged here.
const LENGTH_MAX: usize = 3000;

/// Property; operators that work plainly; operators that need an advanced query, or of which it is not documented that
/// they do not. `count` is `/$count` against 0, `null` is `eq` and `ne` against null.
type Row = (&'static str, &'static str, &'static str);

const USERS: &[Row] = &[
    ("accountEnabled", "eq in", "ne"),
    ("ageGroup", "eq in", "ne"),
    ("assignedLicenses", "eq", "count"),
    ("businessPhones", "", "eq ge le startsWith"),
    ("city", "eq ge le in startsWith", "ne null"),
    ("companyName", "", "eq ne ge le in startsWith null"),
    ("consentProvidedForMinor", "eq in", "ne"),
    ("country", "eq ge le in startsWith", "ne null"),
    ("createdDateTime", "eq ge le", "ne in"),
    ("creationType", "eq in", "ne"),
    ("department", "eq ge le in", "ne null"),
    ("displayName", "eq ge le in startsWith", "ne null"),
    ("employeeHireDate", "", "eq ne ge le in"),
    ("employeeId", "eq ge le in startsWith", "ne null"),
    ("employeeLeaveDateTime", "", "ne eq ge le in"),
    ("employeeOrgData", "", "eq ne ge le in"),
    ("employeeType", "", "eq ne ge le in startsWith"),
    ("externalUserState", "eq in", "ne"),
    ("externalUserStateChangeDateTime", "", "ne eq in"),
    ("faxNumber", "", "eq ne ge le in startsWith null"),
    ("givenName", "eq ge le in startsWith", "ne null"),
    ("imAddresses", "eq ge le startsWith", ""),
    ("jobTitle", "eq ge le in startsWith", "ne null"),
    ("mail", "eq ge le in startsWith", "ne endsWith null"),
    ("mailNickname", "eq ge le in startsWith", "ne null"),
    ("mobilePhone", "", "eq ne ge le in startsWith null"),
    ("officeLocation", "", "eq ne ge le in startsWith null"),
    ("onPremisesExtensionAttributes", "", "eq ne in"),
    ("onPremisesImmutableId", "eq ge le in", "ne"),
    ("onPremisesLastSyncDateTime", "eq ge le in", "ne"),
    ("onPremisesSamAccountName", "", "eq ne ge le in startsWith"),
    ("onPremisesSecurityIdentifier", "", "eq"),
    ("onPremisesSyncEnabled", "eq in", "ne null"),
    ("onPremisesUserPrincipalName", "eq ge le in startsWith", "ne"),
    ("otherMails", "eq ge le in startsWith", "endsWith count"),
    ("passwordPolicies", "", "ne null"),
    ("postalCode", "", "eq ne ge le in startsWith null"),
    ("preferredLanguage", "", "eq ne ge le in startsWith null"),
    ("proxyAddresses", "eq ge le startsWith", "endsWith count"),
    ("securityIdentifier", "", "eq ge le startsWith"),
    ("state", "eq ge le in startsWith", "ne null"),
    ("streetAddress", "", "eq ne ge le in startsWith null"),
    ("surname", "eq ge le in startsWith", "ne null"),
    ("usageLocation", "eq ge le in startsWith", "ne null"),
    ("userPrincipalName", "eq ge le in startsWith", "ne endsWith"),
    ("userType", "eq in", "ne null"),
];

const GROUPS: &[Row] = &[
    ("assignedLicenses", "eq", ""),
    ("classification", "eq ge le startsWith", "ne"),
    ("description", "", "eq ne ge le startsWith"),
    ("displayName", "eq ge le in startsWith", "ne null"),
    ("expirationDateTime", "", "eq ne ge le in"),
    // The table says nothing of the mode; the list page prints it without more.
    ("groupTypes", "eq", ""),
    ("isAssignableToRole", "eq", "ne"),
    ("mail", "eq ge le in startsWith", "ne null"),
    ("mailEnabled", "eq", "ne"),
    ("mailNickname", "eq ge le in startsWith", "ne null"),
    ("membershipRule", "eq ge le startsWith", "ne"),
    ("membershipRuleProcessingState", "", "ne eq in"),
    ("onPremisesLastSyncDateTime", "eq ge le in", "ne"),
    ("onPremisesSamAccountName", "", "eq ne ge le in startsWith"),
    ("onPremisesSecurityIdentifier", "", "eq"),
    ("onPremisesSyncEnabled", "eq in", "ne null"),
    ("preferredLanguage", "", "eq ne ge le in startsWith null"),
    ("proxyAddresses", "eq ge le startsWith", "endsWith count"),
    ("renewedDateTime", "eq ge le in", "ne"),
    ("resourceProvisioningOptions", "", "eq startsWith"),
    ("securityEnabled", "eq in", "ne"),
];

const DEVICES: &[Row] = &[
    ("accountEnabled", "eq in", "ne"),
    ("approximateLastSignInDateTime", "eq ge le", "ne null"),
    ("deviceId", "eq", "ne startsWith"),
    ("displayName", "eq ge le in startsWith", "ne null"),
    ("isCompliant", "eq", "ne"),
    ("isManaged", "eq", "ne"),
    ("mdmAppId", "eq", "ne startsWith"),
    ("onPremisesLastSyncDateTime", "eq ge le in", "ne"),
    ("onPremisesSecurityIdentifier", "", "eq"),
    ("onPremisesSyncEnabled", "eq in", "ne null"),
    ("operatingSystem", "eq ge le startsWith", "ne null"),
    ("operatingSystemVersion", "eq ge le startsWith", "ne null"),
    ("physicalIds", "eq ge le startsWith", "count"),
    ("systemLabels", "", "count"),
    ("trustType", "", "ne eq in"),
];

/// Texts out of a list that Microsoft keeps, or of an alphabet that is plain ASCII: nobody types them freely, so that
/// equal means the same there and here.
const CLOSED: [&str; 15] = [
    "ageGroup",
    "consentProvidedForMinor",
    "creationType",
    "deviceId",
    "externalUserState",
    "groupTypes",
    "mdmAppId",
    "membershipRuleProcessingState",
    "onPremisesSecurityIdentifier",
    "preferredLanguage",
    "resourceProvisioningOptions",
    "securityIdentifier",
    "trustType",
    "usageLocation",
    "userType",
];

fn table(collection: Collection) -> Option<&'static [Row]> {
    match collection {
        Collection::Users => Some(USERS),
        Collection::Groups => Some(GROUPS),
        Collection::Devices => Some(DEVICES),
        _ => None,
    }
}

/// A condition in Graph's words.
#[derive(Clone, Debug, Default, PartialEq)]
struct Part {
    text: String,
    advanced: bool,
    /// How often `or` stands in it.
    ors: usize,
    /// Whether an `or` stands outside of parentheses.
    loose: bool,
}

impl Part {
    fn new(text: String, advanced: bool) -> Part {
        Part { text, advanced, ..Part::default() }
    }

    /// Both; none when that would be too long, or too many alternatives.
    fn and(&self, other: &Part) -> Option<Part> {
        let both = match self.text.is_empty() {
            true => other.clone(),
            false => Part {
                text: format!("{} and {}", self.tight(), other.tight()),
                advanced: self.advanced || other.advanced,
                ors: self.ors + other.ors,
                loose: false,
            },
        };
        both.fits().then_some(both)
    }

    /// Any of them; none when there are too many.
    fn any_of(parts: Vec<Part>) -> Option<Part> {
        let ors = parts.len().checked_sub(1)? + parts.iter().map(|part| part.ors).sum::<usize>();
        let advanced = parts.iter().any(|part| part.advanced);
        let loose = parts.len() > 1 || parts[0].loose;
        let text = parts.into_iter().map(|part| part.text).collect::<Vec<_>>().join(" or ");
        let any = Part { text, advanced, ors, loose };
        any.fits().then_some(any)
    }

    fn fits(&self) -> bool {
        self.ors < ALTERNATIVES_MAX && self.text.len() <= LENGTH_MAX
    }

    fn tight(&self) -> String {
        if self.loose { format!("({})", self.text) } else { self.text.clone() }
    }
}

/// A property of the record that Graph can compare, by the operators it takes.
#[derive(Clone, Copy)]
struct Subject<'n> {
    /// As Graph reads it: `city`, `employeeOrgData/costCenter`.
    path: &'n Path,
    ty: Type,
    row: Row,
}

impl Subject<'_> {
    /// Whether an operator works, and if so whether only as an advanced query.
    fn mode(&self, operator: &str, allowed: &Allowed<'_>) -> Option<bool> {
        let (_, plain, advanced) = self.row;
        let has = |list: &str| list.split(' ').any(|word| word == operator);
        if has(plain) {
            return Some(false);
        }
        (allowed.advanced && has(advanced)).then_some(true)
    }

    fn is_closed(&self) -> bool {
        CLOSED.contains(&self.row.0)
    }

    /// The texts that together cover all that are equal to `text` here (or begin or end so), in Graph's quotes. Only
    /// ASCII is certain to be folded alike there, and two other letters fold into ASCII here.
    fn spellings(&self, text: &str) -> Option<Vec<String>> {
        let printable = !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if !printable {
            return None;
        }
        let mut all = vec![String::new()];
        for c in text.chars() {
            let twin = FOLDED.iter().find(|(_, plain)| *plain == c.to_ascii_lowercase()).filter(|_| !self.is_closed());
            let twins = twin.map(|(twin, _)| all.iter().map(|start| format!("{start}{twin}")).collect::<Vec<_>>());
            all.iter_mut().for_each(|start| start.push(c));
            all.extend(twins.unwrap_or_default());
            if all.len() > ALTERNATIVES_MAX {
                return None;
            }
        }
        Some(all.into_iter().map(|text| quoted(&text)).collect())
    }
}

/// Every letter outside of ASCII that [`super::fold`] makes an ASCII letter.
const FOLDED: [(char, char); 2] = [('\u{130}', 'i'), ('\u{212a}', 'k')];

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

struct Pusher<'a> {
    table: &'static [Row],
    collection: Collection,
    allowed: &'a Allowed<'a>,
}

impl Pusher<'_> {
    /// A condition that is true wherever `node` is true or unknown.
    fn wider(&self, node: &Node) -> Option<Part> {
        match &node.kind {
            NodeKind::And(parts) => {
                let pushed = parts.iter().filter_map(|part| self.wider(part));
                let whole = pushed.fold(Part::default(), |whole, part| whole.and(&part).unwrap_or(whole));
                (!whole.text.is_empty()).then_some(whole)
            }
            NodeKind::Or(parts) => Part::any_of(parts.iter().map(|part| self.wider(part)).collect::<Option<_>>()?),
            NodeKind::Path(path) => self.truth(path),
            NodeKind::Binary(operator, sides) => self.comparison(*operator, &sides[0], &sides[1]),
            NodeKind::Call(call) => self.call(call),
            _ => None,
        }
    }

    /// The property that a path leads to, if it is one of the record's own that Graph can compare.
    fn subject<'n>(&self, path: &'n Path) -> Option<Subject<'n>> {
        let Head::Root = path.head else { return None };
        let mut names = path.segments.iter().map(|segment| match segment {
            Segment::Property(step) => Some(&*step.name),
            Segment::Filter(_) | Segment::Key(_) => None,
        });
        let first = names.next()??;
        let row = *self.table.iter().find(|(name, ..)| *name == first)?;
        if !(self.allowed.readable)(first) {
            return None;
        }
        let mut ty = schema::property(self.collection, first)?.ty;
        for name in names {
            let (Kind::Complex(parts), false) = (ty.kind, ty.many) else { return None };
            let name = name?;
            ty = parts.iter().find(|(known, _)| *known == name)?.1;
        }
        Some(Subject { path, ty, row })
    }

    /// A path alone: a flag, or what some element of a list must be.
    fn truth(&self, path: &Path) -> Option<Part> {
        let subject = self.subject(path)?;
        match &path.end {
            End::Value if subject.ty == Type::BOOL => {
                Some(Part::new(format!("{path} eq true"), subject.mode("eq", self.allowed)?))
            }
            End::Any(Some(lambda)) if subject.ty.many => self.any(&subject, lambda),
            _ => None,
        }
    }

    fn any(&self, subject: &Subject<'_>, lambda: &Lambda) -> Option<Part> {
        let mut bare = subject.path.clone();
        bare.end = End::Value;
        let variable = &lambda.variable;
        let each = |condition: String| format!("{bare}/any({variable}:{condition})");
        match &lambda.body.kind {
            NodeKind::Binary(Binary::Eq, sides) => {
                let (inner, wanted) = (element(&sides[0])?, literal(&sides[1])?);
                let advanced = subject.mode("eq", self.allowed)?;
                match (inner, subject.ty.kind, wanted) {
                    ([], Kind::Text, Value::Text(text)) => {
                        let ways = subject.spellings(text)?.into_iter();
                        Part::any_of(
                            ways.map(|way| Part::new(each(format!("{variable} eq {way}")), advanced)).collect(),
                        )
                    }
                    ([Segment::Property(step)], Kind::Complex(_), wanted)
                        if subject.row.0 == "assignedLicenses" && *step.name == *"skuId" =>
                    {
                        Some(Part::new(each(format!("{variable}/skuId eq {}", guid(wanted)?)), advanced))
                    }
                    _ => None,
                }
            }
            NodeKind::Call(call) => {
                let (name, operator) = affix(call)?;
                let [whole, part] = call.arguments.as_slice() else { return None };
                let ([], Kind::Text, Value::Text(text)) = (element(whole)?, subject.ty.kind, literal(part)?) else {
                    return None;
                };
                let advanced = subject.mode(operator, self.allowed)?;
                let ways = subject.spellings(text)?.into_iter();
                Part::any_of(ways.map(|way| Part::new(each(format!("{name}({variable},{way})")), advanced)).collect())
            }
            _ => None,
        }
    }

    fn comparison(&self, operator: Binary, left: &Node, right: &Node) -> Option<Part> {
        let NodeKind::Path(path) = &left.kind else { return None };
        let subject = self.subject(path)?;
        if let End::Count = path.end {
            return self.count(&subject, operator, literal(right)?);
        }
        if path.end != End::Value || subject.ty.many {
            return None;
        }
        if let (Binary::In, NodeKind::List(Items { nodes, .. })) = (operator, &right.kind) {
            let values: Option<Vec<&Value>> = nodes.iter().map(literal).collect();
            return self.among(&subject, &values?);
        }
        let wanted = literal(right)?;
        match (operator, wanted, subject.ty.kind) {
            (Binary::Eq | Binary::Ne, Value::Null, _) => {
                Some(Part::new(format!("{path} {} null", operator.word()), subject.mode("null", self.allowed)?))
            }
            (Binary::Eq, ..) => self.among(&subject, &[wanted]),
            // Null is not equal to anything here; whether Graph's `ne` says so too is not documented.
            (Binary::Ne, Value::Bool(_), Kind::Bool) => self.other_than(&subject, wanted.clone()),
            (Binary::Ne, Value::Text(_), Kind::Text) if subject.is_closed() => {
                self.other_than(&subject, wanted.clone())
            }
            (Binary::Gt | Binary::Ge, _, Kind::DateTime) => self.beyond(&subject, "ge", wanted, -MARGIN),
            (Binary::Lt | Binary::Le, _, Kind::DateTime) => self.beyond(&subject, "le", wanted, MARGIN),
            _ => None,
        }
    }

    fn other_than(&self, subject: &Subject<'_>, wanted: Value) -> Option<Part> {
        let path = subject.path;
        let wanted = match wanted {
            Value::Text(text) => subject.spellings(&text)?.pop()?,
            Value::Bool(wanted) => wanted.to_string(),
            _ => return None,
        };
        let other = Part::new(format!("{path} ne {wanted}"), subject.mode("ne", self.allowed)?);
        let empty = Part::new(format!("{path} eq null"), subject.mode("null", self.allowed)?);
        Part::any_of(vec![other, empty])
    }

    /// Equal to one of the values.
    fn among(&self, subject: &Subject<'_>, values: &[&Value]) -> Option<Part> {
        let mut ways = Vec::new();
        for value in values {
            match (value, subject.ty.kind) {
                (Value::Bool(wanted), Kind::Bool) => ways.push(wanted.to_string()),
                (Value::Text(text), Kind::Text) => ways.extend(subject.spellings(text)?),
                _ => return None,
            }
        }
        let path = subject.path;
        match (subject.mode("eq", self.allowed), subject.mode("in", self.allowed)) {
            (Some(advanced), None) => {
                Part::any_of(ways.iter().map(|way| Part::new(format!("{path} eq {way}"), advanced)).collect())
            }
            (Some(advanced), _) if ways.len() == 1 => Some(Part::new(format!("{path} eq {}", ways[0]), advanced)),
            (_, Some(advanced)) => {
                let list = |ways: &[String]| Part::new(format!("{path} in ({})", ways.join(",")), advanced);
                Part::any_of(ways.chunks(ALTERNATIVES_MAX).map(list).collect())
            }
            (None, None) => None,
        }
    }

    /// Not before or not after a moment, give or take what Graph may keep and not show.
    fn beyond(&self, subject: &Subject<'_>, operator: &str, wanted: &Value, margin: SignedDuration) -> Option<Part> {
        let at = match wanted {
            Value::DateTime(moment) => moment.at,
            Value::Date(date) => midnight(*date)?,
            _ => return None,
        };
        let at =
            at.checked_add(margin).ok().filter(|at| YEARS.contains(&at.to_zoned(jiff::tz::TimeZone::UTC).year()))?;
        let advanced = subject.mode(operator, self.allowed)?;
        Some(Part::new(format!("{} {operator} {at:.0}", subject.path), advanced))
    }

    /// The size of a list against 0, the only number that Graph compares it with.
    fn count(&self, subject: &Subject<'_>, operator: Binary, wanted: &Value) -> Option<Part> {
        let word = match (operator, wanted) {
            (Binary::Eq | Binary::Ne, Value::Int(0)) => operator.word(),
            (Binary::Gt, Value::Int(0)) | (Binary::Ge, Value::Int(1)) => "ne",
            _ => return None,
        };
        Some(Part::new(format!("{} {word} 0", subject.path), subject.mode("count", self.allowed)?))
    }

    fn call(&self, call: &Call) -> Option<Part> {
        let (name, operator) = affix(call)?;
        let [whole, part] = call.arguments.as_slice() else { return None };
        let (NodeKind::Path(path), Value::Text(text)) = (&whole.kind, literal(part)?) else { return None };
        let subject = self.subject(path).filter(|subject| subject.ty == Type::TEXT && path.end == End::Value)?;
        let advanced = subject.mode(operator, self.allowed)?;
        let ways = subject.spellings(text)?.into_iter();
        Part::any_of(ways.map(|way| Part::new(format!("{name}({path},{way})"), advanced)).collect())
    }
}

/// Graph may keep fractions of a second that it does not show.
const MARGIN: SignedDuration = SignedDuration::from_secs(1);
/// Other years are spelled otherwise.
const YEARS: Range<i16> = 1..9999;

/// Graph's word and operator for a function of the two ends of a text.
fn affix(call: &Call) -> Option<(&'static str, &'static str)> {
    match call.function.name {
        "startswith" => Some(("startsWith", "startsWith")),
        "endswith" => Some(("endsWith", "endsWith")),
        _ => None,
    }
}

/// What is looked at in each element: the path below the variable of the innermost lambda.
fn element(node: &Node) -> Option<&[Segment]> {
    match &node.kind {
        NodeKind::Path(Path { head: Head::Variable(_, 0), segments, end: End::Value }) => Some(segments),
        _ => None,
    }
}

fn literal(node: &Node) -> Option<&Value> {
    match &node.kind {
        NodeKind::Literal(value) => Some(value),
        _ => None,
    }
}

fn guid(value: &Value) -> Option<Guid> {
    match value {
        Value::Guid(id) => Some(*id),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

/// A date meets a time as its first moment in UTC.
fn midnight(date: Date) -> Option<Timestamp> {
    Offset::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok()
}

#[cfg(test)]
mod tests {
    use super::super::{Catalog, compile_filter, fold};
    use super::*;

    const EVERYTHING: Allowed<'static> = Allowed { advanced: true, readable: &|_| true };

    fn pushed(collection: Collection, filter: &str, allowed: &Allowed<'_>) -> Option<PushDown> {
        let filter = compile_filter(filter, Some(collection), &mut Catalog::new()).expect(filter);
        filter.push_down(collection, allowed)
    }

    fn check(collection: Collection, filter: &str, expected: &str, advanced: bool) {
        let found = pushed(collection, filter, &EVERYTHING).unwrap_or_else(|| panic!("not pushed: {filter}"));
        assert_eq!((found.filter.as_str(), found.advanced), (expected, advanced), "{filter}");
    }

    /// Filters of the forms that Graph's documentation spells pass as they are, in the mode it gives for each.
    /// <https://learn.microsoft.com/graph/aad-advanced-queries>, <https://learn.microsoft.com/graph/filter-query-parameter>
    #[test]
    fn filters_in_the_words_of_the_documentation_pass_as_they_are() {
        use Collection::{Devices, Groups, Users};
        for (collection, filter, advanced) in [
            (Users, "accountEnabled eq true", false),
            (Users, "accountEnabled eq false", false),
            (Users, "userType eq 'Guest'", false),
            (Users, "usageLocation in ('US','FR')", false),
            (Users, "startsWith(displayName,'a')", false),
            (Users, "endsWith(mail,'@contoso.com')", true),
            (Users, "companyName ne null", true),
            (Users, "assignedLicenses/$count ne 0", true),
            (Users, "assignedLicenses/$count eq 0", true),
            (Users, "assignedLicenses/any(u:u/skuId eq 184efa21-98c3-4e5d-95ab-d07053a96e67)", false),
            (Users, "proxyAddresses/any(p:startsWith(p,'smtp:'))", false),
            (Groups, "groupTypes/any(c:c eq 'Unified')", false),
            (Groups, "mailEnabled eq true", false),
            (Groups, "resourceProvisioningOptions/any(x:x eq 'Team')", true),
            (Devices, "isCompliant eq true", false),
        ] {
            check(collection, filter, filter, advanced);
        }
    }

    #[test]
    fn what_is_pushed_is_wider_where_graph_may_differ() {
        use Collection::{Devices, Groups, Users};
        check(Users, "accountEnabled", "accountEnabled eq true", false);
        check(Users, "department eq 'Sales'", "department eq 'Sales'", false);
        // These letters have twins that are equal to them here.
        check(Users, "city eq 'Oslo' or city eq 'Rio'", "city eq 'Oslo' or city in ('Rio','Rİo')", false);
        check(
            Groups,
            "startswith(displayName,'kit')",
            "startsWith(displayName,'kit') or startsWith(displayName,'\u{212a}it') or startsWith(displayName,'kİt') or startsWith(displayName,'\u{212a}İt')",
            false,
        );
        check(Users, "department eq 'R''D'", "department eq 'R''D'", false);
        // Null is other than everything here.
        check(Users, "userType ne 'Guest'", "userType ne 'Guest' or userType eq null", true);
        check(
            Users,
            "onPremisesSyncEnabled ne true",
            "onPremisesSyncEnabled ne true or onPremisesSyncEnabled eq null",
            true,
        );
        // Fractions of a second.
        check(Users, "createdDateTime gt 2024-01-01", "createdDateTime ge 2023-12-31T23:59:59Z", false);
        check(
            Devices,
            "approximateLastSignInDateTime le 2024-01-01T00:00:00.5Z",
            "approximateLastSignInDateTime le 2024-01-01T00:00:01Z",
            false,
        );
        check(Users, "employeeOrgData/costCenter eq '7'", "employeeOrgData/costCenter eq '7'", true);
        // No `in` for these.
        check(Groups, "classification in ('A','B')", "classification eq 'A' or classification eq 'B'", false);
        // Half of a clause, and half of the clauses.
        check(
            Users,
            "(userType eq 'Guest' and contains(mail,'x')) or city eq 'Oslo'",
            "userType eq 'Guest' or city eq 'Oslo'",
            false,
        );
        check(
            Users,
            "accountEnabled eq true and contains(mail,'x') and (city eq 'Oslo' or country eq 'Norge')",
            "accountEnabled eq true and (city eq 'Oslo' or country eq 'Norge')",
            false,
        );
    }

    #[test]
    fn what_is_not_certain_is_left_here() {
        use Collection::{Devices, Groups, Licenses, Users};
        for (collection, filter) in [
            (Users, "contains(displayName,'x')"),
            (Users, "not (userType eq 'Guest')"),
            (Users, "department ne 'Sales'"),
            (Users, "accountEnabled ne false"),
            (Users, "displayName ge 'M'"),
            (Users, "department eq 'Ö'"),
            (Users, "department eq ''"),
            (Users, "department in ('A', null)"),
            (Users, "department eq city"),
            (Users, "tolower(department) eq 'sales'"),
            (Users, "startswith(department,'Sales')"),
            (Users, "userType eq 'Guest' or contains(mail,'x')"),
            (Users, "manager/accountEnabled eq true"),
            (Users, "memberOf/any(g:g/displayName eq 'VPN')"),
            (Users, "assignedLicenses/$count gt 1"),
            (Users, "signInActivity/lastSignInDateTime ge 2024-01-01"),
            (Users, "createdDateTime ge now()"),
            (Users, "department eq 'kikikiki'"),
            (Groups, "createdDateTime ge 2024-01-01"),
            (Groups, "members/any(m:m/accountEnabled eq true)"),
            (Groups, "groupTypes/all(c:c eq 'Unified')"),
            (Devices, "manufacturer eq 'Contoso'"),
            (Licenses, "skuPartNumber eq 'CONTOSO'"),
        ] {
            assert_eq!(pushed(collection, filter, &EVERYTHING), None, "{filter}");
        }
    }

    #[test]
    fn long_lists_are_split_and_too_long_ones_stay() {
        let list = |count: usize| (0..count).map(|n| format!("'{n}'")).collect::<Vec<_>>();
        let filter = |count: usize| format!("city in ({})", list(count).join(","));
        let all = list(40);
        let parts = all.chunks(15).map(|part| format!("city in ({})", part.join(","))).collect::<Vec<_>>();
        check(Collection::Users, &filter(40), &parts.join(" or "), false);
        assert_eq!(pushed(Collection::Users, &filter(226), &EVERYTHING), None, "16 lists");
        // Alternatives of all clauses count together; what is too much is left out.
        let eight = |name: &str| format!("({})", vec![format!("{name} eq 'a'"); 8].join(" or "));
        let both = format!("{} and {}", eight("city"), eight("country"));
        assert_eq!(pushed(Collection::Users, &both, &EVERYTHING).unwrap().clauses.len(), 2, "7 + 7 times `or`");
        let three = format!("{both} and {}", eight("state"));
        assert_eq!(pushed(Collection::Users, &three, &EVERYTHING).unwrap().clauses.len(), 2);
    }

    #[test]
    fn conditions_of_the_read_are_kept() {
        let filter = "userType eq 'Guest' and companyName eq 'A'";
        let plain = Allowed { advanced: false, readable: &|_| true };
        let found = pushed(Collection::Users, filter, &plain).unwrap();
        assert_eq!(found.filter, "userType eq 'Guest'");
        assert_eq!(found.clauses, ["userType eq 'Guest'"]);
        let unreadable = Allowed { advanced: true, readable: &|name| name != "userType" };
        assert_eq!(pushed(Collection::Users, filter, &unreadable).unwrap().filter, "companyName eq 'A'");
        assert_eq!(pushed(Collection::Users, "userType eq 'Guest' or companyName eq 'A'", &unreadable), None);
    }

    #[test]
    fn the_letters_that_fold_into_ascii_are_these() {
        let found: Vec<(char, char)> =
            ('\u{80}'..=char::MAX).map(|c| (c, fold(c))).filter(|(_, folded)| folded.is_ascii()).collect();
        assert_eq!(found, FOLDED);
    }

    #[test]
    fn every_row_names_a_property() {
        for (collection, rows) in
            [(Collection::Users, USERS), (Collection::Groups, GROUPS), (Collection::Devices, DEVICES)]
        {
            for (name, ..) in rows {
                assert!(schema::property(collection, name).is_some(), "{collection} {name}");
                assert!(rows.iter().filter(|(other, ..)| other == name).count() == 1, "{collection} {name}");
            }
        }
    }
}
