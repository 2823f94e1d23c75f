//! Nodes.

use super::{NOW, later};
use crate::store::statements::NodeStatements;

pub(super) async fn nodes<T: NodeStatements>(tx: &mut T) {
    let mut node = tx
        .lock_node("default", "exercise", NOW)
        .await
        .expect("inserts");
    assert_eq!(
        (node.machine_id.clone(), node.boot_id.clone()),
        (None, None)
    );
    for boot in [None, Some("one"), Some("two"), Some("one")] {
        node.machine_id = Some("machine".to_owned());
        node.boot_id = boot.map(str::to_owned);
        let now = later(boot.map_or(0, |boot| -(boot.len() as i64)));
        tx.save_node(&node, now).await.expect("saves");
    }
    let again = tx.lock_node("default", "exercise", NOW).await;
    assert_eq!(again.expect("locks").id, node.id);
    let names = ["exercise", "absent"].map(|name| ("default".to_owned(), name.to_owned()));
    let found = tx.nodes(&names).await.expect("reads");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].boot_id.as_deref(), Some("one"));
    let boots = tx.boots("default", "exercise").await.expect("reads");
    let boots: Vec<_> = (boots.iter())
        .map(|boot| (boot.boot_id.as_str(), boot.seen_at))
        .collect();
    assert_eq!(boots, [("one", later(-3)), ("two", later(-3))]);
    (node.reclaim_at, node.disputed_at) = (Some(later(5)), Some(later(6)));
    node.booted_at = Some(later(-9));
    node.boot_id = Some("three".to_owned());
    tx.save_node(&node, NOW).await.expect("saves");
    let due = tx.nodes_to_reclaim(later(4), 9).await.expect("reads");
    assert_eq!(due.len(), 0, "not yet");
    let due = tx.nodes_to_reclaim(later(5), 9).await.expect("reads");
    assert_eq!(due[0].0.reclaim_at, Some(later(5)));
    assert_eq!(due[0].0.disputed_at, Some(later(6)));
    assert_eq!(due[0].1, NOW, "when the boot was first seen");
    let boots = tx.boots("default", "exercise").await.expect("reads");
    assert_eq!(boots[2].booted_at, Some(later(-9)));
    let all = tx
        .view_nodes(None, None, ("c", ""), 9)
        .await
        .expect("reads");
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].leases, all[0].boot_seen_at), (0, Some(NOW)));
    assert_eq!(all[0].node.disputed_at, Some(later(6)));
    let beyond = tx.view_nodes(None, None, ("default", "exercise"), 9).await;
    assert_eq!(beyond.expect("reads").len(), 0);
    let other = tx
        .view_nodes(Some("other"), Some("exercise"), ("", ""), 9)
        .await;
    assert_eq!(other.expect("reads").len(), 0);
    assert!(
        tx.delete_node("default", "exercise")
            .await
            .expect("deletes")
    );
    assert!(
        !tx.delete_node("default", "exercise")
            .await
            .expect("deletes")
    );
    let boots = tx.boots("default", "exercise").await.expect("reads");
    assert_eq!(boots.len(), 0);
}
