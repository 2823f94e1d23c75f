//! What every verb begins with: the settings, the node's state, who this is, and a client of the service.

use std::path::Path;

use cni::{Error, Invocation, NetConf};
use ipam_api::{Attachment, Release};

use crate::client::{Access, Client, Reply};
use crate::config::Config;
use crate::fault::Fault;
use crate::identity::Identity;
use crate::log;
use crate::spool::{Record, Spool};
use crate::state::{Node, State};

/// One call of the plugin.
#[derive(Debug)]
pub struct Session {
    /// The settings.
    pub config: Config,
    /// The machine, its boot, and when the verb was issued.
    pub identity: Identity,
    /// What the node remembers.
    pub state: State,
    /// The node that is spoken for.
    pub node: Node,
    /// The service.
    pub client: Client,
}

impl Session {
    /// For the verbs that refuse a wrong configuration.
    pub fn strict(conf: &NetConf, issued: i64) -> Result<Self, Error> {
        let config = Config::strict(conf)?;
        log_to(&config);
        let state = State::load(&config.state_dir)?;
        Self::begin(config, state, issued)
    }

    /// For DEL, which makes do with what it finds. The name under which leases were claimed goes before the present one,
    /// and the service that they came from before none.
    pub fn lenient(conf: &NetConf, issued: i64) -> Result<Self, Error> {
        let mut config = Config::lenient(conf)?;
        log_to(&config);
        let state = State::load(&config.state_dir).unwrap_or_else(|error| {
            tracing::warn!(%error, "going on without the node's state");
            State::default()
        });
        if config.servers.is_empty()
            && let Some(service) = state.only_service()
        {
            config.servers.clone_from(&service.servers);
        }
        let mut session = Self::begin(config, state, issued)?;
        session.speak_for_recorded_node();
        Ok(session)
    }

    fn begin(config: Config, state: State, issued: i64) -> Result<Self, Error> {
        let identity = Identity::read(issued)?;
        let service = state.service(&config.servers);
        let access = Access {
            servers: config.servers.clone(),
            service_id: service.map(|service| service.id.clone()),
            token_file: config.token_file.clone(),
            ca_file: config.ca_file.clone(),
        };
        let first = service.and_then(|service| service.first());
        Ok(Self {
            client: Client::new(access, first, &config.node)?,
            node: Node {
                cluster: config.cluster.clone(),
                name: config.node.clone(),
                machine_id: identity.machine_id.clone(),
            },
            config,
            identity,
            state,
        })
    }

    /// Goes on under the name that leases were claimed with, whatever the node is called now.
    pub fn speak_for_recorded_node(&mut self) {
        if let Some(recorded) = &self.state.node {
            self.node.clone_from(recorded);
        }
    }

    /// Code 105 when the node is not the one that the state tells of.
    pub fn admit(&self) -> Result<(), Error> {
        self.state.admit(&self.node, self.state_dir())
    }

    /// What the verb is about.
    pub fn attachment(&self, invocation: &Invocation, conf: &NetConf) -> Attachment {
        Attachment {
            cluster: self.node.cluster.clone(),
            node: self.node.name.clone(),
            network: conf.name.clone(),
            container_id: invocation.container_id.clone(),
            ifname: invocation.ifname.clone(),
        }
    }

    /// The release of an attachment, issued with this verb.
    pub fn release(&self, attachment: Attachment) -> Release {
        let Attachment {
            cluster,
            node,
            network,
            container_id,
            ifname,
        } = attachment;
        Release {
            cluster,
            node,
            network,
            container_id,
            ifname,
            boot_id: Some(self.identity.boot_id.clone()),
            issued: Some(self.identity.issued),
            claim_issued: None,
        }
    }

    /// Keeps a release for a later call. Code 5 when even that fails: then the runtime has to call again.
    ///
    /// When nothing names a server, any of the services that the node knows may be the one: it is kept for each, and does
    /// nothing at those that never leased to the attachment.
    pub fn spool(&self, release: Release) -> Result<(), Error> {
        let present = self.client.access();
        let spool = self.spool_dir();
        let keep = |access: Access| {
            let release = release.clone();
            spool.write(&Record { release, access }).map_err(|e| {
                Error::io(format!(
                    "no server has confirmed the release, and it cannot be kept in {}: {e}",
                    spool.dir().display()
                ))
            })
        };
        if !present.servers.is_empty() || self.state.services.is_empty() {
            return keep(present.clone());
        }
        self.state.services.iter().try_for_each(|service| {
            keep(Access {
                servers: service.servers.clone(),
                service_id: Some(service.id.clone()),
                ..present.clone()
            })
        })
    }

    /// The node's spool.
    pub fn spool_dir(&self) -> Spool {
        Spool::of(self.state_dir())
    }

    /// The node's state directory.
    pub fn state_dir(&self) -> &Path {
        &self.config.state_dir
    }

    /// Remembers after an answer which server to ask first. A node that cannot is only slower.
    pub fn note_server<T>(&self, reply: &Reply<T>) {
        let known = self.state.services.iter().any(|s| s.id == reply.service_id);
        if reply.in_place_of_another && known {
            let noted = State::prefer(self.state_dir(), &reply.service_id, &reply.server);
            if let Err(error) = noted {
                tracing::warn!(%error, "cannot remember the server that answers");
            }
        }
    }

    /// The error object of a fault.
    pub fn explain(&self, fault: Fault) -> Error {
        fault.into_cni(self.state_dir())
    }
}

fn log_to(config: &Config) {
    if let Some(file) = &config.log_file {
        log::also_to(file);
    }
}
