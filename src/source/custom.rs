//! Reads custom collections: lists that are only known from their description.
//!
//! Hides how a description becomes an address, and quotas of services other than the directory. Deliberately the same
//! walk over pages as for every other list, with the same guards.

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::Reader;
use super::collections::Rights;
use super::graph::Stop;
use super::objects::{Why, denied};
use crate::custom::Custom;
use crate::error::Result;
use crate::http::Lane;
use crate::record::{Collection, Coverage, Key};
use crate::snapshot::Extent;

/// What came of one custom collection.
pub(super) struct CustomRead {
    pub collection: Collection,
    pub extent: Extent,
    pub why: Why,
}

/// The texts at the top of an object: one of them is its key.
struct Texts(Vec<(String, String)>);

impl Reader<'_> {
    /// Reads one custom collection. Fails only when the snapshot cannot be written.
    pub(super) async fn custom(&self, custom: &Custom) -> Result<CustomRead> {
        let collection = custom.collection;
        let mut extent = Extent::new(Coverage::Complete);
        extent.properties = self.needs.properties.get(&collection).cloned().unwrap_or_default();
        extent.properties.insert(custom.key.clone());
        extent.key = (custom.key != "id").then(|| custom.key.clone());
        let graph = self.graph();
        let lane: Lane = match custom.requests_per_minute {
            Some(rate) => graph.paced_lane(collection.name(), rate)?,
            None => graph.lane.clone(),
        };
        let first = graph.url_of(custom.beta, &custom.path, &query(custom, &extent));
        let mut restarted = false;
        let (walk, keyless) = loop {
            let mut keyless = 0;
            let take = |row: Texts, text: &str| {
                let Some((_, key)) = row.0.into_iter().find(|(name, _)| *name == custom.key) else {
                    keyless += 1;
                    return Ok(false);
                };
                let before = self.writer.count(collection);
                self.writer.custom(collection, &Key::parse(&key), text)?;
                let count = self.writer.count(collection);
                self.progress.at(collection, count, None);
                Ok(count > before)
            };
            let walk = graph.walk(&lane, first.clone(), 1, take).await;
            extent.pages += walk.pages;
            extent.requests += walk.requests;
            if restarted || !matches!(walk.stop, Some(Stop::Expired(_))) {
                break (walk, keyless);
            }
            restarted = true;
            self.writer.restart(collection)?;
        };
        let unreadable = walk.unreadable + keyless;
        let why = match walk.stop {
            Some(Stop::Local(error)) => return Err(error),
            Some(stop) => {
                let (reason, why) = judged(custom, self.rights, &stop, extent.pages);
                tracing::warn!(%collection, reason, "a collection is incomplete");
                extent.coverage = Coverage::partial(reason);
                why
            }
            None if unreadable > 0 => {
                let key = &custom.key;
                extent.coverage =
                    Coverage::partial(format!("{unreadable} of the {collection} came without a text as their {key}"));
                Why::Other
            }
            None => Why::Complete,
        };
        Ok(CustomRead { collection, extent, why })
    }
}

fn query(custom: &Custom, extent: &Extent) -> Vec<String> {
    let mut query = Vec::new();
    if custom.select {
        let expanded: Vec<&str> = custom.expanded().collect();
        let names = extent.properties.iter().map(String::as_str).filter(|name| !expanded.contains(name));
        query.push(format!("$select={}", names.collect::<Vec<_>>().join(",")));
    }
    query.extend(custom.filter.as_ref().map(|filter| format!("$filter={}", encoded(filter))));
    query.extend(custom.expand.as_ref().map(|expand| format!("$expand={}", encoded(expand))));
    query.extend(custom.page_size.map(|size| format!("$top={size}")));
    query
}

/// What would end a query's value, or be taken for a blank, is written in hexadecimal.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '%' => out.push_str("%25"),
            '&' => out.push_str("%26"),
            '+' => out.push_str("%2B"),
            '#' => out.push_str("%23"),
            c => out.push(c),
        }
    }
    out
}

fn judged(custom: &Custom, rights: &Rights, stop: &Stop, pages: u64) -> (String, Why) {
    let collection = custom.collection;
    match stop.refusal().filter(|refusal| matches!(refusal.status(), 401 | 403)) {
        Some(refusal) => {
            let why = denied(rights, custom.permission, refusal);
            (format!("the app may not read {collection}: {why}"), Why::Refused)
        }
        None => {
            let why = if matches!(stop, Stop::SignIn(_)) { Why::Refused } else { Why::Other };
            (format!("page {} of {collection} could not be read: {stop}", pages + 1), why)
        }
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Texts, D::Error> {
        from.deserialize_map(TextsVisitor)
    }
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts, A::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Value {
            Text(String),
            Other(IgnoredAny),
        }
        let mut texts = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            match value {
                Value::Text(text) => texts.push((name, text)),
                Value::Other(IgnoredAny) => {}
            }
        }
        Ok(Texts(texts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_becomes_a_query_that_keeps_its_values_whole() {
        let custom = Custom {
            collection: Collection::custom("things").unwrap(),
            beta: false,
            path: "things".into(),
            select: true,
            filter: Some("name eq 'R&D + 100% #1'".into()),
            expand: Some("staff($select=id)".into()),
            key: "mail".into(),
            page_size: Some(50),
            permission: &[],
            requests_per_minute: None,
            properties: Default::default(),
        };
        let mut extent = Extent::new(Coverage::Complete);
        extent.properties = ["mail", "name", "staff"].map(str::to_owned).into();
        let expected =
            ["$select=mail,name", "$filter=name eq 'R%26D %2B 100%25 %231'", "$expand=staff($select=id)", "$top=50"];
        assert_eq!(query(&custom, &extent), expected);
        let plain = Custom { select: false, filter: None, expand: None, page_size: None, ..custom };
        assert!(query(&plain, &extent).is_empty());
    }

    #[test]
    fn only_a_text_can_be_a_key() {
        let texts: Texts = serde_json::from_str(r#"{"id":"a@b.c","n":7,"o":{"id":"x"},"z":null,"l":["id"]}"#).unwrap();
        assert_eq!(texts.0, [("id".to_owned(), "a@b.c".to_owned())]);
    }
}
