//! A random night: what happens to a directory between two runs of a nightly job.
//!
//! Hides: what is chosen. The same tenant, seed and share give the same night.
//! Deliberately does not: restore, purge, or touch SKUs.

use std::sync::Arc;

use fastrand::Rng;
use serde_json::json;

use crate::reply::guid;
use crate::schema::Kind;
use crate::tenant::{Deletion, Member, Tenant};

impl Tenant {
    /// Changes about `share` (0.005 is half a percent) of the users, devices and memberships, at least one thing each,
    /// and lets a day pass. Returns how many changes were made.
    pub fn mutate(&mut self, seed: u64, share: f64) -> usize {
        let mut rng = Rng::with_seed(seed);
        self.next_day();
        let ids = |kind| self.list(kind).map(|object| object.id().clone()).collect::<Vec<_>>();
        let (users, groups, devices) = (ids(Kind::User), ids(Kind::Group), ids(Kind::Device));
        let part = |count: usize| if count == 0 { 0 } else { ((count as f64 * share) as usize).max(1) };
        let (touched, moved, seen) = (part(users.len()), part(self.membership_count()), part(devices.len()));
        for number in 0..touched {
            let user = &users[rng.usize(..users.len())];
            self.touch_user(&mut rng, user, &users, number);
        }
        for _ in 0..moved {
            if let (Some(group), Some(user)) = (rng.choice(&groups), rng.choice(&users)) {
                self.move_member(&mut rng, group, user);
            }
        }
        for number in 0..seen {
            let device = &devices[rng.usize(..devices.len())];
            self.set(Kind::Device, device, "operatingSystemVersion", format!("10.0.22631.{number}").into());
        }
        touched + moved + seen
    }

    fn touch_user(&mut self, rng: &mut Rng, user: &Arc<str>, users: &[Arc<str>], number: usize) {
        match rng.u32(..12) {
            0 => {
                let id = guid(rng.u64(..), rng.u64(..));
                let name = format!("new{}@contoso.com", &id[..8]);
                self.put(Kind::User, json!({
                    "id": id, "displayName": format!("New Hire {number}"), "userPrincipalName": name, "mail": name, "accountEnabled": true,
                    "userType": "Member", "manager": {"id": **user},
                }));
            }
            1 => _ = self.remove(Kind::User, user, Deletion::Soft),
            2 => {
                let enabled = rng.bool();
                self.set(Kind::User, user, "accountEnabled", enabled.into());
            }
            3 => {
                let manager = rng.choice(users).map(|manager| Member::new(Kind::User, manager.clone()));
                if self.get(Kind::User, user).is_some() {
                    self.set_manager(user, manager);
                }
            }
            4 => _ = self.set(Kind::User, user, "mail", serde_json::Value::Null),
            5 => _ = self.set(Kind::User, user, "assignedLicenses", json!([])),
            _ => _ = self.set(Kind::User, user, "department", format!("Department {}", rng.u32(..30)).into()),
        }
    }

    /// Somebody joins, or the last member leaves.
    fn move_member(&mut self, rng: &mut Rng, group: &Arc<str>, user: &Arc<str>) {
        let leaver = self.members(group).last().map(|member| member.id.clone());
        match leaver {
            Some(leaver) if rng.bool() => _ = self.remove_member(group, &leaver),
            _ if self.get(Kind::User, user).is_some() => {
                _ = self.add_member(group, Member::new(Kind::User, user.clone()))
            }
            _ => {}
        }
    }
}
