//! Settings that are refused, in words that help.

use super::process::Process;
use super::program::refused;

#[tokio::test(flavor = "multi_thread")]
async fn bad_settings_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tokens");
    std::fs::write(&file, "a-token-0123456789\n").expect("write");
    let tokens = file.to_str().expect("a path");
    for (arguments, environment, words) in [
        (
            &[][..],
            &[("IPAM_LISTN", "127.0.0.1:1")][..],
            &["IPAM_LISTN", "IPAM_LISTEN"][..],
        ),
        (&["--listn", "x"], &[], &["--listn", "--listen"]),
        (
            &["--listen", "7070"],
            &[],
            &["--listen", "7070", "HOST:PORT"],
        ),
        (
            &[],
            &[("IPAM_LISTEN", "unix://relative.sock")],
            &["relative.sock", "absolute"],
        ),
        (
            &["--listen", "127.0.0.1:0,nowhere"],
            &[],
            &["nowhere", "HOST:PORT"],
        ),
        (
            &["--listen", "0.0.0.0:0"],
            &[],
            &[
                "0.0.0.0:0",
                "--admin-token-file",
                "--node-token-file",
                "--insecure-no-auth",
            ],
        ),
        (
            &["--listen", "127.0.0.1:0", "--listen", "[::]:0"],
            &[],
            &["[::]:0", "--insecure-no-auth"],
        ),
        (
            &["--listen", "0.0.0.0:0", "--admin-token-file", tokens],
            &[],
            &["0.0.0.0:0", "--node-token-file"],
        ),
        (
            &["--insecure-no-auth", "--admin-token-file", tokens],
            &[],
            &["--insecure-no-auth", "contradicts"],
        ),
        (
            &[],
            &[("IPAM_INSECURE_NO_AUTH", "perhaps")],
            &["--insecure-no-auth", "perhaps"],
        ),
        (
            &["--node-token-file", "missing-file"],
            &[],
            &["missing-file", "cannot be read"],
        ),
        (
            &["--database-url", "mysql://root:s3cret@db/x"],
            &[],
            &["mysql"],
        ),
        (&["--database-url", "s3cret"], &[], &["sqlite://"]),
        (
            &["--database-url", "sqlite:///nowhere/at/all/ipam.db"],
            &[],
            &["/nowhere/at/all/ipam.db"],
        ),
        (&["--log", "ipam=loud"], &[], &["--log", "ipam=loud"]),
        (
            &[],
            &[("IPAM_LOG_FORMAT", "xml")],
            &["--log-format", "xml", "json"],
        ),
        (
            &["--history-retention", "0"],
            &[],
            &["--history-retention", "0"],
        ),
        (&["--queue", "0"], &[], &["--queue"]),
        (&["serve"], &[], &["serve"]),
    ] {
        let text = refused(folder.path(), arguments, environment).await;
        for word in words {
            assert!(text.contains(word), "{word:?} is not in: {text}");
        }
        assert!(!text.contains("s3cret"), "{text}");
        assert!(
            !text.contains("Error {") && !text.contains("panicked"),
            "{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_does_not_answer_ends_the_start_without_telling_the_password() {
    let folder = tempfile::tempdir().expect("a folder");
    // Nobody listens on port 1.
    let url = "postgres://me:s3cret@127.0.0.1:1/leases";
    let text = refused(
        folder.path(),
        &["--listen", "127.0.0.1:0", "--database-url", url],
        &[],
    )
    .await;
    assert!(text.contains("127.0.0.1:1"), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listen_address_in_use_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let text = refused(folder.path(), &["--listen", &address], &[]).await;
    assert!(text.contains(&address) && text.contains("in use"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_setting_of_ours_is_left_alone() {
    let process = Process::start(&[
        ("IPAM_TEST_REQUIRE", "postgres"),
        ("IPAM_SERVICE_HOST", "10.0.0.1"),
        ("IPAM_SERVICE_PORT", "7070"),
        ("IPAM_PORT_7070_TCP", "tcp://10.0.0.1:7070"),
    ])
    .await;
    process.rest.get("/readyz").await.expect(200);
    process.stop().await;
}
