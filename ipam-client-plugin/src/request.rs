//! What a runtime asks for one container beside the network's configuration: addresses, and whose they are.

use std::net::IpAddr;

use cni::args::Args;
use cni::{Error, Invocation, NetConf};
use ipam_api::Pod;
use serde_json::Value;

/// The keys of `CNI_ARGS` that are known here. `MAC` is the main plugin's, which sees the same variable.
const KNOWN: [&str; 6] = [
    "IP",
    "MAC",
    "K8S_POD_NAMESPACE",
    "K8S_POD_NAME",
    "K8S_POD_UID",
    "K8S_POD_INFRA_CONTAINER_ID",
];

/// The wishes for one attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The addresses that must be given.
    pub wanted: Vec<IpAddr>,
    /// The pod, when the runtime names one.
    pub pod: Option<Pod>,
}

impl Request {
    /// Reads `CNI_ARGS` (code 4), `args.cni.ips` and the `ips` capability (code 7). The addresses of all three are
    /// united, as upstream's host-local does.
    pub fn read(invocation: &Invocation, conf: &NetConf) -> Result<Self, Error> {
        let args = Args::parse(&invocation.args, &KNOWN)?;
        let mut wanted = Vec::new();
        for text in args.get("IP").unwrap_or_default().split(',') {
            if !text.trim().is_empty() {
                let address = address(text).ok_or_else(|| {
                    Error::environment(format!("CNI_ARGS: IP={text:?} is not an address"))
                })?;
                add(&mut wanted, address);
            }
        }
        for (name, value) in [
            ("args.cni.ips", conf.cni_arg("ips")),
            ("runtimeConfig.ips", conf.runtime("ips")),
        ] {
            for address in value.map_or(Ok(Vec::new()), |value| addresses(name, value))? {
                add(&mut wanted, address);
            }
        }
        Ok(Self {
            wanted,
            pod: pod(&args),
        })
    }
}

fn pod(args: &Args) -> Option<Pod> {
    let read = |key| {
        (args.get(key))
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let pod = Pod {
        namespace: read("K8S_POD_NAMESPACE"),
        name: read("K8S_POD_NAME"),
        uid: read("K8S_POD_UID"),
    };
    (pod != Pod::default()).then_some(pod)
}

fn addresses(name: &str, value: &Value) -> Result<Vec<IpAddr>, Error> {
    let list = match value {
        Value::Array(list) => list.iter().collect(),
        single => vec![single],
    };
    list.into_iter()
        .map(|item| {
            item.as_str().and_then(address).ok_or_else(|| {
                Error::invalid_config(format!("{name}: expected addresses, got {item}"))
            })
        })
        .collect()
}

/// An address, the length of a prefix ignored: it belongs to the pool.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = match text.split_once('/') {
        None => text,
        Some((bare, length)) => length
            .parse::<u8>()
            .is_ok_and(|l| l <= 128)
            .then_some(bare)?,
    };
    bare.parse::<IpAddr>().ok().map(|a| a.to_canonical())
}

fn add(wanted: &mut Vec<IpAddr>, address: IpAddr) {
    if !wanted.contains(&address) {
        wanted.push(address);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use cni::Command;
    use serde_json::json;

    use super::*;

    fn read(args: &str, config: &Value) -> Result<Request, Error> {
        let mut config = config.clone();
        config["name"] = json!("net");
        let invocation = Invocation {
            command: Command::Add,
            container_id: "c1".into(),
            netns: String::new(),
            ifname: "eth0".into(),
            args: args.into(),
            path: Vec::new(),
            stdin: config.to_string().into_bytes(),
        };
        let conf = NetConf::parse(&invocation.stdin, Command::Add).unwrap();
        Request::read(&invocation, &conf)
    }

    fn wanted(args: &str, config: &Value) -> Vec<String> {
        let request = read(args, config).unwrap();
        request.wanted.iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn addresses_of_all_sources_are_united_without_prefix_or_repeats() {
        let config = json!({
            "args": {"cni": {"ips": ["10.0.0.6/16", "fd00::6"]}},
            "runtimeConfig": {"ips": ["10.0.0.5/24", "10.0.0.7"]},
        });
        assert_eq!(
            wanted("IP=10.0.0.5/24,FD00::0:6", &config),
            ["10.0.0.5", "fd00::6", "10.0.0.6", "10.0.0.7"]
        );
        assert_eq!(wanted("IP=", &json!({})), [""; 0]);
        assert_eq!(wanted("IP=::ffff:10.0.0.5", &json!({})), ["10.0.0.5"]);
        assert_eq!(
            wanted("", &json!({"args": {"cni": {"ips": "10.0.0.5"}}})),
            ["10.0.0.5"]
        );
    }

    #[test]
    fn what_is_no_address_is_named_with_where_it_stands() {
        for text in [
            "x",
            "10.0.0",
            "10.0.0.5/x",
            "10.0.0.5/",
            "10.0.0.5/129",
            "1.2.3.4.5",
        ] {
            let error = read(&format!("IP={text}"), &json!({})).unwrap_err();
            assert_eq!(error.code, 4);
            assert!(error.msg.contains(text), "{error}");
            let config = json!({"runtimeConfig": {"ips": [text]}});
            let error = read("", &config).unwrap_err();
            assert_eq!(error.code, 7);
            assert!(error.msg.starts_with("runtimeConfig.ips: "), "{error}");
        }
        let error = read("", &json!({"args": {"cni": {"ips": {"a": 1}}}})).unwrap_err();
        assert_eq!(
            error.msg,
            r#"args.cni.ips: expected addresses, got {"a":1}"#
        );
    }

    #[test]
    fn the_pod_is_what_the_runtime_says() {
        let args = "K8S_POD_INFRA_CONTAINER_ID=x;K8S_POD_NAME=web-0;K8S_POD_NAMESPACE=prod;K8S_POD_UID=;MAC=02:00:00:00:00:01";
        let pod = read(args, &json!({})).unwrap().pod.unwrap();
        assert_eq!(pod.name.as_deref(), Some("web-0"));
        assert_eq!(pod.namespace.as_deref(), Some("prod"));
        assert_eq!(pod.uid, None);
        assert_eq!(read("IgnoreUnknown=1;X=y", &json!({})).unwrap().pod, None);
        assert_eq!(read("X=y", &json!({})).unwrap_err().code, 4);
    }
}
