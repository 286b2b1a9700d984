//! Ids and keys: what a record is known by, whatever it is called.
//!
//! Hides how ids are stored (16 bytes, not text) and how keys are written and ordered.

use std::fmt;
use std::str::FromStr;

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn guid_round_trips_and_refuses_other_text() {
        let text = "87d349ed-44d7-43e1-9a83-5f2406dee5bd";
        assert_eq!(text.parse::<Guid>().unwrap().to_string(), text);
        assert_eq!(text.to_uppercase().parse::<Guid>().unwrap().to_string(), text);
        for bad in ["", "87d349ed", "87d349ed-44d7-43e1-9a83-5f2406dee5bg", "87d349ed_44d7-43e1-9a83-5f2406dee5bd"] {
            assert_eq!(bad.parse::<Guid>(), Err(NotAGuid), "{bad}");
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
