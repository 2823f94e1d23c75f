//! Where log lines go: warnings and errors to stderr, and from `info` on to a file when one is configured. Never to
//! stdout, which is the protocol's.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// The file, once the configuration has named one.
static FILE: OnceLock<PathBuf> = OnceLock::new();

/// Lets the program log. Nothing is opened before there is something to write.
pub fn start() {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(Level::INFO)
        .with_ansi(false)
        .with_target(false)
        .with_writer(Sinks)
        .finish();
    // Fails only when a subscriber is there already, which then logs.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Also logs to this file from now on; the first one counts.
pub fn also_to(file: &Path) {
    let _ = FILE.set(file.to_owned());
}

struct Sinks;

/// Writes a line to each sink in one call, so that the lines of plugins that run at once do not mix.
struct Line {
    file: Option<File>,
    stderr: bool,
}

impl<'a> MakeWriter<'a> for Sinks {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line {
            file: FILE.get().and_then(|path| open(path)),
            stderr: true,
        }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line {
        Line {
            stderr: *meta.level() <= Level::WARN,
            ..self.make_writer()
        }
    }
}

fn open(path: &Path) -> Option<File> {
    let opened = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path);
    opened
        .inspect_err(|e| {
            // A log that cannot be written must not fail a container; say so where somebody may look.
            let _ = writeln!(
                io::stderr(),
                "cannot open the log file {}: {e}",
                path.display()
            );
        })
        .ok()
}

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // One sink that fails must not keep the line from the other.
        if let Some(file) = &mut self.file {
            let _ = file.write_all(line);
        }
        if self.stderr {
            let _ = io::stderr().write_all(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
