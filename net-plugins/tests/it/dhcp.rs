//! Upstream's dhcp IPAM: its client sends over the container's link, so that the link must be there first.

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::world::{Host, Namespace, ready, with};

/// A process that ends with this value.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A DHCP server on `link` of `net` that has nothing but 10.9.0.50.
fn server(net: &Namespace, link: &str, folder: &std::path::Path) -> Daemon {
    let (conf, leases) = (folder.join("udhcpd.conf"), folder.join("leases"));
    fs::write(&leases, "").unwrap();
    let text = format!(
        "start 10.9.0.50\nend 10.9.0.50\ninterface {link}\nlease_file {}\npidfile {}\n\
         option subnet 255.255.255.0\noption router 10.9.0.1\noption lease 600\n",
        leases.display(),
        folder.join("pid").display()
    );
    fs::write(&conf, text).unwrap();
    let mut process = net.command("busybox");
    process.args(["udhcpd", "-f"]).arg(&conf);
    Daemon(
        process
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    )
}

/// Upstream's client daemon, and the `ipam` object that uses it.
fn client(host: &Host, folder: &std::path::Path) -> (Daemon, Value) {
    let socket = folder.join("dhcp.sock");
    let mut process = host.net.command("/usr/lib/cni/dhcp");
    process.args(["daemon", "-socketpath"]).arg(&socket);
    let daemon = Daemon(
        process
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let deadline = Instant::now() + Duration::from_secs(10);
    while !socket.exists() {
        assert!(Instant::now() < deadline, "the dhcp daemon did not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    (
        daemon,
        json!({ "type": "dhcp", "daemonSocketPath": socket }),
    )
}

/// One container after the other gets the server's only address: each gives it back.
fn attaches(plugin: &str, host: &Host, conf: &Value) {
    let before = host.snapshot();
    for id in ["one", "two"] {
        let pod = host.container();
        let call = host.call(plugin, &pod).id(id);
        let result = call.add(conf);
        assert_eq!(result["ips"][0]["address"], "10.9.0.50/24");
        assert_eq!(pod.addresses("eth0"), ["10.9.0.50/24"]);
        assert!(pod.reaches("10.9.0.1"));
        call.check(conf, &result);
        call.del(conf);
        assert_eq!(pod.link("eth0"), Value::Null);
        host.assert_like(&before, plugin);
    }
}

#[test]
fn macvlan_and_bridge_get_their_address_from_a_dhcp_server() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let folder = tempfile::tempdir().unwrap();
    let lan = host.container();
    let name = lan.path();
    let name = name.rsplit('/').next().unwrap();
    host.net.ip(&format!(
        "link add up0 type veth peer name up1 netns {name}"
    ));
    host.net.ip("link set up0 up");
    lan.ip("addr add 10.9.0.1/24 dev up1");
    lan.ip("link set up1 up");
    let _server = server(&lan, "up1", folder.path());
    let (_client, ipam) = client(&host, folder.path());
    let conf = json!({ "cniVersion": "1.0.0", "name": "net", "type": "macvlan", "master": "up0", "ipam": ipam });
    attaches("macvlan", &host, &conf);
    host.net
        .ip("link add br0 address 02:00:00:00:00:10 type bridge");
    // As the plugin makes its bridges.
    host.net.write_sysctl("ipv6/conf/br0/accept_ra", "0");
    host.net.ip("link set br0 up");
    host.net.ip("link set up0 master br0");
    let conf = json!({ "cniVersion": "1.0.0", "name": "other", "type": "bridge", "bridge": "br0", "ipam": ipam });
    attaches("bridge", &host, &conf);
}

#[test]
fn routed_refuses_dhcp_before_anything_is_made() {
    if !ready() {
        return;
    }
    let host = Host::new();
    let pod = host.container();
    let folder = tempfile::tempdir().unwrap();
    let (_client, ipam) = client(&host, folder.path());
    let conf = json!({ "cniVersion": "1.1.0", "name": "net", "type": "routed", "ipam": ipam });
    let before = host.snapshot();
    let call = host.call("routed", &pod);
    for command in ["ADD", "STATUS"] {
        let (code, told) = call.fail(command, &conf);
        assert_eq!(code, 7, "{told}");
        let reason = "ipam type \"dhcp\" cannot serve routed, which needs the address before there is a link";
        assert!(told.starts_with(reason), "{told}");
    }
    host.assert_like(&before, "after the refusals");
    assert_eq!(host.net.sysctl("ipv4/ip_forward"), "0");
    assert_eq!(pod.link("eth0"), Value::Null);
    // DEL goes to the IPAM plugin, and Debian's knows no newer version.
    call.del(&with(&conf, json!({ "cniVersion": "1.0.0" })));
}
