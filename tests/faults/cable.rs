//! The way between one server and PostgreSQL: a proxy that understands just enough of the protocol to cut the connection
//! before a statement, before the commit, and after the commit but before its reply, and to hold each of them up.

use std::io::{BufReader, BufWriter, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::dice::Dice;
use crate::record::Record;

/// What happens to one message of the server's.
#[derive(Clone, Copy, Debug)]
enum Mishap {
    None,
    CutStatement,
    CutBeforeCommit,
    CutAfterCommit,
    Stall(Duration),
}

/// One proxy. Dropping it ends its listener; connections end with their peers.
pub(crate) struct Cable {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    database: PathBuf,
    record: Arc<Record>,
    dice: Mutex<Dice>,
    calm: AtomicBool,
    closed: AtomicBool,
}

/// Both ends of one connection.
struct Link {
    server: TcpStream,
    database: UnixStream,
    /// Nothing of what the database says reaches the server any more.
    muzzled: AtomicBool,
}

impl Cable {
    /// A cable to the unix socket in the folder of a cluster.
    pub(crate) fn new(folder: &str, dice: Dice, record: &Arc<Record>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let shared = Arc::new(Shared {
            database: PathBuf::from(folder).join(".s.PGSQL.5432"),
            record: Arc::clone(record),
            dice: Mutex::new(dice),
            calm: AtomicBool::new(true),
            closed: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || serving.listen(&listener));
        Self { port, shared }
    }

    /// The URL of a database at the other end.
    pub(crate) fn url(&self, name: &str) -> String {
        let port = self.port;
        format!("postgres://postgres@127.0.0.1:{port}/{name}?sslmode=disable")
    }

    /// Whether nothing goes wrong here; so it is at first.
    pub(crate) fn be_calm(&self, calm: bool) {
        self.shared.calm.store(calm, Ordering::SeqCst);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        // Wakes the listener.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    fn listen(self: Arc<Self>, listener: &TcpListener) {
        for server in listener.incoming().flatten() {
            if self.closed.load(Ordering::SeqCst) {
                return;
            }
            let Ok(database) = UnixStream::connect(&self.database) else {
                continue;
            };
            let link = Arc::new(Link {
                server,
                database,
                muzzled: AtomicBool::new(false),
            });
            let (shared, up) = (Arc::clone(&self), Arc::clone(&link));
            thread::spawn(move || {
                // Either end may go at any time.
                let _ = up.carry_up(&shared);
                up.cut();
            });
            thread::spawn(move || {
                let _ = link.carry_down();
                link.cut();
            });
        }
    }

    fn mishap(&self, kind: u8, payload: &[u8]) -> Mishap {
        if self.calm.load(Ordering::SeqCst) {
            return Mishap::None;
        }
        let is_commit = kind == b'Q' && payload.windows(8).any(|word| word == b"; commit");
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        let (mishap, name) = match is_commit {
            true => match dice.below(100) {
                0 | 1 => (Mishap::CutBeforeCommit, "cut before the commit"),
                2 | 3 => (Mishap::CutAfterCommit, "cut after the commit"),
                4 | 5 => (Mishap::Stall(dice.millis(20..300)), "commit held up"),
                _ => return Mishap::None,
            },
            // Executions and simple queries: what makes the database do something.
            false if matches!(kind, b'E' | b'Q') => match dice.below(1500) {
                0 | 1 => (Mishap::CutStatement, "cut before a statement"),
                2 => (Mishap::Stall(dice.millis(20..300)), "statement held up"),
                _ => return Mishap::None,
            },
            false => return Mishap::None,
        };
        self.record.count(&format!("fault: database: {name}"));
        mishap
    }
}

impl Link {
    fn cut(&self) {
        let _ = self.server.shutdown(Shutdown::Both);
        let _ = self.database.shutdown(Shutdown::Both);
    }

    fn carry_up(&self, shared: &Shared) -> std::io::Result<()> {
        let mut from = BufReader::new(&self.server);
        let mut to = BufWriter::new(&self.database);
        let startup = read_body(&mut from, Vec::new())?;
        to.write_all(&startup)?;
        to.flush()?;
        loop {
            let mut kind = [0];
            from.read_exact(&mut kind)?;
            let message = read_body(&mut from, kind.to_vec())?;
            match shared.mishap(kind[0], &message) {
                Mishap::None => {}
                Mishap::CutStatement | Mishap::CutBeforeCommit => return Ok(()),
                // What follows is the reply to the commit: whoever carries it down cuts.
                Mishap::CutAfterCommit => self.muzzled.store(true, Ordering::SeqCst),
                Mishap::Stall(time) => thread::sleep(time),
            }
            to.write_all(&message)?;
            if from.buffer().is_empty() {
                to.flush()?;
            }
        }
    }

    fn carry_down(&self) -> std::io::Result<()> {
        let mut buffer = [0; 16384];
        loop {
            let count = (&self.database).read(&mut buffer)?;
            if count == 0 || self.muzzled.load(Ordering::SeqCst) {
                return Ok(());
            }
            (&self.server).write_all(&buffer[..count])?;
        }
    }
}

/// Reads a message's length and body behind what is read of it.
fn read_body(from: &mut impl Read, mut message: Vec<u8>) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    message.extend_from_slice(&length);
    let rest = u64::from(u32::from_be_bytes(length)).saturating_sub(4);
    let read = from.take(rest).read_to_end(&mut message)?;
    match u64::try_from(read).is_ok_and(|read| read == rest) {
        true => Ok(message),
        false => Err(std::io::ErrorKind::UnexpectedEof.into()),
    }
}
