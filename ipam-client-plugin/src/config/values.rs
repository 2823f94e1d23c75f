//! Reading single values of a configuration. An error is the end of a sentence that begins with the key.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use cni::Route;
use ipam_api::Entry;
use serde::Deserialize;
use serde_json::Value;

use crate::server::Server;

type Read<T> = Result<T, String>;

/// The longest duration that a key may hold.
const LONGEST: Duration = Duration::from_secs(3600);

pub(super) fn text(value: &Value) -> Read<String> {
    match value.as_str() {
        Some(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        Some(_) => Err("must not be empty".to_owned()),
        None => Err(expected("a string", value)),
    }
}

pub(super) fn flag(value: &Value) -> Read<bool> {
    value
        .as_bool()
        .ok_or_else(|| expected("true or false", value))
}

/// A plugin's working directory is whatever the runtime's is, so that only absolute paths mean one thing.
pub(super) fn path(value: &Value) -> Read<PathBuf> {
    let path = PathBuf::from(text(value)?);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(format!("{value} is not an absolute path"))
    }
}

/// Seconds as a number, or a text such as `10s` or `500ms`.
pub(super) fn duration(value: &Value) -> Read<Duration> {
    let seconds = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => seconds_of(text.trim()),
        _ => None,
    };
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| {
            expected(
                "seconds up to 3600, as a number or as in \"10s\" or \"500ms\"",
                value,
            )
        })
}

fn seconds_of(text: &str) -> Option<f64> {
    let plain = |text: &str| {
        let digits = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        text.parse::<f64>().ok().filter(|_| digits)
    };
    match text.strip_suffix("ms") {
        Some(millis) => plain(millis).map(|millis| millis / 1000.0),
        None => plain(text.strip_suffix('s')?),
    }
}

/// [`duration`], but not zero.
pub(super) fn some_time(value: &Value) -> Read<Duration> {
    match duration(value)? {
        Duration::ZERO => Err("must be more than 0".to_owned()),
        duration => Ok(duration),
    }
}

/// A URL, or a list of at least one; of equal ones the first counts.
pub(super) fn servers(value: &Value) -> Read<Vec<Server>> {
    let texts = match value {
        Value::Array(list) => list.iter().collect(),
        single => vec![single],
    };
    let mut servers = Vec::new();
    for text in texts {
        let text = text
            .as_str()
            .ok_or_else(|| expected("a URL or a list of URLs", value))?;
        let server = Server::parse(text.trim())?;
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
    if servers.is_empty() {
        return Err("must name at least one URL".to_owned());
    }
    Ok(servers)
}

/// A list of entries, each a pool or a list of pools that are tried in order.
pub(super) fn entries(value: &Value) -> Read<Vec<Entry>> {
    let wrong = || {
        expected(
            "a list with a pool, or a list of pools, for each address",
            value,
        )
    };
    let list = value.as_array().ok_or_else(wrong)?;
    if list.is_empty() {
        return Err("must name at least one pool".to_owned());
    }
    let pool = |value: &Value| match value.as_str() {
        Some(name) if !name.is_empty() => Ok(name.to_owned()),
        _ => Err(wrong()),
    };
    list.iter()
        .map(|entry| match entry {
            Value::Array(pools) if !pools.is_empty() => pools.iter().map(pool).collect(),
            single => pool(single).map(|name| vec![name]),
        })
        .map(|pools| pools.map(|pools| Entry { pools }))
        .collect()
}

/// The node file's names for pools.
pub(super) fn aliases(value: &Value) -> Read<BTreeMap<String, String>> {
    BTreeMap::deserialize(value).map_err(|_| expected("an object of aliases and pool names", value))
}

/// Routes in CNI's shape. A key that is not CNI's is refused: a misspelt `gw` would be a route elsewhere.
pub(super) fn routes(value: &Value) -> Read<Vec<Route>> {
    const KEYS: [&str; 7] = ["dst", "gw", "mtu", "advmss", "priority", "table", "scope"];
    let list = value
        .as_array()
        .ok_or_else(|| expected("a list of routes", value))?;
    list.iter()
        .map(|route| {
            let folded = cni::json::folded(route);
            let object = folded
                .as_object()
                .ok_or_else(|| expected("an object with dst and gw", route))?;
            match object.keys().find(|key| !KEYS.contains(&key.as_str())) {
                Some(key) => Err(format!("unknown key {key:?} in {route}")),
                None => Route::deserialize(&folded).map_err(|e| format!("{e} in {route}")),
            }
        })
        .collect()
}

fn expected(what: &str, value: &Value) -> String {
    format!("expected {what}, got {value}")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use serde_json::json;

    use super::*;

    #[test]
    fn durations_are_seconds_or_texts_with_a_unit() {
        for (value, millis) in [
            (json!(10), 10_000),
            (json!(0.25), 250),
            (json!("10s"), 10_000),
            (json!("1.5s"), 1500),
            (json!(" 500ms "), 500),
            (json!("3600s"), 3_600_000),
            (json!(0), 0),
        ] {
            assert_eq!(duration(&value), Ok(Duration::from_millis(millis)));
        }
        for value in [
            json!(-1),
            json!("10"),
            json!("10m"),
            json!("-1s"),
            json!("1e3s"),
            json!("infs"),
            json!("nans"),
            json!("s"),
            json!("ms"),
            json!(""),
            json!(3601),
            json!(1e300),
            json!(true),
            json!([]),
        ] {
            let why = duration(&value).unwrap_err();
            assert!(why.contains(&value.to_string()), "{why}");
        }
        assert!(some_time(&json!(0)).is_err());
        assert!(some_time(&json!("1ms")).is_ok());
    }

    #[test]
    fn servers_are_one_url_or_several() {
        let one = servers(&json!("http://a")).unwrap();
        assert_eq!(one.len(), 1);
        let two = servers(&json!(["http://a", "unix:///s", "http://a/"])).unwrap();
        assert_eq!(two.len(), 2);
        for value in [
            json!([]),
            json!(""),
            json!(7),
            json!(["http://a", 7]),
            json!({}),
        ] {
            assert!(servers(&value).is_err(), "{value}");
        }
    }

    #[test]
    fn an_entry_is_a_pool_or_a_list_of_pools() {
        let read = entries(&json!(["a", ["b", "c"]])).unwrap();
        let pools: Vec<_> = read.into_iter().map(|entry| entry.pools).collect();
        assert_eq!(pools, [vec!["a"], vec!["b", "c"]]);
        for value in [
            json!("a"),
            json!([]),
            json!([""]),
            json!([[]]),
            json!([["a", 1]]),
            json!([{"pool": "a"}]),
            json!([[["a"]]]),
        ] {
            assert!(entries(&value).is_err(), "{value}");
        }
    }

    #[test]
    fn routes_have_cnis_shape_and_no_other_keys() {
        let read = routes(
            &json!([{"dst": "0.0.0.0/0"}, {"Dst": "fd00::/8", "gw": "fd00::1", "mtu": 1400}]),
        )
        .unwrap();
        assert_eq!(read[0], Route::new("0.0.0.0/0".parse().unwrap(), None));
        assert_eq!(read[1].mtu, Some(1400));
        assert_eq!(routes(&json!([])), Ok(vec![]));
        for (value, why) in [
            (json!({}), "expected a list of routes"),
            (json!(["0.0.0.0/0"]), "expected an object"),
            (json!([{"gw": "10.0.0.1"}]), "missing field `dst`"),
            (json!([{"dst": "10.0.0.1"}]), "invalid CIDR address"),
            (
                json!([{"dst": "10.0.0.0/8", "gw": "x"}]),
                "invalid IP address",
            ),
            (
                json!([{"dst": "10.0.0.0/8", "gateway": "x"}]),
                "unknown key \"gateway\"",
            ),
        ] {
            let error = routes(&value).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn other_values_are_of_one_type() {
        assert_eq!(text(&json!(" a ")), Ok("a".to_owned()));
        assert!(text(&json!(" ")).is_err() && text(&json!(1)).is_err());
        assert_eq!(flag(&json!(true)), Ok(true));
        assert!(flag(&json!("true")).is_err());
        assert_eq!(path(&json!("/a")), Ok("/a".into()));
        assert!(path(&json!("a/b")).is_err());
        assert_eq!(aliases(&json!({"a": "b"})).unwrap()["a"], "b");
        assert!(aliases(&json!({"a": ["b"]})).is_err());
    }
}
