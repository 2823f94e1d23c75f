//! The CNI verbs, a file each.

pub mod add;
pub mod check;
pub mod del;
pub mod gc;
pub mod status;
