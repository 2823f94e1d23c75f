//! The network configuration on stdin: what every plugin reads of it. A plugin's own keys stay in [`NetConf::raw`].

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::Error;
use crate::invocation::{Command, is_identifier};
use crate::json::{folded, folded_object, get};
use crate::result::{CniResult, Dns};
use crate::version::Version;

/// An attachment that the runtime says is still valid (input of GC).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValidAttachment {
    /// The container's id.
    pub container_id: String,
    /// The interface's name inside the container.
    pub ifname: String,
}

/// A network configuration.
#[derive(Clone, Debug)]
pub struct NetConf {
    /// The version to answer in.
    pub cni_version: Version,
    /// The network's name; always of the grammar of [`is_identifier`].
    pub name: String,
    /// The plugin's name (`type`).
    pub kind: String,
    /// The `ipam` object as given; `Null` when there is none.
    pub ipam: Value,
    /// `dns`, when at least one of its keys is present (an empty list is present).
    pub dns: Option<Dns>,
    /// The capabilities that the configuration declares.
    pub capabilities: BTreeMap<String, bool>,
    /// `runtimeConfig`; see [`NetConf::runtime`].
    pub runtime_config: Map<String, Value>,
    /// `args`; see [`NetConf::cni_arg`].
    pub args: Map<String, Value>,
    /// `prevResult` as given; see [`NetConf::read_prev_result`].
    pub prev_result: Option<Value>,
    /// `cni.dev/valid-attachments`, or `cni.dev/attachments`. `None` is no list at all, which never means an empty one:
    /// nothing may be collected then.
    pub valid_attachments: Option<Vec<ValidAttachment>>,
    /// The whole configuration.
    pub raw: Map<String, Value>,
}

impl NetConf {
    /// Reads a configuration: code 6 when it does not decode, 7 for the name, 1 for the version, in this order.
    ///
    /// For DEL a key of the wrong type counts as absent, so that a container can be removed although its configuration
    /// has been broken meanwhile.
    pub fn parse(stdin: &[u8], command: Command) -> Result<NetConf, Error> {
        let raw = match serde_json::from_slice(stdin).map_err(|e| undecodable(&e.to_string()))? {
            Value::Object(map) => map,
            Value::Null => Map::new(),
            other => {
                return Err(undecodable(&format!(
                    "expected an object, got {}",
                    kind_of(&other)
                )));
            }
        };
        let reader = Reader {
            raw: &raw,
            lenient: command == Command::Del,
        };
        let cni_version: String = reader.read("cniVersion")?;
        let name: String = reader.read("name")?;
        let mut conf = NetConf {
            cni_version: Version::LATEST,
            kind: reader.read("type")?,
            ipam: reader
                .read::<Option<Map<_, _>>>("ipam")?
                .map_or(Value::Null, Value::Object),
            dns: reader.dns()?,
            capabilities: reader.read("capabilities")?,
            runtime_config: reader.read("runtimeConfig")?,
            args: reader.read("args")?,
            prev_result: reader
                .read::<Option<Map<_, _>>>("prevResult")?
                .map(Value::Object),
            valid_attachments: reader.valid_attachments()?,
            name,
            raw: Map::new(),
        };
        check_name(&conf.name)?;
        conf.cni_version = Version::of_config(&cni_version)?;
        conf.raw = raw;
        Ok(conf)
    }

    /// `ipam.type`, or the empty text.
    pub fn ipam_type(&self) -> &str {
        (self.ipam.as_object())
            .and_then(|ipam| get(ipam, "type"))
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// A value of `runtimeConfig`, the key in any case.
    pub fn runtime(&self, key: &str) -> Option<&Value> {
        get(&self.runtime_config, key)
    }

    /// A value of `args.cni`, the key in any case.
    pub fn cni_arg(&self, key: &str) -> Option<&Value> {
        get(get(&self.args, "cni")?.as_object()?, key)
    }

    /// `prevResult` in today's terms; code 6 when it does not decode.
    pub fn read_prev_result(&self) -> Result<Option<CniResult>, Error> {
        let read = |value| {
            CniResult::from_json(value, self.cni_version).map_err(|e| Error {
                msg: format!("could not parse prevResult: {}", e.msg),
                ..e
            })
        };
        self.prev_result.as_ref().map(read).transpose()
    }
}

/// Reads typed values of the top level.
struct Reader<'a> {
    raw: &'a Map<String, Value>,
    lenient: bool,
}

impl Reader<'_> {
    /// The key's value, or the type's default when it is absent.
    fn read<T: DeserializeOwned + Default>(&self, key: &str) -> Result<T, Error> {
        match get(self.raw, key) {
            Some(value) => self.forgive(T::deserialize(value), key),
            None => Ok(T::default()),
        }
    }

    fn dns(&self) -> Result<Option<Dns>, Error> {
        let Some(value) = get(self.raw, "dns") else {
            return Ok(None);
        };
        let value = self.forgive(folded_object(value), "dns")?;
        let keys = ["nameservers", "domain", "search", "options"];
        let dns: Dns = match value {
            Value::Null => Dns::default(),
            _ => self.forgive(Dns::deserialize(&value), "dns")?,
        };
        Ok(keys
            .iter()
            .any(|key| value.get(key).is_some())
            .then_some(dns))
    }

    fn valid_attachments(&self) -> Result<Option<Vec<ValidAttachment>>, Error> {
        for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
            if let Some(value) = get(self.raw, key) {
                let wire = Vec::<WireAttachment>::deserialize(folded(value));
                // A list that is understood in part would make garbage of the rest.
                let list =
                    wire.map(|list| Some(list.into_iter().map(ValidAttachment::from).collect()));
                return self.forgive(list, key);
            }
        }
        Ok(None)
    }

    fn forgive<T: Default>(
        &self,
        read: Result<T, serde_json::Error>,
        key: &str,
    ) -> Result<T, Error> {
        match read {
            Err(_) if self.lenient => Ok(T::default()),
            other => other.map_err(|e| undecodable(&format!("{key}: {e}"))),
        }
    }
}

#[derive(Deserialize)]
struct WireAttachment {
    containerid: String,
    ifname: String,
}

impl From<WireAttachment> for ValidAttachment {
    fn from(wire: WireAttachment) -> Self {
        Self {
            container_id: wire.containerid,
            ifname: wire.ifname,
        }
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() {
        return Err(Error::invalid_config("missing network name"));
    }
    if !is_identifier(name) {
        return Err(
            Error::invalid_config("invalid characters found in network name")
                .with_details(format!("name is {name:?}")),
        );
    }
    Ok(())
}

fn undecodable(why: &str) -> Error {
    Error::decode(format!("error unmarshall network config: {why}"))
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests;
