//! The main CNI plugins on rtnetlink.
