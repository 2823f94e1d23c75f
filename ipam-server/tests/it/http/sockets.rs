//! Unix sockets, and several listeners at once.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use super::pool;
use super::process::Process;
use super::program::refused;
use super::rest::Rest;

#[tokio::test(flavor = "multi_thread")]
async fn one_server_listens_on_tcp_and_on_a_socket_and_takes_the_socket_along() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("ipam.sock");
    let listen = format!("127.0.0.1:0,unix://{},localhost:0", socket.display());
    // A crash leaves a socket that nobody serves.
    drop(UnixListener::bind(&socket).expect("a socket"));
    let process = Process::start(&[("IPAM_LISTEN", &listen)]).await;
    let found = fs::metadata(&socket).expect("the socket");
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o660);
    let local = Rest::on_socket(&socket);
    local
        .post("/v1/pools", pool("v4", "10.1.0.0/24"))
        .await
        .expect(201);
    process.rest.get("/v1/pools/v4").await.expect(200);

    let second = tempfile::tempdir().expect("a folder");
    let url = format!("unix://{}", socket.display());
    let text = refused(second.path(), &["--listen", &url], &[]).await;
    assert!(
        text.contains("another server serves it") && text.contains(&url),
        "{text}"
    );
    local.get("/v1/pools/v4").await.expect(200);
    process.stop().await;
    assert!(!socket.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_socket_is_not_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("precious");
    fs::write(&file, "data").expect("write");
    let url = format!("unix://{}", file.display());
    let text = refused(folder.path(), &["--listen", &url], &[]).await;
    assert!(text.contains("not a socket"), "{text}");
    assert_eq!(fs::read_to_string(&file).expect("read"), "data");
    let missing = format!("unix://{}/none/ipam.sock", folder.path().display());
    let text = refused(folder.path(), &["--listen", &missing], &[]).await;
    assert!(text.contains("/none/ipam.sock"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_without_end_is_cut_off() {
    let process = Process::start(&[]).await;
    let mut stream = TcpStream::connect(process.address()).expect("it listens");
    let head = format!("GET /healthz HTTP/1.1\r\nx: {}\r\n", "y".repeat(80_000));
    let _ = stream.write_all(head.as_bytes());
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    process.rest.get("/healthz").await.expect(200);
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_connections_than_a_process_usually_may_have_are_served() {
    let process = Process::start_with_few_files(64).await;
    let connect = |_| TcpStream::connect(process.address()).expect("it listens");
    let idle: Vec<_> = (0..100).map(connect).collect();
    process.rest.get("/healthz").await.expect(200);
    drop(idle);
    process.stop().await;
}

/// What is in the server's and the client's buffers is not waited for; beyond that somebody has to read.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_its_answers_loses_its_connection() {
    let process = Process::start(&[]).await;
    let labels = (0..60).map(|n| (format!("label-{n}"), "x".repeat(60).into()));
    let labels: serde_json::Map<_, _> = labels.collect();
    for n in 0..4 {
        let mut pool = pool(&format!("v4-{n}"), &format!("10.{n}.0.0/24"));
        pool["labels"] = labels.clone().into();
        process.rest.post("/v1/pools", pool).await.expect(201);
    }
    let mut stream = TcpStream::connect(process.address()).expect("it listens");
    let ask = "GET /v1/pools HTTP/1.1\r\nhost: x\r\n\r\n".repeat(2_000);
    let patience = Some(Duration::from_secs(2));
    stream.set_write_timeout(patience).expect("a timeout");
    // The server stops reading too.
    let _ = stream.write_all(ask.as_bytes());
    let ours = stream.local_addr().expect("an address").port();
    assert!(is_open(&process, ours), "it is served at first");
    let end = Instant::now() + Duration::from_secs(90);
    while is_open(&process, ours) {
        assert!(Instant::now() < end, "the connection stays");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    process.rest.get("/healthz").await.expect(200);
    process.stop().await;
}

/// Whether the server's end of the connection to our port is established.
fn is_open(process: &Process, ours: u16) -> bool {
    let (_, theirs) = process.address().rsplit_once(':').expect("a port");
    let theirs: u16 = theirs.parse().expect("a port");
    let ends = format!("0100007F:{theirs:04X} 0100007F:{ours:04X} 01");
    let table = fs::read_to_string("/proc/net/tcp").expect("the table of connections");
    table.contains(&ends)
}
