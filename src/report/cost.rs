//! What a plan does to the bill of a target that counts objects.
//!
//! Deliberately knows no target's prices: a job says what one object costs.

use std::fmt;

use serde::Serialize;

use crate::plan::Header;
use crate::plan::change::Action;

/// What the target takes for one object, in whatever span of time the job's author thinks of.
#[derive(Clone, PartialEq, Debug)]
pub struct Price {
    pub per_object: f64,
    /// Stands behind amounts; may be empty.
    pub currency: String,
}

/// Objects of all types that the job writes, and what they cost.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Cost {
    pub objects_now: u64,
    pub objects_after: u64,
    pub per_object: f64,
    pub currency: String,
}

impl Cost {
    /// Of a plan. A record that is retired stays an object.
    pub fn of(header: &Header, price: &Price) -> Cost {
        let count = |action| header.types.iter().filter_map(|ty| ty.counts.changes.get(&action)).sum::<u64>();
        let objects_now = header.types.iter().map(|ty| ty.there).sum();
        Cost {
            objects_now,
            objects_after: (objects_now + count(Action::Create)).saturating_sub(count(Action::Delete)),
            per_object: price.per_object,
            currency: price.currency.clone(),
        }
    }

    fn amount(&self, objects: f64) -> String {
        format!("{:.2} {}", objects * self.per_object, self.currency).trim_end().to_owned()
    }
}

/// One line: now, after, difference.
impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (now, after) = (self.objects_now as f64, self.objects_after as f64);
        let sign = if after < now { "-" } else { "+" };
        let more = (after - now).abs();
        write!(
            f,
            "Objects: {} now, {} after ({sign}{more}); {} now, {} after ({sign}{})",
            self.objects_now,
            self.objects_after,
            self.amount(now),
            self.amount(after),
            self.amount(more)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::examples;

    #[test]
    fn objects_and_their_price_before_and_after() {
        let plan = examples::everything();
        let price = |per_object, currency: &str| Price { per_object, currency: currency.into() };
        let cost = Cost::of(&plan.header, &price(0.25, "EUR"));
        // Two created, sixteen deleted; what is retired or forgotten changes nothing here.
        assert_eq!((cost.objects_now, cost.objects_after), (9624, 9610));
        assert_eq!(
            cost.to_string(),
            "Objects: 9624 now, 9610 after (-14); 2406.00 EUR now, 2402.50 EUR after (-3.50 EUR)"
        );
        let free = Cost::of(&examples::nothing().header, &price(0.0, ""));
        assert_eq!(free.to_string(), "Objects: 4812 now, 4812 after (+0); 0.00 now, 0.00 after (+0.00)");
    }
}
