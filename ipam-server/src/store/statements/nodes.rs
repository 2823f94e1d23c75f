//! Nodes, their boots, and what of earlier boots is left.

use std::future::Future;

use super::Answer;
use crate::store::moment::Moment;
use crate::store::rows::{BootRow, NodeRow, NodeView};

/// The machines that run plugins.
pub(crate) trait NodeStatements: Send {
    /// Nodes by (cluster, name), without a lock.
    fn nodes(
        &mut self,
        names: &[(String, String)],
    ) -> impl Future<Output = Answer<Vec<NodeRow>>> + Send;
    /// Inserts a node if its name is new, locks its row and answers it.
    fn lock_node(
        &mut self,
        cluster: &str,
        name: &str,
        now: Moment,
    ) -> impl Future<Output = Answer<NodeRow>> + Send;
    /// Writes a node's machine and boot, and notes the boot as seen.
    fn save_node(&mut self, node: &NodeRow, now: Moment)
    -> impl Future<Output = Answer<()>> + Send;
    /// The boots seen under a node's name, in order of first sight.
    fn boots(
        &mut self,
        cluster: &str,
        name: &str,
    ) -> impl Future<Output = Answer<Vec<BootRow>>> + Send;
    /// Nodes with what they hold, after `after` (cluster, name) in that order; of one cluster or of all, of one name or of
    /// all.
    fn view_nodes(
        &mut self,
        cluster: Option<&str>,
        name: Option<&str>,
        after: (&str, &str),
        limit: i64,
    ) -> impl Future<Output = Answer<Vec<NodeView>>> + Send;
    /// Nodes whose leases of earlier boots are to be looked through by `now`, the longest due first, with the time that
    /// their present boot was first seen at.
    fn nodes_to_reclaim(
        &mut self,
        now: Moment,
        limit: i64,
    ) -> impl Future<Output = Answer<Vec<(NodeRow, Moment)>>> + Send;
    /// Deletes a node with its boots; false when there is none of the name.
    fn delete_node(
        &mut self,
        cluster: &str,
        name: &str,
    ) -> impl Future<Output = Answer<bool>> + Send;
}
