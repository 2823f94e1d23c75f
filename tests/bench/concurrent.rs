//! How long a claim takes among 1,500: all at the same moment, and by 1,500 clients that claim once a second.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::lab::Lab;
use crate::load::{self, Plan};
use crate::row::{Goal, Row};
use crate::samples::Samples;
use crate::service::Service;

pub(crate) const ROWS: &[&str] = &["burst-1500", "paced-1500"];

const POOL: &str = "concurrent";
const CLIENTS: usize = 1_500;
/// The longest that 99 of 100 claims may take, in milliseconds.
pub(crate) const BAR: f64 = 50.0;

/// The percentiles of claims, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
}

impl Percentiles {
    fn of(samples: &Samples) -> Self {
        Self {
            p50: samples.percentile(0.5),
            p95: samples.percentile(0.95),
            p99: samples.percentile(0.99),
        }
    }
}

pub(crate) fn run(lab: &Lab) -> Result<Vec<Row>> {
    let Measured {
        burst,
        paced,
        refused,
    } = measure(lab)?;
    let row = |id, what: &str, percentiles: Percentiles, more: &str| Row {
        id,
        what: what.to_owned(),
        unit: "ms",
        ours: percentiles.p99,
        peer: None,
        goal: Goal::OrLess(BAR),
        note: format!(
            "p50 {:.1} ms, p95 {:.1} ms{more}",
            percentiles.p50, percentiles.p95
        ),
    };
    Ok(vec![
        row(
            "burst-1500",
            "p99 of 1,500 claims sent at the same moment",
            burst,
            &format!("; {:.1} ms when refused without the database", refused.p99),
        ),
        row(
            "paced-1500",
            "p99 of 1,500 clients that claim once a second",
            paced,
            "",
        ),
    ])
}

/// Claims of so many clients.
pub(crate) struct Measured {
    /// All sent at the same moment.
    pub(crate) burst: Percentiles,
    /// One a second of each.
    pub(crate) paced: Percentiles,
    /// All sent at the same moment, and refused without the database.
    pub(crate) refused: Percentiles,
}

/// All three, the burst first.
pub(crate) fn measure(lab: &Lab) -> Result<Measured> {
    eprintln!("{CLIENTS} concurrent claims");
    let service = Service::start(lab)?;
    service.create_pool(POOL, "10.0.0.0/8", &json!({}))?;
    let claim = |plan| load::claims(service.address, POOL, CLIENTS, plan);
    // The server's connections to the database are made by the first one.
    claim(Plan::Burst)?;
    let [mut burst, mut refused] = [const { Samples::EMPTY }; 2];
    for _ in 0..lab.amount(5, 10) {
        burst.extend(claim(Plan::Burst)?.latencies);
        let nothing = load::refused_claims(service.address, CLIENTS, Plan::Burst)?;
        refused.extend(nothing.latencies);
    }
    let time = Duration::from_secs(lab.amount(3, 10));
    let paced = claim(Plan::Paced {
        interval: Duration::from_secs(1),
        time,
    })?;
    service.check_books()?;
    Ok(Measured {
        burst: Percentiles::of(&burst),
        paced: Percentiles::of(&paced.latencies),
        refused: Percentiles::of(&refused),
    })
}
