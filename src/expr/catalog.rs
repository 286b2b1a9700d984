//! What the compiled expressions use: per collection the properties, each with its slot in a record.
//!
//! Hides how slots are given out. While expressions are compiled the catalog grows; records are decoded once it has
//! all it will have. Deliberately reads nothing: extraction asks it what to select.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::lookup::Table;
use crate::record::Collection;
use crate::schema::{self, Kind, Navigation, Property, Source, Type};

/// The properties and navigations that a set of expressions uses.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// In the order of [`Collection::ALL`].
    shapes: Vec<Shape>,
    /// In the order of [`Collection::ALL`].
    used: Vec<bool>,
    navigations: BTreeSet<Navigation>,
    tables: BTreeMap<Arc<str>, Arc<Table>>,
}

/// The slots of one collection's records.
#[derive(Clone, Debug)]
pub struct Shape {
    pub(super) collection: Collection,
    pub(super) fields: Vec<Field>,
}

/// One slot.
#[derive(Clone, Debug)]
pub struct Field {
    pub name: Arc<str>,
    pub ty: Type,
    pub source: Source,
    /// The names inside a complex value, shared by all records.
    pub(super) parts: Arc<[Arc<str>]>,
}

impl Default for Catalog {
    fn default() -> Catalog {
        Catalog::new()
    }
}

impl Catalog {
    /// Uses nothing yet.
    pub fn new() -> Catalog {
        let shape = |collection| Shape { collection, fields: Vec::new() };
        Catalog {
            shapes: Collection::ALL.into_iter().map(shape).collect(),
            used: vec![false; Collection::ALL.len()],
            navigations: BTreeSet::new(),
            tables: BTreeMap::new(),
        }
    }

    /// Makes a table known to `lookup` under a name; a table of the same name is replaced.
    pub fn define(&mut self, name: impl Into<Arc<str>>, table: Table) {
        self.tables.insert(name.into(), Arc::new(table));
    }

    pub(super) fn tables(&self) -> &BTreeMap<Arc<str>, Arc<Table>> {
        &self.tables
    }

    /// The slots of the records of `collection`.
    pub fn shape(&self, collection: Collection) -> &Shape {
        &self.shapes[collection as usize]
    }

    /// The top-level names to read (`$select`), in slot order. `id` is among them only if an expression names it.
    pub fn properties(&self, collection: Collection) -> impl Iterator<Item = &str> {
        let read = |field: &&Field| field.source == Source::Graph;
        self.shape(collection).fields.iter().filter(read).map(|field| &*field.name)
    }

    /// The navigations followed by any expression.
    pub fn navigations(&self) -> &BTreeSet<Navigation> {
        &self.navigations
    }

    /// Whether `collection` must be read: an expression is over it, names a property of it, or navigates to it or by
    /// way of it (`memberOf` of a user goes by the memberships).
    pub fn uses(&self, collection: Collection) -> bool {
        self.used[collection as usize]
    }

    /// Notes a use besides those of expressions and returns the slot; `None` if there is no such property.
    pub fn require(&mut self, collection: Collection, name: &str) -> Option<usize> {
        let property = schema::property(collection, name)?;
        self.intern(collection, name, &property).map(usize::from)
    }

    /// Notes that records of `collection` are wanted at all.
    pub fn require_collection(&mut self, collection: Collection) {
        self.used[collection as usize] = true;
    }

    /// The slot of a property, given out now if it is new. `None` when all slots are taken.
    pub(super) fn intern(&mut self, collection: Collection, name: &str, property: &Property) -> Option<u16> {
        let fields = &mut self.shapes[collection as usize].fields;
        if let Some(slot) = fields.iter().position(|field| &*field.name == name) {
            return u16::try_from(slot).ok();
        }
        // The highest number stands for "no slot".
        let slot = u16::try_from(fields.len()).ok().filter(|slot| *slot < u16::MAX)?;
        let parts = match property.ty.kind {
            Kind::Complex(table) => table.iter().map(|(name, _)| Arc::from(*name)).collect(),
            _ => Arc::from([]),
        };
        fields.push(Field { name: Arc::from(name), ty: property.ty, source: property.source, parts });
        self.require_collection(collection);
        if let (Source::Navigation(via), Kind::Record(targets)) = (property.source, property.ty.kind) {
            self.navigations.insert(via);
            targets.iter().for_each(|target| self.require_collection(*target));
        }
        property.reads.iter().for_each(|read| self.require_collection(*read));
        for (collection, needed) in property.needs {
            self.require(*collection, needed)?;
        }
        Some(slot)
    }
}

impl Shape {
    /// Whose records these are.
    pub fn collection(&self) -> Collection {
        self.collection
    }

    /// The slots in order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The slot of `name`.
    pub fn slot(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| &*field.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::compile;

    /// What compiling `text` makes of the catalog: what is read, by collection, and the navigations.
    fn check(collection: Collection, text: &str, expected: &str) {
        let mut catalog = Catalog::new();
        compile(text, Some(collection), &mut catalog).unwrap_or_else(|error| panic!("{text}: {error}"));
        let used = Collection::ALL.into_iter().filter(|collection| catalog.uses(*collection));
        let read =
            |collection| format!("{collection}({})", catalog.properties(collection).collect::<Vec<_>>().join(" "));
        let shown = used.map(read).collect::<Vec<_>>().join(" ");
        assert_eq!(format!("{shown} {:?}", catalog.navigations()), expected, "{text}");
    }

    #[test]
    fn what_expressions_use_is_what_is_read() {
        use Collection::*;
        check(Users, "'x'", "users() {}");
        check(Users, "mail eq displayName or mail eq null", "users(mail displayName) {}");
        check(Users, "employeeOrgData/costCenter", "users(employeeOrgData) {}");
        check(Users, "manager/displayName eq displayName", "users(displayName) {Manager}");
        check(Users, "memberOf/any(g: g/id eq 'x')", "users() groups(id) memberships() {MemberOf}");
        check(Groups, "memberOf/any()", "groups() nestings() {MemberOf}");
        check(Groups, "members/id", "users(id) groups(id) memberships() nestings() devices(id) {Members}");
        check(Groups, "members/model", "users() groups() memberships() nestings() devices(model) {Members}");
        check(Users, "licenses/productName", "users(licenseAssignmentStates) licenses(skuId skuPartNumber) {Licenses}");
        check(Licenses, "available", "licenses(prepaidUnits consumedUnits) {}");
        check(LicenseAssignments, "user/mail", "users(licenseAssignmentStates mail) license_assignments() {User}");
        check(Memberships, "member/id", "users(id) memberships() devices(id) {Member}");
    }

    #[test]
    fn slots_are_given_out_once_and_in_order() {
        let mut catalog = Catalog::new();
        for text in ["mail", "displayName", "coalesce(mail, givenName)"] {
            compile(text, Some(Collection::Users), &mut catalog).expect("an expression");
        }
        assert_eq!(catalog.require(Collection::Users, "displayName"), Some(1));
        assert_eq!(catalog.require(Collection::Users, "id"), Some(3));
        assert_eq!(catalog.require(Collection::Users, "nonsense"), None);
        let names: Vec<_> = catalog.shape(Collection::Users).fields().iter().map(|field| &*field.name).collect();
        assert_eq!(names, ["mail", "displayName", "givenName", "id"]);
        assert_eq!(catalog.shape(Collection::Users).slot("givenName"), Some(2));
    }
}
