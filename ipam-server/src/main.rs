//! The server's process: settings, log, signals, and the order of start and end.

use std::process::ExitCode;
use std::time::Duration;

use ipam_server::config::{Command, Config};
use ipam_server::listen::{beyond_this_machine, bind_all};
use ipam_server::signals::{Stop, reload_on_hangup};
use ipam_server::store::Store;
use ipam_server::tokens::Tokens;
use ipam_server::{Error, Result, Settings, causes, serve};
use tokio::time::timeout;

/// How long the connections to the database get to close.
const CLOSE_LIMIT: Duration = Duration::from_secs(3);

/// Of what a claim costs the server a fifth was malloc's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// After so many tasks a thread looks for what has arrived. A transaction is a dozen answers of the database, each waited
/// for by all who are in it; of tokio's 61 tasks between two looks most are other requests.
const TASKS_BETWEEN_LOOKS: u32 = 5;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .event_interval(TASKS_BETWEEN_LOOKS)
        .build();
    match runtime
        .map_err(Error::internal)
        .and_then(|runtime| runtime.block_on(run()))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ipam-server: {}", causes(&error));
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let config = Config::load()?;
    config.start_log();
    let stop = Stop::listen()?;
    let database = &config.common.database_url;
    match config.command {
        Some(Command::Migrate) => {
            let store = Store::open(database.secret()).await?;
            tracing::info!(%database, service_id = store.service_id(), "the migrations are applied");
            store.close().await;
            return Ok(());
        }
        Some(Command::Audit) => {
            let store = Store::open_unchanged(database.secret()).await?;
            let audited = audit(&store).await;
            store.close().await;
            return audited;
        }
        None => {}
    }
    let serving = &config.serve;
    let tokens = serving.token_files().map(Tokens::read).transpose()?;
    serving.check_reach(beyond_this_machine(&serving.listen).await?)?;
    reload_on_hangup(tokens.clone())?;
    let store = Store::open(database.secret()).await?;
    tracing::info!(%database, service_id = store.service_id(), "the database is open");
    let listeners = bind_all(&serving.listen).await?;
    config.greet(&listeners);
    let settings = Settings {
        tokens,
        queue: serving.queue as usize,
        retention: serving.retention(),
        quarantine: serving.quarantine(),
    };
    serve(listeners, store.clone(), settings, stop.told()).await;
    if timeout(CLOSE_LIMIT, store.close()).await.is_err() {
        tracing::warn!("the database's connections did not close in time and are cut");
    }
    tracing::info!("stopped");
    Ok(())
}

/// Prints what is wrong with the books.
#[expect(clippy::print_stdout, reason = "it is what was asked for")]
async fn audit(store: &Store) -> Result<()> {
    let findings = store.audit().await?;
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        tracing::info!("the books are right: every address is accounted for, and in one place");
        return Ok(());
    }
    Err(Error::internal(
        "the books are wrong: what was printed tells where",
    ))
}
