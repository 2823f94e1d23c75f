//! `https://`: certificates are checked, against `caFile` where one is named.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;

use crate::node::Node;

/// A certificate for 127.0.0.1 that signs itself, made by openssl; false when the machine has none.
fn certificate(node: &Node) -> bool {
    if harness::require::program("openssl").is_none() {
        return false;
    }
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ])
        .args([
            "-days",
            "2",
            "-subj",
            "/CN=ipam",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ])
        .arg("-keyout")
        .arg(node.path("key.pem"))
        .arg("-out")
        .arg(node.path("cert.pem"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    true
}

/// Answers one lease to each request that gets through; its URL.
fn serve(node: &Node) -> String {
    let certificates = CertificateDer::pem_file_iter(node.path("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(node.path("key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates.map(Result::unwrap).collect(), key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    // More connections than the test makes tries.
    thread::spawn(move || {
        for stream in listener.incoming().take(100) {
            answer(stream.unwrap(), Arc::clone(&config));
        }
    });
    url
}

fn answer(stream: TcpStream, config: Arc<ServerConfig>) {
    let connection = ServerConnection::new(config).unwrap();
    let mut reader = BufReader::new(StreamOwned::new(connection, stream));
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
        line.clear();
    }
    let body = json!({"leases": [{"address": "10.0.0.5/24"}]}).to_string();
    let head = format!(
        "HTTP/1.1 201 x\r\nipam-service-id: s\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    // A client that does not trust the certificate is gone by now.
    let _ = reader
        .get_mut()
        .write_all(format!("{head}{body}").as_bytes());
    let _ = reader.get_mut().flush();
}

#[test]
fn a_server_is_trusted_by_its_ca_file_and_not_without() {
    let node = Node::new("n1");
    if !certificate(&node) {
        return;
    }
    let mut config = node.network("1.1.0", &json!(serve(&node)), &json!(["p"]));
    config["ipam"]["timeout"] = json!("500ms");
    config["ipam"]["caFile"] = json!(node.path("cert.pem"));
    assert_eq!(node.run("ADD", "c1", &config).addresses(), ["10.0.0.5/24"]);
    config["ipam"].as_object_mut().unwrap().remove("caFile");
    node.run("ADD", "c1", &config).fails(11, "certificate");
}

#[test]
fn a_ca_file_that_cannot_be_used_is_named() {
    let node = Node::new("n1");
    let mut config = node.network("1.1.0", &json!("https://127.0.0.1:1"), &json!(["p"]));
    config["ipam"]["caFile"] = json!("/nonexistent/ca.pem");
    node.run("ADD", "c1", &config)
        .fails(5, "caFile /nonexistent/ca.pem");
    fs::write(node.path("empty.pem"), "").unwrap();
    config["ipam"]["caFile"] = json!(node.path("empty.pem"));
    node.run("ADD", "c1", &config)
        .fails(5, "holds no certificate");
}
