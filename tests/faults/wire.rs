//! The way between clients and one server: a proxy that loses requests and answers, holds them up, and sends them twice.
//!
//! A client of the test draws the mishap itself and names it in a header, so that it knows whether copies of its request
//! are still under way; for all others the wire draws.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ipam_api::SERVICE_ID_HEADER;

use crate::dice::Dice;
use crate::record::Record;

pub(crate) const HEADER: &str = "x-mishap";

/// Longer than a server lets anything wait.
const PATIENCE: Duration = Duration::from_secs(90);

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    None,
    /// The connection is cut, the server sees nothing.
    CutBefore,
    /// The server carries it out, the answer is lost.
    CutAfter,
    /// The answer breaks off.
    HalfAnswer,
    /// The server gets it later, perhaps when the client has gone.
    Late(Duration),
    /// The server gets it twice.
    Twice(Duration),
    /// Another service gets it.
    Elsewhere,
    /// Another service gets it, and is told that it is not meant for it.
    Astray,
}

impl Mishap {
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        match dice.below(48) {
            0 => Self::CutBefore,
            1 => Self::CutAfter,
            2 => Self::HalfAnswer,
            3 => Self::Late(dice.millis(5..700)),
            4 => Self::Twice(dice.millis(0..700)),
            5 => Self::Elsewhere,
            6 => Self::Astray,
            _ => Self::None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::CutBefore => "cut before the request",
            Self::CutAfter => "cut before the answer",
            Self::HalfAnswer => "cut in the answer",
            Self::Late(_) => "request held up",
            Self::Twice(_) => "request sent twice",
            Self::Elsewhere => "another service",
            Self::Astray => "another service, which can tell",
        }
    }

    /// Whether a copy may be carried out when the client has its answer.
    pub(crate) fn lingers(self) -> bool {
        matches!(self, Self::Twice(_))
    }

    pub(crate) fn header(self) -> String {
        match self {
            Self::Late(time) | Self::Twice(time) => {
                format!("{}/{}", self.name(), time.as_millis())
            }
            other => other.name().to_owned(),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (name, millis) = text.split_once('/').unwrap_or((text, "0"));
        let time = Duration::from_millis(millis.parse().ok()?);
        let all = [
            Self::None,
            Self::CutBefore,
            Self::CutAfter,
            Self::HalfAnswer,
            Self::Late(time),
            Self::Twice(time),
            Self::Elsewhere,
            Self::Astray,
        ];
        all.into_iter().find(|mishap| mishap.name() == name)
    }
}

/// One proxy. Dropping it ends its listener; connections end with their peers.
pub(crate) struct Wire {
    url: String,
    shared: Arc<Shared>,
}

struct Shared {
    server: PathBuf,
    stranger: PathBuf,
    record: Arc<Record>,
    dice: Mutex<Dice>,
    calm: AtomicBool,
    closed: AtomicBool,
    under_way: AtomicUsize,
}

/// Counts a request as under way while it lives.
struct UnderWay<'a>(&'a Shared);

impl Wire {
    /// A wire to the unix socket of a server; mishaps lead to that of a stranger.
    pub(crate) fn new(server: &str, stranger: &str, dice: Dice, record: &Arc<Record>) -> Self {
        let path = |url: &str| Path::new(url.trim_start_matches("unix://")).to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared {
            server: path(server),
            stranger: path(stranger),
            record: Arc::clone(record),
            dice: Mutex::new(dice),
            calm: AtomicBool::new(true),
            closed: AtomicBool::new(false),
            under_way: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || serving.listen(&listener));
        Self {
            url: format!("http://{address}"),
            shared,
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Whether nothing goes wrong here; so it is at first.
    pub(crate) fn be_calm(&self, calm: bool) {
        self.shared.calm.store(calm, Ordering::SeqCst);
    }

    /// Waits until no request is under way.
    pub(crate) fn drain(&self) {
        while self.shared.under_way.load(Ordering::SeqCst) > 0 {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        // Wakes the listener.
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
    }
}

impl Shared {
    fn listen(self: Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming().flatten() {
            if self.closed.load(Ordering::SeqCst) {
                return;
            }
            let shared = Arc::clone(&self);
            thread::spawn(move || shared.serve(client));
        }
    }

    /// Clients may send several requests over one connection.
    fn serve(self: Arc<Self>, mut client: TcpStream) {
        while let Some(request) = read_message(&mut client) {
            let _under_way = UnderWay::new(&self);
            let mishap = self.mishap(&request);
            if mishap != Mishap::None {
                self.record
                    .count(&format!("fault: wire: {}", mishap.name()));
            }
            if !self.carry(&mut client, &request, mishap) {
                return;
            }
        }
    }

    fn mishap(&self, request: &[u8]) -> Mishap {
        if self.calm.load(Ordering::SeqCst) {
            return Mishap::None;
        }
        let named = header(request, HEADER).and_then(|text| Mishap::parse(&text));
        named.unwrap_or_else(|| {
            let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
            // Processes are few: each meets more.
            let once_more = Mishap::draw(&mut dice);
            Some(Mishap::draw(&mut dice))
                .filter(|mishap| *mishap != Mishap::None)
                .unwrap_or(once_more)
        })
    }

    /// True when the connection goes on.
    fn carry(self: &Arc<Self>, client: &mut TcpStream, request: &[u8], mishap: Mishap) -> bool {
        match mishap {
            Mishap::CutBefore => false,
            Mishap::CutAfter => {
                forward(&self.server, request);
                false
            }
            Mishap::HalfAnswer => {
                if let Some(answer) = forward(&self.server, request) {
                    let _ = client.write_all(&answer[..answer.len() / 2]);
                }
                false
            }
            Mishap::Late(time) => {
                thread::sleep(time);
                relay(&self.server, request, client)
            }
            Mishap::Twice(time) => {
                self.send_again(request, time);
                relay(&self.server, request, client)
            }
            Mishap::Elsewhere => relay(&self.stranger, &without_service(request), client),
            Mishap::Astray => self.mislead(client, request),
            Mishap::None => relay(&self.server, request, client),
        }
    }
}

impl Shared {
    /// A request that names its service is refused by every other: what that grants nobody holds.
    fn mislead(&self, client: &mut TcpStream, request: &[u8]) -> bool {
        let Some(answer) = forward(&self.stranger, request) else {
            return false;
        };
        let refusal: &[u8] = b"\"wrong_service\"";
        let is_refused = answer.windows(refusal.len()).any(|part| part == refusal);
        if let Some(meant) = header(request, SERVICE_ID_HEADER)
            && !is_refused
        {
            let answer = String::from_utf8_lossy(&answer);
            self.record.complain(format!(
                "a request meant for service {meant} was served by another: {answer}"
            ));
        }
        client.write_all(&answer).is_ok()
    }

    fn send_again(self: &Arc<Self>, request: &[u8], after: Duration) {
        let (shared, request) = (Arc::clone(self), request.to_vec());
        self.under_way.fetch_add(1, Ordering::SeqCst);
        thread::spawn(move || {
            let _counted = UnderWay(&shared);
            thread::sleep(after);
            forward(&shared.server, &request);
        });
    }
}

impl<'a> UnderWay<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.under_way.fetch_add(1, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The request without the service that it is meant for: a server that does not look at that is the worst stranger.
fn without_service(request: &[u8]) -> Vec<u8> {
    let mut request = request.to_vec();
    let name = format!("{SERVICE_ID_HEADER}:");
    let name = name.as_bytes();
    let found = (request.windows(name.len())).position(|it| it.eq_ignore_ascii_case(name));
    if let Some(at) = found {
        request[at] = b'x';
    }
    request
}

fn relay(server: &Path, request: &[u8], client: &mut TcpStream) -> bool {
    forward(server, request).is_some_and(|answer| client.write_all(&answer).is_ok())
}

/// Sends a request and answers what comes back whole.
fn forward(server: &Path, request: &[u8]) -> Option<Vec<u8>> {
    let mut server = UnixStream::connect(server).ok()?;
    server.set_read_timeout(Some(PATIENCE)).ok()?;
    server.write_all(request).ok()?;
    read_message(&mut server)
}

/// An HTTP request or answer with its body, whose length is in the head.
pub(crate) fn read_message(stream: &mut impl Read) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        if let Some(head) = message.windows(4).position(|end| end == b"\r\n\r\n") {
            let length = header(&message, "content-length").map_or(Some(0), |n| n.parse().ok())?;
            if message.len() >= head + 4 + length {
                return Some(message);
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(count) => message.extend_from_slice(&buffer[..count]),
        }
    }
}

pub(crate) fn header(message: &[u8], name: &str) -> Option<String> {
    let head = message.split(|byte| *byte == b'\n');
    head.take_while(|line| !line.trim_ascii().is_empty())
        .find_map(|line| {
            let line = std::str::from_utf8(line).ok()?;
            let (key, value) = line.split_once(':')?;
            (key.eq_ignore_ascii_case(name)).then(|| value.trim().to_owned())
        })
}
