//! A host and its containers out of network namespaces, and calls of the plugins in them.
//!
//! Each test has a "host" of its own, so that tests run side by side and the machine's own network is never touched.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use harness::require;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Where Debian puts upstream's plugins.
pub(crate) const UPSTREAM: &str = "/usr/lib/cni";

/// Whether this machine can run tests in namespaces; says so when it cannot.
pub(crate) fn ready() -> bool {
    if !require::namespaces() {
        return false;
    }
    let has_upstream = Path::new(UPSTREAM).join("host-local").exists();
    if !has_upstream {
        // Whoever requires root means these tests, all of which need it.
        require::skip("root", "upstream's host-local is not in /usr/lib/cni");
    }
    has_upstream
}

/// A network namespace that goes away with this value.
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    fn new(kind: &str) -> Namespace {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("npt-{}-{count}-{kind}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &name]));
        let namespace = Namespace { name };
        namespace.ip("link set lo up");
        namespace
    }

    /// The path for `CNI_NETNS`.
    pub(crate) fn path(&self) -> String {
        format!("/var/run/netns/{}", self.name)
    }

    /// A command inside the namespace.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("/usr/bin/nsenter");
        command.arg(format!("--net={}", self.path()));
        command.arg(program.as_ref());
        command
    }

    /// Runs `ip` with these arguments, which must succeed, and returns what it printed.
    pub(crate) fn ip(&self, arguments: &str) -> String {
        run(Command::new("ip")
            .args(["-n", &self.name])
            .args(arguments.split_whitespace()))
    }

    /// The JSON that `ip -j -d` prints.
    pub(crate) fn ip_json(&self, arguments: &str) -> Value {
        let text = self.ip(&format!("-j -d {arguments}"));
        match text.trim() {
            "" => json!([]),
            text => serde_json::from_str(text).unwrap(),
        }
    }

    /// One link as `ip -j -d` shows it; `Null` when there is none.
    pub(crate) fn link(&self, name: &str) -> Value {
        let links = self.ip_json("link");
        let found = links
            .as_array()
            .unwrap()
            .iter()
            .find(|l| l["ifname"] == name);
        found.cloned().unwrap_or_default()
    }

    /// Whether a link was set up; its operational state follows a moment later.
    pub(crate) fn is_up(&self, link: &str) -> bool {
        let flags = self.link(link)["flags"].clone();
        flags.as_array().unwrap().contains(&json!("UP"))
    }

    /// The addresses of a link, with prefix lengths, without the kernel's own link-local ones.
    pub(crate) fn addresses(&self, link: &str) -> Vec<String> {
        let found = self.ip_json(&format!("addr show dev {link}"));
        let infos = found[0]["addr_info"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let global = infos.iter().filter(|a| a["scope"] != "link");
        global
            .map(|a| format!("{}/{}", a["local"].as_str().unwrap(), a["prefixlen"]))
            .collect()
    }

    /// The lines of `ip route` (or `ip -6 route`) without trailing spaces.
    pub(crate) fn routes(&self, arguments: &str) -> Vec<String> {
        self.ip(arguments)
            .lines()
            .map(|line| line.trim().to_owned())
            .collect()
    }

    /// Reads a setting below `/proc/sys/net`.
    pub(crate) fn sysctl(&self, key: &str) -> String {
        run(self.command("cat").arg(format!("/proc/sys/net/{key}")))
            .trim()
            .to_owned()
    }

    /// Writes a setting below `/proc/sys/net`.
    pub(crate) fn write_sysctl(&self, key: &str, value: &str) {
        let script = format!("echo {value} > /proc/sys/net/{key}");
        run(self.command("sh").args(["-c", &script]));
    }

    /// All settings below `/proc/sys/net` that are about addresses, routes and links.
    fn sysctls(&self) -> String {
        // Some may only be written.
        let script = "grep -rs . /proc/sys/net/ipv4 /proc/sys/net/ipv6; :";
        let listed = run(self.command("sh").args(["-c", script]));
        let mut lines: Vec<_> = listed.lines().collect();
        lines.sort_unstable();
        lines.join("\n")
    }

    /// What a plugin may change in a container.
    pub(crate) fn inside(&self) -> [String; 4] {
        let [routes, routes_v6] =
            ["-j route", "-j -6 route"].map(|what| self.ip(&format!("{what} show table all")));
        [self.ip("-j addr"), routes, routes_v6, self.sysctls()]
    }

    /// All rules of nf_tables.
    pub(crate) fn ruleset(&self) -> String {
        run(self.command("nft").args(["list", "ruleset"]))
    }

    /// Whether `address` answers a ping from here within a few seconds.
    pub(crate) fn reaches(&self, address: &str) -> bool {
        let mut ping = self.command("busybox");
        ping.args(["ping", "-c", "1", "-w", "3", "-W", "3", address]);
        ping.stdout(Stdio::null()).status().unwrap().success()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
    }
}

/// A host, with a store for host-local and a folder for IPAM plugins of the test's own.
pub(crate) struct Host {
    pub(crate) net: Namespace,
    pub(crate) folder: TempDir,
}

impl Host {
    pub(crate) fn new() -> Host {
        let net = Namespace::new("host");
        // A new namespace begins with the machine's own setting.
        net.write_sysctl("ipv4/ip_forward", "0");
        // Else every link of the host changes once more, a second after it came up.
        if Path::new("/proc/sys/net/ipv6").exists() {
            net.write_sysctl("ipv6/conf/default/accept_dad", "0");
        }
        Host {
            net,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn container(&self) -> Namespace {
        Namespace::new("pod")
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// An `ipam` object for upstream's host-local, one address per subnet.
    pub(crate) fn host_local(&self, subnets: &[&str]) -> Value {
        let ranges: Vec<_> = subnets.iter().map(|s| json!([{ "subnet": s }])).collect();
        json!({ "type": "host-local", "dataDir": self.store(), "ranges": ranges })
    }

    /// The addresses that host-local has given out.
    pub(crate) fn leased(&self) -> Vec<String> {
        let networks = fs::read_dir(self.store()).into_iter().flatten().flatten();
        let files = networks.flat_map(|n| fs::read_dir(n.path()).into_iter().flatten().flatten());
        let names = files.map(|f| f.file_name().into_string().unwrap());
        let mut names: Vec<_> = names
            .filter(|n| n != "lock" && !n.starts_with("last_reserved"))
            .collect();
        names.sort();
        names
    }

    /// Makes an IPAM plugin out of a shell script, and returns its `ipam` object. Its calls are noted in `calls`.
    pub(crate) fn script(&self, name: &str, body: &str) -> Value {
        let file = self.folder.path().join(name);
        let log = self.folder.path().join("calls");
        let text = format!(
            "#!/bin/sh\necho $CNI_COMMAND >> {}\n{body}\n",
            log.display()
        );
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        json!({ "type": name })
    }

    /// The commands that scripts were called with.
    pub(crate) fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Everything that a plugin may change on the host, once it has come to rest.
    pub(crate) fn snapshot(&self) -> BTreeMap<&'static str, String> {
        let mut last = self.glance();
        for _ in 0..100 {
            std::thread::sleep(Duration::from_millis(50));
            let now = self.glance();
            if now == last {
                break;
            }
            last = now;
        }
        last
    }

    fn glance(&self) -> BTreeMap<&'static str, String> {
        let net = &self.net;
        BTreeMap::from([
            ("link", net.ip("-j link")),
            ("addr", net.ip("-j addr")),
            ("route", net.ip("-j route show table all")),
            ("route 6", net.ip("-j -6 route show table all")),
            ("proxy", net.ip("-j neigh show proxy")),
            ("nft", net.ruleset()),
            ("settings", net.sysctls()),
            ("leases", format!("{:?}", self.leased())),
        ])
    }

    /// Waits until the host is as it was; some of it (IPv6, the state of links) changes a moment later.
    pub(crate) fn assert_like(&self, before: &BTreeMap<&'static str, String>, when: &str) {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let now = self.glance();
            if now == *before {
                return;
            }
            if Instant::now() > deadline {
                for (what, text) in &now {
                    let (more, less) = apart(text, &before[what]);
                    assert_eq!(more, less, "{what} {when}");
                    // The same lines may come in another order, or more often.
                    assert_eq!(text, &before[what], "{what} {when}");
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The lines that are in one of the texts only.
fn apart<'a>(one: &'a str, other: &'a str) -> (Vec<&'a str>, Vec<&'a str>) {
    let beyond = |a: &'a str, b: &str| {
        let present: Vec<_> = b.lines().collect();
        a.lines().filter(|line| !present.contains(line)).collect()
    };
    (beyond(one, other), beyond(other, one))
}

/// A configuration with more keys, or other values.
pub(crate) fn with(conf: &Value, more: Value) -> Value {
    let mut conf = conf.clone();
    for (key, value) in more.as_object().unwrap() {
        conf[key] = value.clone();
    }
    conf
}

/// The name of the port in a result of the bridge plugin.
pub(crate) fn port(result: &Value) -> String {
    result["interfaces"][1]["name"].as_str().unwrap().to_owned()
}

/// Runs a command that must succeed and returns what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}
