//! The data that crosses stage borders: ids, keys, values, records and how much of something is known.
//!
//! Hides how ids are stored (16 bytes, not text) and how missing knowledge is carried along with the data.
//! Deliberately does no I/O, knows nothing of Microsoft Graph's addresses and nothing of any target.

mod canonical;
mod collection;
mod key;
mod value;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::canonical::{Moment, base64, base64url, duration_text, infinite};
pub use self::collection::{Collection, CustomName, Form, Pairs};
pub use self::key::{Guid, Key, NotAGuid};
pub use self::value::{List, Value};

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
