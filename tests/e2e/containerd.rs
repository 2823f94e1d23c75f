//! A real runtime: containerd, whose client `ctr` attaches containers with plugins from `/opt/cni/bin` and the network of
//! `/etc/cni/net.d`, both of them the node's own.

use std::fs;
use std::net::IpAddr;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use harness::binaries;
use harness::namespaces::{Namespace, printed};
use harness::require;
use harness::server::Server;
use serde_json::json;
use tempfile::TempDir;

use crate::cluster::{MAIN_PLUGINS, create_pool, leases};
use crate::podman::make_root;

/// How long containerd may take for one thing on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// containerd on a node of its own: its storage, its sockets and its plugins are the test's.
struct Containerd {
    server: Server,
    node: Namespace,
    folder: TempDir,
    daemon: Child,
    /// What waits for each container: it detaches the container when its process ends.
    clients: Vec<(String, Child)>,
}

impl Containerd {
    /// With our bridge. Nothing, said aloud, where containerd or something that it needs is missing.
    fn new() -> Option<Self> {
        let ready = require::root()
            && ["containerd", "ctr", "runc", "busybox"]
                .iter()
                .all(|program| require::program(program).is_some());
        if !ready {
            return None;
        }
        let server = Server::sqlite().expect("the server starts");
        create_pool(
            server.rest(),
            &json!({ "name": "v4", "subnet": "10.1.0.0/24" }),
        );
        let node = Namespace::new("node-c").expect("a namespace");
        let folder = TempDir::with_prefix("ipam-containerd-").expect("a folder");
        make_root(&folder.path().join("rootfs"));
        install(&node, server.socket_url());
        let daemon = daemon(&node, &folder);
        let containerd = Self {
            server,
            node,
            folder,
            daemon,
            clients: Vec::new(),
        };
        let version = || containerd.output(&["version"]).status.success();
        eventually("containerd answers", version);
        Some(containerd)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.node.command("ctr");
        let address = self.folder.path().join("containerd.sock");
        command.arg("--address").arg(address).args(args);
        command
    }

    fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("ctr starts")
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> String {
        printed(self.output(args)).unwrap_or_else(|error| panic!("ctr {args:?}: {error:#}"))
    }

    /// Starts a container that sleeps, and answers the address that its own `ip` shows.
    #[track_caller]
    fn start(&mut self, name: &str) -> IpAddr {
        let root = self.folder.path().join("rootfs").display().to_string();
        // No cgroup: containerd would leave the parent of the container's behind on the machine.
        let args = ["run", "--rm", "--cni", "--cgroup", "", "--rootfs", &root];
        let mut command = self.command(&args);
        let log = fs::File::create(self.folder.path().join(name)).expect("a log");
        command
            // ctr sets no PATH for a folder of files.
            .args([name, "/bin/sleep", "600"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let client = command.spawn().expect("ctr starts");
        self.clients.push((name.to_owned(), client));
        let end = Instant::now() + PATIENCE;
        loop {
            // ctr makes the container, attaches it, and starts its command last.
            let look = "/bin/busybox pidof sleep >/dev/null && /bin/ip -4 addr show eth0";
            let shown = self.inside(name, &["/bin/sh", "-c", look]);
            if let Some(address) = address(&String::from_utf8_lossy(&shown.stdout)) {
                return address;
            }
            let said = fs::read_to_string(self.folder.path().join(name)).expect("a log");
            assert!(
                Instant::now() < end && said.is_empty(),
                "{name}: {said}{}",
                String::from_utf8_lossy(&shown.stderr)
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs a command in a container.
    fn inside(&self, name: &str, words: &[&str]) -> Output {
        let mut args = vec!["task", "exec", "--exec-id", "probe", name];
        args.extend(words);
        self.output(&args)
    }

    /// Ends a container and waits until its client has detached and removed it.
    #[track_caller]
    fn stop(&mut self, name: &str) {
        self.run(&["task", "kill", "--signal", "SIGKILL", name]);
        let found = self.clients.iter().position(|(of, _)| of == name);
        let (_, mut client) = self.clients.remove(found.expect("it was started"));
        eventually("the client ends", || {
            client.try_wait().expect("a child").is_some()
        });
    }

    fn leases(&self) -> Vec<(IpAddr, String)> {
        leases(self.server.rest()).into_iter().collect()
    }
}

impl Drop for Containerd {
    /// The containers' processes are in namespaces of their own, where the node's end does not reach them.
    fn drop(&mut self) {
        for (name, mut client) in std::mem::take(&mut self.clients) {
            let killed = self.output(&["task", "kill", "--signal", "SIGKILL", &name]);
            if !killed.status.success() {
                eprintln!("{name}: {}", String::from_utf8_lossy(&killed.stderr));
                let _ = client.kill();
            }
            let _ = client.wait();
        }
        if thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("containerd.log"));
            eprintln!("--- containerd's log ---\n{}", log.unwrap_or_default());
        }
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// Puts the plugins and the network where containerd looks for them on this node, and on no other.
fn install(node: &Namespace, server: &str) {
    node.run("mount -t tmpfs tmpfs /opt").expect("a mount");
    node.run("mkdir -p /opt/cni/bin /etc/cni/net.d")
        .expect("folders");
    let loopback = format!("{MAIN_PLUGINS}/loopback").into();
    for plugin in [
        binaries::path("bridge"),
        binaries::path("cluster-ipam"),
        loopback,
    ] {
        node.run(&format!("ln -s {} /opt/cni/bin", plugin.display()))
            .expect("a link");
    }
    let network = json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [{
            "type": "bridge",
            "bridge": "br0",
            "ipam": { "type": "cluster-ipam", "server": server, "pools": ["v4"] }
        }]
    });
    let file = node.folder().join("10-pods.conflist");
    fs::write(&file, network.to_string()).expect("written");
    node.run(&format!("cp {} /etc/cni/net.d", file.display()))
        .expect("copied");
}

/// Starts the daemon, without what serves kubelets.
fn daemon(node: &Namespace, folder: &TempDir) -> Child {
    let folder = folder.path();
    let config = "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n";
    fs::write(folder.join("config.toml"), config).expect("written");
    let log = fs::File::create(folder.join("containerd.log")).expect("a log");
    let mut command = node.command("containerd");
    for (flag, name) in [
        ("--config", "config.toml"),
        ("--root", "root"),
        ("--state", "state"),
        ("--address", "containerd.sock"),
    ] {
        command.arg(flag).arg(folder.join(name));
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("containerd starts")
}

#[track_caller]
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "not in time: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The address that `ip addr show` shows, once there is one.
fn address(shown: &str) -> Option<IpAddr> {
    let mut words = shown.split_whitespace().skip_while(|word| *word != "inet");
    words.nth(1)?.split('/').next()?.parse().ok()
}

#[test]
fn containerd_containers_have_the_addresses_that_are_leased_to_them_and_leave_nothing_behind() {
    let Some(mut containerd) = Containerd::new() else {
        return;
    };

    let one = containerd.start("one");
    let two = containerd.start("two");
    let held = |address, name: &str| (address, format!("node-c/default-{name}"));
    assert_eq!(containerd.leases(), [held(one, "one"), held(two, "two")]);
    let ping = ["/bin/ping", "-c", "1", "-W", "5", &two.to_string()];
    printed(containerd.inside("one", &ping)).expect("two answers");

    containerd.stop("one");
    assert_eq!(containerd.leases(), [held(two, "two")]);
    containerd.stop("two");
    assert_eq!(containerd.leases(), []);
    for kind in ["containers", "tasks"] {
        assert_eq!(containerd.run(&[kind, "list", "--quiet"]), "");
    }
    let left = containerd.node.run("ls /var/lib/cni/results");
    assert_eq!(left.expect("runs"), "", "the runtime forgot both");
    // The kernel takes a dead container's links a moment after its last process.
    eventually("no link is left", || {
        let links = containerd.node.run("ip -brief link show type veth");
        links.expect("runs").is_empty()
    });
}
