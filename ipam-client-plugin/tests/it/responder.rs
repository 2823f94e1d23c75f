//! A server that does what a test tells it, to inject faults that the real one shows only when something breaks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

pub(crate) const SERVICE: &str = "service-of-the-test";

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Value,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(key, _)| key == name)?;
        Some(value)
    }
}

/// What to do with a request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Answers; the service id is added unless the headers hold one.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// Writes these bytes and closes.
    Raw(String),
    /// Says nothing for this long and closes.
    Hang(Duration),
    /// Answers after a while.
    Late(Duration, Box<Act>),
}

impl Act {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::Answer(status, Vec::new(), body.to_string())
    }

    pub(crate) fn problem(status: u16, code: &str, detail: &str) -> Self {
        let body = json!({"title": "x", "status": status, "detail": detail, "code": code, "request_id": "r-7"});
        Self::json(status, &body)
    }

    /// Leases of these addresses.
    pub(crate) fn leases(addresses: &[&str]) -> Self {
        let lease = |address: &&str| json!({"id": "1", "pool": "p", "address": address, "routes": [], "dns": {}});
        let leases: Vec<_> = addresses.iter().map(lease).collect();
        Self::json(201, &json!({"leases": leases}))
    }

    pub(crate) fn released() -> Self {
        Self::json(200, &json!({"released": 1}))
    }

    pub(crate) fn with_header(self, name: &'static str, value: &str) -> Self {
        match self {
            Self::Answer(status, mut headers, body) => {
                headers.push((name, value.to_owned()));
                Self::Answer(status, headers, body)
            }
            other => other,
        }
    }
}

type Script = dyn Fn(&Request, usize) -> Act + Send + Sync;

/// Listens on a port of its own until it is dropped.
pub(crate) struct Responder {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    stopped: Arc<AtomicBool>,
}

impl Responder {
    /// Serves each request as `script` says, which also gets the number of requests before.
    pub(crate) fn start(script: impl Fn(&Request, usize) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let responder = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
            stopped: Arc::default(),
        };
        let (requests, stopped) = (
            Arc::clone(&responder.requests),
            Arc::clone(&responder.stopped),
        );
        let script: Arc<Script> = Arc::new(script);
        let count = Arc::new(AtomicUsize::new(0));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (script, requests) = (Arc::clone(&script), Arc::clone(&requests));
                let count = Arc::clone(&count);
                let stream = stream.unwrap();
                thread::spawn(move || serve(stream, &*script, &requests, &count));
            }
        });
        responder
    }

    /// Always does the same.
    pub(crate) fn always(act: Act) -> Self {
        Self::start(move |_, _| act.clone())
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The requests of one path.
    pub(crate) fn of(&self, path: &str) -> Vec<Request> {
        let mut requests = self.requests();
        requests.retain(|request| request.path == path);
        requests
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the listener, which then closes.
        let _ = TcpStream::connect(self.address);
    }
}

/// An address where nobody listens: a port that was free a moment ago.
pub(crate) fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn serve(stream: TcpStream, script: &Script, requests: &Mutex<Vec<Request>>, count: &AtomicUsize) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(request) = read(&mut reader) {
        requests.lock().unwrap().push(request.clone());
        let act = script(&request, count.fetch_add(1, Ordering::SeqCst));
        if !perform(&stream, act) {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut first = String::new();
    if reader.read_line(&mut first).ok()? == 0 {
        return None;
    }
    let path = first.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        path,
        headers,
        body: serde_json::from_slice(&body).unwrap(),
    })
}

/// True when the connection may go on. The plugin may be gone: what cannot be written is not.
fn perform(mut stream: &TcpStream, act: Act) -> bool {
    match act {
        Act::Answer(status, headers, body) => {
            let mut text = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n", body.len());
            if !headers.iter().any(|(name, _)| *name == "ipam-service-id") {
                text.push_str(&format!("ipam-service-id: {SERVICE}\r\n"));
            }
            for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
            stream
                .write_all(format!("{text}\r\n{body}").as_bytes())
                .is_ok()
        }
        Act::Raw(bytes) => {
            let _ = stream.write_all(bytes.as_bytes());
            false
        }
        Act::Hang(time) => {
            thread::sleep(time);
            false
        }
        Act::Late(time, act) => {
            thread::sleep(time);
            perform(stream, *act)
        }
    }
}
