//! Clients, real plugins and real servers while everything around them fails, and a judge over what they were told.
//!
//! `IPAM_FAULT_SEED` repeats the faults of an earlier run, `IPAM_FAULT_OPERATIONS` says how many calls each database
//! sees, and `IPAM_FAULT_MINUTES` goes on for so long, with a fresh database and the next seed in each round.

mod aimed;
mod cable;
mod caller;
mod client;
mod clock;
mod deck;
mod dice;
mod disk;
mod ending;
mod locked;
mod node;
mod overdue;
mod overload;
mod plugin;
mod poison;
mod postgres;
mod record;
mod rounds;
mod spool;
mod sqlite;
mod stage;
mod wire;
