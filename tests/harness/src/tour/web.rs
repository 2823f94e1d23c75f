//! What runs in the containers: a web server and a web client, out of the standard library alone.

#![expect(clippy::print_stdout, reason = "a fetched page is printed")]

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// The web servers'.
pub(super) const PORT: u16 = 8080;

/// How long a container may take to answer its first request: its server has only just been started.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves one page, over both families, until killed.
pub(super) fn serve(name: &str) -> Result<()> {
    let node = nix::unistd::gethostname()?;
    let page = page(name, &node.to_string_lossy());
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT))?;
    for stream in listener.incoming() {
        // A client that goes away is no reason to stop serving.
        let _ = stream.and_then(|stream| answer(stream, &page));
    }
    Ok(())
}

/// What the web server in this container says.
pub(super) fn page(container: &str, node: &str) -> String {
    format!("this is {container} on {node}")
}

fn answer(mut stream: TcpStream, page: &str) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => request.extend_from_slice(&buffer[..count]),
        }
    }
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
        page.len()
    )
}

/// Prints the page that the server at this address serves.
pub(super) fn fetch(address: &str) -> Result<()> {
    let address = SocketAddr::new(address.parse::<IpAddr>()?, PORT);
    let mut stream = connect(address)?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    let (_, page) = response
        .split_once("\r\n\r\n")
        .with_context(|| format!("{response:?} is no HTTP response"))?;
    println!("{page}");
    Ok(())
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let end = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect_timeout(&address, Duration::from_secs(2)) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > end => {
                return Err(error).with_context(|| format!("nobody answers at {address}"));
            }
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}
