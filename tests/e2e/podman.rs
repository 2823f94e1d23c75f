//! A real runtime: podman, with its CNI back end, on a network whose addresses come from `cluster-ipam`.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use harness::namespaces::{Namespace, printed};
use harness::require;
use harness::server::Server;
use serde_json::json;
use tempfile::TempDir;

use crate::cluster::{cni_path, create_pool, flush, leases, our_cni_path};

/// podman on a node of its own: its storage, its configuration and its networks are the test's.
struct Podman {
    server: Server,
    node: Namespace,
    folder: TempDir,
}

impl Podman {
    /// With plugins from the folders of `cni_path`. Nothing, said aloud, where podman or something that it needs is
    /// missing.
    fn new(cni_path: &str) -> Option<Self> {
        let ready = require::root()
            && ["podman", "runc", "bridge", "busybox"]
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
        let podman = Self {
            server,
            node: Namespace::new("node-p").expect("a namespace"),
            folder: TempDir::with_prefix("ipam-podman-").expect("a folder"),
        };
        podman.configure(cni_path);
        make_root(&podman.folder.path().join("rootfs"));
        Some(podman)
    }

    fn configure(&self, cni_path: &str) {
        let folder = self.folder.path();
        let plugins: Vec<_> = cni_path.split(':').map(str::to_owned).collect();
        let containers = format!(
            "[containers]\n\
             [engine]\n\
             cgroup_manager = \"cgroupfs\"\n\
             events_logger = \"file\"\n\
             [network]\n\
             network_backend = \"cni\"\n\
             cni_plugin_dirs = {plugins:?}\n\
             network_config_dir = {:?}\n",
            folder.join("net.d")
        );
        fs::write(folder.join("containers.conf"), containers).expect("written");
        let network = json!({
            "cniVersion": "0.4.0",
            "name": "pods",
            "plugins": [{
                "type": "bridge",
                "bridge": "cni-podman7",
                "ipam": { "type": "cluster-ipam", "server": self.server.socket_url(), "pools": ["v4"] }
            }]
        });
        fs::create_dir(folder.join("net.d")).expect("a folder");
        fs::write(folder.join("net.d/pods.conflist"), network.to_string()).expect("written");
    }

    fn command(&self, args: &[&str]) -> Command {
        let folder = self.folder.path();
        let mut command = self.node.command("podman");
        command
            .env("CONTAINERS_CONF", folder.join("containers.conf"))
            .env("HOME", folder)
            .arg(format!("--root={}", folder.join("storage").display()))
            .arg(format!("--runroot={}", folder.join("run").display()))
            .arg(format!("--tmpdir={}", folder.join("tmp").display()))
            .args(["--storage-driver=vfs", "--runtime=runc"])
            .args(args);
        command
    }

    fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("podman starts")
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> String {
        printed(self.output(args)).unwrap_or_else(|error| panic!("podman {args:?}: {error:#}"))
    }

    /// Starts a container that sleeps, and answers its id.
    #[track_caller]
    fn start(&self, name: &str, extra: &[&str]) -> String {
        let root = self.folder.path().join("rootfs").display().to_string();
        let mut args = vec!["run", "--detach", "--name", name, "--network", "pods"];
        args.extend([
            "--ulimit",
            "nofile=1024:1024",
            "--ulimit",
            "nproc=1024:1024",
        ]);
        args.extend(extra);
        args.extend(["--rootfs", &root, "sleep", "600"]);
        self.run(&args).trim().to_owned()
    }

    /// How many containers are attached to the bridge.
    fn ports(&self) -> usize {
        let shown = self.node.run("ip -oneline link show type veth");
        shown.expect("runs").lines().count()
    }

    /// The address that the container's own `ip` shows.
    #[track_caller]
    fn address_inside(&self, name: &str) -> IpAddr {
        let shown = self.run(&["exec", name, "ip", "-4", "addr", "show", "eth0"]);
        let address = shown
            .split_whitespace()
            .skip_while(|word| *word != "inet")
            .nth(1)
            .and_then(|address| address.split('/').next());
        address.expect("an address").parse().expect("an address")
    }

    /// The leases, as pairs of address and container id.
    #[track_caller]
    fn leases(&self) -> Vec<(IpAddr, String)> {
        let leases = leases(self.server.rest()).into_iter();
        leases
            .map(|(address, holder)| (address, holder.replace("node-p/", "")))
            .collect()
    }
}

impl Drop for Podman {
    /// The containers' processes are in namespaces of their own, where the node's end does not reach them.
    fn drop(&mut self) {
        let removed = self.output(&["rm", "--all", "--force", "--time", "0"]);
        if !removed.status.success() {
            eprintln!("podman rm: {}", String::from_utf8_lossy(&removed.stderr));
        }
    }
}

/// A root file system of one static binary and its names.
pub(crate) fn make_root(root: &Path) {
    for folder in ["bin", "dev", "etc", "proc", "run", "sys", "tmp"] {
        fs::create_dir_all(root.join(folder)).expect("a folder");
    }
    let busybox = require::program("busybox").expect("was there a moment ago");
    fs::copy(busybox, root.join("bin/busybox")).expect("copied");
    for name in ["sh", "ip", "ping", "sleep"] {
        symlink("busybox", root.join("bin").join(name)).expect("a link");
    }
}

/// Tests that are the same whoever made the main plugin.
macro_rules! stamped {
    ($($maker:ident: $cni_path:expr, [$($test:ident),+];)+) => {
        $(mod $maker {
            use super::*;

            $(#[test]
            fn $test() {
                if let Some(mut podman) = Podman::new(&$cni_path) {
                    super::$test(&mut podman);
                }
            })+
        })+
    };
}

stamped! {
    debians_bridge: cni_path(), [
        podman_containers_have_the_addresses_that_are_leased_to_them,
        a_podman_container_that_is_stopped_and_started_gets_a_new_lease_at_once,
        podman_removes_a_container_while_the_server_is_down
    ];
    our_bridge: our_cni_path(), [
        podman_containers_have_the_addresses_that_are_leased_to_them,
        a_podman_container_that_is_stopped_and_started_gets_a_new_lease_at_once,
        podman_removes_a_container_while_the_server_is_down
    ];
}

fn podman_containers_have_the_addresses_that_are_leased_to_them(podman: &Podman) {
    let one = podman.start("one", &[]);
    let two = podman.start("two", &["--ip", "10.1.0.77"]);
    let address = podman.address_inside("one");
    let wanted = podman.address_inside("two");
    assert_eq!(
        wanted,
        IpAddr::from([10, 1, 0, 77]),
        "podman asks by CNI_ARGS"
    );
    assert_eq!(podman.leases(), [(address, one), (wanted, two.clone())]);
    podman.run(&["exec", "one", "ping", "-c", "1", "-W", "5", "10.1.0.77"]);

    podman.run(&["rm", "--force", "--time", "0", "one"]);
    assert_eq!(podman.leases(), [(wanted, two)]);
    assert_eq!(podman.ports(), 1);
    podman.run(&["rm", "--force", "--time", "0", "two"]);
    assert_eq!(podman.leases(), []);
    assert_eq!(podman.ports(), 0);
}

/// Podman keeps the container's id over stop and start: a release and a newer claim of one attachment.
fn a_podman_container_that_is_stopped_and_started_gets_a_new_lease_at_once(podman: &Podman) {
    let id = podman.start("one", &[]);
    for _ in 0..3 {
        podman.run(&["stop", "--time", "0", "one"]);
        assert_eq!(podman.leases(), [], "a stopped container holds nothing");
        podman.run(&["start", "one"]);
        let address = podman.address_inside("one");
        assert_eq!(podman.leases(), [(address, id.clone())]);
    }
    podman.run(&["rm", "--force", "--time", "0", "one"]);
    assert_eq!(podman.leases(), []);
}

/// A runtime keeps a container for ever whose DEL fails.
fn podman_removes_a_container_while_the_server_is_down(podman: &mut Podman) {
    podman.start("one", &[]);
    podman.server.kill().expect("killed");
    podman.run(&["rm", "--force", "--time", "0", "one"]);
    assert_eq!(podman.run(&["ps", "--all", "--quiet"]), "");
    podman.server.restart().expect("the server comes back");
    assert_eq!(podman.leases().len(), 1);
    flush(&podman.node);
    assert_eq!(podman.leases(), []);
}
