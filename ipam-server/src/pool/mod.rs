//! Pools without a database: which addresses may be leased, and which settings are accepted. Pure arithmetic on intervals.

pub(crate) mod checks;
mod interval;
mod layout;
mod subnet;
mod text;

pub(crate) use interval::{Interval, contains, count, intersect, minus, union};
pub(crate) use layout::Layout;
pub(crate) use subnet::Subnet;
