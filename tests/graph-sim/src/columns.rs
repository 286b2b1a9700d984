//! What is printed of an object: the properties asked for, in the order asked for.
//!
//! Hides: `$select` against the type's property list, default sets, and the masking of what a token may not see.
//! <https://learn.microsoft.com/graph/permissions-overview#limited-information-returned-for-inaccessible-member-objects>
//! Deliberately does not: expand relationships (see `graph`).

use crate::object::{Object, Prop};
use crate::reply::Failure;
use crate::rights::{BASIC_COLUMNS, Right, Roles};
use crate::schema::{self, Kind, Property, Sheet, Type};

#[derive(Clone)]
struct Column {
    prop: Prop,
    /// What is printed when the property is not set.
    absent: Option<Box<str>>,
    masked: bool,
}

/// A list of columns for objects of one type.
pub(crate) struct Columns {
    list: Vec<Column>,
}

impl Columns {
    fn build(properties: impl Iterator<Item = Property>, visible: impl Fn(&str) -> bool) -> Self {
        let list = properties.map(|property| {
            let name = property.prop.name();
            let masked = !visible(&name);
            let absent = if masked { Some("null") } else { property.absent };
            Column { prop: property.prop, absent: absent.map(|absent| format!("\"{name}\":{absent}").into()), masked }
        });
        Self { list: list.collect() }
    }

    /// The columns of a listed type; an unknown name is refused in Graph's words.
    pub fn select(
        of: &Type,
        type_name: &str,
        names: Option<&[String]>,
        visible: impl Fn(&str) -> bool,
    ) -> Result<Self, Failure> {
        let Some(names) = names else { return Ok(Self::build(of.defaults(), visible)) };
        let known = |name: &String| of.property(name).ok_or_else(|| unknown(name, type_name));
        let properties = names.iter().map(known).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::build(properties.into_iter(), visible))
    }

    /// The columns of `/users`, `/groups` and the like, as the roles allow.
    pub fn collection(kind: Kind, names: Option<&[String]>, roles: &Roles) -> Result<Self, Failure> {
        let of = schema::of(kind);
        let single =
            names.into_iter().flatten().find(|name| of.property(name).is_some_and(|property| property.single_only));
        if single.is_some() {
            return Err(Failure::new(501, "NotImplemented", "This operation target is not yet supported."));
        }
        Self::single(kind, names, roles)
    }

    /// As [`Columns::collection`] for one object, where every property may be asked for.
    pub fn single(kind: Kind, names: Option<&[String]>, roles: &Roles) -> Result<Self, Failure> {
        let type_name = format!("microsoft.graph.{}", kind.name());
        if kind == Kind::User {
            guarded(names, roles)?;
        }
        let full = kind != Kind::User || roles.allow(Right::Read(Kind::User));
        Self::select(schema::of(kind), &type_name, names, |name| full || BASIC_COLUMNS.contains(&name))
    }

    /// The columns of a list of what is no directory object: what only a single object shows looks unset.
    pub fn listed(sheet: Sheet, names: Option<&[String]>) -> Result<Self, Failure> {
        let mut columns = Self::whole(sheet, names)?;
        for column in &mut columns.list {
            column.masked = sheet.properties().property(&column.prop.name()).is_some_and(|known| known.single_only);
        }
        Ok(columns)
    }

    /// As [`Columns::listed`] for one object.
    pub fn whole(sheet: Sheet, names: Option<&[String]>) -> Result<Self, Failure> {
        Self::select(sheet.properties(), &format!("microsoft.graph.{}", sheet.name()), names, |_| true)
    }

    /// The columns for one type among the ends of a relationship: names the type does not have are left out, and
    /// everything but the id is null when the roles do not cover the type.
    pub fn related(kind: Kind, names: Option<&[String]>, roles: &Roles) -> Result<Self, Failure> {
        let of = schema::of(kind);
        let basic = kind == Kind::User && roles.allow(Right::UsersBasic);
        let full = roles.allow(Right::Read(kind));
        let visible = |name: &str| name == "id" || full || (basic && BASIC_COLUMNS.contains(&name));
        let Some(names) = names else { return Ok(Self::build(of.defaults(), visible)) };
        let anywhere = |name: &str| Kind::ALL.into_iter().any(|kind| schema::of(kind).property(name).is_some());
        if let Some(name) = names.iter().find(|name| !anywhere(name)) {
            return Err(unknown(name, "microsoft.graph.directoryObject"));
        }
        if kind == Kind::User && full {
            guarded(Some(names), roles)?;
        }
        Ok(Self::build(names.iter().filter_map(|name| of.property(name)), visible))
    }

    /// Whether a property is among the columns.
    pub fn has(&self, name: &str) -> bool {
        Prop::find(name).is_some_and(|prop| self.list.iter().any(|column| column.prop == prop))
    }

    /// The id and those of the columns that are among `props`.
    pub fn only(&self, props: &[Prop]) -> Self {
        let id = Prop::intern("id");
        let kept = self.list.iter().filter(|column| column.prop == id || props.contains(&column.prop));
        Self { list: kept.cloned().collect() }
    }

    /// The columns' numbers.
    pub fn props(&self) -> impl Iterator<Item = Prop> + '_ {
        self.list.iter().map(|column| column.prop)
    }

    /// Prints an object without its closing brace, so that relationships can follow.
    pub fn open(&self, out: &mut String, annotation: Option<Kind>, object: &Object) {
        self.print(out, annotation, |column| match column.masked {
            false => object.fragment(column.prop).or(column.absent.as_deref()),
            true => column.absent.as_deref(),
        });
    }

    /// As [`Columns::open`], but only properties that are set, or set to null since: the form of delta answers.
    pub fn open_set(&self, out: &mut String, object: &Object, cleared: &[Prop]) {
        self.print(out, None, |column| {
            object.fragment(column.prop).or(column.absent.as_deref().filter(|_| cleared.contains(&column.prop)))
        });
    }

    fn print<'a>(
        &'a self,
        out: &mut String,
        annotation: Option<Kind>,
        fragment: impl Fn(&'a Column) -> Option<&'a str>,
    ) {
        out.push('{');
        if let Some(kind) = annotation {
            out.push_str("\"@odata.type\":\"#microsoft.graph.");
            out.push_str(kind.name());
            out.push_str("\",");
        }
        for fragment in self.list.iter().filter_map(fragment) {
            out.push_str(fragment);
            out.push(',');
        }
        if out.ends_with(',') {
            out.pop();
        }
    }
}

/// Columns that need a permission of their own.
/// <https://learn.microsoft.com/graph/api/resources/user?view=graph-rest-1.0>
fn guarded(names: Option<&[String]>, roles: &Roles) -> Result<(), Failure> {
    for name in names.into_iter().flatten() {
        match name.as_str() {
            "signInActivity" if !roles.allow(Right::SignIns) => {
                let message = "The principal does not have required Microsoft Graph permission(s): AuditLog.Read.All to call this API. \
                    For more information about Microsoft Graph permissions, please visit https://learn.microsoft.com/graph/permissions-overview.";
                return Err(Failure::new(403, "Authentication_MSGraphPermissionMissing", message));
            }
            "employeeLeaveDateTime" if !roles.allow(Right::LeaveDate) => return Err(Failure::denied()),
            "customSecurityAttributes" if !roles.allow(Right::SecurityAttributes) => return Err(Failure::denied()),
            _ => {}
        }
    }
    Ok(())
}

fn unknown(name: &str, type_name: &str) -> Failure {
    Failure::bad_request(format!(
        "Parsing OData Select and Expand failed: Could not find a property named '{name}' on type '{type_name}'."
    ))
}
