//! The data that crosses stage borders: ids, keys, values, records and how much of something is known.
//!
//! Hides how ids are stored (16 bytes, not text) and how missing knowledge is carried along with the data.
//! Deliberately does no I/O, knows nothing of Microsoft Graph's addresses and nothing of any target.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A 128-bit id as Entra prints it (`xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`). Orders like its lower-case text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Guid(pub [u8; 16]);

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; 36];
        let mut at = 0;
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                at += 1;
            }
            text[at] = HEX[usize::from(byte >> 4)];
            text[at + 1] = HEX[usize::from(byte & 15)];
            at += 2;
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a Guid in its 36-character form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAGuid;

impl fmt::Display for NotAGuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an id of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")
    }
}

impl std::error::Error for NotAGuid {}

impl FromStr for Guid {
    type Err = NotAGuid;

    fn from_str(text: &str) -> Result<Guid, NotAGuid> {
        let text = text.as_bytes();
        if text.len() != 36 {
            return Err(NotAGuid);
        }
        let mut bytes = [0; 16];
        let mut at = 0;
        for (index, byte) in bytes.iter_mut().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                if text[at] != b'-' {
                    return Err(NotAGuid);
                }
                at += 1;
            }
            *byte = hex(text[at])? << 4 | hex(text[at + 1])?;
            at += 2;
        }
        Ok(Guid(bytes))
    }
}

fn hex(digit: u8) -> Result<u8, NotAGuid> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(NotAGuid),
    }
}

impl Serialize for Guid {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Guid {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Guid, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The stable identifier of a record: the Entra object id, never a name. Orders like its text form, so that a
/// key-ordered walk is the same in memory, in SQLite and in a sorted file.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// A user, group, device or SKU.
    Guid(Guid),
    /// A membership (group, member) or nesting (parent, child). Text form `group/member`.
    Pair(Guid, Guid),
    /// A license assignment: user, SKU and the group it comes through, `None` for direct.
    /// Text form `user/sku/group` or `user/sku/direct`.
    Assignment(Box<(Guid, Guid, Option<Guid>)>),
    /// Anything else: a derived value, or a key attribute's normalised text.
    Text(Box<str>),
}

impl Key {
    /// Reads the text form; anything that is none of the id forms becomes [`Key::Text`] unchanged.
    pub fn parse(text: &str) -> Key {
        let id = |range: std::ops::Range<usize>| text.get(range).and_then(|part| part.parse::<Guid>().ok());
        let slash = |at: usize| text.as_bytes().get(at) == Some(&b'/');
        let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        match text.len() {
            36 if lower => id(0..36).map(Key::Guid),
            73 if lower && slash(36) => id(0..36).zip(id(37..73)).map(|(a, b)| Key::Pair(a, b)),
            80 if lower && slash(36) && slash(73) && text.ends_with("direct") => {
                id(0..36).zip(id(37..73)).map(|(user, sku)| Key::Assignment(Box::new((user, sku, None))))
            }
            110 if lower && slash(36) && slash(73) => id(0..36)
                .zip(id(37..73))
                .zip(id(74..110))
                .map(|((user, sku), group)| Key::Assignment(Box::new((user, sku, Some(group))))),
            _ => None,
        }
        .unwrap_or_else(|| Key::Text(text.into()))
    }

    /// The object id, for keys that are one.
    pub fn guid(&self) -> Option<Guid> {
        match self {
            Key::Guid(id) => Some(*id),
            _ => None,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Guid(id) => write!(f, "{id}"),
            Key::Pair(a, b) => write!(f, "{a}/{b}"),
            Key::Assignment(parts) => match parts.as_ref() {
                (user, sku, Some(group)) => write!(f, "{user}/{sku}/{group}"),
                (user, sku, None) => write!(f, "{user}/{sku}/direct"),
            },
            Key::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Key) -> std::cmp::Ordering {
        match (self, other) {
            (Key::Guid(a), Key::Guid(b)) => a.cmp(b),
            (Key::Pair(a, b), Key::Pair(c, d)) => (a, b).cmp(&(c, d)),
            (Key::Text(a), Key::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
            // Kinds rarely meet in one walk; then the texts decide, and "direct" against an id must follow them too.
            (a, b) => a.to_string().as_bytes().cmp(b.to_string().as_bytes()),
        }
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Key) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Key, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        Ok(Key::parse(&text))
    }
}

/// What is read from Entra. Names in files and messages are [`Collection::name`].
///
/// What kind of records a built-in collection holds is one row of [`Collection::form`]; its properties are in
/// [`crate::schema`], where it is read from in [`crate::source::collections`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Collection {
    Users,
    /// When users last signed in, read beside the users because it has a slow quota of its own.
    SignInActivity,
    Groups,
    /// Direct members of groups that are not groups themselves: pairs (group, member).
    Memberships,
    /// Groups that are direct members of groups: pairs (parent, child).
    Nestings,
    /// Members of groups, direct or through any number of nested groups, that are no groups themselves: pairs (group,
    /// member). Worked out by [`crate::closure`], never read.
    EffectiveMemberships,
    /// Owners of groups: pairs (group, owner).
    GroupOwners,
    /// The tenant's subscribed SKUs.
    Licenses,
    /// Which user holds which SKU, directly or through which group.
    LicenseAssignments,
    Devices,
    /// Who registered a device: pairs (device, owner).
    DeviceOwners,
    /// Who uses a device: pairs (device, user).
    DeviceUsers,
    AdministrativeUnits,
    /// Pairs (administrative unit, member).
    AdministrativeUnitMembers,
    /// Roles that were activated in the tenant; Graph lists no others.
    DirectoryRoles,
    /// Pairs (directory role, member).
    DirectoryRoleMembers,
    /// The tenant itself: one object.
    Organization,
    /// Users that were deleted and can still be restored.
    DeletedUsers,
    /// Groups that were deleted and can still be restored.
    DeletedGroups,
    /// Any other list of Graph, by the name that a job or this program gives it (see [`crate::custom`]).
    Custom(CustomName),
}

/// The name of a custom collection: lower-case letters, digits and `_`, beginning with a letter. Kept for as long as
/// the program runs, so that a [`Collection`] is as cheap to pass around as a number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CustomName(&'static str);

/// What the records of a collection are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// Objects with an id of their own: one [`Key::Guid`] each.
    Objects,
    /// Pairs of an object and another: [`Key::Pair`].
    Pairs(Pairs),
    /// License assignments: [`Key::Assignment`].
    Assignments,
    /// Objects of a list that nothing is known of beforehand: [`Key::Guid`] or [`Key::Text`].
    Custom,
}

/// What the two ends of a pair are, and which lists they come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pairs {
    /// What the first end is.
    pub of: Collection,
    /// What the second end may be, the most likely first. Contacts and service principals may stand there too; they
    /// are in no collection.
    pub members: &'static [Collection],
    /// The collection whose lists were read.
    pub lists: Collection,
}

impl Collection {
    /// Every built-in collection, in the order they are read and shown.
    pub const ALL: [Collection; 19] = [
        Collection::Users,
        Collection::SignInActivity,
        Collection::Groups,
        Collection::Memberships,
        Collection::Nestings,
        Collection::EffectiveMemberships,
        Collection::GroupOwners,
        Collection::Licenses,
        Collection::LicenseAssignments,
        Collection::Devices,
        Collection::DeviceOwners,
        Collection::DeviceUsers,
        Collection::AdministrativeUnits,
        Collection::AdministrativeUnitMembers,
        Collection::DirectoryRoles,
        Collection::DirectoryRoleMembers,
        Collection::Organization,
        Collection::DeletedUsers,
        Collection::DeletedGroups,
    ];

    /// The name in job and mapping files, snapshots and messages.
    pub fn name(self) -> &'static str {
        match self {
            Collection::Users => "users",
            Collection::SignInActivity => "sign_in_activity",
            Collection::Groups => "groups",
            Collection::Memberships => "memberships",
            Collection::Nestings => "nestings",
            Collection::EffectiveMemberships => "effective_memberships",
            Collection::GroupOwners => "group_owners",
            Collection::Licenses => "licenses",
            Collection::LicenseAssignments => "license_assignments",
            Collection::Devices => "devices",
            Collection::DeviceOwners => "device_owners",
            Collection::DeviceUsers => "device_users",
            Collection::AdministrativeUnits => "administrative_units",
            Collection::AdministrativeUnitMembers => "administrative_unit_members",
            Collection::DirectoryRoles => "directory_roles",
            Collection::DirectoryRoleMembers => "directory_role_members",
            Collection::Organization => "organization",
            Collection::DeletedUsers => "deleted_users",
            Collection::DeletedGroups => "deleted_groups",
            Collection::Custom(name) => name.0,
        }
    }

    /// The built-in collection of that name.
    pub fn named(name: &str) -> Option<Collection> {
        Collection::ALL.into_iter().find(|collection| collection.name() == name)
    }

    /// The custom collection of that name; `None` if the name is a built-in one, that of another file of a snapshot, or
    /// no name at all.
    pub fn custom(name: &str) -> Option<Collection> {
        let fits = name.len() <= CUSTOM_NAME_MAX
            && name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        let taken = Collection::named(name).is_some() || OTHER_FILES.contains(&name);
        (fits && !taken).then(|| Collection::Custom(CustomName(intern(name)[0].name())))
    }

    /// A list of just this collection.
    pub fn alone(self) -> &'static [Collection] {
        static ALL: [Collection; Collection::ALL.len()] = Collection::ALL;
        match self {
            Collection::Custom(name) => intern(name.0),
            built_in => &ALL[built_in.index()..=built_in.index()],
        }
    }

    /// The place in [`Collection::ALL`]; of a custom collection its length.
    pub const fn index(self) -> usize {
        match self {
            Collection::Users => 0,
            Collection::SignInActivity => 1,
            Collection::Groups => 2,
            Collection::Memberships => 3,
            Collection::Nestings => 4,
            Collection::EffectiveMemberships => 5,
            Collection::GroupOwners => 6,
            Collection::Licenses => 7,
            Collection::LicenseAssignments => 8,
            Collection::Devices => 9,
            Collection::DeviceOwners => 10,
            Collection::DeviceUsers => 11,
            Collection::AdministrativeUnits => 12,
            Collection::AdministrativeUnitMembers => 13,
            Collection::DirectoryRoles => 14,
            Collection::DirectoryRoleMembers => 15,
            Collection::Organization => 16,
            Collection::DeletedUsers => 17,
            Collection::DeletedGroups => 18,
            Collection::Custom(_) => Collection::ALL.len(),
        }
    }

    /// What its records are.
    pub const fn form(self) -> Form {
        use Collection::*;
        const fn pairs(of: Collection, members: &'static [Collection], lists: Collection) -> Form {
            Form::Pairs(Pairs { of, members, lists })
        }
        match self {
            Users | SignInActivity | Groups | Devices | Licenses | AdministrativeUnits | DirectoryRoles
            | Organization | DeletedUsers | DeletedGroups => Form::Objects,
            Memberships => pairs(Groups, &[Users, Devices], Memberships),
            Nestings => pairs(Groups, &[Groups], Memberships),
            EffectiveMemberships => pairs(Groups, &[Users, Devices], Memberships),
            GroupOwners => pairs(Groups, &[Users], GroupOwners),
            DeviceOwners => pairs(Devices, &[Users], DeviceOwners),
            DeviceUsers => pairs(Devices, &[Users], DeviceUsers),
            AdministrativeUnitMembers => {
                pairs(AdministrativeUnits, &[Users, Groups, Devices], AdministrativeUnitMembers)
            }
            DirectoryRoleMembers => pairs(DirectoryRoles, &[Users, Groups], DirectoryRoleMembers),
            LicenseAssignments => Form::Assignments,
            Custom(_) => Form::Custom,
        }
    }

    /// What its pairs are, if its records are pairs.
    pub const fn pairs(self) -> Option<Pairs> {
        match self.form() {
            Form::Pairs(pairs) => Some(pairs),
            _ => None,
        }
    }

    /// Whether its records join two others: their removal is the end of a relation, not of a thing.
    pub const fn is_link(self) -> bool {
        matches!(self.form(), Form::Pairs(_) | Form::Assignments)
    }
}

/// The longest name of a custom collection: it becomes a file's name.
const CUSTOM_NAME_MAX: usize = 64;

/// Names in a snapshot's folder that are no collections.
const OTHER_FILES: [&str; 3] = ["manifest", "deleted", "absent"];

/// Keeps a custom collection's name for ever, once however often it is asked for.
fn intern(name: &str) -> &'static [Collection] {
    static KEPT: Mutex<BTreeMap<&'static str, &'static [Collection]>> = Mutex::new(BTreeMap::new());
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = kept.get(name) {
        return known;
    }
    let name: &'static str = Box::leak(name.into());
    let alone: &'static [Collection] = Box::leak(Box::new([Collection::Custom(CustomName(name))]));
    kept.insert(name, alone);
    alone
}

impl fmt::Display for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Collection {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Collection {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Collection, D::Error> {
        let name = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        let found = Collection::named(&name).or_else(|| Collection::custom(&name));
        found.ok_or_else(|| serde::de::Error::custom(format!("{name:?} cannot be the name of a collection")))
    }
}

/// Why something is not known, in words for people. Never a value, never false (rule 3).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Unknown(pub Arc<str>);

impl Unknown {
    pub fn new(reason: impl Into<Arc<str>>) -> Unknown {
        Unknown(reason.into())
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown ({})", self.0)
    }
}

/// How much of a collection, a group's member list or a target type was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "coverage", content = "reason")]
pub enum Coverage {
    /// Every page arrived.
    Complete,
    /// Something is missing, and why. No removal may follow from what is not in it.
    Partial(Unknown),
}

impl Coverage {
    pub fn partial(reason: impl Into<Arc<str>>) -> Coverage {
        Coverage::Partial(Unknown::new(reason))
    }

    pub fn is_complete(&self) -> bool {
        *self == Coverage::Complete
    }

    /// Why it is not complete.
    pub fn gap(&self) -> Option<&Unknown> {
        match self {
            Coverage::Complete => None,
            Coverage::Partial(reason) => Some(reason),
        }
    }
}

/// A moment as it was written. The offset changes nothing about when it is, only which day and hour it shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    pub at: Timestamp,
    /// Minutes east of UTC.
    pub offset: i16,
}

impl From<Timestamp> for Moment {
    fn from(at: Timestamp) -> Moment {
        Moment { at, offset: 0 }
    }
}

impl Moment {
    /// The calendar and the clock where it was written.
    pub fn local(self) -> jiff::civil::DateTime {
        let offset = jiff::tz::Offset::from_seconds(i32::from(self.offset) * 60).unwrap_or(jiff::tz::Offset::UTC);
        offset.to_datetime(self.at)
    }
}

/// RFC 3339, with `Z` for UTC.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.offset == 0 {
            return self.at.fmt(f);
        }
        let sign = if self.offset < 0 { '-' } else { '+' };
        let minutes = self.offset.unsigned_abs();
        write!(f, "{}{sign}{:02}:{:02}", self.local(), minutes / 60, minutes % 60)
    }
}

/// A duration in its canonical form of days, hours, minutes and seconds: `P1DT2H`, `-PT0.5S`, `PT0S`.
pub fn duration_text(span: jiff::SignedDuration) -> String {
    use std::fmt::Write;
    let seconds = span.as_secs().unsigned_abs();
    let nanos = span.subsec_nanos().unsigned_abs();
    let mut text = String::from(if span.is_negative() { "-P" } else { "P" });
    let mut part = |number: u64, unit: &str| {
        if number > 0 {
            let _ = write!(text, "{number}{unit}");
        }
    };
    part(seconds / 86_400, "D");
    let (hours, minutes, seconds) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    if hours > 0 || minutes > 0 || seconds > 0 || nanos > 0 {
        text.push('T');
        let mut part = |number: u64, unit: &str| {
            if number > 0 {
                let _ = write!(text, "{number}{unit}");
            }
        };
        part(hours, "H");
        part(minutes, "M");
        if nanos > 0 {
            let fraction = format!("{nanos:09}");
            let _ = write!(text, "{seconds}.{}S", fraction.trim_end_matches('0'));
        } else {
            part(seconds, "S");
        }
    }
    if text.ends_with('P') {
        text.push_str("T0S");
    }
    text
}

/// The words of OData for numbers that are none.
pub fn infinite(number: f64) -> &'static str {
    match number {
        number if number.is_nan() => "NaN",
        number if number < 0.0 => "-INF",
        _ => "INF",
    }
}

/// Base64url without padding (RFC 4648, section 5).
pub fn base64url(bytes: &[u8]) -> String {
    base64_with(bytes, b'-', b'_')
}

/// Base64 with padding (RFC 4648, section 4).
pub fn base64(bytes: &[u8]) -> String {
    let mut text = base64_with(bytes, b'+', b'/');
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

/// With these as the last two digits, and without padding.
fn base64_with(bytes: &[u8], sixty_two: u8, sixty_three: u8) -> String {
    const DIGITS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let digit = |at: u32| match at {
        62 => sixty_two,
        63 => sixty_three,
        at => DIGITS[at as usize],
    };
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..=chunk.len() {
            text.push(char::from(digit(group >> (18 - 6 * at) & 63)));
        }
    }
    text
}

/// A value of a property or an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// May not be seen, or was not read. Propagates (Kleene).
    Unknown(Unknown),
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Arc<str>),
    Guid(Guid),
    DateTime(Moment),
    Date(jiff::civil::Date),
    /// A time of day, in no zone.
    Time(jiff::civil::Time),
    /// A duration, as OData's `duration'P1D'` literals are; days count 24 hours.
    Duration(jiff::SignedDuration),
    Binary(Arc<[u8]>),
    List(List),
    /// A complex value such as one entry of `licenseAssignmentStates`.
    Object(Arc<[(Arc<str>, Value)]>),
    /// What a navigation leads to.
    Record(Arc<Record>),
}

impl Value {
    /// The value of any JSON; objects keep their order, numbers without a fraction are integers.
    pub fn from_json(json: &serde_json::Value) -> Value {
        use serde_json::Value as Json;
        match json {
            Json::Null => Value::Null,
            Json::Bool(flag) => Value::Bool(*flag),
            Json::Number(number) => match number.as_i64() {
                Some(whole) => Value::Int(whole),
                None => number.as_f64().map_or(Value::Null, Value::Double),
            },
            Json::String(text) => Value::text(text.as_str()),
            Json::Array(items) => Value::List(List::known(items.iter().map(Value::from_json).collect::<Vec<_>>())),
            Json::Object(fields) => Value::Object(
                fields.iter().map(|(name, value)| (Arc::from(&**name), Value::from_json(value))).collect(),
            ),
        }
    }

    /// The value as JSON. What is unknown is `{"unknown": "reason"}`; of a list only what is certain is shown.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match self {
            Value::Unknown(reason) => serde_json::json!({ "unknown": reason }),
            Value::Null => Json::Null,
            Value::Bool(flag) => Json::Bool(*flag),
            Value::Int(number) => Json::from(*number),
            Value::Double(number) if number.is_finite() => Json::from(*number),
            // JSON has no word for these; OData writes them as text.
            Value::Double(number) => Json::from(infinite(*number)),
            Value::Text(text) => Json::from(&**text),
            Value::Guid(id) => Json::from(id.to_string()),
            Value::DateTime(at) => Json::from(at.to_string()),
            Value::Date(date) => Json::from(date.to_string()),
            Value::Time(time) => Json::from(time.to_string()),
            Value::Duration(span) => Json::from(duration_text(*span)),
            Value::Binary(bytes) => Json::from(base64url(bytes)),
            Value::List(list) => list.items.iter().map(Value::to_json).collect(),
            Value::Object(fields) => {
                Json::Object(fields.iter().map(|(name, value)| (name.to_string(), value.to_json())).collect())
            }
            Value::Record(record) => Json::from(record.key.to_string()),
        }
    }

    pub fn text(text: impl Into<Arc<str>>) -> Value {
        Value::Text(text.into())
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }
}

/// Several values of which some may be doubtful.
///
/// `items` are certain. [`List::maybe`] are those whose belonging is unknown (a group whose member list is partial: does
/// this user belong?). [`List::rest`] says that more may exist that nobody can name. A complete list has neither.
#[derive(Clone, Debug, PartialEq)]
pub struct List {
    pub items: Arc<[Value]>,
    /// Nearly always none: every value of every record is as large as the largest kind of value.
    doubt: Option<Arc<Doubt>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Doubt {
    maybe: Arc<[Value]>,
    rest: Option<Unknown>,
}

impl List {
    pub fn new(items: impl Into<Arc<[Value]>>, maybe: impl Into<Arc<[Value]>>, rest: Option<Unknown>) -> List {
        let maybe = maybe.into();
        let doubt = (!maybe.is_empty() || rest.is_some()).then(|| Arc::new(Doubt { maybe, rest }));
        List { items: items.into(), doubt }
    }

    /// A list of which everything is known.
    pub fn known(items: impl Into<Arc<[Value]>>) -> List {
        List { items: items.into(), doubt: None }
    }

    /// The items whose belonging is unknown.
    pub fn maybe(&self) -> &[Value] {
        self.doubt.as_ref().map_or(&[], |doubt| &doubt.maybe)
    }

    /// Why more may exist that nobody can name, if so.
    pub fn rest(&self) -> Option<&Unknown> {
        self.doubt.as_ref()?.rest.as_ref()
    }

    pub fn is_complete(&self) -> bool {
        self.doubt.is_none()
    }
}

/// One object of a collection, holding just the properties that the compiled expressions use.
///
/// `slots[i]` belongs to the i-th property of the collection's shape (see [`crate::expr::Catalog`]). A slot of a
/// navigation property holds `None` and is followed on demand, unless the record was written inline (mapping tests).
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub collection: Collection,
    pub key: Key,
    pub slots: Box<[Option<Value>]>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn guid_round_trips_and_refuses_other_text() {
        let text = "87d349ed-44d7-43e1-9a83-5f2406dee5bd";
        assert_eq!(text.parse::<Guid>().unwrap().to_string(), text);
        assert_eq!(text.to_uppercase().parse::<Guid>().unwrap().to_string(), text);
        for bad in ["", "87d349ed", "87d349ed-44d7-43e1-9a83-5f2406dee5bg", "87d349ed_44d7-43e1-9a83-5f2406dee5bd"] {
            assert_eq!(bad.parse::<Guid>(), Err(NotAGuid), "{bad}");
        }
    }

    #[test]
    fn all_are_listed_in_their_order() {
        assert!(Collection::ALL.is_sorted_by(|a, b| a < b));
        for collection in Collection::ALL {
            assert_eq!(Collection::named(collection.name()), Some(collection));
            assert_eq!(Collection::ALL[collection.index()], collection);
            assert_eq!(collection.alone(), [collection]);
            assert_eq!(Collection::custom(collection.name()), None, "{collection} is taken");
        }
    }

    #[test]
    fn a_custom_collection_is_its_name() {
        let bookings = Collection::custom("booking_businesses").unwrap();
        assert_eq!(Collection::custom("booking_businesses"), Some(bookings));
        assert_eq!(bookings.alone(), [bookings]);
        assert_eq!(serde_json::to_string(&bookings).unwrap(), r#""booking_businesses""#);
        assert_eq!(serde_json::from_str::<Collection>(r#""booking_businesses""#).unwrap(), bookings);
        assert!(Collection::ALL.iter().all(|built_in| *built_in < bookings));
        for bad in ["", "Bookings", "1st", "a-b", "../a", "a b", "deleted", "manifest", &"a".repeat(65)] {
            assert_eq!(Collection::custom(bad), None, "{bad}");
        }
    }

    fn any_key() -> impl Strategy<Value = Key> {
        let guid = || any::<[u8; 16]>().prop_map(Guid);
        prop_oneof![
            guid().prop_map(Key::Guid),
            (guid(), guid()).prop_map(|(a, b)| Key::Pair(a, b)),
            (guid(), guid(), proptest::option::of(guid()))
                .prop_map(|(user, sku, group)| Key::Assignment(Box::new((user, sku, group)))),
            "[A-Za-z0-9 /-]{0,40}".prop_map(|text| Key::parse(&text)),
        ]
    }

    proptest! {
        #[test]
        fn keys_read_back_from_their_text(key in any_key()) {
            prop_assert_eq!(Key::parse(&key.to_string()), key);
        }

        #[test]
        fn keys_order_like_their_text(a in any_key(), b in any_key()) {
            prop_assert_eq!(a.cmp(&b), a.to_string().as_bytes().cmp(b.to_string().as_bytes()));
        }
    }
}
