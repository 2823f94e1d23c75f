//! Somebody who holds SQLite's write lock, so that transactions wait.

use std::path::Path;

use sqlx::{Connection, Executor, SqliteConnection};

/// The lock's holder.
pub(super) struct Writer(SqliteConnection);

impl Writer {
    /// Takes the lock of the `ipam.db` in the folder.
    pub(super) async fn lock(folder: &Path) -> Self {
        let url = format!("sqlite://{}", folder.join("ipam.db").display());
        let connection = SqliteConnection::connect(&url).await;
        let mut connection = connection.expect("the file opens");
        let begun = connection.execute("begin immediate").await;
        begun.expect("the lock");
        Self(connection)
    }

    /// Gives the lock back.
    pub(super) async fn unlock(mut self) {
        self.0.execute("rollback").await.expect("the end");
        self.0.close().await.expect("the end");
    }
}
