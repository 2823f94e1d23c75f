//! Unix sockets, and several listeners at once.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;

use super::pool;
use super::process::{Process, refused};
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
