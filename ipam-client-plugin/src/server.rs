//! The URL of one server: `http://`, `https://`, or `unix:` with the absolute path of a socket.

use std::fmt;
use std::path::PathBuf;

use reqwest::Url;
use serde::{Deserialize, Serialize};

/// One server of the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Server {
    /// Over TCP, with or without TLS; the URL without a slash at its end.
    Tcp(String),
    /// Over a unix socket.
    Unix(PathBuf),
}

impl Server {
    /// Reads a URL; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(rest) = text.strip_prefix("unix:") {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            return if path.starts_with('/') && !path.contains('\0') {
                Ok(Self::Unix(path.into()))
            } else {
                Err(format!(
                    "{text:?} needs an absolute path, as in unix:///run/ipam.sock"
                ))
            };
        }
        let url: Url = text
            .parse()
            .map_err(|e| format!("{text:?} is not a URL: {e}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("{text:?} is none of http://, https:// and unix://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            // The text is not repeated: it holds a secret.
            return Err("a URL must not hold credentials; use tokenFile".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(format!("{text:?} must not have a query or a fragment"));
        }
        Ok(Self::Tcp(url.as_str().trim_end_matches('/').to_owned()))
    }

    /// The URL of a path of the API.
    pub fn url(&self, path: &str) -> String {
        match self {
            Self::Tcp(base) => format!("{base}{path}"),
            Self::Unix(_) => format!("http://localhost{path}"),
        }
    }

    /// Whether it is spoken to with TLS.
    pub fn is_https(&self) -> bool {
        matches!(self, Self::Tcp(base) if base.starts_with("https:"))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(base) => f.write_str(base),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

impl TryFrom<String> for Server {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<Server> for String {
    fn from(server: Server) -> Self {
        server.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use super::*;

    #[test]
    fn each_kind_of_url_reads_and_prints_alike() {
        for (text, printed, url) in [
            (
                "http://10.0.0.5:7070",
                "http://10.0.0.5:7070",
                "http://10.0.0.5:7070/v1/x",
            ),
            (
                "HTTPS://Ipam.example/base/",
                "https://ipam.example/base",
                "https://ipam.example/base/v1/x",
            ),
            (
                "http://[fd00::5]:7070/",
                "http://[fd00::5]:7070",
                "http://[fd00::5]:7070/v1/x",
            ),
            (
                "unix:///run/ipam.sock",
                "unix:///run/ipam.sock",
                "http://localhost/v1/x",
            ),
            (
                "unix:/run/ipam.sock",
                "unix:///run/ipam.sock",
                "http://localhost/v1/x",
            ),
        ] {
            let server = Server::parse(text).unwrap();
            assert_eq!(server.to_string(), printed);
            assert_eq!(server.url("/v1/x"), url);
            assert_eq!(Server::parse(&server.to_string()), Ok(server));
        }
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for text in [
            "",
            "10.0.0.5:7070",
            "ftp://a",
            "http://",
            "http://a:99999",
            "http://a?x=1",
            "http://a/#f",
            "unix:run/x",
            "unix://",
            "unix:///a\0b",
        ] {
            assert!(Server::parse(text).is_err(), "{text:?}");
        }
        let refusal = Server::parse("http://admin:hunter2@a").unwrap_err();
        assert!(!refusal.contains("hunter2"), "{refusal}");
    }
}
