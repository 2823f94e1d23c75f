//! End to end: real binaries, real namespaces, real databases, real runtimes.

mod nodes;
