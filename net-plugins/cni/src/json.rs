//! Reading JSON as Go's decoder does: keys in any case, `null` like a key that is absent, unknown keys ignored.
//!
//! Runtimes and upstream's test suites rely on it (`"RuntimeConfig": {...}`, `"routes": null`).

use serde::de::Error as _;
use serde_json::{Map, Value};

/// The value of `key`, spelled exactly or else in any ASCII case. `null` counts as absent.
pub fn get<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    let spelled_otherwise = || {
        map.iter()
            .find(|(k, v)| k.eq_ignore_ascii_case(key) && !v.is_null())
            .map(|(_, v)| v)
    };
    map.get(key)
        .filter(|v| !v.is_null())
        .or_else(spelled_otherwise)
}

/// [`folded`] for what has to be an object: serde itself would read an array as a struct's fields in order.
pub(crate) fn folded_object(value: &Value) -> Result<Value, serde_json::Error> {
    if value.is_object() {
        Ok(folded(value))
    } else {
        Err(serde_json::Error::custom("expected an object"))
    }
}

/// A copy with every key in lower case and without `null` members, ready for a type whose keys are in lower case.
pub fn folded(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut out = Map::new();
            for (key, value) in map.iter().filter(|(_, v)| !v.is_null()) {
                let lower = key.to_ascii_lowercase();
                // The exact spelling wins over others, as it does in `get`.
                if lower == *key || !out.contains_key(&lower) {
                    out.insert(lower, folded(value));
                }
            }
            Value::Object(out)
        }
        Value::Array(items) => Value::Array(items.iter().map(folded).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use super::*;
    use serde_json::json;

    #[test]
    fn a_key_is_found_in_any_case_and_the_exact_one_wins() {
        let value = json!({"MAC": "b", "mac": "a", "Ips": [1], "dns": null});
        let map = value.as_object().unwrap();
        assert_eq!(get(map, "mac"), Some(&json!("a")));
        assert_eq!(get(map, "ips"), Some(&json!([1])));
        assert_eq!(get(map, "dns"), None);
        assert_eq!(get(map, "name"), None);
        assert_eq!(
            folded(&json!({"A": {"B": null, "C": [{"D": 1}]}, "a": 2, "E": {"F": 1}})),
            json!({"a": 2, "e": {"f": 1}})
        );
    }
}
