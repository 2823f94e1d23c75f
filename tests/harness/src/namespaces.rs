//! Network, mount and UTS namespaces of a test's own, removed at its end.
