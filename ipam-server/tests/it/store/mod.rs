//! The conformance suite: each test is written once and runs over both databases, and ends with the accounting of every
//! pool.

pub(crate) mod support;

mod audit;
mod batches;
mod check;
mod claims;
mod clock;
mod crash;
mod disputes;
mod exclusions;
mod exhaustion;
mod gc;
mod history;
mod lists;
mod nodes;
mod opening;
mod order;
mod pods;
mod pools;
mod reclaim;
mod releases;
mod reuse;
mod roster;
mod shapes;
mod surgery;
mod vrfs;
mod wanted;

/// Makes `sqlite::NAME` and `postgres::NAME` of each `async fn NAME(store: Store)`; after `with_url`, of each
/// `async fn NAME(store: Store, url: String)`.
macro_rules! conformance {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test]
                async fn $test() {
                    let test = async |store, _| super::$test(store).await;
                    $crate::store::support::on_sqlite(test).await;
                }
            )*
        }

        mod postgres {
            $(
                #[tokio::test]
                async fn $test() {
                    let test = async |store, _| super::$test(store).await;
                    $crate::store::support::on_postgres(test).await;
                }
            )*
        }
    };
    (with_url: $($test:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test]
                async fn $test() {
                    $crate::store::support::on_sqlite(super::$test).await;
                }
            )*
        }

        mod postgres {
            $(
                #[tokio::test]
                async fn $test() {
                    $crate::store::support::on_postgres(super::$test).await;
                }
            )*
        }
    };
}
pub(crate) use conformance;
