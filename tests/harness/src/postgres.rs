//! A throw-away PostgreSQL: `IPAM_TEST_DATABASE_URL`, or one started from the machine's own binaries.
