//! Releases that no server has confirmed yet, one file each, kept until one does.
//!
//! A file's name tells what can be known without opening it: the boot and the time of the verb (so that names sort as
//! they were issued), the attachment, and the service that it is meant for. A file appears whole or not at all.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ipam_api::{Attachment, Release};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::client::Access;
use crate::{files, hash};

const LOCK: &str = "spool.lock";
const REJECTED: &str = "rejected";
/// Older temporary files are leavings of a call that was killed before it had promised anything.
const LEAVINGS: Duration = Duration::from_secs(3600);

/// A release that waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What is released, with the boot and the time of its verb.
    pub release: Release,
    /// Whom it is meant for.
    pub access: Access,
}

/// The name of a record's file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

/// The spool of one state directory.
#[derive(Clone, Debug)]
pub struct Spool {
    state_dir: PathBuf,
    dir: PathBuf,
}

impl Name {
    fn of(record: &Record) -> Self {
        let release = &record.release;
        Self(format!(
            "{}-{:020}-{}-{}.json",
            release.boot_id.as_deref().unwrap_or("none"),
            release.issued.unwrap_or(0),
            key(&release.attachment()),
            service(record.access.service_id.as_deref()),
        ))
    }

    fn parse(file: &str) -> Option<Self> {
        let parts: Vec<_> = file.strip_suffix(".json")?.rsplitn(4, '-').collect();
        let is_hash = |text: &str| text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let whole = parts.len() == 4 && is_hash(parts[0]) && is_hash(parts[1]);
        whole.then(|| Self(file.to_owned()))
    }

    /// Whether it is about this attachment (by hash: whoever reads the record sees for certain).
    pub fn is_about(&self, attachment: &Attachment) -> bool {
        self.part(1) == Some(&key(attachment))
    }

    /// Whether it may be meant for this service: it is, or only the record's servers tell.
    pub fn may_be_for(&self, service_id: Option<&str>) -> bool {
        let part = self.part(0);
        part == Some(&service(service_id)) || part == Some(&service(None))
    }

    fn part(&self, from_end: usize) -> Option<&str> {
        self.0.strip_suffix(".json")?.rsplit('-').nth(from_end)
    }
}

impl Spool {
    /// The spool under a state directory, which need not exist.
    pub fn of(state_dir: &Path) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
            dir: state_dir.join("spool"),
        }
    }

    /// Where the records are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Keeps a record. Once this has returned it survives a crash of the machine.
    pub fn write(&self, record: &Record) -> io::Result<()> {
        files::make_private(&self.state_dir)?;
        files::make_private(&self.dir)?;
        let text = serde_json::to_vec(record)?;
        files::write_durably(&self.dir, &Name::of(record).0, &text)
    }

    /// The names of all records, each boot's in the order of issue. A spool that was never written to is empty.
    pub fn names(&self) -> io::Result<Vec<Name>> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry?.file_name().to_str().and_then(Name::parse));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Reads a record; `None` when another call has delivered it meanwhile. A damaged one is set aside.
    pub fn read(&self, name: &Name) -> io::Result<Option<Record>> {
        let bytes = match fs::read(self.dir.join(&name.0)) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        match serde_json::from_slice(&bytes) {
            Ok(record) => Ok(Some(record)),
            Err(e) => {
                self.reject(name, &format!("damaged: {e}"))?;
                Ok(None)
            }
        }
    }

    /// Forgets a record that a server has confirmed.
    pub fn remove(&self, name: &Name) -> io::Result<()> {
        match fs::remove_file(self.dir.join(&name.0)) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// Sets a record aside that no server will ever take, with the reason, for a person to look at.
    pub fn reject(&self, name: &Name, reason: &str) -> io::Result<()> {
        let rejected = self.dir.join(REJECTED);
        files::make_private(&rejected)?;
        let text = String::from_utf8_lossy(&fs::read(self.dir.join(&name.0))?).into_owned();
        let note = json!({"reason": reason, "record": text}).to_string();
        files::write_durably(&rejected, &name.0, note.as_bytes())?;
        tracing::error!(record = name.0, reason, "a spooled release was set aside");
        self.remove(name)
    }

    /// The lock that one replay at a time holds; `None` when another holds it.
    pub fn try_lock(&self) -> io::Result<Option<Flock<fs::File>>> {
        let file = files::open_lock(&self.state_dir.join(LOCK))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(lock)),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(errno.into()),
        }
    }

    /// Removes temporary files that calls left which were killed while they wrote.
    pub fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let is_temporary = name
                .to_str()
                .is_some_and(|n| n.starts_with('.') && n.ends_with(".tmp"));
            let age = || {
                SystemTime::now()
                    .duration_since(entry.metadata().ok()?.modified().ok()?)
                    .ok()
            };
            if is_temporary && age().is_some_and(|age| age > LEAVINGS) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

fn key(attachment: &Attachment) -> String {
    let Attachment {
        cluster,
        node,
        network,
        container_id,
        ifname,
    } = attachment;
    format!(
        "{:016x}",
        hash::stable(&[cluster, node, network, container_id, ifname])
    )
}

fn service(id: Option<&str>) -> String {
    format!("{:016x}", id.map_or(0, |id| hash::stable(&[id])))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use super::*;

    fn record(container: &str, issued: i64, service: Option<&str>) -> Record {
        Record {
            release: Release {
                cluster: "default".into(),
                node: "n".into(),
                network: "net".into(),
                container_id: container.into(),
                ifname: "eth0".into(),
                boot_id: Some("4b8d9f0e-1111-2222-3333-444455556666".into()),
                issued: Some(issued),
                claim_issued: None,
            },
            access: Access {
                servers: vec!["http://a".to_owned().try_into().unwrap()],
                service_id: service.map(str::to_owned),
                ..Access::default()
            },
        }
    }

    #[test]
    fn records_come_back_in_the_order_of_issue() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::of(&dir.path().join("state"));
        assert_eq!(spool.names().unwrap(), []);
        let records = [90, 1000, 7].map(|issued| record("c", issued, Some("s")));
        for record in &records {
            spool.write(record).unwrap();
        }
        let read: Vec<_> = (spool.names().unwrap().iter())
            .map(|name| spool.read(name).unwrap().unwrap().release.issued.unwrap())
            .collect();
        assert_eq!(read, [7, 90, 1000]);
        for name in spool.names().unwrap() {
            spool.remove(&name).unwrap();
            spool.remove(&name).unwrap();
            assert_eq!(spool.read(&name).unwrap(), None);
        }
        assert_eq!(spool.names().unwrap(), []);
    }

    #[test]
    fn a_name_tells_attachment_and_service() {
        let name = Name::of(&record("c1", 5, Some("s1")));
        assert_eq!(Name::parse(&name.0).as_ref(), Some(&name));
        assert!(name.is_about(&record("c1", 9, None).release.attachment()));
        assert!(!name.is_about(&record("c2", 5, None).release.attachment()));
        assert!(
            name.may_be_for(Some("s1")) && !name.may_be_for(Some("s2")) && !name.may_be_for(None)
        );
        let unpinned = Name::of(&record("c1", 5, None));
        assert!(unpinned.may_be_for(Some("s1")) && unpinned.may_be_for(None));
        for other in ["", "x.json", "a-b-c-d.json", ".x.json.1.tmp", "rejected"] {
            assert_eq!(Name::parse(other), None, "{other}");
        }
    }

    #[test]
    fn half_a_file_is_never_taken_for_a_record() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::of(dir.path());
        spool.write(&record("c", 1, None)).unwrap();
        // As a call leaves it that is killed while it writes.
        let name = Name::of(&record("c", 2, None));
        let leaving = spool.dir().join(format!(".{}.77.tmp", name.0));
        fs::write(&leaving, b"{\"rel").unwrap();
        assert_eq!(spool.names().unwrap().len(), 1);
        spool.sweep().unwrap();
        assert!(leaving.exists(), "it may still be written");
        let old = SystemTime::now() - 2 * LEAVINGS;
        let file = fs::File::options().write(true).open(&leaving).unwrap();
        file.set_modified(old).unwrap();
        spool.sweep().unwrap();
        assert!(!leaving.exists());
        assert_eq!(spool.names().unwrap().len(), 1);
    }

    #[test]
    fn a_damaged_record_is_set_aside_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::of(dir.path());
        spool.write(&record("c", 1, None)).unwrap();
        let name = spool.names().unwrap().remove(0);
        fs::write(spool.dir().join(&name.0), b"{\"release\":").unwrap();
        assert_eq!(spool.read(&name).unwrap(), None);
        assert_eq!(spool.names().unwrap(), []);
        let note = fs::read_to_string(spool.dir().join("rejected").join(&name.0)).unwrap();
        assert!(
            note.contains("damaged: EOF") && note.contains("{\\\"release\\\":"),
            "{note}"
        );
    }

    #[test]
    fn one_replay_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::of(dir.path());
        let lock = spool.try_lock().unwrap();
        assert!(lock.is_some());
        assert!(spool.try_lock().unwrap().is_none());
        drop(lock);
        assert!(spool.try_lock().unwrap().is_some());
    }
}
