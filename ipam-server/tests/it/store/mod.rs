//! The conformance suite: each test is written once and runs over both databases, and ends with the accounting of every
//! pool.

pub(crate) mod support;

mod batches;
mod check;
mod claims;
mod crash;
mod exhaustion;
mod gc;
mod history;
mod lists;
mod nodes;
mod opening;
mod order;
mod pools;
mod releases;
mod reuse;
mod shapes;
mod surgery;
mod vrfs;
mod wanted;

/// Makes `sqlite::NAME` and `postgres::NAME` of each `async fn NAME(store: Store)`.
macro_rules! conformance {
    ($($test:ident),* $(,)?) => {
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
