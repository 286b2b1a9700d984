//! Lists of what is no directory object: SKUs, the organization, license details, Bookings, Intune.
//!
//! Hides: which of them have pages, and what only a single object shows.
//! <https://learn.microsoft.com/graph/api/bookingbusiness-list?view=graph-rest-1.0>
//! <https://learn.microsoft.com/graph/api/intune-devices-manageddevice-list?view=graph-rest-1.0>
//! Deliberately does not: anything else of those workloads.

use serde_json::json;

use crate::columns::Columns;
use crate::filter::Filter;
use crate::graph::{Request, no_segment};
use crate::object::Object;
use crate::query::Position;
use crate::reply::{self, Failure, Reply};
use crate::rights::Right;
use crate::schema::{Kind, Sheet};

/// Bookings lists at most so many, and has no pages.
const BOOKINGS: usize = 500;
/// Intune's page; seen in the field.
const MANAGED_PAGE: u32 = 1000;

impl Request<'_> {
    pub fn skus(&self) -> Result<Reply, Failure> {
        self.may(Right::Skus)?;
        self.query.only(&["select"])?;
        self.sheet(Sheet::Skus, "subscribedSkus", self.tenant.skus())
    }

    pub fn organization(&self) -> Result<Reply, Failure> {
        self.may(Right::Organization)?;
        self.query.only(&["select"])?;
        self.sheet(Sheet::Organization, "organization", std::slice::from_ref(self.tenant.organization()))
    }

    /// <https://learn.microsoft.com/graph/api/user-list-licensedetails?view=graph-rest-1.0>
    pub fn license_details(&self, id: &str) -> Result<Reply, Failure> {
        self.may(Right::LicenseDetails)?;
        self.query.only(&["select"])?;
        let user = self.resolve(Kind::User, id)?;
        let held = user.get("assignedLicenses");
        let holds =
            |sku: &&Object| held.as_array().into_iter().flatten().any(|license| license["skuId"] == sku.get("skuId"));
        let detail = |sku: &Object| {
            let detail = json!({
                "skuId": sku.get("skuId"), "skuPartNumber": sku.get("skuPartNumber"), "servicePlans": sku.get("servicePlans"),
            });
            Object::new(sku.id().clone(), detail.as_object().expect("an object"))
        };
        let details: Vec<Object> = self.tenant.skus().iter().filter(holds).map(detail).collect();
        self.sheet(Sheet::LicenseDetails, &format!("users('{}')/licenseDetails", user.id()), &details)
    }

    pub fn bookings(&self, rest: &[&str]) -> Result<Reply, Failure> {
        let all = self.tenant.bookings();
        match rest {
            [] => {
                self.may(Right::Bookings)?;
                self.query.only(&["select", "expand"])?;
                if self.query.expand.is_some() {
                    return Err(Failure::unsupported("The simulator does not expand Bookings businesses."));
                }
                self.sheet(Sheet::Bookings, "solutions/bookingBusinesses", &all[..all.len().min(BOOKINGS)])
            }
            ["$count"] => self.may(Right::Bookings).and_then(|()| self.counted(all.len().min(BOOKINGS))),
            [id] => {
                self.may(Right::Booking)?;
                self.single(Sheet::Bookings, "solutions/bookingBusinesses", all, id)
            }
            [_, segment, ..] => Err(no_segment(segment)),
        }
    }

    pub fn managed_devices(&self, rest: &[&str]) -> Result<Reply, Failure> {
        self.may(Right::ManagedDevices)?;
        let set = "deviceManagement/managedDevices";
        match rest {
            [] => self.managed_list(set),
            ["$count"] => self.counted(self.tenant.managed_devices().len()),
            [id] => self.single(Sheet::ManagedDevices, set, self.tenant.managed_devices(), id),
            [_, segment, ..] => Err(no_segment(segment)),
        }
    }

    fn managed_list(&self, set: &str) -> Result<Reply, Failure> {
        self.query.only(&["select", "top", "filter"])?;
        let size = match self.query.top {
            None => MANAGED_PAGE,
            Some(0) => return Err(Failure::bad_request("Invalid page size specified: '0'.")),
            Some(top) => top.min(MANAGED_PAGE),
        };
        let columns = Columns::listed(Sheet::ManagedDevices, self.query.select.as_deref())?;
        let filter = self.query.filter.as_deref();
        let filter = filter.map(|text| Filter::parse(text, Sheet::ManagedDevices, false)).transpose()?;
        let wanted = |device: &&Object| filter.as_ref().is_none_or(|filter| filter.matches(device));
        let rows: Vec<&Object> = self.tenant.managed_devices().iter().filter(wanted).collect();
        let from = self.query.position.as_ref().map_or(0, |position| position.offset);
        let (part, next) = self.slice(&rows, from, size as usize);
        let mut page = self.begin(set);
        page.start();
        for object in part {
            page.item(|out| {
                columns.open(out, None, object);
                out.push('}');
            });
        }
        Ok(self.end(page, next.map(|offset| Position { offset, ..Position::default() })))
    }

    /// A collection without pages.
    fn sheet(&self, sheet: Sheet, set: &str, objects: &[Object]) -> Result<Reply, Failure> {
        let columns = Columns::listed(sheet, self.query.select.as_deref())?;
        let mut page = self.begin(set);
        page.start();
        for object in objects.iter().take(self.size(objects.len())) {
            page.item(|out| {
                columns.open(out, None, object);
                out.push('}');
            });
        }
        Ok(self.end(page, None))
    }

    fn single(&self, sheet: Sheet, set: &str, objects: &[Object], id: &str) -> Result<Reply, Failure> {
        self.query.only(&["select"])?;
        let columns = Columns::whole(sheet, self.query.select.as_deref())?;
        let object = objects.iter().find(|object| &**object.id() == id).ok_or_else(|| Failure::not_found(id))?;
        let mut out = String::new();
        columns.open(&mut out, None, object);
        Ok(reply::json(200, format!("{},{}}}", self.context(set, "/$entity"), &out[1..])))
    }
}
