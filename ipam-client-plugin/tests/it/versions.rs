//! Every version of the specification and every verb against the real server, in the order in which runtimes call.

use harness::server::Server;
use serde_json::{Value, json};

use crate::node::Node;

const VERSIONS: [&str; 7] = [
    "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0",
];

/// A server with a pool of each family.
pub(crate) fn dual_stack() -> Server {
    let server = Server::sqlite().unwrap();
    for pool in [
        json!({"name": "v4", "subnet": "10.1.0.0/16", "reuse_delay_s": 0,
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}, {"dst": "192.0.2.0/24"}],
            "dns": {"nameservers": ["10.1.0.53"], "domain": "example", "search": ["a.example"], "options": ["ndots:2"]}}),
        json!({"name": "v6", "subnet": "fd00:1::/64", "reuse_delay_s": 0,
            "routes": [{"dst": "::/0", "gw": "fd00:1::1"}]}),
    ] {
        server.rest().post("/v1/pools", &pool).unwrap().expect(201);
    }
    server
}

/// The leases that the server shows, as (node, container, address).
pub(crate) fn leases(server: &Server) -> Vec<(String, String, String)> {
    let page = server
        .rest()
        .get("/v1/leases?limit=1000")
        .unwrap()
        .expect(200);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|lease| {
            let attachment = &lease["attachment"];
            let (node, container) = (&attachment["node"], &attachment["container_id"]);
            (text(node), text(container), text(&lease["address"]))
        })
        .collect()
}

fn v4_of(result: &Value, version: &str) -> String {
    let address = match version {
        "0.1.0" | "0.2.0" => &result["ip4"]["ip"],
        _ => &result["ips"][0]["address"],
    };
    address.as_str().unwrap().to_owned()
}

/// What CRI-O and containerd put into `CNI_ARGS`.
const POD: &str = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=c1;\
    K8S_POD_UID=3d9b0a7e-1c55-4f0e-9b0a-6f5f0c1e7a11";

#[test]
fn every_version_is_served_in_the_order_of_libcni_and_of_cri_o() {
    let server = dual_stack();
    for version in VERSIONS {
        let node = Node::new("n1");
        let bare = node.network(version, &json!(server.url()), &json!(["v4", "v6"]));
        let run = |verb: &str, config: &Value| {
            let call = node.call(verb, "c1", config);
            call.with("CNI_ARGS", POD).run()
        };
        let asked = json!({"cniVersion": version});
        let list = node.run("VERSION", "", &asked).success();
        let supported = list["supportedVersions"].as_array().unwrap();
        assert!(supported.contains(&json!(version)));
        let result = run("ADD", &bare).success();
        assert_eq!(result["cniVersion"], version);
        assert!(v4_of(&result, version).starts_with("10.1.0."));
        assert_eq!(leases(&server).len(), 2, "{version}");
        // libcni hands the cached result of the whole chain to CHECK and DEL from 0.4.0 on.
        let mut config = bare.clone();
        if version >= "0.4.0" {
            config["prevResult"] = result.clone();
            for _ in 0..2 {
                assert_eq!(run("CHECK", &config).success(), Value::Null);
            }
        } else {
            run("CHECK", &config).fails(1, "does not allow CHECK");
        }
        if version == "1.1.0" {
            assert_eq!(node.run("STATUS", "", &bare).success(), Value::Null);
            let mut swept = bare.clone();
            let valid = json!([{"containerID": "c1", "ifname": "eth0"}]);
            swept["cni.dev/valid-attachments"] = valid.clone();
            swept["cni.dev/attachments"] = valid;
            assert_eq!(node.run("GC", "", &swept).success(), Value::Null);
            assert_eq!(leases(&server).len(), 2, "what is valid stays");
        } else {
            node.run("STATUS", "", &bare)
                .fails(1, "does not allow STATUS");
            node.run("GC", "", &bare).fails(1, "does not allow GC");
        }
        for _ in 0..2 {
            assert_eq!(run("DEL", &config).success(), Value::Null);
            assert!(leases(&server).is_empty(), "{version}");
        }
    }
}

#[test]
fn an_add_that_is_repeated_is_answered_alike_and_takes_nothing_more() {
    let server = dual_stack();
    let node = Node::new("n1");
    for version in VERSIONS {
        let config = node.network(version, &json!(server.url()), &json!(["v4", "v6"]));
        let result = node.run("ADD", "c1", &config).success();
        assert_eq!(node.run("ADD", "c1", &config).success(), result);
        assert_eq!(leases(&server).len(), 2, "{version}");
        node.run("DEL", "c1", &config).success();
    }
}

#[test]
fn each_result_has_the_shape_of_its_version() {
    let server = dual_stack();
    let routes = json!([
        {"dst": "0.0.0.0/0", "gw": "10.1.0.1"}, {"dst": "192.0.2.0/24"}, {"dst": "::/0", "gw": "fd00:1::1"}]);
    let dns = json!({"nameservers": ["10.1.0.53"], "domain": "example", "search": ["a.example"], "options": ["ndots:2"]});
    for version in VERSIONS {
        let node = Node::new("n1");
        let config = node.network(version, &json!(server.url()), &json!(["v4", "v6"]));
        let args = "IP=10.1.0.7,fd00:1::7";
        let result = (node.call("ADD", "c1", &config).with("CNI_ARGS", args).run()).success();
        let mut v4 = json!({"address": "10.1.0.7/16", "gateway": "10.1.0.1"});
        let mut v6 = json!({"address": "fd00:1::7/64", "gateway": "fd00:1::1"});
        let expected = match version {
            "0.1.0" | "0.2.0" => json!({
                "cniVersion": version,
                "ip4": {"ip": "10.1.0.7/16", "gateway": "10.1.0.1", "routes": [routes[0], routes[1]]},
                "ip6": {"ip": "fd00:1::7/64", "gateway": "fd00:1::1", "routes": [routes[2]]},
                "dns": dns,
            }),
            "0.3.0" | "0.3.1" | "0.4.0" => {
                v4["version"] = json!("4");
                v6["version"] = json!("6");
                json!({"cniVersion": version, "ips": [v4, v6], "routes": routes, "dns": dns})
            }
            _ => json!({"cniVersion": version, "ips": [v4, v6], "routes": routes, "dns": dns}),
        };
        assert_eq!(result, expected);
        node.run("DEL", "c1", &config).success();
    }
}

#[test]
fn two_addresses_of_one_family_are_refused_before_0_3_0_and_nothing_stays_leased() {
    let server = dual_stack();
    let other = json!({"name": "v4b", "subnet": "10.2.0.0/16"});
    server.rest().post("/v1/pools", &other).unwrap().expect(201);
    let node = Node::new("n1");
    for (pools, args) in [
        (json!(["v4", "v4b"]), ""),
        (json!(["v4", "v6", "v4b"]), ""),
        (json!(["v4", "v4b"]), "IP=10.1.0.7,10.2.0.7"),
    ] {
        let config = node.network("0.2.0", &json!(server.url()), &pools);
        let outcome = node.call("ADD", "c1", &config).with("CNI_ARGS", args).run();
        outcome.fails(
            7,
            "CNI version 0.2.0 does not support more than 1 address per family",
        );
        assert!(leases(&server).is_empty());
        assert!(node.spooled().is_empty());
    }
    let config = node.network("0.3.0", &json!(server.url()), &json!(["v4", "v4b"]));
    assert_eq!(node.run("ADD", "c1", &config).addresses().len(), 2);
}

#[test]
fn the_networks_routes_replace_the_pools() {
    let server = dual_stack();
    let node = Node::new("n1");
    let mut config = node.network("1.0.0", &json!(server.socket_url()), &json!(["v4"]));
    for (number, routes) in [json!([]), json!([{"dst": "198.51.100.0/24"}])]
        .iter()
        .enumerate()
    {
        config["ipam"]["routes"] = routes.clone();
        let result = node.run("ADD", &format!("c{number}"), &config).success();
        match routes.as_array().unwrap().is_empty() {
            true => assert!(result.get("routes").is_none()),
            false => assert_eq!(&result["routes"], routes),
        }
    }
}

#[test]
fn a_wanted_address_comes_from_each_of_its_sources() {
    let server = dual_stack();
    let node = Node::new("n1");
    let config = node.network("1.1.0", &json!(server.url()), &json!(["v4", "v6"]));
    let mut by_args = config.clone();
    by_args["args"] = json!({"cni": {"ips": ["10.1.7.1/16"]}});
    let mut by_capability = config.clone();
    by_capability["runtimeConfig"] = json!({"ips": ["fd00:1::7:3/64", "10.1.7.3"]});
    assert_eq!(node.run("ADD", "a", &by_args).addresses()[0], "10.1.7.1/16");
    let both = node.run("ADD", "b", &by_capability).addresses();
    assert_eq!(both, ["10.1.7.3/16", "fd00:1::7:3/64"]);
    let by_env = node
        .call("ADD", "c", &config)
        .with("CNI_ARGS", "IP=10.1.7.2/24")
        .run();
    assert_eq!(by_env.addresses()[0], "10.1.7.2/16");
    let taken = node
        .call("ADD", "d", &config)
        .with("CNI_ARGS", "IP=10.1.7.2")
        .run();
    taken.fails(101, "10.1.7.2");
    let nowhere = node
        .call("ADD", "d", &config)
        .with("CNI_ARGS", "IP=172.16.0.1")
        .run();
    nowhere.fails(7, "172.16.0.1");
    assert_eq!(leases(&server).len(), 6);
}
