//! One JSON object that settings come from: the `ipam` object of a network, or the node file.

use cni::Error;
use serde_json::{Map, Value};

/// Every key of the `ipam` object.
pub(super) const IPAM_KEYS: &[&str] = &[
    "type",
    "server",
    "pools",
    "routes",
    "cluster",
    "node",
    "nodeFile",
    "stateDir",
    "timeout",
    "statusGrace",
    "statusOnExhausted",
    "tokenFile",
    "caFile",
    "logFile",
];

/// Every key of the node file: what makes no sense there is missing.
pub(super) const NODE_FILE_KEYS: &[&str] = &[
    "server",
    "pools",
    "routes",
    "cluster",
    "node",
    "stateDir",
    "timeout",
    "statusGrace",
    "statusOnExhausted",
    "tokenFile",
    "caFile",
    "logFile",
];

/// Settings of one origin.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// What errors call it.
    pub(super) name: String,
    values: Map<String, Value>,
}

impl Source {
    pub(super) fn new(name: impl Into<String>, values: Map<String, Value>) -> Self {
        Self {
            name: name.into(),
            values,
        }
    }

    /// The value of `key`, in any case as everywhere in CNI; null counts as absent.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        cni::json::get(&self.values, key)
    }

    /// Code 7 naming the first key that is not in `known`, and the one that may have been meant.
    pub(super) fn refuse_unknown(&self, known: &[&str]) -> Result<(), Error> {
        let is_known = |key: &str| known.iter().any(|k| k.eq_ignore_ascii_case(key));
        let Some(unknown) = self.values.keys().find(|key| !is_known(key)) else {
            return Ok(());
        };
        let hint = match nearest(unknown, known) {
            Some(near) => format!("; did you mean {near:?}?"),
            None => format!("; known keys: {}", known.join(", ")),
        };
        Err(Error::invalid_config(format!(
            "{}: unknown key {unknown:?}{hint}",
            self.name
        )))
    }
}

/// The known key that is at most a third of its letters away.
fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance = |key: &str| edits(&unknown.to_ascii_lowercase(), &key.to_ascii_lowercase());
    known
        .iter()
        .copied()
        .map(|key| (distance(key), key))
        .filter(|(distance, key)| distance * 3 <= key.len())
        .min()
        .map(|(_, key)| key)
}

/// How many letters have to be changed, added or taken away to make `a` of `b` (Levenshtein).
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let substitute = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use super::*;

    fn refusal(key: &str) -> String {
        let values = Map::from_iter([(key.to_owned(), Value::Null)]);
        let source = Source::new("ipam", values);
        source.refuse_unknown(IPAM_KEYS).unwrap_err().msg
    }

    #[test]
    fn a_misspelt_key_is_named_with_the_one_that_was_meant() {
        for (key, meant) in [
            ("pool", "pools"),
            ("servers", "server"),
            ("state-dir", "stateDir"),
            ("tokenfile2", "tokenFile"),
            ("statusOnExhaustion", "statusOnExhausted"),
        ] {
            assert_eq!(
                refusal(key),
                format!("ipam: unknown key {key:?}; did you mean {meant:?}?")
            );
        }
        assert!(refusal("ranges").contains("known keys: type, server, pools"));
    }

    #[test]
    fn known_keys_pass_in_any_case() {
        let values = Map::from_iter([("SERVER".to_owned(), Value::from(1))]);
        let source = Source::new("ipam", values);
        source.refuse_unknown(IPAM_KEYS).unwrap();
        assert_eq!(source.get("server"), Some(&Value::from(1)));
    }

    #[test]
    fn edits_are_counted() {
        for (a, b, count) in [
            ("", "abc", 3),
            ("pool", "pools", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(edits(a, b), count);
            assert_eq!(edits(b, a), count);
        }
    }
}
