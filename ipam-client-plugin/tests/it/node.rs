//! A node as the plugin sees it: its own name, node file and state directory, and a runtime that calls the binary.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_cluster-ipam");

/// A node of a test's own. Several on one machine differ by their names, as the service sees them.
pub(crate) struct Node {
    dir: TempDir,
    pub(crate) name: String,
}

impl Node {
    pub(crate) fn new(name: &str) -> Self {
        let node = Self {
            dir: tempfile::tempdir().unwrap(),
            name: name.to_owned(),
        };
        // The machine's own node file is no part of a test.
        node.write_node_file(&json!({}));
        node
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.path("state")
    }

    pub(crate) fn write_node_file(&self, file: &Value) {
        fs::write(self.path("node.json"), file.to_string()).unwrap();
    }

    /// A network whose IPAM is ours.
    pub(crate) fn network(&self, version: &str, server: &Value, pools: &Value) -> Value {
        json!({
            "cniVersion": version, "name": "net", "type": "bridge",
            "ipam": {
                "type": "cluster-ipam", "server": server, "pools": pools, "node": self.name,
                "nodeFile": self.path("node.json"), "stateDir": self.state_dir(),
            },
        })
    }

    /// A call for the container's `eth0`, as libcni makes it.
    pub(crate) fn call(&self, verb: &str, container: &str, config: &Value) -> Call {
        let mut call = Call::new(config.to_string().as_bytes());
        call.set("CNI_COMMAND", verb);
        match verb {
            "VERSION" => {
                for name in ["CNI_NETNS", "CNI_IFNAME", "CNI_PATH"] {
                    call.set(name, "dummy");
                }
            }
            "STATUS" | "GC" => call.set("CNI_PATH", "/opt/cni/bin"),
            _ => {
                call.set("CNI_CONTAINERID", container);
                // One that exists: else CHECK fails.
                call.set("CNI_NETNS", "/proc/self/ns/net");
                call.set("CNI_IFNAME", "eth0");
                call.set("CNI_PATH", "/opt/cni/bin");
            }
        }
        call
    }

    pub(crate) fn run(&self, verb: &str, container: &str, config: &Value) -> Outcome {
        self.call(verb, container, config).run()
    }

    /// The records that wait in the spool.
    pub(crate) fn spooled(&self) -> Vec<Value> {
        read_all(&self.state_dir().join("spool"))
    }

    pub(crate) fn rejected(&self) -> Vec<Value> {
        read_all(&self.state_dir().join("spool/rejected"))
    }
}

fn read_all(dir: &std::path::Path) -> Vec<Value> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension() == Some(OsStr::new("json")));
    paths.sort();
    let read = |path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    paths.iter().map(read).collect()
}

/// One run of the binary.
pub(crate) struct Call {
    env: Vec<(String, OsString)>,
    stdin: Vec<u8>,
    stdout: Option<Stdio>,
}

impl Call {
    pub(crate) fn new(stdin: &[u8]) -> Self {
        Self {
            env: Vec::new(),
            stdin: stdin.to_vec(),
            stdout: None,
        }
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.unset(name);
        self.env.push((name.to_owned(), value.into()));
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.set(name, value);
        self
    }

    pub(crate) fn unset(&mut self, name: &str) {
        self.env.retain(|(known, _)| known != name);
    }

    pub(crate) fn set_stdin(&mut self, stdin: &[u8]) {
        self.stdin = stdin.to_vec();
    }

    /// The configuration on stdin, for a change.
    pub(crate) fn config(&self) -> Value {
        serde_json::from_slice(&self.stdin).unwrap()
    }

    pub(crate) fn to(mut self, stdout: Stdio) -> Self {
        self.stdout = Some(stdout);
        self
    }

    pub(crate) fn run(self) -> Outcome {
        let started = Instant::now();
        let output = self.spawn().wait_with_output().unwrap();
        Outcome {
            exit: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            took: started.elapsed(),
        }
    }

    /// Starts it, and kills it after a while unless it has ended by itself.
    pub(crate) fn kill_after(self, time: Duration) {
        let mut child = self.spawn();
        std::thread::sleep(time);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn spawn(self) -> Child {
        let mut child = Command::new(BINARY)
            .env_clear()
            .envs(self.env)
            .stdin(Stdio::piped())
            .stdout(self.stdout.unwrap_or_else(Stdio::piped))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It may end before it has read all.
        let _ = child.stdin.take().unwrap().write_all(&self.stdin);
        child
    }
}

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) exit: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Outcome {
    /// The result of a run that must succeed; null when it printed none.
    #[track_caller]
    pub(crate) fn success(&self) -> Value {
        assert_eq!(self.exit, Some(0), "{self:#?}");
        if self.stdout.is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// The addresses of a result from 0.3.0 on.
    #[track_caller]
    pub(crate) fn addresses(&self) -> Vec<String> {
        let result = self.success();
        let ips = result["ips"].as_array().unwrap();
        let address = |ip: &Value| ip["address"].as_str().unwrap().to_owned();
        ips.iter().map(address).collect()
    }

    /// Code and message of a run that must fail with one error object and nothing else on stdout.
    #[track_caller]
    pub(crate) fn failure(&self) -> (u64, String) {
        assert_eq!(self.exit, Some(1), "{self:#?}");
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
        let error: Value = serde_json::from_str(&self.stdout).unwrap_or_else(|e| {
            panic!("no error object ({e}): {self:#?}");
        });
        assert!(error["cniVersion"].is_string(), "{error}");
        let msg = error["msg"].as_str().unwrap();
        assert!(!msg.is_empty());
        let details = error["details"].as_str().unwrap_or_default();
        (error["code"].as_u64().unwrap(), format!("{msg}; {details}"))
    }

    /// That it failed with this code and says these words.
    #[track_caller]
    pub(crate) fn fails(&self, code: u64, words: &str) {
        let (got, msg) = self.failure();
        assert_eq!(got, code, "{msg}");
        assert!(msg.contains(words), "{words:?} is not in {msg:?}");
    }
}
