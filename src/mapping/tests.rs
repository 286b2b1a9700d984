//! Whole mapping files in, mappings or rendered mistakes out.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::diagnostic::{Problems, SourceFile};
use crate::error::Result;
use crate::expr::{Catalog, NoNavigation};
use crate::plan::policy::{CauseKind, Step, StepAction};
use crate::record::{List, Unknown, Value};
use crate::tree::Table;

const HEAD: &str = "format = \"mapping/1\"\nname = \"user\"\nsource = \"users\"\ntarget = \"User\"\nkey = \"ID\"\n";
const ID: &str = "[attributes]\n\"ID\" = \"id\"\n";

fn compile(text: &str) -> Result<(Mapping, Catalog)> {
    let (mut problems, mut catalog) = (Problems::default(), Catalog::new());
    let compiled = read::Draft::parse(&SourceFile::named("user.toml", text), &mut problems)
        .and_then(|draft| draft.compile(&Removal::default(), &mut catalog, &mut problems));
    problems.into_result("the mapping user.toml", false)?;
    Ok((compiled.unwrap().mapping, catalog))
}

fn mapping(text: &str) -> (Mapping, Catalog) {
    compile(text).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn refused(text: &str, parts: &[&str]) {
    let message = compile(text).expect_err("a mapping with mistakes").to_string();
    for part in parts {
        assert!(message.contains(part), "expected\n{part}\nin\n{message}");
    }
}

#[test]
fn a_setting_below_attributes_is_recognised() {
    let text = "format = \"mapping/1\"\nname = \"user\"\nsource = \"users\"\ntarget = \"User\"\n\n[attributes]\n\"ID\" = \"id\"\nkey = \"ID\"\n";
    let message = compile(text).unwrap_err().to_string();
    assert_eq!(
        message,
        "the mapping user.toml has 2 mistakes

error: `key` is missing in the mapping user.toml
 --> user.toml:1:1
  |
1 | format = \"mapping/1\"
  | ^
  |
  = help: write `key = \"Entra ID\"`

error: `key` stands in `[attributes]`, so TOML takes it for an attribute
 --> user.toml:8:1
  |
8 | key = \"ID\"
  | ^^^
  |
  = help: it belongs to the mapping itself: write it above `[attributes]`; an attribute of that name is written in quotes: \"key\""
    );
    let quoted = mapping(&format!("{HEAD}{ID}\"name\" = \"displayName\"\n")).0;
    assert_eq!(quoted.attributes[1].name, "name");
}

#[test]
fn several_mistakes_come_together_in_the_order_of_the_file() {
    let text = format!("{HEAD}{ID}\"Name\" = \"displyName\"\n\"City\" = \"city eq\"\n\"X\" = 5\n");
    let message = compile(&text).unwrap_err().to_string();
    let lines: Vec<_> = message.lines().filter(|line| line.contains("-->")).map(str::trim).collect();
    assert_eq!(lines, ["--> user.toml:8:11", "--> user.toml:9:18", "--> user.toml:10:7"], "{message}");
    assert!(message.starts_with("the mapping user.toml has 3 mistakes"), "{message}");
}

#[test]
fn wrong_values_are_explained() {
    refused("format = \"mapping/2\"\n", &["this is a `mapping/2` file, expected `mapping/1`"]);
    refused("name = \"user\"\n", &["`format` is missing", "write `format = \"mapping/1\"` in the first line"]);
    refused(&HEAD.replace("\"users\"", "\"user\""), &["there is no collection `user`", "did you mean `users`?"]);
    refused(
        &format!("{}{ID}", HEAD.replace("\"ID\"", "\"Id\"")),
        &["the mapping has no attribute \"Id\"", "did you mean `ID`?"],
    );
    refused(&format!("{}{ID}", HEAD.replace("\"ID\"", "{ ledger = false }")), &["this names no key"]);
    refused(&format!("{}{ID}", HEAD.replace("\"ID\"", "[\"ID\", \"ID\"]")), &["\"ID\" is named twice"]);
    refused(
        &format!("{}{ID}\"C\" = {{ const = \"x\" }}\n", HEAD.replace("\"ID\"", "\"C\"")),
        &["\"C\" cannot be a key"],
    );
    refused(&format!("{HEAD}adpot = [\"ID\"]\n{ID}"), &["unknown key `adpot`", "did you mean `adopt`?"]);
    refused(&format!("{HEAD}{ID}\"X\" = {{ write = \"always\" }}\n"), &["needs one of `value` and `const`"]);
    refused(
        &format!("{HEAD}{ID}\"X\" = {{ value = \"city\", write = \"once\" }}\n"),
        &["possible values: always, unless-edited, if-empty, on-create"],
    );
    refused(&format!("{HEAD}{ID}[[test]]\ngiven = {{ id = null }}\n"), &["TOML has no null"]);
    refused(
        &format!("{HEAD}{ID}[[test]]\ngiven = '[1]'\nexpect = {{ \"Id\" = \"\" }}\n"),
        &["expected one JSON object", "no attribute \"Id\""],
    );
    refused(
        &format!("{HEAD}{ID}[[test]]\nremoval = []\n"),
        &["`removal` belongs to the mapping itself", "`given` is missing"],
    );
}

#[test]
fn the_long_form_says_everything() {
    let text = format!(
        "{HEAD}removal = {{ gone = [{{ delete = {{}}, after_days = 7 }}], delete_adopted = true }}\non_adopt = \"source\"\nrecreate = true\n\
         {ID}\"Office\" = {{ value = \"officeLocation\", write = \"if-empty\", required = true }}\n\
         \"City\" = {{ value = \"city\", empty = \"keep\", on_adopt = \"target\", on_conflict = \"source\" }}\n\
         \"Boss\" = {{ value = \"manager/id\", ref = \"user\" }}\n\
         \"Phones\" = \"businessPhones\"\n\
         \"Tags\" = {{ const = [\"b\", \"a\"] }}\n\"Since\" = {{ const = 2024-01-01T01:00:00+01:00 }}\n"
    );
    let (mapping, _) = mapping(&text);
    let names: Vec<_> = mapping.attributes.iter().map(|attribute| attribute.name.as_str()).collect();
    assert_eq!(names, ["ID", "Office", "City", "Boss", "Phones", "Tags", "Since"]);
    let [_, office, city, boss, phones, tags, since] = mapping.attributes.as_slice() else { panic!("seven") };
    assert_eq!((office.write, office.empty, office.required), (Write::IfEmpty, Empty::Keep, true));
    assert_eq!(
        (office.on_adopt, office.on_conflict),
        (Side::Source, Side::Target),
        "the mapping's word counts for all"
    );
    assert_eq!((city.empty, city.on_adopt, city.on_conflict), (Empty::Keep, Side::Target, Side::Source));
    assert_eq!(boss.reference.as_deref(), Some("user"));
    assert!(phones.many && tags.many && !city.many);
    assert!(matches!(&tags.value, AttributeValue::Const(value) if *value == Datum::set(["a", "b"])));
    assert!(matches!(&since.value, AttributeValue::Const(value) if *value == Datum::text("2024-01-01T00:00:00Z")));
    assert!(mapping.removal.delete_adopted && mapping.removal.ladder(CauseKind::Out).is_empty());
    assert_eq!(mapping.removal.ladder(CauseKind::Gone), [Step { action: StepAction::Delete, after_days: 7 }]);
}

#[test]
fn a_record_without_its_key_is_rejected_and_not_removed() {
    let (mapping, catalog) = mapping(&format!(
        "{HEAD}{ID}\"Name\" = {{ value = \"displayName\", required = true }}\n\"Phones\" = \"businessPhones\"\n"
    ));
    let navigate = NoNavigation { as_of: jiff::Timestamp::UNIX_EPOCH };
    let given = serde_json::json!({"id": "87d349ed-44d7-43e1-9a83-5f2406dee5bd", "displayName": "Adele Vance"});
    let record = catalog.inline(Collection::Users, &given).unwrap();
    let mapped = mapping.apply(&record, &navigate).unwrap();
    let id = Datum::text("87d349ed-44d7-43e1-9a83-5f2406dee5bd");
    assert_eq!(mapped.values, [id, Datum::text("Adele Vance"), Datum::set::<&str>([])]);

    let rejected = |slot: usize, value: Value| {
        let mut record = record.clone();
        record.slots[slot] = Some(value);
        mapping.apply(&record, &navigate).map_err(|rejection| rejection.to_string())
    };
    let unknown = || Value::Unknown(Unknown::new("User.Read.All is missing"));
    assert_eq!(rejected(0, Value::Null), Err("\"ID\" is the key and is empty".into()));
    assert_eq!(rejected(0, unknown()), Err("\"ID\" is the key and is unknown: User.Read.All is missing".into()));
    assert_eq!(rejected(1, Value::text("")), Err("\"Name\" is required and is empty".into()));
    // What is unknown elsewhere stays unknown: never a value, never a clear.
    let phones = rejected(2, Value::List(List::new([], [], Some(Unknown::new("partial")))));
    assert!(!phones.unwrap().values[2].is_known());
}

#[test]
fn what_is_too_long_is_cut_and_told_or_rejected() {
    let (mapping, catalog) = mapping(&format!(
        "{HEAD}empty = \"keep\"\n{ID}\"Title\" = {{ value = \"jobTitle\", max_length = 4 }}\n\
         \"Phones\" = {{ value = \"businessPhones\", max_length = 3, empty = \"clear\" }}\n\
         \"City\" = {{ value = \"city\", max_length = 2, too_long = \"reject\" }}\n"
    ));
    assert_eq!((mapping.attributes[0].empty, mapping.attributes[2].empty), (Empty::Keep, Empty::Clear));
    let navigate = NoNavigation { as_of: jiff::Timestamp::UNIX_EPOCH };
    let mapped = |title: &str, phones: &[&str], city: &str| {
        let given = serde_json::json!({ "id": "a", "jobTitle": title, "businessPhones": phones, "city": city });
        mapping.apply(&catalog.inline(Collection::Users, &given).unwrap(), &navigate)
    };
    for (title, phones, city, expected) in [
        ("Boss", &["123"][..], "Å", Ok((Datum::text("Boss"), Datum::set(["123"]), vec![]))),
        (
            "Bøssé",
            &[],
            "",
            Ok((Datum::text("Bøss"), Datum::set::<&str>([]), vec![(1, "has 5 characters, and 4 are allowed")])),
        ),
        // Elements that are the same once they are cut are one; a blank at the cut goes.
        (
            "a b  c",
            &["1234", "12356"],
            "",
            Ok((Datum::text("a b"), Datum::set(["123"]), vec![(1, "has 6 "), (2, "has 5 ")])),
        ),
        ("     x", &[], "", Ok((Datum::Empty, Datum::set::<&str>([]), vec![(1, "has 6 ")]))),
        ("x", &[], "Oslo", Err("\"City\" has 4 characters, and 2 are allowed")),
    ] {
        match (mapped(title, phones, city), expected) {
            (Ok(got), Ok((title, phones, cut))) => {
                assert_eq!((&got.values[1], &got.values[2]), (&title, &phones));
                assert_eq!(got.cut.len(), cut.len(), "{:?}", got.cut);
                for ((at, words), (expected, start)) in got.cut.iter().zip(cut) {
                    assert!(*at == expected && words.starts_with(start), "{words}");
                }
            }
            (Err(got), Err(expected)) => assert_eq!(got.to_string(), expected),
            (got, expected) => panic!("{got:?}, expected {expected:?}"),
        }
    }
    refused(
        &format!("{HEAD}[attributes]\n\"ID\" = {{ value = \"id\", max_length = 9 }}\n"),
        &["\"ID\" is a key and may be cut"],
    );
    refused(&format!("{HEAD}[attributes]\n\"ID\" = {{ value = \"id\", private = true }}\n"), &["cannot be private"]);
    refused(
        &format!("{HEAD}{ID}\"X\" = {{ value = \"city\", too_long = \"cut\" }}\n"),
        &["says nothing without `max_length`"],
    );
    refused(
        &format!("{HEAD}{ID}\"X\" = {{ value = \"manager/id\", ref = \"user\", max_length = 9 }}\n"),
        &["a reference cannot be cut"],
    );
}

#[test]
fn parts_are_laid_under_the_mapping_and_keep_their_places() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let load = |name: &str| {
        let which = folder.path().join(name).display().to_string();
        test_file(&which, false).map(|(mapping, _)| mapping).map_err(|error| error.to_string())
    };
    let base = "format = \"mapping/1\"\nsource = \"users\"\nkey = \"ID\"\n[attributes]\n\"ID\" = \"id\"\n\"City\" = { value = \"city\", write = \"always\" }\n\"Mail\" = \"mail\"\n\
                [[test]]\ngiven = { id = \"a\" }\nexpect = { \"ID\" = \"b\" }\n";
    write("base.toml", base);
    write("more.toml", "format = \"mapping/1\"\n[attributes]\n\"Town\" = \"city\"\n\"City\" = { empty = \"keep\" }\n");
    let own = |include: &str| {
        format!(
            "format = \"mapping/1\"\ninclude = {include}\nname = \"user\"\ntarget = \"User\"\n[attributes]\n\"City\" = \"officeLocation\"\n\"Mail\" = false\n"
        )
    };
    write("user.toml", &own("[\"base.toml\", \"more.toml\"]"));
    let mapping = load("user.toml").unwrap();
    let shown: Vec<_> = mapping.attributes.iter().map(|a| (a.name.as_str(), a.write, a.empty)).collect();
    let wanted = [
        ("ID", Write::UnlessEdited, Empty::Clear),
        ("City", Write::Always, Empty::Keep),
        ("Town", Write::UnlessEdited, Empty::Clear),
    ];
    assert_eq!(shown, wanted);
    assert!(matches!(&mapping.attributes[1].value, AttributeValue::Expr(expr) if expr.to_string() == "officeLocation"));
    assert!(mapping.tests.is_empty(), "the cases of a part are its own");

    write("user.toml", &own("[\"csv/users@1\"]").replace("\"Mail\" = false\n", "\"Mobile Phone\" = false\n"));
    let shipped = load("user.toml").unwrap();
    assert!(shipped.position("Licenses").is_some() && shipped.position("Mobile Phone").is_none());

    let wrong = |parts: &[(&str, &str)], words: &[&str]| {
        parts.iter().for_each(|(name, text)| write(name, text));
        let message = load("user.toml").expect_err("a mapping with mistakes");
        words.iter().for_each(|word| assert!(message.contains(word), "{message}"));
    };
    wrong(
        &[("user.toml", &own("[\"base.toml\"]")), ("base.toml", &base.replace("= \"id\"", "= \"idd\""))],
        &["base.toml:5:9", "did you mean `id`"],
    );
    wrong(&[("user.toml", &own("[\"csv/user@1\"]"))], &["did you mean `csv/users@1`"]);
    wrong(&[("user.toml", &own("[\"gone.toml\"]"))], &["gone.toml", "relative to this file"]);
    wrong(&[("user.toml", &own("\"base.toml\""))], &["expected a list"]);
    wrong(&[("user.toml", &own("[\"user.toml\"]"))], &["the parts go in a circle"]);
    // Each part twice in the next: a few files that would become very many.
    let twice = |next: &str| format!("format = \"mapping/1\"\ninclude = [\"{next}\", \"{next}\"]\n");
    let names: Vec<String> = (0..8).map(|n| format!("p{n}.toml")).collect();
    names.windows(2).for_each(|pair| write(&pair[0], &twice(&pair[1])));
    wrong(&[("p7.toml", "format = \"mapping/1\"\n"), ("user.toml", &own("[\"p0.toml\"]"))], &["or 64 in all"]);
}

#[test]
fn cases_say_what_came_out_otherwise() {
    let (mapping, catalog) = mapping(&format!(
        "{HEAD}{ID}\"Name\" = \"displayName\"\n\"New\" = \"createdDateTime gt now()\"\n\
         [[test]]\nname = \"pasted from Graph Explorer\"\nnow = 2020-01-01\ngiven = '{{\"id\": \"a\", \"mail\": null, \"createdDateTime\": \"2021-01-01T00:00:00Z\"}}'\nexpect = {{ \"Name\" = \"\", \"New\" = true }}\n\
         [[test]]\ngiven = {{ id = \"a\", displayName = \"Alex Wilber\" }}\nexpect = {{ \"Name\" = \"Adele Vance\" }}\n\
         [[test]]\ngiven = {{ displayNam = \"Alex Wilber\" }}\nexpect = {{}}\n\
         [[test]]\ngiven = {{ displayName = \"Alex Wilber\" }}\nexpect = {{}}\n"
    ).replace("now = 2020-01-01\n", "now = 2020-01-01T00:00:00Z\n"));
    let results = run_tests(&mapping, &catalog);
    let [first, second, third, fourth] = results.as_slice() else { panic!("four") };
    assert!(first.passed(), "{first:?}");
    assert_eq!((second.name.as_str(), second.place.as_str()), ("case 2", "user.toml:15"));
    let expected =
        Mismatch { attribute: "Name".into(), expected: Datum::text("Adele Vance"), got: Datum::text("Alex Wilber") };
    assert_eq!(second.mismatches, [expected]);
    assert!(third.error.as_ref().unwrap().contains("displayName"), "{third:?}");
    assert!(fourth.error.as_ref().unwrap().contains("is the key and is empty"), "{fourth:?}");
}

#[test]
fn overrides_switch_between_value_and_const() {
    let mut problems = Problems::default();
    let mut draft = read::Draft::parse(
        &SourceFile::named("user.toml", format!("{HEAD}{ID}\"C\" = {{ const = \"x\", write = \"always\" }}\n")),
        &mut problems,
    )
    .unwrap();
    let over: Table =
        crate::tree::parse(&SourceFile::named("job.toml", "attributes.\"C\" = \"city\"\n"), &mut problems).unwrap();
    draft.overlay(&over, &mut problems);
    let compiled = draft.compile(&Removal::default(), &mut Catalog::new(), &mut problems).unwrap();
    assert!(problems.is_empty(), "{problems:?}");
    let attribute = &compiled.mapping.attributes[1];
    assert!(matches!(attribute.value, AttributeValue::Expr(_)));
    assert_eq!(attribute.write, Write::Always, "what is not said again stays");
}

/// Every way to have no mapping must note why.
#[test]
fn no_damage_to_a_mapping_goes_unexplained() {
    let text = format!(
        "{HEAD}version = 1\nadopt = [\"ID\"]\nremoval = [{{ delete = {{}} }}]\nrecreate = true\nprotect = \"a eq 1\"\n{ID}\
         \"City\" = {{ value = \"city\" }}\n\n[[test]]\ngiven = {{ id = \"a\" }}\nexpect = {{ \"ID\" = \"a\" }}\n"
    );
    mapping(&text);
    let lines: Vec<&str> = text.lines().collect();
    for at in 0..lines.len() {
        let mut less = lines.clone();
        less.remove(at);
        drop(compile(&less.join("\n")));
        let Some((key, _)) = lines[at].split_once(" = ") else { continue };
        for value in
            ["5", "\"\"", "\"x\"", "true", "false", "[]", "{}", "[{}]", "[[1]]", "{ const = [] }", "{ value = 1 }"]
        {
            let line = format!("{key} = {value}");
            let mut other = lines.clone();
            other[at] = &line;
            drop(compile(&other.join("\n")));
        }
    }
}

/// The rows of a user, as key and values; why one was rejected in place of its values.
fn rows(mapping: &Mapping, catalog: &Catalog, given: serde_json::Value) -> Vec<(String, Result<Vec<Datum>, String>)> {
    let navigate = NoNavigation { as_of: jiff::Timestamp::UNIX_EPOCH };
    let record = catalog.inline(Collection::Users, &given).unwrap();
    let parts = mapping.parts(&record, &navigate).into_iter();
    let values = |mapped: Result<Mapped, Rejection>| match mapped {
        Ok(mapped) => Ok(mapped.values),
        Err(rejection) => Err(rejection.to_string()),
    };
    parts.map(|part| (part.key.to_string(), values(part.mapped))).collect()
}

const ADELE: &str = "87d349ed-44d7-43e1-9a83-5f2406dee5bd";

#[test]
fn a_record_is_split_into_a_row_for_each_element() {
    let (mapping, catalog) = mapping(&format!(
        "{HEAD}each = \"proxyAddresses\"\n{ID}\"Address\" = \"$this\"\n\"Main\" = \"startswith($this, 'smtp:')\"\n"
    ));
    let given =
        serde_json::json!({ "id": ADELE, "proxyAddresses": ["SMTP:b@contoso.com", "x500:a", "smtp:B@contoso.com"] });
    let (id, text) = (|| Datum::text(ADELE), |text: &str| Datum::text(text));
    assert_eq!(
        rows(&mapping, &catalog, given),
        [
            // One address in two spellings is one address.
            (format!("{ADELE}/smtp:b@contoso.com"), Ok(vec![id(), text("SMTP:b@contoso.com"), text("true")])),
            (format!("{ADELE}/x500:a"), Ok(vec![id(), text("x500:a"), text("false")])),
        ]
    );
    assert_eq!(rows(&mapping, &catalog, serde_json::json!({ "id": ADELE })), []);
}

#[test]
fn elements_that_cannot_be_told_apart_are_rejected() {
    let each = "each = { of = \"assignedLicenses\", by = \"$this/skuId\" }\n";
    let (mapping, catalog) = mapping(&format!("{HEAD}{each}{ID}\"SKU\" = \"$this/skuId\"\n"));
    let sku = "06ebc4ee-1bb5-47dd-8120-11324bc54e06";
    let given = serde_json::json!({ "id": ADELE, "assignedLicenses": [
        { "skuId": sku, "disabledPlans": [] }, { "skuId": sku, "disabledPlans": [ADELE] }, { "disabledPlans": [] },
    ] });
    let [several, nameless] = &rows(&mapping, &catalog, given)[..] else { panic!("two") };
    assert_eq!(several.0, format!("{ADELE}/{sku}"));
    assert!(several.1.as_ref().unwrap_err().contains("several different elements with the key"), "{several:?}");
    assert_eq!(nameless.0, format!("{ADELE}/"));
    assert!(nameless.1.as_ref().unwrap_err().contains("holds an element without a key"), "{nameless:?}");
    // The same thing twice is one thing.
    let given = serde_json::json!({ "id": ADELE, "assignedLicenses": [{ "skuId": sku }, { "skuId": sku }] });
    assert_eq!(rows(&mapping, &catalog, given).len(), 1);
}

#[test]
fn what_is_doubtful_of_a_list_is_neither_made_nor_taken_away() {
    let (mapping, catalog) = mapping(&format!("{HEAD}each = \"proxyAddresses\"\n{ID}\"Address\" = \"$this\"\n"));
    let each = mapping.each.as_ref().unwrap();
    let navigate = NoNavigation { as_of: jiff::Timestamp::UNIX_EPOCH };
    let elements = |value: Value| {
        let mut record = catalog.inline(Collection::Users, &serde_json::json!({ "id": ADELE })).unwrap();
        let slot = catalog.shape(Collection::Users).slot("proxyAddresses").unwrap();
        record.slots[slot] = Some(value);
        let parts = mapping.parts(&record, &navigate);
        (parts.len(), each.elements(&record, &navigate))
    };
    let list = |rest: Option<&str>| {
        let (items, maybe) = ([Value::text("a"), Value::Null], [Value::text("b")]);
        Value::List(List::new(items, maybe, rest.map(Unknown::new)))
    };
    let (made, known) = elements(Value::List(List::known([Value::text("A")])));
    assert_eq!((made, known.has("a"), known.has("b")), (1, Some(Ok(())), None));
    let (made, doubtful) = elements(list(None));
    assert_eq!((made, doubtful.has("a")), (2, Some(Ok(()))), "one row, and one that is rejected for want of a key");
    for key in ["b", "c"] {
        assert!(matches!(doubtful.has(key), Some(Err(_))), "an element without a key may be any");
        assert!(matches!(elements(list(Some("hidden"))).1.has(key), Some(Err(_))));
        assert!(matches!(elements(Value::Unknown(Unknown::new("hidden"))).1.has(key), Some(Err(_))));
    }
    assert_eq!(elements(Value::Unknown(Unknown::new("hidden"))).0, 0);
}

#[test]
fn a_separator_makes_one_text_of_a_list() {
    let (mapping, catalog) = mapping(&format!(
        "{HEAD}{ID}\"Phones\" = {{ value = \"businessPhones\", separator = \" / \", max_length = 7 }}\n"
    ));
    let navigate = NoNavigation { as_of: jiff::Timestamp::UNIX_EPOCH };
    let mapped = |value: Value| {
        let mut record = catalog.inline(Collection::Users, &serde_json::json!({ "id": ADELE })).unwrap();
        record.slots[1] = Some(value);
        mapping.apply(&record, &navigate).unwrap().values[1].clone()
    };
    let text = |text: &str| Value::text(text);
    assert!(!mapping.attributes[1].many);
    assert_eq!(mapped(Value::List(List::known([text("2"), text("1"), text("2")]))), Datum::text("1 / 2"));
    assert_eq!(mapped(Value::List(List::known([text("222"), text("111")]))), Datum::text("111 / 2"));
    assert_eq!(mapped(Value::List(List::known([]))), Datum::Empty);
    let (items, maybe) = ([text("1")], [text("2")]);
    assert!(!mapped(Value::List(List::new(items, maybe, None))).is_known());
}

#[test]
fn slips_in_splitting_and_joining_are_explained() {
    let with = |each: &str| format!("{HEAD}{each}\n{ID}");
    refused(&with("each = \"displayName\""), &["`each` needs a list, this is text"]);
    refused(&with("each = \"assignedLicenses\""), &["what tells these elements apart", "by = \"$this/…\""]);
    refused(&with("each = { of = \"licenses\", by = \"$this/productNam\" }"), &["did you mean `productName`?"]);
    refused(
        &with("each = \"members\"").replace("\"users\"", "\"memberships\""),
        &["`each` cannot split these records"],
    );
    let distinct = with("each = \"businessPhones\"").replace("\"users\"", "{ distinct = \"city\", of = \"users\" }");
    refused(&distinct, &["`each` cannot split these records"]);
    let attribute = |text: &str| format!("{HEAD}{ID}\"X\" = {text}\n");
    refused(
        &attribute("{ value = \"city\", separator = \"; \" }"),
        &["`separator` needs an expression that yields a list"],
    );
    refused(
        &attribute("{ value = \"memberOf/id\", ref = \"group\", separator = \"; \" }"),
        &["references and single values have nothing to separate"],
    );
    let key = format!(
        "{}\"P\" = {{ value = \"businessPhones\", separator = \"; \" }}\n",
        with("").replace("\"ID\"\n\n", "\"P\"\n")
    );
    refused(&key, &["\"P\" cannot be a key"]);
}

#[test]
fn tables_belong_to_the_mapping_that_names_them_and_their_slips_have_places() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("sites.csv", "Office,Site\nOslo,OSL\n");
    write("twice.csv", "Office,Site\nOslo,OSL\nOSLO,OSX\n");
    write("part.toml", "format = \"mapping/1\"\n[tables]\nsites = \"sites.csv\"\n");
    let look = "\"Site\" = \"lookup('sites', officeLocation, 'Site')\"\n";
    let load = |tables: &str| {
        write("user.toml", &format!("{HEAD}{tables}\n{ID}{look}"));
        read::test_file(&folder.path().join("user.toml").display().to_string(), false)
    };
    let hash = |mapping: &Mapping| serde_json::to_string(&mapping.canonical()).unwrap();
    let (first, _) = load("tables.sites = \"sites.csv\"").unwrap();
    let (included, catalog) = load("include = [\"part.toml\"]").unwrap();
    assert_eq!(hash(&first), hash(&included));
    assert!(catalog.tables().is_empty(), "the table is known inside the mapping only");
    write("sites.csv", "Office,Site\nOslo,OSL-2\n");
    assert_ne!(hash(&first), hash(&load("tables.sites = \"sites.csv\"").unwrap().0), "an edited table is an edit");
    for (tables, parts) in [
        ("", ["there is no table `sites`", "user.toml:9:18"]),
        ("tables.sites = \"site.csv\"", ["site.csv", "the path is relative to this file"]),
        ("tables.sites = \"twice.csv\"", ["twice.csv:3:1", "`OSLO` is there twice"]),
        (
            "tables.sites = { file = \"sites.csv\", key = \"Ofice\" }",
            ["the table has no column `Ofice`", "did you mean `Office`?"],
        ),
        (
            "tables.sites = { file = \"sites.csv\", by = \"Office\" }",
            ["unknown key `by` in the table \"sites\"", "file, key"],
        ),
        ("tables.sites = 5", ["a table cannot be a whole number", "{ file = \"sites.csv\""]),
    ] {
        let message = load(tables).expect_err(tables).to_string();
        for part in parts {
            assert!(message.contains(part), "expected\n{part}\nin\n{message}");
        }
    }
}

proptest! {
    /// What a plan may remove because of a list: only what a list that is wholly known does not have, whatever the order
    /// and the spelling of what it has. And each row is made once.
    #[test]
    fn an_element_is_gone_only_from_a_list_that_is_wholly_known(
        items in proptest::collection::vec("[abAB ]{0,2}", 0..5),
        maybe in proptest::collection::vec("[abAB]{1,2}", 0..3),
        hidden in proptest::bool::ANY,
        asked in "[ab]{1,2}",
    ) {
        let (mapping, catalog) = mapping(&format!("{HEAD}each = \"proxyAddresses\"\n{ID}"));
        let navigate = NoNavigation { as_of: jiff::Timestamp::UNIX_EPOCH };
        let mut record = catalog.inline(Collection::Users, &serde_json::json!({ "id": ADELE })).unwrap();
        let slot = catalog.shape(Collection::Users).slot("proxyAddresses").unwrap();
        let values = |texts: &[String]| texts.iter().map(|text| Value::text(text.as_str())).collect::<Vec<_>>();
        let rest = hidden.then(|| Unknown::new("hidden"));
        record.slots[slot] = Some(Value::List(List::new(values(&items), values(&maybe), rest)));

        let keys = |texts: &[String]| -> BTreeSet<String> {
            texts.iter().map(|text| text.trim().to_lowercase()).filter(|key| !key.is_empty()).collect()
        };
        let (known, doubtful) = (keys(&items), keys(&maybe));
        let nameless = items.iter().any(|text| text.trim().is_empty());
        let has = mapping.each.as_ref().unwrap().elements(&record, &navigate).has(&asked);
        match has {
            Some(Ok(())) => prop_assert!(known.contains(&asked)),
            Some(Err(_)) => prop_assert!(!known.contains(&asked) && (doubtful.contains(&asked) || hidden || nameless)),
            None => prop_assert!(!known.contains(&asked) && !doubtful.contains(&asked) && !hidden && !nameless),
        }
        let mut made: Vec<String> = mapping.parts(&record, &navigate).into_iter().map(|part| part.key.to_string()).collect();
        made.sort();
        let wanted = known.iter().map(String::as_str).chain(nameless.then_some(""));
        let mut wanted: Vec<String> = wanted.map(|key| format!("{ADELE}/{key}")).collect();
        wanted.sort();
        prop_assert_eq!(made, wanted);
    }
}

#[test]
fn joined_records_that_are_not_all_known_make_no_certain_value() {
    let head = HEAD.replace("\"users\"", "{ distinct = \"employeeId\", of = \"users\" }");
    let (mapping, catalog) = mapping(&format!(
        "{head}[attributes]\n\"ID\" = \"value\"\n\"Mails\" = \"records/mail\"\n\"Count\" = \"records/$count\"\n\
         \"All\" = {{ value = \"records/mail\", separator = \"; \" }}\n\"Any\" = \"records/any(r: r/mail eq 'b')\"\n"
    ));
    assert!(mapping.distinct.as_ref().is_some_and(|distinct| distinct.joins));
    let user = |mail: &str| catalog.inline(Collection::Users, &serde_json::json!({ "mail": mail })).unwrap();
    let users = |mails: &[&str]| mails.iter().map(|mail| Value::Record(user(mail).into())).collect::<Vec<_>>();
    let values = |records: List| {
        let nowhere = NoNavigation { as_of: jiff::Timestamp::UNIX_EPOCH };
        mapping.apply_value("1042", &Value::List(records), &nowhere).unwrap().values
    };
    let whole = values(List::known(users(&["b", "a"])));
    assert_eq!(whole[1..], [Datum::set(["a", "b"]), Datum::text("2"), Datum::text("a; b"), Datum::text("true")]);
    let rest = Some(Unknown::new("a page is missing"));
    let partial = values(List::new(users(&["a"]), [], rest));
    assert!(matches!(&partial[1], Datum::Set(set) if !set.is_complete()), "{partial:?}");
    assert!(partial[2..].iter().all(|value| matches!(value, Datum::Unknown(_))), "{partial:?}");
    refused(&format!("{head}[attributes]\n\"ID\" = \"values\"\n"), &["there is no `values` here"]);
    refused(&format!("{head}[attributes]\n\"ID\" = \"records/maill\"\n"), &["users have no property `maill`"]);
    refused(&format!("{head}[attributes]\n\"ID\" = \"records\"\n"), &["records/displayName"]);
}
