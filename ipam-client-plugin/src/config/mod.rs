//! The plugin's settings: the `ipam` object, over the node file, over the defaults.
//!
//! Read once into a [`Config`] that is right. ADD, CHECK, STATUS and GC refuse what is wrong by its name; DEL
//! ([`Config::lenient`]) takes what it can, since a container must be removable after its configuration broke.

mod source;
mod values;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cni::{Error, NetConf, Route};
use ipam_api::Entry;
use serde_json::{Map, Value};

use crate::server::Server;
use source::{IPAM_KEYS, NODE_FILE_KEYS, Source};

/// Where the node file is unless `nodeFile` says otherwise.
pub const NODE_FILE: &str = "/etc/cni/cluster-ipam.json";
/// Where the state directory is unless `stateDir` says otherwise.
pub const STATE_DIR: &str = "/var/lib/cni/cluster-ipam";

/// The settings of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The servers of one service. Empty only in a lenient reading that found none.
    pub servers: Vec<Server>,
    /// One address is leased for each; aliases are resolved. Empty only in a lenient reading.
    pub entries: Vec<Entry>,
    /// Replaces the pools' routes when it is there, also when it is empty.
    pub routes: Option<Vec<Route>>,
    /// The cluster's name.
    pub cluster: String,
    /// The node's name. In a lenient reading it may be any host name, also an empty one.
    pub node: String,
    /// How long an ADD or a GC may take.
    pub timeout: Duration,
    /// How long STATUS succeeds after the last answer of a server.
    pub status_grace: Duration,
    /// Whether STATUS fails when the pools are exhausted.
    pub status_on_exhausted: bool,
    /// A file with the bearer token.
    pub token_file: Option<PathBuf>,
    /// A file with the certificates (PEM) that `https://` servers are checked against, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// A file to log to, beside stderr.
    pub log_file: Option<PathBuf>,
    /// Where spool, pins and caches are.
    pub state_dir: PathBuf,
}

impl Config {
    /// Reads a network's configuration; code 7 naming what is wrong with it.
    pub fn strict(conf: &NetConf) -> Result<Self, Error> {
        let Value::Object(ipam) = &conf.ipam else {
            return Err(Error::invalid_config("IPAM config missing 'ipam' key"));
        };
        let ipam = Source::new("ipam", ipam.clone());
        ipam.refuse_unknown(IPAM_KEYS)?;
        let file = match Sources::node_file(&ipam, false)? {
            Some(path) => read_node_file(&path, ipam.get("nodeFile").is_some())?,
            None => Source::default(),
        };
        file.refuse_unknown(NODE_FILE_KEYS)?;
        let sources = Sources {
            ipam,
            file,
            lenient: false,
        };
        let config = sources.config()?;
        config.require()?;
        Ok(config)
    }

    /// Reads what can be read of a network's configuration and of the node file.
    pub fn lenient(conf: &NetConf) -> Result<Self, Error> {
        let ipam = conf.ipam.as_object().cloned().unwrap_or_default();
        Self::of_sources(Source::new("ipam", ipam))
    }

    /// Reads what can be read of a node file alone, for a call without a network.
    pub fn of_node_file(path: Option<&Path>) -> Result<Self, Error> {
        let path = path.map(|path| Value::from(path.to_string_lossy()));
        let ipam = path.map(|path| ("nodeFile".to_owned(), path));
        Self::of_sources(Source::new("ipam", Map::from_iter(ipam)))
    }

    fn of_sources(ipam: Source) -> Result<Self, Error> {
        let file = Sources::node_file(&ipam, true)?
            .and_then(|path| read_node_file(&path, false).ok())
            .unwrap_or_default();
        let sources = Sources {
            ipam,
            file,
            lenient: true,
        };
        sources.config()
    }

    /// What an ADD cannot do without.
    fn require(&self) -> Result<(), Error> {
        if self.servers.is_empty() {
            return Err(Error::invalid_config(
                "ipam: server is missing; name the URL of ipam-server there or in the node file",
            ));
        }
        if self.entries.is_empty() {
            return Err(Error::invalid_config(
                "ipam: pools is missing; name one pool for each address",
            ));
        }
        let is_localhost = matches!(
            self.node.as_str(),
            "" | "localhost" | "localhost.localdomain"
        );
        if is_localhost {
            return Err(Error::invalid_config(format!(
                "the node's name is {:?}, which is no name of its own; set the host name, or node in ipam or the node file",
                self.node
            )));
        }
        Ok(())
    }
}

/// The two origins of settings, the first one first.
struct Sources {
    ipam: Source,
    file: Source,
    lenient: bool,
}

impl Sources {
    /// The node file's path; `None` only when a lenient reading cannot make sense of it.
    fn node_file(ipam: &Source, lenient: bool) -> Result<Option<PathBuf>, Error> {
        match ipam.get("nodeFile").map(values::path) {
            None => Ok(Some(NODE_FILE.into())),
            Some(Ok(path)) => Ok(Some(path)),
            Some(Err(_)) if lenient => Ok(None),
            Some(Err(why)) => Err(wrong(ipam, "nodeFile", &why)),
        }
    }

    /// The value of a key from the first origin that has it.
    fn pick<T>(
        &self,
        key: &str,
        read: impl Fn(&Value) -> Result<T, String>,
    ) -> Result<Option<T>, Error> {
        for source in [&self.ipam, &self.file] {
            match source.get(key).map(&read) {
                None => {}
                Some(Ok(value)) => return Ok(Some(value)),
                Some(Err(_)) if self.lenient => {}
                Some(Err(why)) => return Err(wrong(source, key, &why)),
            }
        }
        Ok(None)
    }

    fn config(&self) -> Result<Config, Error> {
        Ok(Config {
            servers: self.pick("server", values::servers)?.unwrap_or_default(),
            entries: self.entries()?,
            routes: self.pick("routes", values::routes)?,
            cluster: (self.pick("cluster", values::text)?).unwrap_or_else(|| "default".to_owned()),
            node: match self.pick("node", values::text)? {
                Some(node) => node,
                None => host_name()?,
            },
            timeout: (self.pick("timeout", values::some_time)?).unwrap_or(Duration::from_secs(10)),
            status_grace: (self.pick("statusGrace", values::duration)?)
                .unwrap_or(Duration::from_secs(60)),
            status_on_exhausted: (self.pick("statusOnExhausted", values::flag)?).unwrap_or(false),
            token_file: self.pick("tokenFile", values::path)?,
            ca_file: self.pick("caFile", values::path)?,
            log_file: self.pick("logFile", values::path)?,
            state_dir: (self.pick("stateDir", values::path)?).unwrap_or_else(|| STATE_DIR.into()),
        })
    }

    /// The entries, each pool by its real name. In the node file `pools` is a list of entries, or an object of aliases.
    fn entries(&self) -> Result<Vec<Entry>, Error> {
        let mut aliases = BTreeMap::new();
        if let Some(value) = self.file.get("pools").filter(|value| value.is_object()) {
            match values::aliases(value) {
                Ok(read) => aliases = read,
                Err(_) if self.lenient => {}
                Err(why) => return Err(wrong(&self.file, "pools", &why)),
            }
        }
        let read = |value: &Value| match value {
            Value::Object(_) if self.ipam.get("pools").is_none() => Ok(Vec::new()),
            value => values::entries(value),
        };
        let mut entries = self.pick("pools", read)?.unwrap_or_default();
        for pool in entries.iter_mut().flat_map(|entry| &mut entry.pools) {
            if let Some(real) = aliases.get(pool) {
                real.clone_into(pool);
            }
        }
        Ok(entries)
    }
}

fn read_node_file(path: &Path, required: bool) -> Result<Source, Error> {
    let name = path.display().to_string();
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && !required => {
            return Ok(Source::default());
        }
        Err(e) => {
            return Err(Error::invalid_config(format!(
                "cannot read the node file {name}: {e}"
            )));
        }
    };
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(values)) => Ok(Source::new(name, values)),
        Ok(_) => Err(Error::invalid_config(format!(
            "the node file {name} does not hold a JSON object"
        ))),
        Err(e) => Err(Error::invalid_config(format!(
            "the node file {name} is not JSON: {e}"
        ))),
    }
}

fn host_name() -> Result<String, Error> {
    let name = nix::unistd::gethostname()
        .map_err(|e| Error::io(format!("cannot read the host name: {e}")))?;
    Ok(name.to_string_lossy().trim().to_owned())
}

fn wrong(source: &Source, key: &str, why: &str) -> Error {
    Error::invalid_config(format!("{}: {key}: {why}", source.name))
}
