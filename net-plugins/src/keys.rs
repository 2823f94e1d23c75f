//! What the plugins' configurations have in common: how keys are read, and a container's hardware address.

use cni::args::Args;
use cni::json::folded;
use cni::{Command, Error, Invocation, NetConf};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::link::NAME_MAX;
use crate::mac::Mac;

/// The plugin's own keys. Its type names them in lower case, because runtimes spell them as they like. For DEL a
/// configuration that does not decode any more counts as empty: a container must be removable.
pub fn read<T: DeserializeOwned + Default>(conf: &NetConf, command: Command) -> Result<T, Error> {
    match T::deserialize(folded(&Value::Object(conf.raw.clone()))) {
        Err(_) if command == Command::Del => Ok(T::default()),
        outcome => {
            outcome.map_err(|e| Error::decode(format!("error unmarshall network config: {e}")))
        }
    }
}

/// `CNI_ARGS` of a plugin that knows `MAC`.
pub fn args(invocation: &Invocation) -> Result<Args, Error> {
    match invocation.command {
        Command::Add | Command::Check => Args::parse(&invocation.args, &["MAC"]),
        _ => Ok(Args::parse_lenient(&invocation.args)),
    }
}

/// The first of the texts that is present and not empty, as a hardware address. `failed` makes the error's text.
pub fn mac<'a>(
    texts: impl IntoIterator<Item = Option<&'a str>>,
    failed: impl Fn(&str) -> String,
) -> Result<Option<Mac>, Error> {
    let given = texts.into_iter().flatten().find(|text| !text.is_empty());
    let parse = |text| Mac::parse(text).ok_or_else(|| Error::internal(failed(text)));
    given.map(parse).transpose()
}

/// The MTU: 0 is the kernel's choice. 68 is the least that IPv4 allows.
pub fn mtu(value: i64) -> Result<u32, Error> {
    match u32::try_from(value) {
        Ok(mtu) if mtu == 0 || (68..=65535).contains(&mtu) => Ok(mtu),
        _ => Err(Error::invalid_config(format!(
            "invalid MTU {value}, must be 0 or from 68 to 65535"
        ))),
    }
}

/// Fails unless the kernel takes `name` as a link's.
pub fn check_link_name(key: &str, name: &str) -> Result<(), Error> {
    let why = if name.len() > NAME_MAX {
        "is too long (at most 15 bytes)"
    } else if name.is_empty() || name == "." || name == ".." {
        "is no name"
    } else if name.contains(|c: char| c == '/' || c == ':' || c == '\0' || c.is_whitespace()) {
        "contains / or : or whitespace characters"
    } else {
        return Ok(());
    };
    Err(Error::invalid_config(format!(
        "{key}: interface name {name:?} {why}"
    )))
}

/// Fails for a network without addresses whose version cannot express such a result: better before anything is done.
pub fn check_layer2_version(conf: &NetConf) -> Result<(), Error> {
    if conf.cni_version >= cni::Version::V0_3_0 {
        return Ok(());
    }
    Err(Error::internal("cannot convert: no valid IP addresses"))
}
