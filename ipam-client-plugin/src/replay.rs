//! Delivering what the spool holds, after the plugin's own work or for `cluster-ipam flush`.

use std::io;
use std::time::{Duration, Instant};

use ipam_api::{Attachment, ReleaseRequest, Released};

use crate::client::{Access, Client, Patience};
use crate::fault::Fault;
use crate::spool::{Name, Record, Spool};
use crate::state::State;

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
pub fn after_work(client: &Client, state: &State, spool: &Spool, boot_id: &str) {
    let done = replay(client, state, spool, boot_id);
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

fn replay(
    client: &Client,
    state: &State,
    spool: &Spool,
    boot_id: &str,
) -> io::Result<Option<Delivery>> {
    let deadline = Instant::now() + TIME;
    let ours = |most| first_of(client, state, spool, most, |_| true);
    if ours(1)?.is_empty() {
        return Ok(None);
    }
    let Some(_lock) = spool.try_lock()? else {
        return Ok(None);
    };
    spool.sweep()?;
    // Anew under the lock: what another has just delivered is gone.
    deliver(client, spool, &ours(BATCH)?, boot_id, deadline).map(Some)
}

/// The first records that may be given to the client, `most` at most.
fn first_of(
    client: &Client,
    state: &State,
    spool: &Spool,
    most: usize,
    is_wanted: impl Fn(&Name) -> bool,
) -> io::Result<Vec<Name>> {
    let present = client.access();
    let mut found = Vec::new();
    for name in spool.names()? {
        if found.len() == most {
            break;
        }
        if is_wanted(&name)
            && name.may_be_for(present.service_id.as_deref())
            && let Some(record) = spool.read(&name)?
            && is_for(&record.access, present, state)
        {
            found.push(name);
        }
    }
    Ok(found)
}

/// Whether a record that is meant for `named` may count as done at `present`. One that was written before the first
/// success knows no service: its servers tell, by what the node has learnt of them since. One that knows no server
/// either was written by a DEL that nothing on the node could tell of any: it goes to whichever service answers.
fn is_for(named: &Access, present: &Access, state: &State) -> bool {
    match service_of(named, state) {
        Some(id) => present.service_id.as_deref() == Some(id),
        None => {
            named.servers.is_empty() || named.servers.iter().any(|s| present.servers.contains(s))
        }
    }
}

fn service_of<'a>(named: &'a Access, state: &'a State) -> Option<&'a str> {
    let known = || state.service(&named.servers).map(|s| s.id.as_str());
    named.service_id.as_deref().or_else(known)
}

/// Delivers what is known of one attachment, before it is claimed again: the releases are older than the claim, and
/// would free nothing after it.
pub fn settle(
    client: &Client,
    state: &State,
    spool: &Spool,
    attachment: &Attachment,
    boot_id: &str,
    deadline: Instant,
) -> io::Result<Delivery> {
    let about = |name: &Name| name.is_about(attachment);
    let names = first_of(client, state, spool, BATCH, about)?;
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

/// Whom to give a record to: the present servers when they are of its service, else the ones it names.
pub fn access_for(record: &Record, present: &Access, state: &State) -> Access {
    let named = &record.access;
    let is_theirs = is_for(named, present, state) && !present.servers.is_empty();
    let access = match is_theirs || named.servers.is_empty() {
        true => present,
        false => named,
    };
    let service_id =
        service_of(named, state).or(present.service_id.as_deref().filter(|_| is_theirs));
    Access {
        service_id: service_id.map(str::to_owned),
        ..access.clone()
    }
}
