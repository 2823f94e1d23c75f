//! How a runtime calls a plugin: the `CNI_*` variables and the bytes on stdin, checked in the specification's terms.

use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::path::PathBuf;

use crate::error::Error;

/// The most that is read from stdin, in bytes. Real configurations have a few kilobytes.
pub const MAX_STDIN: u64 = 4 << 20;

/// Looks up an environment variable. Injected, so that a test need not change the process's own environment.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The operations of CNI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each variant is named after its command")]
pub enum Command {
    Add,
    Del,
    Check,
    Status,
    Gc,
    Version,
}

impl Command {
    /// The value of `CNI_COMMAND`.
    pub fn as_str(self) -> &'static str {
        match self {
            Command::Add => "ADD",
            Command::Del => "DEL",
            Command::Check => "CHECK",
            Command::Status => "STATUS",
            Command::Gc => "GC",
            Command::Version => "VERSION",
        }
    }

    fn parse(text: &str) -> Result<Command, Error> {
        use Command::{Add, Check, Del, Gc, Status, Version};
        [Add, Del, Check, Status, Gc, Version]
            .into_iter()
            .find(|c| c.as_str() == text)
            .ok_or_else(|| Error::environment(format!("unknown CNI_COMMAND: {text}")))
    }

    /// The variables that must not be empty, in the order in which a report lists them.
    fn required(self) -> &'static [&'static str] {
        match self {
            Command::Add | Command::Check => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
            Command::Del => &["CNI_CONTAINERID", "CNI_IFNAME"],
            Command::Gc => &["CNI_PATH"],
            Command::Status | Command::Version => &[],
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One call of a plugin.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// What is asked.
    pub command: Command,
    /// `CNI_CONTAINERID`; empty for STATUS, GC and VERSION.
    pub container_id: String,
    /// `CNI_NETNS`, the path of the container's network namespace; may be empty except for ADD and CHECK.
    pub netns: String,
    /// `CNI_IFNAME`; empty for STATUS, GC and VERSION.
    pub ifname: String,
    /// `CNI_ARGS` as given; see [`crate::args`].
    pub args: String,
    /// `CNI_PATH`: the folders in which delegates are looked for.
    pub path: Vec<PathBuf>,
    /// The network configuration as given, for [`crate::conf::NetConf::parse`] and for delegates.
    pub stdin: Vec<u8>,
}

impl Invocation {
    /// Reads and checks the call: code 4 for the environment, 5 and 6 for stdin.
    pub fn read(env: Env<'_>, stdin: &mut dyn Read) -> Result<Invocation, Error> {
        let command = text(env, "CNI_COMMAND")?;
        if command.is_empty() {
            return Err(Error::environment(
                "required env variables [CNI_COMMAND] missing",
            ));
        }
        let command = Command::parse(&command)?;
        let missing: Vec<_> = (command.required().iter().copied())
            .filter(|name| env(name).is_none_or(|value| value.is_empty()))
            .collect();
        if !missing.is_empty() {
            return Err(Error::environment(format!(
                "required env variables [{}] missing",
                missing.join(",")
            )));
        }
        let mut invocation = Invocation {
            command,
            container_id: String::new(),
            netns: String::new(),
            ifname: String::new(),
            args: String::new(),
            path: env("CNI_PATH").map_or_else(Vec::new, |p| std::env::split_paths(&p).collect()),
            stdin: Vec::new(),
        };
        // libcni sets "dummy" and the like for the commands that are about no attachment: not ours to judge.
        if matches!(command, Command::Add | Command::Del | Command::Check) {
            invocation.container_id = text(env, "CNI_CONTAINERID")?;
            invocation.netns = text(env, "CNI_NETNS")?;
            invocation.ifname = text(env, "CNI_IFNAME")?;
            invocation.args = text(env, "CNI_ARGS")?;
            check_container_id(&invocation.container_id)?;
            check_ifname(&invocation.ifname)?;
        }
        invocation.stdin = read_stdin(stdin)?;
        Ok(invocation)
    }
}

fn text(env: Env<'_>, name: &str) -> Result<String, Error> {
    env(name)
        .unwrap_or_default()
        .into_string()
        .map_err(|value| Error::environment(format!("{name} is not valid UTF-8: {value:?}")))
}

fn read_stdin(stdin: &mut dyn Read) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    stdin
        .take(MAX_STDIN + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Error::io(format!("error reading from stdin: {e}")))?;
    if bytes.len() as u64 > MAX_STDIN {
        return Err(Error::decode(format!(
            "error unmarshall network config: stdin holds more than {MAX_STDIN} bytes"
        )));
    }
    Ok(bytes)
}

/// The grammar of container ids and of network names: alphanumeric first, then alphanumerics, `_`, `.` and `-`.
pub fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn check_container_id(id: &str) -> Result<(), Error> {
    if is_identifier(id) {
        return Ok(());
    }
    Err(Error::environment("invalid characters in containerID")
        .with_details(format!("CNI_CONTAINERID={id:?}")))
}

fn check_ifname(name: &str) -> Result<(), Error> {
    let msg = if name.len() > 15 {
        "interface name is too long"
    } else if name == "." || name == ".." {
        "interface name is . or .."
    } else if name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace()) {
        "interface name contains / or : or whitespace characters"
    } else {
        return Ok(());
    };
    Err(Error::environment(msg).with_details(format!("CNI_IFNAME={name:?}")))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn read(vars: &[(&str, &str)]) -> Result<Invocation, Error> {
        let env = |name: &str| {
            let (_, value) = vars.iter().find(|(n, _)| *n == name)?;
            Some(OsString::from(value))
        };
        Invocation::read(&env, &mut &b"{}"[..])
    }

    fn refusal(vars: &[(&str, &str)]) -> String {
        let error = read(vars).unwrap_err();
        assert_eq!(error.code, 4, "{error}");
        error.msg
    }

    const ADD: [(&str, &str); 6] = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", "/run/netns/x"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_ARGS", "IP=10.0.0.1"),
        ("CNI_PATH", "/opt/cni/bin:/usr/lib/cni"),
    ];

    #[test]
    fn a_complete_call_is_read() {
        let call = read(&ADD).unwrap();
        assert_eq!(call.command, Command::Add);
        assert_eq!(
            [call.container_id, call.netns, call.ifname, call.args],
            ["c1", "/run/netns/x", "eth0", "IP=10.0.0.1"]
        );
        assert_eq!(
            call.path,
            [PathBuf::from("/opt/cni/bin"), "/usr/lib/cni".into()]
        );
        assert_eq!(call.stdin, b"{}");
    }

    #[test]
    fn missing_variables_are_listed_in_order() {
        for (command, list) in [
            ("ADD", "CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME"),
            ("CHECK", "CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME"),
            ("DEL", "CNI_CONTAINERID,CNI_IFNAME"),
            ("GC", "CNI_PATH"),
        ] {
            let msg = format!("required env variables [{list}] missing");
            assert_eq!(refusal(&[("CNI_COMMAND", command)]), msg);
        }
        assert_eq!(refusal(&[]), "required env variables [CNI_COMMAND] missing");
        let no_netns = [ADD[0], ADD[1], ("CNI_NETNS", ""), ADD[3]];
        assert_eq!(
            refusal(&no_netns),
            "required env variables [CNI_NETNS] missing"
        );
    }

    #[test]
    fn each_command_needs_only_its_own_variables() {
        assert!(read(&ADD[..4]).is_ok());
        assert!(read(&[("CNI_COMMAND", "DEL"), ADD[1], ADD[3]]).is_ok());
        assert!(read(&[("CNI_COMMAND", "GC"), ADD[5]]).is_ok());
        assert!(read(&[("CNI_COMMAND", "STATUS")]).is_ok());
        // As libcni calls it.
        let dummy = ["CNI_NETNS", "CNI_IFNAME", "CNI_PATH"].map(|name| (name, "dummy"));
        let mut vars = vec![("CNI_COMMAND", "VERSION"), ("CNI_CONTAINERID", "-")];
        vars.extend(dummy);
        assert!(read(&vars).is_ok());
    }

    #[test]
    fn an_unknown_command_is_named() {
        assert_eq!(
            refusal(&[("CNI_COMMAND", "FOO")]),
            "unknown CNI_COMMAND: FOO"
        );
        assert_eq!(
            refusal(&[("CNI_COMMAND", "add")]),
            "unknown CNI_COMMAND: add"
        );
    }

    #[test]
    fn container_ids_have_a_grammar() {
        for id in ["-a", "_a", ".a", "a/b", "a b", "a\n", "ä", "a:b"] {
            let msg = refusal(&[ADD[0], ("CNI_CONTAINERID", id), ADD[2], ADD[3]]);
            assert_eq!(msg, "invalid characters in containerID", "{id}");
        }
        for id in ["a", "0", "A_b.c-d"] {
            assert!(read(&[ADD[0], ("CNI_CONTAINERID", id), ADD[2], ADD[3]]).is_ok());
        }
    }

    #[test]
    fn interface_names_have_a_grammar() {
        let strange = "interface name contains / or : or whitespace characters";
        for (name, msg) in [
            ("abcdefghijklmnop", "interface name is too long"),
            (".", "interface name is . or .."),
            ("..", "interface name is . or .."),
            ("a/b", strange),
            ("a:b", strange),
            ("a b", strange),
            ("a\u{a0}", strange),
        ] {
            assert_eq!(
                refusal(&[ADD[0], ADD[1], ADD[2], ("CNI_IFNAME", name)]),
                msg
            );
        }
        assert!(read(&[ADD[0], ADD[1], ADD[2], ("CNI_IFNAME", "abcdefghijklmno")]).is_ok());
    }

    #[test]
    fn a_variable_that_is_no_text_is_named() {
        let env = |name: &str| match name {
            "CNI_NETNS" => Some(OsStr::from_bytes(b"/\xff").to_owned()),
            _ => ADD.iter().find(|(n, _)| *n == name).map(|(_, v)| v.into()),
        };
        let error = Invocation::read(&env, &mut &b"{}"[..]).unwrap_err();
        assert_eq!(error.code, 4);
        assert!(error.msg.starts_with("CNI_NETNS is not valid UTF-8"));
    }

    #[test]
    fn stdin_is_bounded() {
        let env = |name: &str| (name == "CNI_COMMAND").then(|| OsString::from("STATUS"));
        let full = Invocation::read(&env, &mut std::io::repeat(b' ').take(MAX_STDIN)).unwrap();
        assert_eq!(full.stdin.len() as u64, MAX_STDIN);
        let error = Invocation::read(&env, &mut std::io::repeat(b' ')).unwrap_err();
        assert_eq!(error.code, 6);
        assert!(error.msg.contains("more than 4194304 bytes"));
    }

    #[test]
    fn a_stdin_that_cannot_be_read_is_an_io_error() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(std::io::Error::other("gone"))
            }
        }
        let env = |name: &str| (name == "CNI_COMMAND").then(|| OsString::from("STATUS"));
        let error = Invocation::read(&env, &mut Broken).unwrap_err();
        assert_eq!(error, Error::io("error reading from stdin: gone"));
    }
}
