//! Which way the members of all groups are read, from the sizes seen, and what that is expected to come to.
//!
//! Hides the formulas: requests, resource units and seconds of each way. Pure: it sends nothing and reads no clock.
//! Prices: <https://learn.microsoft.com/graph/throttling-limits>. A way by `$batch` of 20 is deliberately missing: a
//! batch saves round trips, not units, and round trips cost nothing while enough requests are in flight.
//!
//! The first round of a delta query costs the fewest units, but it is one chain of pages, each known only from the one
//! before: nothing hides its latency, and its page sizes are documented nowhere. `auto` therefore never chooses it; a
//! job may ask for it where units are scarcer than time.

use super::units::{Price, units};
use crate::snapshot::{Figures, Strategy};

/// What a job asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Memberships {
    /// Whatever the sizes speak for.
    #[default]
    Auto,
    /// Groups with `$expand=members`, then the list of each group that shows 20.
    Expand,
    /// One list for each group.
    PerGroup,
    /// The groups with their members by the first round of a delta query.
    Delta,
}

/// What is known when the groups have been listed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Seen {
    pub groups: u64,
    /// Of these, shown by an expansion already.
    pub shown: u64,
    /// Of those shown, how many must be listed after all.
    pub full: u64,
    /// Pages of expansions so far.
    pub pages: u64,
    /// Seconds from one page of a walk to the next.
    pub page_s: f64,
    /// Units that may be spent in a second.
    pub units_per_s: f64,
    /// Whether groups can be divided by name.
    pub divisible: bool,
}

/// What to do with the groups that were not shown yet.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Choice {
    pub strategy: Strategy,
    pub reason: String,
    /// Of the whole, what is done already included.
    pub estimate: Figures,
    /// How many groups there are.
    pub groups: u64,
    /// Into how many walks the rest of the expansion is divided; one means that the walk under way goes on.
    pub walks: u64,
}

/// Walks side by side; more would only add half-empty last pages.
const WALKS_MAX: u64 = 32;
/// A walk that ends within so many seconds is not divided.
const SHORT_WALK_S: f64 = 2.0;
/// The expansion should end in this share of the time that the quota asks for anyway: the lists follow from it.
const SHARE_OF_TIME: f64 = 0.25;
/// Groups that an expansion cannot show whole, where nothing has been seen yet.
const FULL_SHARE: f64 = 0.25;

/// One list per group is chosen over an expansion only if it saves more than this many seconds: it costs more units,
/// which other apps of the tenant do not share but its servers do.
const WORTH_S: f64 = 1.0;

impl Seen {
    /// Decides. `wanted` overrides what the sizes speak for.
    pub fn choose(&self, wanted: Memberships) -> Choice {
        let (expansion, walks) = self.expansion();
        let lists = self.lists();
        let saves = expansion.seconds - lists.seconds;
        let (by_lists, reason) = match wanted {
            Memberships::Expand => (false, "the job asks for it".to_owned()),
            Memberships::PerGroup => (true, "the job asks for it".to_owned()),
            // A delta query that did not do is replaced by whatever does.
            Memberships::Auto | Memberships::Delta if saves > WORTH_S || lists.units < expansion.units => {
                (true, format!("an expansion would take {expansion}"))
            }
            Memberships::Auto | Memberships::Delta => (false, format!("one list for each group would take {lists}")),
        };
        if by_lists {
            Choice { strategy: Strategy::PerGroup, reason, estimate: lists, groups: self.groups, walks: 1 }
        } else {
            Choice { strategy: Strategy::Expand, reason, estimate: expansion, groups: self.groups, walks }
        }
    }

    /// The first round of a delta query, as its first page makes expect: one chain.
    pub fn by_delta(&self) -> Choice {
        let page = (self.shown / self.pages.max(1)).max(1);
        let pages = self.groups.div_ceil(page).max(1);
        let units = pages * u64::from(units(Price::Other, false));
        let seconds = (pages as f64 * self.page_s).max(units as f64 / self.units_per_s);
        let (strategy, reason) = (Strategy::Delta, "the job asks for it".to_owned());
        Choice { strategy, reason, estimate: Figures::new(pages, units, seconds), groups: self.groups, walks: 1 }
    }

    fn left(&self) -> u64 {
        self.groups.saturating_sub(self.shown)
    }

    /// Pages of 20 members each, then lists; and into how many walks to divide them.
    fn expansion(&self) -> (Figures, u64) {
        let left = self.left();
        let page = (self.shown / self.pages.max(1)).max(1);
        let pages = if self.pages == 0 { left.div_ceil(999) } else { left.div_ceil(page) };
        let share = if self.shown == 0 { FULL_SHARE } else { self.full as f64 / self.shown as f64 };
        let full = self.full + (left as f64 * share).round() as u64;
        let (page_units, list_units) = (u64::from(units(Price::Other, true)), u64::from(units(Price::Members, false)));
        let units = (self.pages + pages) * page_units + full * list_units;
        let floor_s = units as f64 / self.units_per_s;
        let walk_s = pages as f64 * self.page_s;
        let aim_s = (floor_s * SHARE_OF_TIME).max(SHORT_WALK_S);
        let walks = match self.divisible && walk_s > aim_s {
            true => ((walk_s / aim_s).ceil() as u64).min(WALKS_MAX).min(pages / 2).max(1),
            false => 1,
        };
        let seconds = floor_s.max(walk_s / walks as f64 + self.page_s);
        (Figures::new(self.pages + pages + full, units, seconds), walks)
    }

    /// One list for each group that no expansion has shown whole yet.
    fn lists(&self) -> Figures {
        let lists = self.left() + self.full;
        let units = self.pages + lists * u64::from(units(Price::Members, false));
        Figures::new(self.pages + lists, units, (units as f64 / self.units_per_s).max(self.page_s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: Seen =
        Seen { groups: 50_000, shown: 5_000, full: 650, pages: 50, page_s: 0.12, units_per_s: 640.0, divisible: true };

    #[test]
    fn the_estimate_is_the_formula() {
        let choice = LARGE.choose(Memberships::Auto);
        assert_eq!(choice.strategy, Strategy::Expand);
        // 500 pages of 100 groups, 6,500 lists.
        assert_eq!((choice.estimate.requests, choice.estimate.units), (7_000, 13_500));
        assert_eq!(choice.estimate.seconds, 21.1);
        assert!(choice.reason.contains("45700 requests"), "{}", choice.reason);
        let lists = LARGE.choose(Memberships::PerGroup);
        assert_eq!((lists.estimate.requests, lists.estimate.units), (45_700, 91_350));
    }

    #[test]
    fn a_delta_query_is_one_chain_of_pages() {
        let seen = Seen { shown: 200, full: 0, pages: 1, page_s: 0.5, ..LARGE };
        let choice = seen.by_delta();
        assert_eq!((choice.strategy, choice.estimate), (Strategy::Delta, Figures::new(250, 250, 125.0)));
        let nothing = Seen { groups: 0, shown: 0, pages: 0, page_s: 0.0, ..seen }.by_delta();
        assert_eq!(nothing.estimate.requests, 1);
        assert_ne!(seen.choose(Memberships::Auto).strategy, Strategy::Delta);
    }

    #[test]
    fn a_long_walk_is_divided_and_a_short_one_is_not() {
        let walks = |seen: Seen| seen.choose(Memberships::Expand).walks;
        assert_eq!(walks(LARGE), 11);
        assert_eq!(walks(Seen { divisible: false, ..LARGE }), 1);
        assert_eq!(walks(Seen { groups: 6_000, ..LARGE }), 1);
        assert_eq!(walks(Seen { page_s: 10.0, ..LARGE }), WALKS_MAX);
    }

    #[test]
    fn one_list_for_each_group_where_an_expansion_does_not_pay() {
        let strategy = |seen: Seen| seen.choose(Memberships::Auto).strategy;
        assert_eq!(strategy(Seen { full: 5_000, ..LARGE }), Strategy::PerGroup, "every group shows 20");
        assert_eq!(strategy(Seen { full: 4_900, ..LARGE }), Strategy::Expand);
        let slow =
            Seen { groups: 900, shown: 10, full: 1, pages: 10, page_s: 1.0, units_per_s: 640.0, divisible: false };
        assert_eq!(strategy(slow), Strategy::PerGroup, "890 pages one after another");
    }
}
