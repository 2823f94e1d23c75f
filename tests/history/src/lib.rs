//! A judge over histories: from what clients asked and were told, and from what the database holds at the end, it proves
//! that the guarantees were kept, or names the events that show otherwise. Pure: it knows of no server and no database.
//!
//! What is not known counts for the service: a call without an answer may have been carried out at any time since, or
//! never, and whoever may have released a lease ends the time in which it was surely held. So every complaint is one.

mod answers;
mod books;
mod causes;
mod ending;
mod event;
mod held;
mod lives;
mod order;
mod violation;

pub use ending::{Ending, Life, Pool};
pub use event::{Claim, Collect, Event, Grant, Issued, Outcome, Release, Verb};
pub use violation::{Rule, Violation};

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use ipam_api::{Attachment, Code};

use order::may_free;

/// Judges a history by its ending; empty when every guarantee was kept. `ending` is read when no call is under way.
pub fn check(events: &[Event], ending: &Ending) -> Vec<Violation> {
    let history = History::new(events);
    let mut found = answers::check(&history);
    found.extend(held::check(&history));
    found.extend(causes::check(&history, ending));
    found.extend(lives::check(&history, ending));
    found.extend(books::check(ending));
    found
}

/// Events by what they are about.
pub(crate) struct History<'a> {
    pub(crate) events: &'a [Event],
    by_attachment: HashMap<&'a Attachment, Vec<&'a Event>>,
    collects: HashMap<(&'a str, &'a str, &'a str), Vec<&'a Event>>,
    /// When each boot of a node may have been seen first.
    boots: HashMap<(&'a str, &'a str), BTreeMap<u32, Duration>>,
}

impl<'a> History<'a> {
    fn new(events: &'a [Event]) -> Self {
        let mut by_attachment: HashMap<_, Vec<_>> = HashMap::new();
        let mut collects: HashMap<_, Vec<_>> = HashMap::new();
        let mut boots: HashMap<_, BTreeMap<_, _>> = HashMap::new();
        for event in events {
            if let Some((name, boot)) = boot_shown_by(event) {
                let seen: &mut BTreeMap<_, _> = boots.entry(name).or_default();
                let first = seen.entry(boot).or_insert(event.invoked);
                *first = event.invoked.min(*first);
            }
            match &event.verb {
                Verb::Claim(Claim { attachment, .. })
                | Verb::Release(Release { attachment, .. }) => {
                    by_attachment.entry(attachment).or_default().push(event);
                }
                Verb::Collect(collect) => {
                    let Collect {
                        cluster,
                        node,
                        network,
                        ..
                    } = collect;
                    let scope = (cluster.as_str(), node.as_str(), network.as_str());
                    collects.entry(scope).or_default().push(event);
                }
            }
        }
        Self {
            events,
            by_attachment,
            collects,
            boots,
        }
    }

    /// When the service may have learnt that the node's boot is over; from then on its leases may be reclaimed.
    pub(crate) fn boot_was_over(&self, key: &Attachment, boot: Option<u32>) -> Option<Duration> {
        let boots = self.boots.get(&(key.cluster.as_str(), key.node.as_str()))?;
        boots.range(boot? + 1..).map(|(_, seen)| *seen).min()
    }

    /// When the first verb was sent that may have freed what the claim was answered with.
    pub(crate) fn may_be_freed_from(&self, granted: Granted<'a>) -> Option<Duration> {
        (self.touching(&granted.claim.attachment))
            .filter(|event| may_free(event, granted))
            .map(|event| event.invoked)
            .chain(self.boot_was_over(&granted.claim.attachment, granted.claim.boot))
            .min()
    }

    /// Claims and releases of the attachment.
    pub(crate) fn about(&self, attachment: &Attachment) -> &[&'a Event] {
        self.by_attachment
            .get(attachment)
            .map_or(&[], Vec::as_slice)
    }

    /// Every event that can touch what the attachment holds: those about it, and the GCs of its node and network.
    pub(crate) fn touching<'s>(
        &'s self,
        attachment: &'s Attachment,
    ) -> impl Iterator<Item = &'a Event> + use<'s, 'a> {
        let Attachment {
            cluster,
            node,
            network,
            ..
        } = attachment;
        let scope = (cluster.as_str(), node.as_str(), network.as_str());
        let collects = self.collects.get(&scope).map_or(&[][..], Vec::as_slice);
        self.about(attachment).iter().chain(collects).copied()
    }

    /// The claims that were answered with leases.
    pub(crate) fn granted(&self) -> impl Iterator<Item = Granted<'a>> {
        self.events.iter().filter_map(Granted::of)
    }
}

/// The node and the boot that a claim or a GC tells of, if it may have been heard.
fn boot_shown_by(event: &Event) -> Option<((&str, &str), u32)> {
    // A claim that is refused for another reason may be committed beside one that is served, and its boot with it.
    if matches!(
        event.outcome,
        Outcome::Refused(Code::NodeNameConflict | Code::WrongService)
    ) {
        return None;
    }
    match &event.verb {
        Verb::Claim(claim) => {
            let key = &claim.attachment;
            Some(((key.cluster.as_str(), key.node.as_str()), claim.boot?))
        }
        Verb::Collect(gc) => Some(((gc.cluster.as_str(), gc.node.as_str()), gc.boot?)),
        Verb::Release(_) => None,
    }
}

/// A claim that was answered with leases.
#[derive(Clone, Copy)]
pub(crate) struct Granted<'a> {
    pub(crate) event: &'a Event,
    pub(crate) claim: &'a Claim,
    pub(crate) grants: &'a [Grant],
}

impl<'a> Granted<'a> {
    fn of(event: &'a Event) -> Option<Self> {
        match (&event.verb, &event.outcome) {
            (Verb::Claim(claim), Outcome::Granted(grants)) => Some(Self {
                event,
                claim,
                grants,
            }),
            _ => None,
        }
    }
}
