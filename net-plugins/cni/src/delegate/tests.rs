//! Small shell scripts as delegates.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::error::{DECODE, INTERNAL, TRY_AGAIN};

/// A folder with one delegate called `x`.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new(script: &str) -> Self {
        let folder = TempDir::new().unwrap();
        // The shell closes the file after writing: a test that writes programs itself and forks at once would meet
        // ETXTBSY through the other tests' children.
        let program = folder.path().join("x");
        let text = format!("#!/bin/sh\ncd {}\n{script}\n", folder.path().display());
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    fn invocation(&self) -> Invocation {
        Invocation {
            command: Command::Add,
            container_id: "c1".into(),
            netns: "/run/netns/x".into(),
            ifname: "eth0".into(),
            args: "K=V".into(),
            path: vec![
                self.folder.path().join("nowhere"),
                self.folder.path().into(),
            ],
            stdin: br#"{"cniVersion": "0.4.0", "name": "net", "extra": 1}"#.to_vec(),
        }
    }

    fn add(&self) -> Result<CniResult, Error> {
        let invocation = self.invocation();
        let conf = NetConf::parse(&invocation.stdin, Command::Add)?;
        add("x", &invocation, &conf, soon())
    }

    fn seen(&self, file: &str) -> String {
        fs::read_to_string(self.folder.path().join(file)).unwrap()
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

#[test]
fn a_plugin_is_found_in_the_first_folder_that_has_it() {
    let bench = Bench::new("true");
    let path = bench.invocation().path;
    assert_eq!(find("x", &path), Ok(bench.folder.path().join("x")));
    fs::create_dir(bench.folder.path().join("folder")).unwrap();
    for kind in ["y", "folder", ".."] {
        let error = find(kind, &path).unwrap_err();
        let (a, b) = (path[0].display(), path[1].display());
        assert_eq!(error.code, INTERNAL);
        assert_eq!(
            error.msg,
            format!("failed to find plugin {kind:?} in path [{a} {b}]")
        );
    }
    assert_eq!(find("", &path).unwrap_err().msg, "no plugin name provided");
    for kind in ["/bin/sh", "../x", "./x"] {
        assert_eq!(
            find(kind, &path).unwrap_err().msg,
            format!("invalid plugin name: {kind}")
        );
    }
    assert!(find("x", &[PathBuf::new()]).is_err());
}

#[test]
fn a_delegate_gets_the_same_call_and_its_result_is_read_in_the_configs_version() {
    let bench = Bench::new(
        r#"cat >stdin; env | grep ^CNI_ | sort >env
           echo '{"ips": [{"version": "4", "address": "10.0.0.5/24"}], "dns": {}}'"#,
    );
    let result = bench.add().unwrap();
    assert_eq!(result.ips[0].address.to_string(), "10.0.0.5/24");
    assert_eq!(bench.seen("stdin").as_bytes(), bench.invocation().stdin);
    let folder = bench.folder.path().display();
    assert_eq!(
        bench.seen("env"),
        format!(
            "CNI_ARGS=K=V\nCNI_COMMAND=ADD\nCNI_CONTAINERID=c1\nCNI_IFNAME=eth0\n\
             CNI_NETNS=/run/netns/x\nCNI_PATH={folder}/nowhere:{folder}\n"
        )
    );
}

#[test]
fn only_the_command_is_replaced() {
    let bench = Bench::new("echo $CNI_COMMAND $CNI_CONTAINERID >>calls");
    for command in [Command::Del, Command::Check, Command::Status, Command::Gc] {
        call("x", command, &bench.invocation(), soon()).unwrap();
    }
    assert_eq!(bench.seen("calls"), "DEL c1\nCHECK c1\nSTATUS c1\nGC c1\n");
}

#[test]
fn a_delegates_error_becomes_ours_unchanged() {
    let bench = Bench::new(
        r#"echo '{"code": 101, "msg": "address taken", "details": "10.0.0.5"}'; exit 3"#,
    );
    let expected = Error::new(101, "address taken").with_details("10.0.0.5");
    assert_eq!(bench.add(), Err(expected.clone()));
    let del = call("x", Command::Del, &bench.invocation(), soon());
    assert_eq!(del, Err(expected));
}

#[test]
fn a_delegate_that_fails_without_an_error_object_is_reported() {
    let silent = Bench::new("exit 7").add().unwrap_err();
    assert_eq!(silent.code, INTERNAL);
    assert_eq!(
        silent.msg,
        "netplugin failed with no error message: exit status: 7"
    );
    let chatty = Bench::new("echo oops; exit 1").add().unwrap_err();
    assert_eq!(chatty.code, INTERNAL);
    assert!(
        (chatty.msg)
            .starts_with(r#"netplugin failed but error parsing its diagnostic message "oops\n": "#)
    );
    let killed = Bench::new("kill -9 $$").add().unwrap_err();
    assert!(killed.msg.contains("signal: 9"), "{killed}");
}

#[test]
fn a_delegate_that_succeeds_without_a_result_is_refused() {
    for script in ["true", "echo no json", "echo '[]'", r#"echo '{"ips": 1}'"#] {
        assert_eq!(
            Bench::new(script).add().unwrap_err().code,
            DECODE,
            "{script}"
        );
    }
}

#[test]
fn a_delegate_that_overruns_its_deadline_is_killed() {
    // The second one has closed its output, the third leaves a child behind that holds it.
    for script in ["exec sleep 30", "exec >&-; exec sleep 30", "sleep 5; true"] {
        let bench = Bench::new(script);
        let begun = Instant::now();
        let deadline = begun + Duration::from_millis(200);
        let error = call("x", Command::Del, &bench.invocation(), deadline).unwrap_err();
        assert_eq!(error.code, TRY_AGAIN);
        assert_eq!(
            error.msg,
            r#"plugin "x" did not finish DEL in time and was killed"#
        );
        assert!(begun.elapsed() < Duration::from_secs(4), "{script}");
    }
}

#[test]
fn a_delegate_whose_result_nobody_wants_any_more_has_a_moment_to_end() {
    let quick = Bench::new("sleep 0.1; touch ended");
    drop(start("x", Command::Add, &quick.invocation(), soon()).unwrap());
    assert!(quick.folder.path().join("ended").exists());
    let slow = Bench::new("exec sleep 30");
    let begun = Instant::now();
    drop(start("x", Command::Add, &slow.invocation(), soon()).unwrap());
    let took = begun.elapsed();
    assert!(took >= GRACE && took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn big_inputs_and_outputs_pass() {
    let bench = Bench::new(
        r#"echo '{"x": "'; head -c 300000 /dev/zero | tr '\0' y; echo '"}'; cat >/dev/null"#,
    );
    let mut invocation = bench.invocation();
    invocation.stdin = json!({"name": "net", "pad": "z".repeat(300_000)})
        .to_string()
        .into_bytes();
    call("x", Command::Del, &invocation, soon()).unwrap();
    let endless = Bench::new("exec cat /dev/zero");
    let error = call("x", Command::Del, &endless.invocation(), soon()).unwrap_err();
    assert_eq!(error.code, DECODE);
}

#[test]
fn a_program_that_is_being_written_is_waited_for() {
    let bench = Bench::new("true");
    let program = bench.folder.path().join("x");
    let writer = fs::OpenOptions::new().append(true).open(&program).unwrap();
    let busy = call(
        "x",
        Command::Del,
        &bench.invocation(),
        Instant::now() + Duration::from_millis(50),
    );
    assert!(busy.unwrap_err().msg.starts_with("cannot start "));
    let closer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        drop(writer);
    });
    call("x", Command::Del, &bench.invocation(), soon()).unwrap();
    closer.join().unwrap();
}

#[test]
fn a_file_that_cannot_be_run_is_named() {
    let bench = Bench::new("true");
    let program = bench.folder.path().join("x");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o644)).unwrap();
    let error = call("x", Command::Del, &bench.invocation(), soon()).unwrap_err();
    assert!(
        error.msg.contains(&program.display().to_string()),
        "{error}"
    );
}
