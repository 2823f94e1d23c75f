//! What a test needs of the machine. What is missing is said aloud and the test skipped, but where `IPAM_TEST_REQUIRE`
//! (comma-separated: `postgres`, `root`, …) names it, it is a failure.
