//! Real ipam-server processes.
