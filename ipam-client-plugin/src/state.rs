//! What a node remembers from one call to the next: who it is, and which service it leases from.
//!
//! One small file, read by every call and written by the first that succeeds. It keeps two promises of the design: one
//! name means one machine, and one client means one service.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cni::Error;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::files;
use crate::server::Server;

const FILE: &str = "state.json";
const LOCK: &str = "state.lock";

/// How long a server that answered in place of an absent one goes first.
const PREFERENCE: Duration = Duration::from_secs(60);

/// The contents of the state file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The node that leases were claimed for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Node>,
    /// The services that leases were claimed from.
    #[serde(default)]
    pub services: Vec<Service>,
}

/// A node's identity at its first claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its cluster.
    pub cluster: String,
    /// Its name.
    pub name: String,
    /// Its machine id, when it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<String>,
}

/// A service that has answered, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// The id that its answers carry.
    pub id: String,
    /// Its servers, as they were listed when it answered.
    pub servers: Vec<Server>,
    /// The server that answered last in place of another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred: Option<Preferred>,
}

/// A server to ask first for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preferred {
    /// Which.
    pub server: Server,
    /// Until when, in seconds since 1970. A stepped clock only costs a try.
    pub until_s: u64,
}

impl State {
    /// Reads the state of `dir`; empty when there is none. Code 5 or 6 when there is one that cannot be read.
    pub fn load(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => {
                return Err(Error::io(format!("cannot read {}: {e}", path.display())));
            }
        };
        serde_json::from_slice(&bytes).map_err(|e| {
            Error::decode(format!(
                "{} is damaged: {e}; remove it to start afresh",
                path.display()
            ))
        })
    }

    /// The service that these servers belong to: one that shares a URL with them.
    pub fn service(&self, servers: &[Server]) -> Option<&Service> {
        self.services
            .iter()
            .find(|service| service.servers.iter().any(|s| servers.contains(s)))
    }

    /// The service, when there is but one; what a DEL falls back to when nothing else names a server.
    pub fn only_service(&self) -> Option<&Service> {
        match self.services.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Code 105 when `node` is not the node that leases were claimed for under `dir`.
    pub fn admit(&self, node: &Node, dir: &Path) -> Result<(), Error> {
        let Some(recorded) = &self.node else {
            return Ok(());
        };
        let other_machine = matches!(
            (&recorded.machine_id, &node.machine_id),
            (Some(then), Some(now)) if then != now
        );
        if recorded.name == node.name && recorded.cluster == node.cluster && !other_machine {
            return Ok(());
        }
        let path = dir.join(FILE);
        Err(Error::new(
            crate::fault::NODE_NAME_CONFLICT,
            format!("this is {node}, but {} says {recorded}", path.display()),
        )
        .with_details(
            "set the name back; or, when the change is meant, remove the containers that hold leases and then the file",
        ))
    }

    /// Notes a success: the node, and the service that answered at `servers`. Writes only what is new.
    ///
    /// Code 104 when another call has pinned another service meanwhile, 5 when the file cannot be written.
    pub fn learn(dir: &Path, node: &Node, id: &str, servers: &[Server]) -> Result<(), Error> {
        Self::change(dir, |state| {
            let node_is_new = state.node.is_none();
            state.node.get_or_insert_with(|| node.clone());
            let pinned = state.service(servers).map(|service| service.id.clone());
            if let Some(pinned) = pinned.filter(|pinned| pinned != id) {
                return Err(crate::fault::wrong_service(&pinned, id, dir));
            }
            Ok(state.add_servers(id, servers) | node_is_new)
        })
    }

    /// Whether [`State::learn`] would have nothing to write.
    pub fn knows(&self, id: &str, servers: &[Server]) -> bool {
        self.node.is_some()
            && (self.services.iter())
                .any(|s| s.id == id && servers.iter().all(|server| s.servers.contains(server)))
    }

    /// Notes that `server` answered in place of one that goes before it.
    pub fn prefer(dir: &Path, id: &str, server: &Server) -> Result<(), Error> {
        let preferred = Preferred {
            server: server.clone(),
            until_s: now_s() + PREFERENCE.as_secs(),
        };
        Self::change(dir, |state| {
            let service = state.services.iter_mut().find(|s| s.id == id);
            let known = service.is_some();
            if let Some(service) = service {
                service.preferred = Some(preferred.clone());
            }
            Ok(known)
        })
    }

    /// True when something was added.
    fn add_servers(&mut self, id: &str, servers: &[Server]) -> bool {
        let service = match self.services.iter_mut().find(|s| s.id == id) {
            Some(service) => service,
            None => {
                self.services.push(Service {
                    id: id.to_owned(),
                    servers: Vec::new(),
                    preferred: None,
                });
                self.services.last_mut().expect("it was pushed just now")
            }
        };
        let before = service.servers.len();
        for server in servers {
            if !service.servers.contains(server) {
                service.servers.push(server.clone());
            }
        }
        service.servers.len() > before
    }

    /// Reads, changes and writes the file under a lock, so that no two calls overwrite each other's.
    fn change(
        dir: &Path,
        change: impl FnOnce(&mut Self) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let failed = |e: std::io::Error| {
            Error::io(format!("cannot write the state in {}: {e}", dir.display()))
        };
        files::make_private(dir).map_err(failed)?;
        let lock = files::open_lock(&dir.join(LOCK)).map_err(failed)?;
        let _lock = Flock::lock(lock, FlockArg::LockExclusive)
            .map_err(|(_, errno)| failed(errno.into()))?;
        let mut state = Self::load(dir)?;
        if change(&mut state)? {
            let text = serde_json::to_vec(&state).map_err(|e| failed(e.into()))?;
            files::write_durably(dir, FILE, &text).map_err(failed)?;
        }
        Ok(())
    }
}

impl Service {
    /// The server to ask first, unless the preference has run out.
    pub fn first(&self) -> Option<&Server> {
        let preferred = self.preferred.as_ref()?;
        let now = now_s();
        let fresh = now <= preferred.until_s && preferred.until_s <= now + PREFERENCE.as_secs();
        fresh.then_some(&preferred.server)
    }
}

impl std::fmt::Display for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "node {:?} of cluster {:?}", self.name, self.cluster)?;
        match &self.machine_id {
            Some(id) => write!(f, " on machine {id}"),
            None => Ok(()),
        }
    }
}

/// The state file of a directory, for messages.
pub fn file(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use super::*;

    fn servers(urls: &[&str]) -> Vec<Server> {
        urls.iter().map(|url| Server::parse(url).unwrap()).collect()
    }

    fn node(name: &str, machine: Option<&str>) -> Node {
        Node {
            cluster: "default".into(),
            name: name.into(),
            machine_id: machine.map(str::to_owned),
        }
    }

    #[test]
    fn the_first_success_pins_and_the_next_ones_write_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("state");
        assert_eq!(State::load(&dir), Ok(State::default()));
        let list = servers(&["http://a", "http://b"]);
        State::learn(&dir, &node("n", Some("m")), "s1", &list).unwrap();
        let state = State::load(&dir).unwrap();
        assert_eq!(state.service(&list).unwrap().id, "s1");
        assert_eq!(state.node, Some(node("n", Some("m"))));
        assert!(state.knows("s1", &list));
        let before = fs::metadata(file(&dir)).unwrap().modified().unwrap();
        State::learn(&dir, &node("n", Some("m")), "s1", &list).unwrap();
        assert_eq!(
            fs::metadata(file(&dir)).unwrap().modified().unwrap(),
            before
        );
    }

    #[test]
    fn a_service_is_known_by_any_of_its_servers() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        State::learn(dir, &node("n", None), "s1", &servers(&["http://a"])).unwrap();
        let grown = servers(&["http://b", "http://a"]);
        let state = State::load(dir).unwrap();
        assert_eq!(state.service(&grown).unwrap().id, "s1");
        assert_eq!(state.only_service().unwrap().id, "s1");
        assert!(!state.knows("s1", &grown));
        State::learn(dir, &node("n", None), "s1", &grown).unwrap();
        let error = State::learn(dir, &node("n", None), "s2", &servers(&["http://b"])).unwrap_err();
        assert_eq!(error.code, 104);
        assert!(error.details.contains("remove"), "{error}");
        State::learn(dir, &node("n", None), "s2", &servers(&["http://c"])).unwrap();
        assert_eq!(State::load(dir).unwrap().services.len(), 2);
        assert_eq!(State::load(dir).unwrap().only_service(), None);
    }

    #[test]
    fn another_name_or_another_machine_is_refused_naming_both() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        assert_eq!(State::default().admit(&node("n", None), dir), Ok(()));
        State::learn(dir, &node("n", Some("m1")), "s", &servers(&["http://a"])).unwrap();
        let state = State::load(dir).unwrap();
        assert_eq!(state.admit(&node("n", Some("m1")), dir), Ok(()));
        assert_eq!(state.admit(&node("n", None), dir), Ok(()));
        let mut other_cluster = node("n", Some("m1"));
        other_cluster.cluster = "c2".into();
        for (other, words) in [
            (node("x", Some("m1")), "node \"x\" of cluster \"default\""),
            (node("n", Some("m2")), "on machine m2"),
            (other_cluster, "cluster \"c2\""),
        ] {
            let error = state.admit(&other, dir).unwrap_err();
            assert_eq!(error.code, 105);
            assert!(error.msg.contains(words), "{error}");
            assert!(
                error
                    .msg
                    .contains("node \"n\" of cluster \"default\" on machine m1")
            );
            assert!(error.details.contains("and then the file"), "{error}");
        }
    }

    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(file(dir.path()), "{\"node\": 1").unwrap();
        let error = State::load(dir.path()).unwrap_err();
        assert_eq!(error.code, 6);
        assert!(error.msg.contains("state.json is damaged"), "{error}");
    }

    #[test]
    fn a_preference_runs_out() {
        let dir = tempfile::tempdir().unwrap();
        let list = servers(&["http://a", "http://b"]);
        State::prefer(dir.path(), "s", &list[1]).unwrap();
        assert_eq!(State::load(dir.path()), Ok(State::default()));
        State::learn(dir.path(), &node("n", None), "s", &list).unwrap();
        State::prefer(dir.path(), "s", &list[1]).unwrap();
        let state = State::load(dir.path()).unwrap();
        let mut service = state.services[0].clone();
        assert_eq!(service.first(), Some(&list[1]));
        for until_s in [now_s() - 1, now_s() + 1000] {
            service.preferred.as_mut().unwrap().until_s = until_s;
            assert_eq!(service.first(), None);
        }
    }

    #[test]
    fn many_calls_at_once_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for n in 0..16 {
                let path = dir.path();
                scope.spawn(move || {
                    let url = format!("http://s{n}");
                    let id = format!("id{n}");
                    State::learn(path, &node("n", None), &id, &servers(&[&url])).unwrap();
                });
            }
        });
        assert_eq!(State::load(dir.path()).unwrap().services.len(), 16);
    }
}
