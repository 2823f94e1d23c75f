//! A small REST client for tests and examples, over `http://` and `unix://`, for code that is not async.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::{Method, RequestBuilder, header::HeaderMap};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The JSON body; null when there is none, a string when it is not JSON.
    pub body: Value,
}

impl Answer {
    /// The body of an answer that must have this status.
    ///
    /// # Panics
    /// Showing the body, when it has another.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "the answer was {:#}", self.body);
        self.body
    }

    /// The header's value as text, or nothing.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A blocking client of one server. Each call makes a connection of its own, so that a server's restart between two
/// calls goes unnoticed.
#[derive(Debug)]
pub struct Rest {
    runtime: Runtime,
    client: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Rest {
    /// A client of `http://HOST:PORT` or `unix:///PATH`.
    ///
    /// # Errors
    /// When the client cannot be built.
    pub fn new(url: &str) -> Result<Self> {
        // Fails only when a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .pool_max_idle_per_host(0)
            .timeout(Duration::from_secs(30));
        let (builder, base) = match url.strip_prefix("unix://") {
            Some(path) => (
                builder.unix_socket(PathBuf::from(path)),
                "http://unix".to_owned(),
            ),
            None => (builder, url.trim_end_matches('/').to_owned()),
        };
        Ok(Self {
            runtime: Builder::new_current_thread().enable_all().build()?,
            client: builder.build()?,
            base,
            token: None,
        })
    }

    /// The same, with a bearer token.
    #[must_use]
    pub fn with_token(self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self
        }
    }

    /// `GET`.
    ///
    /// # Errors
    /// When no answer arrives; an answer of any status is one.
    pub fn get(&self, path: &str) -> Result<Answer> {
        self.send(self.request(Method::GET, path))
    }

    /// `POST` of a JSON body.
    ///
    /// # Errors
    /// As [`Rest::get`].
    pub fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(self.request(Method::POST, path).json(body))
    }

    /// `PATCH` with a JSON body.
    ///
    /// # Errors
    /// As [`Rest::get`].
    pub fn patch(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(self.request(Method::PATCH, path).json(body))
    }

    /// `DELETE`.
    ///
    /// # Errors
    /// As [`Rest::get`].
    pub fn delete(&self, path: &str) -> Result<Answer> {
        self.send(self.request(Method::DELETE, path))
    }

    /// A request that is still to be sent with [`Rest::send`], for headers and bodies of one's own.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// As [`Rest::get`].
    pub fn send(&self, request: RequestBuilder) -> Result<Answer> {
        self.runtime.block_on(async {
            let response = request.send().await.context("no answer")?;
            let status = response.status().as_u16();
            let headers = response.headers().clone();
            let text = response.text().await.context("half an answer")?;
            let body = match text.as_str() {
                "" => Value::Null,
                text => {
                    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
                }
            };
            Ok(Answer {
                status,
                headers,
                body,
            })
        })
    }
}
