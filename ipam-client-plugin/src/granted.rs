//! From the leases that the service answers to the result that the runtime reads.
//!
//! Only what the result needs is read of a lease, straight into CNI's own types: so a server that knows more is
//! understood, and what it adds to a route in CNI's terms arrives.

use std::net::IpAddr;

use cni::{CniResult, Dns, Error, Ip, Route};
use ipnetwork::IpNetwork;
use serde::Deserialize;

use crate::config::Config;

/// The answer to a claim.
#[derive(Debug, Deserialize)]
pub struct Granted {
    /// One per entry, in order.
    pub leases: Vec<Lease>,
}

/// A lease, as far as the plugin cares.
#[derive(Debug, Deserialize)]
pub struct Lease {
    /// The address with the pool's prefix length.
    pub address: IpNetwork,
    /// The pool's gateway.
    #[serde(default)]
    pub gateway: Option<IpAddr>,
    /// The pool's routes.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// The pool's DNS settings.
    #[serde(default)]
    pub dns: Dns,
}

impl Granted {
    /// The result of ADD: the addresses in the entries' order, and what comes with them.
    pub fn into_result(self, config: &Config) -> Result<CniResult, Error> {
        if self.leases.len() != config.entries.len() {
            return Err(Error::internal(format!(
                "ipam-server answered {} leases for {} entries",
                self.leases.len(),
                config.entries.len()
            )));
        }
        let routes = match &config.routes {
            Some(routes) => routes.clone(),
            None => merge_routes(&self.leases),
        };
        let dns = merge_dns(&self.leases);
        let ip = |lease: Lease| Ip {
            interface: None,
            address: lease.address,
            gateway: lease.gateway,
        };
        Ok(CniResult {
            ips: self.leases.into_iter().map(ip).collect(),
            routes,
            dns,
            ..CniResult::default()
        })
    }

    /// Whether two of the addresses are of one family, which no result before 0.3.0 can hold.
    pub fn repeats_a_family(&self) -> bool {
        let v4 = self.leases.iter().filter(|l| l.address.is_ipv4()).count();
        v4 > 1 || self.leases.len() - v4 > 1
    }
}

/// The pools' routes in order: equal ones once, and of the defaults of one family the first, since two would fight.
fn merge_routes(leases: &[Lease]) -> Vec<Route> {
    let mut merged: Vec<Route> = Vec::new();
    for route in leases.iter().flat_map(|lease| &lease.routes) {
        let collides = |earlier: &Route| {
            let same = network(earlier) == network(route) && earlier.gw == route.gw;
            let defaults = earlier.dst.prefix() == 0 && route.dst.prefix() == 0;
            same || (defaults && earlier.dst.is_ipv4() == route.dst.is_ipv4())
        };
        if !merged.iter().any(collides) {
            merged.push(route.clone());
        }
    }
    merged
}

fn network(route: &Route) -> (IpAddr, u8) {
    (route.dst.network(), route.dst.prefix())
}

/// Lists are joined in order, so that a dual-stack container gets the name servers of both families; of domains, which a
/// resolver has one of, the first counts.
fn merge_dns(leases: &[Lease]) -> Dns {
    let mut merged = Dns::default();
    for Dns {
        nameservers,
        domain,
        search,
        options,
    } in leases.iter().map(|lease| &lease.dns)
    {
        join(&mut merged.nameservers, nameservers);
        join(&mut merged.search, search);
        join(&mut merged.options, options);
        if merged.domain.is_empty() {
            merged.domain.clone_from(domain);
        }
    }
    merged
}

fn join(list: &mut Vec<String>, more: &[String]) {
    for item in more {
        if !list.contains(item) {
            list.push(item.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn granted(leases: Value) -> Granted {
        serde_json::from_value(json!({"leases": leases})).unwrap()
    }

    fn config(entries: usize, routes: Option<Vec<Route>>) -> Config {
        let pools: Vec<_> = (0..entries).map(|n| format!("p{n}")).collect();
        let ipam = json!({"server": "http://a", "node": "n", "pools": pools});
        let text = json!({"name": "net", "ipam": ipam}).to_string();
        let conf = cni::NetConf::parse(text.as_bytes(), cni::Command::Add).unwrap();
        Config {
            routes,
            ..Config::lenient(&conf).unwrap()
        }
    }

    fn result(leases: Value) -> CniResult {
        let count = leases.as_array().unwrap().len();
        granted(leases).into_result(&config(count, None)).unwrap()
    }

    #[test]
    fn addresses_come_in_the_entries_order_with_their_gateways() {
        let result = result(json!([
            {"address": "fd00::5/64", "gateway": "fd00::1", "id": "x", "anything": [1]},
            {"address": "10.0.0.5/16", "gateway": null},
        ]));
        assert_eq!(result.ips[0].address.to_string(), "fd00::5/64");
        assert_eq!(result.ips[0].gateway, Some("fd00::1".parse().unwrap()));
        assert_eq!(result.ips[1].address.to_string(), "10.0.0.5/16");
        assert_eq!(result.ips[1].gateway, None);
        assert_eq!(
            (result.interfaces.len(), result.ips[0].interface),
            (0, None)
        );
    }

    #[test]
    fn equal_routes_merge_and_the_first_default_of_a_family_wins() {
        let result = result(json!([
            {"address": "10.0.0.5/16", "routes": [
                {"dst": "0.0.0.0/0", "gw": "10.0.0.1"}, {"dst": "192.0.2.0/24"}, {"dst": "192.0.2.0/24", "gw": "10.0.0.2"}]},
            {"address": "10.1.0.5/16", "routes": [
                {"dst": "0.0.0.0/0", "gw": "10.1.0.1"}, {"dst": "192.0.2.0/24", "mtu": 1400}]},
            {"address": "fd00::5/64", "routes": [{"dst": "::/0", "gw": "fd00::1", "mtu": 1400}]},
        ]));
        let routes: Vec<_> = (result.routes.iter())
            .map(|r| format!("{} {:?}", r.dst, r.gw.map(|gw| gw.to_string())))
            .collect();
        assert_eq!(
            routes,
            [
                "0.0.0.0/0 Some(\"10.0.0.1\")",
                "192.0.2.0/24 None",
                "192.0.2.0/24 Some(\"10.0.0.2\")",
                "::/0 Some(\"fd00::1\")",
            ]
        );
        assert_eq!(result.routes[3].mtu, Some(1400));
    }

    #[test]
    fn the_networks_routes_replace_the_pools_also_when_there_are_none() {
        let leases =
            || granted(json!([{"address": "10.0.0.5/16", "routes": [{"dst": "0.0.0.0/0"}]}]));
        let own = Route::new("198.51.100.0/24".parse().unwrap(), None);
        let with = |routes| {
            leases()
                .into_result(&config(1, Some(routes)))
                .unwrap()
                .routes
        };
        assert_eq!(with(vec![own.clone()]), [own]);
        assert_eq!(with(vec![]), []);
        assert_eq!(
            leases().into_result(&config(1, None)).unwrap().routes.len(),
            1
        );
    }

    #[test]
    fn both_families_name_servers_arrive() {
        let dns = result(json!([
            {"address": "10.0.0.5/16", "dns": {"nameservers": ["10.0.0.53"], "search": ["a"], "domain": "first"}},
            {"address": "fd00::5/64", "dns": {"nameservers": ["fd00::53", "10.0.0.53"], "domain": "second", "new": 1}},
        ]))
        .dns;
        assert_eq!(dns.nameservers, ["10.0.0.53", "fd00::53"]);
        assert_eq!(
            (dns.domain.as_str(), dns.search),
            ("first", vec!["a".to_owned()])
        );
    }

    #[test]
    fn an_answer_of_another_length_is_refused() {
        let one = || granted(json!([{"address": "10.0.0.5/16"}]));
        let error = one().into_result(&config(2, None)).unwrap_err();
        assert_eq!(error.code, 999);
        assert!(error.msg.contains("1 leases for 2 entries"));
    }

    #[test]
    fn families_are_counted() {
        let repeats = |addresses: &[&str]| {
            let leases: Vec<_> = addresses.iter().map(|a| json!({"address": a})).collect();
            granted(json!(leases)).repeats_a_family()
        };
        assert!(!repeats(&["10.0.0.5/16"]) && !repeats(&["10.0.0.5/16", "fd00::5/64"]));
        assert!(repeats(&["10.0.0.5/16", "10.0.0.6/16"]) && repeats(&["fd00::5/64", "fd00::6/64"]));
    }

    proptest! {
        #[test]
        fn merged_routes_hold_each_route_once_and_lose_only_later_defaults(
            pools in prop::collection::vec(
                prop::collection::vec((0_u8..4, 0_u8..3), 0..5), 1..4),
        ) {
            let route = |&(dst, gw): &(u8, u8)| {
                let dst = ["0.0.0.0/0", "::/0", "10.0.0.0/8", "10.64.0.0/10"][usize::from(dst)];
                let mut route = json!({"dst": dst});
                if gw > 0 {
                    route["gw"] = json!(format!("10.0.0.{gw}"));
                }
                route
            };
            let leases: Vec<_> = (pools.iter())
                .map(|routes| {
                    json!({"address": "10.0.0.5/16", "routes": routes.iter().map(route).collect::<Vec<_>>()})
                })
                .collect();
            let merged = result(json!(leases.clone())).routes;
            let all: Vec<Route> = (granted(json!(leases)).leases.into_iter())
                .flat_map(|lease| lease.routes)
                .collect();
            for v4 in [true, false] {
                let default = |r: &&Route| r.dst.prefix() == 0 && r.dst.is_ipv4() == v4;
                prop_assert!(merged.iter().filter(default).count() <= 1);
                prop_assert_eq!(merged.iter().find(default), all.iter().find(default));
            }
            for route in all.iter().filter(|route| route.dst.prefix() > 0) {
                prop_assert_eq!(merged.iter().filter(|r| *r == route).count(), 1);
            }
            prop_assert!(merged.iter().all(|route| all.contains(route)));
        }
    }
}
