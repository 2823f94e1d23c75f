//! The workspace's binaries, built once per test process in the profile of the test itself.
