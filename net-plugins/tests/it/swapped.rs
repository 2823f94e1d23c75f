//! Binaries that are swapped under running containers: what upstream's plugins made is checked and removed by ours, and the
//! other way round.

use serde_json::{Value, json};

use crate::world::{Host, ready, run};

const ID: &str = "swapped-container";

/// A network with everything that Debian's upstream plugins know, rules of the iptables backend among it: those of the
/// other did not exist yet.
fn conf(host: &Host) -> Value {
    let mut ipam = host.host_local(&["10.9.0.0/24", "fd00:9::/64"]);
    ipam["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]);
    json!({
        "cniVersion": "1.0.0", "name": "net", "master": "up0", "bridge": "br0", "isGateway": true,
        "ipMasq": true, "ipMasqBackend": "iptables", "macspoofchk": true, "ipam": ipam,
    })
}

/// The names of the host's links, and the lines of its packet filters that tell of the container.
fn left(host: &Host) -> (Vec<String>, Vec<String>) {
    let links = host.net.ip_json("link");
    let names = links.as_array().unwrap().iter();
    let mut rules = host.net.ruleset();
    for program in ["iptables", "ip6tables"] {
        rules += &run(host.net.command(program).args(["-t", "nat", "-S"]));
    }
    (
        names
            .map(|l| l["ifname"].as_str().unwrap().to_owned())
            .collect(),
        rules
            .lines()
            .filter(|line| line.contains(ID) || line.contains("CNI-"))
            .map(str::to_owned)
            .collect(),
    )
}

#[test]
fn either_side_checks_and_removes_what_the_other_made() {
    if !ready() {
        return;
    }
    for (ours, theirs) in [
        ("bridge", "upstream-bridge"),
        ("macvlan", "upstream-macvlan"),
        ("routed", "upstream-ptp"),
    ] {
        for (first, second) in [(theirs, ours), (ours, theirs)] {
            let host = Host::new();
            let pod = host.container();
            host.net.ip("link add up0 type veth peer name up1");
            host.net.ip("link add br0 type bridge");
            for link in ["up0", "up1", "br0"] {
                host.net.ip(&format!("link set {link} up"));
            }
            let (links, rules) = left(&host);
            assert_eq!(rules, [""; 0]);
            let conf = conf(&host);
            let result = host.call(first, &pod).id(ID).add(&conf);
            assert_eq!(host.leased().len(), 2, "{first}");
            let masquerades = first.contains("macvlan") || !left(&host).1.is_empty();
            assert!(masquerades, "{first}");
            let call = host.call(second, &pod).id(ID);
            call.check(&conf, &result);
            let mut last = conf.clone();
            last["prevResult"] = result;
            call.del(&last);
            let what = format!("{first} by {second}");
            assert_eq!(pod.link("eth0"), Value::Null, "{what}");
            assert_eq!(host.leased(), [""; 0], "{what}");
            assert_eq!(left(&host), (links, rules), "{what}");
        }
    }
}
