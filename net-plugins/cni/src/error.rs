//! The error object that a failing plugin prints, and its codes.

use std::fmt;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::json::folded;
use crate::version::Version;

/// The configuration's CNI version is not supported, or does not know the command.
pub const INCOMPATIBLE_VERSION: u32 = 1;
/// A field of the configuration is not supported; the message names key and value.
pub const UNSUPPORTED_FIELD: u32 = 2;
/// The container does not exist: the runtime need not clean up, so use it only when that is certain.
pub const UNKNOWN_CONTAINER: u32 = 3;
/// An environment variable is missing or malformed.
pub const BAD_ENVIRONMENT: u32 = 4;
/// Reading or writing failed.
pub const IO: u32 = 5;
/// Something could not be decoded, such as the JSON on stdin.
pub const DECODE: u32 = 6;
/// The network configuration is wrong.
pub const INVALID_CONFIG: u32 = 7;
/// `CNI_NETNS` cannot be used, for instance because it is the plugin's own namespace.
pub const BAD_NETNS: u32 = 8;
/// A passing condition: the runtime should try again later.
pub const TRY_AGAIN: u32 = 11;
/// STATUS: an ADD could not be served.
pub const NOT_AVAILABLE: u32 = 50;
/// STATUS: an ADD could not be served, and containers may have lost connectivity.
pub const LIMITED_CONNECTIVITY: u32 = 51;
/// Everything else, as upstream's library numbers it.
pub const INTERNAL: u32 = 999;

/// A failure in CNI's terms. Codes below 100 are the specification's, from 100 on the plugin's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// One of this module's constants, or a number of the plugin's own.
    pub code: u32,
    /// What went wrong, naming the things involved.
    pub msg: String,
    /// More about it; may be empty.
    pub details: String,
}

impl Error {
    /// An error without details.
    pub fn new(code: u32, msg: impl Into<String>) -> Self {
        Self {
            code,
            msg: msg.into(),
            details: String::new(),
        }
    }

    /// The same error with details.
    pub fn with_details(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }

    /// Code 4.
    pub fn environment(msg: impl Into<String>) -> Self {
        Self::new(BAD_ENVIRONMENT, msg)
    }

    /// Code 5.
    pub fn io(msg: impl Into<String>) -> Self {
        Self::new(IO, msg)
    }

    /// Code 6.
    pub fn decode(msg: impl Into<String>) -> Self {
        Self::new(DECODE, msg)
    }

    /// Code 7.
    pub fn invalid_config(msg: impl Into<String>) -> Self {
        Self::new(INVALID_CONFIG, msg)
    }

    /// Code 11.
    pub fn try_again(msg: impl Into<String>) -> Self {
        Self::new(TRY_AGAIN, msg)
    }

    /// Code 50.
    pub fn not_available(msg: impl Into<String>) -> Self {
        Self::new(NOT_AVAILABLE, msg)
    }

    /// Code 999.
    pub fn internal(msg: impl Into<String>) -> Self {
        Self::new(INTERNAL, msg)
    }

    /// The error object (clause "Error" of the specification); empty details are left out.
    pub fn to_json(&self, version: Version) -> Value {
        let mut object =
            json!({"cniVersion": version.as_str(), "code": self.code, "msg": self.msg});
        if !self.details.is_empty() {
            object["details"] = json!(self.details);
        }
        object
    }

    /// Reads another plugin's error object. A missing or zero code counts as 999.
    pub fn from_json(value: &Value) -> Result<Self, serde_json::Error> {
        let wire = Wire::deserialize(folded(value))?;
        Ok(Self {
            code: if wire.code == 0 { INTERNAL } else { wire.code },
            msg: wire.msg,
            details: wire.details,
        })
    }
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Wire {
    code: u32,
    msg: String,
    details: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.msg)?;
        if !self.details.is_empty() {
            write!(f, "; {}", self.details)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use super::*;

    #[test]
    fn empty_details_are_left_out() {
        let error = Error::new(100, "pool a is empty");
        assert_eq!(
            error.to_json(Version::V1_0_0),
            json!({"cniVersion": "1.0.0", "code": 100, "msg": "pool a is empty"})
        );
        assert_eq!(error.to_string(), "pool a is empty");
    }

    #[test]
    fn an_error_object_reads_back_as_it_was_printed() {
        let error = Error::try_again("busy").with_details("pool a");
        assert_eq!(
            Error::from_json(&error.to_json(Version::V0_1_0)).unwrap(),
            error
        );
        assert_eq!(error.to_string(), "busy; pool a");
    }

    #[test]
    fn an_error_object_of_another_spelling_is_understood() {
        let read = Error::from_json(&json!({"Code": null, "Msg": "m", "x": 1})).unwrap();
        assert_eq!(read, Error::internal("m"));
        assert!(Error::from_json(&json!(["no object"])).is_err());
        assert!(Error::from_json(&json!({"code": "7"})).is_err());
    }
}
