//! Writing files of the state directory so that a reader, or a crash, never finds half a file.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Creates a directory that only its owner may enter; one that exists stays as it is.
pub(crate) fn make_private(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().unwrap_or(dir);
    fs::create_dir_all(parent)?;
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(e) => Err(e),
        // Else a crash may lose the directory, with all that was written into it durably.
        Ok(()) => File::open(parent)?.sync_all(),
    }
}

/// Writes a file that survives a crash of the machine once this has returned: temporary file, fsync, rename, fsync of
/// the directory.
pub(crate) fn write_durably(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    replace(dir, name, bytes, true)?;
    File::open(dir)?.sync_all()
}

/// Writes a file at one stroke; a crash of the machine may lose it.
pub(crate) fn write_at_once(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    replace(dir, name, bytes, false)
}

fn replace(dir: &Path, name: &str, bytes: &[u8], sync: bool) -> io::Result<()> {
    let temporary = dir.join(format!(".{name}.{}.tmp", std::process::id()));
    let written =
        write_new(&temporary, bytes, sync).and_then(|()| fs::rename(&temporary, dir.join(name)));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write_new(path: &Path, bytes: &[u8], sync: bool) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    if sync { file.sync_all() } else { Ok(()) }
}

/// Opens (and creates) a file to lock.
pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_leaves_no_temporary_one() {
        let dir = tempfile::tempdir().unwrap();
        write_durably(dir.path(), "a.json", b"long content").unwrap();
        write_durably(dir.path(), "a.json", b"short").unwrap();
        write_at_once(dir.path(), "b.json", b"").unwrap();
        assert_eq!(fs::read(dir.path().join("a.json")).unwrap(), b"short");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_write_that_fails_says_so_and_cleans_up() {
        let dir = tempfile::tempdir().unwrap();
        assert!(write_durably(&dir.path().join("absent"), "a", b"x").is_err());
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::write(dir.path().join("a/in-the-way"), b"").unwrap();
        assert!(write_durably(dir.path(), "a", b"x").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_private_directory_is_made_with_its_parents() {
        let dir = tempfile::tempdir().unwrap();
        let private = dir.path().join("x/y/state");
        make_private(&private).unwrap();
        make_private(&private).unwrap();
        let mode = fs::metadata(&private).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        fs::write(dir.path().join("file"), b"").unwrap();
        assert!(make_private(&dir.path().join("file")).is_err());
    }
}
