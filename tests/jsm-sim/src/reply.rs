//! Answers and errors as Assets prints them.
//!
//! Hides status lines and the error body `{"errorMessages":[…],"errors":{…}}`. Deliberately does not know why something
//! failed.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
pub(crate) use sim_server::Reply;

use crate::store::Id;

pub(crate) fn json(status: u16, body: &Value) -> Reply {
    Reply::new(status, "application/json;charset=UTF-8", body.to_string())
}

pub(crate) fn ok(body: &Value) -> Reply {
    self::json(200, body)
}

/// Done, with nothing to say of it.
pub(crate) fn empty() -> Reply {
    Reply { body: Vec::new(), ..ok(&Value::Null) }
}

/// A refusal with one message.
pub(crate) fn error(status: u16, message: impl Into<String>) -> Reply {
    self::json(status, &json!({"errorMessages": [message.into()], "errors": {}}))
}

/// A refusal by attribute.
pub(crate) fn invalid(errors: &BTreeMap<Id, String>) -> Reply {
    let errors: Map<String, Value> =
        errors.iter().map(|(id, words)| (format!("rlabs-insight-attribute-{id}"), json!(words))).collect();
    self::json(400, &json!({"errorMessages": [], "errors": errors}))
}

/// A page of the gateway's own.
pub(crate) fn bad_gateway() -> Reply {
    let body = "<html>\r\n<head><title>Bad Gateway</title></head>\r\n<body>\r\n<center><h1>Bad Gateway</h1></center>\r\n\
        </body>\r\n</html>\r\n";
    Reply::new(502, "text/html", body)
}

/// What a sign-on in front of a site shows in place of any answer.
pub(crate) fn login_page() -> Reply {
    let body = "<!DOCTYPE html>\n<html><head><title>Log in to continue</title></head><body><form method=\"post\" \
        action=\"/login.jsp\"><input name=\"os_username\"></form></body></html>\n";
    Reply::new(200, "text/html;charset=UTF-8", body)
}
