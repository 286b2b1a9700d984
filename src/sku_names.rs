//! Product names of license SKUs and of the service plans in them: Graph names `SPE_E5`, people say "Microsoft 365 E5".
//!
//! Hides the tables (`mappings/sku-names.csv` and `mappings/service-plan-names.csv`, compiled in) and when they are
//! parsed. Deliberately does not invent names: what Microsoft has not published has none, and callers show its part
//! number.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::record::Guid;

/// How a license SKU is called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SkuName {
    /// What Microsoft's price list says: "Microsoft 365 E5".
    pub product_name: Box<str>,
    /// What Graph says: `SPE_E5`.
    pub part_number: Box<str>,
}

/// Microsoft's "Product names and service plan identifiers for licensing", one row a SKU.
const TABLE: &str = include_str!("../mappings/sku-names.csv");

static NAMES: LazyLock<HashMap<Guid, SkuName>> = LazyLock::new(|| {
    let rows = csv::Reader::from_reader(TABLE.as_bytes()).into_records();
    // The table is part of the program; a test refuses one with a broken row.
    rows.filter_map(|row| named(&row.ok()?)).collect()
});

/// The service plans of the same publication.
const PLANS: &str = include_str!("../mappings/service-plan-names.csv");

static PLAN_NAMES: LazyLock<HashMap<Guid, Box<str>>> = LazyLock::new(|| {
    let rows = csv::Reader::from_reader(PLANS.as_bytes()).into_records();
    rows.filter_map(|row| plan_named(&row.ok()?)).collect()
});

/// The published name of a service plan: "Exchange Online (Plan 2)" for `EXCHANGE_S_ENTERPRISE`.
pub fn service_plan(plan: Guid) -> Option<&'static str> {
    PLAN_NAMES.get(&plan).map(|name| &**name)
}

/// A row of the plans: id, name in Graph, published name.
fn plan_named(row: &csv::StringRecord) -> Option<(Guid, Box<str>)> {
    Some((row.get(0)?.parse().ok()?, row.get(2)?.trim().into()))
}

/// The published names of a SKU.
pub fn lookup(sku: Guid) -> Option<&'static SkuName> {
    NAMES.get(&sku)
}

/// A row of the table: part number, id, product name.
fn named(row: &csv::StringRecord) -> Option<(Guid, SkuName)> {
    let name = SkuName { product_name: row.get(2)?.trim().into(), part_number: row.get(0)?.trim().into() };
    Some((row.get(1)?.parse().ok()?, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_products_are_named() {
        let names = |id: &str| lookup(id.parse().unwrap()).map(|name| (&*name.product_name, &*name.part_number));
        assert_eq!(names("06ebc4ee-1bb5-47dd-8120-11324bc54e06"), Some(("Microsoft 365 E5", "SPE_E5")));
        assert_eq!(names("00000000-0000-0000-0000-000000000000"), None);
    }

    #[test]
    fn well_known_service_plans_are_named() {
        assert_eq!(
            service_plan("efb87545-963c-4e0d-99df-69c6916d9eb0".parse().unwrap()),
            Some("Exchange Online (Plan 2)")
        );
        assert_eq!(service_plan(Guid::default()), None);
        let rows = csv::Reader::from_reader(PLANS.as_bytes()).into_records().map(Result::unwrap).count();
        assert!(rows > 750 && PLAN_NAMES.len() == rows, "{} of {rows}", PLAN_NAMES.len());
        assert!(PLAN_NAMES.values().all(|name| !name.is_empty()));
    }

    #[test]
    fn every_row_of_the_table_is_read() {
        let rows = csv::Reader::from_reader(TABLE.as_bytes()).into_records().map(Result::unwrap).count();
        assert!(rows > 600 && NAMES.len() == rows, "{} of {rows}", NAMES.len());
        assert!(NAMES.values().all(|name| !name.product_name.is_empty() && !name.part_number.is_empty()));
    }
}
