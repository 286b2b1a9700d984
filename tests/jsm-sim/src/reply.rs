//! Answers and errors as Assets prints them.
//!
//! Hides status lines and the error body `{"errorMessages":[…],"errors":{…}}`. Deliberately does not know why something
//! failed.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::store::Id;

/// An answer before it becomes HTTP.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub status: u16,
    pub content_type: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn json(status: u16, body: &Value) -> Self {
        let content_type = "application/json;charset=UTF-8";
        Self { status, content_type, headers: Vec::new(), body: body.to_string().into_bytes() }
    }

    pub fn ok(body: &Value) -> Self {
        Self::json(200, body)
    }

    /// A refusal with one message.
    pub fn error(status: u16, message: impl Into<String>) -> Self {
        Self::json(status, &json!({"errorMessages": [message.into()], "errors": {}}))
    }

    /// A refusal by attribute.
    pub fn invalid(errors: &BTreeMap<Id, String>) -> Self {
        let errors: Map<String, Value> =
            errors.iter().map(|(id, words)| (format!("rlabs-insight-attribute-{id}"), json!(words))).collect();
        Self::json(400, &json!({"errorMessages": [], "errors": errors}))
    }

    pub fn html(status: u16) -> Self {
        let body = "<html>\r\n<head><title>Bad Gateway</title></head>\r\n<body>\r\n<center><h1>Bad Gateway</h1></center>\r\n\
            </body>\r\n</html>\r\n";
        Self { status, content_type: "text/html", headers: Vec::new(), body: body.into() }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}
