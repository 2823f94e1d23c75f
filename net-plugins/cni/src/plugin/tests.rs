//! Whole runs in process: environment and streams in, exit code and streams out.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::cell::RefCell;
use std::ffi::OsString;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::error::TRY_AGAIN;
use crate::result::Ip;

/// A plugin of no network: it notes what it was asked and answers with `outcome`.
struct Recorder {
    calls: RefCell<Vec<Command>>,
    afterwards: RefCell<Vec<Command>>,
    outcome: fn() -> Result<CniResult, Error>,
}

impl Recorder {
    fn new(outcome: fn() -> Result<CniResult, Error>) -> Self {
        Self {
            calls: RefCell::default(),
            afterwards: RefCell::default(),
            outcome,
        }
    }

    fn note(&self, invocation: &Invocation) -> Result<CniResult, Error> {
        self.calls.borrow_mut().push(invocation.command);
        (self.outcome)()
    }
}

impl Plugin for Recorder {
    fn about(&self) -> &str {
        "recorder: notes calls"
    }
    fn add(&self, invocation: &Invocation, _: &NetConf) -> Result<CniResult, Error> {
        self.note(invocation)
    }
    fn del(&self, invocation: &Invocation, _: &NetConf) -> Result<(), Error> {
        self.note(invocation).map(drop)
    }
    fn check(&self, invocation: &Invocation, _: &NetConf) -> Result<(), Error> {
        self.note(invocation).map(drop)
    }
    fn status(&self, invocation: &Invocation, _: &NetConf) -> Result<(), Error> {
        self.note(invocation).map(drop)
    }
    fn gc(&self, invocation: &Invocation, _: &NetConf) -> Result<(), Error> {
        self.note(invocation).map(drop)
    }
    fn after(&self, invocation: &Invocation, _: &NetConf) {
        self.afterwards.borrow_mut().push(invocation.command);
    }
}

fn one_address() -> Result<CniResult, Error> {
    Ok(CniResult {
        ips: vec![Ip {
            interface: None,
            address: "10.0.0.5/24".parse().unwrap(),
            gateway: None,
        }],
        ..CniResult::default()
    })
}

fn nothing() -> Result<CniResult, Error> {
    Ok(CniResult::default())
}

struct Outcome {
    exit: u8,
    stdout: String,
    stderr: String,
}

impl Outcome {
    fn object(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap()
    }
}

fn env_of(command: &str) -> impl Fn(&str) -> Option<OsString> {
    move |name| {
        Some(OsString::from(match name {
            "CNI_COMMAND" => command,
            "CNI_CONTAINERID" => "c1",
            "CNI_NETNS" => "/run/netns/x",
            "CNI_IFNAME" => "eth0",
            "CNI_PATH" => "/opt/cni/bin",
            _ => return None,
        }))
    }
}

fn run_over(plugin: &Recorder, env: Env<'_>, mut stdin: &[u8]) -> Outcome {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let exit = run(plugin, env, &mut stdin, &mut stdout, &mut stderr);
    Outcome {
        exit,
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

fn call(plugin: &Recorder, command: &str, version: &str) -> Outcome {
    let config = json!({"cniVersion": version, "name": "net", "type": "recorder"}).to_string();
    run_over(plugin, &env_of(command), config.as_bytes())
}

#[test]
fn without_a_command_it_introduces_itself_on_stderr() {
    let plugin = Recorder::new(nothing);
    for command in [None, Some(OsString::new())] {
        let outcome = run_over(&plugin, &|_| command.clone(), b"");
        assert_eq!((outcome.exit, outcome.stdout.as_str()), (0, ""));
        assert_eq!(
            outcome.stderr,
            "recorder: notes calls\n\
             CNI protocol versions supported: 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0\n"
        );
    }
    assert!(plugin.calls.borrow().is_empty());
}

#[test]
fn an_add_prints_its_result_in_the_configs_version() {
    for version in SUPPORTED {
        let plugin = Recorder::new(one_address);
        let outcome = call(&plugin, "ADD", version.as_str());
        assert_eq!(outcome.exit, 0);
        assert_eq!(
            outcome.object(),
            one_address().unwrap().to_json(version).unwrap()
        );
        assert_eq!(outcome.stderr, "");
        assert_eq!(*plugin.calls.borrow(), [Command::Add]);
        assert_eq!(*plugin.afterwards.borrow(), [Command::Add]);
    }
}

#[test]
fn the_other_commands_succeed_silently() {
    for (name, command) in [
        ("DEL", Command::Del),
        ("CHECK", Command::Check),
        ("STATUS", Command::Status),
        ("GC", Command::Gc),
    ] {
        let plugin = Recorder::new(nothing);
        let outcome = call(&plugin, name, "1.1.0");
        assert_eq!((outcome.exit, outcome.stdout.as_str()), (0, ""));
        assert_eq!(*plugin.calls.borrow(), [command]);
        assert_eq!(*plugin.afterwards.borrow(), [command]);
    }
}

#[test]
fn version_needs_no_configuration() {
    let plugin = Recorder::new(nothing);
    let env = |name: &str| (name == "CNI_COMMAND").then(|| OsString::from("VERSION"));
    let outcome = run_over(&plugin, &env, br#"{"cniVersion": "0.4.0"}"#);
    assert_eq!(outcome.exit, 0);
    assert_eq!(outcome.object()["cniVersion"], "0.4.0");
    assert_eq!(outcome.object()["supportedVersions"][6], "1.1.0");
    assert!(plugin.calls.borrow().is_empty());
}

#[test]
fn a_failure_is_an_error_object_in_the_configs_version() {
    let plugin =
        Recorder::new(|| Err(Error::try_again("no server answers").with_details("tried 2")));
    for command in ["ADD", "DEL", "CHECK"] {
        let outcome = call(&plugin, command, "0.4.0");
        assert_eq!(outcome.exit, 1);
        assert_eq!(
            outcome.object(),
            json!({"cniVersion": "0.4.0", "code": TRY_AGAIN, "msg": "no server answers", "details": "tried 2"})
        );
    }
    assert!(plugin.afterwards.borrow().is_empty());
}

#[test]
fn a_version_that_does_not_fit_never_reaches_the_plugin() {
    let plugin = Recorder::new(nothing);
    for (command, version, msg) in [
        ("ADD", "9.9.9", "incompatible CNI versions"),
        ("DEL", "0.5.0", "incompatible CNI versions"),
        ("CHECK", "0.3.1", "config version does not allow CHECK"),
        ("STATUS", "1.0.0", "config version does not allow STATUS"),
        ("GC", "1.0.0", "config version does not allow GC"),
    ] {
        let outcome = call(&plugin, command, version);
        assert_eq!(outcome.exit, 1);
        assert_eq!(outcome.object()["code"], 1);
        assert_eq!(outcome.object()["msg"], msg);
    }
    assert!(plugin.calls.borrow().is_empty());
}

#[test]
fn an_add_whose_result_cannot_be_expressed_is_undone() {
    let plugin = Recorder::new(nothing);
    let outcome = call(&plugin, "ADD", "0.2.0");
    assert_eq!(outcome.exit, 1);
    assert_eq!(
        outcome.object(),
        json!({"cniVersion": "0.2.0", "code": 999, "msg": "cannot convert: no valid IP addresses"})
    );
    assert_eq!(*plugin.calls.borrow(), [Command::Add, Command::Del]);
}

#[test]
fn an_add_whose_result_nobody_reads_is_undone() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let plugin = Recorder::new(one_address);
    let mut stderr = Vec::new();
    let mut stdin = &br#"{"name": "net"}"#[..];
    let exit = run(
        &plugin,
        &env_of("ADD"),
        &mut stdin,
        &mut Closed,
        &mut stderr,
    );
    assert_eq!(exit, 1);
    assert_eq!(*plugin.calls.borrow(), [Command::Add, Command::Del]);
    assert!(plugin.afterwards.borrow().is_empty());
    assert!(
        String::from_utf8(stderr)
            .unwrap()
            .contains("cannot write to stdout")
    );
}

#[test]
fn a_panic_is_an_error_object() {
    let plugin = Recorder::new(|| panic!("index {} out of range", 7));
    let outcome = call(&plugin, "ADD", "1.0.0");
    assert_eq!(outcome.exit, 1);
    assert_eq!(
        outcome.object(),
        json!({"cniVersion": "1.0.0", "code": 999, "msg": "the plugin panicked: index 7 out of range"})
    );
}

#[test]
fn a_panic_after_the_answer_prints_no_second_object() {
    struct Late;
    impl Plugin for Late {
        fn about(&self) -> &str {
            "late"
        }
        fn add(&self, _: &Invocation, _: &NetConf) -> Result<CniResult, Error> {
            one_address()
        }
        fn del(&self, _: &Invocation, _: &NetConf) -> Result<(), Error> {
            Ok(())
        }
        fn check(&self, _: &Invocation, _: &NetConf) -> Result<(), Error> {
            Ok(())
        }
        fn status(&self, _: &Invocation, _: &NetConf) -> Result<(), Error> {
            Ok(())
        }
        fn gc(&self, _: &Invocation, _: &NetConf) -> Result<(), Error> {
            Ok(())
        }
        fn after(&self, _: &Invocation, _: &NetConf) {
            panic!("too late to matter");
        }
    }
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut stdin = &br#"{"name": "net"}"#[..];
    let exit = run(&Late, &env_of("ADD"), &mut stdin, &mut stdout, &mut stderr);
    assert_eq!(exit, 0);
    let object: Value = serde_json::from_slice(&stdout).unwrap();
    assert!(object["ip4"].is_object());
}

#[test]
fn bad_input_is_judged_in_upstreams_order() {
    let plugin = Recorder::new(nothing);
    let long = |name: &str| match name {
        "CNI_IFNAME" => Some(OsString::from("a-name-far-too-long")),
        _ => env_of("ADD")(name),
    };
    let steps: [(Env<'_>, &[u8], u32); 5] = [
        (
            &|name| (name == "CNI_COMMAND").then(|| "ADD".into()),
            b"{",
            4,
        ),
        (&long, b"{", 4),
        (&env_of("ADD"), b"{", 6),
        (&env_of("ADD"), br#"{"cniVersion": "9"}"#, 7),
        (&env_of("ADD"), br#"{"cniVersion": "9", "name": "n"}"#, 1),
    ];
    for (env, stdin, code) in steps {
        let outcome = run_over(&plugin, env, stdin);
        assert_eq!(outcome.object()["code"], code);
    }
    assert!(plugin.calls.borrow().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_input_ends_in_one_object_or_silence(
        command in prop_oneof!["ADD", "DEL", "CHECK", "STATUS", "GC", "VERSION", ".{0,6}"],
        vars in prop::collection::vec(proptest::option::of(".{0,18}"), 5),
        stdin in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            r#"\{"name": ?("n"|7|null), "cniVersion": "(0\.[1-5]|1\.[01])\.0", "(ipam|prevResult|args)": (\{\}|1|null)\}"#
                .prop_map(String::into_bytes),
        ],
    ) {
        let names = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH"];
        let given = |name: &str| match name {
            "CNI_COMMAND" => Some(OsString::from(&command)),
            _ => vars[names.iter().position(|n| *n == name)?].as_ref().map(OsString::from),
        };
        let good = |name: &str| env_of(&command)(name);
        let envs: [Env<'_>; 2] = [&given, &good];
        for env in envs {
            let outcome = run_over(&Recorder::new(one_address), env, &stdin);
            if outcome.exit == 0 {
                prop_assert!(outcome.stdout.is_empty() || outcome.object()["cniVersion"].is_string());
            } else {
                prop_assert!([1, 4, 6, 7].contains(&outcome.object()["code"].as_u64().unwrap()));
            }
        }
    }
}
