//! Replaces what is personal by something of the same shape, the same everywhere in one recording.
//!
//! Ids stay ids, addresses stay addresses, times keep their distances; case, length, punctuation, numbers, booleans
//! and the names of properties stay. What Graph documents as a closed list of words stays, as do product ids. Hides
//! the key: it is random, never written, and gone with the recording. Deliberately hides no count: how many
//! objects there are and what hangs together is what a recording is for.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::Url;

use crate::record::Guid;
use crate::sku_names;

/// Properties whose values are words of a closed list, or names of Microsoft's products.
const WORDS: [&str; 27] = [
    "@odata.type",
    "appliesTo",
    "capabilityStatus",
    "code",
    "creationType",
    "deviceOwnership",
    "error",
    "externalUserState",
    "groupTypes",
    "id",
    "managementType",
    "membershipRuleProcessingState",
    "method",
    "operatingSystem",
    "profileType",
    "provisioningStatus",
    "reason",
    "resourceBehaviorOptions",
    "resourceProvisioningOptions",
    "servicePlanName",
    "skuPartNumber",
    "state",
    "theme",
    "trustType",
    "types",
    "userType",
    "visibility",
];
/// The words a service may put there; `state` and `id` also hold other things.
const STATES: [&str; 6] = ["Active", "ActiveWithError", "Disabled", "Error", "Enabled", "Warning"];
/// Parts of addresses that say what kind they are.
const KINDS: [&str; 5] = ["smtp", "sip", "x500", "ext", "onmicrosoft"];
/// Query options whose values are names of properties, or numbers.
const OPTIONS: [&str; 7] = ["$select", "$expand", "$top", "$count", "$orderby", "$levels", "api-version"];
/// Query options whose values are expressions.
const EXPRESSIONS: [&str; 2] = ["$filter", "$search"];

/// One recording's replacements.
#[derive(Debug)]
pub struct Mask {
    key: [u8; 32],
    /// Times are moved back by this.
    moved: SignedDuration,
    /// Values that stay, in lower case.
    kept: BTreeSet<String>,
}

impl Mask {
    /// With a key of its own.
    pub fn random() -> Mask {
        let mut key = [0; 32];
        key.iter_mut().for_each(|byte| *byte = fastrand::u8(..));
        Mask { key, kept: BTreeSet::new(), moved: SignedDuration::from_hours(24 * fastrand::i64(30..=700)) }
    }

    /// Lets values stay that are just one of these texts, whatever their case.
    pub fn keep(&mut self, texts: impl IntoIterator<Item = String>) {
        self.kept.extend(texts.into_iter().map(|text| text.to_lowercase()));
    }

    /// Masks a text of which nothing is known but itself.
    pub fn plain(&self, text: &str) -> String {
        match self.kept.contains(&text.to_lowercase()) {
            true => text.to_owned(),
            false => self.words(text),
        }
    }

    /// A moment as masked times stand to it.
    pub fn moment(&self, at: Timestamp) -> Timestamp {
        at.checked_sub(self.moved).unwrap_or(at)
    }

    /// Masks a body in place. Links are told from other texts by where the request went.
    pub fn json(&self, value: &mut Value, asked: &Url) {
        self.value("", value, asked);
    }

    fn value(&self, name: &str, value: &mut Value, asked: &Url) {
        match value {
            Value::String(text) => *text = self.text(name, text, asked),
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(name, item, asked)),
            Value::Object(members) => members.iter_mut().for_each(|(name, value)| self.value(name, value, asked)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn text(&self, name: &str, text: &str, asked: &Url) -> String {
        match name {
            "@odata.nextLink" | "@odata.deltaLink" => self.link(text, asked),
            // Inside a batch: an address below the version.
            "url" if text.starts_with('/') => {
                asked.join(text).map_or_else(|_| self.words(text), |url| self.target(&url))
            }
            "message" | "@odata.context" => self.prose(text),
            _ if is_word(name, text) => text.to_owned(),
            _ => self.time(text).unwrap_or_else(|| self.plain(text)),
        }
    }

    /// Path and query of an address, without what is personal in it.
    pub fn target(&self, url: &Url) -> String {
        let segment = |segment: &str| match segment.contains(['@', '%', '\'']) {
            true => self.words(segment),
            false => self.ids(segment),
        };
        let mut target = url.path().split('/').map(segment).collect::<Vec<_>>().join("/");
        for (at, (name, value)) in url.query_pairs().enumerate() {
            target.push(if at == 0 { '?' } else { '&' });
            let value = match &*name {
                option if OPTIONS.contains(&option) => self.ids(&value),
                option if EXPRESSIONS.contains(&option) => self.prose(&value),
                // Opaque to the client, and for all we know it spells a name.
                _ => format!("t{}", self.hex(&value)),
            };
            let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            target.push_str(&format!("{}={}", encode(&name), encode(&value)));
        }
        target
    }

    /// A link: `{graph}` stands for the host that was asked, so that a replay can put itself there.
    fn link(&self, text: &str, asked: &Url) -> String {
        match Url::parse(text) {
            Ok(url) if url.origin() == asked.origin() => format!("{{graph}}{}", self.target(&url)),
            Ok(url) => format!("https://elsewhere.invalid{}", self.target(&url)),
            Err(_) => self.words(text),
        }
    }

    /// Sentences and expressions: their words stay, what stands in quotes, addresses and ids do not.
    pub fn prose(&self, text: &str) -> String {
        let mut masked = String::new();
        for (at, part) in text.split('\'').enumerate() {
            if at > 0 {
                masked.push('\'');
            }
            match at % 2 {
                1 => masked.push_str(&self.words(part)),
                _ => {
                    let words = part.split(' ').map(|word| match word.contains('@') {
                        true => self.words(word),
                        false => self.ids(word),
                    });
                    masked.push_str(&words.collect::<Vec<_>>().join(" "));
                }
            }
        }
        masked
    }

    fn time(&self, text: &str) -> Option<String> {
        let time: Timestamp = text.parse().ok()?;
        // What lies at the beginning of time means "never".
        Some(time.checked_sub(self.moved).ok().filter(|moved| moved.as_second() > 0).unwrap_or(time).to_string())
    }

    /// Replaces ids only.
    fn ids(&self, text: &str) -> String {
        self.each_id(text, &|rest| rest.to_owned())
    }

    /// Replaces ids by ids, and every other letter and digit by one of its kind.
    pub fn words(&self, text: &str) -> String {
        self.each_id(text, &|rest| {
            let mut masked = String::new();
            let mut word = String::new();
            for c in rest.chars().chain([' ']) {
                if c.is_alphanumeric() {
                    word.push(c);
                    continue;
                }
                masked.push_str(&self.word(&word));
                word.clear();
                masked.push(c);
            }
            // The blank at the end was ours.
            masked.pop();
            masked
        })
    }

    fn each_id(&self, text: &str, rest: &dyn Fn(&str) -> String) -> String {
        const ID_BYTES: usize = 36;
        let mut masked = String::new();
        let (mut from, mut at) = (0, 0);
        while at + ID_BYTES <= text.len() {
            match text.get(at..at + ID_BYTES).and_then(|part| part.parse::<Guid>().ok()) {
                Some(id) => {
                    masked.push_str(&rest(&text[from..at]));
                    masked.push_str(&self.id(id).to_string());
                    at += ID_BYTES;
                    from = at;
                }
                None => at += 1,
            }
        }
        masked.push_str(&rest(&text[from..]));
        masked
    }

    fn id(&self, id: Guid) -> Guid {
        // Products have the same ids in every tenant, and zeros mean "none".
        if sku_names::lookup(id).is_some() || id == Guid::default() {
            return id;
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.digest(&id.0)[..16]);
        Guid(bytes)
    }

    fn word(&self, word: &str) -> String {
        let lower = word.to_lowercase();
        if KINDS.contains(&&*lower) {
            return word.to_owned();
        }
        // Each character is moved along its alphabet by what stands before it: no two words become one.
        let mut before = Vec::new();
        let mut like = |c: char| {
            let step = u64::from_be_bytes(first(&self.digest(&before)));
            before.extend(c.to_lowercase().map(u32::from).flat_map(u32::to_be_bytes));
            let moved = |from: u8, of: u64| {
                let at = (c as u64 - u64::from(from) + 1 + step % (of - 1)) % of;
                char::from(from + at as u8)
            };
            let one_of = |alphabet: [char; 4]| alphabet[(step % 4) as usize];
            match c {
                '0'..='9' => moved(b'0', 10),
                'A'..='Z' => moved(b'A', 26),
                'a'..='z' => moved(b'a', 26),
                // Outside of ASCII a letter of the same number of bytes.
                c if c.len_utf8() == 2 => one_of(['ä', 'é', 'ñ', 'ø']),
                c if c.len_utf8() == 3 => one_of(['漢', '字', '글', '한']),
                _ => one_of(['𠀀', '𠀁', '𠀂', '𠀃']),
            }
        };
        word.chars().map(&mut like).collect()
    }

    fn hex(&self, text: &str) -> String {
        self.digest(text.as_bytes())[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn digest(&self, bytes: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update(self.key).chain_update(bytes).finalize().into()
    }
}

fn first(digest: &[u8; 32]) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    bytes
}

/// Whether a value is a word that Graph documents. Only short plain words are: a property may be used otherwise.
fn is_word(name: &str, text: &str) -> bool {
    let plain =
        text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '#'));
    match name {
        "id" => text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit()),
        "state" => STATES.contains(&text),
        name => plain && WORDS.contains(&name) && text.parse::<Guid>().is_err(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn asked() -> Url {
        Url::parse("https://graph.microsoft.com/v1.0/users").unwrap()
    }

    fn masked(mut value: Value) -> Value {
        Mask::random().json(&mut value, &asked());
        value
    }

    #[test]
    fn personal_values_change_and_shapes_stay() {
        let user = json!({
            "@odata.type": "#microsoft.graph.user", "id": "87d349ed-44d7-43e1-9a83-5f2406dee5bd",
            "displayName": "Adele Vance", "mail": "AdeleV@contoso.com", "userPrincipalName": "adelev@contoso.com",
            "businessPhones": ["+1 425 555 0109"], "accountEnabled": true, "userType": "Member", "state": "Washington",
            "createdDateTime": "2021-03-04T05:06:07Z", "employeeId": null, "city": "Zürich",
            "licenseAssignmentStates": [{ "skuId": "06ebc4ee-1bb5-47dd-8120-11324bc54e06", "state": "Active" }],
        });
        let after = masked(user.clone());
        for name in ["@odata.type", "accountEnabled", "userType", "licenseAssignmentStates", "employeeId"] {
            assert_eq!(after[name], user[name], "{name}");
        }
        for name in
            ["id", "displayName", "mail", "userPrincipalName", "businessPhones", "state", "createdDateTime", "city"]
        {
            assert_ne!(after[name], user[name], "{name}");
        }
        let text = |name: &str| after[name].as_str().unwrap();
        assert_eq!(text("mail").to_lowercase(), text("userPrincipalName"), "one mailbox stays one");
        assert_eq!((text("displayName").len(), text("city").len()), (11, 7));
        assert!(text("id").parse::<Guid>().is_ok() && text("createdDateTime").parse::<Timestamp>().is_ok());
    }

    #[test]
    fn a_link_leads_to_what_was_asked_next() {
        let mask = Mask::random();
        let next = "https://graph.microsoft.com/v1.0/users?$select=id,mail&$top=999&$skiptoken=RFNwdAIAAQ";
        let mut page = json!({ "@odata.nextLink": next, "value": [] });
        mask.json(&mut page, &asked());
        let link = page["@odata.nextLink"].as_str().unwrap();
        assert_eq!(link, format!("{{graph}}{}", mask.target(&Url::parse(next).unwrap())));
        assert!(link.starts_with("{graph}/v1.0/users?%24select=id%2Cmail&%24top=999&%24skiptoken=t"));
        assert!(!link.contains("RFN"));
        let mut foreign = json!({ "@odata.nextLink": "https://example.com/v1.0/users" });
        mask.json(&mut foreign, &asked());
        assert_eq!(foreign["@odata.nextLink"], "https://elsewhere.invalid/v1.0/users");
    }

    #[test]
    fn addresses_and_messages_keep_their_words_but_no_names() {
        let mask = Mask::random();
        let target =
            |path: &str| mask.target(&Url::parse(&format!("https://graph.microsoft.com/v1.0/{path}")).unwrap());
        assert_eq!(target("groups/delta?$top=5"), "/v1.0/groups/delta?%24top=5");
        assert!(!target("users/adele@contoso.com/memberOf").contains("contoso"));
        assert!(!target("users?$filter=mail eq 'adele@contoso.com'").contains("adele"));
        let message = mask.prose("Resource '87d349ed-44d7-43e1-9a83-5f2406dee5bd' of adele@contoso.com does not exist");
        assert!(message.starts_with("Resource '") && message.ends_with("does not exist"));
        assert!(!message.contains("87d349ed") && !message.contains("contoso"));
    }

    proptest! {
        #[test]
        fn every_text_keeps_its_length_and_one_recording_its_answers(text in "\\PC{0,60}") {
            let mask = Mask::random();
            let once = mask.words(&text);
            prop_assert_eq!(&once, &mask.words(&text));
            prop_assert_eq!(once.chars().count(), text.chars().count());
            let others = |text: &str| text.chars().filter(|c| !c.is_alphanumeric()).collect::<String>();
            prop_assert_eq!(others(&once), others(&text));
        }
    }
}
