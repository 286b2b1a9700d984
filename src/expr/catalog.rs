//! What the compiled expressions use: per collection the properties, each with its slot in a record.
//!
//! Hides how slots are given out. While expressions are compiled the catalog grows; records are decoded once it has
//! all it will have. Deliberately reads nothing: extraction asks it what to select.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::lookup::Table;
use crate::custom::Custom;
use crate::record::Collection;
use crate::schema::{self, Kind, Navigation, Property, Source, Type};

/// What `lookup` knows, by name.
pub type Tables = BTreeMap<Arc<str>, Arc<Table>>;

/// The properties and navigations that a set of expressions uses.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// In the order of [`Collection::ALL`], then the custom collections as they were declared.
    shapes: Vec<Shape>,
    navigations: BTreeSet<Navigation>,
    /// Collections of which records are asked for that other records lead to, and that may be in nobody's scope.
    looked_at: BTreeSet<Collection>,
    tables: Tables,
    custom: Vec<Arc<Custom>>,
}

/// The slots of one collection's records.
#[derive(Clone, Debug)]
pub struct Shape {
    pub(super) collection: Collection,
    /// Whether anything uses the collection.
    used: bool,
    pub(super) fields: Vec<Field>,
}

/// One slot.
#[derive(Clone, Debug)]
pub struct Field {
    pub name: Arc<str>,
    pub ty: Type,
    pub source: Source,
    /// Looked at on records that a navigation leads to, not only on those that are walked.
    pub followed: bool,
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
        Catalog {
            shapes: Collection::ALL.into_iter().map(Shape::empty).collect(),
            navigations: BTreeSet::new(),
            looked_at: BTreeSet::new(),
            tables: BTreeMap::new(),
            custom: Vec::new(),
        }
    }

    /// Makes a table known to `lookup` under a name; a table of the same name is replaced.
    pub fn define(&mut self, name: impl Into<Arc<str>>, table: Table) {
        self.tables.insert(name.into(), Arc::new(table));
    }

    /// The tables known to `lookup`, by name.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Knows these tables and no others from here on: a mapping's own are not known outside it.
    pub fn set_tables(&mut self, tables: Tables) {
        self.tables = tables;
    }

    /// Makes a custom collection known, so that expressions may be over it. One of the same name is replaced.
    pub fn declare(&mut self, custom: Arc<Custom>) {
        self.custom.retain(|other| other.collection != custom.collection);
        self.shape_mut(custom.collection);
        self.custom.push(custom);
    }

    /// The custom collections that are known, in the order they were declared.
    pub fn custom(&self) -> &[Arc<Custom>] {
        &self.custom
    }

    /// The collection of that name: a built-in one, or one that was declared.
    pub fn named(&self, name: &str) -> Option<Collection> {
        let declared = || self.custom.iter().map(|custom| custom.collection).find(|custom| custom.name() == name);
        Collection::named(name).or_else(declared)
    }

    /// Every collection that expressions may be over, in the order they are read and shown.
    pub fn collections(&self) -> impl Iterator<Item = Collection> + use<'_> {
        self.shapes.iter().map(|shape| shape.collection)
    }

    /// The property `name` of `collection`: as the schema has it, or as it was declared.
    pub fn property(&self, collection: Collection, name: &str) -> Option<Property> {
        let declared = self.custom.iter().find(|custom| custom.collection == collection);
        let ty = declared.and_then(|custom| custom.properties.get(name));
        let found = schema::property(collection, name)?;
        Some(Property { ty: ty.copied().unwrap_or(found.ty), ..found })
    }

    /// The slots of the records of `collection`; none for a custom collection that was not declared.
    pub fn shape(&self, collection: Collection) -> &Shape {
        static NONE: Shape = Shape::empty(Collection::Users);
        self.place(collection).map_or(&NONE, |at| &self.shapes[at])
    }

    fn shape_mut(&mut self, collection: Collection) -> &mut Shape {
        let at = self.place(collection).unwrap_or_else(|| {
            self.shapes.push(Shape::empty(collection));
            self.shapes.len() - 1
        });
        &mut self.shapes[at]
    }

    fn place(&self, collection: Collection) -> Option<usize> {
        match collection {
            Collection::Custom(_) => self.shapes.iter().position(|shape| shape.collection == collection),
            built_in => Some(built_in.index()),
        }
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

    /// Notes that an expression comes to records of `collection` from another record, whether they are in scope or not.
    pub(super) fn look_at(&mut self, collection: Collection) {
        self.looked_at.insert(collection);
    }

    /// Whether records of `collection` are needed that are in nobody's scope: an expression comes to them from another
    /// record, or lists hang on them. Neither a user's manager counts, for managers are looked up by id, nor the ends
    /// of a pair that is mapped, which are in scope with it, nor how many records there are.
    pub fn needs_whole(&self, collection: Collection) -> bool {
        let lists: &[Collection] = match collection {
            Collection::Groups => &[Collection::Memberships, Collection::Nestings, Collection::EffectiveMemberships],
            // How many there are must be comparable from night to night.
            Collection::Users => &[Collection::LicenseAssignments],
            _ => &[],
        };
        self.looked_at.contains(&collection) || lists.iter().any(|lists| self.uses(*lists))
    }

    /// Whether `collection` must be read: an expression is over it, names a property of it, or navigates to it or by
    /// way of it (`memberOf` of a user goes by the memberships).
    pub fn uses(&self, collection: Collection) -> bool {
        self.shape(collection).used
    }

    /// Notes a use besides those of expressions and returns the slot; `None` if there is no such property.
    pub fn require(&mut self, collection: Collection, name: &str) -> Option<usize> {
        let property = self.property(collection, name)?;
        self.intern(collection, name, &property, true).map(usize::from)
    }

    /// Notes that records of `collection` are wanted at all.
    pub fn require_collection(&mut self, collection: Collection) {
        self.shape_mut(collection).used = true;
    }

    /// The slot of a property, given out now if it is new. `None` when all slots are taken. `followed` says that records
    /// which a navigation leads to are asked for it.
    pub(super) fn intern(
        &mut self,
        collection: Collection,
        name: &str,
        property: &Property,
        followed: bool,
    ) -> Option<u16> {
        let fields = &mut self.shape_mut(collection).fields;
        if let Some(slot) = fields.iter().position(|field| &*field.name == name) {
            if followed && !std::mem::replace(&mut fields[slot].followed, true) {
                self.intern_needs(collection, property, followed)?;
            }
            return u16::try_from(slot).ok();
        }
        // The highest number stands for "no slot".
        let slot = u16::try_from(fields.len()).ok().filter(|slot| *slot < u16::MAX)?;
        let parts = match property.ty.kind {
            Kind::Complex(table) => table.iter().map(|(name, _)| Arc::from(*name)).collect(),
            _ => Arc::from([]),
        };
        fields.push(Field { name: Arc::from(name), ty: property.ty, source: property.source, followed, parts });
        self.require_collection(collection);
        if let (Source::Navigation(via), Kind::Record(targets)) = (property.source, property.ty.kind) {
            self.navigations.insert(via);
            targets.iter().for_each(|target| self.require_collection(*target));
        }
        property.reads.iter().for_each(|read| self.require_collection(*read));
        self.intern_needs(collection, property, followed)?;
        Some(slot)
    }

    /// What a property of `owner` is worked out from. The record's own properties are looked at where it is; those of
    /// others on whole records: assignments come from users that are walked, and licenses are always whole.
    fn intern_needs(&mut self, owner: Collection, property: &Property, followed: bool) -> Option<()> {
        for (collection, needed) in property.needs {
            let found = self.property(*collection, needed)?;
            self.intern(*collection, needed, &found, followed && *collection == owner)?;
        }
        Some(())
    }
}

impl Shape {
    const fn empty(collection: Collection) -> Shape {
        Shape { collection, used: false, fields: Vec::new() }
    }

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
    fn collections_that_others_lead_to_are_needed_whole() {
        use Collection::*;
        let whole = |filter: bool, over: Collection, text: &str| {
            let mut catalog = Catalog::new();
            let compile = if filter { crate::expr::compile_filter } else { compile };
            compile(text, Some(over), &mut catalog).unwrap_or_else(|error| panic!("{text}: {error}"));
            let found = [Users, Groups, Devices].into_iter().filter(|of| catalog.needs_whole(*of));
            found.map(|of| of.name().to_owned()).collect::<Vec<_>>().join(" ")
        };
        for (over, text, expected) in [
            (Users, "displayName", ""),
            (Users, "manager/displayName", ""),
            (Users, "$it/manager", ""),
            (Users, "manager/manager/id", "users"),
            (Users, "directReports/any(r: r/manager/id eq 'x')", "users"),
            (Users, "directReports/$count", ""),
            (Users, "memberOf/any(g: g/displayName eq 'VPN')", "groups"),
            // Without the groups there are no lists.
            (Users, "memberOf/$count", "groups"),
            (Users, "licenses/skuId", ""),
            (Users, "licenseAssignmentStates/skuId", ""),
            (Users, "licenses/assignedBy/id", "groups"),
            (Groups, "owners/id", "users"),
            (Groups, "first(owners)", "users"),
            (Groups, "owners/any()", ""),
            (Groups, "owners/$filter(id eq 'x')/$count", "users"),
            (Groups, "owners/any(o: inScope(o))", "users"),
            (Devices, "first(sort(registeredOwners/id))", "users"),
            (Memberships, "member/displayName", "groups"),
            (Memberships, "concat(group/displayName, member/manager/displayName)", "users groups"),
            (GroupOwners, "owner/userPrincipalName", ""),
            (LicenseAssignments, "user/displayName", "users"),
            (LicenseAssignments, "group/displayName", "users groups"),
        ] {
            assert_eq!(whole(false, over, text), expected, "{over}: {text}");
        }
        // A filter is asked about pairs whose ends are out of scope as well.
        assert_eq!(whole(true, GroupOwners, "owner/userType eq 'Guest'"), "users");
        assert_eq!(whole(true, LicenseAssignments, "user/userType eq 'Guest'"), "users");
        assert_eq!(whole(true, Users, "manager/userType eq 'Guest'"), "");
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
        check(Users, "transitiveMemberOf/any()", "users() groups() memberships() nestings() {TransitiveMemberOf}");
        check(Users, "directReports/mail", "users(mail) {DirectReports}");
        check(Groups, "owners/mail", "users(mail) groups() group_owners() {Owners}");
        check(Users, "licenses/assignedBy/id", "users(licenseAssignmentStates) groups(id) licenses(skuId) {Licenses}");
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
