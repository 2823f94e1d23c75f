//! Attachments.

use uuid::Uuid;

use super::{NOW, later};
use crate::store::changes::Changes;
use crate::store::rows::AttachmentRow;
use crate::store::statements::{Answer, Statements};

pub(super) fn attachment(container_id: &str) -> AttachmentRow {
    AttachmentRow {
        id: Uuid::now_v7(),
        cluster: "default".to_owned(),
        node: "exercise".to_owned(),
        network: "net".to_owned(),
        container_id: container_id.to_owned(),
        ifname: "eth0".to_owned(),
        claim_boot: Some("boot".to_owned()),
        claim_issued: Some(i64::MAX),
        granted_issued: None,
        release_boot: None,
        release_issued: None,
        released_at: None,
        pod_namespace: Some("space".to_owned()),
        pod_name: Some("it's \"a\" pod\\".to_owned()),
        pod_uid: None,
        earlier_release_boot: None,
        earlier_release_issued: None,
    }
}

async fn save<T: Statements>(tx: &mut T, attachments: Vec<AttachmentRow>) -> Answer<()> {
    let changes = Changes {
        attachments,
        ..Changes::default()
    };
    tx.write(&changes).await
}

pub(super) async fn attachments<T: Statements>(tx: &mut T) {
    let mut first = attachment("c1");
    let second = attachment("c2");
    let inserted = tx.upsert_attachments(std::slice::from_ref(&first)).await;
    assert_eq!(inserted.expect("inserts"), []);
    let mut again = first.clone();
    again.id = Uuid::now_v7();
    again.claim_boot = Some("another".to_owned());
    let found = tx
        .upsert_attachments(&[again, second.clone()])
        .await
        .expect("locks and inserts");
    assert_eq!(found, [first.clone()], "only what was there, as it is");
    first.id = Uuid::now_v7();
    first.claim_issued = Some(1_234_567_890_123_456_789);
    first.release_boot = Some("b'2".to_owned());
    first.release_issued = Some(-1);
    first.earlier_release_boot = Some("earlier".to_owned());
    first.earlier_release_issued = Some(7);
    first.released_at = Some(NOW);
    first.pod_name = None;
    save(tx, vec![second.clone(), first.clone()])
        .await
        .expect("saves");
    let mut found = tx
        .find_attachments(&[first.key(), second.key(), attachment("absent").key()])
        .await
        .expect("reads");
    found.sort_by(|a, b| a.container_id.cmp(&b.container_id));
    assert_eq!(found, [first.clone(), second.clone()]);
    for (after, expected) in [(("", ""), 1), (("c2", "eth"), 1), (("c2", "eth0"), 0)] {
        let holders = tx
            .holders_on("default", "exercise", "net", after, 9)
            .await
            .expect("reads");
        assert_eq!(holders.len(), expected, "after {after:?}");
    }
    for (after, expected) in [
        (("", "", ""), 1),
        (("net", "c2", "eth"), 1),
        (("net", "c2", "eth0"), 0),
    ] {
        let holders = tx
            .holders_of("default", "exercise", after, 9)
            .await
            .expect("reads");
        assert_eq!(holders.len(), expected, "after {after:?}");
    }
    let pruned = tx.prune_attachments(NOW, 9).await.expect("prunes");
    assert_eq!(pruned, 0, "only what is older");
    let pruned = tx.prune_attachments(later(1), 9).await.expect("prunes");
    assert_eq!(pruned, 1);
    tx.delete_attachments(&[second.id]).await.expect("deletes");
    let found = tx.find_attachments(&[first.key(), second.key()]).await;
    assert_eq!(found.expect("reads"), []);
}
