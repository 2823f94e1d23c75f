//! `cluster-ipam flush`: delivers the whole spool, for a node that may never run the plugin again.

use std::io::{self, Write};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use cni::Error;

use crate::client::{Access, Client};
use crate::config::Config;
use crate::identity::Identity;
use crate::replay::{self, BATCH, Delivery};
use crate::spool::{Name, Spool};
use crate::state::State;

/// How long it waits for a replay that is under way; those take a fraction of a second.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// What to flush.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flush {
    /// Instead of the default node file.
    pub node_file: Option<PathBuf>,
    /// Instead of the node file's state directory.
    pub state_dir: Option<PathBuf>,
}

impl Flush {
    /// Delivers what it can and writes a summary to `out`. True when nothing is left.
    pub fn run(&self, issued: i64, out: &mut dyn Write) -> Result<bool, Error> {
        let mut config = Config::of_node_file(self.node_file.as_deref())?;
        if let Some(dir) = &self.state_dir {
            config.state_dir.clone_from(dir);
        }
        let spool = Spool::of(&config.state_dir);
        let unreadable = |e: io::Error| Error::io(format!("spool {}: {e}", spool.dir().display()));
        let total = spool.names().map_err(unreadable)?.len();
        let done = if total == 0 {
            Delivery::default()
        } else {
            deliver_all(&config, &spool, issued, out)?
        };
        let left = spool.names().map_err(unreadable)?.len();
        let Delivery {
            delivered,
            rejected,
            ..
        } = done;
        let summary = format!(
            "{delivered} delivered, {left} left in {}, {rejected} set aside in its folder rejected",
            spool.dir().display()
        );
        writeln!(out, "{summary}").map_err(unreadable)?;
        Ok(left == 0)
    }
}

fn deliver_all(
    config: &Config,
    spool: &Spool,
    issued: i64,
    out: &mut dyn Write,
) -> Result<Delivery, Error> {
    let failed = |e: io::Error| Error::io(format!("spool {}: {e}", spool.dir().display()));
    let boot_id = Identity::read(issued)?.boot_id;
    let _lock = lock(spool)?;
    spool.sweep().map_err(failed)?;
    let mut done = Delivery::default();
    for (access, names) in groups(config, spool).map_err(failed)? {
        let client = Client::new(access, None, &config.node)?;
        for batch in names.chunks(BATCH) {
            let deadline = Instant::now() + config.timeout;
            let part =
                replay::deliver(&client, spool, batch, &boot_id, deadline).map_err(failed)?;
            done.delivered += part.delivered;
            done.rejected += part.rejected;
            if let Some(fault) = part.fault {
                writeln!(out, "{fault}").map_err(failed)?;
                break;
            }
        }
    }
    Ok(done)
}

fn lock(spool: &Spool) -> Result<impl Drop + use<>, Error> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        let lock = spool
            .try_lock()
            .map_err(|e| Error::io(format!("cannot lock the spool: {e}")))?;
        match lock {
            Some(lock) => return Ok(lock),
            None if Instant::now() >= deadline => {
                return Err(Error::try_again("another process is replaying the spool"));
            }
            None => sleep(Duration::from_millis(20)),
        }
    }
}

/// The records by whom they are given to.
fn groups(config: &Config, spool: &Spool) -> io::Result<Vec<(Access, Vec<Name>)>> {
    let state = State::load(&config.state_dir).unwrap_or_default();
    let present = Access {
        service_id: state
            .service(&config.servers)
            .map(|service| service.id.clone()),
        servers: config.servers.clone(),
        token_file: config.token_file.clone(),
        ca_file: config.ca_file.clone(),
    };
    let mut groups: Vec<(Access, Vec<Name>)> = Vec::new();
    for name in spool.names()? {
        let Some(record) = spool.read(&name)? else {
            continue;
        };
        let access = replay::access_for(&record, &present, &state);
        match groups.iter_mut().find(|(known, _)| *known == access) {
            Some((_, names)) => names.push(name),
            None => groups.push((access, vec![name])),
        }
    }
    Ok(groups)
}
