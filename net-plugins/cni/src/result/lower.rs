//! From today's result down to the version that the configuration asks for.

use serde::Serialize;
use serde_json::{Value, json};

use super::wire::{Early, EarlyIp};
use super::{CniResult, Interface, Ip, Route};
use crate::error::Error;
use crate::version::Version;

impl CniResult {
    /// The result object of `version`. Fails (code 999) only before 0.3.0, when there is no address to show.
    pub fn to_json(&self, version: Version) -> Result<Value, Error> {
        let mut object = if version < Version::V0_3_0 {
            value(&self.early()?)?
        } else if version < Version::V1_0_0 {
            self.middle()?
        } else {
            self.current()?
        };
        object["cniVersion"] = json!(version.as_str());
        Ok(object)
    }

    fn current(&self) -> Result<Value, Error> {
        let mut object = json!({});
        put(&mut object, "interfaces", &self.interfaces)?;
        put(&mut object, "ips", &self.ips)?;
        put(&mut object, "routes", &self.routes)?;
        if !self.dns.is_empty() {
            object["dns"] = value(&self.dns)?;
        }
        Ok(object)
    }

    /// 0.3.0 to 0.4.0: addresses name their family, interfaces know less, dns is always there.
    fn middle(&self) -> Result<Value, Error> {
        let shorter = |interface: &Interface| Interface {
            name: interface.name.clone(),
            mac: interface.mac.clone(),
            sandbox: interface.sandbox.clone(),
            ..Interface::default()
        };
        let interfaces: Vec<_> = self.interfaces.iter().map(shorter).collect();
        let with_family = |ip: &Ip| {
            let mut object = value(ip)?;
            object["version"] = json!(if ip.address.is_ipv4() { "4" } else { "6" });
            Ok(object)
        };
        let ips: Vec<_> = self
            .ips
            .iter()
            .map(with_family)
            .collect::<Result<_, Error>>()?;
        let mut object = json!({"dns": value(&self.dns)?});
        put(&mut object, "interfaces", &interfaces)?;
        put(&mut object, "ips", &ips)?;
        put(&mut object, "routes", &self.routes)?;
        Ok(object)
    }

    /// 0.1.0 and 0.2.0: the first address of each family, with that family's routes.
    fn early(&self) -> Result<Early, Error> {
        let early = Early {
            ip4: self.early_ip(true),
            ip6: self.early_ip(false),
            dns: self.dns.clone(),
        };
        if early.ip4.is_none() && early.ip6.is_none() {
            return Err(Error::internal("cannot convert: no valid IP addresses"));
        }
        Ok(early)
    }

    fn early_ip(&self, v4: bool) -> Option<EarlyIp> {
        let ip = self.ips.iter().find(|ip| ip.address.is_ipv4() == v4)?;
        let routes = self.routes.iter().filter(|route| route.dst.is_ipv4() == v4);
        Some(EarlyIp {
            ip: ip.address,
            gateway: ip.gateway,
            routes: routes
                .map(|route| Route::new(route.dst, route.gw))
                .collect(),
        })
    }
}

fn put<T: Serialize>(object: &mut Value, key: &str, list: &[T]) -> Result<(), Error> {
    if !list.is_empty() {
        object[key] = value(&list)?;
    }
    Ok(())
}

fn value(thing: &impl Serialize) -> Result<Value, Error> {
    serde_json::to_value(thing)
        .map_err(|e| Error::internal(format!("cannot encode the result: {e}")))
}
