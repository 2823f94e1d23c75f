//! A spoilt environment.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::{Call, Case, env};

pub(super) fn cases() -> Vec<Case> {
    let missing = "required env variables";
    let id = "invalid characters in containerID";
    let strange = "interface name contains / or : or whitespace";
    let bytes = |name: &'static str| Case {
        verb: "ADD",
        spoil: Box::new(move |call: &mut Call| {
            call.set(name, OsString::from_vec(vec![b'a', 0xff]))
        }),
        code: 4,
        words: "is not valid UTF-8",
    };
    vec![
        env("ADD", "CNI_COMMAND", "FOO", 4, "unknown CNI_COMMAND: FOO"),
        env("ADD", "CNI_COMMAND", "add", 4, "unknown CNI_COMMAND: add"),
        env("ADD", "CNI_CONTAINERID", "", 4, missing),
        env("ADD", "CNI_NETNS", "", 4, missing),
        env("ADD", "CNI_IFNAME", "", 4, missing),
        env("CHECK", "CNI_NETNS", "", 4, missing),
        env("DEL", "CNI_CONTAINERID", "", 4, missing),
        env("DEL", "CNI_IFNAME", "", 4, missing),
        env("GC", "CNI_PATH", "", 4, missing),
        env("ADD", "CNI_CONTAINERID", "-a", 4, id),
        env("ADD", "CNI_CONTAINERID", "../../etc", 4, id),
        env("ADD", "CNI_CONTAINERID", "a b", 4, id),
        env("DEL", "CNI_CONTAINERID", "ü", 4, id),
        env(
            "ADD",
            "CNI_IFNAME",
            "an-interface-too-long",
            4,
            "interface name is too long",
        ),
        env("ADD", "CNI_IFNAME", "..", 4, "interface name is . or .."),
        env("ADD", "CNI_IFNAME", "a/b", 4, strange),
        env("ADD", "CNI_IFNAME", "a:b", 4, strange),
        env("DEL", "CNI_IFNAME", "a b", 4, strange),
        bytes("CNI_NETNS"),
        bytes("CNI_ARGS"),
        bytes("CNI_IFNAME"),
        env("ADD", "CNI_ARGS", "a", 4, "ARGS: invalid pair \"a\""),
        env(
            "ADD",
            "CNI_ARGS",
            "IP=10.1.0.7;",
            4,
            "ARGS: invalid pair \"\"",
        ),
        env(
            "ADD",
            "CNI_ARGS",
            "IP=1=2",
            4,
            "ARGS: invalid pair \"IP=1=2\"",
        ),
        env("ADD", "CNI_ARGS", "X=y", 4, "ARGS: unknown args [\"X=y\"]"),
        env(
            "CHECK",
            "CNI_ARGS",
            "X=y",
            4,
            "ARGS: unknown args [\"X=y\"]",
        ),
        env("ADD", "CNI_ARGS", "ip=10.1.0.7", 4, "unknown args"),
        env(
            "ADD",
            "CNI_ARGS",
            "IgnoreUnknown=maybe",
            4,
            "IgnoreUnknown is \"maybe\"",
        ),
        env(
            "ADD",
            "CNI_ARGS",
            "IP=10.1.0.999",
            4,
            "IP=\"10.1.0.999\" is not an address",
        ),
        env(
            "ADD",
            "CNI_ARGS",
            "IP=10.1.0.7/33333",
            4,
            "is not an address",
        ),
        env(
            "ADD",
            "CNI_ARGS",
            "IP=web-0",
            4,
            "IP=\"web-0\" is not an address",
        ),
        env("ADD", "CNI_ARGS", "IP=172.16.0.9", 7, "172.16.0.9"),
        env("ADD", "CNI_ARGS", "IP=10.1.0.1", 7, "10.1.0.1"),
    ]
}
