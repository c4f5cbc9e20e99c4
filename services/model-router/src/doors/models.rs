//! The routes, as the APIs list models. Both shapes have the name that a request gives as `model`.

use serde_json::{Value, json};

/// Routes are made by a configuration and have no date; both APIs allow the epoch for that.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// Every route, by name.
pub(super) fn list(mut names: Vec<&str>, is_anthropic: bool) -> Value {
    names.sort_unstable();
    let models: Vec<Value> = names.iter().map(|name| one(name, is_anthropic)).collect();
    if is_anthropic {
        json!({ "data": models, "has_more": false, "first_id": names.first(), "last_id": names.last() })
    } else {
        json!({ "object": "list", "data": models })
    }
}

/// One route.
pub(super) fn one(name: &str, is_anthropic: bool) -> Value {
    if is_anthropic {
        json!({
            "type": "model", "id": name, "display_name": name, "created_at": CREATED, "lifecycle": "active",
        })
    } else {
        json!({ "id": name, "object": "model", "created": 0, "owned_by": "bulkhead" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_listed_by_name_in_the_shape_of_either_api() {
        let model = json!({ "id": "b", "object": "model", "created": 0, "owned_by": "bulkhead" });
        assert_eq!(list(vec!["b"], false), json!({ "object": "list", "data": [model] }));
        let listed = list(vec!["b", "a"], true);
        assert_eq!((&listed["first_id"], &listed["last_id"]), (&json!("a"), &json!("b")));
        assert_eq!(listed["data"][0]["display_name"], "a");
        assert_eq!(list(Vec::new(), true)["last_id"], Value::Null);
    }
}
