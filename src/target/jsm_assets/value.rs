//! One value on its way: the form in which it is compared, the text that Assets takes, and what it shows of it.
//!
//! Hides what Assets makes of a text (precision of moments, `3.0` for 3, names for statuses) and where each kind of
//! value stands in an object's JSON. Deliberately looks nobody up: see `super::write`.
//! <https://developer.atlassian.com/cloud/assets/rest/api-group-object/>

use jiff::{Timestamp, civil::Date};
use serde::Deserialize;

use super::model::{Id, Kind, Slot, null_as_default};
use crate::plan::change::SlotKind;
use crate::plan::datum::{Datum, Set};
use crate::record::Unknown;

/// The most characters of a Text; a server refuses more.
pub(super) const TEXT_MAX: usize = 254;

/// An object as it is read.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(super) struct Object {
    pub id: Id,
    pub object_type: Option<OfType>,
    pub object_key: Option<String>,
    pub label: Option<String>,
    /// Absent after a create.
    pub attributes: Option<Vec<Held>>,
}

impl Object {
    /// Its label and key, as people know it.
    pub fn name(&self) -> String {
        match (&self.label, &self.object_key) {
            (Some(label), Some(key)) => format!("{label} ({key})"),
            (Some(name), None) | (None, Some(name)) => name.clone(),
            (None, None) => self.id.to_string(),
        }
    }

    /// What it holds; none when that is not said. An object always holds its key, so nothing at all says nothing.
    pub fn held(&self) -> Option<&[Held]> {
        self.attributes.as_deref().filter(|held| !held.is_empty())
    }

    /// The ids of the objects that it refers to.
    pub fn refers_to(&self) -> impl Iterator<Item = &str> {
        let values = self.attributes.iter().flatten().flat_map(|held| &held.object_attribute_values);
        values.filter_map(|shown| Some(&*shown.referenced_object.as_ref()?.id.as_ref()?.0))
    }
}

/// What an object says of its type.
#[derive(Deserialize, Debug)]
pub(super) struct OfType {
    pub id: Id,
}

/// One attribute of an object.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(super) struct Held {
    pub object_type_attribute_id: Id,
    #[serde(default, deserialize_with = "null_as_default")]
    pub object_attribute_values: Vec<Shown>,
}

/// One value of an attribute.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Shown {
    value: Option<serde_json::Value>,
    display_value: Option<serde_json::Value>,
    search_value: Option<serde_json::Value>,
    referenced_object: Option<Referenced>,
    status: Option<Called>,
    group: Option<Called>,
    user: Option<Account>,
}

#[derive(Deserialize, Debug)]
struct Referenced {
    id: Option<Id>,
}

#[derive(Deserialize, Debug)]
struct Called {
    name: Option<String>,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
struct Account {
    account_id: Option<String>,
    key: Option<String>,
}

/// What one value of an attribute says.
enum Said {
    Text(Box<str>),
    Nothing,
    /// Something stands there, and it cannot be told what: an object that may not be seen, a number in the user's format.
    Untold,
}

impl Shown {
    /// The value's text, in the form in which it is compared.
    fn says(&self, kind: &Kind) -> Said {
        let own = || self.value.as_ref().and_then(text);
        let shown = || self.display_value.as_ref().and_then(text);
        let searched = || self.search_value.as_ref().and_then(text);
        let id = || self.referenced_object.as_ref().and_then(|object| object.id.as_ref());
        let found = match kind {
            Kind::Reference { .. } => id().map(|id| id.0.to_string()),
            Kind::Plain(SlotKind::Status) => {
                self.status.as_ref().and_then(|status| status.name.clone()).or_else(shown).or_else(own)
            }
            Kind::Group => self.group.as_ref().and_then(|group| group.name.clone()).or_else(own).or_else(shown),
            Kind::Plain(SlotKind::User) => {
                let account =
                    || self.user.as_ref().and_then(|user| user.account_id.clone().or_else(|| user.key.clone()));
                own().or_else(account)
            }
            // What is shown of these is in the user's own format.
            Kind::Plain(
                SlotKind::Integer
                | SlotKind::Double
                | SlotKind::Boolean
                | SlotKind::Date
                | SlotKind::Time
                | SlotKind::DateTime,
            ) => own()
                .or_else(|| [searched(), shown()].into_iter().flatten().find(|text| is_stored_form(kind, text.trim()))),
            _ => own().or_else(shown).or_else(searched),
        };
        match found {
            Some(text) => normal(kind, &text).map_or(Said::Nothing, Said::Text),
            None => {
                let stands = [own(), shown(), searched()].iter().flatten().any(|text| !text.trim().is_empty());
                if stands || self.referenced_object.is_some() { Said::Untold } else { Said::Nothing }
            }
        }
    }
}

/// Whether a text is as Assets stores values of this kind.
fn is_stored_form(kind: &Kind, text: &str) -> bool {
    match kind {
        Kind::Plain(SlotKind::Integer) => text.parse::<i64>().is_ok(),
        Kind::Plain(SlotKind::Double) => text.parse::<f64>().is_ok(),
        Kind::Plain(SlotKind::Boolean) => text.parse::<bool>().is_ok(),
        Kind::Plain(SlotKind::Date) => text.parse::<Date>().is_ok(),
        Kind::Plain(SlotKind::DateTime) => moment(text).is_some(),
        _ => false,
    }
}

fn text(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        serde_json::Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// What an object holds in an attribute. What Jira does not tell is unknown, never empty.
pub(super) fn held(object: &Object, slot: &Slot, many: bool) -> Datum {
    let Some(all) = object.held() else {
        return Datum::Unknown(Unknown::new("Jira shows the object without its attributes"));
    };
    let (mut texts, mut untold) = (Vec::new(), None);
    let held = all.iter().filter(|held| held.object_type_attribute_id == slot.id);
    for shown in held.flat_map(|held| &held.object_attribute_values) {
        match shown.says(&slot.kind) {
            Said::Text(text) => texts.push(text),
            Said::Nothing => {}
            Said::Untold => {
                untold = Some(Unknown::new(format!("Jira does not tell what stands in {:?}", slot.name)));
            }
        }
    }
    if many || texts.len() > 1 {
        return Datum::Set(Set::new(texts, Vec::new(), untold));
    }
    untold.map_or_else(|| texts.pop().map_or(Datum::Empty, Datum::One), Datum::Unknown)
}

/// What would be given back for a value.
pub(super) fn normalise(kind: &Kind, many: bool, value: Datum) -> Datum {
    // References are ids, and a person is known to Jira by another name: what is written shows only then.
    let one = |text: &str| normal(kind, text);
    match value {
        Datum::Empty if many => Datum::Set(Set::default()),
        Datum::One(text) if many => Datum::Set(Set::known(one(&text))),
        Datum::One(text) => one(&text).map_or(Datum::Empty, Datum::One),
        Datum::Set(set) => {
            let all = |texts: &[Box<str>]| texts.iter().filter_map(|text| one(text)).collect::<Vec<_>>();
            Datum::Set(Set::new(all(&set.items), all(set.maybe()), set.rest().cloned()))
        }
        other => other,
    }
}

/// One text as Assets would show it again; none when nothing is left of it. What does not fit the kind stays as it is:
/// the server's refusal then names it.
fn normal(kind: &Kind, text: &str) -> Option<Box<str>> {
    // Databases below Jira take no NUL; blanks around a value are nothing that anybody wrote there.
    let clean = text.replace('\0', "").replace("\r\n", "\n");
    let text = clean.trim();
    let form: Option<String> = match kind {
        Kind::Plain(SlotKind::Text) => cut(text),
        Kind::Plain(SlotKind::Integer) => text.parse::<i64>().ok().map(|number| number.to_string()),
        Kind::Plain(SlotKind::Double) => {
            text.parse::<f64>().ok().map(|number| if number == 0.0 { "0".into() } else { number.to_string() })
        }
        Kind::Plain(SlotKind::Boolean) => Some(text.to_ascii_lowercase()),
        Kind::Plain(SlotKind::Date) => date(text).map(|date| date.to_string()),
        Kind::Plain(SlotKind::DateTime) => moment(text).map(|moment| moment.to_string()),
        Kind::Plain(SlotKind::Ip) => text.parse::<std::net::IpAddr>().ok().map(|address| address.to_string()),
        _ => None,
    };
    let text = form.as_deref().unwrap_or(text);
    (!text.is_empty()).then(|| text.into())
}

/// A Text cut to what fits; none when it fits.
fn cut(text: &str) -> Option<String> {
    text.char_indices().nth(TEXT_MAX).map(|(end, _)| text[..end].trim_end().to_string())
}

/// A date, also that of a moment.
fn date(text: &str) -> Option<Date> {
    let whole = text.parse::<Date>().ok();
    whole.or_else(|| Some(moment(text)?.to_zoned(jiff::tz::TimeZone::UTC).date()))
}

/// To the millisecond; a date is its first moment.
fn moment(text: &str) -> Option<Timestamp> {
    let at = text.parse::<Timestamp>().ok().or_else(|| {
        let date = text.parse::<Date>().ok()?;
        date.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|start| start.timestamp())
    })?;
    Timestamp::from_millisecond(at.as_millisecond()).ok()
}

/// The text that Assets takes for a value in canonical form. Statuses and people are looked up first.
pub(super) fn written(kind: &Kind, text: &str) -> String {
    match kind {
        Kind::Plain(SlotKind::DateTime) => match text.parse::<Timestamp>() {
            Ok(at) => at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
            Err(_) => text.to_string(),
        },
        _ => text.to_string(),
    }
}

/// The texts of a value; none when it is not known.
pub(super) fn texts(value: &Datum) -> Option<Vec<Box<str>>> {
    match value {
        Datum::Empty => Some(Vec::new()),
        Datum::One(text) => Some(vec![text.clone()]),
        Datum::Set(set) if set.is_complete() => Some(set.items.clone()),
        Datum::Set(_) | Datum::Unknown(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_compared_as_assets_shows_them_again() {
        let long = "ж".repeat(300);
        for (kind, text, expected) in [
            (Kind::Plain(SlotKind::Text), " Adele\r\nVance ", "Adele\nVance"),
            (Kind::Plain(SlotKind::Text), long.as_str(), &long[..508]),
            (Kind::Plain(SlotKind::Textarea), long.as_str(), long.as_str()),
            (Kind::Plain(SlotKind::Integer), "042", "42"),
            (Kind::Plain(SlotKind::Integer), "many", "many"),
            (Kind::Plain(SlotKind::Double), "3.0", "3"),
            (Kind::Plain(SlotKind::Double), "-0", "0"),
            (Kind::Plain(SlotKind::Boolean), "True", "true"),
            (Kind::Plain(SlotKind::Date), "2026-01-31T23:00:00Z", "2026-01-31"),
            (Kind::Plain(SlotKind::DateTime), "2026-01-31", "2026-01-31T00:00:00Z"),
            (Kind::Plain(SlotKind::DateTime), "2026-01-31T09:00:00.1234567+01:00", "2026-01-31T08:00:00.123Z"),
            (Kind::Plain(SlotKind::Ip), "2001:DB8::0:1", "2001:db8::1"),
            (Kind::Plain(SlotKind::Email), "Adele@Contoso.com", "Adele@Contoso.com"),
        ] {
            let once = normalise(&kind, false, Datum::text(text));
            assert_eq!(once, Datum::text(expected), "{kind} {text}");
            assert_eq!(normalise(&kind, false, once.clone()), once, "{kind} {text}: a second time");
            assert_eq!(normalise(&kind, true, once), Datum::set([expected]));
        }
        assert_eq!(normalise(&Kind::Plain(SlotKind::Text), false, Datum::text(" \0")), Datum::Empty);
        assert_eq!(normalise(&Kind::Plain(SlotKind::Text), true, Datum::Empty), Datum::Set(Set::default()));
        assert_eq!(written(&Kind::Plain(SlotKind::DateTime), "2026-01-31T08:00:00Z"), "2026-01-31T08:00:00.000Z");
    }

    #[test]
    fn every_kind_of_value_is_read_where_it_stands() {
        let object: Object = serde_json::from_str(
            r#"{"id":23,"objectType":{"id":7},"attributes":[
                {"objectTypeAttributeId":1,"objectAttributeValues":[{"value":"3.0","displayValue":"3.00"}]},
                {"objectTypeAttributeId":"2","objectAttributeValues":[
                    {"referencedType":true,"referencedObject":{"id":9,"label":"VPN"},"displayValue":"VPN","searchValue":"ENT-9"},
                    {"referencedObject":{"id":"8"}}]},
                {"objectTypeAttributeId":"3","objectAttributeValues":[{"status":{"id":"1","name":"Active"},"searchValue":"1"}]},
                {"objectTypeAttributeId":"4","objectAttributeValues":[{"value":null,"displayValue":"staff"}]},
                {"objectTypeAttributeId":"5","objectAttributeValues":[{"user":{"key":"a1","displayName":"Adele"}}]},
                {"objectTypeAttributeId":"6","objectAttributeValues":null},
                {"objectTypeAttributeId":"8","objectAttributeValues":[{"value":null,"displayValue":"31/Jan/26","searchValue":"2026-01-31"}]},
                {"objectTypeAttributeId":"9","objectAttributeValues":[{"displayValue":"1,042 GB"}]},
                {"objectTypeAttributeId":"10","objectAttributeValues":[{"referencedObject":{"id":"7"}},{"displayValue":"VPN","referencedObject":{}}]},
                {"objectTypeAttributeId":"11","objectAttributeValues":[{"displayValue":"Buyer"}]},
                {"objectTypeAttributeId":"12","objectAttributeValues":[{"displayValue":"Adele Vance"}]},
                {"objectTypeAttributeId":"13","objectAttributeValues":[{"value":null,"displayValue":"","searchValue":null}]}]}"#,
        )
        .unwrap();
        let slot = |id: &str, kind| Slot {
            id: Id(id.into()),
            name: id.into(),
            kind,
            label: false,
            editable: true,
            least: 0,
            most: None,
            unique: false,
            options: Vec::new(),
            allowed: Vec::new(),
        };
        let of_seven = || Kind::Reference { to: Id("7".into()), and_children: false };
        let why = |id: &str| Unknown::new(format!("Jira does not tell what stands in {id:?}"));
        let untold = |id: &str| Datum::Unknown(why(id));
        for (id, kind, many, expected) in [
            ("1", Kind::Plain(SlotKind::Double), false, Datum::text("3")),
            ("2", of_seven(), true, Datum::set(["8", "9"])),
            ("3", Kind::Plain(SlotKind::Status), false, Datum::text("Active")),
            ("4", Kind::Group, false, Datum::text("staff")),
            ("5", Kind::Plain(SlotKind::User), false, Datum::text("a1")),
            ("6", Kind::Plain(SlotKind::Text), false, Datum::Empty),
            ("7", Kind::Plain(SlotKind::Text), true, Datum::Set(Set::default())),
            ("8", Kind::Plain(SlotKind::Date), false, Datum::text("2026-01-31")),
            ("9", Kind::Plain(SlotKind::Integer), false, untold("9")),
            ("10", of_seven(), false, untold("10")),
            ("10", of_seven(), true, Datum::Set(Set::new(vec!["7".into()], Vec::new(), Some(why("10"))))),
            ("11", Kind::Plain(SlotKind::Text), false, Datum::text("Buyer")),
            ("12", Kind::Plain(SlotKind::User), false, untold("12")),
            ("13", Kind::Plain(SlotKind::Double), false, Datum::Empty),
        ] {
            assert_eq!(held(&object, &slot(id, kind), many), expected, "{id}");
        }
    }
}
