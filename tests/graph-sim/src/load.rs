//! Reads a tenant from a folder of JSON Lines files, one Graph object a line.
//!
//! Hides: the file names and line shapes. Missing files are empty collections; blank lines are skipped.
//! Deliberately does not: check references, or write anything.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Error, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::object::Object;
use crate::schema::Kind;
use crate::tenant::{Member, Tenant, member};

type Put = fn(&mut Tenant, Value);

/// Files of what is no directory object.
const SHEETS: [(&str, Put); 3] = [
    ("managedDevices.jsonl", Tenant::put_managed_device),
    ("bookingBusinesses.jsonl", Tenant::put_booking),
    ("organization.jsonl", Tenant::set_organization),
];

impl Tenant {
    /// Loads `users.jsonl`, `groups.jsonl`, `devices.jsonl`, `contacts.jsonl`, `servicePrincipals.jsonl`,
    /// `administrativeUnits.jsonl`, `directoryRoles.jsonl`, `applications.jsonl`, `licenses.jsonl` (subscribedSkus),
    /// `organization.jsonl` (one line), `managedDevices.jsonl` (Intune), `bookingBusinesses.jsonl`,
    /// `memberships.jsonl` (`{"id":"<group, unit or role>","members":[{"id","type"}]}`) and `deleted.jsonl`
    /// (`{"id","type","deletedDateTime"}`). A user may carry `"manager":{"id":…}`, a group `owners`, a device
    /// `registeredOwners` and `registeredUsers`.
    ///
    /// # Errors
    /// When a file cannot be read or a line is not what it should be; the message names file and line.
    pub fn from_folder(folder: &Path) -> Result<Self, Error> {
        let mut tenant = Self::default();
        tenant.set_recording(false);
        for kind in Kind::ALL {
            lines(&folder.join(format!("{}.jsonl", kind.set())), |value| {
                value.get("id").and_then(Value::as_str).ok_or("no textual id")?;
                tenant.put(kind, value);
                Ok(())
            })?;
        }
        lines(&folder.join("licenses.jsonl"), |value| {
            value.get("skuId").and_then(Value::as_str).ok_or("no skuId")?;
            tenant.put_sku(value);
            Ok(())
        })?;
        for (file, put) in SHEETS {
            lines(&folder.join(file), |value| {
                value.get("id").and_then(Value::as_str).ok_or("no textual id")?;
                put(&mut tenant, value);
                Ok(())
            })?;
        }
        tenant.load_memberships(&folder.join("memberships.jsonl"))?;
        lines(&folder.join("deleted.jsonl"), |value| tenant.load_deleted(&value))?;
        tenant.set_recording(true);
        Ok(tenant)
    }

    fn load_memberships(&mut self, path: &Path) -> Result<(), Error> {
        let ids: HashMap<Arc<str>, ()> = Kind::ALL
            .into_iter()
            .flat_map(|kind| self.list(kind).map(|object| (object.id().clone(), ())).collect::<Vec<_>>())
            .collect();
        let shared = |id: Arc<str>| ids.get_key_value(&id).map_or(id, |(known, ())| known.clone());
        lines(path, |value| {
            let group = value.get("id").and_then(Value::as_str).ok_or("no textual id")?;
            let entries = value.get("members").and_then(Value::as_array).ok_or("no list of members")?;
            let members: Option<Vec<_>> =
                entries.iter().map(|entry| member(entry).map(|m| Member::new(m.kind, shared(m.id)))).collect();
            self.set_members(&shared(group.into()), members.ok_or("a member without id or of unknown type")?);
            Ok(())
        })
    }

    fn load_deleted(&mut self, value: &Value) -> Result<(), &'static str> {
        let item = member(value).ok_or("no id, or unknown type")?;
        let at = value.get("deletedDateTime").and_then(Value::as_str).and_then(|at| at.parse().ok());
        let mut properties: Map<String, Value> = value.as_object().cloned().unwrap_or_default();
        properties.remove("type");
        self.bury(item.kind, Object::new(item.id, &properties), at.ok_or("no deletedDateTime")?, Vec::new());
        Ok(())
    }
}

fn lines(path: &Path, mut take: impl FnMut(Value) -> Result<(), &'static str>) -> Result<(), Error> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::new(error.kind(), format!("{}: {error}", path.display()))),
    };
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let wrong =
            |what: &str| Error::new(ErrorKind::InvalidData, format!("{}:{}: {what}", path.display(), number + 1));
        let value = serde_json::from_str(&line).map_err(|error| wrong(&error.to_string()))?;
        take(value).map_err(wrong)?;
    }
    Ok(())
}
