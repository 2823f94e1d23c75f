//! The order of verbs: which claims and releases of one attachment may still act.
//!
//! Verbs of one node overtake each other on the way, and no deadline can stop a COMMIT that is under way. So each carries
//! when it was issued (nanoseconds of its boot), and the attachment's row keeps the latest of each kind. Verbs that carry
//! nothing are ordered by their arrival.

use ipam_api::{Claim, GcRequest, Release};

use super::rows::AttachmentRow;

/// Whether a release that was issued after the claim has been served.
pub(super) fn is_superseded(row: &AttachmentRow, claim: &Claim) -> bool {
    let earlier = (&row.earlier_release_boot, row.earlier_release_issued);
    [(&row.release_boot, row.release_issued), earlier]
        .into_iter()
        .any(|(boot, released)| match (claim.issued, released) {
            (Some(claimed), Some(released)) => *boot == claim.boot_id && claimed <= released,
            _ => false,
        })
}

/// Notes a claim that was answered with leases; `created` when it made them.
pub(super) fn note_claim(row: &mut AttachmentRow, claim: &Claim, created: bool) {
    if row.claim_boot != claim.boot_id && claim.boot_id.is_some() {
        row.claim_boot.clone_from(&claim.boot_id);
        row.claim_issued = None;
        // What an earlier boot made, no claim of this one can take back.
        row.granted_issued = None;
    }
    if created {
        // Whatever newer claim there was, its set is gone: nobody else was told of this one.
        row.claim_issued = claim.issued;
        row.granted_issued = claim.issued;
    } else {
        row.claim_issued = row.claim_issued.max(claim.issued);
    }
}

/// The boot that a release was issued in, as its node knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IssuedIn {
    /// The present one, or one that was never seen.
    Present,
    /// One that the node has left.
    Left,
    /// One of several that may live at once: two machines use the node's name.
    Disputed,
}

/// Whether the leases that the attachment holds go with this release.
pub(super) fn frees(row: &AttachmentRow, release: &Release, boot: IssuedIn) -> bool {
    let same_boot = row.claim_boot == release.boot_id;
    if release.claim_issued.is_some() {
        // An ADD that gave up takes back what it made, unless a later ADD was told that it holds it.
        return same_boot
            && row.granted_issued == release.claim_issued
            && row.claim_issued == release.claim_issued;
    }
    if same_boot {
        let (Some(released), Some(claimed)) = (release.issued, row.claim_issued) else {
            return true;
        };
        return released >= claimed;
    }
    match boot {
        // A claim of an earlier boot is older than any release of this one; one without a boot came before this arrived.
        IssuedIn::Present => true,
        IssuedIn::Left => false,
        // The other machine's container may have the same id, as where a disk was cloned.
        IssuedIn::Disputed => row.claim_boot.is_none() || release.boot_id.is_none(),
    }
}

/// Notes a release that was served, so that a claim which it overtook finds it.
pub(super) fn note_release(row: &mut AttachmentRow, release: &Release, boot: IssuedIn) {
    // Claims of an earlier boot are refused by the node's row.
    if boot != IssuedIn::Left {
        let issued = release.claim_issued.or(release.issued);
        note_released(row, release.boot_id.as_deref(), issued);
    }
}

/// Whether a GC that does not list the attachment frees its leases: they were claimed before it was issued, or in a boot
/// that the node has left. The node is in the GC's boot: that was checked before.
pub(super) fn is_garbage(row: &AttachmentRow, gc: &GcRequest) -> bool {
    let (Some(collected), Some(claimed)) = (gc.issued, row.claim_issued) else {
        return true;
    };
    if row.claim_boot == gc.boot_id {
        claimed < collected
    } else {
        gc.boot_id.is_some()
    }
}

/// Whether the GC and the attachment's claim tell themselves which was first; if not, the order of arrival counts.
pub(super) fn is_ordered(row: &AttachmentRow, gc: &GcRequest) -> bool {
    gc.issued.is_some() && row.claim_issued.is_some()
}

/// Notes a GC that freed the attachment's leases.
pub(super) fn note_collected(row: &mut AttachmentRow, gc: &GcRequest) {
    note_released(row, gc.boot_id.as_deref(), gc.issued);
}

/// Notes that what is held is in use in this boot, though nobody claimed it anew.
pub(super) fn note_sign_of_life(row: &mut AttachmentRow, boot_id: String) {
    row.claim_boot = Some(boot_id);
    (row.claim_issued, row.granted_issued) = (None, None);
}

fn note_released(row: &mut AttachmentRow, boot_id: Option<&str>, issued: Option<i64>) {
    if issued.is_none() {
        return;
    }
    if row.earlier_release_boot.as_deref() == boot_id && row.earlier_release_issued.is_some() {
        row.earlier_release_issued = row.earlier_release_issued.max(issued);
        return;
    }
    if row.release_boot.as_deref() != boot_id {
        row.earlier_release_boot = row.release_boot.take();
        row.earlier_release_issued = row.release_issued.take();
        row.release_boot = boot_id.map(str::to_owned);
    }
    row.release_issued = row.release_issued.max(issued);
}

#[cfg(test)]
mod tests {
    use ipam_api::Attachment;

    use super::*;

    fn key() -> Attachment {
        Attachment {
            cluster: "c".to_owned(),
            node: "n".to_owned(),
            network: "net".to_owned(),
            container_id: "id".to_owned(),
            ifname: "eth0".to_owned(),
        }
    }

    fn claim(boot: &str, issued: i64) -> Claim {
        Claim {
            attachment: key(),
            machine_id: None,
            boot_id: Some(boot.to_owned()),
            issued: Some(issued),
            pod: None,
            owner: None,
            entries: Vec::new(),
            wanted: Vec::new(),
            deadline_ms: None,
        }
    }

    fn release(boot: &str, issued: i64, claim_issued: Option<i64>) -> Release {
        let key = key();
        Release {
            cluster: key.cluster,
            node: key.node,
            network: key.network,
            container_id: key.container_id,
            ifname: key.ifname,
            boot_id: Some(boot.to_owned()),
            issued: Some(issued),
            claim_issued,
        }
    }

    fn held_since(boot: &str, issued: i64) -> AttachmentRow {
        let mut row = AttachmentRow::new(&key());
        note_claim(&mut row, &claim(boot, issued), true);
        row
    }

    #[test]
    fn a_claim_that_its_release_overtook_is_superseded_and_a_newer_one_is_not() {
        let mut row = AttachmentRow::new(&key());
        note_release(&mut row, &release("b", 20, None), IssuedIn::Present);
        assert!(is_superseded(&row, &claim("b", 10)));
        assert!(!is_superseded(&row, &claim("b", 30)));
        assert!(!is_superseded(&row, &claim("next", 1)));
    }

    #[test]
    fn the_largest_mark_counts_whatever_the_order_of_arrival() {
        let mut row = held_since("b", 30);
        note_claim(&mut row, &claim("b", 10), false);
        assert_eq!(row.claim_issued, Some(30));
        note_release(&mut row, &release("b", 50, None), IssuedIn::Present);
        note_release(&mut row, &release("b", 40, None), IssuedIn::Present);
        assert_eq!(row.release_issued, Some(50));
    }

    #[test]
    fn a_release_frees_what_was_claimed_before_it_and_nothing_newer() {
        let row = held_since("b", 30);
        assert!(frees(&row, &release("b", 40, None), IssuedIn::Present));
        assert!(!frees(&row, &release("b", 20, None), IssuedIn::Present));
    }

    #[test]
    fn a_release_of_this_boot_frees_an_earlier_boots_leases_and_a_left_over_record_does_not_free_this_boots()
     {
        assert!(frees(
            &held_since("old", 900),
            &release("new", 5, None),
            IssuedIn::Present
        ));
        assert!(!frees(
            &held_since("new", 5),
            &release("old", 900, None),
            IssuedIn::Left
        ));
        assert!(frees(
            &held_since("old", 5),
            &release("old", 900, None),
            IssuedIn::Left
        ));
    }

    #[test]
    fn an_add_that_gives_up_frees_only_what_it_made_and_nobody_else_was_told() {
        let mut row = held_since("b", 10);
        assert!(!frees(&row, &release("b", 12, Some(11)), IssuedIn::Present));
        assert!(frees(&row, &release("b", 12, Some(10)), IssuedIn::Present));
        note_claim(&mut row, &claim("b", 11), false);
        assert!(!frees(&row, &release("b", 12, Some(10)), IssuedIn::Present));
    }

    #[test]
    fn a_late_add_that_makes_a_set_after_an_admins_release_can_take_it_back() {
        let mut row = held_since("b", 30);
        // An admin's release leaves no mark.
        note_claim(&mut row, &claim("b", 20), true);
        assert!(frees(&row, &release("b", 25, Some(20)), IssuedIn::Present));
        assert!(frees(&row, &release("b", 25, None), IssuedIn::Present));
    }

    #[test]
    fn an_add_that_gave_up_is_refused_when_it_arrives_late_and_the_next_one_is_not() {
        let mut row = AttachmentRow::new(&key());
        note_release(&mut row, &release("b", 99, Some(10)), IssuedIn::Present);
        assert!(is_superseded(&row, &claim("b", 10)));
        assert!(!is_superseded(&row, &claim("b", 11)));
    }

    #[test]
    fn gc_frees_what_was_claimed_before_it_or_in_a_boot_that_is_over() {
        let gc = |issued| GcRequest {
            cluster: "c".to_owned(),
            node: "n".to_owned(),
            network: "net".to_owned(),
            machine_id: None,
            boot_id: Some("b".to_owned()),
            issued,
            valid: Vec::new(),
        };
        assert!(is_garbage(&held_since("b", 10), &gc(Some(20))));
        assert!(!is_garbage(&held_since("b", 30), &gc(Some(20))));
        assert!(is_garbage(&held_since("a", 30), &gc(Some(20))));
        assert!(is_garbage(&held_since("b", 30), &gc(None)));
    }
}
