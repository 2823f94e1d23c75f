//! A small REST client for tests, over `http://` and `unix://`.
