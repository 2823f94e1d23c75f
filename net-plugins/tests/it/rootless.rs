//! That these tests ask nobody to be root.

use std::process::Command;

use crate::world::ready;

#[test]
fn these_tests_need_no_root_where_a_user_namespace_can_be_had() {
    if !ready() {
        return;
    }
    let test = "bridge_masquerade::masquerading_really_hides_the_address";
    let output = Command::new("unshare")
        .args(["--user", "--map-user=1000", "--map-group=1000", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env("IPAM_TEST_REQUIRE", "all")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complaint}");
    assert!(said.contains("1 passed"), "{said}");
}
