//! Whole mapping files in, mappings or rendered mistakes out.

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
    let phones =
        rejected(2, Value::List(List { items: [].into(), maybe: [].into(), rest: Some(Unknown::new("partial")) }));
    assert!(!phones.unwrap().values[2].is_known());
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
