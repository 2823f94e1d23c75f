//! Calls of the plugins, as a runtime makes them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::world::{Host, Namespace, UPSTREAM, with};

/// A call under construction.
#[derive(Clone)]
pub(crate) struct Call<'a> {
    host: &'a Host,
    program: PathBuf,
    netns: String,
    container_id: String,
    ifname: String,
    variables: Vec<(String, String)>,
    /// The program and the arguments through which the plugin is started, if any.
    wrapper: Vec<String>,
}

impl Host {
    /// A call of one of our plugins about a container's interface.
    pub(crate) fn call(&self, plugin: &str, container: &Namespace) -> Call<'_> {
        let program = match plugin {
            "bridge" => env!("CARGO_BIN_EXE_bridge").into(),
            "macvlan" => env!("CARGO_BIN_EXE_macvlan").into(),
            "routed" => env!("CARGO_BIN_EXE_routed").into(),
            other => Path::new(UPSTREAM).join(other.trim_start_matches("upstream-")),
        };
        Call {
            host: self,
            program,
            netns: container.path(),
            container_id: "c1".into(),
            ifname: "eth0".into(),
            variables: Vec::new(),
            wrapper: Vec::new(),
        }
    }
}

impl Call<'_> {
    pub(crate) fn id(mut self, id: &str) -> Self {
        self.container_id = id.into();
        self
    }

    pub(crate) fn ifname(mut self, name: &str) -> Self {
        self.ifname = name.into();
        self
    }

    pub(crate) fn netns(mut self, path: &str) -> Self {
        self.netns = path.into();
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// The plugin runs without this capability.
    pub(crate) fn without(self, capability: &str) -> Self {
        self.through(&["setpriv", "--bounding-set", &format!("-{capability}")])
    }

    /// The plugin is started by this program with these arguments.
    pub(crate) fn through(mut self, words: &[&str]) -> Self {
        self.wrapper = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    fn process(&self) -> Command {
        let Some((wrapper, arguments)) = self.wrapper.split_first() else {
            return self.host.net.command(&self.program);
        };
        let mut process = self.host.net.command(wrapper);
        process.args(arguments).arg(&self.program);
        process
    }

    pub(crate) fn run(&self, command: &str, conf: &Value) -> Output {
        let mut process = self.process();
        let path = format!("{}:{UPSTREAM}", self.host.folder.path().display());
        process
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", &self.container_id)
            .env("CNI_NETNS", &self.netns)
            .env("CNI_IFNAME", &self.ifname)
            .env("CNI_PATH", path)
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = process.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(conf.to_string().as_bytes()).unwrap();
        drop(stdin);
        child.wait_with_output().unwrap()
    }

    /// ADD that must succeed; its result.
    pub(crate) fn add(&self, conf: &Value) -> Value {
        let output = self.run("ADD", conf);
        assert!(
            output.status.success(),
            "ADD: {}",
            String::from_utf8_lossy(&output.stdout)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// A command that must succeed without printing anything.
    pub(crate) fn succeed(&self, command: &str, conf: &Value) {
        let output = self.run(command, conf);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{command}: {text}");
        assert_eq!(text, "", "{command}");
    }

    /// A command that must fail; the code and the message of its error object.
    pub(crate) fn fail(&self, command: &str, conf: &Value) -> (u64, String) {
        let output = self.run(command, conf);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success(), "{command} succeeded: {text}");
        let error: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        let told = format!(
            "{}; {}",
            error["msg"].as_str().unwrap(),
            error["details"].as_str().unwrap_or_default()
        );
        (error["code"].as_u64().unwrap(), told)
    }

    pub(crate) fn del(&self, conf: &Value) {
        self.succeed("DEL", conf);
    }

    pub(crate) fn check(&self, conf: &Value, result: &Value) {
        self.succeed("CHECK", &with(conf, json!({ "prevResult": result })));
    }

    /// CHECK that must fail; its message.
    pub(crate) fn check_fails(&self, conf: &Value, result: &Value) -> String {
        self.fail("CHECK", &with(conf, json!({ "prevResult": result })))
            .1
    }
}
