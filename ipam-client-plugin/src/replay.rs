//! Delivering what the spool holds, after the plugin's own work or for `cluster-ipam flush`.

use std::io;
use std::time::{Duration, Instant};

use ipam_api::{Attachment, ReleaseRequest, Released};

use crate::client::{Access, Client, Patience};
use crate::fault::Fault;
use crate::spool::{Name, Record, Spool};

/// The most records of one request.
pub const BATCH: usize = 100;
/// The most time that a replay may take of a call that is done otherwise.
const TIME: Duration = Duration::from_millis(200);

/// What came of a batch.
#[derive(Debug, Default)]
pub struct Delivery {
    /// Records that a server has confirmed.
    pub delivered: usize,
    /// Records that a server called malformed; they are set aside.
    pub rejected: usize,
    /// Why the rest stays.
    pub fault: Option<Fault>,
}

/// One batch of what is meant for the client's service, unless another call is at it. An empty spool costs one look.
pub fn after_work(client: &Client, spool: &Spool, boot_id: &str) {
    let done = replay(client, spool, boot_id);
    match done {
        Ok(Some(Delivery {
            fault: Some(fault), ..
        })) => {
            tracing::info!(%fault, "spooled releases stay");
        }
        Ok(_) => {}
        Err(error) => {
            tracing::warn!(%error, spool = %spool.dir().display(), "cannot replay the spool");
        }
    }
}

fn replay(client: &Client, spool: &Spool, boot_id: &str) -> io::Result<Option<Delivery>> {
    let deadline = Instant::now() + TIME;
    let service = client.access().service_id.clone();
    let is_ours = |name: &Name| name.is_for(service.as_deref());
    if !spool.names()?.iter().any(is_ours) {
        return Ok(None);
    }
    let Some(_lock) = spool.try_lock()? else {
        return Ok(None);
    };
    spool.sweep()?;
    // Anew under the lock: what another has just delivered is gone.
    let mut names = spool.names()?;
    names.retain(is_ours);
    names.truncate(BATCH);
    deliver(client, spool, &names, boot_id, deadline).map(Some)
}

/// Delivers what is known of one attachment, before it is claimed again: the releases are older than the claim, and
/// would free nothing after it.
pub fn settle(
    client: &Client,
    spool: &Spool,
    attachment: &Attachment,
    boot_id: &str,
    deadline: Instant,
) -> io::Result<Delivery> {
    let service = client.access().service_id.clone();
    let mut names = spool.names()?;
    names.retain(|name| name.is_about(attachment) && name.is_for(service.as_deref()));
    names.truncate(BATCH);
    deliver(client, spool, &names, boot_id, deadline)
}

/// Reads records and delivers them. Those that another call has delivered meanwhile count for nothing.
pub fn deliver(
    client: &Client,
    spool: &Spool,
    names: &[Name],
    boot_id: &str,
    deadline: Instant,
) -> io::Result<Delivery> {
    let mut records = Vec::new();
    for name in names {
        records.extend(spool.read(name)?.map(|record| (name, record)));
    }
    let mut done = Delivery::default();
    if !records.is_empty() {
        hand_over(client, spool, &records, boot_id, deadline, &mut done)?;
    }
    Ok(done)
}

/// Sends records in one request; when that is called malformed, each by itself, so that one bad record holds up none.
fn hand_over(
    client: &Client,
    spool: &Spool,
    records: &[(&Name, Record)],
    boot_id: &str,
    deadline: Instant,
    done: &mut Delivery,
) -> io::Result<()> {
    match send(client, records, boot_id, deadline) {
        Ok(()) => {
            for (name, _) in records {
                spool.remove(name)?;
            }
            done.delivered += records.len();
        }
        Err(fault) if fault.is_malformed() => match records {
            [(name, _)] => {
                spool.reject(name, &fault.to_string())?;
                done.rejected += 1;
            }
            many => {
                for single in many.chunks(1) {
                    hand_over(client, spool, single, boot_id, deadline, done)?;
                    if done.fault.is_some() {
                        break;
                    }
                }
            }
        },
        Err(fault) => done.fault = Some(fault),
    }
    Ok(())
}

fn send(
    client: &Client,
    records: &[(&Name, Record)],
    boot_id: &str,
    deadline: Instant,
) -> Result<(), Fault> {
    let request = ReleaseRequest {
        attachments: records.iter().map(|(_, r)| r.release.clone()).collect(),
        boot_id: Some(boot_id.to_owned()),
    };
    release(
        client,
        &request,
        Patience {
            deadline,
            repeats: false,
        },
    )
    .map(drop)
}

/// `POST /v1/release`.
pub fn release(
    client: &Client,
    request: &ReleaseRequest,
    patience: Patience,
) -> Result<crate::client::Reply<Released>, Fault> {
    let body = serde_json::to_vec(request)
        .map_err(|e| Fault::Local(format!("cannot encode the release: {e}")))?;
    client.post("/v1/release", &|_| body.clone(), patience)
}

/// Whom to give a record to: the present servers of its service when they are known, else the ones it names.
pub fn access_for(record: &Record, present: &Access) -> Access {
    let named = &record.access;
    let same = named.service_id.is_none() || named.service_id == present.service_id;
    if named.servers.is_empty() || (same && !present.servers.is_empty()) {
        Access {
            service_id: named
                .service_id
                .clone()
                .or_else(|| present.service_id.clone()),
            ..present.clone()
        }
    } else {
        named.clone()
    }
}
