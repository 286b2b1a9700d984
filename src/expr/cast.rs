//! `cast` and `isof`: the primitive types of OData, and what becomes of a value in each.
//!
//! Hides the assignment rules (OData 4.01, part 2, section "cast"): a cast that fails is null. Deliberately knows no
//! types of the entity model: a record of the directory is what its collection says.

use std::fmt;
use std::sync::Arc;

use super::literal;
use crate::record::{List, Moment, Value};
use crate::schema::{Kind, Type};

/// A primitive type, or a collection of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct EdmType {
    primitive: Primitive,
    many: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Primitive {
    Binary,
    Boolean,
    Byte,
    Date,
    DateTimeOffset,
    Decimal,
    Double,
    Duration,
    Guid,
    Int16,
    Int32,
    Int64,
    SByte,
    Single,
    String,
    TimeOfDay,
}

const PRIMITIVES: [(&str, Primitive); 16] = [
    ("Edm.Binary", Primitive::Binary),
    ("Edm.Boolean", Primitive::Boolean),
    ("Edm.Byte", Primitive::Byte),
    ("Edm.Date", Primitive::Date),
    ("Edm.DateTimeOffset", Primitive::DateTimeOffset),
    ("Edm.Decimal", Primitive::Decimal),
    ("Edm.Double", Primitive::Double),
    ("Edm.Duration", Primitive::Duration),
    ("Edm.Guid", Primitive::Guid),
    ("Edm.Int16", Primitive::Int16),
    ("Edm.Int32", Primitive::Int32),
    ("Edm.Int64", Primitive::Int64),
    ("Edm.SByte", Primitive::SByte),
    ("Edm.Single", Primitive::Single),
    ("Edm.String", Primitive::String),
    ("Edm.TimeOfDay", Primitive::TimeOfDay),
];

impl fmt::Display for EdmType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = PRIMITIVES.iter().find(|(_, primitive)| *primitive == self.primitive).map_or("", |(name, _)| name);
        if self.many { write!(f, "Collection({name})") } else { f.write_str(name) }
    }
}

impl EdmType {
    /// The type of that name, which is spelled as OData spells it.
    pub fn named(name: &str, many: bool) -> Option<EdmType> {
        let (_, primitive) = PRIMITIVES.iter().find(|(known, _)| *known == name)?;
        Some(EdmType { primitive: *primitive, many })
    }

    /// Every name, to suggest one.
    pub fn names() -> impl Iterator<Item = &'static str> {
        PRIMITIVES.iter().map(|(name, _)| *name)
    }

    /// The type as the checker knows it.
    pub fn ty(self) -> Type {
        use Primitive::*;
        let kind = match self.primitive {
            Binary => Kind::Binary,
            Boolean => Kind::Bool,
            Byte | SByte | Int16 | Int32 | Int64 => Kind::Int,
            Decimal | Double | Single => Kind::Double,
            Date => Kind::Date,
            DateTimeOffset => Kind::DateTime,
            Duration => Kind::Duration,
            Guid => Kind::Guid,
            String => Kind::Text,
            TimeOfDay => Kind::Time,
        };
        Type { kind, many: self.many }
    }

    /// Whether a value can be assigned to the type as it is. Null can be assigned to none.
    pub fn holds(self, value: &Value) -> Value {
        use Primitive::*;
        let single = |value: &Value| match (self.primitive, value) {
            (Byte | SByte | Int16 | Int32 | Int64, Value::Int(number)) => self.range().contains(&i128::from(*number)),
            (Decimal | Double | Single, Value::Int(_) | Value::Double(_)) => true,
            (Binary, Value::Binary(_)) | (Boolean, Value::Bool(_)) | (Date, Value::Date(_)) => true,
            (DateTimeOffset, Value::DateTime(_)) | (Duration, Value::Duration(_)) | (Guid, Value::Guid(_)) => true,
            (String, Value::Text(_)) | (TimeOfDay, Value::Time(_)) => true,
            _ => false,
        };
        match value {
            Value::Unknown(_) => value.clone(),
            Value::List(list) => match super::eval::reason_for(list) {
                Some(reason) => Value::Unknown(reason),
                None => Value::Bool(self.many && list.items.iter().all(single)),
            },
            value => Value::Bool(!self.many && single(value)),
        }
    }

    /// The value in this type: null if there is none.
    pub fn of(self, value: &Value) -> Value {
        match value {
            Value::Unknown(_) | Value::Null => value.clone(),
            Value::List(list) if self.many => {
                let each = |items: &[Value]| -> Arc<[Value]> { items.iter().map(|item| self.single(item)).collect() };
                Value::List(List::new(each(&list.items), each(list.maybe()), list.rest().cloned()))
            }
            Value::List(_) | Value::Object(_) | Value::Record(_) => Value::Null,
            _ if self.many => Value::Null,
            value => self.single(value),
        }
    }

    fn range(self) -> std::ops::RangeInclusive<i128> {
        match self.primitive {
            Primitive::Byte => 0..=255,
            Primitive::SByte => -128..=127,
            Primitive::Int16 => i128::from(i16::MIN)..=i128::from(i16::MAX),
            Primitive::Int32 => i128::from(i32::MIN)..=i128::from(i32::MAX),
            _ => i128::from(i64::MIN)..=i128::from(i64::MAX),
        }
    }

    fn single(self, value: &Value) -> Value {
        self.converted(value).unwrap_or(Value::Null)
    }

    fn converted(self, value: &Value) -> Option<Value> {
        use Primitive::*;
        Some(match (self.primitive, value) {
            (String, value) => Value::text(literal::text(value)?.into_owned()),
            (Boolean, Value::Bool(_)) | (Binary, Value::Binary(_)) | (Guid, Value::Guid(_)) => value.clone(),
            (Date, Value::Date(_)) | (TimeOfDay, Value::Time(_)) => value.clone(),
            (DateTimeOffset, Value::DateTime(_)) | (Duration, Value::Duration(_)) => value.clone(),
            (Byte | SByte | Int16 | Int32 | Int64, Value::Int(number)) => self.whole(i128::from(*number))?,
            // As `round` does; what is no number, or infinite, has no integer part.
            (Byte | SByte | Int16 | Int32 | Int64, Value::Double(number)) => {
                self.whole(number.is_finite().then(|| number.round() as i128)?)?
            }
            (Single, Value::Double(number)) => Value::Double(f64::from(*number as f32)),
            (Decimal, Value::Double(number)) if !number.is_finite() => return None,
            (Decimal | Double, Value::Double(_)) => value.clone(),
            (Single, Value::Int(number)) => Value::Double(f64::from(*number as f32)),
            (Decimal | Double, Value::Int(number)) => Value::Double(*number as f64),
            (_, Value::Text(text)) => self.read(text.trim())?,
            _ => return None,
        })
    }

    fn whole(self, number: i128) -> Option<Value> {
        let fits = self.range().contains(&number);
        fits.then(|| i64::try_from(number).ok()).flatten().map(Value::Int)
    }

    /// The literal that a text holds.
    fn read(self, text: &str) -> Option<Value> {
        use Primitive::*;
        match self.primitive {
            Boolean if text.eq_ignore_ascii_case("true") => Some(Value::Bool(true)),
            Boolean if text.eq_ignore_ascii_case("false") => Some(Value::Bool(false)),
            Boolean | String => None,
            Byte | SByte | Int16 | Int32 | Int64 | Decimal | Double | Single => {
                literal::number(text).and_then(|number| self.converted(&number))
            }
            Binary => literal::binary(text).map(|bytes| Value::Binary(bytes.into())),
            Date => literal::date(text).map(Value::Date),
            // XML Schema lets the zone be left out; it is UTC then.
            DateTimeOffset => {
                let moment = literal::moment(text).or_else(|| literal::moment(&format!("{text}Z")));
                moment.map(|Moment { at, offset }| Value::DateTime(Moment { at, offset }))
            }
            Duration => literal::duration(text).map(Value::Duration),
            Guid => text.parse().ok().map(Value::Guid),
            TimeOfDay => literal::time(text).map(Value::Time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: Value, ty: &str, expected: &str) {
        let ty = EdmType::named(ty, false).expect("a type");
        assert_eq!(literal::print(&ty.of(&value)), expected, "{value:?} {ty}");
    }

    #[test]
    fn values_are_cast_by_the_rules_of_assignment() {
        check(Value::Null, "Edm.Int32", "null");
        check(Value::Int(7), "Edm.String", "'7'");
        check(Value::Bool(true), "Edm.String", "'true'");
        check(Value::Double(f64::INFINITY), "Edm.String", "'INF'");
        check(Value::text("7"), "Edm.Int32", "7");
        check(Value::text("7.5"), "Edm.Double", "7.5");
        check(Value::text("seven"), "Edm.Int32", "null");
        check(Value::Int(300), "Edm.Byte", "null");
        check(Value::Double(2.5), "Edm.Int32", "3");
        check(Value::Double(-2.5), "Edm.Int32", "-3");
        check(Value::Int(2), "Edm.Double", "2.0");
        check(Value::text("2024-01-31"), "Edm.Date", "2024-01-31");
        check(Value::text("2024-01-31T12:00:00"), "Edm.DateTimeOffset", "2024-01-31T12:00:00Z");
        check(Value::text("2024-01-31T12:00+02:00"), "Edm.DateTimeOffset", "2024-01-31T12:00:00+02:00");
        check(Value::text("11:22"), "Edm.TimeOfDay", "11:22:00");
        check(Value::text("PT36H"), "Edm.Duration", "duration'P1DT12H'");
        check(Value::text("TRUE"), "Edm.Boolean", "true");
        check(Value::Int(1), "Edm.Boolean", "null");
        check(Value::text("T0RhdGE"), "Edm.Binary", "binary'T0RhdGE'");
        check(Value::text("87D349ED-44d7-43e1-9a83-5f2406dee5bd"), "Edm.Guid", "87d349ed-44d7-43e1-9a83-5f2406dee5bd");
    }

    #[test]
    fn a_type_holds_what_can_be_assigned_to_it() {
        for (value, ty, expected) in [
            (Value::Int(300), "Edm.Byte", false),
            (Value::Int(300), "Edm.Int16", true),
            (Value::Int(300), "Edm.Decimal", true),
            (Value::text("7"), "Edm.Int32", false),
            (Value::text("7"), "Edm.String", true),
            (Value::Null, "Edm.String", false),
        ] {
            let ty = EdmType::named(ty, false).expect("a type");
            assert_eq!(ty.holds(&value), Value::Bool(expected), "{value:?} {ty}");
        }
        let list = Value::List(List::known([Value::Int(1), Value::Int(2)]));
        assert_eq!(EdmType::named("Edm.Int32", true).unwrap().holds(&list), Value::Bool(true));
        assert_eq!(EdmType::named("Edm.Int32", false).unwrap().holds(&list), Value::Bool(false));
    }
}
