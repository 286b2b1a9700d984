//! What requests cost in Graph's resource units, and how many a tenant has.
//!
//! Hides the price list. Prices, modifiers and limits: <https://learn.microsoft.com/graph/throttling-limits>.
//! Deliberately an expectation only: the answer's `x-ms-resource-unit` corrects it.

use std::time::Duration;

/// The addresses whose price is not 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Price {
    Users,
    Members,
    SubscribedSkus,
    /// With `$select`, which this program always sends: a price of its own.
    GetByIds,
    /// Groups, devices, deleted items, single objects.
    Other,
}

/// What a request with `$select` and a large `$top` is expected to cost; `expand` adds one.
pub fn units(price: Price, expand: bool) -> u32 {
    let base: u32 = match price {
        Price::Users => 2,
        Price::Members | Price::SubscribedSkus => 3,
        Price::GetByIds => return 2,
        Price::Other => 1,
    };
    // $select takes one off, but nothing is cheaper than one.
    (base - 1 + u32::from(expand)).max(1)
}

/// What the quota counts over.
pub const QUOTA_WINDOW: Duration = Duration::from_secs(10);

/// Resource units that one application may spend in a tenant of so many users, per [`QUOTA_WINDOW`].
pub fn quota_per_10_s(users: u64) -> u32 {
    match users {
        0..50 => 3_500,
        50..=500 => 5_000,
        _ => 8_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_those_of_the_documented_examples() {
        assert_eq!(units(Price::Users, false), 1);
        assert_eq!(units(Price::Users, true), 2);
        assert_eq!(units(Price::Other, false), 1);
        assert_eq!(units(Price::Members, false), 2);
        assert_eq!(units(Price::SubscribedSkus, false), 2);
    }
}
