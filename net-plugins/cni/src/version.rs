//! The versions of the CNI specification and what each of them allows.

use std::fmt;

use serde_json::{Value, json};

use crate::error::{Error, INCOMPATIBLE_VERSION};
use crate::invocation::Command;
use crate::json;

/// A version of the specification, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each variant is named after its version")]
pub enum Version {
    V0_1_0,
    V0_2_0,
    V0_3_0,
    V0_3_1,
    V0_4_0,
    V1_0_0,
    V1_1_0,
}

/// Every version that this crate speaks, oldest first.
pub const SUPPORTED: [Version; 7] = [
    Version::V0_1_0,
    Version::V0_2_0,
    Version::V0_3_0,
    Version::V0_3_1,
    Version::V0_4_0,
    Version::V1_0_0,
    Version::V1_1_0,
];

impl Version {
    /// The newest version.
    pub const LATEST: Version = Version::V1_1_0;

    /// The version as it is written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::V0_1_0 => "0.1.0",
            Version::V0_2_0 => "0.2.0",
            Version::V0_3_0 => "0.3.0",
            Version::V0_3_1 => "0.3.1",
            Version::V0_4_0 => "0.4.0",
            Version::V1_0_0 => "1.0.0",
            Version::V1_1_0 => "1.1.0",
        }
    }

    /// Exact match only: versions are compared as strings, never as ranges.
    pub fn parse(text: &str) -> Option<Version> {
        SUPPORTED.into_iter().find(|v| v.as_str() == text)
    }

    /// The version that a configuration asks for; no version means 0.1.0. Code 1 when it is not supported.
    pub fn of_config(text: &str) -> Result<Version, Error> {
        if text.is_empty() {
            return Ok(Version::V0_1_0);
        }
        Version::parse(text).ok_or_else(|| {
            let supported: Vec<_> = SUPPORTED
                .iter()
                .map(|v| format!("{:?}", v.as_str()))
                .collect();
            Error::new(INCOMPATIBLE_VERSION, "incompatible CNI versions").with_details(format!(
                "config is {text:?}, plugin supports [{}]",
                supported.join(" ")
            ))
        })
    }

    /// Code 1 when a configuration of this version does not know `command`.
    pub fn allows(self, command: Command) -> Result<(), Error> {
        if self >= minimum(command) {
            return Ok(());
        }
        Err(Error::new(
            INCOMPATIBLE_VERSION,
            format!("config version does not allow {command}"),
        ))
    }
}

/// The version that brought `command`.
pub fn minimum(command: Command) -> Version {
    match command {
        Command::Check => Version::V0_4_0,
        Command::Status | Command::Gc => Version::V1_1_0,
        Command::Add | Command::Del | Command::Version => Version::V0_1_0,
    }
}

/// The answer to VERSION. It echoes the input's `cniVersion`, also one that is not supported: the list beside it tells.
/// Without one (also on empty stdin) it names the newest.
pub fn answer(stdin: &[u8]) -> Result<Value, Error> {
    let mut given = None;
    if !stdin.trim_ascii().is_empty() {
        let input: Value = serde_json::from_slice(stdin)
            .map_err(|e| Error::decode(format!("error unmarshall version request: {e}")))?;
        given = input
            .as_object()
            .and_then(|map| json::get(map, "cniVersion"))
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
            .map(str::to_owned);
    }
    Ok(json!({
        "cniVersion": given.as_deref().unwrap_or(Version::LATEST.as_str()),
        "supportedVersions": SUPPORTED.map(Version::as_str),
    }))
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use super::*;

    #[test]
    fn versions_are_ordered_and_matched_exactly() {
        assert!(SUPPORTED.is_sorted());
        for version in SUPPORTED {
            assert_eq!(Version::parse(version.as_str()), Some(version));
        }
        for text in ["", "1.0", "v1.0.0", "1.1.1", "0.4", " 1.0.0", "1.0.0-rc1"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }

    #[test]
    fn no_version_means_the_first_one() {
        assert_eq!(Version::of_config(""), Ok(Version::V0_1_0));
    }

    #[test]
    fn an_unknown_version_is_refused_with_the_list_of_known_ones() {
        let error = Version::of_config("9.9.9").unwrap_err();
        assert_eq!(error.code, 1);
        assert_eq!(error.msg, "incompatible CNI versions");
        assert_eq!(
            error.details,
            r#"config is "9.9.9", plugin supports ["0.1.0" "0.2.0" "0.3.0" "0.3.1" "0.4.0" "1.0.0" "1.1.0"]"#
        );
    }

    #[test]
    fn commands_need_the_version_that_brought_them() {
        assert!(Version::V0_4_0.allows(Command::Check).is_ok());
        assert!(Version::V1_1_0.allows(Command::Gc).is_ok());
        for (version, command, msg) in [
            (
                Version::V0_3_1,
                Command::Check,
                "config version does not allow CHECK",
            ),
            (
                Version::V1_0_0,
                Command::Status,
                "config version does not allow STATUS",
            ),
            (
                Version::V1_0_0,
                Command::Gc,
                "config version does not allow GC",
            ),
        ] {
            assert_eq!(version.allows(command), Err(Error::new(1, msg)));
        }
    }

    #[test]
    fn the_version_answer_echoes_the_input() {
        for given in ["0.1.0", "1.0.0", "9.9.9"] {
            let stdin = format!(r#"{{"cniVersion": "{given}"}}"#);
            let answer = answer(stdin.as_bytes()).unwrap();
            assert_eq!(answer["cniVersion"], given);
            assert_eq!(answer["supportedVersions"].as_array().unwrap().len(), 7);
        }
        assert_eq!(answer(b" \n").unwrap()["cniVersion"], "1.1.0");
        assert_eq!(answer(b"{}").unwrap()["cniVersion"], "1.1.0");
        assert_eq!(answer(b"{").unwrap_err().code, 6);
    }
}
